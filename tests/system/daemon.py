"""The real daemon as a black box: started as an operator starts it, spoken to over its sockets, stopped by signals."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType

from tests.ports import free_port

__all__ = ["Daemon", "DaemonDiedError", "twistd_command"]

START_DEADLINE = 30.0
STOP_DEADLINE = 30.0
_numbers = count()


class DaemonDiedError(AssertionError):
    """The daemon ended before it was ready, or did not become ready; says what it printed."""


def twistd_command(python: str = sys.executable) -> list[str]:
    """The twistd that belongs to `python`. Coverage measures it of itself where ``$COVERAGE_PROCESS_START`` is set."""
    return [python, str(Path(python).parent / "twistd")]


class Daemon:
    """One netsvc with a directory and a port of its own, both kept over restarts.

    :param config: the INI file's text.
    :param port: 0 chooses a free one.
    :param directory: where the file, the state and the output are; by default a temporary one, removed by `close`.
    :param overrides: further ``--set`` arguments, ``section.key=value``.
    :param environ: environment variables to add.
    :param listen: False: the listeners are the file's business.
    :param own_state: False: the state directory is the file's or the overrides' business.

    :ivar url: ``http://127.0.0.1:PORT``.
    :ivar state: the state directory.
    :ivar environ: environment variables that are added at the next start.
    """

    def __init__(
        self,
        config: str = "",
        *,
        port: int = 0,
        directory: str | None = None,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        python: str = sys.executable,
        listen: bool = True,
        own_state: bool = True,
    ) -> None:
        self._own_directory = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="netsvc-test-"))
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.websocket_url = f"ws://127.0.0.1:{self.port}"
        self.state = self.directory / "state"
        self.config = self.directory / "netsvc.ini"
        self.config.write_text(config)
        self._python = python
        self.environ = dict(environ or {})
        self._overrides = [*overrides]
        if own_state:
            self._overrides.append(f"netsvc.state={self.state}")
        if listen:
            self._overrides.append(f"http.listen=tcp:{self.port}:interface=127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None
        self.status_line = ""

    @property
    def pid(self) -> int:
        """The running daemon's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """True from the start of the process to its end."""
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        """What is run."""
        overrides = [part for override in self._overrides for part in ("--set", override)]
        return [*twistd_command(self._python), "--nodaemon", "--pidfile=", "netsvc", "--config", str(self.config), *overrides]

    def launch(self, notify: str = "") -> None:
        """Start the process and wait for nothing. Output is appended to what earlier ones wrote."""
        assert not self.running, "already running"
        environ = {**os.environ, "PYTHONUNBUFFERED": "1", **self.environ}
        environ.pop("NOTIFY_SOCKET", None)
        environ.pop("STATE_DIRECTORY", None)
        if notify:
            environ["NOTIFY_SOCKET"] = notify
        with open(self.directory / "stdout", "ab") as out, open(self.directory / "stderr", "ab") as err:
            self._process = subprocess.Popen(self.command(), cwd=self.directory, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def start(self, deadline: float = START_DEADLINE) -> "Daemon":
        """Start it and return when it has said that it is ready. DaemonDiedError if it does not within `deadline` seconds."""
        name = f"netsvc-test-{os.getpid()}-{next(_numbers)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name)
            manager.settimeout(0.05)
            self.launch("@" + name)
            self._await_ready(manager, time.monotonic() + deadline)
        return self

    def _await_ready(self, manager: socket.socket, until: float) -> None:
        while time.monotonic() < until:
            try:
                lines = manager.recv(65536).decode().splitlines()
            except TimeoutError:
                if not self.running:
                    assert self._process is not None
                    raise DaemonDiedError(f"exit status {self._process.returncode}\n{self.errors()}\n{self.output()}") from None
                continue
            for line in lines:
                if line.startswith("STATUS="):
                    self.status_line = line.removeprefix("STATUS=")
            if "READY=1" in lines:
                return
        self.kill()
        raise DaemonDiedError(f"not ready in time\n{self.errors()}\n{self.output()}")

    def run_to_end(self, deadline: float = START_DEADLINE) -> int:
        """Start one that is expected to refuse, and return its exit status."""
        self.launch()
        return self.wait(deadline)

    def wait(self, deadline: float = STOP_DEADLINE) -> int:
        """Wait for the process to end; its exit status, negative for a signal's number."""
        assert self._process is not None
        try:
            return self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {deadline:g} s\n{self.errors()}\n{self.output()}") from None

    def stop(self, deadline: float = STOP_DEADLINE) -> int:
        """SIGTERM, and wait; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline)

    def kill(self) -> None:
        """SIGKILL: nothing of the process gets to run."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def restart(self) -> "Daemon":
        """Stop in order and start again on the same port and state."""
        self.stop()
        return self.start()

    def output(self) -> str:
        """All that was written to standard output, the log."""
        return self._read("stdout")

    def errors(self) -> str:
        """All that was written to standard error."""
        return self._read("stderr")

    def _read(self, name: str) -> str:
        path = self.directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """End the process if it runs and remove what is on disk. Safe to call twice."""
        if self.running:
            self.signal(signal.SIGTERM)  # in order, so that coverage data is written
            try:
                self.wait()
            except AssertionError:
                self.kill()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Daemon":
        return self.start()

    def __exit__(self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
