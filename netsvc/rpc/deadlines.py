"""The deadline of calls that did not ask for one: all get the same time, so they expire in the order in which they came."""

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

__all__ = ["Expiring", "SameDeadline"]


class Expiring(Protocol):
    """Something that waits, with a deadline.

    :ivar due: the deadline, in seconds of the clock; 0 before it waits.
    """

    due: float

    def expired(self) -> None:
        """Its time is up."""


class SameDeadline:
    """A queue of entries that all get the same time. It is cheaper than a wheel, since nothing moves in it.

    :param clock: the reactor, or a Clock in tests.
    :param seconds: the time that each gets.
    :param tick: the resolution, in seconds.
    """

    def __init__(self, clock: IReactorTime, seconds: float, tick: float) -> None:
        self._clock = clock
        self._tick = tick
        self.seconds = seconds
        self._waiting: dict[Expiring, None] = {}
        self._looking = False

    def add(self, entry: Expiring) -> None:
        """Call ``entry.expired()`` when its time is up."""
        entry.due = self._clock.seconds() + self.seconds
        self._waiting[entry] = None
        if not self._looking:
            self._looking = True
            self._clock.callLater(self.seconds, self._look)

    def remove(self, entry: Expiring) -> None:
        """It no longer waits; no error if it did not."""
        self._waiting.pop(entry, None)

    def _look(self) -> None:
        """Expire those that are due; look again when the next one is."""
        now = self._clock.seconds()
        due = []
        self._looking = False
        if self._waiting and next(iter(self._waiting)).due > now + self.seconds:  # the clock was set back
            for entry in self._waiting:
                entry.due = min(entry.due, now + self.seconds)
        for entry in self._waiting:
            if entry.due > now:
                self._looking = True
                self._clock.callLater(max(entry.due - now, self._tick), self._look)
                break
            due.append(entry)
        for entry in due:
            if entry in self._waiting:  # or the end of another was its end as well
                self.remove(entry)
                entry.expired()
