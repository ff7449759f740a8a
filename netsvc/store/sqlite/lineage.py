"""Whether the database is the one that this state directory held when it was last used.

Cursors are ``epoch:seq``. After a backup is restored, the same positions will hold other events, so the log must then, and only then, get
another epoch. Nobody tells netsvc about a restore, so it looks for two signs of one:

- The state directory has been copied. The database remembers a witness of the lock file: its inode and the generation that the file
  system gave that inode when the file was made, which no copy preserves and nothing changes. Where generations are not available
  (not ext4, xfs or btrfs), it is the inode and the time of its last change. Nothing writes to that file, so restarts, crashes and power
  loss leave that as it is, but ``chown`` and the like do not: then clients are told once of a gap that does not exist.
- The database has been replaced. The mark, a separate file, records the room and seq of the newest append. A
  database without that event is older than what was acknowledged to clients. The mark is written after the commit, without a
  sync: after a power loss it may be behind, but never ahead.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from netsvc.store.sqlite.files import create_private
from netsvc.store.sqlite.schema import new_epoch
from netsvc.store.sqlite.transactions import transaction, value_of

__all__ = ["Mark", "MarkedPosition", "settle_epoch"]

_LENGTH = 64


class MarkedPosition(NamedTuple):
    """Something that was in the log: an epoch, the row of a room, and a seq in it (0, 0 before the first append)."""

    epoch: str
    room_id: int
    seq: int


class Mark:
    """The file that records how far the log has come.

    :param path: created if it is missing.
    :raises StartError: it cannot be opened.
    """

    __slots__ = ("_descriptor", "_epoch")

    def __init__(self, path: Path) -> None:
        self._descriptor = create_private(path)
        self._epoch = ""

    def read(self) -> MarkedPosition | None:
        """What it records; None if nothing."""
        words = os.pread(self._descriptor, _LENGTH, 0).split()
        try:
            epoch, room_id, seq = words
            return MarkedPosition(epoch.decode("ascii"), int(room_id), int(seq))
        except ValueError:  # empty, or not written in full
            return None

    def begin(self, epoch: str) -> None:
        """From now on `note` records this epoch."""
        self._epoch = epoch
        before = self.read()
        if before is None or before.epoch != epoch:
            self.note(0, 0)

    def note(self, room_id: int, seq: int) -> None:
        """Record that this has been committed. After an error the mark is behind, which is allowed."""
        with suppress(OSError):
            os.pwrite(self._descriptor, f"{self._epoch} {room_id} {seq}\n".encode().ljust(_LENGTH), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def settle_epoch(connection: Connection, witnesses: Sequence[str], mark: Mark) -> str:
    """The epoch of the log: the old one, or a new one if a backup has been restored. It is stored, which also proves that writing works.

    :param witnesses: of the lock file, the best first; that one is stored, and any of them is recognised.
    """
    with transaction(connection):
        epoch: str = value_of(connection, "SELECT value FROM meta WHERE name = 'epoch'")
        known = value_of(connection, "SELECT value FROM meta WHERE name = 'witness'")
        copied = known not in ("", *witnesses)
        if copied or not _contains(connection, epoch, mark.read()):
            epoch = new_epoch()
            connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (epoch,))
        connection.execute("UPDATE meta SET value = ? WHERE name = 'witness'", (witnesses[0],))
    mark.begin(epoch)
    return epoch


def _contains(connection: Connection, epoch: str, position: MarkedPosition | None) -> bool:
    if position is None:
        return True
    head = value_of(connection, "SELECT head FROM rooms WHERE id = ?", (position.room_id,)) or 0
    return bool(position.epoch == epoch and head >= position.seq)
