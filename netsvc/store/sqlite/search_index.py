"""The search index: a separate database beside that of the log, ``search.db``, which can be rebuilt from the log at any time.

Messages are numbered in the order in which they are indexed, which is the order of appending except for what was there before the
index. Each 65,536 numbers share an FTS5 table, a shard, so nothing ever has to go through the whole index: a search goes from the
newest shard to the oldest until it has enough, and what is deleted is purged by merging its shard (tens of milliseconds).

FTS5 keeps a word that was deleted until the parts that hold it are merged, and SQLite's option against that came only with 3.42. Hence
``stale`` shards, and ``purge``. The texts are kept here a second time because FTS5 has to be told what to delete, and the log no
longer knows the words of a message that was edited.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Final, NamedTuple

from netsvc.core.query import Query, Term, fold_name, searchable
from netsvc.store.search_positions import Positions, new_position_key
from netsvc.store.sqlite.files import create_private
from netsvc.store.sqlite.transactions import Value, rows_of, transaction, value_of

__all__ = ["SHARD", "Message", "Place", "SearchIndex", "expression", "is_damage", "remove"]

SHARD: Final = 1 << 16
"""Most messages in a shard."""

_FORMAT: Final = 2
"""``PRAGMA user_version``; an index of another format is rebuilt."""

_SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE rooms (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL)",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, room_id INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, UNIQUE (room_id, seq))",
    "CREATE TABLE shards (number INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, newest INTEGER NOT NULL, stale INTEGER NOT NULL DEFAULT 0)",
)

# The tables of a shard; only its number is filled in.
_CREATE_SHARD: Final = "CREATE VIRTUAL TABLE text_{0} USING fts5 (text, tags, tokenize = 'unicode61 remove_diacritics 2', columnsize = 0)"
_INSERT: Final = "INSERT INTO text_{0} (rowid, text, tags) VALUES (?, ?, ?)"
_SELECT: Final = "SELECT text FROM text_{0} WHERE rowid = ?"
_DELETE: Final = "DELETE FROM text_{0} WHERE rowid = ?"
_MERGE: Final = "INSERT INTO text_{0} (text_{0}) VALUES ('optimize')"
_DROP: Final = "DROP TABLE text_{0}"
_FIND: Final = "SELECT id, room_id, seq FROM text_{0} CROSS JOIN messages ON id = text_{0}.rowid WHERE text_{0} MATCH ? AND text_{0}.rowid < ?"
_NEWEST: Final = " ORDER BY text_{0}.rowid DESC LIMIT ?"
_NOTE_SHARD: Final = (
    "INSERT INTO shards (number, oldest, newest) VALUES (?, ?, ?) ON CONFLICT (number) DO UPDATE SET oldest = excluded.oldest, newest = excluded.newest"
)

_MISSING: Final = ("no such table", "no such column", "vtable constructor failed")
"""How SQLite's errors without a specific code begin when part of the index is missing."""

_EVERY: Final = "m"
"""A tag of every message, so that there is something to look for when only dates are given."""


class Message(NamedTuple):
    """A message to be indexed; `room` is the log's id of the room."""

    room: int
    seq: int
    at: int
    sender: str
    text: str


class Place(NamedTuple):
    """A message that was found: its number in the index, and its position in the log."""

    id: int
    room: int
    seq: int


class SearchIndex:
    """The index, open. Belongs to one thread; every method may raise sqlite3.Error.

    :param path: created if it is missing, emptied if it is of another format or epoch.
    :param epoch: of the log.
    :param cache: bytes of the database to keep in memory.
    :param shard: most messages in a shard.
    :ivar positions: turns the numbers of its messages into positions for clients; those of an earlier index are refused.
    """

    def __init__(self, path: Path, epoch: str, cache: int, shard: int = SHARD) -> None:
        self._path = path
        self._epoch = epoch
        self._cache = cache
        self._size = shard
        self._connection = self._open()
        self.positions = Positions(value_of(self._connection, "SELECT value FROM meta WHERE name = 'key'"))
        self._last = int(value_of(self._connection, "SELECT max(id) FROM messages") or 0)
        self._shards: dict[int, tuple[int, int]] = {
            number: (oldest, newest) for number, oldest, newest in rows_of(self._connection, "SELECT number, oldest, newest FROM shards")
        }

    def _open(self) -> Connection:
        try:
            connection = self._connect()
            try:
                if (
                    value_of(connection, "PRAGMA user_version") == _FORMAT
                    and value_of(connection, "SELECT value FROM meta WHERE name = 'epoch'") == self._epoch
                ):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        return self._create()

    def _connect(self) -> Connection:
        os.close(create_private(self._path))
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA cache_size = -{self._cache // 1024}")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            # A power cut may lose the newest part: it is indexed again.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> Connection:
        remove(self._path)
        connection = self._connect()
        try:
            with transaction(connection):
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO meta (name, value) VALUES ('epoch', ?), ('key', ?)", (self._epoch, new_position_key()))
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    # Writing

    def reached(self, first_room: int, last_room: int) -> dict[int, int]:
        """The seq up to which the rooms with these ids have been processed; rooms that have not been are left out."""
        return dict(rows_of(self._connection, "SELECT id, seq FROM rooms WHERE id BETWEEN ? AND ?", (first_room, last_room)))

    def apply(self, new: Sequence[Message], changed: Sequence[Message], reached: Mapping[int, int]) -> None:
        """In one transaction: index new messages in this order, then index changed ones again, and record how far it has come.

        :param changed: with an empty text if nothing is left. Messages that are not in the index are ignored.
        :param reached: ids of rooms and the seq up to which they have been processed.
        """
        last, shards = self._last, dict(self._shards)
        try:
            with transaction(self._connection):
                for number, part in self._by_shard(new):
                    self._add(number, part)
                for message in changed:
                    self._change(message)
                self._connection.executemany("INSERT OR REPLACE INTO rooms (id, seq) VALUES (?, ?)", list(reached.items()))
        except BaseException:
            self._last, self._shards = last, shards
            raise

    def _by_shard(self, new: Sequence[Message]) -> Iterable[tuple[int, Sequence[Message]]]:
        start = 0
        while start < len(new):
            number, used = divmod(self._last, self._size)
            part = new[start : start + self._size - used]
            yield number, part
            start += len(part)

    def _add(self, number: int, part: Sequence[Message]) -> None:
        times = [message.at for message in part]
        if number not in self._shards:
            # Without the sizes of texts, which only a ranking would need.
            self._connection.execute(_CREATE_SHARD.format(number))
        oldest, newest = self._shards.get(number, (times[0], times[0]))
        self._shards[number] = oldest, newest = min(oldest, *times), max(newest, *times)
        self._connection.execute(_NOTE_SHARD, (number, oldest, newest))
        numbered = list(enumerate(part, self._last + 1))
        self._last += len(part)
        rows = [(id, message.room, message.seq, message.at) for id, message in numbered]
        self._connection.executemany("INSERT INTO messages (id, room_id, seq, at) VALUES (?, ?, ?, ?)", rows)
        texts = [(id, searchable(message.text), _tags(message)) for id, message in numbered]
        self._connection.executemany(_INSERT.format(number), texts)

    def _change(self, message: Message) -> None:
        id = value_of(self._connection, "SELECT id FROM messages WHERE room_id = ? AND seq = ?", (message.room, message.seq))
        if id is None:
            return
        number = self._number(id)
        text = searchable(message.text)
        if value_of(self._connection, _SELECT.format(number), (id,)) == text:
            return
        self._remove_texts(number, [id])
        if text:
            self._connection.execute(_INSERT.format(number), (id, text, _tags(message)))
        else:
            self._connection.execute("DELETE FROM messages WHERE id = ?", (id,))

    def _remove_texts(self, number: int, ids: Sequence[int]) -> None:
        self._connection.executemany(_DELETE.format(number), [(id,) for id in ids])
        self._connection.execute("UPDATE shards SET stale = 1 WHERE number = ?", (number,))

    def forget(self, room: int, first: int, limit: int) -> bool:
        """Remove up to `limit` of a room's messages with seq < first; returns whether there may be more."""
        with transaction(self._connection):
            query = "SELECT id FROM messages WHERE room_id = ? AND seq < ? ORDER BY seq LIMIT ?"
            ids = [id for (id,) in rows_of(self._connection, query, (room, first, limit))]
            shards: dict[int, list[int]] = {}
            for id in ids:
                shards.setdefault(self._number(id), []).append(id)
            for number, some in shards.items():
                self._remove_texts(number, some)
            self._connection.executemany("DELETE FROM messages WHERE id = ?", [(id,) for id in ids])
        return len(ids) == limit

    def purge(self) -> bool:
        """Remove what is left of deleted texts from one stale shard, and from the disk; returns whether there was one."""
        number = value_of(self._connection, "SELECT number FROM shards WHERE stale LIMIT 1")
        if number is None:
            return False
        start = number * self._size
        with transaction(self._connection):
            within = "SELECT 1 FROM messages WHERE id > ? AND id <= ? LIMIT 1"
            used = number == self._number(self._last) or bool(rows_of(self._connection, within, (start, start + self._size)))
            if used:
                self._connection.execute(_MERGE.format(number))
                self._connection.execute("UPDATE shards SET stale = 0 WHERE number = ?", (number,))
            else:
                self._connection.execute(_DROP.format(number))
                self._connection.execute("DELETE FROM shards WHERE number = ?", (number,))
        if not used:
            del self._shards[number]
        # The write-ahead log has the old pages too.
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True

    # Searching

    def number_before(self, room: int, seq: int) -> int:
        """A number above those of the room's messages with a lower seq, and not above that of any other message of the room."""
        query = "SELECT id FROM messages WHERE room_id = ? AND seq < ? ORDER BY seq DESC LIMIT 1"
        return int(value_of(self._connection, query, (room, seq)) or 0) + 1

    def number_above(self, shard: int) -> int:
        """The lowest number above those of a shard."""
        return (shard + 1) * self._size + 1

    def shards(self, query: Query, below: int | None) -> list[int]:
        """The shards in which a query may find something with a number < below, newest first."""
        last = self._last if below is None else min(below - 1, self._last)
        return [
            number
            for number, (oldest, newest) in sorted(self._shards.items(), reverse=True)
            if number * self._size < last and (query.before is None or oldest < query.before) and (query.after is None or newest >= query.after)
        ]

    def find(self, shard: int, words: str, query: Query, below: int | None, limit: int) -> list[Place]:
        """Up to `limit` messages of a shard, newest first.

        :param words: what `expression` made of the query.
        """
        last = self._last + 1 if below is None else below
        statement = _FIND.format(shard)
        values: list[Value] = [words, last]
        for bound, condition in ((query.before, " AND at < ?"), (query.after, " AND at >= ?")):
            if bound is not None:
                statement += condition
                values.append(bound)
        return list(map(Place._make, rows_of(self._connection, statement + _NEWEST.format(shard), [*values, limit])))

    def _number(self, id: int) -> int:
        return (id - 1) // self._size


def remove(path: Path) -> None:
    """Remove an index that is closed."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the index is damaged and must be rebuilt."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith(_MISSING)


def _tags(message: Message) -> str:
    return f"{_EVERY} {_room_tag(message.room)} {_sender_tag(fold_name(message.sender))}"


def _room_tag(room: int) -> str:
    return f"r{room}"


def _sender_tag(folded: str) -> str:
    # A single word for FTS5, whatever characters the name has.
    return f"f{folded.encode('utf-8', 'replace').hex()}"


def expression(query: Query, rooms: Iterable[int], not_rooms: Iterable[int]) -> str:
    """A query as FTS5 understands it (SQLite's documentation, "Full-text Query Syntax"); the only user input in it is quoted words.

    :param rooms: one of these ids, if there are any; `not_rooms`: none of these.
    """
    required = [f"text : {_phrase(term)}" for term in query.terms]
    if query.senders:
        required.append(_tagged(map(_sender_tag, query.senders)))
    tags = [_room_tag(room) for room in rooms]
    if tags:
        required.append(_tagged(tags))
    refused = [f"text : {_phrase(term)}" for term in query.without]
    unwanted = [*map(_sender_tag, query.not_senders), *map(_room_tag, not_rooms)]
    if unwanted:
        refused.append(_tagged(unwanted))
    found = " AND ".join(f"({part})" for part in required or [_tagged([_EVERY])])
    return f"({found}) NOT ({' OR '.join(f'({part})' for part in refused)})" if refused else found


def _phrase(term: Term) -> str:
    # A term's words are letters and digits (see query).
    return f'"{" ".join(term.words)}"{" *" if term.prefix else ""}'


def _tagged(tags: Iterable[str]) -> str:
    return f"tags : ({' OR '.join(f'{chr(34)}{tag}{chr(34)}' for tag in tags)})"
