"""A room in memory, with a ring of its newest events."""

from typing import TYPE_CHECKING

from netsvc.core.events import Event
from netsvc.interfaces import IFormat

if TYPE_CHECKING:  # a fan-out is of a room
    from netsvc.core.delivery import Fanout

__all__ = ["Room", "cost_of"]

_EVENT_COST = 500
"""Bytes that an event costs in a ring besides its text: the objects, and the frame around the text."""


def cost_of(event: Event) -> int:
    """About what an event costs in a ring, bytes."""
    # The text is there twice, as a string and in a frame. The string's size tells wide characters from ASCII, its length does not.
    size = 2 * (event.text or "").__sizeof__()
    return _EVENT_COST + size + 150 * (sum(map(len, event.reactions.values())) if event.reactions else 0)


class Room:
    """What is in memory of a room that somebody follows.

    :ivar head: the newest seq known to be committed.
    :ivar first: the oldest seq that retention has left.
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
            # The store told of it already when the room was looked up: whoever joined since is past it.
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
        """Up to `limit` events behind `seq`, None if the ring does not reach back that far."""
        start = seq - self.base
        return self.events[start : start + limit] if start >= 0 else None

    def trim(self, keep: int) -> int:
        """Drop what is beyond the newest `keep` events and no cohort needs any more; returns the cost that this freed."""
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
