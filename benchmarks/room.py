"""P4, P8: a room of 500, each message durable before it is delivered, against rooms that store nothing."""

import json
import sys
from statistics import median

from benchmarks.harness import Options, Result, interleave, main, rates, result
from benchmarks.load import WebSocketLoad, wsbench
from benchmarks.processes import Contestant, Running
from benchmarks.servers import channels_room, netsvc, socketify_room

__all__ = ["benchmark"]

CLIENTS = 500
WINDOWS = (1, 4, 16)
SLOW_WINDOW = 4  # where Django Channels is fastest
TARGETS = {1: 0.75, 4: 0.75, 16: 0.9}
TEXT = "x" * 100
JOIN = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "chat.join", "params": {"room": "bench", "limit": 0}})
POST = json.dumps({"jsonrpc": "2.0", "method": "chat.post", "params": {"room": "bench", "text": TEXT}}, separators=(",", ":"))
LATENCY_LIMIT = 10.0


def arguments_for(contestant: str) -> list[str]:
    """What wsbench sends and checks: netsvc's events go up by one at every client, a peer gives back what was sent."""
    clients = ["--mode", "broadcast", "--clients", str(CLIENTS)]
    if contestant == "netsvc":
        checks = ["--count", '"chat.event"', "--need", TEXT, "--seq", '"seq":']
        return [*clients, "--path", "/ws", "--hello", JOIN, "--payload", POST, *checks]
    return [*clients, "--payload", TEXT, "--same"]


def throughput(options: Options) -> tuple[list[Result], float]:
    """Deliveries a second with 1, 4 and 16 messages in flight; also netsvc's messages a second at the most."""

    def measure(server: Running) -> dict[int, WebSocketLoad]:
        name = server.contestant.name
        windows = (SLOW_WINDOW,) if name == "channels" else WINDOWS
        return {window: wsbench(server, options.seconds, "--window", str(window), *arguments_for(name)) for window in windows}

    peer, slow = socketify_room(), channels_room()
    seen = interleave(options, [netsvc(), peer, slow], measure)
    results = [room_result(window, peer, TARGETS[window], seen) for window in WINDOWS]
    results.append(room_result(SLOW_WINDOW, slow, 50.0, seen))
    return results, median(one[WINDOWS[-1]].rate for one in seen["netsvc"]) / CLIENTS


def room_result(window: int, peer: Contestant, target: float, seen: dict[str, list[dict[int, WebSocketLoad]]]) -> Result:
    """The line for one window and one peer."""
    ours = [one[window] for one in seen["netsvc"]]
    return rates("P4", f"room of {CLIENTS}, W={window}, deliveries/s", ours, peer, [one[window] for one in seen.get(peer.name, [])], target)


def latency(options: Options, messages: float) -> list[Result]:
    """Delivery latency when messages come by the clock at half of the greatest load, late or not."""
    rate = ["--rate", f"{messages / 2:.0f}"]
    peer = socketify_room()
    seen = interleave(options, [netsvc(), peer], lambda server: wsbench(server, options.seconds, *rate, *arguments_for(server.contestant.name)))
    ours = [load.p99 for load in seen["netsvc"]]
    theirs = [load.p99 for load in seen.get(peer.name, [])]
    note = f"p50 {median(load.p50 for load in seen['netsvc']):.2f} ms at {messages / 2:.0f} messages/s"
    return [result("P8", "the same at half load, p99 ms", ours, peer, theirs, target=LATENCY_LIMIT, judged="figure", better="less", note=note)]


def benchmark(options: Options) -> list[Result]:
    """Throughput, then latency at half of it."""
    results, messages = throughput(options)
    return [*results, *latency(options, messages)]


if __name__ == "__main__":
    sys.exit(main("room", __doc__, [benchmark]))
