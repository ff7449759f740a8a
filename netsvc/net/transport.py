"""Transports that send at once when nothing is queued, and never copy what many connections share.

Twisted's own stream transport costs two ``epoll_ctl`` calls and a reactor turn for each small write. Here a write goes to the kernel
right away if nothing waits before it; what the kernel does not take waits as a reference into the caller's bytes.
"""

# The transports of Twisted have no types.
# mypy: disable-error-code="no-untyped-call"
# ruff: noqa: N802

from collections.abc import Callable, Iterable
from contextlib import suppress
from errno import ENOBUFS, ENOTCONN
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from typing import Any, Protocol, cast

from twisted.internet import abstract, main, tcp
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.python.failure import Failure

from netsvc.net.backlog import Backlog
from netsvc.net.outbound import Outbound

__all__ = ["HIGH_WATER", "DirectServer", "DirectTransport", "DirectUnixServer", "TransportOwner", "address_text"]

HIGH_WATER = 16 * 1024
"""Bytes that may wait in a transport before its producer is paused (docs/architecture.md)."""

READ_SIZE = 16 * 1024
"""The most that one read takes from the kernel, and so the most work that one client can get before the others have their turn: some hundred small
requests. (With four times that, 150 clients that pipeline 3,000 requests each made another one wait for 4.5 s instead of 1.1 s.)"""

class TransportOwner(Protocol):
    """Who is told about the state of a transport's queue: the one protocol that uses it."""

    def transport_full(self) -> None:
        """Bytes are waiting. The transport keeps whatever else is written; the owner makes sure that this is bounded."""

    def transport_drained(self) -> None:
        """Nothing is waiting any more."""

    def transport_shed(self) -> None:
        """Too much is waiting for the client: disconnect it, with last words after ``shorten`` or by an abort."""


class DirectTransport(Protocol):
    """What the channel and a WebSocket connection use of a transport; `netsvc.net.buffered_transport.direct` gives it for any transport.

    :ivar full: bytes are waiting here, or no more can be sent: ``raw_send`` must not be called now.
    :ivar owner: is told of full and drained.
    """

    full: bool
    owner: TransportOwner | None

    @property
    def raw_send(self) -> Callable[[bytes], int]:
        """Send what the kernel takes: the count, or BlockingIOError (none), or another OSError (call ``rest(data, 0)``). See ISink."""

    @property
    def peer(self) -> str:
        """The IP address of the other end (IPv4 as such when it came in through an IPv6 listener), ``unix`` on a UNIX socket."""

    @property
    def secure(self) -> bool:
        """TLS is spoken here."""

    def write(self, data: bytes) -> None:
        """Send at once what the kernel accepts, and keep the rest, in order."""

    def cork(self) -> None:
        """Gather what is written from now on, to be sent as one piece by `uncork` or Outbound.uncork, or sooner if it is much.

        For answers that are given together: a send costs more than most answers. Whoever corks sees to it that one of these is called before the
        reactor turns; whoever uses ``raw_send`` calls the latter first.
        """

    def uncork(self) -> None:
        """Send what was gathered."""

    def rest(self, data: bytes, offset: int) -> None:
        """Take over data[offset:] without a copy after ``raw_send`` took less than all."""

    def stalled(self) -> bool:
        """Bytes are waiting, and the other end has accepted none since this was last asked."""

    def shorten(self) -> bool:
        """Drop everything waiting except the rest of the piece under way, so that something may follow it; False if that rest is itself too long."""

    def hand_over(self, protocol: Any) -> None:
        """Let `protocol` (an IProtocol and a TransportOwner) receive and own from now on. Its ``makeConnection`` is not called."""

    def pause_reading(self) -> None:
        """Stop reading from the other end for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def lose_write_connection(self) -> None:
        """Send what is waiting, then tell the other end that no more comes, but keep reading (over TLS: its closing alert)."""

    def loseConnection(self) -> None:
        """Send what is waiting, then close."""

    def abortConnection(self) -> None:
        """Close now; drop what is waiting. ``connectionLost`` comes in a later reactor turn."""


def _send_nowhere(data: bytes) -> int:
    raise OSError(ENOTCONN, "the connection is gone")


def address_text(host: str) -> str:
    """An IP address as text; an IPv4 address that came in through an IPv6 listener as IPv4 (RFC 4291 section 2.5.5.2)."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


class DirectServer(tcp.Server):
    """An accepted TCP connection that sends at once. It provides DirectTransport and everything that tcp.Server does, except startTLS.

    Twisted's ``dataBuffer`` and ``_tempDataBuffer`` are not used; whatever reads them in the base classes is overridden here.
    The arguments are tcp.Server's.
    """

    __slots__ = ("_backlog", "_corked", "client", "connected", "full", "owner", "protocol", "server", "socket")

    bufferSize = HIGH_WATER  # noqa: N815  # the base class' name
    secure = False

    def __init__(self, sock: socket, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any) -> None:
        # The base's __init__ is not called: it stores for each connection what can be computed.
        self.socket = sock
        self.protocol = protocol
        self.client: Any = client
        self.server: Any = server
        self.owner: TransportOwner | None = None
        self.full = False
        self._backlog: Backlog | None = None
        self._corked: bytearray | None = None  # what is gathered, None if writes go out at once
        self.connected = 1
        sock.setblocking(False)
        self._tune(sock)
        self.startReading()

    def _tune(self, sock: socket) -> None:
        with suppress(OSError):  # the peer may be gone already; the first read says so
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

    @property
    def reactor(self) -> Any:  # type: ignore[override]  # an attribute per connection in the base
        """What watches the descriptor: the poller of the port, else its reactor."""
        return self.server.poller or self.server.reactor

    @property
    def _outbound(self) -> Outbound | None:
        outbound: Outbound | None = self.server.outbound
        return outbound

    @property
    def peer(self) -> str:
        """See DirectTransport."""
        return address_text(self.client[0])

    def getPeer(self) -> Any:
        """See ITransport."""
        return _internet_address(self.client)

    def getHost(self) -> Any:
        """See ITransport."""
        return _internet_address(self.socket.getsockname())

    def fileno(self) -> int:
        """The descriptor, -1 once it is closed."""
        try:
            return self.socket.fileno()
        except AttributeError:
            return -1

    def logPrefix(self) -> str:
        """One prefix for all: the reactor asks for it at each event."""
        return "netsvc"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.client!r}>"

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """Not here: TLS runs on top (TLSMemoryBIOFactory) from the first byte or not at all."""
        raise NotImplementedError("a DirectServer cannot switch to TLS")

    # Reading

    def doRead(self) -> Any:
        """Read once and hand it to the protocol."""
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def pause_reading(self) -> None:
        """See DirectTransport."""
        self.stopReading()

    def resume_reading(self) -> None:
        """See DirectTransport."""
        self.resumeProducing()

    def hand_over(self, protocol: Any) -> None:
        """See DirectTransport."""
        self.protocol = protocol
        self.owner = protocol

    # Writing

    @property
    def raw_send(self) -> Callable[[bytes], int]:
        """See DirectTransport."""
        try:
            return self.socket.send
        except AttributeError:
            return _send_nowhere

    def write(self, data: bytes) -> None:
        """See DirectTransport."""
        if self._corked is not None:
            if len(self._corked) + len(data) <= HIGH_WATER:
                self._corked += data
                return
            self.uncork()
        if self.full:
            self.rest(data, 0)
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = 0  # doWrite meets the error again and reports it; here connectionLost would come in the middle of the caller
        if sent < len(data):
            self.rest(data, sent)
        elif self.producer is not None and not self.streamingProducer:
            self.startWriting()  # a pull producer is asked for more from doWrite

    def cork(self) -> None:
        """See DirectTransport. If bytes wait already, the rest is sent together with them anyway."""
        if self._corked is None and not self.full:
            outbound = self._outbound
            if outbound is not None:
                self._corked = bytearray()
                outbound.corked[self] = None

    def uncork(self) -> None:
        """See DirectTransport."""
        if self._corked is not None:
            data, self._corked = self._corked, None
            self.server.outbound.corked.pop(self, None)
            if data:
                self.write(bytes(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See ITransport."""
        self.write(b"".join(iovec))

    def rest(self, data: bytes, offset: int) -> None:
        """See DirectTransport."""
        if not self.connected or self._writeDisconnected or offset >= len(data):
            return
        if type(data) is not bytes:
            data = bytes(data)  # kept by reference, so it must not change
        backlog = self._backlog
        if backlog is None:
            outbound = self._outbound
            backlog = self._backlog = Backlog(outbound)
            backlog.add(data, offset)
            if outbound is not None:
                outbound.moved(self)
            self.full = True
            self.startWriting()
            if self.owner is not None:
                self.owner.transport_full()
        else:
            backlog.add(data, offset)
        self._maybePauseProducer()

    def stalled(self) -> bool:
        """See DirectTransport."""
        backlog = self._backlog
        if backlog is None:
            return False
        moved, backlog.moved = backlog.moved, False
        return not moved

    @property
    def waiting(self) -> int:
        """See WaitingReader."""
        return 0 if self._backlog is None else self._backlog.size

    def shorten(self) -> bool:
        """See DirectTransport."""
        backlog = self._backlog
        if backlog is None or (backlog.offset and len(backlog.chunks[0]) - backlog.offset > HIGH_WATER):
            return False
        backlog.shorten()
        return True

    def shed(self) -> None:
        """See WaitingReader. Without an owner there is something in between, such as TLS, that keeps no last words."""
        if self.owner is not None:
            self.owner.transport_shed()
        else:
            self.abortConnection()

    def abortConnection(self) -> None:
        """See DirectTransport."""
        self._let_go()
        tcp.Server.abortConnection(self)

    def _let_go(self) -> None:
        """Drop everything kept for the other end."""
        if self._corked is not None:
            self._corked = None
            self.server.outbound.corked.pop(self, None)
        backlog, self._backlog = self._backlog, None
        if backlog is not None:
            backlog.clear()
            if self._outbound is not None:
                self._outbound.gone(self)

    def _isSendBufferFull(self) -> bool:
        return self._backlog is not None and self._backlog.size > HIGH_WATER

    def doWrite(self) -> Any:
        """Send as much of what is waiting as the kernel accepts; when all is sent, continue as the base class does: producer, close, half-close."""
        backlog = self._backlog
        if backlog is not None:
            outbound = self._outbound
            try:
                if not backlog.send(self.socket):
                    if outbound is not None:
                        outbound.moved(self)
                    return None
            except BlockingIOError:
                return None
            except OSError as error:
                return None if error.errno == ENOBUFS else main.CONNECTION_LOST
            self._backlog = None
            self.full = False
            if outbound is not None:
                outbound.gone(self)
        self.stopWriting()
        if self.producer is not None and (not self.streamingProducer or self.producerPaused):
            self.producerPaused = False
            cast(IPushProducer, self.producer).resumeProducing()
        elif self.disconnecting:
            return self._postLoseConnection()
        elif self._writeDisconnecting and not self._writeDisconnected:
            self._writeDisconnected = True
            self.full = True
            return self._closeWriteConnection()
        if backlog is not None and self.owner is not None:
            self.owner.transport_drained()
        return None

    def lose_write_connection(self) -> None:
        """See DirectTransport."""
        self.loseWriteConnection()

    def connectionLost(self, reason: Failure) -> None:
        """See IReadWriteDescriptor. Called again it does nothing."""
        if not hasattr(self, "socket"):
            return
        abstract.FileDescriptor.connectionLost(self, reason)
        self._closeSocket(not reason.check(ConnectionAborted))
        protocol = self.protocol
        self.full = True
        self._let_go()
        self.owner = None
        del self.protocol
        del self.socket
        protocol.connectionLost(reason)


def _internet_address(name: Any) -> IAddress:
    return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *name)


class DirectUnixServer(DirectServer):
    """The same on a UNIX socket. Descriptors cannot be passed over it."""

    __slots__ = ()

    peer = "unix"

    def _tune(self, sock: socket) -> None:
        pass  # no Nagle here

    def getPeer(self) -> Any:
        """See ITransport."""
        return UNIXAddress(self.client or None)

    def getHost(self) -> Any:
        """See ITransport."""
        return UNIXAddress(self.socket.getsockname())
