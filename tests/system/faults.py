"""Whether the promises of delivery hold while everything between and below breaks.

``python -m tests.system.faults --minutes 10 --clients 200 --seed 1``: clients of every transport follow rooms and post into them, through a
proxy that cuts, delays, half-opens, refuses and reorders connections, to a daemon that is killed, stopped in order, and frozen. Then
everything is compared. The same seed gives the same fates to connections and the daemon, and the same clients; what meets what still
depends on the machine. docs/reliability.md says what is promised, and the last figures.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.system.clients import post_rpc, run_async
from tests.system.daemon import Daemon
from tests.system.faults_clients import CLIENTS, Client, World
from tests.system.faults_proxy import FaultyProxy

__all__ = ["Options", "Report", "compare", "main", "run"]

SETTINGS = """
[netsvc]
stop_timeout = 3s
[chat]
welcome = You are {name} at {cursor}
heartbeat = 1s
[rooms]
ring_events = 100
[limits]
rate = off
connections_per_address = 0
"""
PER_ROOM = 20
FINISH = 120.0
"""Seconds for everybody to get to the end when all is well again."""

PAGE = 200


class Options(NamedTuple):
    """What is asked for.

    :ivar pause: seconds between two posts of a client, about.
    :ivar calm: seconds between two faults of the daemon: at the least, at the most.
    """

    seconds: float = 600.0
    clients: int = 200
    seed: int = 1
    pause: float = 1.0
    calm: tuple[float, float] = (4.0, 12.0)


class Report(NamedTuple):
    """The outcome.

    :ivar wrong: what was not as promised; nothing, if all is well.
    :ivar figures: what was done.
    """

    wrong: list[str]
    figures: dict[str, Any]


class _Faults:
    """What happens to the daemon."""

    def __init__(self, daemon: Daemon, proxy: FaultyProxy, options: Options) -> None:
        self._daemon = daemon
        self._proxy = proxy
        self._draw = random.Random(f"{options.seed}/daemon")
        self._calm = options.calm
        self.counts: Counter[str] = Counter()

    async def run(self, until: float) -> None:
        """One after the other. After an odd number of restarts it runs all the same."""
        fates = {"kill -9": self._kill, "orderly restart": self._restart, "frozen": self._freeze, "all connections cut": self._cut}
        while True:
            await asyncio.sleep(self._draw.uniform(*self._calm))
            kind = self._draw.choices([*fates], (4, 3, 2, 2))[0]
            length = self._draw.uniform(0.1, 2.0)
            if time.monotonic() >= until:
                return
            self.counts[kind] += 1
            await fates[kind](length)

    async def _kill(self, length: float) -> None:
        self._daemon.kill()
        await asyncio.sleep(length / 2)
        await asyncio.to_thread(self._daemon.start)

    async def _restart(self, length: float) -> None:
        await asyncio.to_thread(self._daemon.stop)
        await asyncio.sleep(length / 4)
        await asyncio.to_thread(self._daemon.start)

    async def _freeze(self, length: float) -> None:
        self._daemon.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(length)
        finally:
            self._daemon.signal(signal.SIGCONT)

    async def _cut(self, _: float) -> None:
        self._proxy.cut()


async def _run(daemon: Daemon, options: Options) -> Report:
    """Run it on a daemon that is started, with `SETTINGS`."""
    proxy = FaultyProxy(daemon.port, str(options.seed))
    await proxy.start()
    world = World(proxy.port, str(options.seed), options.pause)
    rooms = [f"room{number}" for number in range(max(1, options.clients // PER_ROOM))]
    clients = [CLIENTS[number % len(CLIENTS)](world, number, rooms[number // len(CLIENTS) % len(rooms)]) for number in range(options.clients)]
    # A long-poll that does not wait needs a room that is there.
    (epoch,) = {post_rpc(daemon.url, "chat.post", {"room": room, "text": "the first"})["cursor"].partition(":")[0] for room in rooms}
    for client in clients:
        client.epoch = epoch
    faults = _Faults(daemon, proxy, options)
    started = time.monotonic()
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        await _watched(faults.run(started + options.seconds), tasks)
        lasted = time.monotonic() - started
        await _finish(daemon, proxy, world, clients, rooms, tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await proxy.stop()
    compare({room: _log(daemon, room) for room in rooms}, world, clients)
    return Report(world.wrong, _figures(options, world, proxy, faults, lasted))


async def _watched(faults: Any, tasks: "list[asyncio.Task[None]]") -> None:
    """Wait for the faults to be over; a client that has ended before has failed."""
    breaking = asyncio.create_task(faults)
    await asyncio.wait([breaking, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            breaking.cancel()
            task.result()
    await breaking


async def _finish(daemon: Daemon, proxy: FaultyProxy, world: World, clients: Sequence[Client], rooms: Sequence[str], tasks: "list[asyncio.Task[None]]") -> None:
    """Let everybody post what is under way, and see everything."""
    world.posting = False
    proxy.heal()
    until = time.monotonic() + FINISH
    while any(client.waiting for client in clients) and time.monotonic() < until:  # noqa: ASYNC110 - they have no common event
        await asyncio.sleep(0.1)
    world.ends = {room: _head(daemon, room) for room in rooms}
    proxy.cut()
    await asyncio.wait(tasks, timeout=max(1.0, until - time.monotonic()))
    for client in clients:
        if not client.done:
            client.wrong(f"stuck: {len(client.waiting)} posts without an answer, {client.last} of {world.ends[client.room]} seen")


def _head(daemon: Daemon, room: str) -> int:
    return int(post_rpc(daemon.url, "chat.history", {"room": room, "limit": 0})["cursor"].rpartition(":")[2])


def _log(daemon: Daemon, room: str) -> list[dict[str, Any]]:
    """A whole room, from the daemon itself."""
    events: list[dict[str, Any]] = []
    page = post_rpc(daemon.url, "chat.history", {"room": room, "limit": PAGE})
    epoch = page["cursor"].partition(":")[0]
    more, cursor = True, f"{epoch}:0"
    while more:
        page = post_rpc(daemon.url, "chat.history", {"room": room, "limit": PAGE, "after": cursor})
        events += page["events"]
        more, cursor = page["more"], page["cursor"]
    return events


def compare(stored: Mapping[str, Sequence[Mapping[str, Any]]], world: World, clients: Sequence[Client]) -> None:
    """Compare what is stored of each room with what was acknowledged, and with what was seen; the world is told what is wrong."""
    for room, events in stored.items():
        log = {event["seq"]: event["text"] for event in events}
        if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
            world.fail(f"{room}: the log has gaps, or is out of order")
        places: dict[str, list[int]] = {}
        for seq, text in log.items():
            places.setdefault(text, []).append(seq)
        for text, seqs in places.items():
            if len(seqs) > 1:
                world.fail(f"{room}: stored more than once, at {seqs}: {text[:40]!r}")
        if world.logs.get(room, {}) != log:
            world.fail(f"{room}: what clients have seen is not what is stored")
        for client in clients:
            if client.room == room:
                _check_posts(client, places)


def _check_posts(client: Client, places: dict[str, list[int]]) -> None:
    """A client's acknowledged posts are where the answers said, and in the order in which they were made."""
    for text, seq in client.acked:
        if seq not in places.get(text, ()):
            client.wrong(f"acknowledged at {seq} and not there: {text[:40]!r}, which is at {places.get(text)}")
    seqs = [seq for _, seq in client.acked]
    if seqs != sorted(set(seqs)):
        client.wrong("acknowledged posts are out of order")
    if len(client.acked) != client.made:
        client.wrong(f"{client.made - len(client.acked)} posts were never acknowledged")


def _figures(options: Options, world: World, proxy: FaultyProxy, faults: _Faults, lasted: float) -> dict[str, Any]:
    return {
        "seed": options.seed,
        "seconds": round(lasted),
        "clients": options.clients,
        "posts acknowledged": world.counts["acked"],
        "posts sent again": world.counts["posts sent again"],
        "events delivered": world.counts["deliveries"],
        "connections": sum(proxy.faults.values()) - proxy.faults["daemon away"],
        "fates of connections": dict(sorted(proxy.faults.items())),
        "faults of the daemon": dict(sorted(faults.counts.items())),
        "slowest post, seconds": round(world.slowest, 1),
        "not as promised": world.counts["wrong"],
    }


def run(options: Options) -> Report:
    """Start a daemon, run it, stop the daemon; its log must have no traceback."""
    daemon = Daemon(SETTINGS)
    try:
        daemon.start()
        report = run_async(_run(daemon, options))
        daemon.stop()
        for what, text in (("log", daemon.output()), ("standard error", daemon.errors())):
            if "Traceback" in text:
                place = text.index("Traceback")
                report.wrong.append(f"a traceback in the {what}: {text[max(0, place - 500) : place + 2000]}")
    finally:
        daemon.close()
    return report


def main(arguments: Sequence[str]) -> int:
    """The command; 0 if all was as promised."""
    defaults = Options()
    parser = argparse.ArgumentParser(prog="python -m tests.system.faults", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=defaults.seconds / 60)
    parser.add_argument("--clients", type=int, default=defaults.clients)
    parser.add_argument("--seed", type=int, default=None, help="by default another each time")
    given = parser.parse_args(arguments)
    seed = random.randrange(1 << 31) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    report = run(Options(given.minutes * 60, given.clients, seed))
    print(json.dumps(report.figures, indent=2))
    for what in report.wrong:
        print(f"NOT AS PROMISED: {what}")
    print("failed" if report.wrong else "zero lost, zero doubled, zero out of order")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
