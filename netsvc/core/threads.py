"""A few threads of one's own, with a bounded number of jobs waiting for them."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from netsvc.errors import Overloaded

__all__ = ["BoundedThreads"]

P = ParamSpec("P")
R = TypeVar("R")


class BoundedThreads:
    """Runs functions that take long, so that one kind of work cannot take all threads, nor pile up.

    :param reactor: on whose thread the results arrive.
    :param name: for the threads and for errors: "passwords".
    :param threads: how many run at once.
    :param waiting: how many more may wait.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str, threads: int, waiting: int) -> None:
        self._reactor = reactor
        self._name = name
        self._threads = threads
        self._most = threads + waiting
        self._jobs = 0
        self._pool: ThreadPool | None = None

    def start(self) -> None:
        """Be ready for jobs. May follow `stop`."""
        self._pool = ThreadPool(1, self._threads, self._name)
        self._pool.start()

    def stop(self) -> None:
        """Wait for the jobs that are running; those that wait fail with Overloaded. No error if it has not been started."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Deferred[R]":
        """Call a function in one of the threads; the Deferred has what it returns or raises.

        :raises Overloaded: as many jobs wait as may, or it is stopped.
        """
        pool = self._pool
        if pool is None or self._jobs >= self._most:
            raise Overloaded(f"too many {self._name} at once: try again")
        self._jobs += 1
        result: Deferred[R] = Deferred()

        def job() -> R:
            if self._pool is not pool:
                raise Overloaded("shutting down")
            return function(*args, **kwargs)

        def done(success: bool, outcome: "R | Failure") -> None:
            self._reactor.callFromThread(self._done, result, outcome)

        pool.callInThreadWithCallback(done, job)
        return result

    def _done(self, result: "Deferred[R]", outcome: "R | Failure") -> None:
        # Counted here and not on the Deferred: one that is cancelled still occupies its thread.
        self._jobs -= 1
        result.callback(outcome)
