"""Keeping the search index up with the log: what is indexed, when, and how a search waits for it.

The index follows the log on its own. It reads what has been appended, message by message; an ``edit`` or a ``delete`` in the log
makes it look again at the message concerned. So none of this delays a post.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from pathlib import Path
from sqlite3 import Connection
from typing import Final, NamedTuple, Protocol

import msgspec

from netsvc.core.query import Query, SearchPage, spans
from netsvc.core.records import Row
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite.pool import ReaderPool
from netsvc.store.sqlite.search_index import SHARD, Message, Place, SearchIndex, expression, remove
from netsvc.store.sqlite.transactions import rows_of, value_of

__all__ = ["Head", "Indexer"]

PIECE: Final = 256
"""Events processed in one transaction of the index."""

ROOMS: Final = 500
"""Rooms compared with the index by one query."""

BUSY_RATE: Final = 1000.0
"""Events appended a second at which the store counts as busy: the index then takes one small piece every `PAUSE`."""

BUSY_LEAST: Final = 16
"""Fewer new events say nothing about a rate."""

BUSY_PIECE: Final = 128
PAUSE: Final = 0.25
"""Seconds."""

PURGE_SHARE: Final = 20
"""Purging takes at most one part in this many of the time."""

CLOSING: Final = 10.0
"""Seconds for which a stop purges at most, but at least one shard; the rest is purged after the next start."""

_EXCLUDED: Final = 200
"""Most hidden rooms excluded by the query itself, to keep it short; hits in other hidden rooms are skipped one by one."""

LEAST: Final = 16
"""Fewest messages asked of a shard at once: some may be hidden or gone."""

_CHANGES: Final = ("edit", "delete")

_EVENT: Final = "SELECT seq, at, type, sender, text, extra FROM events WHERE room_id = ?"


class Head(Protocol):
    """The newest event of a room, as the writer of the log knows it."""

    id: int
    seq: int
    at: int


class _Target(msgspec.Struct):
    target: int = 0


_decode_target: Final = msgspec.json.Decoder(_Target).decode


class _Next(NamedTuple):
    """The next event of a room to process; `stride`: how many may be read at once."""

    at: int
    room: int
    seq: int
    stride: int


class Indexer:
    """Brings an index up to the log and searches it. Belongs to one thread, except `touched`. Methods may raise sqlite3.Error.

    :param path: of the index.
    :param epoch: of the log.
    :param readers: connections to the log.
    :param settings: [store].
    :param shard: messages in a shard of the index.
    :ivar touched: filled by the writer of the log after each transaction with the new heads.
    """

    def __init__(self, path: Path, epoch: str, readers: ReaderPool, settings: StoreSettings, shard: int = SHARD) -> None:
        self.touched: deque[Iterable[Head]] = deque()
        self._path = path
        self._epoch = epoch
        self._readers = readers
        self._settings = settings
        self._shard = shard
        self._purge_at = 0.0
        self._looked = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        """Open the index, with its state still unknown."""
        self._index = SearchIndex(self._path, self._epoch, self._settings.cache, self._shard)
        self._stale = True
        self._compared: int | None = 0
        self._heads: dict[int, int] = {}
        self._queue: list[_Next] = []
        self._firsts: dict[int, int] = {}

    def begin_again(self) -> None:
        """Delete the index, and rebuild it bit by bit."""
        self._index.close()
        remove(self._path)
        self._begin()

    def close(self) -> None:
        """Purge what has been deleted, as far as time allows, and close the index."""
        try:
            begun = time.monotonic()
            until = begun + self._settings.search_wait
            self.catch_up(until)
            while self._firsts and time.monotonic() < until:
                self._forget(PIECE)
            while self._index.purge() and time.monotonic() < begun + CLOSING:
                pass
        finally:
            self._index.close()

    # Following

    def step(self) -> float | None:
        """Do a little work; returns the seconds until more should be done, None if not before something is appended."""
        now = time.monotonic()
        events = self._look()
        busy = events >= BUSY_LEAST and events > BUSY_RATE * (now - self._looked)
        self._looked = now
        if self._stale and now >= self._purge_at:
            self._purge(now)
        elif self._behind():
            self._work(BUSY_PIECE if busy else PIECE)
        elif self._firsts:
            self._forget(BUSY_PIECE if busy else PIECE)
        if self._behind() or self._firsts:
            return PAUSE if busy else 0.0
        # What is appended from now on wakes us again after a while, so that several events share a transaction.
        return max(self._purge_at - now, 0.0) if self._stale else None

    def catch_up(self, until: float) -> bool:
        """Index until the log has no more, or until `until` (time.monotonic); returns whether something is left."""
        self._look()
        while self._behind() and time.monotonic() < until:
            self._work(PIECE)
            self._look()
        return self._behind()

    def prune(self, rooms: Iterable[str]) -> None:
        """The first events of these rooms are gone."""
        for name in rooms:
            with self._readers.connection() as log:
                for id, first in rows_of(log, "SELECT id, first FROM rooms WHERE name = ?", (name,)):
                    self._firsts[id] = first

    def _behind(self) -> bool:
        return bool(self._heads) or self._compared is not None

    def _work(self, piece: int) -> None:
        if self._compared is not None:
            self._compare(self._compared)
        else:
            self._follow(piece)

    def _forget(self, piece: int) -> None:
        """Remove some messages that retention has removed. They are no longer found in any case."""
        room, first = next(iter(self._firsts.items()))
        if not self._index.forget(room, first, piece):
            del self._firsts[room]
        self._stale = True

    def _purge(self, now: float) -> None:
        """Purge one part of the index if one needs it."""
        self._stale = self._index.purge()
        self._purge_at = now + max(1.0, PURGE_SHARE * (time.monotonic() - now)) if self._stale else now

    def _look(self) -> int:
        """Take over what the writer reported; returns how many events are new."""
        try:
            return sum(self._enqueue(head.id, head.seq) for heads in _taken(self.touched) for head in heads)
        except BaseException:
            self._lose_place()
            raise

    def _compare(self, done: int) -> None:
        """Check for some rooms, those after `done`, how far the index has come."""
        with self._readers.connection() as log:
            rooms = rows_of(log, "SELECT id, first, head FROM rooms WHERE id > ? ORDER BY id LIMIT ?", (done, ROOMS))
        for room, first, head in rooms:
            self._enqueue(room, head)
            if first > 1:
                self._firsts[room] = first
        # Only now: after an error, the same rooms are compared again.
        self._compared = rooms[-1][0] if rooms else None

    def _enqueue(self, room: int, head: int) -> int:
        """Set the seq up to which to index a room; returns how many events that adds."""
        known = self._heads.get(room)
        if known is not None:
            self._heads[room] = max(known, head)
            return max(0, head - known)
        reached = self._index.reached(room, room).get(room, 0)
        if reached < head:
            with self._readers.connection() as log:
                following = _rows(log, room, reached + 1, head, 1)
            # If retention was faster there is none, and this number is as good a start.
            at, seq = (following[0].at, following[0].seq) if following else (0, head)
            self._heads[room] = head
            heappush(self._queue, _Next(at, room, seq, 1))
        return max(0, head - reached)

    def _follow(self, limit: int) -> None:
        """Process the next events of all rooms, in the order of their times."""
        reached: dict[int, int] = {}
        new: list[Message] = []
        targets: dict[tuple[int, int], None] = {}
        try:
            with self._readers.connection() as log:
                while self._queue and limit > 0:
                    room, rows, seq = self._take(log, limit)
                    reached[room] = seq
                    limit -= max(1, len(rows))
                    for row in rows:
                        if row.type == "message" and row.text:
                            new.append(Message(room, row.seq, row.at, row.sender, row.text))
                        elif row.type in _CHANGES and row.extra:
                            targets[room, _decode_target(row.extra).target] = None
                changed = [_present(log, room, seq) for room, seq in targets]
            self._index.apply(new, changed, reached)
        except BaseException:
            self._lose_place()
            raise
        self._stale = self._stale or bool(changed)

    def _lose_place(self) -> None:
        """What was taken was not indexed: compare the index with the log again."""
        self._compared, self._heads, self._queue = 0, {}, []

    def _take(self, log: Connection, limit: int) -> tuple[int, list[Row], int]:
        """From the room whose next event is the oldest, the events up to where another room has an older one; and the last seq covered."""
        _, room, seq, stride = heappop(self._queue)
        head = self._heads[room]
        stride = min(stride, limit)
        rows = _rows(log, room, seq, head, stride + 1)
        other = self._queue[0].at if self._queue else None
        count = 0
        for row in rows[:stride]:
            if count and other is not None and row.at > other:
                break
            count += 1
        if count == len(rows):
            del self._heads[room]
            return room, rows, head
        following = rows[count]
        heappush(self._queue, _Next(following.at, room, following.seq, min(2 * count, PIECE)))
        return room, rows[:count], rows[count - 1].seq

    # Searching

    def search(self, query: Query, before: tuple[str, int] | None, limit: int, hidden: frozenset[str]) -> SearchPage:
        """IStore.search.

        :raises InvalidParams: `before` comes from an index that no longer exists.
        """
        behind = self.catch_up(time.monotonic() + self._settings.search_wait)
        with self._readers.connection() as log:
            search = _Search(self._index, log, query, hidden, limit, time.monotonic() + self._settings.search_time)
            return search.run(self._epoch, before)._replace(behind=behind)


class _Search:
    """A search under way."""

    def __init__(self, index: SearchIndex, log: Connection, query: Query, hidden: frozenset[str], limit: int, until: float) -> None:
        self._index = index
        self._log = log
        self._query = query
        self._hidden = hidden
        self._limit = limit
        self._until = until
        self._rooms = self._ids(query.rooms)
        self._not_rooms = self._ids(query.not_rooms)
        self._names: dict[int, str] = {}
        self._found: list[tuple[Place, str, Row]] = []

    def run(self, epoch: str, before: tuple[str, int] | None) -> SearchPage:
        """What is found after a position."""
        below = self._below(epoch, before)
        cut = False
        shards = self._index.shards(self._query, below) if self._rooms or not self._query.rooms else []
        for number, shard in enumerate(shards):
            if number and time.monotonic() >= self._until:
                # A shard without a hit has its cost too.
                below, cut = self._index.number_above(shard), True
                break
            below, cut = self._run_in(shard, below)
            if cut or len(self._found) > self._limit:
                break
        hits = self._found[: self._limit]
        if cut and below is not None:
            position = self._index.positions.of(below)
        elif hits:
            place = hits[-1][0]
            position = (epoch, place.seq) if len(self._rooms) == 1 else self._index.positions.of(place.id)
        else:
            position = before or (epoch, 0)
        highlights = [spans(self._query, row.text or "") for _, _, row in hits]
        return SearchPage([(room, row) for _, room, row in hits], highlights, position, cut or len(self._found) > self._limit)

    def _below(self, epoch: str, before: tuple[str, int] | None) -> int | None:
        if before is None:
            return None
        if before[0] == epoch and len(self._rooms) == 1:
            return self._index.number_before(self._rooms[0], before[1])
        return self._index.positions.number(before)

    def _run_in(self, shard: int, below: int | None) -> tuple[int | None, bool]:
        """Search one shard; returns where to continue, and whether time ran out first."""
        while len(self._found) <= self._limit:
            # A room that turns out to be hidden is left out of the rest: a caller that may not read it cannot tell that something was there.
            words = expression(self._query, self._rooms, self._not_rooms[:_EXCLUDED])
            asked = max(self._limit + 1 - len(self._found), LEAST)
            places = self._index.find(shard, words, self._query, below, asked)
            for place in places:
                below = place.id
                self._add(place)
                if len(self._found) > self._limit:
                    return below, False
            if len(places) < asked:
                return below, False
            if time.monotonic() >= self._until:
                return below, True
        return below, False

    def _add(self, place: Place) -> None:
        """Add a hit if it still exists and the caller may see it."""
        name = self._names.get(place.room)
        if name is None:
            name = self._names[place.room] = value_of(self._log, "SELECT name FROM rooms WHERE id = ?", (place.room,)) or ""
            if name in self._hidden:
                self._not_rooms.append(place.room)
        if name and name not in self._hidden:
            for row in _rows(self._log, place.room, place.seq, place.seq, 1):
                if row.text:
                    self._found.append((place, name, row))

    def _ids(self, names: Iterable[str]) -> list[int]:
        found = (value_of(self._log, "SELECT id FROM rooms WHERE name = ?", (name,)) for name in names)
        return [id for id in found if id is not None]


def _taken(touched: "deque[Iterable[Head]]") -> Iterator[Iterable[Head]]:
    """Empties a queue."""
    while touched:
        yield touched.popleft()


def _rows(log: Connection, room: int, first: int, last: int, limit: int) -> list[Row]:
    query = f"{_EVENT} AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
    return list(map(Row._make, rows_of(log, query, (room, first, last, limit))))


def _present(log: Connection, room: int, seq: int) -> Message:
    """A message in its present form; without text if it is gone or not a message."""
    for row in _rows(log, room, seq, seq, 1):
        if row.type == "message" and row.text:
            return Message(room, seq, row.at, row.sender, row.text)
    return Message(room, seq, 0, "", "")
