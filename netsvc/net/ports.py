"""Listeners whose connections are direct transports, for any endpoint string."""

# The ports of Twisted have no types, and the names are Twisted's.
# mypy: disable-error-code="no-untyped-call"
# ruff: noqa: N802, N803

import os
import select
import stat
from contextlib import suppress
from socket import AF_UNIX, socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides, providedBy

from netsvc.net.outbound import Outbound
from netsvc.net.poller import Poller
from netsvc.net.transport import DirectServer, DirectUnixServer

__all__ = ["DirectPort", "DirectReactor", "DirectUnixPort"]

LISTEN_BACKLOG = 4096
"""Connections that may wait to be accepted; Twisted's 50 makes a burst of reconnecting clients wait for their SYN to be sent again."""


ACCEPTS = 64
"""Connections accepted in one reactor turn. Twisted's number grows with each turn that finds more, so that in a storm the
clients already connected would wait for all newcomers."""

_accepts: Any = property(lambda port: ACCEPTS, lambda port, number: None, doc="See IListeningPort's implementation in Twisted: it does not grow.")


class DirectPort(tcp.Port):
    """A listening TCP socket whose connections are DirectServers.

    :ivar poller: watches the connections; None leaves them to the reactor.
    :ivar outbound: bounds the bytes waiting in them; None leaves it to each.
    """

    transport = DirectServer
    numberAccepts = _accepts  # noqa: N815 - Twisted's name
    poller: Poller | None = None
    outbound: Outbound | None = None


class DirectUnixPort(unix.Port):
    """A listening UNIX socket whose connections are DirectUnixServers. See DirectPort."""

    numberAccepts = _accepts  # noqa: N815 - Twisted's name
    poller: Poller | None = None
    outbound: Outbound | None = None
    transport = DirectUnixServer  # type: ignore[assignment]  # unix.Server also passes descriptors


class DirectReactor:
    """A reactor whose stream listeners are direct ones; everything else is the given reactor's.

    It is for ``serverFromString``, so that any endpoint string (``tcp:``, ``tcp6:``, ``unix:``, ``systemd:``, ``ssl:``, ``tls:``) makes
    direct transports, which share one poller where there is epoll.

    :param reactor: the reactor to listen with.
    :param outbound: bounds the bytes waiting in the transports.
    """

    def __init__(self, reactor: Any, outbound: Outbound | None = None) -> None:
        self._reactor = reactor
        self._outbound = outbound
        self._poller = Poller(reactor) if hasattr(select, "epoll") else None
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> IListeningPort:
        """See IReactorTCP."""
        return self._listening(DirectPort(port, factory, max(backlog, LISTEN_BACKLOG), interface, self._reactor))

    def listenUNIX(self, address: Any, factory: IProtocolFactory, backlog: int = 50, mode: int = 0o666, wantPID: Any = 0) -> IListeningPort:
        """See IReactorUNIX."""
        if wantPID:
            _remove_abandoned(os.fsencode(address))
        return self._listening(DirectUnixPort(address, factory, max(backlog, LISTEN_BACKLOG), mode, self._reactor, wantPID))

    def listenSSL(self, port: int, factory: IProtocolFactory, contextFactory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """See IReactorSSL."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory, self._reactor), backlog, interface)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> IListeningPort:
        """See IReactorSocket. The socket's own family counts: with another one the addresses of all clients would be misread."""
        with socket(fileno=os.dup(fileDescriptor)) as adopted:
            family = adopted.family
        if family == AF_UNIX:
            return self._listening(DirectUnixPort._fromListeningDescriptor(self._reactor, fileDescriptor, factory))
        return self._listening(DirectPort._fromListeningDescriptor(self._reactor, fileDescriptor, family, factory))

    def _listening(self, port: Any) -> IListeningPort:
        port.poller = self._poller
        port.outbound = self._outbound
        port.startListening()
        listening: IListeningPort = port
        return listening


def _remove_abandoned(path: bytes) -> None:
    """Remove a UNIX socket and Twisted's lock on it, which a process that was killed has left, if nobody listens there any more.

    Twisted takes a lock to be held as long as there is a process of the number in it. After a power cut or in a container that may be
    another process, even this one, and then the daemon would never start again.
    """
    lock = path + b".lock"
    if not os.path.islink(lock):
        return
    with socket(AF_UNIX) as probe:
        probe.setblocking(False)  # a listener that is busy is one all the same
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        except OSError:
            return
        else:
            return
    with suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    with suppress(OSError):
        os.unlink(lock)
