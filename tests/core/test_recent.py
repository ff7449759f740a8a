"""Tests for netsvc.core.recent."""

from hypothesis import given
from hypothesis.strategies import integers, lists
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.recent import Recent


class Bounded(SynchronousTestCase):
    """A mapping that forgets."""

    def test_forgets_the_oldest(self) -> None:
        """Beyond its size it forgets what was neither set nor asked for since."""
        recent: Recent[str, int] = Recent(2)
        recent.put("a", 1)
        recent.put("b", 2)
        self.assertEqual(recent.get("a"), 1)
        recent.put("c", 3)
        self.assertEqual((recent.get("a"), recent.get("b"), recent.get("c")), (1, None, 3))

    def test_forget_and_clear(self) -> None:
        """Entries can be removed, also absent ones."""
        recent: Recent[str, int] = Recent(5)
        for key in "abc":
            recent.put(key, 0)
        recent.forget("a")
        recent.forget("z")
        self.assertEqual(("a" in recent, "b" in recent, len(recent)), (False, True, 2))
        recent.clear()
        self.assertEqual(len(recent), 0)

    @given(lists(integers(0, 9)), integers(1, 5))
    def test_size(self, keys: list[int], most: int) -> None:
        """It has the last `most` different keys, no more and no fewer."""
        recent: Recent[int, int] = Recent(most)
        for key in keys:
            recent.put(key, key)
        last = list(dict.fromkeys(reversed(keys)))[:most]
        self.assertEqual(sorted(key for key in range(10) if key in recent), sorted(last))
