"""Group commit: bad members fail alone."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StoreUnavailable
from netsvc.store.sqlite.batches import commit_all


def broken(code: int = sqlite3.SQLITE_IOERR, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    """An error as SQLite's."""
    error = kind("it broke")
    error.sqlite_errorcode = code
    return error


class CommitTests(SynchronousTestCase):
    """Numbers are committed; some of them cannot be."""

    def setUp(self) -> None:
        """Nothing is committed or bad."""
        self.committed: list[int] = []
        self.refused: dict[int, str] = {}
        self.bad: dict[int, Exception] = {}
        self.attempts = 0

    def run_batch(self, count: int) -> StoreUnavailable | None:
        """Commit the numbers below `count`."""

        def commit(part: list[int]) -> None:
            self.attempts += 1
            for number in part:
                if number in self.bad:
                    raise self.bad[number]
            self.committed += part

        def refuse(number: int, why: StoreUnavailable) -> None:
            self.refused[number] = why.detail

        return commit_all(list(range(count)), commit, refuse)

    def test_good(self) -> None:
        """All good: one transaction."""
        self.assertIsNone(self.run_batch(1000))
        self.assertEqual((len(self.committed), self.attempts), (1000, 1))

    def test_one_bad(self) -> None:
        """One bad member fails alone, with its reason, in few transactions; the others keep their order."""
        self.bad[700] = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        self.assertIsNone(self.run_batch(1000))
        self.assertEqual(self.committed, [number for number in range(1000) if number != 700])
        self.assertEqual(list(self.refused), [700])
        self.assertSubstring("the store could not write: ", self.refused[700])
        self.assertLess(self.attempts, 25)

    @given(st.sets(st.integers(0, 40)))
    def test_any_bad(self, bad: set[int]) -> None:
        """Whichever are bad through their own fault, exactly the others are committed, in order."""
        self.setUp()
        self.bad = dict.fromkeys(bad, ValueError("bad"))
        self.assertIsNone(self.run_batch(30))
        self.assertEqual(self.committed, [number for number in range(30) if number not in bad])
        self.assertEqual(set(self.refused), {number for number in bad if number < 30})

    def test_all_broken(self) -> None:
        """When the disk breaks, some are tried alone and the rest is refused untried; it is said."""
        for kind in (sqlite3.OperationalError, sqlite3.DatabaseError):
            self.setUp()
            self.bad = dict.fromkeys(range(1000), broken(kind=kind))
            trouble = self.run_batch(1000)
            assert trouble is not None
            self.assertEqual(trouble.detail, "the store could not write: it broke")
            self.assertEqual((self.committed, len(self.refused)), ([], 1000))
            self.assertLess(self.attempts, 20)

    def test_broken_and_better(self) -> None:
        """A disk that is full for a large member still takes the small ones; what counts is how it ends."""
        self.bad = {3: broken(sqlite3.SQLITE_FULL), 9: broken(sqlite3.SQLITE_FULL)}
        self.assertIsNone(self.run_batch(11))
        self.assertEqual(sorted(self.refused), [3, 9])
        self.assertIsNotNone(self.run_batch(10))

    def test_busy(self) -> None:
        """A locked database has been waited for already: no second attempt."""
        self.bad[5] = broken(sqlite3.SQLITE_BUSY)
        self.assertIsNotNone(self.run_batch(10))
        self.assertEqual((self.attempts, len(self.refused)), (1, 10))
