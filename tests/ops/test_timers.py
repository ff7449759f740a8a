"""Timers and a clock that is set back."""

from twisted.internet.base import ReactorBase
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from netsvc.ops.timers import follow_clock


class Turning(ReactorBase):
    """The timers of a real reactor, with a clock of the test's."""

    now = 1_000_000.0

    def installWaker(self) -> None:
        """Nobody wakes it."""

    def seconds(self) -> float:  # type: ignore[override]
        """The time of day."""
        return self.now

    def turn(self, now: float) -> None:
        """Do what is due at a time."""
        self.now = now
        self.runUntilCurrent()


class TimerTests(SynchronousTestCase):
    """What is to happen in a while happens after that while."""

    def setUp(self) -> None:
        """A reactor with timers, some of them set before."""
        self.reactor = Turning()
        self.happened: list[str] = []
        self.wait(5, "before")
        follow_clock(self.reactor)

    def wait(self, delay: float, name: str) -> None:
        """Have something happen."""
        self.reactor.callLater(delay, self.happened.append, name)

    def test_set_back(self) -> None:
        """By an hour, and again: the timers keep what is left of them; it is said."""
        start = self.reactor.now
        self.reactor.turn(start + 2)
        with capturedLogs() as logged:
            self.reactor.turn(start + 2 - 3600)
        self.assertEqual([event["seconds"] for event in logged], [3600])
        self.wait(1, "after")
        self.reactor.turn(start + 3 - 3600)
        self.assertEqual(self.happened, ["after"])
        self.reactor.turn(start - 7200)
        self.reactor.turn(start + 1.9 - 7200)
        self.assertEqual(self.happened, ["after"])
        self.reactor.turn(start + 2.1 - 7200)
        self.assertEqual(self.happened, ["after", "before"])

    def test_by_a_little(self) -> None:
        """Corrections of less than a second move nothing by themselves, but they add up."""
        start = self.reactor.now
        with capturedLogs() as logged:
            for step in range(3):
                self.reactor.turn(start - 0.4 * step)
            self.assertEqual(logged, [])
            self.reactor.turn(start - 1.2)
        self.assertEqual(len(logged), 1)

    def test_set_forward(self) -> None:
        """What is due by the clock happens."""
        self.reactor.turn(self.reactor.now + 3600)
        self.assertEqual(self.happened, ["before"])
