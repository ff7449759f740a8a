"""TCP ports for the servers of tests, which nobody else takes while the tests run."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

__all__ = ["free_port"]

_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10240
"""Below it browsers refuse some ports, the last of them 10080 (Fetch standard, "bad port")."""


class _Ports:
    """Ports that are given away once, by this process or another one that runs tests beside it.

    A port that is only looked at may be taken by the time a daemon wants it, above all at a restart: the kernel gives each connection that is
    made a port of ``ip_local_port_range`` (ip(7)). So none of that range is given away. And a port is locked, as a byte of a file, until the
    process ends.
    """

    def __init__(self) -> None:
        self._locks = open(Path(tempfile.gettempdir()) / f"netsvc-test-ports-{os.getuid()}", "ab")  # noqa: SIM115 - its locks are for as long as the process
        first, last = map(int, _CONNECTIONS.read_text().split()) if _CONNECTIONS.exists() else (32768, 60999)
        self._candidates = [port for port in range(_LOWEST, 65536) if not first <= port <= last] or [*range(_LOWEST, 65536)]
        random.shuffle(self._candidates)  # what ended a moment ago may still hold what comes first

    def take(self) -> int:
        """One more. OSError if there is none left."""
        while self._candidates:
            port = self._candidates.pop()
            if self._locked(port) and _free(port):
                return port
        raise OSError("no free TCP port is left for tests")

    def _locked(self, port: int) -> bool:
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_ports = _Ports()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that nobody else is given as long as this process runs."""
    return _ports.take()
