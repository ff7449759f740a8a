"""P2: JSON-RPC calls over HTTP: typed params, registry, permission and rate check, against a bare sum."""

import http.client
import json
import sys

from benchmarks.harness import Options, Result, interleave, main, rates
from benchmarks.load import HttpLoad, wrk
from benchmarks.processes import BenchmarkError, Running
from benchmarks.servers import netsvc, uvicorn

__all__ = ["benchmark"]

CALL = {"jsonrpc": "2.0", "id": 1, "method": "math.add", "params": [2, 3]}


def check_sum(server: Running) -> None:
    """Refuse to measure a server that cannot add."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/rpc", json.dumps(CALL), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or json.loads(body) != {"jsonrpc": "2.0", "id": 1, "result": 5}:
        raise BenchmarkError(f"{server.contestant.name} answers {answer.status} {body[:200]!r}")


def benchmark(options: Options) -> list[Result]:
    """Calls of math.add per second over 50 connections."""

    def measure(server: Running) -> HttpLoad:
        check_sum(server)
        return wrk(server, "/rpc", options.seconds, script="math_add.lua")

    peer = uvicorn("uvicorn_sum")
    seen = interleave(options, [netsvc("rpc.modules=netsvc.examples.arithmetic"), peer], measure)
    return [rates("P2", "math.add by POST /rpc, calls/s", seen["netsvc"], peer, seen.get(peer.name, []), 1.6)]


if __name__ == "__main__":
    sys.exit(main("rpc_http", __doc__, [benchmark]))
