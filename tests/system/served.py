"""Test cases whose tests share one running daemon."""

import atexit
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import Answer, request
from tests.system.daemon import Daemon

__all__ = ["PROCEDURES", "ServedCase", "call"]

PROCEDURES = Path(__file__).with_name("wire_procedures.py")
"""A procedure module for tests, as an operator's own would be."""


def call(method: str, params: Any = None, **members: Any) -> dict[str, Any]:
    """A JSON-RPC call with the id 1."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, **members}
    return message if params is None else {**message, "params": params}


class _Shared:
    """The daemon of the class whose tests run now. Trial has no fixtures for classes, so it goes when another class comes, or at the end."""

    def __init__(self) -> None:
        self._settings: str | None = None
        self._daemon: Daemon | None = None

    def with_settings(self, settings: str) -> Daemon:
        """The running daemon with these settings."""
        if self._daemon is None or self._settings != settings or not self._daemon.running:
            self.close()
            self._settings = settings
            self._daemon = Daemon(settings)
            shutil.copy(PROCEDURES, self._daemon.directory)
            folders = str(self._daemon.directory), os.environ.get("PYTHONPATH")
            self._daemon.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
            self._daemon.start()
        return self._daemon

    def close(self) -> None:
        """End it."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            daemon.close()


_shared = _Shared()
atexit.register(_shared.close)


class ServedCase(SynchronousTestCase):
    """One daemon for all tests of the class. No test may make it log a traceback or write to stderr.

    :cvar settings: the INI file's text. The module of `PROCEDURES` is named ``wire_procedures`` there.
    """

    settings: ClassVar[str] = ""
    may_log_tracebacks = False
    """Set by a test that runs into a bug on purpose."""

    def setUp(self) -> None:
        """See to it that it runs."""
        self.daemon = _shared.with_settings(self.settings)
        self._logged = len(self.daemon.output())
        self.addCleanup(self._check_log)

    def _check_log(self) -> None:
        log = self.daemon.output()[self._logged :]
        if not self.may_log_tracebacks:
            self.assertNotIn("Traceback", log)
        self.assertEqual(self.daemon.errors(), "")

    @property
    def url(self) -> str:
        """``http://…``"""
        return self.daemon.url

    def post(self, body: Any, **headers: str) -> Answer:
        """POST to /rpc: bytes, text, or what becomes JSON; the underscores of header names become dashes."""
        data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return request(f"{self.url}/rpc", "POST", data, {"Content-Type": "application/json", **named})

    def check_error(self, answer: Answer, status: int, code: int, id: Any = 1) -> dict[str, Any]:
        """The answer is this JSON-RPC error; gives its error object."""
        message = answer.json()
        self.assertEqual((answer.status, message["error"]["code"], message["id"], message["jsonrpc"]), (status, code, id, "2.0"), message)
        self.assertEqual(set(message), {"jsonrpc", "id", "error"})
        error: dict[str, Any] = message["error"]
        self.assertNotIn("Traceback", json.dumps(error))
        return error

    def netsvc(self, *arguments: str, text: str = "") -> str:
        """Run the command line beside the daemon; what it prints."""
        command = [sys.executable, "-m", "netsvc.cli", *arguments, "--state", str(self.daemon.state)]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
