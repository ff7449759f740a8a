"""Joining a room whose ring is empty: one read of the store for all clients that come, as after a restart."""

from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netsvc.core.delivery import Delivery
from netsvc.core.events import Event, event_of
from netsvc.core.history import MOST, Histories, History
from netsvc.core.records import Row
from netsvc.core.ring import Room
from netsvc.interfaces import IStore

__all__ = ["CatchUp"]

READ = 2 * MOST
"""Events read at once: clients that missed no more than these get them from memory."""

PATIENCE = 0.1
"""Seconds for which events that were read are kept until somebody is in the room."""

_AMENDING = frozenset(("edit", "delete", "reaction"))
"""Events that change older ones: what was read before them is out of date."""


class CatchUp:
    """Reads what members get when they join.

    Where the ring does not reach back far enough, the first to ask starts a read of the events before it; others who come meanwhile wait for
    the same read. These events then become the beginning of the ring, so those who come later need no read at all.

    :param store: the log.
    :param histories: reads what is further back, and everything else.
    :param delivery: owns the rings.
    """

    def __init__(self, store: IStore, histories: Histories, delivery: Delivery) -> None:
        self._store = store
        self._histories = histories
        self._delivery = delivery
        self._most = min(READ, delivery.ring_events)
        self._waiting: dict[Room, list[Deferred[Room]]] = {}

    def read(self, room: Room, after: tuple[str, int] | None, limit: int) -> "Deferred[History]":
        """As Histories.read."""
        head = room.head
        wanted = after[1] if after is not None and after[0] == self._store.epoch else head - limit
        if not limit or not head - self._most <= wanted < min(room.base, head):
            return self._histories.read(room, after, None, limit)
        return self._filled(room).addCallback(self._histories.read, after, None, limit)

    def _filled(self, room: Room) -> "Deferred[Room]":
        """The room with a longer ring, or as it was if too much has happened in it meanwhile."""
        waiter: Deferred[Room] = Deferred()
        waiting = self._waiting.setdefault(room, [])
        waiting.append(waiter)
        if len(waiting) == 1:
            base, head = room.base, room.head
            reading = self._store.read_before(room.name, base + 1, self._most - (head - base))
            reading.addCallbacks(partial(self._read, room, base, head), partial(self._failed, room))
        return waiter

    def _failed(self, room: Room, failure: Failure) -> None:
        for waiter in self._waiting.pop(room):
            waiter.errback(failure)

    def _read(self, room: Room, base: int, head: int, rows: list[Row]) -> None:
        epoch = self._store.epoch
        events = [event_of(epoch, room.name, row) for row in rows if row.seq >= room.first]
        found = room
        whole = bool(events) and events[-1].seq == base and events[0].seq == base + 1 - len(events)
        if whole and room.base == base and not _amended(room, head):
            found = Room(room.name, room.first, room.head)
            found.base, found.events = base - len(events), events + room.events
        for waiter in self._waiting.pop(room):
            waiter.callback(found)
        if found is not room and not self._kept(room, base, head, events):
            # Those who waited are checked again before they are in.
            self._delivery.clock.callLater(PATIENCE, self._kept, room, base, head, events)

    def _kept(self, room: Room, base: int, head: int, events: list[Event]) -> bool:
        """Make them the beginning of the ring, if somebody follows the room and they are still as in the log."""
        fits = bool(room.fanouts) and room.base == base and not _amended(room, head)
        if fits:
            self._delivery.prepend(room, events)
        return fits


def _amended(room: Room, head: int) -> bool:
    """Whether something came after `head` that changed older events, or may have."""
    return room.base > head or any(event.type in _AMENDING for event in room.events[head - room.base :])
