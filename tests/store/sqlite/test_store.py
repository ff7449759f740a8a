"""The life of the SQLite store, and its threads."""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import active_count
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StartError, StoreUnavailable
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import SqliteStore
from netsvc.store.sqlite.opening import open_state
from netsvc.store.sqlite.writing import LogWriter
from tests.store.harness import NOW, ThreadlessReactor, draft, open_store


class StoreCase(SynchronousTestCase):
    """A store that is not open yet."""

    def setUp(self) -> None:
        """Make it; log events are collected."""
        self.directory = Path(self.mktemp()).absolute()
        self.reactor = ThreadlessReactor()
        self.store = SqliteStore(self.reactor, self.directory, StoreSettings(busy_timeout=0.02))
        self.addCleanup(lambda: self.reactor.wait(self.store.stop()))
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def start(self) -> None:
        """Open it."""
        self.reactor.wait(self.store.start())

    def lines(self) -> list[tuple[str, str]]:
        """Level and text of what was logged."""
        return [
            (event["log_level"].name, event["log_format"].format(**event)) for event in self.events if event.get("log_namespace", "").startswith("netsvc.store")
        ]


class LifeTests(StoreCase):
    """Starting and stopping."""

    def test_nothing_in_constructor(self) -> None:
        """Making a store touches nothing; stopping one that was never started is no error."""
        self.assertFalse(self.directory.exists())
        self.assertIsNone(self.reactor.wait(self.store.stop()))

    def test_loose_modes(self) -> None:
        """What a state directory was open for to others is closed, and told in one line."""
        self.start()
        self.reactor.wait(self.store.stop())
        for path in (self.directory, self.directory / "netsvc.db"):
            path.chmod(0o755)
        for _ in range(2):
            self.start()
            self.reactor.wait(self.store.stop())
        (line,) = (line for line in self.lines() if line[0] == "warn")
        self.assertIn(f"the state in {self.directory} was open to others; now only its owner has access: netsvc.db", line[1])

    def test_restart(self) -> None:
        """What was appended is there after a restart, with the same epoch."""
        self.start()
        epoch = self.store.epoch
        self.reactor.wait(self.store.append([draft("1"), draft("2")]))
        self.reactor.wait(self.store.stop())
        self.start()
        self.assertEqual(self.store.epoch, epoch)
        more = draft("3")
        self.reactor.wait(self.store.append([more]))
        self.assertEqual(more.seq, 3)
        self.assertEqual([row.text for row in self.reactor.wait(self.store.read_after("r", 0, 10))], ["1", "2", "3"])

    def test_refused(self) -> None:
        """A start that fails says why, leaves no thread, and may be tried again."""
        threads = active_count()
        blocking = open_state(self.directory, StoreSettings())
        error = self.assertRaises(StartError, self.start)
        self.assertSubstring("is in use by another netsvc", error.detail)
        self.assertRaises(StoreUnavailable, self.reactor.wait, self.store.probe())
        blocking.close()
        self.start()
        self.reactor.wait(self.store.stop())
        self.assertLessEqual(active_count(), threads + 1)  # the last thread may be about to end

    def test_start_cancelled(self) -> None:
        """Who loses patience with the start stops the store; the state directory is free then."""
        starting = self.store.start()
        starting.cancel()
        self.failureResultOf(starting, CancelledError)
        self.reactor.wait(self.store.stop())
        open_state(self.directory, StoreSettings()).close()

    def test_refused_start_cancelled(self) -> None:
        """The same where the start would have failed."""
        blocking = open_state(self.directory, StoreSettings())
        self.addCleanup(blocking.close)
        starting = self.store.start()
        starting.cancel()
        self.failureResultOf(starting, CancelledError)
        self.assertIsNone(self.reactor.wait(self.store.stop()))

    def test_stop_finishes(self) -> None:
        """What was asked for before the stop is answered before it is done."""
        self.start()
        drafts = [draft(str(number)) for number in range(20)]
        answers = [self.store.append([one]) for one in drafts]
        answers += [self.store.read_after("r", 0, 100) for _ in range(20)]
        answers.append(self.store.remember("s", "k", b"d", b"1", NOW + 1))
        self.reactor.wait(self.store.stop())
        self.assertEqual([answer.called for answer in answers], [True] * 41)
        self.assertEqual([one.seq for one in drafts], list(range(1, 21)))
        self.start()
        self.assertIsNotNone(self.reactor.wait(self.store.recall("s", "k", NOW)))

    def test_stop_during_round(self) -> None:
        """Retention gives way to the stop; so do answers that wait for the next transaction."""
        self.start()
        self.reactor.wait(self.store.append([draft() for _ in range(1000)]))
        pruned = self.store.prune(NOW, None, 1)
        remembered = [self.store.remember("s", "k", b"d", b"1", NOW + 1) for _ in range(2)]
        self.reactor.wait(self.store.stop())
        self.failureResultOf(pruned, StoreUnavailable)
        self.assertIsNone(self.successResultOf(remembered[0]))
        self.failureResultOf(remembered[1], StoreUnavailable)

    def test_one_wake_per_batch(self) -> None:
        """A batch of any size wakes the reactor once."""
        self.start()
        before = self.reactor.calls
        self.reactor.wait(self.store.append([draft() for _ in range(500)]))
        self.assertEqual(self.reactor.calls, before + 1)


class TroubleTests(StoreCase):
    """When the database does not do as it should."""

    def setUp(self) -> None:
        """Open the store, and the database beside it."""
        super().setUp()
        self.start()
        self.other = sqlite3.connect(self.directory / "netsvc.db", isolation_level=None)
        self.addCleanup(self.other.close)

    def test_said_once(self) -> None:
        """Posts that are refused are said when it begins and when it is over, not each time."""
        self.other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            self.reactor.wait(self.store.append([draft(), draft()]))
        self.other.execute("ROLLBACK")
        for _ in range(2):
            self.reactor.wait(self.store.append([draft()]))
        locked = "posts are refused: the store could not write: database is locked"
        self.assertEqual(self.lines(), [("error", locked), ("info", "posts are stored again")])

    def test_removed_database(self) -> None:
        """Nothing is acknowledged that would go to a database which is not in the directory any more; nor is the store well then."""
        self.reactor.wait(self.store.append([draft("1")]))
        database = self.directory / "netsvc.db"
        away = database.rename(self.directory / "away")
        with self.assertRaises(StoreUnavailable):
            self.reactor.wait(self.store.probe())
        self.assertIn("removed or replaced", self.appended().detail)
        database.write_bytes(b"another")
        self.assertIn("removed or replaced", self.appended().detail)
        away.rename(database)
        self.assertIsNone(self.appended())
        self.assertEqual(self.lines()[0], ("error", "posts are refused: the store could not write: its database was removed or replaced while it was open"))
        self.assertEqual(self.lines()[1:], [("info", "posts are stored again")])

    def appended(self) -> Any:
        """What there was against a post."""
        drafts = [draft("2")]
        self.reactor.wait(self.store.append(drafts))
        return drafts[0].error

    def test_errors_in_words(self) -> None:
        """Reading and writing fail with what SQLite says."""
        self.other.execute("PRAGMA foreign_keys = OFF")
        for table in ("events", "answers"):
            self.other.execute(f"DROP TABLE {table}")
        read = self.assertRaises(StoreUnavailable, self.reactor.wait, self.store.read_after("r", 0, 1))
        self.assertEqual(read.detail, "the store could not read: no such table: events")
        written = self.assertRaises(StoreUnavailable, self.reactor.wait, self.store.remember("s", "k", b"d", b"1", NOW))
        self.assertEqual(written.detail, "the store could not write: no such table: answers")

    def test_bug(self) -> None:
        """If the writer itself is wrong, the drafts fail, it is logged, and the store goes on."""

        def wrong(writer: LogWriter, drafts: object) -> None:
            raise ZeroDivisionError("wrong")

        patch = self.patch(LogWriter, "append", wrong)
        lost = draft()
        self.assertIsNone(self.reactor.wait(self.store.append([lost])))
        assert lost.error is not None
        self.assertEqual(lost.error.detail, "the store could not write: internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([event["log_level"] for event in self.events if event.get("log_failure")], [LogLevel.critical])
        patch.restore()
        kept = draft()
        self.reactor.wait(self.store.append([kept]))
        self.assertEqual(kept.seq, 1)

    def test_account_commands_beside(self) -> None:
        """A short transaction of another program delays a post and does not refuse it."""
        with closing(sqlite3.connect(self.directory / "netsvc.db", isolation_level=None)) as command:
            command.execute("BEGIN IMMEDIATE")
            post = draft()
            done = self.store.append([post])
            command.execute("COMMIT")
        self.reactor.wait(done)
        self.assertEqual((post.seq, post.error), (1, None))


class ManyReadersTests(SynchronousTestCase):
    """Reading on several threads."""

    def test_own_writes(self) -> None:
        """Whichever reader answers, it sees what has been acknowledged."""
        reactor, store = open_store(Path(self.mktemp()), readers=4)
        for number in range(1, 30):
            reactor.wait(store.append([draft(str(number))]))
            heads = [store.room("r") for _ in range(4)]
            self.assertEqual({info.head for info in map(reactor.wait, heads) if info}, {number})
        reactor.wait(store.stop())
