"""Tests for netsvc.client.limits."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.limits import Limits, backoff


class Backoff(SynchronousTestCase):
    """How long to wait."""

    def test_doubles(self) -> None:
        """It doubles from the first to the longest, and does not overflow."""
        limits = Limits(first=0.5, longest=10)
        self.assertEqual([backoff(failures, limits, lambda: 1.0) for failures in (0, 1, 2, 3, 4, 5, 10_000)], [0.5, 1, 2, 4, 8, 10, 10])

    def test_chance(self) -> None:
        """Half of it is left to chance."""
        self.assertEqual([backoff(1, Limits(first=1), lambda chance=chance: chance) for chance in (0.0, 0.5)], [1.0, 1.5])  # type: ignore[misc]
