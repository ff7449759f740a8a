"""P1: small JSON answers over HTTP, `GET /healthz` of the whole daemon, against bare servers."""

import http.client
import sys

from benchmarks.harness import Options, Result, interleave, main, rates
from benchmarks.load import HttpLoad, wrk
from benchmarks.processes import BenchmarkError, Contestant, Running
from benchmarks.servers import netsvc, twisted_web, uvicorn

__all__ = ["benchmark"]

TARGETS = {"uvicorn": 1.5, "twisted.web": 4.0}


def check_answer(server: Running) -> None:
    """Refuse to measure a server that does not answer with a small JSON object."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or not body.startswith(b"{") or answer.getheader("content-type", "").partition(";")[0] != "application/json":
        raise BenchmarkError(f"{server.contestant.name} answers {answer.status} {body[:200]!r}")


def benchmark(options: Options) -> list[Result]:
    """Requests per second over 50 connections."""

    def measure(server: Running) -> HttpLoad:
        check_answer(server)
        return wrk(server, "/healthz", options.seconds)

    peers: list[Contestant] = [uvicorn("uvicorn_health"), twisted_web()]
    seen = interleave(options, [netsvc(), *peers], measure)
    return [rates("P1", "GET /healthz, requests/s", seen["netsvc"], peer, seen.get(peer.name, []), TARGETS[peer.name]) for peer in peers]


if __name__ == "__main__":
    sys.exit(main("http", __doc__, [benchmark]))
