"""A store on a disk that is full, for real: a small file system in memory."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StartError, StoreUnavailable
from tests.store.harness import Draft, draft, open_store
from tests.system.required import require_program, require_root, skip_or_fail

MIB = 1 << 20


class FullDiskTests(SynchronousTestCase):
    """A disk of four megabytes."""

    def setUp(self) -> None:
        """Mount it."""
        require_root()
        self.disk = Path(tempfile.mkdtemp(prefix="netsvc-full-"))
        self.addCleanup(shutil.rmtree, self.disk)
        mounted = subprocess.run(
            [require_program("mount"), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(self.disk)], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            skip_or_fail(f"cannot mount a file system: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, [require_program("umount"), str(self.disk)], check=True)
        self.state = self.disk / "state"
        self.junk = self.disk / "junk"

    def fill(self) -> None:
        """Leave no room."""
        try:
            with self.junk.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
        except OSError:
            pass

    def posts(self) -> list[Draft]:
        """More than there is room for in what the write-ahead log has taken already."""
        return [draft("x" * 10_000) for _ in range(20)]

    def test_full_and_empty_again(self) -> None:
        """Posts fail with the reason, reading works, the probe fails; when there is room again all is well, without a gap."""
        reactor, store = open_store(self.state)
        reactor.wait(store.append([draft(str(number)) for number in range(1, 11)]))
        self.fill()
        for _ in range(2):
            lost = self.posts()
            reactor.wait(store.append(lost))
            self.assertEqual({one.error.detail for one in lost if one.error}, {"the store could not write: database or disk is full"})
            self.assertEqual({one.seq for one in lost}, {0})
            self.assertRaises(StoreUnavailable, reactor.wait, store.probe())
        self.assertEqual(len(reactor.wait(store.read_after("r", 0, 100))), 10)
        self.junk.unlink()
        reactor.wait(store.probe())
        kept = self.posts()
        reactor.wait(store.append(kept))
        self.assertEqual([one.seq for one in kept], list(range(11, 31)))
        reactor.wait(store.stop())

    def test_start_on_full_disk(self) -> None:
        """A daemon does not start where it could not store anything, and says so."""
        self.state.mkdir()
        self.fill()
        error = self.assertRaises(StartError, open_store, self.state)
        self.assertEqual(error.detail, f"the disk of the state directory {self.state} is full: make room and try again")
        self.junk.unlink()
        reactor, store = open_store(self.state)
        reactor.wait(store.stop())
