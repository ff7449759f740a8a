"""How far each user has read in each room."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Final, NamedTuple

from netsvc.core.records import Outline, Row
from netsvc.store.sqlite.transactions import rows_of, transaction, value_of

__all__ = ["Mark", "mark_read", "outlines", "read_marks"]

_RAISE: Final = (
    "INSERT INTO read_marks (name, room, seq, at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (name, room) DO UPDATE SET seq = max(seq, excluded.seq), at = excluded.at RETURNING seq"
)
_SURPLUS: Final = "DELETE FROM read_marks WHERE name = ?1 AND room IN (SELECT room FROM read_marks WHERE name = ?1 AND room != ?2 ORDER BY at LIMIT ?3)"


class Mark(NamedTuple):
    """A mark to store; the fields are the parameters of IStore.mark_read."""

    name: str
    room: str
    seq: int
    at: int
    most: int


def mark_read(connection: Connection, marks: Sequence[Mark]) -> list[int]:
    """Store marks in one transaction; returns where each is then."""
    with transaction(connection):
        return [_mark(connection, mark) for mark in marks]


def _mark(connection: Connection, mark: Mark) -> int:
    ((seq,),) = rows_of(connection, _RAISE, mark[:4])
    surplus = int(value_of(connection, "SELECT count(*) FROM read_marks WHERE name = ?", (mark.name,))) - mark.most
    if surplus > 0:
        # Not the one just made, which is not the newest by its time if the clock was set back.
        connection.execute(_SURPLUS, (mark.name, mark.room, surplus))
    return int(seq)


def read_marks(connection: Connection, name: str) -> dict[str, int]:
    """Somebody's marks, by room."""
    return dict(rows_of(connection, "SELECT room, seq FROM read_marks WHERE name = ?", (name,)))


def outlines(connection: Connection, after: Sequence[tuple[str, int]], limit: int) -> dict[str, Outline]:
    """IStore.outlines."""
    found = {}
    for name, seq in after:
        for id, head in rows_of(connection, "SELECT id, head FROM rooms WHERE name = ?", (name,)):
            query = "SELECT seq, at, type, sender, NULL, extra FROM events WHERE room_id = ? AND seq > ? ORDER BY seq DESC LIMIT ?"
            rows = rows_of(connection, query, (id, seq, limit)) if seq < head else []
            found[name] = Outline(head, list(map(Row._make, rows)))
    return found
