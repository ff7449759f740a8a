"""What the memory store has for tests."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StoreUnavailable
from netsvc.store.memory import MemoryStore
from tests.store.harness import NOW, draft


class MemoryTests(SynchronousTestCase):
    """The memory store."""

    def test_turn(self) -> None:
        """With a clock the outcome of an append comes in its next turn; the events can be read at once, as between commit and answer."""
        clock = Clock()
        store = MemoryStore(clock)
        done = store.append([draft()])
        self.assertNoResult(done)
        self.assertEqual(len(self.successResultOf(store.read_after("r", 0, 10))), 1)
        clock.advance(0)
        self.assertIsNone(self.successResultOf(done))

    def test_fail_next(self) -> None:
        """The next appends fail, as many as told."""
        store = MemoryStore()
        store.fail_next(2)
        drafts = [draft() for _ in range(4)]
        store.append(drafts[:2])
        store.append(drafts[2:3])
        store.append(drafts[3:])
        self.assertEqual([type(one.error) for one in drafts], [StoreUnavailable] * 3 + [type(None)])
        self.assertEqual([one.seq for one in drafts], [0, 0, 0, 1])

    def test_broken(self) -> None:
        """While it is broken everything that writes fails and reading works."""
        store = MemoryStore()
        store.append([draft()])
        store.broken = "database or disk is full"
        late = draft()
        store.append([late])
        assert late.error is not None
        self.assertEqual(late.error.detail, "the store could not write: database or disk is full")
        for refused in (store.probe(), store.remember("s", "k", b"", b"", NOW), store.prune(NOW, None, 1), store.accounts.remove_session(b"d")):
            self.failureResultOf(refused, StoreUnavailable)
        self.assertEqual(len(self.successResultOf(store.read_after("r", 0, 10))), 1)
        self.assertIsNone(self.successResultOf(store.accounts.find_user("ada")))
        store.broken = ""
        self.assertIsNone(self.successResultOf(store.probe()))

    def test_epoch(self) -> None:
        """A test may choose the epoch; otherwise each store has its own."""
        self.assertEqual(MemoryStore(epoch="e1").epoch, "e1")
        self.assertNotEqual(MemoryStore().epoch, MemoryStore().epoch)
