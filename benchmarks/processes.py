"""Start a server on a core of its own, watch it, stop it."""

import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "LOAD_CORE",
    "ROOT",
    "SERVER_CORE",
    "BenchmarkError",
    "Contestant",
    "Running",
    "cpu_seconds",
    "free_port",
    "pinned",
    "raise_file_limit",
    "resident_bytes",
    "running",
]

ROOT = Path(__file__).resolve().parent.parent
START_DEADLINE = 20.0
STOP_DEADLINE = 15.0
SERVER_CORE, LOAD_CORE = 0, 1
COMPLAINTS = ("Traceback (most recent call last)", "Unhandled ", "[critical]")


class BenchmarkError(Exception):
    """There is no figure, or none to trust: a program is missing, died, or answered wrongly."""


@dataclass(frozen=True)
class Contestant:
    """A server program to measure.

    :param name: as printed, such as "uvicorn".
    :param version: its version and those of the packages that make it fast.
    :param command: port, own empty directory -> the program and its arguments.
    :param environment: variables in addition to the few that every program gets.
    :param absent: why it cannot run here; empty if it can.
    """

    name: str
    version: str
    command: Callable[[int, Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    absent: str = ""

    @property
    def title(self) -> str:
        """The name with the version."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Running:
    """A server that accepts connections on 127.0.0.1.

    :param directory: its own, gone when it has stopped.
    :param begun: when the program was started, by `time.monotonic`.
    :param listening: when it first accepted a connection.
    """

    contestant: Contestant
    pid: int
    port: int
    directory: Path
    begun: float
    listening: float


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command pinned to one core, so that server and load do not share one; unchanged on a machine with a single core."""
    if (os.cpu_count() or 1) < 2:
        return list(command)
    return ["taskset", "-c", str(core), *command]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> None:
    """Let this process and those it starts open as many files as the machine allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def environment_of(contestant: Contestant) -> dict[str, str]:
    """A small environment, so that nothing in the caller's shell affects a figure."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **contestant.environment}


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_accepting(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while not _accepts(port):
        if process.poll() is not None:
            raise BenchmarkError(f"it ended with status {process.returncode} instead of listening:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise BenchmarkError(f"it did not listen within {START_DEADLINE:g} s:\n{_tail(log)}")
        time.sleep(0.005)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _check_log(contestant: Contestant, log: Path) -> None:
    text = log.read_text(errors="replace")
    for complaint in COMPLAINTS:
        if complaint in text:
            at = max(0, text.index(complaint) - 200)
            raise BenchmarkError(f"{contestant.name} complained while it was measured:\n{text[at : at + 3000]}")


@contextmanager
def running(contestant: Contestant, directory: Path | None = None) -> Iterator[Running]:
    """Run a server on its core; it has stopped when the block is left.

    :param directory: where its own directory is made; the system's directory for temporary files if None.
    :raises BenchmarkError: it did not listen in time, or its log shows an error.
    """
    with tempfile.TemporaryDirectory(prefix="netsvc-bench-", dir=directory) as own:
        port, log = free_port(), Path(own, "log")
        command = pinned(SERVER_CORE, contestant.command(port, Path(own)))
        begun = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=own, env=environment_of(contestant), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait_until_accepting(process, port, log)
            yield Running(contestant, process.pid, port, Path(own), begun, time.monotonic())
            if process.poll() is not None:
                raise BenchmarkError(f"{contestant.name} ended with status {process.returncode} while it was measured:\n{_tail(log)}")
        finally:
            _stop(process)
        _check_log(contestant, log)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used, over all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
