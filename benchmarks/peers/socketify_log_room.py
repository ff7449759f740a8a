"""A room on uWebSockets through socketify that promises what netsvc does: an event with a number for each message, on disk before anybody gets it.

python -m benchmarks.peers.socketify_log_room PORT WINDOW FILE

It is told how many messages are in flight and waits for exactly that many: the best possible group commit. Its log is a file of fixed size that
is overwritten from the start, one write and one fdatasync per batch; it keeps no other state, and has neither users nor limits.
"""

# mypy: disable-error-code="import-untyped"

import json
import os
import sys
import time
from typing import Any

from socketify import App, AppListenOptions, CompressOptions, OpCode

SIZE = 16 * 1024 * 1024
BLOCK = 4096
PATIENCE = 0.2
"""Seconds between checks for a batch that will not fill up any more, as at the end."""

if __name__ == "__main__":
    port, window, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.write(log, bytes(SIZE))
    os.fsync(log)
    waiting: list[str] = []
    written = {"events": 0, "at": 0, "seen": 0}
    app = App()

    def event(text: str) -> str:
        """A message as an event, as long as netsvc's."""
        written["events"] += 1
        seq = written["events"]
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        return (
            f'{{"jsonrpc":"2.0","method":"chat.event","params":{{"room":"bench","seq":{seq},"cursor":"ownx8izi2x:{seq}","type":"message",'
            f'"from":"guest-4yr55z","at":"{at}","text":{json.dumps(text)}}}}}'
        )

    def message(_: Any, text: str, opcode: int) -> None:
        """Keep a message until all that are in flight have arrived."""
        waiting.append(event(text))
        if len(waiting) >= window:
            commit(opcode)

    def commit(opcode: int) -> None:
        """Store what is waiting, then deliver it."""
        batch = "".join(waiting).encode()
        batch += bytes(-len(batch) % BLOCK)
        if written["at"] + len(batch) > SIZE:
            written["at"] = 0
        os.pwrite(log, batch, written["at"])
        os.fdatasync(log)
        written["at"] += len(batch)
        for each in waiting:
            app.publish("room", each, opcode)
        waiting.clear()

    def look() -> None:
        """Commit what is left over."""
        if waiting and written["events"] == written["seen"]:
            commit(OpCode.TEXT)
        written["seen"] = written["events"]
        app.loop.loop.call_later(PATIENCE, look)

    app.ws(
        "/*",
        {
            "compression": CompressOptions.DISABLED,
            "max_payload_length": 1 << 20,
            "idle_timeout": 120,
            "open": lambda socket: socket.subscribe("room"),
            "message": message,
        },
    )

    def health(response: Any, request: Any) -> None:
        """Answer plain HTTP: it says that the server is up."""
        response.end("ok")

    app.get("/", health)
    app.listen(AppListenOptions(port=port, host="127.0.0.1"))
    app.loop.loop.call_later(PATIENCE, look)
    app.run()
