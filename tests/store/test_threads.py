"""Threads that work for the reactor."""

from threading import Event, get_ident
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.store.threads import Crew, Handover
from tests.store.harness import DEADLINE, ThreadlessReactor


class CrewTests(SynchronousTestCase):
    """A crew of one, unless said."""

    def setUp(self) -> None:
        """Hire it."""
        self.reactor = ThreadlessReactor()
        verifyObject(IReactorFromThreads, self.reactor)
        self.handover = Handover(self.reactor)
        self.crew = self.hire(1)

    def hire(self, size: int) -> Crew:
        """A crew that ends with the test."""
        crew = Crew("test", size, self.handover, lambda error: ValueError(*error.args))
        self.addCleanup(crew.join)
        self.addCleanup(crew.end)
        return crew

    def test_result(self) -> None:
        """A job runs on another thread, its result arrives on the reactor's."""
        fired_on: list[int] = []
        ran_on = self.reactor.wait(self.crew.call(get_ident).addCallback(lambda ident: fired_on.append(get_ident()) or ident))
        self.assertNotEqual(ran_on, get_ident())
        self.assertEqual(fired_on, [get_ident()])

    def test_arguments(self) -> None:
        """A job is called with its arguments."""
        self.assertEqual(self.reactor.wait(self.crew.call(divmod, 7, 2)), (3, 1))

    def test_error(self) -> None:
        """What a job raises is translated; the thread goes on."""

        def job() -> None:
            raise KeyError("no")

        self.assertEqual(self.assertRaises(ValueError, self.reactor.wait, self.crew.call(job)).args, ("no",))
        self.assertEqual(self.reactor.wait(self.crew.call(int)), 0)

    def test_order(self) -> None:
        """One thread does its jobs in the order given."""
        done: list[int] = []
        jobs = [self.crew.call(done.append, number) for number in range(50)]
        self.reactor.wait(jobs[-1])
        self.assertEqual(done, list(range(50)))

    def test_at_once(self) -> None:
        """Two threads do two jobs at once."""
        crew = self.hire(2)
        one, two = Event(), Event()

        def meet(mine: Event, other: Event) -> bool:
            mine.set()
            return other.wait(DEADLINE)

        jobs = [crew.call(meet, one, two), crew.call(meet, two, one)]
        self.assertEqual([self.reactor.wait(job) for job in jobs], [True, True])

    def test_one_wake(self) -> None:
        """Many results that are ready together wake the reactor once."""
        results: list[Any] = []
        jobs = [self.crew.call(int, number) for number in range(20)]
        for job in jobs:
            job.addCallback(results.append)
        crew, self.crew = self.crew, self.hire(1)
        crew.end()
        crew.join()
        self.reactor.turn()
        self.assertEqual(results, list(range(20)))
        self.assertEqual(self.reactor.calls, 1)

    def test_wakes_again(self) -> None:
        """What is ready after the reactor has looked wakes it again."""
        for number in range(3):
            self.assertEqual(self.reactor.wait(self.crew.call(int, number)), number)
        self.assertEqual(self.reactor.calls, 3)

    def test_cancelled(self) -> None:
        """A result that nobody waits for any more is dropped."""
        go_on = Event()
        job: Deferred[bool] = self.crew.call(go_on.wait, DEADLINE)
        job.cancel()
        go_on.set()
        self.failureResultOf(job, CancelledError)
        self.assertEqual(self.reactor.wait(self.crew.call(int)), 0)

    def test_end(self) -> None:
        """Jobs given before the end are done."""
        done: list[int] = []
        crew = self.hire(1)
        for number in range(5):
            crew.call(done.append, number)
        crew.end()
        crew.join()
        self.assertEqual(done, list(range(5)))
