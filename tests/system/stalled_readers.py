"""What clients that never read cost: ``python -m tests.system.stalled_readers [READERS [POSTS [BYTES]]]``.

READERS (1,000) WebSockets join a room, every other one with compression, and read nothing any more, while POSTS (5,000) messages of BYTES (1,000)
are posted to it. Prints the growth of the daemon's resident memory; exit status 1 if that is 40 MB or more.
"""

import json
import os
import resource
import sys
from base64 import b64encode

from tests.system.clients import RpcSocket
from tests.system.daemon import Daemon
from tests.system.raw import RawWebSocket, frame

__all__ = ["LIMIT", "growth"]

LIMIT = 40_000_000
"""Bytes by which a daemon may grow."""

ROOM = "busy"
WINDOW = 32
COMPRESSION = "Sec-WebSocket-Extensions: permessage-deflate"
WAKING = 10
"""Readers that read on in the end."""

# Nobody is given up here for taking nothing: this is about what those cost that stay.
SETTINGS = """
[limits]
rate = off
connections = 0
connections_per_address = 0
[http]
ping_interval = 1h
"""


def resident(daemon: Daemon) -> int:
    """Bytes that the daemon has in memory."""
    with open(f"/proc/{daemon.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def stalled(daemon: Daemon, compressed: bool) -> RawWebSocket:
    """A client that has joined, and for which the kernel takes next to nothing."""
    client = RawWebSocket(daemon.port, "/ws", *[COMPRESSION] * compressed, receive_buffer=4096)
    client.send(frame(1, json.dumps({"jsonrpc": "2.0", "id": 1, "method": "chat.join", "params": [ROOM, None, 0]}).encode()))
    assert '"result"' in client.text()
    return client


def post(daemon: Daemon, posts: int, size: int) -> int:
    """Post so many messages of so many bytes, in which there is little to compress; the most resident memory meanwhile."""
    most = 0
    with RpcSocket(daemon.websocket_url) as poster:
        for begin in range(0, posts, WINDOW):
            numbers = range(begin, min(begin + WINDOW, posts))
            ids = [poster.send("chat.post", room=ROOM, text=f"{number} {b64encode(os.urandom(size * 3 // 4)).decode()}") for number in numbers]
            poster.answer(ids[-1])
            most = max(most, resident(daemon))
    return most


def read_on(client: RawWebSocket, posts: int) -> None:
    """Read all events of the room; AssertionError if one is missing, doubled or out of order."""
    expected = 1
    while expected <= posts:
        message = json.loads(client.text())
        if message.get("method") == "chat.event":
            assert message["params"]["seq"] == expected, (message["params"]["seq"], expected)
            expected += 1


def growth(readers: int, posts: int, size: int) -> int:
    """Bytes by which the daemon has grown at the most. Some of the readers read on in the end and get everything."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Daemon(SETTINGS) as daemon:
        clients = [stalled(daemon, bool(number % 2)) for number in range(readers)]
        try:
            before = resident(daemon)
            grown = post(daemon, posts, size) - before
            for client in clients[:WAKING]:
                read_on(client, posts)
        finally:
            for client in clients:
                client.close()
    return grown


def main(arguments: list[str]) -> int:
    """See above."""
    readers, posts, size = [*map(int, arguments), *(1000, 5000, 1000)[len(arguments) :]]
    grown = growth(readers, posts, size)
    print(f"{readers:,} readers that never read, {posts:,} posts of {size:,} bytes: the daemon grew by {grown / 1e6:.1f} MB")
    return int(grown >= LIMIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
