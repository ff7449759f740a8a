"""A store whose process is killed at any moment loses nothing that it has acknowledged."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.store.harness import draft, key, open_store
from tests.system.append_until_killed import KEPT, ROOMS

ROUNDS = 6
SECONDS = 30.0
"""How long a child may take to acknowledge what it is killed after."""


class KilledTests(SynchronousTestCase):
    """A child appends to a state directory and is killed with SIGKILL, again and again."""

    def setUp(self) -> None:
        """A state directory outside of trial's."""
        self.state = Path(tempfile.mkdtemp(prefix="netsvc-crash-")) / "state"
        self.addCleanup(shutil.rmtree, self.state.parent)
        self.acked: dict[tuple[str, int], str] = {}

    def kill_after(self, lines: int) -> None:
        """Let a child append until so many posts are acknowledged and some more are under way, then kill it; keep what it has acknowledged."""
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        child = subprocess.Popen([sys.executable, "-m", "tests.system.append_until_killed", str(self.state)], stdout=subprocess.PIPE, env=environ)
        assert child.stdout is not None
        deadline = time.monotonic() + SECONDS
        output = []
        with child:
            try:
                while len(output) < lines:
                    self.assertLess(time.monotonic(), deadline)
                    line = child.stdout.readline()
                    self.assertTrue(line, "the child ended by itself")
                    output.append(line)
            finally:
                child.kill()
            output += child.stdout.readlines()
        for line in output:
            if line.endswith(b"\n"):
                room, seq, text = line.decode().split()
                self.acked[room, int(seq)] = text

    def check(self) -> str:
        """Every acknowledged post that retention has left is there, once, without gaps between; its key is known. The epoch."""
        reactor, store = open_store(self.state)
        try:
            for room in ROOMS:
                info = reactor.wait(store.room(room))
                assert info is not None
                rows = reactor.wait(store.read_after(room, 0, 1_000_000))
                self.assertEqual([row.seq for row in rows], list(range(info.first, info.head + 1)))
                acked = {seq: text for (name, seq), text in self.acked.items() if name == room}
                self.assertLessEqual(max(acked), info.head)
                self.assertGreaterEqual(len(rows), min(KEPT, info.head))
                self.assertEqual({row.seq: row.text for row in rows if row.seq in acked}, {seq: text for seq, text in acked.items() if seq >= info.first})
                self.assertEqual(len({row.text for row in rows}), len(rows))
                again = draft(room=room, key=key(acked[max(acked)], b"digest", scope="scope"))
                reactor.wait(store.append([again]))
                self.assertEqual((again.repeated, again.seq), (True, max(acked)))
            return store.epoch
        finally:
            reactor.wait(store.stop())

    def test_killed(self) -> None:
        """Nothing acknowledged is lost, doubled or moved; the epoch stays."""
        epochs = set()
        for _ in range(ROUNDS):
            self.kill_after(random.randrange(1, 4000))
            epochs.add(self.check())
        self.assertEqual(len(epochs), 1)
