"""Retention: removing what is too old or too much, bit by bit."""

from collections.abc import Iterator
from sqlite3 import Connection
from typing import Final, NamedTuple

from netsvc.core.records import RoomInfo
from netsvc.store.sqlite.access import RoomAccesses
from netsvc.store.sqlite.accounts import Accounts
from netsvc.store.sqlite.transactions import rows_of, transaction, value_of

__all__ = ["kept", "pruning"]

_ROOMS: Final = "SELECT id, name, first, head, at, retention_age, retention_events FROM rooms {join} JOIN room_settings ON room = name WHERE id > ?{which}"
_ALL: Final = _ROOMS.format(join="LEFT", which="")
_SOME: Final = _ROOMS.format(join="", which=" AND (retention_age IS NOT NULL OR retention_events IS NOT NULL)")


class _Room(NamedTuple):
    id: int
    name: str
    first: int
    head: int
    at: int
    age: int | None
    events: int | None


def kept(age: int | None, events: int | None, max_age: int | None, max_events: int | None) -> tuple[int | None, int | None]:
    """What a room keeps: its own age (ms) and number of events, 0 for ever, if it has them, else those for all rooms, None for ever."""
    return max_age if age is None else age or None, max_events if events is None else events or None


def pruning(connection: Connection, now: int, max_age: int | None, max_events: int | None, batch: int, moved: dict[str, RoomInfo]) -> Iterator[None]:
    """Remove old events, then expired keys, sessions and bans; each step of the iterator is one transaction of about `batch` rows.

    Each room keeps an unbroken run of its newest events, so an old event after a newer one (the clock was set back) stays until
    the newer one goes.

    :param now: milliseconds since the Unix epoch.
    :param max_age: milliseconds; None keeps events of any age. This and the next are for rooms without their own retention.
    :param max_events: of each room; None keeps any number.
    :param moved: filled with the rooms whose `first` has moved.
    """
    yield from _prune_rooms(connection, now, max_age, max_events, batch, moved)
    yield from _prune_answers(connection, now, batch)
    while Accounts(connection).remove_expired_sessions(now, batch):
        yield
    while _forget_bans(connection, now, batch):
        yield


def _prune_rooms(
    connection: Connection, now: int, max_age: int | None, max_events: int | None, batch: int, moved: dict[str, RoomInfo]
) -> Iterator[None]:
    # Looked up in each step: a room's retention may change between two.
    query = f"{_SOME if max_age is None and max_events is None else _ALL} ORDER BY id LIMIT ?"
    done = 0
    while rooms := rows_of(connection, query, (done, batch)):
        left = batch
        with transaction(connection):
            for room in map(_Room._make, rooms):
                age, events = kept(room.age, room.events, max_age, max_events)
                if age is None and events is None:
                    done = room.id
                    continue
                target = _first_kept(connection, room, None if age is None else now - age, events, left)
                first = min(target, room.first + left)
                if first > room.first:
                    connection.execute("DELETE FROM events WHERE room_id = ? AND seq < ?", (room.id, first))
                    connection.execute("UPDATE rooms SET first = ? WHERE id = ?", (first, room.id))
                    moved[room.name] = RoomInfo(room.name, first, room.head, room.at)
                    left -= first - room.first
                if first < target:  # the next transaction continues in this room
                    break
                done = room.id
        yield


def _first_kept(connection: Connection, room: _Room, oldest: int | None, max_events: int | None, left: int) -> int:
    """The seq of the first event that stays, judging by `left` + 1 events after those that are too many."""
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


def _forget_bans(connection: Connection, now: int, batch: int) -> int:
    with transaction(connection):
        return RoomAccesses(connection).forget_expired(now, batch)
