"""A TCP proxy between clients and a daemon that does to connections what networks do."""

import asyncio
import random
import socket
import struct
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

__all__ = ["FaultyProxy", "Plan", "plan_of"]

CHUNK = 65536
TRICKLE = 2048
"""Bytes in a tenth of a second."""

CONNECT_DEADLINE = 5.0
HOLD = 1.0
"""Seconds for which a connection attempt waits at the most for a later one to overtake it."""


class Plan(NamedTuple):
    """What happens to one connection.

    :ivar kind: its name in the figures.
    :ivar after: seconds until it happens.
    :ivar lasting: of what has an end, how long it takes.
    :ivar delay: seconds by which each chunk is late, at the most.
    """

    kind: str
    after: float = 0.0
    lasting: float = 0.0
    delay: float = 0.0


KINDS = {
    "none": 20,
    "cut": 20,  # both directions end, with a reset
    "close": 8,  # in order
    "truncate": 10,  # the last chunk comes in part
    "stall": 10,  # half-open: nothing is forwarded any more, and nobody is told; later a reset
    "deaf": 10,  # the daemon hears the client, the client hears nothing more
    "delay": 10,
    "slow": 6,  # what the daemon sends comes in a trickle
    "refuse": 6,
    "overtaken": 6,  # the attempt is held until a later one has come through
}
"""Kinds of fate, and how often each is drawn."""

ENDURING = ("none", "delay", "slow", "overtaken")
"""Those that end no connection."""


def plan_of(seed: str, number: int) -> Plan:
    """What happens to the connection with this number: the same for the same seed."""
    draw = random.Random(f"{seed}/{number}")
    kind = draw.choices([*KINDS], [*KINDS.values()])[0]
    after = draw.choice((0.02, 0.2, 2.0, 12.0)) * draw.random()
    return Plan(kind, after, draw.uniform(0.5, 8.0), draw.uniform(0.01, 0.3) if kind == "delay" else 0.0)


class _Connection:
    """A client's connection and that to the daemon."""

    def __init__(
        self, plan: Plan, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], daemon: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        self._plan = plan
        self._client = client
        self._daemon = daemon
        self._draw = random.Random(f"{plan}")
        self._upwards = asyncio.Event()
        self._downwards = asyncio.Event()
        self._upwards.set()
        self._downwards.set()
        self._truncating = False

    async def run(self) -> None:
        """Forward until an end has closed or the plan is through."""
        pumps = [
            asyncio.create_task(self._pump(self._client[0], self._daemon[1], self._upwards)),
            asyncio.create_task(self._pump(self._daemon[0], self._client[1], self._downwards)),
        ]
        fate = asyncio.create_task(self._fate())
        try:
            await asyncio.wait([*pumps, fate], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*pumps, fate):
                task.cancel()
            await asyncio.gather(*pumps, fate, return_exceptions=True)
            self.end(in_order=self._plan.kind in ("close", *ENDURING))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        with suppress(OSError):
            trickling = self._plan.kind == "slow" and source is self._daemon[0]
            while data := await source.read(TRICKLE if trickling else CHUNK):
                await flowing.wait()
                if trickling:
                    await asyncio.sleep(0.1)
                if self._plan.delay:
                    await asyncio.sleep(self._draw.random() * self._plan.delay)
                if self._truncating:
                    data = data[: self._draw.randrange(len(data))]
                sink.write(data)
                await sink.drain()
                if self._truncating:
                    return

    async def _fate(self) -> None:
        kind, after, lasting, _ = self._plan
        if kind in ENDURING:
            await asyncio.Event().wait()
        await asyncio.sleep(after)
        if kind == "truncate":
            self._truncating = True
            await asyncio.sleep(lasting)
        elif kind in ("stall", "deaf"):
            self._downwards.clear()
            if kind == "stall":
                self._upwards.clear()
            await asyncio.sleep(lasting)

    def end(self, in_order: bool = False) -> None:
        """End both connections."""
        for _, writer in (self._client, self._daemon):
            if in_order:
                with suppress(OSError):
                    writer.close()
            else:
                reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST: what is on its way is lost."""
    end = writer.get_extra_info("socket")
    if end is not None:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultyProxy:
    """Forwards a port of its own to that of a daemon.

    :param target: the daemon's port on 127.0.0.1.
    :param seed: of what happens to which connection.
    :ivar port: where it listens, once started.
    :ivar faults: how often each kind of fate was met.
    :ivar healed: True: nothing happens to connections any more.
    """

    def __init__(self, target: int, seed: str) -> None:
        self._target = target
        self._seed = seed
        self._count = 0
        self._open: set[_Connection] = set()
        self._passed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.faults: Counter[str] = Counter()
        self.healed = False

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            reset(writer)
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self._count = self._count, self._count + 1
        plan = Plan("none") if self.healed else plan_of(self._seed, number)
        self.faults[plan.kind] += 1
        if plan.kind == "refuse":
            reset(writer)
            return
        if plan.kind == "overtaken":
            with suppress(TimeoutError):
                await asyncio.wait_for(self._passed.wait(), HOLD)
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                daemon = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # TimeoutError is one
            self.faults["daemon away"] += 1
            reset(writer)
            return
        self._passed.set()
        self._passed = asyncio.Event()
        connection = _Connection(plan, (reader, writer), daemon)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)

    def cut(self) -> None:
        """Reset every connection that is open now."""
        for connection in list(self._open):
            connection.end()

    def heal(self) -> None:
        """Reset what is open; to what comes from now on nothing happens."""
        self.healed = True
        self.cut()

    async def stop(self) -> None:
        """Stop listening and end everything."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
