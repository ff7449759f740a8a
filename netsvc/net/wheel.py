"""One timer for all connections: a wheel of ticks instead of a delayed call per timeout."""

from math import ceil
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["TimingWheel", "WheelEntry"]

_SLICE = 1000
"""Entries expired in one reactor turn, so that ten thousand pings due at once hold up nobody else."""


class WheelEntry(Protocol):
    """What can wait in a wheel.

    :ivar wheel_slot: the wheel's own mark: the tick at which the entry expires, None while it does not wait. It starts as None.
    """

    wheel_slot: int | None

    def expired(self) -> None:
        """The time is over; the entry no longer waits and may be added again from here."""


class TimingWheel:
    """Timeouts in whole ticks: never early, at most two ticks late.

    Adding and cancelling cost the same however many entries wait. There is one delayed call, and only while something waits.

    :param clock: the reactor, or a Clock in tests.
    :param tick: the resolution in seconds.
    :ivar now: the tick that was reached last; it stands still while nothing waits.
    """

    __slots__ = ("_call", "_clock", "_log", "_slots", "_turning", "_waiting", "now", "tick")

    def __init__(self, clock: IReactorTime, tick: float = 1.0) -> None:
        self._clock = clock
        self._log = Logger()
        self._slots: dict[int, set[WheelEntry]] = {}
        self._waiting = 0
        self._call: IDelayedCall | None = None
        self._turning = False
        self.tick = tick
        self.now = self._reached()

    def __len__(self) -> int:
        return self._waiting

    def due(self, seconds: float) -> int:
        """The tick at which `seconds` from now are certainly over, if the wheel turns: while nothing waits, `wake` it first."""
        return self.now + 1 + ceil(seconds / self.tick)

    def add(self, entry: WheelEntry, seconds: float) -> None:
        """Call ``entry.expired()`` after `seconds`. An entry that is already waiting starts anew."""
        self.wake()
        self.add_at(entry, self.due(seconds))

    def add_at(self, entry: WheelEntry, tick: int) -> None:
        """Call ``entry.expired()`` at a tick that `due` gave, or at the next one if that has passed."""
        if entry.wheel_slot is not None:
            self.cancel(entry)
        self.wake()
        slot = max(tick, self.now + 1)
        entry.wheel_slot = slot
        self._slots.setdefault(slot, set()).add(entry)
        self._waiting += 1

    def cancel(self, entry: WheelEntry) -> None:
        """Stop the entry from waiting; no error if it was not."""
        slot = entry.wheel_slot
        if slot is None:
            return
        entry.wheel_slot = None
        entries = self._slots[slot]
        entries.remove(entry)
        self._waiting -= 1
        if not entries:
            del self._slots[slot]
        if not self._waiting and self._call is not None:
            self._call.cancel()
            self._call = None

    def _reached(self) -> int:
        return int(self._clock.seconds() / self.tick)

    def wake(self) -> None:
        """Bring `now` up to date after a time without entries. An entry must be added right after that."""
        if self._call is None and not self._turning:
            self.now = max(self.now, self._reached())
            self._schedule()

    def _schedule(self) -> None:
        # At most one tick, in case the clock was set back.
        wait = min(self.tick, max(0.0, (self.now + 1) * self.tick - self._clock.seconds()))
        self._call = self._clock.callLater(wait, self._turn, 1)

    def _turn(self, ticks: int) -> None:
        """Expire what is due. `ticks` is how far the wheel moves at least, so that rounding of floats cannot hold it in place."""
        self._call = None
        self.now = max(self.now + ticks, self._reached())
        self._turning = True
        try:
            done = self._expire(_SLICE)
        finally:
            self._turning = False
        if self._waiting:
            if done:
                self._schedule()
            else:
                self._call = self._clock.callLater(0, self._turn, 0)

    def _expire(self, left: int) -> bool:
        """Expire up to `left` entries; False if more are due."""
        for slot in sorted(slot for slot in self._slots if slot <= self.now):
            entries = self._slots.get(slot)
            while entries:
                if not left:
                    return False
                left -= 1
                entry = entries.pop()
                self._waiting -= 1
                entry.wheel_slot = None
                try:
                    entry.expired()
                except Exception:
                    self._log.failure("A timeout of {entry!r} failed", entry=entry)
            self._slots.pop(slot, None)
        return True
