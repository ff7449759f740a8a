"""Retention: removing what is too old or too much, a little at a time."""

from collections.abc import Iterator
from sqlite3 import Connection
from typing import NamedTuple

from netsvc.core.records import RoomInfo
from netsvc.store.sqlite.accounts import Accounts
from netsvc.store.sqlite.transactions import rows_of, transaction, value_of

__all__ = ["pruning"]


class _Room(NamedTuple):
    id: int
    name: str
    first: int
    head: int
    at: int


def pruning(connection: Connection, now: int, max_age: int | None, max_events: int | None, batch: int, moved: dict[str, RoomInfo]) -> Iterator[None]:
    """Remove old events, then expired keys and sessions; each step of the iterator is one transaction of about `batch` rows.

    Each room keeps an unbroken run of its newest events, so an old event behind a newer one (the clock was set back) stays until
    that one goes.

    :param now: milliseconds since the Unix epoch.
    :param max_age: milliseconds; None keeps events of any age.
    :param max_events: of each room; None keeps any number.
    :param moved: filled with the rooms whose `first` has moved.
    """
    if max_age is not None or max_events is not None:
        oldest = None if max_age is None else now - max_age
        yield from _prune_rooms(connection, oldest, max_events, batch, moved)
    yield from _prune_answers(connection, now, batch)
    while Accounts(connection).remove_expired_sessions(now, batch):
        yield


def _prune_rooms(connection: Connection, oldest: int | None, max_events: int | None, batch: int, moved: dict[str, RoomInfo]) -> Iterator[None]:
    done = 0
    while rooms := rows_of(connection, "SELECT id, name, first, head, at FROM rooms WHERE id > ? ORDER BY id LIMIT ?", (done, batch)):
        left = batch
        with transaction(connection):
            for room in map(_Room._make, rooms):
                target = _first_kept(connection, room, oldest, max_events, left)
                first = min(target, room.first + left)
                if first > room.first:
                    connection.execute("DELETE FROM events WHERE room_id = ? AND seq < ?", (room.id, first))
                    connection.execute("UPDATE rooms SET first = ? WHERE id = ?", (first, room.id))
                    moved[room.name] = RoomInfo(room.name, first, room.head, room.at)
                    left -= first - room.first
                if first < target:  # the next transaction goes on in this room
                    break
                done = room.id
        yield


def _first_kept(connection: Connection, room: _Room, oldest: int | None, max_events: int | None, left: int) -> int:
    """The seq of the first event that stays, as far as can be said from `left` + 1 events behind those that are too many."""
    kept = room.first if max_events is None else max(room.first, room.head - max_events + 1)
    if oldest is None:
        return kept
    query = "SELECT min(seq) FROM (SELECT seq, at FROM events WHERE room_id = ? AND seq >= ? ORDER BY seq LIMIT ?) WHERE at >= ?"
    young = value_of(connection, query, (room.id, kept, left + 1, oldest))
    return min(kept + left + 1, room.head + 1) if young is None else int(young)


def _prune_answers(connection: Connection, now: int, batch: int) -> Iterator[None]:
    # Two statements: not every SQLite has DELETE … LIMIT, and a subquery for two columns would be a scan.
    while keys := rows_of(connection, "SELECT scope, key FROM answers WHERE expires <= ? LIMIT ?", (now, batch)):
        with transaction(connection):
            connection.executemany("DELETE FROM answers WHERE scope = ? AND key = ?", keys)
        yield
