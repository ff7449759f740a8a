"""The write-ahead log stays short, whoever reads."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite.checkpoints import WalBound
from netsvc.store.sqlite.opening import open_accounts, open_state
from netsvc.store.sqlite.pool import ReaderPool
from netsvc.store.sqlite.transactions import value_of
from tests.store.harness import DAY, DEADLINE, NOW, draft, open_store

KIB = 1024


class WalBoundTests(SynchronousTestCase):
    """A database whose log is never cut by SQLite itself."""

    def setUp(self) -> None:
        """Open it."""
        self.opened = open_state(Path(self.mktemp()), StoreSettings(readers=1, checkpoint=1 << 30))
        self.addCleanup(self.opened.close)
        self.connection = self.opened.writer
        self.pool = ReaderPool(self.opened.readers)
        self.bound = WalBound(self.connection, self.opened.files.database, self.pool, 256 * KIB, 7.0)
        self.path = Path(f"{self.opened.files.database}-wal")

    def write(self, size: int = 300 * KIB) -> int:
        """Let the log grow by about this much and ask to keep it short; its length then."""
        self.connection.execute("INSERT INTO answers VALUES ('s', hex(randomblob(8)), x'', zeroblob(?), 1)", (size,))
        self.bound.keep(1000)
        return self.path.stat().st_size

    def test_short(self) -> None:
        """A log within its bound is left to SQLite."""
        self.assertGreater(self.write(100 * KIB), 100 * KIB)

    def test_long(self) -> None:
        """A log beyond its bound is cut, each time; the patience with others is then as it was."""
        self.assertEqual([self.write(), self.write()], [0, 0])
        self.assertEqual(value_of(self.connection, "PRAGMA busy_timeout"), 7000)

    def test_other_program(self) -> None:
        """A program that reads for long is not waited for: the next attempt comes when the log has grown again."""
        with closing(sqlite3.connect(self.opened.files.database, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM rooms").fetchall()
            length = self.write()
            self.assertGreater(length, 300 * KIB)
        self.assertGreater(self.write(100 * KIB), length)
        self.assertEqual(self.write(), 0)

    def test_reader(self) -> None:
        """A read of our own is waited for, and new ones begin after the cut."""
        reading, go_on = Event(), Event()

        def read() -> None:
            with self.pool.connection() as connection:
                connection.execute("BEGIN")
                connection.execute("SELECT * FROM rooms").fetchall()
                reading.set()
                go_on.wait(DEADLINE)
                connection.execute("ROLLBACK")

        thread = Thread(target=read)
        thread.start()
        reading.wait(DEADLINE)
        self.patch(self.pool._changed, "wait_for", _tell_then_wait(self.pool, go_on))
        self.assertEqual(self.write(), 0)
        thread.join(DEADLINE)

    def test_after_a_kill(self) -> None:
        """A killed process may have left texts in the log that were deleted by then: the first cleaning takes them away, too."""
        self.connection.execute("INSERT INTO answers VALUES ('s', 'k', x'', 'said and unsaid', 1)")
        self.connection.execute("UPDATE answers SET answer = ''")
        self.assertIn(b"said and unsaid", self.path.read_bytes())
        started_anew = WalBound(self.connection, self.opened.files.database, self.pool, 256 * KIB, 7.0)
        started_anew.clean()
        self.assertEqual(self.path.stat().st_size, 0)
        self.connection.execute("UPDATE answers SET answer = 'new'")
        started_anew.clean()
        self.assertGreater(self.path.stat().st_size, 0)

    def test_looks(self) -> None:
        """The length is looked at after so many rows, in however many commits."""
        self.connection.execute("INSERT INTO answers VALUES ('s', 'k', x'', zeroblob(?), 1)", (300 * KIB,))
        lengths = []
        for _ in range(4):
            self.bound.keep(64)
            lengths.append(self.path.stat().st_size)
        self.assertEqual([length > 0 for length in lengths], [True, True, True, False])

    def test_errors(self) -> None:
        """What goes wrong here is nobody's business: the commit is done."""
        self.bound._path = "/nowhere/netsvc.db-wal"
        self.bound.keep(1000)
        self.bound._path = str(self.path)
        self.connection.execute("BEGIN IMMEDIATE")
        self.addCleanup(self.connection.execute, "ROLLBACK")
        self.write()

    def test_under_load(self) -> None:
        """With readers that never rest the log of a store stays within its bound and one batch."""
        directory = Path(self.mktemp())
        reactor, store = open_store(directory, checkpoint=64 * KIB, wal=128 * KIB)
        reactor.wait(store.append([draft("x" * 100) for _ in range(200)]))
        reads = 0

        def read_on(rows: object) -> None:
            nonlocal reads
            reads += 1
            if not stopping:
                store.read_after("r", 0, 100).addCallback(read_on)

        stopping: list[bool] = []
        for _ in range(4):
            read_on(None)
        longest = 0
        for _ in range(12):
            reactor.wait(store.append([draft("x" * 100) for _ in range(256)]))
            longest = max(longest, (directory / "netsvc.db-wal").stat().st_size)
        stopping.append(True)
        reactor.wait(store.stop())
        self.assertGreater(reads, 4)
        self.assertLess(longest, 400 * KIB)

    def test_all_that_writes(self) -> None:
        """The log stays within its bound whatever makes it grow, also without any post: answers, marks, sessions, and the removal of events."""
        directory = Path(self.mktemp())
        reactor, store = open_store(directory, checkpoint=1 << 30, wal=128 * KIB, prune_batch=50)
        self.addCleanup(lambda: reactor.wait(store.stop()))
        with open_accounts(directory) as accounts:
            accounts.add_user("ada", "member")

        def longest(write: "Callable[[str], Deferred[Any]]") -> int:
            lengths = []
            for number in range(40):
                reactor.wait(write(f"{number}"))
                lengths.append((directory / "netsvc.db-wal").stat().st_size // KIB)
            return max(lengths)

        bounds = (
            longest(lambda number: store.remember("s", number, b"d", b"x" * 10_000, NOW + DAY)),
            longest(lambda number: store.mark_read("ada", number, 1, NOW, 1000)),
            longest(lambda number: store.accounts.add_session(number.encode(), "ada", NOW, NOW + DAY)),
        )
        self.assertLess(max(bounds), 256)
        reactor.wait(store.append([draft("x" * 1000) for _ in range(1000)]))
        reactor.wait(store.prune(NOW, None, 10))
        self.assertLess((directory / "netsvc.db-wal").stat().st_size // KIB, 512)


class ReaderPoolTests(SynchronousTestCase):
    """Connections are lent, and kept back for a moment."""

    def setUp(self) -> None:
        """Two connections."""
        connections = [sqlite3.connect(":memory:", check_same_thread=False) for _ in range(2)]
        for connection in connections:
            self.addCleanup(connection.close)
        self.pool = ReaderPool(connections)

    def test_each_its_own(self) -> None:
        """Two readers have two connections."""
        with self.pool.connection() as one, self.pool.connection() as two:
            self.assertIsNot(one, two)

    def test_paused(self) -> None:
        """While reading is paused nobody begins; afterwards who has waited goes on."""
        entered = Event()

        def read() -> None:
            with self.pool.connection():
                entered.set()

        thread = Thread(target=read)
        with self.pool.paused(1.0):
            thread.start()
            self.assertFalse(entered.wait(0.02))
        self.assertTrue(entered.wait(DEADLINE))
        thread.join(DEADLINE)

    def test_patience(self) -> None:
        """A reader that takes too long is not waited for."""
        with self.pool.connection(), self.pool.paused(0.01):
            pass
        with self.pool.connection():
            pass


def _tell_then_wait(pool: ReaderPool, told: Event):  # type: ignore[no-untyped-def]
    """`wait_for` of the pool's condition, that sets an event before it waits."""
    wait_for = pool._changed.wait_for

    def wait(*arguments):  # type: ignore[no-untyped-def]
        told.set()
        return wait_for(*arguments)

    return wait
