"""Starting the parts of the daemon one after another, and stopping them in the opposite order.

Twisted's own MultiService starts and stops all its children at once. Here a part may rely on those named before it: the store is
open before a listener accepts, and the last answer is written before the store closes.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.errors import StartError

__all__ = ["OrderedServices", "start_error"]

START_DEADLINE = 60.0
STOP_DEADLINE = 10.0


class _Part(NamedTuple):
    service: IService
    start_deadline: float
    stop_deadline: float


def _advice(error: CannotListenError) -> str:
    """What to do where the system's reason does not say it: only root may open low ports."""
    low = isinstance(error.port, int) and error.port < 1024 and isinstance(error.socketError, PermissionError)
    return "; have systemd open a port below 1024 (netsvc.socket), or choose another" if low else ""


def start_error(name: str, failure: Failure, deadline: float) -> StartError:
    """What stopped the part `name` from starting, as one line for the operator."""
    error = failure.value
    if isinstance(error, StartError):
        return error
    if isinstance(error, CannotListenError):
        where = f"{error.interface or '*'}:{error.port}" if isinstance(error.port, int) else os.fsdecode(error.port)
        why = getattr(error.socketError, "strerror", None) or str(error.socketError)
        return StartError(f"cannot listen on {where}: {why}{_advice(error)}")
    if isinstance(error, TimeoutError):
        return StartError(f"{name} did not start within {deadline:g} s")
    if isinstance(error, OSError) and error.strerror:
        return StartError(f"{name}: {error.filename}: {error.strerror}" if error.filename else f"{name}: {error.strerror}")
    return StartError(f"{name}: {type(error).__name__}: {error}")


class OrderedServices(MultiService):
    """Named services, started in the order added and stopped in reverse; each is waited for until its deadline at most.

    A service whose ``startService`` returns a Deferred is up when that fires. One that fails, or that is cancelled because it was too
    slow, is stopped like those before it, so its ``stopService`` must cope with a service that is half up.

    :param clock: for the deadlines.
    :param progress: is told in one line what is being waited for, and for how many seconds at most.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, progress: Callable[[str, float], None] = lambda line, seconds: None) -> None:
        MultiService.__init__(self)
        self._clock = clock
        self.progress = progress
        self._parts: dict[str, _Part] = {}
        self._started: list[str] = []
        self._starting: Deferred[None] | None = None
        self._stopping: list[Deferred[None]] | None = None

    def add(self, name: str, service: IService, *, start_deadline: float = START_DEADLINE, stop_deadline: float = STOP_DEADLINE) -> None:
        """Append a service; before `startService`. Deadlines are in seconds."""
        service.setName(name)
        service.setServiceParent(self)
        self._parts[name] = _Part(service, start_deadline, stop_deadline)

    def startService(self) -> "Deferred[None]":  # noqa: N802 - Twisted's name
        """Start all. StartError: one did not start, and everything has been stopped again. CancelledError: `stopService` was called meanwhile."""
        Service.startService(self)
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> "Deferred[None]":  # noqa: N802 - Twisted's name
        """Stop what has been started, including a start under way. Never fails: what goes wrong is logged."""
        Service.stopService(self)
        if self._stopping is not None:
            waiter: Deferred[None] = Deferred()
            self._stopping.append(waiter)
            return waiter
        if self._starting is None and not self._started:
            return succeed(None)
        self._stopping = []
        if self._starting is not None:
            self._starting.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        for name, part in self._parts.items():
            self.progress(f"starting {name}", part.start_deadline)
            self._started.append(name)
            self._starting = maybeDeferred(part.service.startService).addTimeout(part.start_deadline, self._clock)
            try:
                await self._starting
            except CancelledError:
                raise
            except Exception:
                await self._give_up(name, Failure(), part.start_deadline)
            finally:
                self._starting = None
            if not self.running:  # stopped meanwhile
                raise CancelledError

    async def _give_up(self, name: str, failure: Failure, deadline: float) -> None:
        error = start_error(name, failure, deadline)
        if error is not failure.value and not isinstance(failure.value, CannotListenError | TimeoutError | OSError):
            self._log.failure("{name} could not start", failure, name=name)
        if self.running:
            self._starting = None
            await self.stopService()
        raise error

    async def _stop(self) -> None:
        while self._started:
            name = self._started.pop()
            part = self._parts[name]
            self.progress(f"stopping {name}", part.stop_deadline)
            try:
                await maybeDeferred(part.service.stopService).addTimeout(part.stop_deadline, self._clock)
            except TimeoutError:
                self._log.error("{name} did not stop within {seconds:g} s; continuing without it", name=name, seconds=part.stop_deadline)
            except Exception:
                self._log.failure("{name} failed while stopping", name=name)
        waiting, self._stopping = self._stopping or [], None
        for waiter in waiting:
            waiter.callback(None)
