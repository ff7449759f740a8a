"""The thread that keeps the search index, and answers searches."""

import sqlite3
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from netsvc.core.query import Query, SearchPage
from netsvc.errors import NetsvcError, StartError, StoreUnavailable
from netsvc.store.sqlite.indexing import Head, Indexer
from netsvc.store.sqlite.search_index import is_damage
from netsvc.store.threads import Handover

__all__ = ["Searching"]

T = TypeVar("T")

TICK: Final = 0.25
"""Seconds from an event to its indexing when nobody searches, so that several share a transaction."""

RETRY: Final = 30.0
"""Seconds until the index is tried again after an error; it is rebuilt at most this often."""

_Job = tuple[Callable[[Indexer], Any], "Deferred[Any]"]


class Searching:
    """Runs an Indexer on its own thread: neither posts nor readers wait for it.

    :param indexer: makes it, on the thread.
    :param handover: brings results to the reactor.
    """

    log = Logger()

    def __init__(self, indexer: Callable[[], Indexer], handover: Handover) -> None:
        self._make = indexer
        self._handover = handover
        self._jobs: SimpleQueue[_Job | bool] = SimpleQueue()
        self._indexer: Indexer | None = None
        self._resting = False
        self._remade = -RETRY
        self._troubled = False
        self._thread = Thread(target=self._work, name="netsvc-store-search", daemon=True)
        self._thread.start()

    # From other threads

    def appended(self, heads: Iterable[Head]) -> None:
        """Something has been committed to the log: the new heads of its rooms, which are no longer changed. Called from the writer's thread."""
        indexer = self._indexer
        if indexer is not None:  # else it will go through the whole log
            indexer.touched.append(heads)
        if self._resting:
            self._resting = False
            self._jobs.put(True)

    def search(self, query: Query, before: tuple[str, int] | None, limit: int, hidden: frozenset[str]) -> "Deferred[SearchPage]":
        """IStore.search. Called from the reactor's thread."""
        return self._call(lambda indexer: indexer.search(query, before, limit, hidden))

    def pruned(self, rooms: Iterable[str]) -> None:
        """Retention has removed the first events of these rooms."""
        names = list(rooms)
        if names:
            self._call(lambda indexer: indexer.prune(names)).addErrback(lambda _: None)  # the next start goes through the whole log

    def _call(self, job: Callable[[Indexer], T]) -> "Deferred[T]":
        deferred: Deferred[T] = Deferred()
        self._jobs.put((job, deferred))
        return deferred

    def end(self) -> None:
        """Finish what was asked for, purge what was deleted, close the index."""
        self._jobs.put(False)
        self._thread.join()

    # On its own thread

    def _work(self) -> None:
        due: float | None = time.monotonic()
        while True:
            try:
                entry = self._jobs.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except Empty:
                due = self._step()
                continue
            if entry is False:
                break
            if entry is True:
                due = time.monotonic() + TICK if due is None else due
            else:
                self._answer(entry)
                due = time.monotonic() if due is None else due
        self._close()

    def _step(self) -> float | None:
        """Follow the log a bit; returns when to do so again."""
        try:
            # First the flag, then the look: what is appended in between is seen, or wakes us again.
            self._resting = True
            pause = self._with_index(lambda indexer: indexer.step())
        except Exception as error:
            self._trouble(error)
            pause = RETRY
        else:
            self._troubled = False
        if pause is None:
            return None
        self._resting = False
        return time.monotonic() + pause

    def _answer(self, job: _Job) -> None:
        call, deferred = job
        if deferred.called:  # the caller timed out
            return
        try:
            result = self._with_index(call)
        except NetsvcError as error:
            self._handover.give(deferred, None, error)
        except Exception as error:
            self._trouble(error)
            self._handover.give(deferred, None, StoreUnavailable(f"the search index cannot be used: {error}"))
        else:
            self._handover.give(deferred, result, None)

    def _with_index(self, job: Callable[[Indexer], T]) -> T:
        """Do something with the index; once more with a new one if it turns out to be damaged."""
        if self._indexer is None:
            try:
                self._indexer = self._make()
            except StartError as error:
                raise StoreUnavailable(f"the search index cannot be used: {error.detail}") from error
        try:
            return job(self._indexer)
        except sqlite3.DatabaseError as error:
            if not is_damage(error) or time.monotonic() < self._remade + RETRY:
                raise
            self._remade = time.monotonic()
            self._say(f"the search index is damaged and is rebuilt: {error}")
        self._indexer.begin_again()
        return job(self._indexer)

    def _close(self) -> None:
        indexer, self._indexer = self._indexer, None
        if indexer is not None:
            try:
                indexer.close()
            except Exception as error:
                self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        """Log trouble when it begins, not each time."""
        if not self._troubled:
            self._troubled = True
            self._say(f"the search index cannot be brought up to date: {error}")

    def _say(self, what: str) -> None:
        saying: Deferred[str] = Deferred()
        saying.addCallback(lambda what: self.log.warn("{what}", what=what))
        self._handover.give(saying, what, None)
