"""WebSocket connections on transports in memory, for the tests of them."""

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.websocket import WebSocketConnection
from netsvc.http.websocket_limits import WebSocketLimits
from netsvc.interfaces import IWebSocketApplication
from netsvc.net.buffered_transport import BufferedTransport
from netsvc.net.wheel import TimingWheel
from netsvc.wire.deflate import Agreement
from netsvc.wire.websocket import CLOSE
from tests.wire.test_websocket import client_frame

__all__ = ["LIMITS", "ConnectionCase", "Recorder", "Wire", "client_close"]

LIMITS = WebSocketLimits(
    max_message=1000, ping_interval=30.0, pong_timeout=10.0, close_timeout=5.0, message_timeout=60.0, overhead=100.0, overhead_burst=500
)


def client_close(code: int = 1000, reason: bytes = b"") -> bytes:
    """A client's Close."""
    return client_frame(CLOSE, code.to_bytes(2, "big") + reason)


class Wire(BufferedTransport):
    """The transport of these tests: what was sent, and the way it ended.

    :ivar moving: whether the other end takes bytes while some wait.
    """

    def __init__(self) -> None:
        # Reading may go on after the beginning of an end; a real transport allows that.
        self.inner: StringTransport
        super().__init__(StringTransport(lenient=True))
        self.moving = False
        self.half_closed = False

    def stalled(self) -> bool:
        """See DirectTransport."""
        return self.full and not self.moving

    def lose_write_connection(self) -> None:
        """See DirectTransport."""
        self.half_closed = True

    def sent(self) -> bytes:
        """What was sent since the last time this was asked."""
        data = self.inner.value()
        self.inner.clear()
        return data

    @property
    def ended(self) -> str:
        """How the server ended the connection, empty if it did not."""
        if self.inner.disconnected:
            return "aborted"
        if self.inner.disconnecting:
            return "closed"
        return "half closed" if self.half_closed else ""

    @property
    def reading(self) -> bool:
        """Whether the server reads from the client."""
        return self.inner.producerState == "producing"


@implementer(IWebSocketApplication)
class Recorder:
    """An application that notes what it is told; `on_text` does more where a test asks for it."""

    def __init__(self) -> None:
        self.connection: WebSocketConnection
        self.heard: list[str | bytes] = []
        self.ends: list[tuple[int, str]] = []
        self.returns: list[float] = []
        self.busy = False
        self.close: Callable[[], None] = lambda: None
        self.on_text: Callable[[str], object] = lambda message: None

    def connected(self, connection: WebSocketConnection) -> None:
        """See IWebSocketApplication."""
        self.connection = connection

    def draining(self, return_after: float, close: Callable[[], None]) -> None:
        """See IWebSocketApplication."""
        self.returns.append(return_after)
        if self.busy:
            self.close = close
        else:
            close()

    def text(self, message: str) -> None:
        """See IWebSocketApplication."""
        self.heard.append(message)
        self.on_text(message)

    def binary(self, data: bytes) -> None:
        """See IWebSocketApplication."""
        self.heard.append(data)

    def disconnected(self, code: int, reason: str) -> None:
        """See IWebSocketApplication."""
        self.ends.append((code, reason))


class ConnectionCase(SynchronousTestCase):
    """One connection, begun."""

    limits = LIMITS

    def setUp(self) -> None:
        """Open it."""
        self.clock = Clock()
        self.wheel = TimingWheel(self.clock)
        self.registry = OpenWebSockets()
        self.application, self.wire, self.connection = self.open()

    def open(self, application: Any = None, leftover: bytes = b"", agreement: Agreement | None = None) -> tuple[Recorder, Wire, WebSocketConnection]:
        """Begin a connection."""
        application = application or Recorder()
        wire = Wire()
        connection = WebSocketConnection(wire, application, self.limits, self.wheel, self.registry, agreement)
        connection.begin(leftover)
        return application, wire, connection

    def receive(self, *frames: bytes) -> None:
        """The client sends frames, in one piece."""
        self.connection.dataReceived(b"".join(frames))

    def lose(self) -> None:
        """The transport is gone."""
        self.connection.connectionLost(Failure(ConnectionDone()))

    def advance(self, seconds: float) -> None:
        """Let time pass, and the two ticks that the wheel may be late."""
        self.clock.pump([1.0] * int(seconds + 2))
