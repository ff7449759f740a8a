"""The same interfaces in memory, for tests. Only retention limits its size."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from netsvc.core.query import Query, SearchPage
from netsvc.core.records import Draft, Outline, RoomInfo, Row, StoredAnswer
from netsvc.errors import Conflict, NetsvcError, StoreUnavailable
from netsvc.interfaces import IStore
from netsvc.store.memory_search import search_everything
from netsvc.store.search_positions import Positions, new_position_key
from netsvc.store.sqlite.access import RoomAccesses
from netsvc.store.sqlite.accounts import Accounts
from netsvc.store.sqlite.deferred_access import DeferredRoomAccesses
from netsvc.store.sqlite.deferred_accounts import DeferredAccounts
from netsvc.store.sqlite.marks import Mark, mark_read, read_marks
from netsvc.store.sqlite.opening import memory_connection
from netsvc.store.sqlite.pruning import kept
from netsvc.store.sqlite.schema import new_epoch

__all__ = ["MemoryStore"]

R = TypeVar("R")


class _Room:
    """The events of a room: those from `first` on."""

    __slots__ = ("at", "events", "first")

    def __init__(self) -> None:
        self.first = 1
        self.at = 0
        self.events: list[Row] = []

    @property
    def head(self) -> int:
        return self.first + len(self.events) - 1

    def slice(self, after: int, upto: int) -> list[Row]:
        """The events with seq > after and <= upto."""
        start = self.first - 1
        return self.events[max(after - start, 0) : max(upto - start, 0)]


class _Kept:
    """A stored answer; for a post, also the position of its event."""

    __slots__ = ("answer", "at", "digest", "expires", "seq")

    def __init__(self, digest: bytes, expires: int, answer: bytes, seq: int = 0, at: int = 0) -> None:
        self.digest = digest
        self.expires = expires
        self.answer = answer
        self.seq = seq
        self.at = at


@implementer(IStore)
class MemoryStore:
    """A log in memory. It is open from the beginning, so tests need not start it.

    What is appended can be read at once; the outcome of an append also comes at once or, with a clock, in its next turn, as it would
    from a thread. Everything else is answered at once.

    :ivar accounts: IAccounts beside it.
    :ivar local_accounts: the same accounts, to add users and tokens.
    :ivar accesses: IRoomAccesses beside it.
    :ivar broken: while this is not empty, everything that writes fails with this detail.
    :param clock: makes appends take a turn of it.
    :param epoch: the epoch; a new one if none is given.
    """

    durable = "memory"

    def __init__(self, clock: IReactorTime | None = None, epoch: str | None = None) -> None:
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._answers: dict[tuple[str, str], _Kept] = {}
        self._open = True
        self._failing = 0
        self.broken = ""
        self.epoch = epoch or new_epoch()
        self._positions = Positions(new_position_key())
        connection = memory_connection()
        self._connection = connection
        self.local_accounts = Accounts(connection)
        self.accounts = DeferredAccounts(self._ask, self._tell)
        self._accesses = RoomAccesses(connection)
        self.accesses = DeferredRoomAccesses(self._ask_access)

    def fail_next(self, appends: int = 1) -> None:
        """Let the next calls of `append` fail."""
        self._failing = appends

    def start(self) -> "Deferred[None]":
        """Does nothing."""
        self._open = True
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        """Refuse everything from now on."""
        self._open = False
        return succeed(None)

    def append(self, drafts: list[Draft]) -> "Deferred[None]":
        """Append drafts in order and fill in their outcomes; never fails."""
        error = self._write_error()
        if error is None and self._failing:
            self._failing -= 1
            error = StoreUnavailable("the store could not write: told to fail")
        for draft in drafts:
            if error is not None:
                draft.error = error
            else:
                self._append(draft)
        if self._clock is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._clock.callLater(0, done.callback, None)
        return done

    def _append(self, draft: Draft) -> None:
        key = draft.key
        if key is not None:
            kept = self._answers.get(key[:2])
            if kept is not None and kept.expires > draft.at:
                if kept.digest == key.digest and kept.seq:
                    draft.repeated, draft.seq, draft.at = True, kept.seq, kept.at
                else:
                    draft.error = Conflict("this key was used before, with other params")
                return
        if draft.amend is not None and not self._amend(draft):
            return
        if draft.founds and draft.room not in self._rooms:
            self._accesses.own(draft.room, draft.sender)
        if draft.change is not None:
            self._accesses.apply(draft.room, draft.change)
        room = self._rooms.setdefault(draft.room, _Room())
        draft.seq = room.head + 1
        room.at = draft.at
        room.events.append(Row(draft.seq, draft.at, draft.type, draft.sender, draft.text, draft.extra))
        if key is not None:
            self._keep_answer(draft)

    def _amend(self, draft: Draft) -> bool:
        """Let a draft change earlier events; returns whether it is to be appended."""
        room = self._rooms.get(draft.room) or _Room()
        draft.seq = room.head + 1

        def load(seq: int) -> Row | None:
            found = room.slice(seq - 1, seq)
            return found[0] if found else None

        assert draft.amend is not None
        try:
            outcome = draft.amend(draft, load(draft.target), load)
        except NetsvcError as error:
            draft.error, draft.seq = error, 0
            return False
        if isinstance(outcome, int):
            known = load(outcome)
            draft.repeated, draft.seq, draft.at = True, outcome, draft.at if known is None else known.at
            self._keep_answer(draft)
            return False
        for row in outcome:
            room.events[row.seq - room.first] = row
        draft.changed = outcome
        return True

    def _keep_answer(self, draft: Draft) -> None:
        key = draft.key
        if key is not None:
            self._answers[key[:2]] = _Kept(key.digest, key.expires, b'{"seq":%d,"at":%d}' % (draft.seq, draft.at), draft.seq, draft.at)

    def room(self, name: str) -> "Deferred[RoomInfo | None]":
        """The bounds of a room, None if it has no event."""
        return self._read(self._info(name) if name in self._rooms else None)

    def rooms(self, after: str, limit: int) -> "Deferred[list[RoomInfo]]":
        """Up to `limit` rooms whose names sort after `after`, by name."""
        return self._read([self._info(name) for name in sorted(self._rooms) if name > after][:limit])

    def read_after(self, room: str, after: int, limit: int, upto: int | None = None) -> "Deferred[list[Row]]":
        """Up to `limit` events with seq > after (and seq <= upto), ascending."""
        log = self._rooms.get(room) or _Room()
        return self._read(log.slice(after, log.head if upto is None else upto)[:limit])

    def read_before(self, room: str, before: int, limit: int) -> "Deferred[list[Row]]":
        """The last `limit` events with seq < before, ascending."""
        log = self._rooms.get(room) or _Room()
        last = min(before - 1, log.head)
        return self._read(log.slice(last - limit, last))

    def search(self, query: Query, before: tuple[str, int] | None, limit: int, hidden: frozenset[str]) -> "Deferred[SearchPage]":
        """Messages that match a query, newest first."""
        messages = [(name, row) for name, log in self._rooms.items() for row in log.events]
        found = maybeDeferred(search_everything, self.epoch, self._positions, messages, query, before, limit, hidden)
        return found if self._open else self._read(SearchPage([], [], ("", 0), False))

    def recall(self, scope: str, key: str, now: int) -> "Deferred[StoredAnswer | None]":
        """The stored answer of an idempotency key that has not expired at `now` (ms)."""
        kept = self._answers.get((scope, key))
        return self._read(StoredAnswer(kept.digest, kept.answer) if kept is not None and kept.expires > now else None)

    def remember(self, scope: str, key: str, digest: bytes, answer: bytes, expires: int) -> "Deferred[None]":
        """Store the answer of a key until `expires` (ms)."""
        error = self._write_error()
        if error is not None:
            return fail(error)
        self._answers[scope, key] = _Kept(digest, expires, answer)
        return succeed(None)

    def mark_read(self, name: str, room: str, seq: int, at: int, most: int) -> "Deferred[int]":
        """Record how far a user has read."""
        error = self._write_error()
        return fail(error) if error is not None else succeed(mark_read(self._connection, [Mark(name, room, seq, at, most)])[0])

    def read_marks(self, name: str) -> "Deferred[dict[str, int]]":
        """A user's marks."""
        return self._read(read_marks(self._connection, name))

    def outlines(self, after: Mapping[str, int], limit: int) -> "Deferred[dict[str, Outline]]":
        """What is new in each of these rooms."""
        found = {}
        for name, seq in after.items():
            room = self._rooms.get(name)
            if room is not None:
                rows = room.slice(max(seq, room.head - limit), room.head)
                found[name] = Outline(room.head, [row._replace(text=None) for row in reversed(rows)])
        return self._read(found)

    def prune(self, now: int, max_age: int | None, max_events: int | None) -> "Deferred[list[RoomInfo]]":
        """Remove what retention does not keep; the rooms whose `first` has moved."""
        error = self._write_error()
        if error is not None:
            return fail(error)
        moved = []
        own = self._accesses.retentions()
        for name, room in self._rooms.items():
            age, events = kept(*own.get(name, (None, None)), max_age, max_events)
            surplus = 0 if events is None else max(len(room.events) - events, 0)
            while age is not None and surplus < len(room.events) and room.events[surplus].at < now - age:
                surplus += 1
            if surplus:
                del room.events[:surplus]
                room.first += surplus
                moved.append(self._info(name))
        self._answers = {key: kept for key, kept in self._answers.items() if kept.expires > now}
        self.local_accounts.remove_expired_sessions(now)
        self._accesses.forget_expired(now, 1000)
        return succeed(moved)

    def probe(self) -> "Deferred[None]":
        """StoreUnavailable if writes fail now."""
        error = self._write_error()
        return succeed(None) if error is None else fail(error)

    def _info(self, name: str) -> RoomInfo:
        room = self._rooms[name]
        return RoomInfo(name, room.first, room.head, room.at)

    def _read(self, result: R) -> "Deferred[R]":
        return succeed(result) if self._open else fail(StoreUnavailable("the store is not open"))

    def _write_error(self) -> StoreUnavailable | None:
        if not self._open:
            return StoreUnavailable("the store is not open")
        return StoreUnavailable(f"the store could not write: {self.broken}") if self.broken else None

    def _ask(self, job: Callable[[Accounts], R]) -> "Deferred[R]":
        return maybeDeferred(job, self.local_accounts) if self._open else fail(StoreUnavailable("the store is not open"))

    def _ask_access(self, job: Callable[[RoomAccesses], R]) -> "Deferred[R]":
        return maybeDeferred(job, self._accesses) if self._open else fail(StoreUnavailable("the store is not open"))

    def _tell(self, job: Callable[[Accounts], R]) -> "Deferred[R]":
        error = self._write_error()
        return maybeDeferred(job, self.local_accounts) if error is None else fail(error)
