"""Telling systemd about the daemon's state: sd_notify(3) without libsystemd.

The protocol is one datagram of ``NAME=value`` lines to the socket that ``$NOTIFY_SOCKET`` names. Nothing here ever raises into the
daemon: a manager that does not listen is logged once and is no reason to stop serving.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Notifier", "Watchdog", "address", "message", "send_datagram", "watchdog_interval"]

MICROSECONDS = 1_000_000


def address(environ: Mapping[str, str]) -> str | None:
    """Where to notify: the path in ``$NOTIFY_SOCKET``, an abstract one (``@name``) in the form that the kernel expects (leading NUL).

    :return: None if there is none or its kind (``vsock:…``) is not supported.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else None


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which the manager wants a sign of life (``$WATCHDOG_USEC``), None if it expects none from the process `pid`."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        interval = int(environ.get("WATCHDOG_USEC", "")) / MICROSECONDS
    except ValueError:
        return None
    return interval if interval > 0 else None


def message(**variables: str | int) -> bytes:
    """One datagram of ``NAME=value`` lines. A value is one line: line breaks and other runs of white space in it become one space."""
    return "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in variables.items()).encode()


def send_datagram(path: str, data: bytes) -> None:
    """Send `data` to the Unix datagram socket at `path` without ever waiting. OSError: nothing listens there, or its queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        sender.sendto(data, path)


class Notifier:
    """What the daemon reports to the manager that started it; silent if there is none.

    :param path: from `address`; None makes every method do nothing.
    :param send: how a datagram is sent.
    """

    _log = Logger()

    def __init__(self, path: str | None, send: Callable[[str, bytes], None] = send_datagram) -> None:
        self._path = path
        self._send = send
        self._failed = False
        self._status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Notifier":
        """The notifier for the manager named in `environ`."""
        return cls(address(environ))

    @property
    def wanted(self) -> bool:
        """True if a manager listens."""
        return self._path is not None

    def _tell(self, **variables: str | int) -> None:
        if self._path is None:
            return
        try:
            self._send(self._path, message(**variables))
        except OSError as error:
            if not self._failed:
                self._log.warn("cannot notify the service manager: {error}", error=error)
            self._failed = True
        else:
            self._failed = False

    def ready(self, status: str) -> None:
        """The last listener is up; `status` is the line that ``systemctl status`` shows."""
        self._status = status
        self._tell(READY=1, STATUS=status)

    def stopping(self, status: str) -> None:
        """The orderly stop has begun."""
        self._status = status
        self._tell(STOPPING=1, STATUS=status)

    def status(self, status: str) -> None:
        """Replace the status line; the same line again is not sent."""
        if status != self._status:
            self._status = status
            self._tell(STATUS=status)

    def reloading(self, status: str) -> None:
        """A reload has begun; `ready` ends it. ``MONOTONIC_USEC`` is what Type=notify-reload (systemd 253) waits for."""
        self._status = status
        self._tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000, STATUS=status)

    def extend(self, seconds: float) -> None:
        """Ask for `seconds` from now before a start or stop under way counts as hung."""
        self._tell(EXTEND_TIMEOUT_USEC=int(seconds * MICROSECONDS))

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell(WATCHDOG=1)


class Watchdog:
    """Feeds the manager's watchdog as long as the daemon really answers.

    The store is asked twice per interval; only an answer feeds the watchdog, so neither a stuck reactor nor a stuck store goes
    unnoticed. An error (a full disk) is an answer: a restart would not help and would end what still works.

    :param clock: for the ticks.
    :param probe: asks for an answer; True means that there was one, whatever it was. It has a deadline of its own.
    :param interval: seconds, from `watchdog_interval`; None feeds nothing.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, notifier: Notifier, probe: "Callable[[], Deferred[bool]]", interval: float | None) -> None:
        self._notifier = notifier
        self._probe = probe
        self._interval = interval
        self._loop = LoopingCall(self._feed)
        self._loop.clock = clock

    def start(self) -> None:
        """Feed now and regularly from now on."""
        if self._interval is not None and self._notifier.wanted:
            self._loop.start(self._interval / 2)

    def stop(self) -> None:
        """Stop feeding; no error if it never began. An orderly stop is bounded by the manager's stop timeout instead."""
        if self._loop.running:
            self._loop.stop()

    async def _answered(self) -> None:
        if await self._probe():
            self._notifier.alive()
        else:
            self._log.error("no answer to the watchdog's probe; without one the service manager will restart the daemon")

    def _feed(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._answered()).addErrback(lambda failure: self._log.failure("the watchdog's probe failed", failure))
