"""The epoch: it survives restarts and changes when a backup is restored."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import open_accounts
from netsvc.store.sqlite.checkpoints import WalBound
from netsvc.store.sqlite.opening import open_state
from netsvc.store.sqlite.pool import ReaderPool
from netsvc.store.sqlite.writing import LogWriter
from tests.store.harness import draft


class EpochTests(SynchronousTestCase):
    """One state directory, and what may happen to it between two starts."""

    generation = 1

    def setUp(self) -> None:
        """A directory with a log of a few events."""
        self.state = Path(self.mktemp()).absolute()
        self.epoch = self.use(posts=3)

    def use(self, posts: int = 0, state: Path | None = None) -> str:
        """Open it, append so many events, close it; its epoch."""
        opened = open_state(state or self.state, StoreSettings())
        wal = WalBound(opened.writer, opened.files.database, ReaderPool(opened.readers), 1 << 20, 1.0)
        writer = LogWriter(opened.writer, opened.mark, wal, 10)
        for _ in range(posts):
            self.assertIsNone(writer.append([draft(room="a"), draft(room="b")]))
        opened.close()
        return opened.epoch

    def copy(self, name: str) -> Path:
        """A copy of the directory, with all times kept."""
        return Path(shutil.copytree(self.state, self.state.with_name(name)))

    def restore(self, backup: Path) -> None:
        """Put the database back, as the documentation says."""
        for path in self.state.glob("netsvc.db*"):
            path.rename(path.with_name(f"old-{path.name}"))
        shutil.copy2(backup / "netsvc.db", self.state)

    def test_restart(self) -> None:
        """It stays the same from start to start, whether or not something is appended."""
        self.assertEqual([self.use(), self.use(posts=2), self.use()], [self.epoch] * 3)

    def test_two_logs(self) -> None:
        """No two logs have the same."""
        self.assertNotEqual(self.use(state=self.state.with_name("other")), self.epoch)

    def test_directory_copied(self) -> None:
        """A copy of the whole directory has another one, since both could go on; it keeps that, and the original its own."""
        backup = self.copy("backup")
        copied = self.use(posts=1, state=backup)
        self.assertNotEqual(copied, self.epoch)
        self.assertEqual(self.use(state=backup), copied)
        self.assertEqual(self.use(), self.epoch)

    def test_files_touched(self) -> None:
        """Owner, rights and further names of the files say nothing, where the file system numbers the generations of its inodes."""
        self.count_generations()
        first = self.use(state=self.state.with_name("numbered"))
        for change in (lambda path: path.chmod(0o640), lambda path: os.chown(path, -1, -1), lambda path: os.link(path, f"{path}.link")):
            for path in self.state.with_name("numbered").glob("netsvc.*"):
                change(path)
            self.assertEqual(self.use(state=self.state.with_name("numbered")), first)

    def test_inode_used_again(self) -> None:
        """A copy that has got the inode of the original is still a copy."""
        self.count_generations()
        state = self.state.with_name("numbered")
        first = self.use(state=state)
        self.generation += 1
        self.assertNotEqual(self.use(state=state), first)

    def test_generations_unknown_before(self) -> None:
        """A log from a time when nobody asked for generations keeps its epoch, and is known by its generation from then on."""
        self.generation = 0
        self.count_generations()
        state = self.state.with_name("older")
        first = self.use(state=state)
        self.generation = 7
        self.assertEqual(self.use(state=state), first)
        (state / "netsvc.lock").chmod(0o640)
        self.assertEqual(self.use(state=state), first)

    def count_generations(self) -> None:
        """The file system numbers generations, as ext4, xfs and btrfs do."""
        self.patch(fcntl, "ioctl", lambda descriptor, request, buffer: self.generation.to_bytes(4, sys.byteorder) + buffer[4:])

    def test_no_generations(self) -> None:
        """On other file systems the time of the last change has to do."""

        def unknown(*arguments: object) -> None:
            raise OSError(25, "Inappropriate ioctl for device")

        self.patch(fcntl, "ioctl", unknown)
        state = self.state.with_name("plain")
        first = self.use(state=state)
        self.assertEqual(self.use(state=state), first)
        self.assertNotEqual(self.use(state=Path(shutil.copytree(state, self.state.with_name("copied")))), first)

    def test_directory_moved(self) -> None:
        """A directory that has been moved is the same."""
        self.state = self.state.rename(self.state.with_name("moved"))
        self.assertEqual(self.use(), self.epoch)

    def test_database_restored(self) -> None:
        """An older database in the same directory means another epoch, once."""
        backup = self.copy("backup")
        self.use(posts=1)
        self.restore(backup)
        restored = self.use()
        self.assertNotEqual(restored, self.epoch)
        self.assertEqual(self.use(posts=1), restored)

    def test_database_of_another_epoch_restored(self) -> None:
        """A backup from before an earlier restore is noticed even if it has more events."""
        long, short = self.copy("long"), self.use(state=self.state.with_name("x"))
        self.assertNotEqual(short, self.epoch)
        self.restore(long)
        self.use(posts=1)
        shutil.copy2(self.state.with_name("x") / "netsvc.db", self.state)
        self.assertNotIn(self.use(posts=1), (self.epoch, short))

    def test_nothing_lost(self) -> None:
        """A restored backup that has everything that was acknowledged goes on as if nothing had happened."""
        backup = self.copy("backup")
        self.restore(backup)
        self.assertEqual(self.use(), self.epoch)

    def test_database_alone(self) -> None:
        """A database that is restored into an empty directory has another epoch."""
        other = self.state.with_name("fresh")
        other.mkdir()
        shutil.copy2(self.state / "netsvc.db", other)
        self.assertNotEqual(self.use(state=other), self.epoch)

    def test_mark_lost(self) -> None:
        """A mark that says nothing, after a loss of power, is no sign of a restore; nor is one that says too little."""
        mark = self.state / "netsvc.mark"
        behind = mark.read_bytes()
        self.use(posts=1)
        for content in (b"", b"\0" * 64, b"\xff 1 1", b"one two three", behind):
            mark.write_bytes(content)
            self.assertEqual(self.use(), self.epoch)

    def test_mark_not_writable(self) -> None:
        """A mark that cannot be written stands in the way of nothing."""

        def broken(*arguments: object) -> None:
            raise OSError(5, "Input/output error")

        self.patch(os, "pwrite", broken)
        self.assertEqual(self.use(posts=1), self.epoch)

    def test_created_by_account_command(self) -> None:
        """The epoch is that of the database, whoever creates it."""
        state = self.state.with_name("early")
        open_accounts(state).close()
        first = self.use(state=state)
        open_accounts(state).close()
        self.assertEqual(self.use(state=state), first)
