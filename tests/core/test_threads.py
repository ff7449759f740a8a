"""Tests for netsvc.core.threads."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, current_thread
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from netsvc.core.threads import BoundedThreads
from netsvc.errors import Overloaded

PATIENCE = 10.0
"""Seconds that a test's thread waits before it gives up."""


@implementer(IReactorFromThreads)
class Calls:
    """Keeps calls from threads until the test takes them."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """See IReactorFromThreads."""
        self.calls.put((callable, args))

    def take(self, number: int) -> None:
        """Do this many calls, waiting for them."""
        for _ in range(number):
            function, args = self.calls.get(timeout=PATIENCE)
            function(*args)


class Bounds(SynchronousTestCase):
    """What runs, what waits, what is refused."""

    def setUp(self) -> None:
        """One thread, one waiting place."""
        self.reactor = Calls()
        self.threads = BoundedThreads(self.reactor, "passwords", 1, 1)
        self.threads.start()
        self.addCleanup(self.threads.stop)

    def busy(self) -> tuple[Event, "Deferred[bool]"]:
        """Occupy the thread until the event is set."""
        begun, release = Event(), Event()
        self.addCleanup(release.set)

        def job() -> bool:
            begun.set()
            return release.wait(PATIENCE)

        result = self.threads.run(job)
        assert begun.wait(PATIENCE)
        return release, result

    def test_results(self) -> None:
        """A result or an error arrives by way of the reactor, from another thread."""
        thread = self.threads.run(current_thread)
        self.assertNoResult(thread)
        self.reactor.take(1)
        self.assertNotEqual(self.successResultOf(thread), current_thread())
        error = self.threads.run(int, "x", base=10)
        self.reactor.take(1)
        self.failureResultOf(error, ValueError)

    def test_refuses_beyond_the_bound(self) -> None:
        """With the thread busy and the place taken, a job is refused with Overloaded; when one is done there is room again."""
        release, _ = self.busy()
        waiting = self.threads.run(int, "7")
        with self.assertRaises(Overloaded) as caught:
            self.threads.run(int, "8")
        self.assertIn("passwords", caught.exception.detail)
        release.set()
        self.reactor.take(2)
        self.assertEqual(self.successResultOf(waiting), 7)
        again = self.threads.run(int, "9")
        self.reactor.take(1)
        self.assertEqual(self.successResultOf(again), 9)

    def test_stop(self) -> None:
        """Stopping waits for the job that runs without blocking, and fails those that wait; after it jobs are refused."""
        release, running = self.busy()
        waiting = self.threads.run(int, "7")
        stopped = self.threads.stop()
        self.assertRaises(Overloaded, self.threads.run, int, "8")
        self.assertNoResult(stopped)
        release.set()
        self.reactor.take(3)
        self.assertTrue(self.successResultOf(running))
        self.failureResultOf(waiting, Overloaded)
        self.successResultOf(stopped)
        self.successResultOf(self.threads.stop())

    def test_start_again(self) -> None:
        """After stopping it can be started again."""
        self.threads.stop()
        self.threads.start()
        again = self.threads.run(int, "9")
        self.reactor.take(2)
        self.assertEqual(self.successResultOf(again), 9)

    def test_stop_of_several(self) -> None:
        """Of several threads the last one to end counts."""
        threads = BoundedThreads(self.reactor, "passwords", 3, 0)
        threads.start()
        stopped = threads.stop()
        self.reactor.take(2)
        self.assertNoResult(stopped)
        self.reactor.take(1)
        self.successResultOf(stopped)

    def test_lost_thread(self) -> None:
        """A job that never ends does not keep the process from ending."""
        thread = self.threads.run(current_thread)
        self.reactor.take(1)
        self.assertTrue(self.successResultOf(thread).daemon)

    def test_owners_in_turn(self) -> None:
        """Of those who wait each has one job begun in turn; one that is cancelled while it waits is not begun, and leaves its place."""
        self.threads = BoundedThreads(self.reactor, "jobs", 1, 8)
        self.threads.start()
        self.addCleanup(self.threads.stop)
        release, _ = self.busy()
        order: list[str] = []
        jobs = [self.threads.run_for(name[0], order.append, name) for name in ("a0", "a1", "a2", "a3", "b1", "c1", "c2")]
        jobs[3].cancel()
        self.failureResultOf(jobs[3], CancelledError)
        self.threads.run_for("b", order.append, "b2")
        release.set()
        self.reactor.take(8)
        self.assertEqual(order, ["a0", "a1", "b1", "c1", "a2", "b2", "c2"])

    def test_cancelled_at_the_last_moment(self) -> None:
        """Nor is one begun that only waits for its thread to finish another."""
        release, _ = self.busy()
        done: list[int] = []
        job = self.threads.run(done.append, 1)
        job.cancel()
        self.failureResultOf(job, CancelledError)
        release.set()
        self.reactor.take(2)
        self.assertEqual(done, [])

    def test_stop_with_many_waiting(self) -> None:
        """Also those that no thread has been given fail."""
        self.threads = BoundedThreads(self.reactor, "jobs", 1, 8)
        self.threads.start()
        release, _ = self.busy()
        jobs = [self.threads.run(int, "7") for _ in range(3)]
        stopped = self.threads.stop()
        release.set()
        self.reactor.take(3)
        for job in jobs:
            self.failureResultOf(job, Overloaded)
        self.successResultOf(stopped)

    def test_cancelled_still_counts(self) -> None:
        """A job whose caller has given up keeps its place until it is done, and its result is dropped."""
        release, running = self.busy()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        waiting = self.threads.run(int, "7")
        self.assertRaises(Overloaded, self.threads.run, int, "8")
        release.set()
        self.reactor.take(2)
        self.assertEqual(self.successResultOf(waiting), 7)
