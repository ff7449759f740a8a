"""Reading what has happened in a room, by cursors."""

import msgspec
from twisted.internet.defer import Deferred, succeed

from netsvc.core.events import Event, cursor_of, event_of, parse_cursor
from netsvc.core.records import Row
from netsvc.core.ring import Room
from netsvc.errors import InvalidParams
from netsvc.interfaces import IStore

__all__ = ["MOST", "Histories", "History", "check_limit", "position"]

MOST = 200
"""Events in one answer, at most."""


class History(msgspec.Struct):
    """Events in ascending order; ``cursor``, ``more`` and ``recovered`` as in docs/protocol.md."""

    events: list[Event]
    cursor: str
    more: bool
    recovered: bool


def position(parameter: str, cursor: str | None) -> tuple[str, int] | None:
    """Epoch and seq of the cursor that was given as `parameter`, None if none was.

    :raises InvalidParams: it is not a cursor.
    """
    if cursor is None:
        return None
    try:
        return parse_cursor(cursor)
    except ValueError as error:
        raise InvalidParams(f"{parameter}: {error}", parameter=parameter) from None


def check_limit(limit: int, least: int = 0) -> None:
    """Check `limit`.

    :raises InvalidParams: it is out of range.
    """
    if not least <= limit <= MOST:
        raise InvalidParams(f"limit: expected {least} to {MOST}", parameter="limit")


class Histories:
    """Reads from a room's ring as far as that reaches back, else from the store.

    :param store: the log.
    """

    def __init__(self, store: IStore) -> None:
        self._store = store

    def read(self, room: Room, after: tuple[str, int] | None, before: tuple[str, int] | None, limit: int) -> "Deferred[History]":
        """Up to `limit` events after `after`, or the last ones before `before`, or the newest.

        The newest also if the position is not one of this room; with `after`, ``recovered`` is then false.
        """
        head = room.head
        if after is not None:
            epoch, seq = after
            if epoch == self._store.epoch and room.first - 1 <= seq <= head:
                return self._forward(room, seq, head, limit)
        elif before is not None:
            epoch, seq = before
            if epoch == self._store.epoch:
                return self._backward(room, min(seq, head + 1), head, limit, True)
        return self._backward(room, head + 1, head, limit, after is None)

    def _forward(self, room: Room, seq: int, head: int, limit: int) -> "Deferred[History]":
        def made(events: list[Event]) -> History:
            last = events[-1].seq if events else seq
            return History(events, cursor_of(self._store.epoch, last), last < head, True)

        if seq == head or not limit:
            return succeed(made([]))
        ready = room.after(seq, limit)
        if ready is not None:
            return succeed(made(ready))

        def unbroken(events: list[Event]) -> "History | Deferred[History]":
            if events and events[0].seq == seq + 1:
                return made(events)
            # Retention passed the cursor in the meantime.
            room.first = max(room.first, events[0].seq if events else head + 1)
            return self._backward(room, head + 1, head, limit, False)

        return self._store.read_after(room.name, seq, limit, head).addCallback(self._events, room.name).addCallback(unbroken)

    def _backward(self, room: Room, below: int, head: int, limit: int, recovered: bool) -> "Deferred[History]":
        def made(events: list[Event], more: bool) -> History:
            last = events[-1].seq if events else head
            return History(events, cursor_of(self._store.epoch, last), more, recovered)

        if not limit or below <= room.first:
            return succeed(made([], below > room.first))
        start = max(below - 1 - limit, room.first - 1)
        ready = room.after(start, below - 1 - start)
        if ready is not None:
            return succeed(made(ready, start >= room.first))

        def read(events: list[Event]) -> History:
            # Fewer than asked for: retention removed the others in the meantime.
            return made(events, len(events) == limit and events[0].seq > room.first)

        return self._store.read_before(room.name, below, limit).addCallback(self._events, room.name).addCallback(read)

    def _events(self, rows: list[Row], name: str) -> list[Event]:
        epoch = self._store.epoch
        return [event_of(epoch, name, row) for row in rows]
