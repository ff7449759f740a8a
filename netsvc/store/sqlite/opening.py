"""Opening a state directory: for the daemon, and for the account commands beside it."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from netsvc.errors import StartError
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite.accounts import Accounts
from netsvc.store.sqlite.files import StateFiles, StateLock, create_private, sync_directory
from netsvc.store.sqlite.lineage import Mark, settle_epoch
from netsvc.store.sqlite.schema import APPLICATION_ID, STEPS, Steps, upgrade, version_of
from netsvc.store.sqlite.transactions import value_of

__all__ = ["OpenState", "memory_accounts", "memory_connection", "open_accounts", "open_state"]

_NEARLY_FULL = 256 * 1024
"""Free bytes below which an I/O error is put down to a full disk."""

_LONGEST_WAIT = 30.0
"""Seconds that an account command waits for the daemon's transactions, each of which is short."""


class OpenState(NamedTuple):
    """A state directory that is open for the daemon.

    :ivar writer: the one connection that writes.
    :ivar readers: read-only connections.
    :ivar tightened: names of files that others had access to, and now have not.
    """

    files: StateFiles
    lock: StateLock
    mark: Mark
    writer: Connection
    readers: tuple[Connection, ...]
    epoch: str
    tightened: tuple[str, ...]

    def close(self) -> None:
        """Close everything; the last connection copies the write-ahead log into the database."""
        for connection in (*self.readers, self.writer):
            connection.close()
        self.mark.close()
        self.lock.release()


def open_state(directory: Path, settings: StoreSettings, steps: Steps = STEPS) -> OpenState:
    """Open a state directory for the daemon, creating and upgrading what is needed.

    :raises StartError: in use, not writable, full, damaged, or of a newer schema; the detail says what to do.
    """
    files = StateFiles(directory)
    opened: list[Connection] = []
    with _start_errors(files):
        files.prepare()
        lock = StateLock(files)
        mark = None
        try:
            writer = connect(files.database, settings)
            opened.append(writer)
            _recognise(writer, files, steps)
            tightened = files.tighten()
            _check(writer, files, settings.check)
            _upgrade(writer, files, steps)
            mark = Mark(files.mark)
            epoch = settle_epoch(writer, lock.witnesses, mark)
            opened.extend(connect(files.database, settings, read_only=True) for _ in range(settings.readers))
            return OpenState(files, lock, mark, writer, tuple(opened[1:]), epoch, tightened)
        except BaseException:
            for connection in opened:
                connection.close()
            if mark is not None:
                mark.close()
            lock.release()
            raise


def open_accounts(directory: Path, steps: Steps = STEPS, *, new: bool = True) -> Accounts:
    """Open the accounts of a state directory, also while the daemon runs. Close the accounts after use.

    :param new: what is missing is created.
    :raises StartError: as for the daemon; also if the schema is older while the daemon runs, or if the database is missing and not to be created.
    """
    files = StateFiles(directory)
    with _start_errors(files):
        if not new and directory.is_dir() and os.access(directory, os.X_OK) and not files.database.exists():
            raise StartError(f"there is no {files.database}: name the state directory with --state or --config, or start netsvc on it first")
        files.prepare()
        connection = connect(files.database, StoreSettings(busy_timeout=_LONGEST_WAIT))
        try:
            if _recognise(connection, files, steps):
                _upgrade_alone(connection, files, steps)
            else:
                _upgrade(connection, files, steps)
        except BaseException:
            connection.close()
            raise
    return Accounts(connection)


def memory_connection() -> Connection:
    """A database in memory, with all tables."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    upgrade(connection)
    return connection


def memory_accounts() -> Accounts:
    """Accounts in memory, for tests. They end with their connection."""
    return Accounts(memory_connection())


def connect(path: Path, settings: StoreSettings, *, read_only: bool = False) -> Connection:
    """A connection to the existing database, for use by one thread at a time."""
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=settings.busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA cache_size = -{settings.cache // 1024}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        if not read_only:
            page = int(value_of(connection, "PRAGMA page_size"))
            connection.execute("PRAGMA synchronous = FULL")
            # What is deleted must be gone, not just invisible.
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, settings.checkpoint // page)}")
            connection.execute(f"PRAGMA journal_size_limit = {settings.checkpoint}")
    except BaseException:
        connection.close()
        raise
    return connection


def _recognise(connection: Connection, files: StateFiles, steps: Steps) -> int:
    """The schema's version, 0 for an empty database. Nothing has been changed yet."""
    version = version_of(connection)
    application = value_of(connection, "PRAGMA application_id")
    if application != APPLICATION_ID and (version or application or value_of(connection, "SELECT count(*) FROM sqlite_master")):
        raise StartError(f"{files.database} belongs to another program: move it away, or name another directory in [netsvc] state")
    if version > len(steps):
        raise StartError(
            f"{files.database} has schema {version}, this netsvc knows schemas up to {len(steps)}: start the newer netsvc that made it,"
            f" or go back to a backup from before ({files.restoring()})"
        )
    return version


def _check(connection: Connection, files: StateFiles, largest: int) -> None:
    # The time to READY matters, so a large database is not checked here: SQLite notices damage when it is used.
    if files.database.stat().st_size <= largest:
        verdict = value_of(connection, "PRAGMA quick_check(1)")
        if verdict != "ok":
            raise _damaged(files, verdict)


def _upgrade(connection: Connection, files: StateFiles, steps: Steps) -> None:
    """Bring the schema up to date; a database of an older one is copied first."""
    mode = value_of(connection, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StartError(f"the file system of {files.directory} cannot hold a database in WAL mode (it is in mode {mode}): name another in [netsvc] state")
    version = version_of(connection)
    if version == len(steps):
        return
    if version:
        _back_up(connection, files.upgrade_backup(version))
    upgrade(connection, steps)


def _upgrade_alone(connection: Connection, files: StateFiles, steps: Steps) -> None:
    """Bring the schema up to date unless a daemon runs, which would be an older version."""
    if version_of(connection) == len(steps):
        return
    try:
        lock = StateLock(files)
    except StartError as error:
        raise StartError(f"{files.database} has an older schema than this netsvc needs, and a netsvc is running on it: restart that first") from error
    try:
        _upgrade(connection, files, steps)
    finally:
        lock.release()


def _back_up(connection: Connection, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = create_private(partial)
    try:
        connection.execute("VACUUM INTO ?", (str(partial),))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(path)
    sync_directory(path.parent)


@contextmanager
def _start_errors(files: StateFiles) -> Iterator[None]:
    """Turn errors of SQLite and the system into one line for the operator."""
    try:
        yield
    except sqlite3.Error as error:
        raise _start_error(error, files) from error
    except OSError as error:
        raise StartError(f"cannot use the state directory {files.directory}: {error.strerror}") from error


def _start_error(error: sqlite3.Error, files: StateFiles) -> StartError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    path = files.database
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StartError(f"{path} is locked by another program: end its transaction and try again")
    if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and shutil.disk_usage(path.parent).free < _NEARLY_FULL):
        return StartError(f"the disk of the state directory {files.directory} is full: make room and try again")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
        return _damaged(files, str(error))
    return StartError(f"cannot open {path} for writing: {error}")


def _damaged(files: StateFiles, why: str) -> StartError:
    return StartError(f"{files.database} is damaged ({' '.join(why.split())}): {files.restoring()}")
