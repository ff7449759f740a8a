"""The Autobahn suite, the judge of our WebSocket, on the echo server."""

import os
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.ports import free_port
from tests.system.required import skip_or_fail

HERE = Path(__file__).parent
NO_PYTHON_27 = 77
NOT_INSTALLED = 125
START_DEADLINE = 20.0
# The suite takes less than a minute; the first run installs it.
DEADLINE = 600.0


def await_listening(port: int) -> None:
    """Return as soon as somebody accepts connections on the port; fail if nobody does."""
    until = time.monotonic() + START_DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class AutobahnTests(TestCase):
    """Conformance to RFC 6455, as somebody else understands it."""

    timeout = DEADLINE + START_DEADLINE

    def test_quick(self) -> None:
        """Cases 1 to 7 and 10, and compression: every answer and every close is as the suite strictly wants it."""
        port = free_port()
        environ = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        server = subprocess.Popen([sys.executable, str(HERE / "echo_server.py"), str(port)], env=environ)
        self.addCleanup(server.wait, 10)
        self.addCleanup(server.terminate)
        await_listening(port)
        command = ["bash", str(HERE / "autobahn.sh"), str(port), "--quick", "--strict", "--timeout", "300"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        if run.returncode == NO_PYTHON_27:
            # Also in CI: hardly a distribution has one any more.
            raise unittest.SkipTest(run.stderr.strip())
        if run.returncode == NOT_INSTALLED and not run.stdout:
            skip_or_fail(run.stderr.strip())
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn(", 0 FAILED", run.stdout)
