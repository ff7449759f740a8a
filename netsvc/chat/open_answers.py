"""HTTP answers that stay open until something happens in a room, and how they end when the daemon stops."""

from collections.abc import Callable
from itertools import islice

from twisted.internet.interfaces import IReactorTime

__all__ = ["OpenAnswers"]

SLICE = 500
"""Answers ended in one reactor turn."""


class OpenAnswers:
    """The event streams and long-polls that are open, each known by the function that ends it.

    :param clock: its `callLater` gives other work its turn between slices.
    :ivar draining: no further answer shall stay open.
    """

    __slots__ = ("_clock", "_ends", "draining")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._ends: dict[Callable[[], None], None] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, end: Callable[[], None]) -> None:
        """One more."""
        self._ends[end] = None

    def remove(self, end: Callable[[], None]) -> None:
        """It is over. No error if it is not listed."""
        self._ends.pop(end, None)

    def drain(self) -> None:
        """End all, a slice in each reactor turn."""
        self.draining = True
        for end in tuple(islice(self._ends, SLICE)):
            self.remove(end)
            end()
        if self._ends:
            self._clock.callLater(0, self.drain)
