"""Queries on the log. Each runs to completion, and its cost depends on its limit, not on the length of the log."""

from sqlite3 import Connection

from netsvc.core.records import RoomInfo, Row, StoredAnswer
from netsvc.store.sqlite.transactions import rows_of

__all__ = ["read_after", "read_before", "recall", "room", "rooms"]

_ROOM = "SELECT name, first, head, at FROM rooms"
_EVENT = "SELECT seq, at, type, sender, text, extra FROM events WHERE room_id = (SELECT id FROM rooms WHERE name = ?)"

_HIGHEST = 2**63 - 1
"""No seq is greater: SQLite's integers end there."""


def room(connection: Connection, name: str) -> RoomInfo | None:
    """The bounds of a room, None if it has no event."""
    rows = rows_of(connection, f"{_ROOM} WHERE name = ?", (name,))
    return RoomInfo._make(rows[0]) if rows else None


def rooms(connection: Connection, after: str, limit: int) -> list[RoomInfo]:
    """Up to `limit` rooms whose names sort after `after`, by code points."""
    return list(map(RoomInfo._make, rows_of(connection, f"{_ROOM} WHERE name > ? ORDER BY name LIMIT ?", (after, limit))))


def read_after(connection: Connection, room: str, after: int, limit: int, upto: int | None) -> list[Row]:
    """Up to `limit` events with seq > after (and seq <= upto), ascending."""
    last = _HIGHEST if upto is None else upto
    query = f"{_EVENT} AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
    return list(map(Row._make, rows_of(connection, query, (room, min(after, _HIGHEST), min(last, _HIGHEST), limit))))


def read_before(connection: Connection, room: str, before: int, limit: int) -> list[Row]:
    """The last `limit` events with seq < before, ascending."""
    rows = rows_of(connection, f"{_EVENT} AND seq < ? ORDER BY seq DESC LIMIT ?", (room, min(before, _HIGHEST), limit))
    return list(map(Row._make, reversed(rows)))


def recall(connection: Connection, scope: str, key: str, now: int) -> StoredAnswer | None:
    """The stored answer of an idempotency key that has not expired at `now` (ms)."""
    rows = rows_of(connection, "SELECT digest, answer FROM answers WHERE scope = ? AND key = ? AND expires > ?", (scope, key, now))
    return StoredAnswer._make(rows[0]) if rows else None
