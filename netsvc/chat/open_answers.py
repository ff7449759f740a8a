"""HTTP answers that stay open until something happens in a room, and how they end when the daemon stops."""

from collections.abc import Callable, Iterator
from itertools import islice

from twisted.internet.interfaces import IReactorTime

from netsvc.http.open_websockets import ReturnTimes

__all__ = ["OpenAnswers"]

End = Callable[[float], None]

SLICE = 500
"""Answers ended in one reactor turn."""


class OpenAnswers:
    """The open event streams and long-polls, each as the function that ends it, given the seconds after which its client is to
    come back.

    :param clock: its `callLater` lets other work run between slices.
    :param return_times: when clients that are sent away come back.
    :ivar draining: no more answers may stay open.
    """

    __slots__ = ("_clock", "_ends", "_return_times", "draining")

    def __init__(self, clock: IReactorTime, return_times: ReturnTimes) -> None:
        self._clock = clock
        self._return_times = return_times
        self._ends: dict[End, None] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._ends)

    def return_after(self) -> float:
        """Seconds after which one client that is sent away now is to come back."""
        return next(self._return_times(1))

    def add(self, end: End) -> None:
        """List an open answer."""
        self._ends[end] = None

    def remove(self, end: End) -> None:
        """An answer has ended. No error if it is not listed."""
        self._ends.pop(end, None)

    def drain(self) -> None:
        """End all, a slice in each reactor turn."""
        self.draining = True
        self._end(self._return_times(len(self._ends)))

    def _end(self, times: Iterator[float]) -> None:
        for end in tuple(islice(self._ends, SLICE)):
            self.remove(end)
            end(next(times, 0.0))
        if self._ends:
            self._clock.callLater(0, self._end, times)
