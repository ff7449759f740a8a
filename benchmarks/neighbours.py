"""How much of the machine others use during a measurement, and waiting until they use little."""

import os
import time
from pathlib import Path

__all__ = ["QUIET", "Neighbours", "busy_seconds", "wait_for_quiet"]

QUIET = 0.05
"""The share of the machine that others may use while figures that are to be trusted are taken."""

LOOK = 0.5


def busy_seconds(stat: str) -> float:
    """CPU time of all cores used, or taken by the host, since the machine started; from the text of /proc/stat."""
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Neighbours:
    """How much of the machine others use from now on. When asked, all that the benchmark started must have ended, and counts as its own."""

    def __init__(self) -> None:
        self._begun, self._busy, self._own = self._now()

    def _now(self) -> tuple[float, float, float]:
        own = os.times()
        return time.monotonic(), busy_seconds(Path("/proc/stat").read_text()), own.user + own.system + own.children_user + own.children_system

    def share(self) -> float:
        """Their share of all cores, 0 to 1."""
        now, busy, own = self._now()
        return max(0.0, busy - self._busy - (own - self._own)) / (now - self._begun) / (os.cpu_count() or 1)


def wait_for_quiet(until: float) -> bool:
    """Wait until others use little, at most until this time of `time.monotonic`; returns whether they do."""
    while True:
        neighbours = Neighbours()
        time.sleep(LOOK)
        if neighbours.share() <= QUIET:
            return True
        if time.monotonic() > until:
            return False
