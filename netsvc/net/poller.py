"""One epoll for all direct transports, which the reactor polls as a single descriptor.

For each event of each descriptor a Twisted reactor builds a log context, checks the descriptor and calls through five functions; for a
small request that is a quarter of the whole work (docs/decisions/0011). Here it does so once for all that is ready.
"""

# The reactors of Twisted have no types, and the names are Twisted's.
# mypy: disable-error-code="no-untyped-call"
# ruff: noqa: N802

import select
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Poller"]

_log = Logger()

# On systems without epoll this module can be imported but not used.
_IN: int = getattr(select, "EPOLLIN", 1)
_OUT: int = getattr(select, "EPOLLOUT", 4)

_SLICE = 256
"""Descriptors served in one reactor turn; timers, threads and listeners get their turn in between."""

_REASONS: dict[type[Exception], Failure] = {ConnectionDone: Failure(ConnectionDone()), ConnectionLost: Failure(ConnectionLost())}
"""Made once, as in Twisted: making a Failure costs more than the rest of a disconnection."""


class Polled(Protocol):
    """A connection, as the poller sees it: Twisted's IReadWriteDescriptor that can be half-closed."""

    def fileno(self) -> int:
        """The descriptor."""

    def doRead(self) -> Any:
        """Read; an exception if the connection is over."""

    def doWrite(self) -> Any:
        """Write; an exception if the connection is over."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over."""

    def readConnectionLost(self, reason: Failure) -> None:
        """The other end sends no more."""


@implementer(IReadDescriptor)
class Poller:
    """Watches connections in place of the reactor: to them it is the reactor.

    It is in the reactor only while there is something to watch.

    :param reactor: an IReactorFDSet and IReactorTime.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._connections: dict[int, Polled] = {}
        self._events: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # IReactorFDSet, for the connections

    def addReader(self, connection: Polled) -> None:
        """See IReactorFDSet."""
        self._watch(connection, _IN, 0)

    def addWriter(self, connection: Polled) -> None:
        """See IReactorFDSet."""
        self._watch(connection, _OUT, 0)

    def removeReader(self, connection: Polled) -> None:
        """See IReactorFDSet."""
        self._watch(connection, 0, _IN)

    def removeWriter(self, connection: Polled) -> None:
        """See IReactorFDSet."""
        self._watch(connection, 0, _OUT)

    def _watch(self, connection: Polled, more: int, less: int) -> None:
        descriptor = connection.fileno()
        before = self._events.get(descriptor, 0)
        events = (before | more) & ~less
        if events == before or descriptor < 0:
            return
        if not before:
            self._epoll.register(descriptor, events)
            self._connections[descriptor] = connection
            if len(self._connections) == 1:
                self._reactor.addReader(self)
        elif events:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.unregister(descriptor)
            del self._connections[descriptor], self._events[descriptor]
            if not self._connections:
                self._reactor.removeReader(self)
            return
        self._events[descriptor] = events

    # IReadDescriptor, for the reactor

    def fileno(self) -> int:
        """The descriptor of the epoll: readable when a connection is ready."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "netsvc"

    def doRead(self) -> None:
        """Serve what is ready."""
        connections = self._connections
        for descriptor, event in self._epoll.poll(0, _SLICE):
            connection = connections.get(descriptor)
            if connection is None:
                continue  # closed by an earlier one
            try:
                if event & _IN:
                    why = connection.doRead()
                    if not why and event & _OUT:
                        why = connection.doWrite()
                        event = _OUT
                elif event & _OUT:
                    why = connection.doWrite()
                else:
                    why = self._hung_up(descriptor)
            except Exception as error:
                _log.failure("A connection failed: {connection!r}", connection=connection)
                why = error
            if why:
                self._disconnect(connection, why, bool(event & _IN))

    def _hung_up(self, descriptor: int) -> Exception:
        """Both directions are closed, or there was an error, and nothing is left to read: orderly if we were reading."""
        return CONNECTION_DONE if self._events[descriptor] & _IN else CONNECTION_LOST

    def _disconnect(self, connection: Polled, why: Exception, reading: bool) -> None:
        """As Twisted's reactors do: when the other end stops sending in order, our direction stays open."""
        reason = _REASONS.get(type(why)) or Failure(why)
        self.removeReader(connection)
        if reading and why is CONNECTION_DONE:
            _tell(connection.readConnectionLost, reason)
        else:
            self.removeWriter(connection)
            _tell(connection.connectionLost, reason)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped, so the connections end."""
        for connection in tuple(self._connections.values()):
            _tell(connection.connectionLost, reason)


def _tell(lost: Callable[[Failure], None], reason: Failure) -> None:
    # An exception out of doRead would make the reactor drop the poller, and with it everybody's connection.
    try:
        lost(reason)
    except Exception:
        _log.failure("A connection failed to end: {lost!r}", lost=lost)
