"""The store on SQLite: one thread writes, a few read, and the reactor waits for neither."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.core.query import Query, SearchPage
from netsvc.core.records import Draft, Outline, RoomInfo, Row, StoredAnswer
from netsvc.errors import StoreUnavailable
from netsvc.interfaces import IStore
from netsvc.store.gathering import Gathering
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import reads
from netsvc.store.sqlite.access import RoomAccesses
from netsvc.store.sqlite.accounts import Accounts
from netsvc.store.sqlite.checkpoints import WalBound
from netsvc.store.sqlite.deferred_access import DeferredRoomAccesses
from netsvc.store.sqlite.deferred_accounts import DeferredAccounts
from netsvc.store.sqlite.files import OpenedFile
from netsvc.store.sqlite.indexing import Indexer
from netsvc.store.sqlite.marks import Mark, mark_read, outlines, read_marks
from netsvc.store.sqlite.opening import OpenState, connect, open_state
from netsvc.store.sqlite.pool import ReaderPool
from netsvc.store.sqlite.pruning import pruning
from netsvc.store.sqlite.search_thread import Searching
from netsvc.store.sqlite.transactions import unavailable
from netsvc.store.sqlite.writing import Answer, LogWriter
from netsvc.store.threads import Crew, Handover

__all__ = ["SqliteStore"]

R = TypeVar("R")

_FINISHED: Final = object()


@implementer(IStore)
class SqliteStore:
    """The log in the state directory, with its accounts.

    :ivar accounts: IAccounts on the same database; usable while the store is open.
    :ivar accesses: IRoomAccesses on the same database; usable while the store is open.
    :param reactor: on whose thread results arrive.
    :param state: the state directory; created if it is missing.
    :param settings: [store].
    """

    log = Logger()
    durable = "fsync"

    def __init__(self, reactor: IReactorFromThreads, state: Path, settings: StoreSettings) -> None:
        self._directory = state
        self._settings = settings
        self._handover = Handover(reactor)
        self._writing: Crew | None = None
        self._reading: Crew | None = None
        self._state: OpenState | None = None
        self._log_writer: LogWriter | None = None
        self._searching: Searching | None = None
        self._readers = ReaderPool(())
        self._troubled = False
        self._answers: Gathering[Answer, None] = Gathering(self._remember)
        self._marks: Gathering[Mark, int] = Gathering(self._mark_read)
        self.epoch = ""
        self.accounts = DeferredAccounts(self._ask, self._tell)
        self.accesses = DeferredRoomAccesses(self._ask_access)

    # Its life

    def start(self) -> "Deferred[None]":
        """Open, creating what is missing. StartError: the detail says what to do."""
        self._writing = writing = Crew("netsvc-store-writer", 1, self._handover, _translator("write"))
        return writing.call(self._open).addCallbacks(self._opened, self._not_opened)

    def _open(self) -> OpenState:
        """Runs on the writer's thread, like everything about opening and closing."""
        settings = self._settings
        self._state = state = open_state(self._directory, settings)
        # One more than the threads that read: the search index follows the log.
        following = connect(state.files.database, settings, read_only=True)
        self._state = state = state._replace(readers=(*state.readers, following))
        self._readers = readers = ReaderPool(state.readers)
        wal = WalBound(state.writer, state.files.database, self._readers, settings.wal, settings.busy_timeout)
        self._searching = searching = Searching(lambda: Indexer(state.files.search, state.epoch, readers, settings), self._handover)
        database = OpenedFile(state.files.database)
        self._log_writer = LogWriter(state.writer, state.mark, wal, settings.heads, searching.appended, database)
        return state

    def _opened(self, state: OpenState) -> None:
        self.epoch = state.epoch
        if state.tightened:
            names = ", ".join(state.tightened)
            self.log.warn("the state in {path} was open to others; now only its owner has access: {names}", path=state.files.directory, names=names)
        self._reading = Crew("netsvc-store-reader", self._settings.readers, self._handover, _translator("read"))

    def _not_opened(self, failure: Failure) -> Failure:
        # A caller that timed out stops the store; it may still be opening.
        if self._writing is not None and not failure.check(CancelledError):
            self._writing.end()
            self._writing = None
        return failure

    def stop(self) -> "Deferred[None]":
        """Finish what was asked for, and close. No error if it is not open."""
        writing, self._writing = self._writing, None
        if writing is None:
            return succeed(None)

        def closed(result: R) -> R:
            writing.end()
            return result

        return writing.call(self._close, self._reading).addBoth(closed)

    def _close(self, reading: Crew | None) -> None:
        if reading is not None:
            reading.end()
            reading.join()
        if self._searching is not None:
            self._searching.end()
            self._searching = None
        if self._state is not None:
            self._state.close()
            self._state = None

    # Writing

    def append(self, drafts: list[Draft]) -> "Deferred[None]":
        """Append drafts in order, in one transaction, and fill in their outcomes; never fails."""
        return self._write(self._append, drafts).addCallbacks(self._appended, self._not_appended, errbackArgs=(drafts,))

    def _append(self, drafts: list[Draft]) -> StoreUnavailable | None:
        return self._writer().append(drafts)

    def _appended(self, trouble: StoreUnavailable | None) -> None:
        # Logged when it begins and when it is over, not for each of thousands of posts.
        if trouble is not None and not self._troubled:
            self.log.error("posts are refused: {detail}", detail=trouble.detail)
        elif trouble is None and self._troubled:
            self.log.info("posts are stored again")
        self._troubled = trouble is not None

    def _not_appended(self, failure: Failure, drafts: list[Draft]) -> None:
        error = failure.value
        if not isinstance(error, StoreUnavailable):
            self.log.failure("posts were not stored", failure)
            error = StoreUnavailable("the store could not write: internal error")
        for draft in drafts:
            draft.error = error

    def remember(self, scope: str, key: str, digest: bytes, answer: bytes, expires: int) -> "Deferred[None]":
        """Store the answer of a key until `expires` (ms). Answers that come while others are stored share the next transaction."""
        return self._answers.add(Answer(scope, key, digest, answer, expires))

    def _remember(self, answers: list[Answer]) -> "Deferred[Sequence[Exception | None]]":
        writing = self._change(lambda: self._writer().remember(answers))
        return writing.addCallback(lambda errors: [errors.get(index) for index in range(len(answers))])

    def mark_read(self, name: str, room: str, seq: int, at: int, most: int) -> "Deferred[int]":
        """Record how far a user has read; returns where the mark is then."""
        return self._marks.add(Mark(name, room, seq, at, most))

    def _mark_read(self, marks: list[Mark]) -> "Deferred[Sequence[int | Exception]]":
        return self._change(lambda: mark_read(self._open_state().writer, marks))

    def prune(self, now: int, max_age: int | None, max_events: int | None) -> "Deferred[list[RoomInfo]]":
        """Remove what retention does not keep; the rooms whose `first` has moved."""
        return Deferred.fromCoroutine(self._prune(now, max_age, max_events))

    async def _prune(self, now: int, max_age: int | None, max_events: int | None) -> list[RoomInfo]:
        await self._write(lambda: self._writer().clean())
        moved: dict[str, RoomInfo] = {}
        steps = await self._write(lambda: pruning(self._open_state().writer, now, max_age, max_events, self._settings.prune_batch, moved))
        # Each step queues behind the posts that have come meanwhile.
        while await self._change(next, steps, _FINISHED) is not _FINISHED:
            pass
        if self._searching is not None:
            self._searching.pruned(moved)
        return list(moved.values())

    def probe(self) -> "Deferred[None]":
        """Prove that a write would succeed now. StoreUnavailable if not."""
        return self._write(lambda: self._writer().probe())

    # Reading

    def room(self, name: str) -> "Deferred[RoomInfo | None]":
        """The bounds of a room, None if it has no event."""
        return self._read(lambda connection: reads.room(connection, name))

    def rooms(self, after: str, limit: int) -> "Deferred[list[RoomInfo]]":
        """Up to `limit` rooms whose names sort after `after`, by name."""
        return self._read(lambda connection: reads.rooms(connection, after, limit))

    def read_after(self, room: str, after: int, limit: int, upto: int | None = None) -> "Deferred[list[Row]]":
        """Up to `limit` events with seq > after (and seq <= upto), ascending."""
        return self._read(lambda connection: reads.read_after(connection, room, after, limit, upto))

    def read_before(self, room: str, before: int, limit: int) -> "Deferred[list[Row]]":
        """The last `limit` events with seq < before, ascending."""
        return self._read(lambda connection: reads.read_before(connection, room, before, limit))

    def search(self, query: Query, before: tuple[str, int] | None, limit: int, hidden: frozenset[str]) -> "Deferred[SearchPage]":
        """Messages that match a query, newest first."""
        if self._writing is None or self._searching is None:
            return fail(StoreUnavailable("the store is not open"))
        return self._searching.search(query, before, limit, hidden)

    def recall(self, scope: str, key: str, now: int) -> "Deferred[StoredAnswer | None]":
        """The stored answer of an idempotency key that has not expired at `now` (ms)."""
        return self._read(lambda connection: reads.recall(connection, scope, key, now))

    def read_marks(self, name: str) -> "Deferred[dict[str, int]]":
        """A user's marks."""
        return self._read(lambda connection: read_marks(connection, name))

    def outlines(self, after: Mapping[str, int], limit: int) -> "Deferred[dict[str, Outline]]":
        """What is new in each of these rooms."""
        return self._read(lambda connection: outlines(connection, list(after.items()), limit))

    # Threads

    def _write(self, job: "Callable[..., R]", *args: object) -> "Deferred[R]":
        if self._writing is None:
            return fail(StoreUnavailable("the store is not open"))
        return self._writing.call(job, *args)

    def _change(self, job: "Callable[..., R]", *args: object) -> "Deferred[R]":
        """Write something that is not a post; the write-ahead log grows by it as well."""

        def change() -> R:
            try:
                return job(*args)
            finally:
                self._writer().keep_short()

        return self._write(change)

    def _read(self, job: Callable[[sqlite3.Connection], R]) -> "Deferred[R]":
        if self._writing is None or self._reading is None:
            return fail(StoreUnavailable("the store is not open"))
        return self._reading.call(self._with_connection, job)

    def _with_connection(self, job: Callable[[sqlite3.Connection], R]) -> R:
        with self._readers.connection() as connection:
            return job(connection)

    def _ask(self, job: Callable[[Accounts], R]) -> "Deferred[R]":
        return self._read(lambda connection: job(Accounts(connection)))

    def _ask_access(self, job: Callable[[RoomAccesses], R]) -> "Deferred[R]":
        return self._read(lambda connection: job(RoomAccesses(connection)))

    def _tell(self, job: Callable[[Accounts], R]) -> "Deferred[R]":
        return self._change(lambda: job(Accounts(self._open_state().writer)))

    def _writer(self) -> LogWriter:
        assert self._log_writer is not None
        return self._log_writer

    def _open_state(self) -> OpenState:
        assert self._state is not None
        return self._state


def _translator(verb: str) -> Callable[[Exception], Exception]:
    """Turns SQLite's errors into StoreUnavailable; `verb`: read or write."""
    return lambda error: unavailable(verb, error) if isinstance(error, sqlite3.Error) else error
