"""The queue of those who all have the same time."""

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.rpc.deadlines import SameDeadline


class Entry:
    """Notes when its time is over."""

    def __init__(self, clock: Clock) -> None:
        self.due = 0.0
        self.ends: list[float] = []
        self.clock = clock

    def expired(self) -> None:
        """It is."""
        self.ends.append(self.clock.seconds())


class SameDeadlineTests(TestCase):
    """Each test waits for some."""

    def test_each_at_its_time(self) -> None:
        """Not before, and at most a tick later; who was removed never. When nothing waits, no timer does."""
        clock = Clock()
        queue = SameDeadline(clock, 10.0, 0.5)
        entries = [Entry(clock) for _ in range(5)]
        for entry in entries:
            queue.add(entry)
            clock.advance(0.3)
        queue.remove(entries[1])
        queue.remove(entries[1])
        clock.pump([0.1] * 120)
        self.assertEqual(entries[1].ends, [])
        for entry in (entries[0], *entries[2:]):
            (end,) = entry.ends
            self.assertTrue(-1e-6 <= end - entry.due <= 0.6, (end, entry.due))
        self.assertEqual(clock.getDelayedCalls(), [])
        queue.add(entries[1])
        clock.pump([1.0] * 11)
        self.assertEqual(len(entries[1].ends), 1)

    def test_a_clock_that_is_set_back(self) -> None:
        """Timers go on (see ops.timers); what waits here is held up by no more than its time, not by as much as the clock was set back."""
        clock = Clock()
        clock.advance(10_000.0)
        queue = SameDeadline(clock, 10.0, 0.5)
        before, after = Entry(clock), Entry(clock)
        queue.add(before)
        clock.advance(4.0)
        clock.rightNow -= 3600.0
        for call in clock.getDelayedCalls():
            call.delay(-3600.0)
        queue.add(after)
        back = clock.seconds()
        clock.pump([0.5] * 40)
        self.assertEqual((len(before.ends), len(after.ends)), (1, 1))
        self.assertLess(max(before.ends + after.ends), back + 20.0)

    def test_one_ends_another(self) -> None:
        """Two are due at once, and the end of the first is that of the second as well: this one does not expire."""
        clock = Clock()
        queue = SameDeadline(clock, 10.0, 0.5)
        first, second = Entry(clock), Entry(clock)
        self.patch(first, "expired", lambda: queue.remove(second))
        queue.add(first)
        queue.add(second)
        clock.advance(10.0)
        self.assertEqual(second.ends, [])
