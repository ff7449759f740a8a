"""An asyncio event loop with the interface of a reactor: time, and TCP connections for Twisted's protocols."""

# Twisted's names are in camelCase.
# ruff: noqa: N802

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.client import errors

__all__ = ["LoopClock", "LoopEndpoint"]

_AT_ONCE = struct.pack("ii", 1, 0)
"""Linger for no time (socket(7)): closing then resets the connection."""


@implementer(IDelayedCall)
class _Timer:
    """A call that a loop will make."""

    def __init__(self, clock: "LoopClock", delay: float, function: Callable[[], Any]) -> None:
        self._clock = clock
        self._function = function
        self._over: type[Exception] | None = None
        self._set(delay)

    def _set(self, delay: float) -> None:
        self._handle = self._clock.loop.call_later(delay, self._run)

    def _run(self) -> None:
        self._over = AlreadyCalled
        self._function()

    def getTime(self) -> float:
        """When it will be made."""
        return self._handle.when()

    def cancel(self) -> None:
        """Do not make it."""
        if self._over is not None:
            raise self._over
        self._over = AlreadyCancelled
        self._handle.cancel()

    def delay(self, secondsLater: float) -> None:  # noqa: N803 - Twisted's name
        """Make it later by this many seconds."""
        self._again(self.getTime() + secondsLater - self._clock.seconds())

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803 - Twisted's name
        """Make it this many seconds from now."""
        self._again(secondsFromNow)

    def _again(self, delay: float) -> None:
        if self._over is not None:
            raise self._over
        self._handle.cancel()
        self._set(delay)

    def active(self) -> bool:
        """Whether it will be made."""
        return self._over is None


@implementer(IReactorTime)
class LoopClock:
    """The time of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def seconds(self) -> float:
        """Monotonic."""
        return self.loop.time()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """Call a function after so many seconds."""
        return _Timer(self, delay, lambda: callable(*args, **kwargs))

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Unknown: a loop does not tell."""
        return []


@implementer(IStreamClientEndpoint)
class LoopEndpoint:
    """Where an event loop can connect to. asyncio resolves the name and tries its addresses in turn.

    :param timeout: in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, timeout: float) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._timeout = timeout

    def connect(self, factory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect a protocol; fails with an OSError."""
        task = self._loop.create_task(self._connect(factory))

        def done(task: "asyncio.Task[IProtocol]") -> None:
            if connecting.called:
                return  # cancelled, which says so itself
            if task.cancelled():
                connecting.errback(CancelledError())
            elif (error := task.exception()) is not None:
                connecting.errback(error)
            else:
                connecting.callback(task.result())

        def cancel(_: object) -> None:
            task.cancel()

        connecting: Deferred[IProtocol] = Deferred(cancel)
        task.add_done_callback(done)
        return connecting

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        try:
            async with asyncio.timeout(self._timeout):
                _, bridge = await self._loop.create_connection(_Bridge, self._host, self._port, **_options(self._loop, self._host))
        except TimeoutError:
            raise errors.ConnectionLost(f"no connection to {self._host} within {self._timeout:g} s") from None
        return bridge.begin(factory)


def _options(loop: asyncio.AbstractEventLoop, host: str) -> dict[str, Any]:
    """Try a name's further addresses before the first one has timed out (RFC 8305), on loops that can; uvloop cannot."""
    return {"happy_eyeballs_delay": 0.25} if isinstance(loop, asyncio.BaseEventLoop) and ":" not in host else {}


class _Bridge(asyncio.Protocol):
    """asyncio's side of a connection: tells a Twisted protocol what happens."""

    def __init__(self) -> None:
        self._transport: _Transport | None = None
        self._protocol: IProtocol | None = None

    def begin(self, factory: IProtocolFactory) -> IProtocol:
        """Give the connection to the factory's protocol."""
        transport = self._transport
        assert transport is not None
        protocol = factory.buildProtocol(transport.getPeer())
        if protocol is None or transport.lost is not None:
            transport.abortConnection()
            raise errors.ConnectionLost("the connection was closed at once")
        self._protocol = protocol
        protocol.makeConnection(transport)
        transport.inner.resume_reading()
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's hook."""
        # Not checked: those of uvloop are not a subclass.
        inner = cast(asyncio.Transport, transport)
        inner.pause_reading()  # until there is a protocol
        self._transport = _Transport(inner)

    def data_received(self, data: bytes) -> None:
        """asyncio's hook."""
        if self._protocol is not None:
            self._protocol.dataReceived(data)

    def eof_received(self) -> bool:
        """asyncio's hook: a half-closed connection is closed."""
        return False

    def pause_writing(self) -> None:
        """asyncio's hook."""
        if self._transport is not None:
            self._transport.fill(True)

    def resume_writing(self) -> None:
        """asyncio's hook."""
        if self._transport is not None:
            self._transport.fill(False)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's hook."""
        assert self._transport is not None
        self._transport.end(error)
        if self._protocol is not None and self._transport.lost is not None:
            self._protocol.connectionLost(self._transport.lost)


@implementer(ITCPTransport)
class _Transport:
    """Twisted's side of a connection."""

    disconnecting = False

    def __init__(self, inner: asyncio.Transport) -> None:
        self.inner = inner
        self.lost: Failure | None = None
        self._producer: Any = None
        self._streaming = False
        self._full = False
        self._aborted = False

    def end(self, error: Exception | None) -> None:
        """The connection is over."""
        reason = ConnectionAborted() if self._aborted else ConnectionDone() if error is None else ConnectionLost(str(error))
        self.lost = Failure(reason)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    def fill(self, full: bool) -> None:
        """Whether more is waiting to be written than should."""
        self._full = full
        if self._producer is not None and self._streaming:
            if full:
                self._producer.pauseProducing()
            else:
                self._producer.resumeProducing()
        elif self._producer is not None and not full:
            self._producer.resumeProducing()

    # ITransport, ITCPTransport

    def write(self, data: bytes) -> None:
        """See ITransport."""
        if self.lost is None and not self.disconnecting:
            self.inner.write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See ITransport."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """See ITransport."""
        self.disconnecting = True
        if self._producer is None:
            self.inner.close()

    def loseWriteConnection(self) -> None:
        """See ITCPTransport."""
        if self.inner.can_write_eof() and not self.disconnecting:
            self.inner.write_eof()

    def abortConnection(self) -> None:
        """See ITCPTransport."""
        self._aborted = True
        self.disconnecting = True
        # asyncio would only close it. To a server, that looks like a client that has stopped sending and waits for its answers.
        connection = self.inner.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # it is over already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.inner.abort()

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See ITransport."""
        return _address(self.inner.get_extra_info("peername"))

    def getHost(self) -> IPv4Address | IPv6Address:
        """See ITransport."""
        return _address(self.inner.get_extra_info("sockname"))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ITCPTransport: asyncio has seen to it."""

    def getTcpNoDelay(self) -> bool:
        """See ITCPTransport."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ITCPTransport: pings are better."""

    def getTcpKeepAlive(self) -> bool:
        """See ITCPTransport."""
        return False

    # IPushProducer

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if self.lost is None:
            self.inner.pause_reading()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        if self.lost is None and not self.inner.is_closing():
            self.inner.resume_reading()

    def stopProducing(self) -> None:
        """See IProducer."""
        self.loseConnection()

    # IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        if self.lost is not None:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()
        elif self._full:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._producer = None
        if self.disconnecting:
            self.inner.close()


def _address(name: Any) -> IPv4Address | IPv6Address:
    """A socket's name as a Twisted address."""
    host, port = (name or ("", 0))[:2]
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
