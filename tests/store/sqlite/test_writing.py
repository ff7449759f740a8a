"""The writer of the log, when something goes wrong."""

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.records import Draft
from netsvc.errors import StoreUnavailable
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import reads, writing
from netsvc.store.sqlite.checkpoints import WalBound
from netsvc.store.sqlite.files import OpenedFile
from netsvc.store.sqlite.opening import open_state
from netsvc.store.sqlite.pool import ReaderPool
from netsvc.store.sqlite.transactions import transaction, value_of
from netsvc.store.sqlite.writing import Answer, LogWriter
from tests.store.harness import NOW, draft, key

LARGE = "x" * 200_000


class LogWriterTests(SynchronousTestCase):
    """A writer on a database of its own."""

    def setUp(self) -> None:
        """Open it."""
        self.opened = open_state(Path(self.mktemp()), StoreSettings(busy_timeout=0.02))
        self.addCleanup(self.opened.close)
        self.connection = self.opened.writer
        wal = WalBound(self.connection, self.opened.files.database, ReaderPool(self.opened.readers), 1 << 20, 0.1)
        self.writer = LogWriter(self.connection, self.opened.mark, wal, heads=3)

    def append(self, *drafts: Draft) -> StoreUnavailable | None:
        """Append; what the database had against it."""
        return self.writer.append(drafts)

    def texts(self, room: str = "r") -> list[tuple[int, str | None]]:
        """What is in the log."""
        return [(row.seq, row.text) for row in reads.read_after(self.connection, room, 0, 1000, None)]

    def fill_disk(self) -> None:
        """Let the database not grow by more than a few pages."""
        pages = value_of(self.connection, "PRAGMA page_count")
        self.connection.execute(f"PRAGMA max_page_count = {pages + 3}").fetchall()

    def empty_disk(self) -> None:
        """Let it grow again."""
        self.connection.execute("PRAGMA max_page_count = 1000000").fetchall()

    def attempts(self) -> list[str]:
        """Collects the transactions begun from now on."""
        begun: list[str] = []
        self.connection.set_trace_callback(lambda statement: begun.append(statement) if statement.startswith("BEGIN") else None)
        return begun

    def test_database_looked_at(self) -> None:
        """While posts come, whether the database is still there is looked at each second; a removed one is noticed by then."""
        seconds = [100.0]
        self.patch(writing, "monotonic", lambda: seconds[0])
        path = self.opened.files.database
        self.writer = LogWriter(self.connection, self.opened.mark, self.writer._wal, heads=3, database=OpenedFile(path))
        self.assertIsNone(self.append(draft("1")))
        path.unlink()
        seconds[0] += 0.9
        self.assertIsNone(self.append(draft("2")))
        seconds[0] += 0.2
        lost = draft("3")
        self.assertIsInstance(self.append(lost), StoreUnavailable)
        self.assertIsInstance(lost.error, StoreUnavailable)
        self.assertIsInstance(self.append(draft("4")), StoreUnavailable)

    def test_bad_drafts(self) -> None:
        """What cannot be stored fails alone: text that is no UTF-8, numbers too large, values of no type of SQLite's."""
        bad = [draft("\ud800"), draft(at=2**70), draft(text=object())]  # type: ignore[arg-type]
        drafts = [draft("1"), bad[0], draft("2"), bad[1], draft("3"), bad[2], draft("4")]
        self.assertIsNone(self.append(*drafts))
        self.assertEqual(self.texts(), [(1, "1"), (2, "2"), (3, "3"), (4, "4")])
        for one in bad:
            self.assertIsInstance(one.error, StoreUnavailable)
            self.assertEqual(one.seq, 0)
        self.assertEqual([one.error for one in drafts if one not in bad], [None] * 4)

    def test_disk_full(self) -> None:
        """What the disk has no room for fails with that reason, alone; the positions that follow have no gap."""
        self.assertIsNone(self.append(draft("1")))
        self.fill_disk()
        small, large, last = draft("2"), draft(LARGE), draft("3")
        self.assertIsNone(self.append(small, large, last))
        assert large.error is not None
        self.assertEqual(large.error.detail, "the store could not write: database or disk is full")
        self.assertEqual((small.seq, large.seq, last.seq), (2, 0, 3))
        trouble = self.append(draft(LARGE), draft(LARGE))
        assert trouble is not None
        self.assertEqual(trouble.detail, "the store could not write: database or disk is full")
        self.empty_disk()
        self.assertIsNone(self.append(draft("4"), draft("5", "other")))
        self.assertEqual(self.texts(), [(1, "1"), (2, "2"), (3, "3"), (4, "4")])
        self.assertEqual(self.texts("other"), [(1, "5")])

    def test_room_that_failed(self) -> None:
        """A room whose first events failed does not exist, and counts from 1 when it does."""
        self.append(draft("\ud800", "new"))
        self.assertIsNone(reads.room(self.connection, "new"))
        self.append(draft("\ud800", "new"), draft("1", "new"))
        self.append(draft("2", "new"))
        self.assertEqual(self.texts("new"), [(1, "1"), (2, "2")])

    def test_repeat_beside_failure(self) -> None:
        """A repeated key is answered though another draft of its batch fails; its time is not taken for now in the next attempt."""
        self.append(draft(key=key(expires=NOW + 100)))
        again, bad = draft(at=NOW + 99, key=key()), draft("\ud800")
        late = draft(at=NOW + 100, key=key())
        self.append(again, bad, late)
        self.assertEqual((again.repeated, again.seq, again.at), (True, 1, NOW))
        self.assertEqual((late.repeated, late.seq, late.at), (False, 2, NOW + 100))

    def test_key_of_failed_draft(self) -> None:
        """A key whose draft failed has not been used."""
        self.append(draft("\ud800", key=key()))
        good = draft(key=key(digest=b"two"))
        self.append(good)
        self.assertEqual((good.seq, good.error, good.repeated), (1, None, False))

    def test_locked(self) -> None:
        """Another program's transaction is waited for once, not once for each draft; then everything is as before."""
        self.append(draft("1"))
        begun = self.attempts()
        with closing(sqlite3.connect(self.opened.files.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            drafts = [draft(), draft(), draft()]
            self.assertIsNotNone(self.append(*drafts))
            self.assertEqual({one.error.detail for one in drafts if one.error}, {"the store could not write: database is locked"})
        self.assertEqual(len(begun), 1)
        self.append(draft("2"))
        self.assertEqual(self.texts(), [(1, "1"), (2, "2")])

    def test_broken(self) -> None:
        """A database that takes nothing is not asked for each of a thousand drafts."""
        self.connection.execute("PRAGMA query_only = ON")
        begun = self.attempts()
        drafts = [draft() for _ in range(1000)]
        self.assertIsNotNone(self.append(*drafts))
        self.assertEqual({one.seq for one in drafts}, {0})
        self.assertLess(len(begun), 20)
        self.connection.execute("PRAGMA query_only = OFF")
        self.append(draft("1"))
        self.assertEqual(self.texts(), [(1, "1")])

    def test_probe_after_trouble(self) -> None:
        """After a failure a probe wants more than the few bytes that a full disk may still have, until it succeeds."""
        self.fill_disk()
        self.writer.probe()
        self.append(draft(LARGE))
        error = self.assertRaises(StoreUnavailable, self.writer.probe)
        self.assertEqual(error.detail, "the store could not write: database or disk is full")
        self.assertRaises(StoreUnavailable, self.writer.probe)
        self.empty_disk()
        self.writer.probe()
        self.assertEqual(value_of(self.connection, "SELECT length(value) FROM meta WHERE name = 'probe'"), 0)

    def test_success_ends_trouble(self) -> None:
        """A post that succeeds is as good as a probe."""
        self.fill_disk()
        self.append(draft(LARGE))
        self.append(draft())
        self.writer.probe()

    def test_remember(self) -> None:
        """Of several answers those that cannot be stored are named."""
        answers = [Answer("s", name, b"d", b"1", NOW + 1) for name in ("a", "\ud800", "c")]
        self.assertEqual(list(self.writer.remember(answers)), [1])
        self.assertIsNotNone(reads.recall(self.connection, "s", "c", NOW))

    def test_transaction_ends(self) -> None:
        """A transaction that SQLite has ended by itself is no second error."""
        with self.assertRaisesRegex(ZeroDivisionError, "first"), transaction(self.connection):
            self.connection.execute("ROLLBACK")
            raise ZeroDivisionError("first")
        self.assertFalse(self.connection.in_transaction)
