"""P4, P8: a room of 500, each message durable before it is delivered, against rooms that store nothing, and one that does the same."""

import json
import sys
from statistics import median

from benchmarks.harness import Options, Result, interleave, main, rates, result
from benchmarks.load import wsbench
from benchmarks.processes import Running
from benchmarks.servers import channels_room, netsvc, socketify_log_room, socketify_room

__all__ = ["benchmark"]

CLIENTS = 500
WINDOWS = (1, 4, 16)
SLOW_WINDOW = 4  # at which Django Channels is fastest
RATIOS = {1: 0.75, 4: 0.75, 16: 0.9}
TARGETS = {(name, window): ratio for window, ratio in RATIOS.items() for name in ("socketify", "socketify with a log")} | {("channels", SLOW_WINDOW): 50.0}
TEXT = "x" * 100
JOIN = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "chat.join", "params": {"room": "bench", "limit": 0}})
POST = json.dumps({"jsonrpc": "2.0", "method": "chat.post", "params": {"room": "bench", "text": TEXT}}, separators=(",", ":"))
LATENCY_LIMIT = 10.0


def arguments_for(server: Running) -> list[str]:
    """What wsbench sends and checks: events go up by one at every client; a peer without a log returns what was sent."""
    clients = ["--mode", "broadcast", "--clients", str(CLIENTS)]
    checks = ["--count", '"chat.event"', "--need", TEXT, "--seq", '"seq":']
    if server.contestant.name == "netsvc":
        return [*clients, "--path", "/ws", "--hello", JOIN, "--payload", POST, *checks]
    return [*clients, "--payload", TEXT, *(checks if server.contestant.name == "socketify with a log" else ["--same"])]


def throughput(options: Options, window: int) -> list[Result]:
    """Deliveries per second with this many messages in flight."""
    contestants = [socketify_room(), socketify_log_room(window), *([channels_room()] if window == SLOW_WINDOW else [])]
    peers = {one.name: one for one in contestants}
    arguments = ["--window", str(window)]
    seen = interleave(options, [netsvc(), *peers.values()], lambda server: wsbench(server, options.seconds, *arguments, *arguments_for(server)))
    what = f"room of {CLIENTS}, W={window}, deliveries/s"
    return [rates("P4", what, seen["netsvc"], peer, seen.get(name, []), TARGETS[name, window]) for name, peer in peers.items()]


def latency(options: Options, messages: float) -> list[Result]:
    """Delivery latency when messages are sent by the clock at half of the maximum load, late or not."""
    rate = ["--rate", f"{messages / 2:.0f}"]
    peer = socketify_room()
    seen = interleave(options, [netsvc(), peer], lambda server: wsbench(server, options.seconds, *rate, *arguments_for(server)))
    ours = [load.p99 for load in seen["netsvc"]]
    theirs = [load.p99 for load in seen.get(peer.name, [])]
    note = f"p50 {median(load.p50 for load in seen['netsvc']):.2f} ms at {messages / 2:.0f} messages/s"
    return [result("P8", "the same at half load, p99 ms", ours, peer, theirs, target=LATENCY_LIMIT, judged="figure", better="less", note=note)]


def benchmark(options: Options) -> list[Result]:
    """Throughput, then latency at half of the maximum."""
    results = [line for window in WINDOWS for line in throughput(options, window)]
    greatest = max(line.ours for line in results) / CLIENTS
    return [*results, *latency(options, greatest)]


if __name__ == "__main__":
    sys.exit(main("room", __doc__, [benchmark]))
