"""What the writer thread does with the log: batches of posts and of answers, each one transaction."""

from collections.abc import Callable, Collection, Sequence
from math import inf
from sqlite3 import Connection
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from netsvc.core.records import Draft, Key, Row
from netsvc.errors import Conflict, NetsvcError, StoreUnavailable
from netsvc.store.sqlite.access import RoomAccesses
from netsvc.store.sqlite.batches import commit_all
from netsvc.store.sqlite.checkpoints import WalBound
from netsvc.store.sqlite.files import OpenedFile
from netsvc.store.sqlite.lineage import Mark
from netsvc.store.sqlite.transactions import Value, availability, rows_of, transaction

__all__ = ["Answer", "LogWriter"]

_INSERT: Final = "INSERT INTO events (room_id, seq, at, type, sender, text, extra)"
_COLUMNS: Final = 7
_INSERTS: Final = tuple((rows * _COLUMNS, f"{_INSERT} VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * rows)}") for rows in (128, 16, 4, 1))
"""Many rows in a statement: sqlite3 releases the interpreter lock around each, and a busy reactor is slow to give it back."""

_KEYS: Final = 64
"""Idempotency keys looked up by one query."""

_LOOK: Final = 1.0
"""Seconds between two checks that the database is still there, while posts come."""

_LARGE_PROBE: Final = 256 * 1024
"""Bytes that must fit on the disk before a store that had trouble counts as healthy again."""


class Answer(NamedTuple):
    """An answer to store; the fields are the parameters of IStore.remember."""

    scope: str
    key: str
    digest: bytes
    answer: bytes
    expires: int


class _Head:
    """The newest position of a room."""

    __slots__ = ("at", "id", "seq")

    def __init__(self, id: int, seq: int, at: int) -> None:
        self.id = id
        self.seq = seq
        self.at = at


_NOWHERE: Final = _Head(0, 0, 0)


def _to_nobody(_: Collection[_Head]) -> None:
    """Tells nobody."""


class _First(msgspec.Struct, frozen=True):
    """The answer that is stored for a post: the position of its event."""

    seq: int
    at: int


_decode_first: Final = msgspec.json.Decoder(_First).decode


_Known = tuple[bytes, int, Draft | _First | None]
"""For a key: the digest, when it expires, and the post for which it was first used."""

_UNKNOWN: Final[_Known] = (b"", 0, None)

_SELECT_WANTED: Final = "SELECT scope, key, digest, expires, answer FROM wanted CROSS JOIN answers USING (scope, key)"
"""CROSS keeps SQLite from scanning all answers for those wanted, instead of looking each one up."""


class _Batch:
    """The drafts of one transaction, sorted: those that are new, those whose key is known, and the results of those that amend.

    :ivar refused: why a new draft is not appended.
    :ivar known: for a new draft that repeats something, where that was posted before.
    :ivar changed: the older rows that a new draft changes.
    """

    __slots__ = ("changed", "conflicts", "fresh", "known", "refused", "repeats")

    def __init__(self, fresh: Sequence[Draft]) -> None:
        self.fresh = fresh
        self.repeats: list[tuple[Draft, Draft | _First]] = []
        self.conflicts: list[Draft] = []
        self.refused: dict[Draft, NetsvcError] = {}
        self.known: dict[Draft, _First] = {}
        self.changed: dict[Draft, Sequence[Row]] = {}

    def tell(self) -> None:
        """Set the outcomes. Only after the commit: those of a failed transaction would disturb the next attempt."""
        for draft, error in self.refused.items():
            draft.error, draft.seq = error, 0
        for draft, rows in self.changed.items():
            draft.changed = rows
        for draft, known in self.known.items():
            draft.repeated, draft.seq, draft.at = True, known.seq, known.at
        for draft, first in self.repeats:
            if isinstance(first, Draft) and first.error is not None:
                draft.error = first.error
            else:
                draft.repeated, draft.seq, draft.at = True, first.seq, first.at
        for draft in self.conflicts:
            draft.error = Conflict("this key was used before, with other params")


class LogWriter:
    """Writes the log; belongs to one thread.

    :param connection: the only one that writes rooms and events.
    :param mark: told of each append.
    :param wal: kept short after each append.
    :param heads: for how many rooms the newest position is kept in memory.
    :param appended: given the new heads after each append.
    :param database: checked now and then; nothing is written if it is gone.
    """

    def __init__(
        self,
        connection: Connection,
        mark: Mark,
        wal: WalBound,
        heads: int,
        appended: Callable[[Collection[_Head]], None] = _to_nobody,
        database: OpenedFile | None = None,
    ) -> None:
        self._connection = connection
        self._database = database
        self._looked = -inf
        self._mark = mark
        self._wal = wal
        self._most_heads = heads
        self._appended = appended
        self._heads: dict[str, _Head] = {}
        self._accesses = RoomAccesses(connection)
        self._troubled = False

    def append(self, drafts: Sequence[Draft]) -> StoreUnavailable | None:
        """IStore.append. Returns the error of the database or the disk, None if there was none."""
        try:
            self._look(monotonic() - _LOOK)
        except StoreUnavailable as error:
            for draft in drafts:
                draft.error = error
            return error
        trouble = commit_all(drafts, self._append, _refuse)
        self._troubled = trouble is not None
        self._wal.keep(len(drafts))
        return trouble

    def remember(self, answers: Sequence[Answer]) -> dict[int, StoreUnavailable]:
        """Store answers; the errors of those that were not, by index."""
        errors: dict[int, StoreUnavailable] = {}

        def commit(part: Sequence[int]) -> None:
            with transaction(self._connection):
                self._store_answers([answers[index] for index in part])

        commit_all(range(len(answers)), commit, errors.__setitem__)
        return errors

    def probe(self) -> None:
        """Commit a small write; after trouble a larger one, since a full disk still has room for the smallest.

        :raises StoreUnavailable: it failed.
        """
        self._look()
        with availability("write"):
            for size in (_LARGE_PROBE, 0) if self._troubled else (0,):
                with transaction(self._connection):
                    self._connection.execute("UPDATE meta SET value = zeroblob(?) WHERE name = 'probe'", (size,))
            self._troubled = False

    def _look(self, since: float = inf) -> None:
        """Check that the database is where it was opened, unless that was checked after `since` (time.monotonic).

        SQLite keeps writing to a file that was removed, and everything would be lost at the end.
        """
        if self._database is None or self._looked >= since:
            return
        if not self._database.there:
            self._looked = -inf
            raise StoreUnavailable("the store could not write: its database was removed or replaced while it was open")
        self._looked = monotonic()

    def keep_short(self) -> None:
        """Keep the write-ahead log short. Call this when something other than posts was written on this connection."""
        self._wal.look()

    def clean(self) -> None:
        """Remove from the write-ahead log what was replaced in the database: texts that must be gone for good."""
        self._wal.clean()

    def _append(self, drafts: Sequence[Draft]) -> None:
        touched: dict[str, _Head] = {}
        try:
            with transaction(self._connection):
                keyed = [draft for draft in drafts if draft.key is not None]
                batch = self._sort(drafts, keyed) if keyed else _Batch(drafts)
                self._insert(self._number(batch, touched))
                self._connection.executemany("UPDATE rooms SET head = ?, at = ? WHERE id = ?", [(head.seq, head.at, head.id) for head in touched.values()])
                if keyed:
                    self._store_answers([_answer(draft.key, batch.known.get(draft, draft)) for draft in batch.fresh if _answered(draft, batch)])
                for draft in batch.fresh:
                    if draft.change is not None and draft not in batch.refused and draft not in batch.known:
                        self._accesses.apply(draft.room, draft.change)
        except BaseException:
            for draft in drafts:
                draft.seq = 0
            raise
        self._remember_heads(touched)
        if any(batch.changed.values()):
            self._wal.outdate()
        batch.tell()

    def _number(self, batch: _Batch, touched: dict[str, _Head]) -> list[Value]:
        """Give each new draft its seq; returns the columns of all rows, one after the other. Every post passes through here, so it must be cheap."""
        values: list[Value] = []
        add_row = values.extend
        room: str | None = None
        head = _NOWHERE
        for draft in batch.fresh:
            if draft.amend is not None:
                # It may be about an event in this same batch.
                self._insert(values)
                values.clear()
                if not self._amend(draft, batch, touched):
                    continue
            if draft.room != room:
                room = draft.room
                head = touched.get(room) or touched.setdefault(room, self._head(draft))
            head.seq = draft.seq = seq = head.seq + 1
            head.at = at = draft.at
            add_row((head.id, seq, at, draft.type, draft.sender, draft.text, draft.extra))
        return values

    def _amend(self, draft: Draft, batch: _Batch, touched: dict[str, _Head]) -> bool:
        """Let a draft change earlier events; returns whether it is to be appended."""
        head = touched.get(draft.room) or self._known_head(draft.room) or _NOWHERE
        draft.seq = head.seq + 1

        def load(seq: int) -> Row | None:
            rows = rows_of(self._connection, "SELECT seq, at, type, sender, text, extra FROM events WHERE room_id = ? AND seq = ?", (head.id, seq))
            return Row(*rows[0]) if rows else None

        assert draft.amend is not None
        try:
            outcome = draft.amend(draft, load(draft.target), load)
        except NetsvcError as error:
            batch.refused[draft] = error
            return False
        if isinstance(outcome, int):
            known = load(outcome)
            batch.known[draft] = _First(outcome, draft.at if known is None else known.at)
            return False
        changes = [(row.text, row.extra, head.id, row.seq) for row in outcome]
        self._connection.executemany("UPDATE events SET text = ?, extra = ? WHERE room_id = ? AND seq = ?", changes)
        batch.changed[draft] = outcome
        return True

    def _insert(self, values: list[Value]) -> None:
        execute, start, end = self._connection.execute, 0, len(values)
        for width, statement in _INSERTS:
            while end - start >= width:
                execute(statement, values[start : start + width])
                start += width

    def _head(self, draft: Draft) -> _Head:
        """The newest position of a draft's room, for this transaction to change; the room is created with its first event."""
        known = self._known_head(draft.room)
        if known is not None:
            return known
        created = self._connection.execute("INSERT INTO rooms (name, first, head, at) VALUES (?, 1, 0, ?)", (draft.room, draft.at))
        assert created.lastrowid is not None
        if draft.founds:
            self._accesses.own(draft.room, draft.sender)
        return _Head(created.lastrowid, 0, draft.at)

    def _known_head(self, room: str) -> _Head | None:
        known = self._heads.get(room)
        if known is not None:
            return _Head(known.id, known.seq, known.at)
        rows = rows_of(self._connection, "SELECT id, head, at FROM rooms WHERE name = ?", (room,))
        return _Head(*rows[0]) if rows else None

    def _remember_heads(self, touched: dict[str, _Head]) -> None:
        """Keep what has been committed, and drop the rooms that were looked up first if there are too many."""
        heads = self._heads
        heads.update(touched)
        while len(heads) > self._most_heads:
            del heads[next(iter(heads))]
        if touched:
            head = next(iter(touched.values()))
            self._mark.note(head.id, head.seq)
            self._appended(touched.values())

    def _sort(self, drafts: Sequence[Draft], keyed: Sequence[Draft]) -> _Batch:
        """Separate the drafts whose key is known, from the database or from this same batch, from the others."""
        known = self._known_keys(keyed)
        fresh: list[Draft] = []
        batch = _Batch(fresh)
        for draft in drafts:
            key = draft.key
            if key is None:
                fresh.append(draft)
                continue
            pair = key[:2]
            digest, expires, first = known.get(pair, _UNKNOWN)
            if expires <= draft.at:
                known[pair] = (key.digest, key.expires, draft)
                fresh.append(draft)
            elif first is not None and digest == key.digest:
                batch.repeats.append((draft, first))
            else:
                batch.conflicts.append(draft)
        return batch

    def _known_keys(self, keyed: Sequence[Draft]) -> dict[tuple[str, str], _Known]:
        """What the database has for the keys of these drafts."""
        known: dict[tuple[str, str], _Known] = {}
        keys = list(dict.fromkeys(draft.key[:2] for draft in keyed if draft.key is not None))
        for start in range(0, len(keys), _KEYS):
            some = keys[start : start + _KEYS]
            query = f"WITH wanted (scope, key) AS (VALUES {', '.join(['(?, ?)'] * len(some))}) {_SELECT_WANTED}"
            for scope, key, digest, expires, answer in rows_of(self._connection, query, [part for pair in some for part in pair]):
                known[scope, key] = (digest, expires, _first(answer))
        return known

    def _store_answers(self, answers: Sequence[Answer]) -> None:
        if answers:
            self._connection.executemany("INSERT OR REPLACE INTO answers (scope, key, digest, answer, expires) VALUES (?, ?, ?, ?, ?)", answers)


def _answered(draft: Draft, batch: _Batch) -> bool:
    return draft.key is not None and draft not in batch.refused


def _answer(key: Key | None, first: Draft | _First) -> Answer:
    assert key is not None
    return Answer(key.scope, key.key, key.digest, b'{"seq":%d,"at":%d}' % (first.seq, first.at), key.expires)


def _first(answer: bytes) -> _First | None:
    """What the stored answer of a post says; None if it is the answer of something else."""
    try:
        return _decode_first(answer)
    except msgspec.MsgspecError:
        return None


def _refuse(draft: Draft, why: StoreUnavailable) -> None:
    draft.error = why
