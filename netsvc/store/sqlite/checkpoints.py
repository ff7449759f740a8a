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
"""Rows between two looks at the length: each look is a chance for the reactor to take the interpreter away from the writer."""


class WalBound:
    """Cuts the write-ahead log when it has grown past a bound.

    SQLite copies the log into the database as it grows, and begins again at its front when nobody reads. But with a few busy readers
    there is never such a moment, and the file grew to hundreds of megabytes when it was tried: so the writer makes one.

    :param connection: the writer's.
    :param database: the path of the database.
    :param readers: paused for the cut.
    :param bound: bytes.
    :param busy_timeout: seconds; what the connection's is otherwise.
    """

    def __init__(self, connection: Connection, database: Path, readers: ReaderPool, bound: int, busy_timeout: float) -> None:
        self._connection = connection
        self._path = f"{database}-wal"
        self._readers = readers
        self._bound = bound
        self._busy_timeout = busy_timeout
        self._next = bound
        self._rows = 0
        # What a killed process has left may have such texts.
        self._outdated = True

    def outdate(self) -> None:
        """The log has texts that are to be gone: it is cut by the next `clean`."""
        self._outdated = True

    def clean(self) -> None:
        """Cut the log if that is due to what it holds. Tried again next time if others are in the way."""
        if self._outdated:
            with suppress(Error):
                self._outdated = not self._cut()

    def keep(self, rows: int) -> None:
        """Cut the log if it is too long, looking only now and then.

        :param rows: how many have been written since the last time.
        """
        self._rows += rows
        if self._rows >= _ROWS:
            self.look()

    def look(self) -> None:
        """Cut the log if it is too long. Called after a commit, so an error is not of interest: nothing is lost by it."""
        self._rows = 0
        try:
            size = os.stat(self._path).st_size
            if size > self._next:
                # With another program in the way (a backup reads for minutes), the next attempt is as much growth away.
                self._next = self._bound if self._cut() else size + self._bound
        except (OSError, Error):
            return

    def _cut(self) -> bool:
        with self._readers.paused(_PATIENCE):
            self._set_busy_timeout(0)  # other programs are not waited for
            try:
                return not value_of(self._connection, "PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._set_busy_timeout(self._busy_timeout)

    def _set_busy_timeout(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}").fetchall()
