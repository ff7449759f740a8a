"""FairQueue, Turns and OneByOne."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from netsvc.core.fairness import FairQueue, OneByOne, Turns


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


class TurnsTests(SynchronousTestCase):
    """Each owner in turn, where it takes its time."""

    def setUp(self) -> None:
        """Two at once."""
        self.turns = Turns(2)
        self.begun: list[str] = []
        self.works: dict[str, Deferred[str]] = {}

    def take(self, name: str) -> "Deferred[str]":
        """Something of an owner that its first letter stands for; it is done when the test says so."""

        def function() -> "Deferred[str]":
            self.begun.append(name)
            self.works[name] = Deferred()
            return self.works[name]

        return self.turns.take(name[0], function)

    def test_in_turn(self) -> None:
        """No more than may are under way, and who has many waiting has no more turns than who has one. Errors are handed on."""
        outcomes = {name: self.take(name) for name in ("a1", "a2", "a3", "a4", "b1")}
        self.assertEqual(self.begun, ["a1", "a2"])
        self.works["a2"].callback("done")
        self.works["a1"].errback(ValueError())
        self.assertEqual(self.begun, ["a1", "a2", "a3", "b1"])
        self.assertEqual(self.successResultOf(outcomes["a2"]), "done")
        self.failureResultOf(outcomes["a1"], ValueError)
        for outcome in (outcomes["a3"], outcomes["a4"], outcomes["b1"]):
            self.assertNoResult(outcome)

    def test_cancelled(self) -> None:
        """Who waits no more is not called, and what is under way is cancelled; what goes on all the same keeps its turn until it is done."""
        outcomes = {name: self.take(name) for name in ("a1", "a2", "b1", "b2")}
        outcomes["b1"].cancel()
        outcomes["a1"].cancel()
        for name in ("a1", "b1"):
            self.failureResultOf(outcomes[name], CancelledError)
        self.assertEqual(self.begun, ["a1", "a2", "b2"])
        stubborn: Deferred[None] = Deferred()
        going_on: Deferred[None] = Deferred()
        self.works["a2"].callback("done")
        waiting = self.turns.take("c", lambda: stubborn.addErrback(lambda _: going_on))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        last = self.take("d1")
        self.assertEqual(self.begun[-1], "b2")
        going_on.callback(None)
        self.assertEqual(self.begun[-1], "d1")
        self.assertNoResult(last)

    def test_at_once(self) -> None:
        """However many wait for what is then done at once, they do not pile up on the stack."""
        first = [self.take(name) for name in ("a1", "a2")]
        others = [self.turns.take(number, lambda: succeed("quick")) for number in range(5000)]
        self.works["a1"].callback("done")
        self.assertEqual({self.successResultOf(other) for other in others}, {"quick"})
        self.assertEqual(self.successResultOf(first[0]), "done")


class OneByOneTests(SynchronousTestCase):
    """A lock for each key."""

    def setUp(self) -> None:
        """Nobody wants anything."""
        self.locks = OneByOne()
        self.got: list[object] = []

    def ask(self, name: object, key: str = "k") -> "Deferred[None]":
        """Somebody who keeps it."""
        return self.locks.acquire(key).addCallback(lambda _: self.got.append(name))

    def test_in_turn(self) -> None:
        """In the order in which they asked; other keys are not affected, and nothing stays behind."""
        for name in "abc":
            self.ask(name)
        self.ask("d", "other")
        self.assertEqual(self.got, ["a", "d"])
        self.locks.release("k")
        self.locks.release("k")
        self.assertEqual(self.got, ["a", "d", "b", "c"])
        self.assertIn("k", self.locks)
        self.locks.release("k")
        self.locks.release("other")
        self.assertEqual(len(self.locks), 0)

    def test_cancel(self) -> None:
        """Whoever does not want it any more is passed over."""
        self.ask("a")
        waiting = self.ask("b")
        self.ask("c")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.locks.release("k")
        self.assertEqual(self.got, ["a", "c"])

    def test_many(self) -> None:
        """However many release it at once, and some ask again at once: all get it, one at a time, in order."""

        def use(name: int) -> None:
            self.assertNotIn("busy", self.got)
            self.got.append("busy")
            if name < 10:
                again = self.locks.acquire("k")
                self.assertNoResult(again)
                again.addCallback(lambda _: use(name + 5000))
            self.got[-1] = name
            self.locks.release("k")

        self.ask("first")
        for name in range(5000):
            self.locks.acquire("k").addCallback(lambda _, name=name: use(name))
        self.locks.release("k")
        self.assertEqual(self.got, ["first", *range(5010)])
        self.assertEqual(len(self.locks), 0)
