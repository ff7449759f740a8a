"""Opening a state directory: what is created, what is refused, and what the operator reads then."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StartError
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import open_accounts, opening
from netsvc.store.sqlite.opening import OpenState, open_state
from netsvc.store.sqlite.schema import STEPS
from netsvc.store.sqlite.transactions import value_of

PATIENT = StoreSettings()
IMPATIENT = StoreSettings(busy_timeout=0.02)
MORE_STEPS = (*STEPS, ("CREATE TABLE added (id INTEGER PRIMARY KEY)",))


class OpeningCase(SynchronousTestCase):
    """A state directory that does not exist yet."""

    def setUp(self) -> None:
        """Its path."""
        self.state = Path(self.mktemp()).absolute() / "deep" / "state"
        self.database = self.state / "netsvc.db"

    def open(self, settings: StoreSettings = PATIENT, **options: Any) -> OpenState:
        """Open it; closed at the end of the test, by itself or by `addCleanup`."""
        return open_state(self.state, settings, **options)

    def create(self) -> str:
        """Make it a state directory; its epoch."""
        opened = self.open()
        opened.close()
        return opened.epoch

    def sql(self, *statements: str) -> None:
        """Change the database behind netsvc's back."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def refusal(self, settings: StoreSettings = PATIENT) -> str:
        """The one line with which opening is refused. Nothing stays open: the lock is free again."""
        error = self.assertRaises(StartError, self.open, settings)
        self.assertNotIn("\n", error.detail)
        self.assertEqual(error.status, 1)
        return error.detail


class CreationTests(OpeningCase):
    """What is missing is created."""

    def test_modes(self) -> None:
        """Directory and files are the owner's alone, SQLite's own files too."""
        opened = self.open()
        self.addCleanup(opened.close)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.state.iterdir()}
        self.assertEqual(modes, dict.fromkeys(("netsvc.db", "netsvc.db-shm", "netsvc.db-wal", "netsvc.lock", "netsvc.mark"), 0o600))
        self.assertEqual(stat.S_IMODE(self.state.stat().st_mode), 0o700)

    def test_durability(self) -> None:
        """The writer's commits are synced, foreign keys are kept, and readers cannot write."""
        opened = self.open()
        self.addCleanup(opened.close)
        pragmas = {name: value_of(opened.writer, f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys", "journal_size_limit")}
        self.assertEqual(pragmas, {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "journal_size_limit": PATIENT.checkpoint})
        self.assertEqual(value_of(opened.writer, "PRAGMA wal_autocheckpoint"), PATIENT.checkpoint // 4096)
        self.assertEqual(len(opened.readers), PATIENT.readers)
        self.assertRaises(sqlite3.OperationalError, opened.readers[0].execute, "DELETE FROM meta")

    def test_nothing_left(self) -> None:
        """After closing there is no write-ahead log: the database alone is a backup."""
        self.create()
        self.assertEqual(sorted(path.name for path in self.state.iterdir()), ["netsvc.db", "netsvc.lock", "netsvc.mark"])

    def test_created_by_root(self) -> None:
        """What root creates belongs to the owner of the directory."""
        self.state.mkdir(parents=True)
        owner = self.state.stat()
        given: list[tuple[int, int]] = []
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "fchown", lambda descriptor, user, group: given.append((user, group)))
        self.create()
        self.assertEqual(given, [(owner.st_uid, owner.st_gid)] * 3)

    def test_created_by_another(self) -> None:
        """An ordinary user's files need no new owner."""
        self.patch(os, "geteuid", lambda: 1000)
        self.patch(os, "fchown", lambda *arguments: self.fail("changed the owner"))
        self.create()

    def test_odd_name(self) -> None:
        """A directory may have any name."""
        self.state = self.state / "a b%20?c#ü"
        self.assertEqual(self.create(), self.create())


class ModesTests(OpeningCase):
    """A state directory that has been copied back with whatever modes."""

    def setUp(self) -> None:
        """It is open to all."""
        super().setUp()
        self.create()
        (self.state / "search.db").touch()
        (self.state / "netsvc.db.schema1").touch()
        for path in (self.state, *self.state.iterdir()):
            path.chmod(0o777)

    def modes(self) -> dict[str, int]:
        """The modes of the directory, as ".", and of what is in it."""
        return {path.name if path != self.state else ".": stat.S_IMODE(path.lstat().st_mode) for path in (self.state, *self.state.iterdir())}

    def reopen(self) -> tuple[str, ...]:
        """Open and close it; what was tightened."""
        opened = self.open()
        opened.close()
        return tuple(sorted(set(opened.tightened) - {"netsvc.db-wal", "netsvc.db-shm"}))

    def test_tightened(self) -> None:
        """All becomes its owner's alone, SQLite's own files too, and the log keeps its epoch: the lock is not touched."""
        lock = (self.state / "netsvc.lock").stat()
        opened = self.open()
        self.addCleanup(opened.close)
        private = dict.fromkeys(("netsvc.db", "netsvc.db-shm", "netsvc.db-wal", "netsvc.db.schema1", "netsvc.mark", "search.db"), 0o600)
        self.assertEqual(self.modes(), {".": 0o700, **private, "netsvc.lock": 0o777})
        self.assertEqual(set(opened.tightened), {"state", *private})
        self.assertEqual((self.state / "netsvc.lock").stat().st_ctime_ns, lock.st_ctime_ns)

    def test_once(self) -> None:
        """What is private already is none to tell of."""
        self.assertEqual(self.reopen(), ("netsvc.db", "netsvc.db.schema1", "netsvc.mark", "search.db", "state"))
        self.assertEqual(self.reopen(), ())

    def test_more_than_a_state(self) -> None:
        """A directory that others have things in stays open to them; nor is a link followed, or another file touched."""
        elsewhere = self.state.parent / "elsewhere"
        elsewhere.touch()
        elsewhere.chmod(0o644)
        (self.state / "notes.txt").touch()
        (self.state / "search.db").unlink()
        (self.state / "search.db").symlink_to(elsewhere)
        before = self.modes()
        self.assertEqual(self.reopen(), ("netsvc.db", "netsvc.db.schema1", "netsvc.mark"))
        after = self.modes()
        self.assertEqual({name for name in after if after[name] == before[name]}, {".", "netsvc.lock", "notes.txt", "search.db"})
        self.assertEqual(stat.S_IMODE(elsewhere.stat().st_mode), 0o644)

    def test_link_to_the_directory(self) -> None:
        """It is the directory itself that is looked at."""
        link = self.state.parent / "link"
        link.symlink_to(self.state)
        self.state, state = link, self.state
        self.assertIn("state", self.reopen())
        self.assertEqual(stat.S_IMODE(state.stat().st_mode), 0o700)

    def test_somebody_elses(self) -> None:
        """What belongs to another user, or may not be changed or seen, stays as it is; that is no reason not to start."""
        before = self.modes()
        owner = self.state.stat().st_uid
        with patch.object(os, "geteuid", lambda: owner + 1):
            self.assertEqual(self.reopen(), ())
        with patch.object(Path, "chmod", raiser(PermissionError(1, "Operation not permitted"))):
            self.assertEqual(self.reopen(), ())
        with patch.object(os, "scandir", raiser(PermissionError(13, "Permission denied"))):
            self.assertEqual(self.reopen(), ())
        self.assertEqual(self.modes(), before)


class RefusalTests(OpeningCase):
    """One line says what is wrong and what to do."""

    def test_not_a_directory(self) -> None:
        """A file is in the way."""
        self.state.parent.parent.mkdir()
        self.state.parent.write_text("")
        self.assertEqual(self.refusal(), f"cannot create the state directory {self.state}: Not a directory")
        self.state = self.state.parent
        self.assertIn(f"the state directory {self.state} is a file: ", self.refusal())

    def test_not_writable(self) -> None:
        """The directory belongs to somebody else."""
        self.patch(os, "access", lambda path, mode: False)
        self.assertSubstring(f"the state directory {self.state} is not writable for user {os.geteuid()}: ", self.refusal())

    def test_no_file(self) -> None:
        """The database cannot be opened as a file."""
        self.database.mkdir(parents=True)
        self.assertEqual(self.refusal(), f"cannot open {self.database}: Is a directory")

    def test_two_daemons(self) -> None:
        """Two daemons cannot share a state directory; the next one may have it."""
        first = self.open()
        self.assertSubstring(f"the state directory {self.state} is in use by another netsvc: ", self.refusal())
        first.close()
        self.create()

    def test_newer_schema(self) -> None:
        """A database of a newer netsvc is left alone, by the account commands too."""
        self.create()
        self.sql("PRAGMA user_version = 99")
        detail = self.refusal()
        self.assertSubstring(f"{self.database} has schema 99, this netsvc knows schemas up to {len(STEPS)}: ", detail)
        self.assertEqual(self.assertRaises(StartError, open_accounts, self.state).detail, detail)
        self.sql(f"PRAGMA user_version = {len(STEPS)}")
        self.create()

    def test_another_program(self) -> None:
        """The database of another program is left alone."""
        self.state.mkdir(parents=True)
        self.sql("CREATE TABLE theirs (id)")
        before = self.database.read_bytes()
        self.assertSubstring(f"{self.database} belongs to another program: ", self.refusal())
        self.assertEqual(self.database.read_bytes(), before)

    def test_not_a_database(self) -> None:
        """Garbage is refused, with the way to restore a backup."""
        self.create()
        self.database.write_bytes(b"garbage " * 1000)
        self.assertEqual(
            self.refusal(),
            f"{self.database} is damaged (file is not a database): to restore it, stop netsvc, move netsvc.db, netsvc.db-wal and netsvc.db-shm"
            f" out of {self.state} and copy a backup there as netsvc.db; without a backup netsvc starts empty",
        )

    def test_truncated(self) -> None:
        """A database that lacks its end is refused."""
        self.create()
        os.truncate(self.database, self.database.stat().st_size - 8192)
        self.assertSubstring(f"{self.database} is damaged (database disk image is malformed): to restore it, ", self.refusal())

    def test_damaged_page(self) -> None:
        """Garbage in the middle is found if the database is small enough to be looked through."""
        self.create()
        with self.database.open("r+b") as file:
            file.seek(4096 * 3)
            file.write(b"garbage " * 512)
        self.assertSubstring(f"{self.database} is damaged (", self.refusal())
        self.open(StoreSettings(check=0)).close()

    def test_damaged_schema(self) -> None:
        """A table is missing."""
        self.create()
        self.sql("DROP TABLE meta")
        self.assertSubstring(f"{self.database} is damaged (no such table: meta): ", self.refusal())

    def test_emptied(self) -> None:
        """A file of no bytes where a log has been is a loss, not a beginning."""
        epoch = self.create()
        os.truncate(self.database, 0)
        self.assertSubstring(f"{self.database} is empty, but it was not before: to restore it, ", self.refusal())
        self.database.unlink()
        self.assertNotEqual(self.create(), epoch)

    def test_interrupted_creation(self) -> None:
        """A file of no bytes and nothing else is what a crash right at the beginning leaves."""
        self.state.mkdir(parents=True)
        self.database.write_bytes(b"")
        self.create()

    def test_locked(self) -> None:
        """Another program is in the middle of a transaction."""
        self.create()
        with closing(sqlite3.connect(self.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assertEqual(self.refusal(IMPATIENT), f"{self.database} is locked by another program: end its transaction and try again")

    def test_no_wal(self) -> None:
        """A file system that cannot share memory between processes will not do."""
        self.patch(opening, "value_of", lambda connection, query: "delete" if "journal_mode" in query else value_of(connection, query))
        self.assertSubstring(f"the file system of {self.state} cannot hold a database in WAL mode (it is in mode delete): ", self.refusal())

    def test_sqlite_errors(self) -> None:
        """Other errors of SQLite and of the system become a line too."""
        cases = {
            sqlite3.SQLITE_FULL: f"the disk of the state directory {self.state} is full: make room and try again",
            sqlite3.SQLITE_READONLY: f"cannot open {self.database} for writing: it said so",
            sqlite3.SQLITE_IOERR | 10 << 8: f"cannot open {self.database} for writing: it said so",
        }
        for code, line in cases.items():
            error = sqlite3.OperationalError("it said so")
            error.sqlite_errorcode = code
            self.patch(opening, "settle_epoch", raiser(error))
            self.assertEqual(self.refusal(), line)
        self.patch(opening, "settle_epoch", raiser(OSError(5, "Input/output error")))
        self.assertEqual(self.refusal(), f"cannot use the state directory {self.state}: Input/output error")

    def test_full_without_saying_so(self) -> None:
        """An I/O error on a disk without room is put down to that."""
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        self.patch(opening, "settle_epoch", raiser(error))
        self.patch(opening, "_NEARLY_FULL", 1 << 62)
        self.assertSubstring("is full: make room", self.refusal())


class UpgradeTests(OpeningCase):
    """Databases of an older schema."""

    def backup(self) -> Path:
        """Where the database is kept as it was."""
        return self.state / f"netsvc.db.schema{len(STEPS)}"

    def test_upgrade(self) -> None:
        """The missing steps are taken, once, and a copy of the old database is kept; epoch and contents stay."""
        epoch = self.create()
        with open_accounts(self.state) as accounts:
            accounts.add_user("ada", "admin")
        (self.state / (self.backup().name + ".partial")).write_text("left from before")
        opened = self.open(steps=MORE_STEPS)
        self.assertEqual(opened.epoch, epoch)
        self.assertEqual(value_of(opened.writer, "PRAGMA user_version"), len(MORE_STEPS))
        self.assertEqual(value_of(opened.writer, "SELECT count(*) FROM added"), 0)
        opened.close()
        self.assertEqual(stat.S_IMODE(self.backup().stat().st_mode), 0o600)
        self.assertFalse((self.state / (self.backup().name + ".partial")).exists())
        before = self.backup().read_bytes()
        self.open(steps=MORE_STEPS).close()
        self.assertEqual(self.backup().read_bytes(), before)

    def test_backup_is_of_use(self) -> None:
        """The older netsvc goes on with the copy."""
        self.create()
        with open_accounts(self.state) as accounts:
            accounts.add_user("ada", "admin")
        self.open(steps=MORE_STEPS).close()
        self.refusal()
        self.database.unlink()
        self.backup().rename(self.database)
        self.create()
        with open_accounts(self.state) as accounts:
            self.assertEqual([user.name for user in accounts.users()], ["ada"])

    def test_failed_upgrade(self) -> None:
        """A step that fails takes back those before it."""
        self.create()
        wrong = (*MORE_STEPS, ("DROP TABLE nowhere",))
        self.assertRaises(StartError, self.open, steps=wrong)
        opened = self.open()
        self.addCleanup(opened.close)
        self.assertEqual(value_of(opened.writer, "SELECT count(*) FROM sqlite_master WHERE name = 'added'"), 0)

    def test_account_command(self) -> None:
        """An account command may be the first of a newer netsvc, unless the older daemon still runs."""
        running = self.open()
        error = self.assertRaises(StartError, open_accounts, self.state, MORE_STEPS)
        self.assertEqual(error.detail, f"{self.database} has an older schema than this netsvc needs, and a netsvc is running on it: restart that first")
        running.close()
        open_accounts(self.state, MORE_STEPS).close()
        self.assertTrue(self.backup().exists())
        self.open(steps=MORE_STEPS).close()


def raiser(error: Exception) -> Any:
    """A function that raises."""

    def call(*arguments: object) -> None:
        raise error

    return call
