"""Keeping the write-ahead log short while others read."""

import os
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection, Error
from typing import Final

from netsvc.store.sqlite.pool import ReaderPool
from netsvc.store.sqlite.transactions import value_of

__all__ = ["WalBound"]

_PATIENCE: Final = 0.5
"""Seconds that posts wait for readers to finish; a read takes milliseconds."""

_ROWS: Final = 256
"""Rows between two checks of the length: during each the reactor may take the interpreter lock away from the writer."""


class WalBound:
    """Cuts the write-ahead log when it has grown past a bound.

    SQLite copies the log into the database as it grows, and starts again at its beginning when nobody reads. But with a few busy readers
    there is never such a moment, and in tests the file grew to hundreds of megabytes: so the writer makes one.

    :param connection: the writer's.
    :param database: the path of the database.
    :param readers: paused for the cut.
    :param bound: bytes.
    :param busy_timeout: the connection's usual one, seconds.
    """

    def __init__(self, connection: Connection, database: Path, readers: ReaderPool, bound: int, busy_timeout: float) -> None:
        self._connection = connection
        self._path = f"{database}-wal"
        self._readers = readers
        self._bound = bound
        self._busy_timeout = busy_timeout
        self._next = bound
        self._rows = 0
        # What a killed process left may have such texts.
        self._outdated = True

    def outdate(self) -> None:
        """The log has texts that must go: the next `clean` cuts it."""
        self._outdated = True

    def clean(self) -> None:
        """Cut the log if `outdate` was called. Tried again next time if others are in the way."""
        if self._outdated:
            with suppress(Error):
                self._outdated = not self._cut()

    def keep(self, rows: int) -> None:
        """Cut the log if it is too long, checking only now and then.

        :param rows: how many have been written since the last time.
        """
        self._rows += rows
        if self._rows >= _ROWS:
            self.look()

    def look(self) -> None:
        """Cut the log if it is too long. Called after a commit, so errors are ignored: nothing is lost."""
        self._rows = 0
        try:
            size = os.stat(self._path).st_size
            if size > self._next:
                # With another program in the way (a backup reads for minutes), try again after as much growth.
                self._next = self._bound if self._cut() else size + self._bound
        except (OSError, Error):
            return

    def _cut(self) -> bool:
        with self._readers.paused(_PATIENCE):
            self._set_busy_timeout(0)  # do not wait for other programs
            try:
                return not value_of(self._connection, "PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._set_busy_timeout(self._busy_timeout)

    def _set_busy_timeout(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}").fetchall()
