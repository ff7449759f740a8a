"""The daemon as a twistd application: the layer between twistd and the parts of netsvc.

twistd has no notion of a start that takes time or fails late: it would report success, log a traceback and stay up, or exit 0.
`Daemon` makes sure that whoever started the process, a terminal, a script, twistd's own parent process or systemd, learns the truth.
"""

import gc
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore
from twisted.logger import ILogObserver, LogEvent, Logger, LogPublisher, globalLogPublisher
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.errors import StartError
from netsvc.ops.composition import OrderedServices
from netsvc.ops.health import Health
from netsvc.ops.notify import Notifier, Watchdog
from netsvc.ops.timers import follow_clock

__all__ = ["Daemon", "ExitStatus", "StatusPipe"]

COLLECTOR_THRESHOLDS = (20_000, 20, 50)
"""When Python looks for garbage in cycles. Python's default of 700 new objects is reached several times a millisecond while thousands of
posts or connections, none of them garbage, wait for their turn: with these thresholds a fifth more posts were acked (docs/decisions/0010)."""

EXTENSION = 5.0
"""Seconds asked of systemd beyond a step's own deadline."""


def calm_collector() -> None:
    """Objects that exist once the daemon is up are permanent: collect once, then freeze them, and look for garbage less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


@implementer(ILogObserver)
class ExitStatus:
    """Makes a twistd that has run to its end exit with a status.

    twistd exits 0 once the reactor has stopped and catches whatever the reactor raises. The last thing it does, after its pid file is
    gone, is to log that it shut down: this observer answers that event with SystemExit, which the publisher lets through.
    """

    def __init__(self, status: int) -> None:
        self.status = status

    def __call__(self, event: LogEvent) -> None:
        """SystemExit if this is twistd's last event."""
        if event.get("log_namespace", "").endswith("AppLogger") and event.get("log_format") == "Server Shut Down.":
            raise SystemExit(self.status)


class StatusPipe:
    """How a daemonized twistd tells its waiting parent, the command the operator typed, whether the start succeeded.

    twistd would say so before the parts are up. This takes over the pipe from its options and answers later.
    """

    def __init__(self, options: MutableMapping[str, Any]) -> None:
        self._descriptor: int | None = options.get("statusPipe")
        if self._descriptor is not None:
            options["statusPipe"] = None

    def answer(self, error: StartError | None) -> None:
        """Tell the parent, once: None is success."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        text = "0" if error is None else f"1 {error.detail}"
        try:
            os.write(descriptor, text.encode("ascii", "backslashreplace")[:100])  # twistd reads no more
            os.close(descriptor)
        except OSError:
            pass  # the parent was killed


class Daemon(Service):
    """The root service: starts the parts once the reactor runs, reports how that went, and stops them in order.

    :param services: the parts.
    :param options: twistd's own options, ``options.parent`` in a makeService.
    :param observer: what twistd is to log with, None to leave that alone.
    :param health: is told when the daemon serves and when it drains.
    :param describe: gives one line on what is served and where; asked once everything is up.
    :param stderr: gets the one line that says why a start failed.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorCore,
        services: OrderedServices,
        options: MutableMapping[str, Any],
        *,
        observer: Callable[[LogEvent], None] | None,
        notifier: Notifier,
        health: Health,
        watchdog: Watchdog,
        describe: Callable[[], str],
        publisher: LogPublisher = globalLogPublisher,
        stderr: TextIO | None = None,
    ) -> None:
        self._reactor = reactor
        self._services = services
        self._options = options
        self._observer = observer
        self._notifier = notifier
        self._health = health
        self._watchdog = watchdog
        self._describe = describe
        self._publisher = publisher
        self._stderr = stderr or sys.__stderr__  # twistd turns sys.stderr into log events
        self._pipe = StatusPipe({})
        services.progress = self._progress

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802 - Twisted's name
        """Join the application; twistd asks it for the observer to log with, before it logs anything."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        Service.setServiceParent(self, parent)

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Start the parts as soon as the reactor runs; nothing is waited for here."""
        Service.startService(self)
        self._pipe = StatusPipe(self._options)
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> "Deferred[None]":  # noqa: N802 - Twisted's name
        """Accept no more work, then stop the parts. Never fails."""
        Service.stopService(self)
        self._health.draining()
        self._watchdog.stop()
        self._notifier.stopping("stopping")
        return self._services.stopService()

    def _progress(self, line: str, seconds: float) -> None:
        self._log.debug("{line}", line=line)
        self._notifier.status(line)
        self._notifier.extend(seconds + EXTENSION)

    def _begin(self) -> None:
        follow_clock(self._reactor)
        Deferred.fromCoroutine(self._start()).addErrback(self._failed_unexpectedly)

    async def _start(self) -> None:
        try:
            await self._services.startService()
        except CancelledError:
            self._pipe.answer(StartError("stopped before it was up"))
        except StartError as error:
            self._give_up(error)
        else:
            self._up()

    def _up(self) -> None:
        calm_collector()
        description = self._describe()
        self._health.serving()
        self._notifier.ready(description)
        self._watchdog.start()
        self._pipe.answer(None)
        self._log.info("{description}", description=description)

    def _failed_unexpectedly(self, failure: Failure) -> None:
        self._log.failure("could not start", failure)
        self._give_up(StartError(f"{type(failure.value).__name__}: {failure.value}"))

    def _give_up(self, error: StartError) -> None:
        line = f"netsvc: cannot start: {' '.join(error.detail.split())}"
        if self._stderr is not None:
            self._stderr.write(line + "\n")
            self._stderr.flush()
        if getattr(self._observer, "stream", None) is not sys.__stdout__:  # on a terminal the one line is enough
            self._log.critical("{line}", line=line)
        self._notifier.status(line)
        self._pipe.answer(error)
        self._publisher.addObserver(ExitStatus(error.status))
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            self._log.debug("already stopping")
