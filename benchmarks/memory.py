"""P6: memory of an idle WebSocket that has joined a room, 10,000 of them."""

import json
import subprocess
import sys

from benchmarks.harness import Options, Result, interleave, main, result
from benchmarks.load import wsbench_command
from benchmarks.processes import LOAD_CORE, BenchmarkError, Running, pinned, resident_bytes
from benchmarks.room import JOIN
from benchmarks.servers import netsvc, node_echo, socketify_room

__all__ = ["benchmark"]

CLIENTS = 10_000
FIRST = 200  # make the server import and allocate what the first connections need
HOLD = 2.0
LIMIT = 2.5


def hold(server: Running, clients: int, seconds: float) -> int:
    """Connect this many clients and keep them; the server's resident bytes when all are connected and quiet."""
    hello = ["--path", "/ws", "--hello", JOIN] if server.contestant.name == "netsvc" else []
    command = wsbench_command(server, "--mode", "idle", "--clients", str(clients), "--seconds", f"{seconds:g}", *hello)
    # wsbench ends by itself in any case, so reading to the end is bounded.
    with subprocess.Popen(pinned(LOAD_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        assert load.stderr is not None
        ready = load.stdout.readline()
        resident = resident_bytes(server.pid)
        load.stdout.read()
        complaint = load.stderr.read()
    if load.returncode != 0 or json.loads(ready) != {"ready": True}:
        raise BenchmarkError(f"{server.contestant.name} did not keep {clients} WebSockets: {complaint}")
    return resident


def benchmark(options: Options) -> list[Result]:
    """Kilobytes (1,000 bytes) per connection."""

    def measure(server: Running) -> float:
        hold(server, FIRST, 0.1)
        before = resident_bytes(server.pid)
        return (hold(server, CLIENTS, HOLD) - before) / CLIENTS / 1000

    peers = [socketify_room(), node_echo()]
    seen = interleave(options, [netsvc(), *peers], measure)
    return [
        result("P6", f"{CLIENTS:,} idle WebSockets, KB each", seen["netsvc"], peer, seen.get(peer.name, []), target=LIMIT, judged="figure", better="less")
        for peer in peers
    ]


if __name__ == "__main__":
    sys.exit(main("memory", __doc__, [benchmark]))
