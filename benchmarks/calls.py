"""P3: JSON-RPC calls over 100 WebSockets, one in flight each, against an echo that parses nothing."""

import sys

from benchmarks.harness import Options, Result, interleave, main, rates
from benchmarks.load import WebSocketLoad, wsbench
from benchmarks.processes import Running
from benchmarks.servers import netsvc, node_echo

__all__ = ["benchmark"]

CLIENTS = 100
CALL = '{"jsonrpc":"2.0","id":{n},"method":"math.add","params":[2,3]}'


def benchmark(options: Options) -> list[Result]:
    """Calls per second; each answer must have the sum and the id of its call."""

    def measure(server: Running) -> WebSocketLoad:
        checks = ["--need", '"result":5'] if server.contestant.name == "netsvc" else []
        return wsbench(server, options.seconds, "--mode", "each", "--path", "/ws", "--clients", str(CLIENTS), "--payload", CALL, "--id", '"id":', *checks)

    peer = node_echo()
    seen = interleave(options, [netsvc("rpc.modules=netsvc.examples.arithmetic"), peer], measure)
    return [rates("P3", f"math.add over {CLIENTS} WebSockets, calls/s", seen["netsvc"], peer, seen.get(peer.name, []), 0.75)]


if __name__ == "__main__":
    sys.exit(main("calls", __doc__, [benchmark]))
