"""A room in memory, with a ring of its newest events."""

from typing import TYPE_CHECKING

from netsvc.core.events import Event
from netsvc.interfaces import IFormat

if TYPE_CHECKING:  # a fan-out refers to its room
    from netsvc.core.delivery import Fanout

__all__ = ["Room", "cost_of"]

_EVENT_COST = 500
"""Bytes that an event takes in a ring besides its text: the objects, and the frame around the text."""


def cost_of(event: Event) -> int:
    """Roughly what an event takes in a ring, in bytes."""
    # The text is there twice, as a string and in a frame. The string's size accounts for wide characters, its length does not.
    size = 2 * (event.text or "").__sizeof__()
    return _EVENT_COST + size + 150 * (sum(map(len, event.reactions.values())) if event.reactions else 0)


class Room:
    """The part of a followed room that is in memory.

    :ivar head: the newest seq known to be committed.
    :ivar first: the oldest seq that retention left.
    :ivar base: the seq before the ring's first event: ``events[i].seq == base + 1 + i``.
    """

    __slots__ = ("base", "cost", "events", "fanouts", "first", "head", "name")

    def __init__(self, name: str, first: int = 1, head: int = 0) -> None:
        self.name = name
        self.first = first
        self.head = head
        self.base = head
        self.events: list[Event] = []
        self.cost = 0
        self.fanouts: dict[IFormat, Fanout] = {}

    def append(self, event: Event) -> None:
        """Take over a committed event; it enters the ring if the room is followed."""
        seq = event.seq
        if seq <= self.head:
            # The store knew of it already when the room was looked up: anybody who joined since is past it.
            return
        self.head = seq
        if self.fanouts:
            self.events.append(event)
            self.cost += cost_of(event)
        else:
            self.clear(seq)

    def prepend(self, events: list[Event]) -> None:
        """Take over the events right before the ring."""
        self.events[:0] = events
        self.base -= len(events)
        self.cost += sum(map(cost_of, events))

    def clear(self, base: int) -> None:
        """Forget the ring of a room that nobody follows; what comes next is base + 1."""
        self.events.clear()
        self.cost = 0
        self.base = base

    def after(self, seq: int, limit: int) -> list[Event] | None:
        """Up to `limit` events after `seq`, None if the ring does not reach back that far."""
        start = seq - self.base
        return self.events[start : start + limit] if start >= 0 else None

    def trim(self, keep: int) -> int:
        """Drop what is beyond the newest `keep` events and no longer needed by any cohort; returns the cost that this freed."""
        excess = len(self.events) - keep
        if excess <= 0:
            return 0
        excess = min(excess, min((fanout.lowest(self.head) for fanout in self.fanouts.values()), default=self.head) - self.base)
        if excess <= 0:
            return 0
        freed = sum(map(cost_of, self.events[:excess]))
        del self.events[:excess]
        self.base += excess
        self.cost -= freed
        for fanout in self.fanouts.values():
            fanout.trim(self.base)
        return freed
