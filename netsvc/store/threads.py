"""Threads that work for the reactor, with as little communication as possible."""

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

__all__ = ["Crew", "Handover"]

P = ParamSpec("P")
R = TypeVar("R")

_Job = tuple[Callable[..., Any], tuple[Any, ...], "Deferred[Any]"]


class Handover:
    """Brings results to the reactor's thread; however many are ready, it wakes the reactor once.

    :param reactor: on whose thread the Deferreds fire.
    """

    __slots__ = ("_reactor", "_ready", "_woken")

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._ready: deque[tuple[Deferred[Any], Any, Exception | None]] = deque()
        self._woken = False

    def give(self, deferred: "Deferred[Any]", result: Any, error: Exception | None) -> None:
        """Fire a Deferred soon, with a result or an error. From any thread."""
        self._ready.append((deferred, result, error))
        # The reactor's thread clears the flag before it looks: what is added after that look wakes it again.
        if not self._woken:
            self._woken = True
            self._reactor.callFromThread(self._fire)

    def _fire(self) -> None:
        self._woken = False
        ready = self._ready
        while ready:
            deferred, result, error = ready.popleft()
            if error is None:
                deferred.callback(result)
            else:
                deferred.errback(error)


class Crew:
    """A few dedicated threads that take jobs from one queue, in order; with one thread, one job at a time.

    The queue is unbounded: callers make sure that not too many jobs wait.

    Twisted's thread pool would do, but at several times the cost for each job.

    :param name: of the threads.
    :param size: how many.
    :param translate: what an exception becomes before it is handed over.
    """

    __slots__ = ("_handover", "_jobs", "_threads", "_translate")

    def __init__(self, name: str, size: int, handover: Handover, translate: Callable[[Exception], Exception]) -> None:
        self._handover = handover
        self._translate = translate
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Daemon threads: a disk that hangs must not keep the process from ending when its time is up.
        self._threads = [Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(size)]
        for thread in self._threads:
            thread.start()

    def call(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Deferred[R]":
        """Run a job on one of the threads; its outcome fires the Deferred."""
        assert not kwargs
        deferred: Deferred[R] = Deferred()
        self._jobs.put((job, args, deferred))
        return deferred

    def end(self) -> None:
        """Make the threads end once the jobs given so far are done."""
        for _ in self._threads:
            self._jobs.put(None)

    def join(self) -> None:
        """After `end`: wait until they have ended."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, args, deferred = entry
            try:
                result = job(*args)
            except Exception as error:
                self._handover.give(deferred, None, self._translate(error))
            else:
                self._handover.give(deferred, result, None)
