"""The files of a state directory, and who may have them open."""

import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from netsvc.errors import StartError

__all__ = ["OpenedFile", "StateFiles", "StateLock", "create_private"]


_GET_GENERATION = 0x80087601
"""FS_IOC_GETVERSION of linux/fs.h on 64-bit machines: four bytes. Where it has another number or is unknown, the call fails."""


class StateFiles:
    """The paths of the files in a state directory.

    :ivar database: the log and the accounts; SQLite keeps ``-wal`` and ``-shm`` beside it.
    :ivar lock: held by the daemon while it runs; never written to (see lineage).
    :ivar mark: how far the log had come (see lineage).
    :ivar search: the search index, which is rebuilt if it is missing.
    """

    __slots__ = ("database", "directory", "lock", "mark", "search")

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.database = self.directory / "netsvc.db"
        self.lock = self.directory / "netsvc.lock"
        self.mark = self.directory / "netsvc.mark"
        self.search = self.directory / "search.db"

    def prepare(self) -> None:
        """Create what is missing, for the owner alone: the directory (0700) and an empty database (0600).

        :raises StartError: the directory cannot be created or written to; the database is empty, but something has been in it.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise StartError(f"the state directory {self.directory} is a file: move it away, or name another in [netsvc] state") from error
        except OSError as error:
            raise StartError(f"cannot create the state directory {self.directory}: {error.strerror}") from error
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise StartError(
                f"the state directory {self.directory} is not writable for user {os.geteuid()}: change its owner, or name another in [netsvc] state"
            )
        if self.mark.exists() and self.database.is_file() and not self.database.stat().st_size:
            raise StartError(f"{self.database} is empty, but it was not before: {self.restoring()}")
        os.close(create_private(self.database))

    def tighten(self) -> tuple[str, ...]:
        """Close the existing files to others: a state copied back from a backup may have any modes.

        Returns the names of what was open to others and is now the owner's alone. What belongs to somebody else stays as it is, and so do a
        directory that holds more than a state, and the lock, which is empty and would no longer count as the same file (see lineage).
        """
        try:
            with os.scandir(self.directory) as entries:
                names = [entry.name for entry in entries]
        except OSError:  # a directory may be usable without being listable
            return ()
        paths = [self.directory / name for name in names if name.startswith((self.database.name, self.mark.name, self.search.name))]
        if len(paths) + (self.lock.name in names) == len(names):
            paths.append(self.directory.resolve())
        return tuple(path.name for path in paths if _made_private(path))

    def restoring(self) -> str:
        """What to do about a database that cannot be used, for the end of an error."""
        name = self.database.name
        return (
            f"to restore it, stop netsvc, move {name}, {name}-wal and {name}-shm out of {self.directory} and copy a backup there as {name};"
            " without a backup netsvc starts empty"
        )

    def upgrade_backup(self, version: int) -> Path:
        """The path for a copy of a database of an older schema before the upgrade."""
        return self.directory / f"netsvc.db.schema{version}"


def create_private(path: Path) -> int:
    """Open a file for reading and writing, creating it for the owner alone. The caller closes the descriptor.

    What root creates belongs to the owner of the directory: ``sudo netsvc user add`` may be the first to run.

    :raises StartError: it cannot be opened.
    """
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise StartError(f"cannot open {path}: {error.strerror}") from error
    return descriptor


def _made_private(path: Path) -> bool:
    """Close a file or directory of this user to others; returns whether it was open. Links are left alone."""
    with suppress(OSError):
        status = path.lstat()
        directory = stat.S_ISDIR(status.st_mode)
        if (directory or stat.S_ISREG(status.st_mode)) and status.st_uid == os.geteuid() and status.st_mode & 0o077:
            path.chmod(0o700 if directory else 0o600)
            return True
    return False


class OpenedFile:
    """An open file that must stay where it was opened.

    :param path: where it is now.
    """

    __slots__ = ("_path", "_status")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._status = path.stat()

    @property
    def there(self) -> bool:
        """Whether it has been neither removed nor replaced. If it has, what is written to it is lost when it is closed."""
        try:
            return os.path.samestat(self._path.stat(), self._status)
        except OSError:
            return False


class StateLock:
    """Keeps a second daemon out of a state directory while this one runs; the kernel releases it when the process ends, however it ends.

    :ivar witnesses: values that each identify the lock's file among all files and that no copy keeps, the best first (see lineage).
    :raises StartError: another process holds it.
    """

    __slots__ = ("_descriptor", "witnesses")

    def __init__(self, files: StateFiles) -> None:
        fresh = not files.lock.exists()
        self._descriptor = create_private(files.lock)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise StartError(f"the state directory {files.directory} is in use by another netsvc: stop it, or name another in [netsvc] state") from error
        if fresh:
            # The witness must be as durable as the database that quotes it.
            os.fsync(self._descriptor)
            sync_directory(files.directory)
        self.witnesses = _witnesses(self._descriptor)

    def release(self) -> None:
        """Let others in."""
        os.close(self._descriptor)


def _witnesses(descriptor: int) -> tuple[str, ...]:
    """A file's inode, with its generation if the file system tells it, and with the time of its last change."""
    status = os.fstat(descriptor)
    changed = f"{status.st_ino}:{status.st_ctime_ns}"
    try:
        generation = int.from_bytes(fcntl.ioctl(descriptor, _GET_GENERATION, bytes(8))[:4], sys.byteorder)
    except OSError:
        generation = 0
    return (f"{status.st_ino}:g{generation}", changed) if generation else (changed,)


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
