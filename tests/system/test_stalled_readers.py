"""Clients that never read, against the real daemon."""

from twisted.trial.unittest import SynchronousTestCase

from tests.system.stalled_readers import LIMIT, growth


class StalledReaderTests(SynchronousTestCase):
    """The small form of `tests.system.stalled_readers`."""

    def test_memory(self) -> None:
        """Many readers that never read, half of them with compression, cost next to nothing while a room is busy; and who reads on misses nothing."""
        self.assertLess(growth(readers=150, posts=2000, size=1000), LIMIT)
