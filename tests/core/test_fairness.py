"""FairQueue."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from netsvc.core.fairness import FairQueue


class FairQueueTests(TestCase):
    """Each owner in turn."""

    def test_in_turn(self) -> None:
        """One item of each; within an owner in order."""
        queue: FairQueue[str] = FairQueue()
        for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
            queue.add(item[0], item)
        self.assertEqual([queue.pop() for _ in range(6)], ["a1", "b1", "c1", "a2", "c2", "a3"])
        with self.assertRaises(IndexError):
            queue.pop()

    def test_discard(self) -> None:
        """What is taken out does not come; to take it out again is no error."""
        queue: FairQueue[str] = FairQueue()
        for item in ("a1", "a2", "b1"):
            queue.add(item[0], item)
        self.assertTrue(queue.discard("a", "a1"))
        self.assertFalse(queue.discard("a", "a1"))
        self.assertTrue(queue.discard("b", "b1"))
        self.assertFalse(queue.discard("b", "b1"))
        self.assertEqual((len(queue), queue.pop()), (1, "a2"))

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 999)), unique=True))
    def test_nothing_is_lost(self, items: list[tuple[str, int]]) -> None:
        """What goes in comes out once, and nobody has two turns while another waits."""
        queue: FairQueue[tuple[str, int]] = FairQueue()
        for item in items:
            queue.add(item[0], item)
        out = [queue.pop() for _ in range(len(queue))]
        self.assertEqual(sorted(out), sorted(items))
        for owner in "abc":
            self.assertEqual([item for item in out if item[0] == owner], [item for item in items if item[0] == owner])
