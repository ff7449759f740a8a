"""Tests for netsvc.core.arrivals."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.arrivals import LONGEST, Arrivals
from netsvc.core.settings import LimitsSettings
from netsvc.errors import Overloaded


class LateClock(Clock):
    """A clock whose reactor can be held up."""

    def hold_up(self, seconds: float) -> None:
        """Time passes in which no call is made."""
        self.rightNow += seconds


class ArrivalsTests(SynchronousTestCase):
    """Who may come in, and who shall come again when."""

    def arrivals(self, pace: float = 0.0, lag: float = 1.0) -> Arrivals:
        """With a clock of its own."""
        self.clock = LateClock()
        self.clock.advance(1000.0)
        return Arrivals(LimitsSettings(arrivals=pace, arrivals_lag=lag), self.clock, Random(1))

    def waits(self, arrivals: Arrivals, count: int) -> list[float]:
        """So many ask; when those are told to come again who are refused."""
        found = []
        for _ in range(count):
            try:
                arrivals.admit()
            except Overloaded as error:
                found.append(error.retry_after)
        return found

    def test_no_cap(self) -> None:
        """Without one, and in time, everybody comes in; once nobody comes nothing is looked at any more."""
        arrivals = self.arrivals()
        for _ in range(20):
            self.assertEqual(self.waits(arrivals, 1000), [])
            self.clock.advance(0.1)
        self.clock.pump([0.1] * 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clock_set_back(self) -> None:
        """A clock that is set back keeps nobody out for as long as that, whether somebody has just come in, nobody has for a while, or it was behind."""
        arrivals = self.arrivals(lag=1.0)
        self.waits(arrivals, 3)
        self.clock.hold_up(-3600.0)
        self.assertEqual(self.waits(arrivals, 3), [])
        self.clock.pump([0.1] * 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.hold_up(-3600.0)
        self.assertEqual(self.waits(arrivals, 3), [])
        self.clock.hold_up(5.0)
        self.assertEqual(len(self.waits(arrivals, 3)), 3)
        self.clock.hold_up(-3600.0)
        self.assertEqual(self.waits(arrivals, 3), [])

    def test_clock_set_back_with_a_cap(self) -> None:
        """What a pace allows is there again a second later at the latest."""
        arrivals = self.arrivals(10.0)
        self.waits(arrivals, 50)
        self.clock.hold_up(-3600.0)
        self.assertEqual(len(self.waits(arrivals, 10)), 10)
        self.clock.advance(1.0)
        self.assertEqual(self.waits(arrivals, 10), [])

    def test_cap(self) -> None:
        """A second's worth at once, then at the set pace; who is refused comes in at the time given, and all times differ."""
        arrivals = self.arrivals(100.0)
        waits = self.waits(arrivals, 400)
        self.assertEqual((len(waits), arrivals.refused), (300, 300))
        self.assertEqual(len(set(waits)), 300)
        self.assertEqual(waits, sorted(waits))
        self.assertTrue(0.5 <= waits[0] <= 0.6 and 3.4 <= waits[-1] <= 3.6, (waits[0], waits[-1]))
        late = []
        began = self.clock.seconds()
        for wait in waits:
            self.clock.advance(max(0.0, began + wait + 0.01 - self.clock.seconds()))
            late += self.waits(arrivals, 1)
        self.assertEqual(late, [])

    def test_behind(self) -> None:
        """While the reactor is behind nobody comes in; it is seen at once, also before the late call is made, and it passes."""
        arrivals = self.arrivals()
        self.assertEqual(self.waits(arrivals, 10), [])
        self.clock.hold_up(1.2)
        self.assertEqual(len(self.waits(arrivals, 10)), 10)
        self.clock.advance(0)
        self.assertEqual(len(self.waits(arrivals, 10)), 10)
        self.clock.advance(0.1)
        self.assertEqual(self.waits(arrivals, 10), [])

    def test_the_pace_is_measured(self) -> None:
        """Times to come again are as far apart as clients came in before it was too much."""
        arrivals = self.arrivals()
        for _ in range(50):
            self.waits(arrivals, 30)
            self.clock.advance(0.1)
        self.clock.hold_up(1.2)
        self.clock.advance(0)
        self.assertTrue(60 < arrivals.pace < 300, arrivals.pace)
        waits = self.waits(arrivals, 100)
        self.assertAlmostEqual(waits[-1] - waits[0], 99 / arrivals.pace, places=2)

    def test_bounded(self) -> None:
        """However many are refused, nobody waits for ever."""
        arrivals = self.arrivals(10.0)
        self.assertLessEqual(max(self.waits(arrivals, 10_000)), LONGEST)

    def test_return_times(self) -> None:
        """Each has its own, evenly spread over the window and in no order; as long as they all need if that is longer."""
        arrivals = self.arrivals()
        times = list(arrivals.return_times(300))
        self.assertNotEqual(times, sorted(times))
        for place, time in enumerate(sorted(times)):
            self.assertTrue(place * 0.1 <= time <= (place + 1) * 0.1)
        self.assertGreater(max(arrivals.return_times(50_000)), 99.0)
        self.assertEqual(list(arrivals.return_times(0)), [])
