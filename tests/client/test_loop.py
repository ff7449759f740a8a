"""Tests for netsvc.client.loop."""

import asyncio
import socket
import struct
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionLost as TransportLost
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.errors import ConnectionLost
from netsvc.client.loop import LoopClock, LoopEndpoint, _options
from tests.net.sockets import Producer


class Kept(Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.reasons: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        """Twisted's hook."""
        self.reasons.append(type(reason.value))


class FakeTransport:
    """A transport of asyncio in memory; like those of uvloop it is no subclass of asyncio's."""

    def __init__(self, protocol: Any, address: tuple[Any, ...]) -> None:
        self.address = address
        self.protocol = protocol
        self.written = b""
        self.reading = True
        self.told: list[Any] = []
        self.can_write = True
        self.socket: Any = self
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        """asyncio's."""
        self.written += data

    def get_extra_info(self, name: str) -> Any:
        """asyncio's."""
        return self.socket if name == "socket" else self.address

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """A socket's."""
        self.told.append((level, option, struct.unpack("ii", value)))

    def pause_reading(self) -> None:
        """asyncio's."""
        self.reading = False

    def resume_reading(self) -> None:
        """asyncio's."""
        self.reading = True

    def is_closing(self) -> bool:
        """asyncio's."""
        return bool(self.told)

    def can_write_eof(self) -> bool:
        """asyncio's."""
        return self.can_write

    def write_eof(self) -> None:
        """asyncio's."""
        self.told.append("eof")

    def close(self) -> None:
        """asyncio's."""
        self.told.append("close")

    def abort(self) -> None:
        """asyncio's."""
        self.told.append("abort")


class FakeLoop:
    """An event loop that connects in memory, and whose time the test moves."""

    def __init__(self) -> None:
        self.real = asyncio.new_event_loop()
        self.now = 100.0
        self.address: tuple[Any, ...] = ("192.0.2.1", 80)
        self.outcome: Any = None
        self.asked: list[Any] = []
        self.transport: FakeTransport | None = None

    def create_task(self, coroutine: Any) -> Any:
        """asyncio's."""
        return self.real.create_task(coroutine)

    async def create_connection(self, factory: Any, *address: Any, **options: Any) -> Any:
        """asyncio's."""
        self.asked.append((*address, options))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if isinstance(self.outcome, asyncio.Future):
            await self.outcome
        protocol = factory()
        self.transport = FakeTransport(protocol, self.address)
        if self.outcome == "lost":
            protocol.data_received(b"early")
            protocol.resume_writing()
            protocol.connection_lost(None)
        return self.transport, protocol

    def turn(self) -> None:
        """Let the real loop do what is ready."""
        for _ in range(5):
            self.real.call_soon(self.real.stop)
            self.real.run_forever()


class EndpointCase(SynchronousTestCase):
    """Connections of a loop in memory."""

    def setUp(self) -> None:
        """A loop."""
        self.loop = FakeLoop()
        self.addCleanup(self.loop.real.close)
        self.protocol = Kept()

    def connect(self, host: str = "h", timeout: float = 5.0, protocol: Any = None) -> Any:
        """Connect; gives the Deferred."""
        endpoint = LoopEndpoint(self.loop, host, 80, timeout)  # type: ignore[arg-type]
        connecting = endpoint.connect(Factory.forProtocol(lambda: protocol or self.protocol))
        self.loop.turn()
        return connecting

    def connected(self) -> FakeTransport:
        """A connection; gives its transport of asyncio."""
        self.assertIs(self.successResultOf(self.connect()), self.protocol)
        assert self.loop.transport is not None
        return self.loop.transport


class Connections(EndpointCase):
    """Connections that are made, used and lost."""

    def test_connects(self) -> None:
        """The protocol gets its transport before any byte."""
        inner = self.connected()
        self.assertEqual(self.loop.asked, [("h", 80, {})])
        self.assertTrue(inner.reading)
        inner.protocol.data_received(b"x")
        transport: Any = self.protocol.transport
        transport.write(b"a")
        transport.writeSequence([b"b", b"c"])
        self.assertEqual((self.protocol.data, inner.written), (b"x", b"abc"))
        self.assertEqual(transport.getPeer(), IPv4Address("TCP", "192.0.2.1", 80))
        self.assertTrue(transport.getTcpNoDelay())
        self.assertFalse(transport.getTcpKeepAlive())
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)

    def test_ipv6(self) -> None:
        """Addresses of IPv6 are such."""
        self.loop.address = ("::1", 80, 0, 0)
        self.successResultOf(self.connect("::1"))
        transport: Any = self.protocol.transport
        self.assertEqual(transport.getHost(), IPv6Address("TCP", "::1", 80))

    def test_many_addresses(self) -> None:
        """With asyncio's own loops a name's addresses are tried side by side; an address has no others."""
        self.assertEqual(_options(self.loop.real, "h"), {"happy_eyeballs_delay": 0.25})
        self.assertEqual(_options(self.loop.real, "::1"), {})

    def test_fails(self) -> None:
        """What the loop says is what is told."""
        self.loop.outcome = OSError("refused")
        self.failureResultOf(self.connect(), OSError)

    def test_cancelled(self) -> None:
        """An attempt can be given up."""
        self.loop.outcome = self.loop.real.create_future()
        complaints: list[Any] = []
        self.loop.real.set_exception_handler(lambda _, context: complaints.append(context))
        connecting = self.connect()
        connecting.cancel()
        self.loop.turn()
        self.failureResultOf(connecting)
        self.assertTrue(self.loop.outcome.cancelled())
        self.assertEqual(complaints, [])

    def test_timeout(self) -> None:
        """An attempt has a deadline."""
        self.loop.outcome = self.loop.real.create_future()
        self.failureResultOf(self.connect(timeout=0.0), ConnectionLost)

    def test_lost_at_once(self) -> None:
        """A connection that is over before anybody could have it is none."""
        self.loop.outcome = "lost"
        self.failureResultOf(self.connect(), ConnectionLost)
        self.assertEqual(self.protocol.reasons, [])

    def test_not_wanted(self) -> None:
        """A factory that wants no protocol gets no connection."""

        class Unwilling(Factory):
            def buildProtocol(self, addr: Any) -> None:
                """Twisted's hook."""

        connecting = LoopEndpoint(self.loop, "h", 80, 5.0).connect(Unwilling())  # type: ignore[arg-type]
        self.loop.turn()
        self.failureResultOf(connecting, ConnectionLost)
        assert self.loop.transport is not None
        self.assertEqual(self.loop.transport.told[-1], "abort")

    def test_ends(self) -> None:
        """Why it ended is told as Twisted says it; afterwards nothing is written."""
        for act, error, expected in (
            (lambda transport: None, None, ConnectionDone),
            (lambda transport: None, OSError("reset"), TransportLost),
            (lambda transport: transport.abortConnection(), None, ConnectionAborted),
        ):
            self.protocol = Kept()
            inner = self.connected()
            transport: Any = self.protocol.transport
            act(transport)
            self.assertFalse(inner.protocol.eof_received())
            inner.protocol.connection_lost(error)
            self.assertEqual(self.protocol.reasons, [expected])
            transport.write(b"x")
            transport.pauseProducing()
            transport.resumeProducing()
            self.assertEqual((inner.written, inner.reading), (b"", True))

    def test_aborts(self) -> None:
        """What is aborted is reset, so that the other end does not take it for one who waits for an answer."""

        def gone(*_: Any) -> None:
            raise OSError("bad file descriptor")

        inner = self.connected()
        transport: Any = self.protocol.transport
        transport.abortConnection()
        self.assertEqual(inner.told, [(socket.SOL_SOCKET, socket.SO_LINGER, (1, 0)), "abort"])
        for none in (None, type("Closed", (), {"setsockopt": gone})()):
            inner = self.connected()
            inner.socket = none
            transport = self.protocol.transport
            transport.abortConnection()
            self.assertEqual(inner.told, ["abort"])

    def test_closing(self) -> None:
        """Closing lets go of what is written, not of what is not; half of it can be closed where that is possible."""
        inner = self.connected()
        transport: Any = self.protocol.transport
        transport.loseWriteConnection()
        inner.can_write = False
        transport.loseWriteConnection()
        transport.stopProducing()
        transport.write(b"x")
        transport.resumeProducing()
        self.assertEqual((inner.told, inner.written), (["eof", "close"], b""))

    def test_reading_can_be_paused(self) -> None:
        """And resumed."""
        inner = self.connected()
        transport: Any = self.protocol.transport
        transport.pauseProducing()
        self.assertFalse(inner.reading)
        transport.resumeProducing()
        self.assertTrue(inner.reading)


class Producers(EndpointCase):
    """Those who write much are held back by asyncio's flow control."""

    def setUp(self) -> None:
        """A connection."""
        super().setUp()
        self.inner = self.connected()
        self.producer = Producer()
        self.transport: Any = self.protocol.transport

    def fill(self, full: bool) -> None:
        """asyncio says so."""
        protocol: Any = self.inner.protocol
        if full:
            protocol.pause_writing()
        else:
            protocol.resume_writing()

    def test_push(self) -> None:
        """One that pushes is paused and resumed, at once if it comes when it is full."""
        self.fill(True)
        self.fill(False)
        self.fill(True)
        self.transport.registerProducer(self.producer, True)
        self.fill(False)
        self.fill(True)
        self.assertEqual(self.producer.told, ["pause", "resume", "pause"])

    def test_pull(self) -> None:
        """One that is pulled is asked for more when there is room."""
        self.transport.registerProducer(self.producer, False)
        self.fill(True)
        self.fill(False)
        self.assertEqual(self.producer.told, ["resume", "resume"])

    def test_close_waits(self) -> None:
        """The connection is closed when the producer is done."""
        self.transport.registerProducer(self.producer, True)
        self.transport.loseConnection()
        self.assertEqual(self.inner.told, [])
        self.transport.unregisterProducer()
        self.assertEqual(self.inner.told, ["close"])

    def test_lost(self) -> None:
        """A producer is stopped with the connection, and one that comes later at once."""
        self.transport.registerProducer(self.producer, True)
        self.inner.protocol.connection_lost(None)
        self.transport.registerProducer(self.producer, True)
        self.transport.unregisterProducer()
        self.assertEqual(self.producer.told, ["stop", "stop"])


class Handle:
    """A call that a loop will make."""

    def __init__(self, when: float, function: Any) -> None:
        self._when = when
        self.function = function
        self.cancelled = False

    def when(self) -> float:
        """asyncio's."""
        return self._when

    def cancel(self) -> None:
        """asyncio's."""
        self.cancelled = True


class ClockTests(SynchronousTestCase):
    """Time."""

    def setUp(self) -> None:
        """A loop that keeps its calls."""
        self.calls: list[Handle] = []
        self.clock = LoopClock(self)  # type: ignore[arg-type]

    def time(self) -> float:
        """asyncio's."""
        return 100.0

    def call_later(self, delay: float, function: Any) -> Handle:
        """asyncio's."""
        self.calls.append(Handle(100.0 + delay, function))
        return self.calls[-1]

    def test_call(self) -> None:
        """A call is made with its arguments, once."""
        made: list[Any] = []
        timer = self.clock.callLater(2, lambda *args, **kwargs: made.append((args, kwargs)), 1, x=2)
        self.assertEqual((self.clock.seconds(), timer.getTime(), timer.active()), (100.0, 102.0, True))
        self.calls[0].function()
        self.assertEqual((made, timer.active()), ([((1,), {"x": 2})], False))
        self.assertRaises(AlreadyCalled, timer.cancel)
        self.assertRaises(AlreadyCalled, timer.reset, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """It can be cancelled, once."""
        timer = self.clock.callLater(2, lambda: None)
        timer.cancel()
        self.assertTrue(self.calls[0].cancelled)
        self.assertRaises(AlreadyCancelled, timer.cancel)

    def test_moved(self) -> None:
        """It can be moved, from when it is or from now."""
        timer = self.clock.callLater(2, lambda: None)
        timer.delay(3)
        self.assertEqual((timer.getTime(), self.calls[0].cancelled), (105.0, True))
        timer.reset(1)
        self.assertEqual(timer.getTime(), 101.0)
