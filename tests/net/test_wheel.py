"""The timing wheel."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.net.wheel import TimingWheel


class Entry:
    """Notes when it expired."""

    def __init__(self, clock: Clock) -> None:
        self.wheel_slot: int | None = None
        self.clock = clock
        self.times: list[float] = []

    def expired(self) -> None:
        """See WheelEntry."""
        self.times.append(self.clock.seconds())


class TimingWheelTests(SynchronousTestCase):
    """Timeouts come, in time, and cost nothing otherwise."""

    def setUp(self) -> None:
        """A clock that does not begin at a whole second."""
        self.clock = Clock()
        self.clock.advance(1000.4)
        self.wheel = TimingWheel(self.clock)
        self.entry = Entry(self.clock)

    def test_in_time(self) -> None:
        """An entry expires once, never early and at most two ticks late."""
        self.wheel.add(self.entry, 5)
        self.clock.pump([0.5] * 40)
        (time,) = self.entry.times
        self.assertTrue(1005.4 <= time <= 1007.5, time)
        self.assertIsNone(self.entry.wheel_slot)

    def test_no_timer_without_entries(self) -> None:
        """There is one delayed call while something waits, none otherwise."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        others = [Entry(self.clock) for _ in range(10)]
        for other in others:
            self.wheel.add(other, 3)
        self.assertEqual((len(self.clock.getDelayedCalls()), len(self.wheel)), (1, 10))
        for other in others[1:]:
            self.wheel.cancel(other)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.wheel.cancel(others[0])
        self.assertEqual((self.clock.getDelayedCalls(), len(self.wheel)), ([], 0))

    def test_stops_after_the_last(self) -> None:
        """When the last entry has expired, the timer is gone too; a later entry waits its whole time."""
        self.wheel.add(self.entry, 1)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(100)
        self.wheel.add(self.entry, 1)
        start = self.clock.seconds()
        self.clock.pump([0.5] * 10)
        self.assertTrue(start + 1 <= self.entry.times[-1] <= start + 3)

    def test_cancelled(self) -> None:
        """A cancelled entry does not expire; cancelling again is no error."""
        self.wheel.add(self.entry, 1)
        self.wheel.cancel(self.entry)
        self.wheel.cancel(self.entry)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.entry.times, [])

    def test_added_again(self) -> None:
        """An entry that waits and is added again waits anew."""
        self.wheel.add(self.entry, 2)
        self.wheel.add(self.entry, 8)
        self.clock.pump([1.0] * 12)
        self.assertEqual(len(self.entry.times), 1)
        self.assertGreaterEqual(self.entry.times[0], 1008.4)

    def test_again_from_within(self) -> None:
        """An entry may be added from its own expiry, also without any time to wait."""
        wheel, clock = self.wheel, self.clock

        class Repeated(Entry):
            def expired(self) -> None:
                super().expired()
                wheel.add(self, 0)

        repeated = Repeated(clock)
        wheel.add(repeated, 0)
        clock.pump([1.0] * 10)
        self.assertTrue(9 <= len(repeated.times) <= 10, repeated.times)

    def test_cancelled_from_within(self) -> None:
        """An entry may cancel another that is due in the same tick, the last one too."""
        wheel, clock = self.wheel, self.clock
        pair: list[Entry] = []

        class Rival(Entry):
            def expired(self) -> None:
                super().expired()
                for other in pair:
                    wheel.cancel(other)

        pair += [Rival(clock), Rival(clock)]
        for rival in pair:
            wheel.add(rival, 1)
        clock.pump([1.0] * 5)
        self.assertEqual(sum(len(rival.times) for rival in pair), 1)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_failing_entry(self) -> None:
        """An exception is logged and keeps no other entry from its turn."""

        class Broken(Entry):
            def expired(self) -> None:
                raise KeyError("broken")

        self.wheel.add(Broken(self.clock), 1)
        self.wheel.add(self.entry, 1)
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(self.entry.times), 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_slices(self) -> None:
        """Thousands that are due at once are expired over several reactor turns, and all before the next tick."""
        entries = [Entry(self.clock) for _ in range(2500)]
        for entry in entries:
            self.wheel.add(entry, 1)
        calls = 0
        while len(self.wheel):
            (call,) = self.clock.getDelayedCalls()
            self.clock.advance(call.getTime() - self.clock.seconds())
            calls += 1
        self.assertTrue(all(len(entry.times) == 1 for entry in entries))
        self.assertLess(max(entry.times[0] for entry in entries), 1004)

    def test_a_jump(self) -> None:
        """After a long block of the reactor everything overdue expires at once, in order."""
        order: list[int] = []

        class Numbered(Entry):
            def __init__(self, clock: Clock, number: int) -> None:
                super().__init__(clock)
                self.number = number

            def expired(self) -> None:
                order.append(self.number)

        for number in (3, 1, 2):
            self.wheel.add(Numbered(self.clock, number), number)
        self.clock.advance(500)
        self.assertEqual(order, [1, 2, 3])

    def test_clock_set_back(self) -> None:
        """A clock that is set back by hours does not stop the wheel."""
        self.wheel.add(self.entry, 3)
        self.clock.pump([1.0])
        self.clock.rightNow -= 500
        for call in self.clock.getDelayedCalls():
            call.reset(0.5)
        self.clock.pump([1.0] * 6)
        self.assertEqual(len(self.entry.times), 1)

    def test_past_deadline(self) -> None:
        """A tick that has passed already means the next one."""
        self.wheel.add_at(self.entry, 5)
        self.clock.pump([1.0] * 2)
        self.assertEqual(len(self.entry.times), 1)

    @settings(max_examples=60, deadline=None)
    @given(st.floats(0.01, 3.0), st.lists(st.floats(0, 20), min_size=1, max_size=20), st.lists(st.floats(0.001, 2.0), min_size=1, max_size=30))
    def test_any_tick(self, tick: float, waits: list[float], steps: list[float]) -> None:
        """Whatever the tick, the waits and the steps of time: never early, and never a wheel that does not turn on."""
        clock = Clock()
        wheel = TimingWheel(clock, tick)
        entries = [(Entry(clock), wait) for wait in waits]
        for entry, wait in entries:
            wheel.add(entry, wait)
        clock.pump(steps)
        for entry, wait in entries:
            self.assertTrue(not entry.times or entry.times[0] >= wait - 1e-9)
        clock.pump([tick] * int(25 / tick + 5))
        self.assertTrue(all(len(entry.times) == 1 for entry, _ in entries))
