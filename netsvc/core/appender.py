"""How posts get into the store: group commit, one transaction at a time."""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.records import Draft
from netsvc.errors import StoreUnavailable
from netsvc.interfaces import IStore

__all__ = ["Appender"]


class Appender:
    """Collects drafts and hands them to the store in batches: a batch is what arrived while the previous one was being committed.

    :param store: the store.
    :param clock: its `callLater` hands over at the end of a reactor turn, so that all posts of a turn share a transaction.
    :param committed: called with each batch whose outcomes are known.
    :param most: drafts in one batch, at most.
    :param bound: how many waiting drafts make it full.
    :ivar full: as many drafts wait as may: connections that post should not read on before `when_room`.
    :ivar busy: a commit is under way.
    :ivar giving_back: several posts that share a commit are being answered, one right after the other; set by whoever does that.
    :ivar batches: how many were handed over; `drafts`: how many drafts were in them.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, committed: Callable[[list[Draft]], None], most: int, bound: int) -> None:
        self._store = store
        self._clock = clock
        self._committed = committed
        self._most = most
        self._bound = bound
        self._waiting: list[Draft] = []
        self._scheduled = False
        self._idle: list[Deferred[None]] = []
        self._paused: deque[Callable[[], None]] = deque()
        self.full = False
        self.busy = False
        self.giving_back = False
        self.batches = 0
        self.drafts = 0

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when fewer drafts than half the bound are waiting."""
        self._paused.append(resume)

    def append(self, draft: Draft) -> None:
        """Take a draft; `committed` gives it back with its outcome."""
        waiting = self._waiting
        waiting.append(draft)
        if len(waiting) >= self._bound:
            self.full = True
        if not self.busy and not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._turn)

    def idle(self) -> "Deferred[None]":
        """Fires when nothing waits and nothing is under way."""
        done: Deferred[None] = Deferred()
        if self.busy or self._waiting:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    def _turn(self) -> None:
        self._scheduled = False
        if not self.busy and self._waiting:
            self._hand_over()

    def _hand_over(self) -> None:
        self.busy = True
        waiting = self._waiting
        batch, self._waiting = (waiting, []) if len(waiting) <= self._most else (waiting[: self._most], waiting[self._most :])
        self.full = len(self._waiting) >= self._bound
        self.batches += 1
        self.drafts += len(batch)
        self._store.append(batch).addErrback(self._not_stored, batch).addCallback(self._done, batch)

    def _not_stored(self, failure: Failure, batch: list[Draft]) -> None:
        # A store reports errors in the drafts, so this is a bug: it must neither be silent nor leave the callers waiting.
        self.log.failure("a store has failed", failure)
        for draft in batch:
            draft.error = StoreUnavailable("the store has failed")

    def _done(self, _: None, batch: list[Draft]) -> None:
        # The next commit runs while the outcomes of this one are delivered.
        if self._waiting:
            self._hand_over()
        else:
            self.busy = False
        try:
            self._committed(batch)
        except Exception:
            self.log.failure("following up a batch of stored posts failed")
        while self._paused and len(self._waiting) * 2 < self._bound:
            self._paused.popleft()()
        if not self.busy and not self._waiting:
            idle, self._idle = self._idle, []
            for done in idle:
                done.callback(None)
