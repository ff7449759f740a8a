"""Who is in a room: counts and deltas, so a big room costs no more than a small one."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

__all__ = ["NAMES", "PACE", "Delta", "Presence"]

NAMES = 100
"""Names in one answer or one delta, at most; the count is always exact."""


PACE = 1000
"""Roughly how many deltas are sent in one room each second: the more clients there are to tell, the longer changes are collected."""


class Delta(NamedTuple):
    """What changed since the last delta."""

    joined: Sequence[str]
    left: Sequence[str]
    present: int


class Presence:
    """The names in one room. A name is there once, however many connections it has; it is gone `grace` seconds after the last."""

    __slots__ = ("_grace", "_here", "_joined", "_leaving", "_left", "_rest", "_told_at")

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._here: dict[str, int] = {}
        self._leaving: dict[str, float] = {}
        self._joined: dict[str, None] = {}
        self._left: dict[str, None] = {}
        self._told_at = 0.0
        self._rest = 0.0

    def __len__(self) -> int:
        return len(self._here)

    @property
    def pending(self) -> bool:
        """Whether a sweep has something to do, now or later."""
        return bool(self._leaving or self._joined or self._left)

    def names(self) -> list[str]:
        """Up to NAMES of those present."""
        return list(islice(self._here, NAMES))

    def came(self, name: str) -> None:
        """One more connection of `name`."""
        connections = self._here.get(name)
        if connections is None:
            if name in self._left:
                del self._left[name]
            else:
                self._joined[name] = None
            connections = 0
        elif not connections:
            del self._leaving[name]
        self._here[name] = connections + 1

    def went(self, name: str, now: float) -> None:
        """One connection fewer of `name`."""
        self._here[name] -= 1
        if not self._here[name]:
            self._leaving[name] = now + self._grace

    def renamed(self, old: str, new: str) -> None:
        """A connection of `old` now belongs to `new`. This is not an absence: if it was the last one, the old name is gone at once."""
        self.came(new)
        self._here[old] -= 1
        if not self._here[old]:
            self._drop(old)

    def _drop(self, name: str) -> None:
        del self._here[name]
        if name in self._joined:
            del self._joined[name]
        else:
            self._left[name] = None

    def sweep(self, now: float) -> Delta | None:
        """Drop those absent for long enough; returns the changes since the last delta, None if there are none, or if it is too early for a
        room of this size to be told again."""
        # Insertion order is time order, as every absence has the same grace period. An absence due later than that began before the
        # clock was set back.
        gone = []
        for name, due in self._leaving.items():
            if now < due <= now + self._grace:
                break
            gone.append(name)
        for name in gone:
            del self._leaving[name]
            self._drop(name)
        if 0 <= now - self._told_at < self._rest or not (self._joined or self._left):
            return None
        self._told_at, self._rest = now, len(self._here) / PACE
        delta = Delta(tuple(islice(self._joined, NAMES)), tuple(islice(self._left, NAMES)), len(self._here))
        self._joined.clear()
        self._left.clear()
        return delta
