"""P9: from the start of the process to READY, against a daemon of Twisted's own."""

import socket
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Options, Result, interleave, main, result
from benchmarks.processes import BenchmarkError, Running
from benchmarks.servers import netsvc, twistd_web

__all__ = ["benchmark"]

LIMIT = 0.6
READY_DEADLINE = 20.0


def seconds_to_ready(server: Running, notices: socket.socket) -> float:
    """Wait for READY=1, as systemd would."""
    while True:
        try:
            notice = notices.recv(4096)
        except TimeoutError as fault:
            raise BenchmarkError(f"no READY=1 within {READY_DEADLINE:g} s") from fault
        if b"READY=1" in notice.splitlines():
            return time.monotonic() - server.begun


def benchmark(options: Options) -> list[Result]:
    """Seconds, with an empty state directory; the peer's until it accepts connections."""
    with tempfile.TemporaryDirectory(prefix="netsvc-bench-") as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        path = str(Path(place, "notify"))
        notices.bind(path)
        notices.settimeout(READY_DEADLINE)

        def measure(server: Running) -> float:
            if server.contestant.name == "netsvc":
                return seconds_to_ready(server, notices)
            return server.listening - server.begun

        peer = twistd_web()
        seen = interleave(options, [replace(netsvc(), environment={"NOTIFY_SOCKET": path}), peer], measure)
    return [result("P9", "start to READY, s", seen["netsvc"], peer, seen[peer.name], target=LIMIT, judged="figure", better="less")]


if __name__ == "__main__":
    sys.exit(main("start", __doc__, [benchmark]))
