"""P3: JSON-RPC calls over 100 WebSockets, one in flight each, against an echo that parses nothing; and the same with eight in flight."""

import sys

from benchmarks.harness import Options, Result, interleave, main, rates
from benchmarks.load import WebSocketLoad, wsbench
from benchmarks.processes import Running
from benchmarks.servers import netsvc, node_echo

__all__ = ["benchmark"]

CLIENTS = 100
SEVERAL = 8
CALL = '{"jsonrpc":"2.0","id":{n},"method":"math.add","params":[2,3]}'


def calls(options: Options, mark: str, window: int, target: float | None) -> Result:
    """Calls per second with so many in flight for each client; each answer must have the sum and the id of its call."""

    def measure(server: Running) -> WebSocketLoad:
        checks = ["--need", '"result":5'] if server.contestant.name == "netsvc" else []
        load = ["--mode", "each", "--path", "/ws", "--clients", str(CLIENTS), "--window", str(window), "--payload", CALL]
        return wsbench(server, options.seconds, *load, "--id", '"id":', *checks)

    peer = node_echo()
    seen = interleave(options, [netsvc("rpc.modules=netsvc.examples.arithmetic"), peer], measure)
    return rates(mark, f"math.add over {CLIENTS} WebSockets, {window} in flight, calls/s", seen["netsvc"], peer, seen.get(peer.name, []), target)


def benchmark(options: Options) -> list[Result]:
    """With one call in flight, as P3 asks, and with several, as programs do."""
    return [calls(options, "P3", 1, 0.75), calls(options, "", SEVERAL, None)]


if __name__ == "__main__":
    sys.exit(main("calls", __doc__, [benchmark]))
