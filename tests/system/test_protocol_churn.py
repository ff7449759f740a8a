"""Hundreds of WebSockets that come and go while others post: nothing acked is missing or doubled, and memory comes back."""

import asyncio
import contextlib
import json
import os
import random
import time
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.system.clients import post_rpc, run_async
from tests.system.programs import eventually
from tests.system.served import ServedCase

ROOM = "churn"
VISITORS = 500
POSTERS = 4
PAUSE = 0.2
"""Seconds between two posts of one poster: 500 visitors in Python take no more than some ten thousand messages a second."""

FEWEST = 3
"""Posts of each poster, however slow the machine is."""

WARMING = 0.5
SECONDS = 3.0
STAYS = (0.1, 1.0)
DEADLINE = 30.0
GROWTH = 16 << 20
"""Bytes that the daemon may have grown by when all is over: what its rings and the allocator keep."""


@dataclass
class Talk:
    """What visitors and posters share.

    :ivar start: the cursor at which visitors begin.
    :ivar until: when it is late, on the monotonic clock.
    :ivar acked: where each acknowledged text stands.
    :ivar end: the last seq, known when all have posted.
    """

    url: str
    start: str
    until: float
    acked: dict[str, int] = field(default_factory=dict)
    end: int | None = None


class Visitor:
    """Joins again and again, resumes by its cursor, and leaves in all the ways there are.

    :ivar texts: what it has seen, in order.
    :ivar wrong: what was not as promised.
    """

    def __init__(self, talk: Talk, number: int) -> None:
        self._talk = talk
        self._random = random.Random(number)
        self._cursor = talk.start
        self._last = int(talk.start.rpartition(":")[2])
        self._joined = False
        self.texts: list[str] = []
        self.visits = 0
        self.wrong: list[Any] = []

    async def run(self) -> None:
        """Visit until it is late, and then once more to the end."""
        while not self.visits or time.monotonic() < self._talk.until:
            await self._visit(self._random.uniform(*STAYS))
        await self._visit(DEADLINE)
        if self._last != self._talk.end:
            self.wrong.append(f"reached {self._last} of {self._talk.end}")

    async def _visit(self, seconds: float) -> None:
        self.visits += 1
        self._joined = False
        async with connect(f"{self._talk.url}/ws", proxy=None, open_timeout=DEADLINE, close_timeout=DEADLINE, max_queue=None, compression=None) as client:
            params = {"room": ROOM, "limit": self._random.choice((0, 1, 20)), "after": self._cursor}
            await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "chat.join", "params": params}))
            try:
                async with asyncio.timeout(seconds):
                    while not self._joined or self._last != self._talk.end:
                        self._take(json.loads(await client.recv()))
            except TimeoutError:
                pass
            except ConnectionClosed as closed:
                self.wrong.append(repr(closed))
            how = self._random.choice(("close", "leave", "break"))
            if how == "leave":
                await client.send(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "chat.leave", "params": {"room": ROOM}}))
            elif how == "break":
                client.transport.abort()

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("id") == 1:
            self._joined = True
            joined = message.get("result", {})
            if not joined.get("recovered"):
                self.wrong.append(message)
            for event in joined.get("events", ()):
                self._see(event)
        elif message.get("method") == "chat.event" and self._joined:
            self._see(message["params"])
        elif message.get("method") != "chat.presence":
            self.wrong.append(message)

    def _see(self, event: dict[str, Any]) -> None:
        if event["seq"] != self._last + 1:
            self.wrong.append(f"{event['seq']} behind {self._last}")
        self._last, self._cursor = event["seq"], event["cursor"]
        self.texts.append(event["text"])


async def post(talk: Talk, number: int) -> None:
    """Post until it is late, and something in any case: on a busy machine it may be late before the first connection is there."""
    async with connect(f"{talk.url}/ws", proxy=None, compression=None) as client:
        count = 0
        while count < FEWEST or time.monotonic() < talk.until:
            count += 1
            params = {"room": ROOM, "text": f"{number}-{count}"}
            await client.send(json.dumps({"jsonrpc": "2.0", "id": count, "method": "chat.post", "params": params}))
            answer = json.loads(await client.recv())
            talk.acked[params["text"]] = answer["result"]["seq"]
            await asyncio.sleep(PAUSE)


async def churn(talk: Talk) -> list[Visitor]:
    """All of them at once."""
    visitors = [Visitor(talk, number) for number in range(VISITORS)]
    visiting = [asyncio.create_task(visitor.run()) for visitor in visitors]
    await asyncio.gather(*(post(talk, number) for number in range(POSTERS)))
    talk.end = max(talk.acked.values())
    await asyncio.gather(*visiting)
    return visitors


class ChurnTests(ServedCase):
    """Coming and going."""

    settings = "[limits]\nrate = off\nconnections_per_address = 0\n[rooms]\npresence_grace = 500ms\n"

    def memory(self) -> int:
        """Bytes that the daemon has in memory."""
        with open(f"/proc/{self.daemon.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))

    def sockets(self) -> int:
        """Sockets that it has open."""
        folder = f"/proc/{self.daemon.pid}/fd"
        count = 0
        for descriptor in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed since
                count += os.readlink(f"{folder}/{descriptor}").startswith("socket:")
        return count

    def talk(self, seconds: float) -> None:
        """A round of talk, of which every visitor sees all, once and in order."""
        start = post_rpc(self.url, "chat.post", {"room": ROOM, "text": "first"})["cursor"]
        talk = Talk(self.daemon.websocket_url, start, time.monotonic() + seconds)
        visitors = run_async(churn(talk))
        self.assertEqual([wrong for visitor in visitors for wrong in visitor.wrong][:5], [])
        in_order = sorted(talk.acked, key=lambda text: talk.acked[text])
        self.assertEqual([visitor.texts == in_order for visitor in visitors], [True] * VISITORS)
        self.assertGreaterEqual(min(visitor.visits for visitor in visitors), 2)

    def test_nothing_lost_nothing_doubled(self) -> None:
        """Every visitor sees every acked message once, in order, however often it has left; neither memory nor sockets stay with the daemon."""
        before = self.sockets()
        self.talk(WARMING)
        warm = self.memory()
        self.talk(SECONDS)
        eventually(lambda: self.sockets() <= before + 1, DEADLINE, "the last connection to be gone")
        self.assertLess(self.memory() - warm, GROWTH)
        eventually(lambda: post_rpc(self.url, "chat.who", {"room": ROOM})["count"] == 0, DEADLINE, "nobody to be there")
