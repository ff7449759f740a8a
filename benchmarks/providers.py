"""Calls to a procedure that a program provides, against the same load on one of the daemon's own procedures."""

import subprocess
import sys
from dataclasses import replace

from benchmarks.harness import Options, Result, interleave, main, rates
from benchmarks.load import WebSocketLoad, wsbench
from benchmarks.processes import BenchmarkError, Running, free_port, pinned
from benchmarks.servers import netsvc

__all__ = ["benchmark"]

CLIENTS = 100
CALL = '{"jsonrpc":"2.0","id":{n},"method":"%s","params":[2,3]}'


def _load(server: Running, method: str, seconds: float) -> WebSocketLoad:
    call = CALL % method
    return wsbench(
        server, seconds, "--mode", "each", "--path", "/ws", "--clients", str(CLIENTS), "--payload", call, "--id", '"id":', "--need", '"result":5'
    )


def benchmark(options: Options) -> list[Result]:
    """Calls per second over WebSockets, one in flight each; the provider is one program on a [lines] connection."""
    lines = free_port()
    settings = ("rpc.provide=guest", "rpc.modules=netsvc.examples.arithmetic", "limits.slow_calls=100000", f"lines.listen=tcp:{lines}:interface=127.0.0.1")
    provided, own = netsvc(*settings), replace(netsvc(*settings), name="netsvc itself")

    def measure(server: Running) -> WebSocketLoad:
        if server.contestant is own:
            return _load(server, "math.add", options.seconds)
        command = pinned(1, [sys.executable, "-m", "benchmarks.peers.provider", str(lines)])
        with subprocess.Popen(command, stdout=subprocess.PIPE) as provider:
            try:
                assert provider.stdout is not None
                if provider.stdout.readline() != b"ready\n":
                    raise BenchmarkError("the provider does not serve")
                return _load(server, "bench.add", options.seconds)
            finally:
                provider.kill()

    seen = interleave(options, [provided, own], measure)
    return [rates("", f"calls through a provider, {CLIENTS} WebSockets, calls/s", seen["netsvc"], own, seen[own.name], None)]


if __name__ == "__main__":
    sys.exit(main("providers", __doc__, [benchmark]))
