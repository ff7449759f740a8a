"""A few dedicated threads, with a bounded number of jobs waiting for them."""

from collections.abc import Callable, Hashable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from netsvc.core.fairness import FairQueue
from netsvc.errors import Overloaded

__all__ = ["BoundedThreads"]

P = ParamSpec("P")
R = TypeVar("R")


class BoundedThreads:
    """Runs functions that take long, so that one kind of work can neither take all threads nor pile up.

    Unlike those of Twisted's pool, a thread that never returns stops neither `stop` nor the process from finishing.

    :param reactor: on whose thread the results arrive.
    :param name: for the threads and for errors, for example "passwords".
    :param threads: how many run at once.
    :param waiting: how many more may wait.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str, threads: int, waiting: int) -> None:
        self._reactor = reactor
        self._name = name
        self._threads = threads
        self._most = threads + waiting
        self._jobs = 0
        self._given = 0
        self._waiting: FairQueue[_Job] = FairQueue()
        self._crew: _Crew | None = None

    def start(self) -> None:
        """Accept jobs. May follow `stop`."""
        self._crew = _Crew(self._reactor, self._name, self._threads)

    def stop(self) -> "Deferred[None]":
        """Start no more jobs: those that wait fail with Overloaded. The Deferred fires when the running ones are done.

        No error if it has not been started.
        """
        crew, self._crew = self._crew, None
        while self._waiting:
            self._jobs -= 1
            self._waiting.pop().result.errback(Overloaded("shutting down"))
        return crew.end() if crew is not None else succeed(None)

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Deferred[R]":
        """Call a function in one of the threads; the Deferred has what it returns or raises.

        :raises Overloaded: too many jobs wait, or this is stopped.
        """
        return self.run_for(None, function, *args, **kwargs)

    def run_for(self, owner: Hashable, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Deferred[R]":
        """The same as `run`; owners with waiting jobs take turns. A job that is cancelled while it waits is not started."""
        if self._crew is None or self._jobs >= self._most:
            raise Overloaded(f"too many {self._name} at once: try again")
        self._jobs += 1
        job = _Job(owner, partial(function, *args, **kwargs), self)
        # As many again as there are threads, so that none is idle until the reactor has seen its result.
        if self._given < 2 * self._threads:
            self._give(job)
        else:
            self._waiting.add(owner, job)
        return job.result

    def _give(self, job: "_Job") -> None:
        assert self._crew is not None
        self._given += 1
        self._crew.jobs.put(job)

    def done(self, job: "_Job", outcome: Any) -> None:
        """A job is done."""
        # Counted here and not on the Deferred: a job whose caller cancelled it still occupies its thread.
        self._jobs -= 1
        self._given -= 1
        if self._waiting and self._crew is not None:
            self._give(self._waiting.pop())
        if not job.result.called:
            job.result.callback(outcome)

    def discard(self, job: "_Job") -> None:
        """A job was cancelled."""
        if self._waiting.discard(job.owner, job):
            self._jobs -= 1


class _Job:
    """A function to call.

    :ivar result: fires with what it returns or raises, on the reactor's thread.
    """

    __slots__ = ("_threads", "function", "owner", "result")

    def __init__(self, owner: Hashable, function: Callable[[], Any], threads: BoundedThreads) -> None:
        self.owner = owner
        self.function = function
        self.result: Deferred[Any] = Deferred(lambda _: threads.discard(self))
        self._threads = threads

    def done(self, outcome: Any) -> None:
        """It has been called."""
        self._threads.done(self, outcome)


class _Crew:
    """The threads from one `start` to the next `stop`.

    :ivar jobs: what to call; None ends a thread.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str, size: int) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._reactor = reactor
        self._left = size
        self._ended: Deferred[None] | None = None
        for number in range(size):
            Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def end(self) -> "Deferred[None]":
        self._ended = Deferred()
        for _ in range(self._left):
            self.jobs.put(None)
        return self._ended

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            outcome: Any
            try:
                if self._ended is not None:
                    raise Overloaded("shutting down")
                if job.result.called:
                    raise CancelledError
                outcome = job.function()
            except BaseException:
                outcome = Failure()
            self._reactor.callFromThread(job.done, outcome)
        self._reactor.callFromThread(self._gone)

    def _gone(self) -> None:
        self._left -= 1
        if self._ended is not None and not self._left:
            self._ended.callback(None)
