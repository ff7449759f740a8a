"""One WebSocket on a transport, from the end of its handshake to its own end."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.http.websocket_limits import WebSocketLimits
from netsvc.interfaces import ISink, ISinkWatcher, IWebSocketApplication
from netsvc.net.transport import DirectTransport
from netsvc.net.wheel import TimingWheel
from netsvc.wire.deflate import Agreement, Deflater, InflatingReader
from netsvc.wire.websocket import BINARY, CLOSE, FAIL, PING, PONG, TEXT, CloseReason, FrameReader, close_frame, frame, text_frame

__all__ = ["WebSocketConnection", "WebSocketRegister"]

_log = Logger()

# The states of a connection, in order. It never goes back.
_OPEN = 0
_CLOSING = 1  # our Close is sent, the client's is expected
_ENDING = 2  # nothing is read or sent any more; the transport must end by the deadline
_LOST = 3

# What a quiet connection was asked.
_NOTHING = 0
_PONG = 1  # a ping was sent
_PROGRESS = 2  # bytes are waiting, so a ping could not arrive: whether the client reads any is watched

_PING_FRAME = frame(PING, b"")


@implementer(IWebSocketApplication)
class _Nobody:
    """The application of a connection that is over."""

    def connected(self, connection: Any) -> None:
        """Nothing answers on it."""

    def draining(self, return_after: float, close: Callable[[], None]) -> None:
        """The real application has closed."""

    def text(self, message: str) -> None:
        """What a client sends after the end is not read (RFC 6455 section 5.5.1)."""

    def binary(self, data: bytes) -> None:
        """Nor is this."""

    def disconnected(self, code: int, reason: str) -> None:
        """The real application was told already."""


_NOBODY = _Nobody()


@implementer(ISink)
class WebSocketConnection:
    """The server's end of one WebSocket: protocol and owner of its transport, and a sink for the fan-out of rooms.

    The application is told `disconnected` as soon as the connection begins to close from either side: from then on nothing can be sent and
    nothing is read. The transport may live on until the closing handshake is over, at most for `close_timeout`. An exception from the application
    is logged and closes with 1011.

    :param transport: as `netsvc.net.transport.direct` gives it.
    :param application: what runs on it.
    :param limits: its limits.
    :param wheel: times pings and the closing handshake.
    :param registry: where it is listed from `begin` until the transport is gone.
    :param agreement: about compression, None for none.
    :ivar gathers: what is sent while messages that came together are delivered goes out in one piece.
    """

    __slots__ = (
        "_application",
        "_asked",
        "_deflater",
        "_delivering",
        "_heard",
        "_limits",
        "_overhead_until",
        "_paused",
        "_pong",
        "_reader",
        "_registry",
        "_state",
        "_transport",
        "_waiting",
        "_watchers",
        "_wheel",
        "gathers",
        "wheel_slot",
    )

    def __init__(
        self,
        transport: DirectTransport,
        application: IWebSocketApplication,
        limits: WebSocketLimits,
        wheel: TimingWheel,
        registry: "WebSocketRegister",
        agreement: Agreement | None = None,
    ) -> None:
        self._transport = transport
        self._application = application
        self._limits = limits
        self._wheel = wheel
        self._registry = registry
        self._deflater: Deflater | None
        if agreement is None:
            self._reader, self._deflater = FrameReader(limits.max_message, limits.overhead_burst), None
        else:
            self._deflater = agreement.deflater
            self._reader = InflatingReader(limits.max_message, agreement.window, limits.overhead_burst)
        self._overhead_until = 0.0  # when all overhead so far would have arrived at the allowed rate, in seconds of the wheel
        self._state = _OPEN
        self._asked = _NOTHING
        self._heard = False
        self._paused = False
        self._delivering = False
        self._waiting: Sequence[tuple[int, Any]] = ()  # read, not delivered
        self._pong: bytes | None = None  # the payload of the newest unanswered ping
        self._watchers: ISinkWatcher | dict[ISinkWatcher, None] | None = None  # most connections have one or none
        self.wheel_slot: int | None = None
        self.gathers = True

    def begin(self, leftover: bytes = b"") -> None:
        """Take over the transport, after the 101 was written, and tell the application.

        :param leftover: what the client sent right after its handshake.
        """
        self._transport.hand_over(self)
        self._registry.add(self)
        self._wheel.add(self, self._limits.ping_interval)
        try:
            self._application.connected(self)
        except Exception:
            self._application_failed()
        draining = self._registry.draining
        if draining is not None:
            self.send_away(draining, self._registry.return_after())
        if leftover:
            self.dataReceived(leftover)

    @property
    def peer(self) -> str:
        """The client's IP address as text, or ``unix``."""
        return self._transport.peer

    @property
    def open(self) -> bool:
        """Whether neither side has begun to close."""
        return self._state == _OPEN

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self._transport.secure

    # What the application sends.

    @property
    def text_frame(self) -> Callable[[bytes], bytes]:
        """Makes a text frame of UTF-8 for this client; the same object for all clients that get the same bytes."""
        return text_frame if self._deflater is None else self._deflater.text_frame

    def write(self, data: bytes) -> None:
        """Send whole frames, given as wire bytes. They are dropped once the connection is closing."""
        if self._state == _OPEN:
            self._transport.write(data)

    send = write

    def cork(self) -> None:
        """See DirectTransport."""
        self._transport.cork()

    def send_text(self, payload: bytes) -> None:
        """Send a text message; `payload` is UTF-8."""
        self.write(self.text_frame(payload))

    def send_binary(self, payload: bytes) -> None:
        """Send a binary message."""
        self.write((frame if self._deflater is None else self._deflater.frame)(BINARY, payload))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2); nothing happens if it has begun already.

        :param code: of section 7.4, or 4000 to 4999.
        :param reason: cut to 123 bytes of UTF-8.
        """
        if self._state == _OPEN:
            self._transport.write(close_frame(code, reason))
            self._close_by_deadline(_CLOSING)
            self._tell_disconnected(code, reason)
            # The client's Close comes after what has not been read yet.
            self.resume()

    def send_away(self, why: CloseReason, return_after: float) -> None:
        """Have the application tell the client when to come back, finish what it owes, and close.

        :param return_after: seconds.
        """
        if self._state == _OPEN:
            try:
                self._application.draining(return_after, partial(self.close, *why))
            except Exception:
                self._application_failed()

    def pause(self) -> None:
        """Stop reading from this client. No further message is delivered until `resume`, those already read included."""
        if self._state == _OPEN and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Deliver what was read before the pause, then resume reading."""
        if not self._paused:
            return
        self._paused = False
        self._heard = True  # the silence was ours
        if not self._delivering:
            waiting, self._waiting = self._waiting, ()
            self._deliver(waiting)
            if self._reader.pending and not self._paused:
                self._read(b"")
        if not self._paused and self._state != _LOST:
            self._transport.resume_reading()

    # ISink. The waiting bytes are the transport's business; here are only the watchers.

    @property
    def full(self) -> bool:
        """Bytes are waiting, or nothing can be sent any more."""
        return self._state != _OPEN or self._transport.full

    @property
    def raw_send(self) -> Any:
        """The transport's own; see ISink."""
        return self._transport.raw_send

    def rest(self, data: bytes, offset: int) -> None:
        """Take over data[offset:] after raw_send took less than all."""
        self._transport.rest(data, offset)

    def watch(self, watcher: ISinkWatcher) -> None:
        """Call the watcher's sink_full and sink_drained from now on."""
        watchers = self._watchers
        if watchers is None:
            self._watchers = watcher
        elif isinstance(watchers, dict):
            watchers[watcher] = None
        elif watchers is not watcher:
            self._watchers = {watchers: None, watcher: None}

    def unwatch(self, watcher: ISinkWatcher) -> None:
        """Stop calling it; no error if it was not watching."""
        watchers = self._watchers
        if isinstance(watchers, dict):
            watchers.pop(watcher, None)
        elif watchers is watcher:
            self._watchers = None

    def transport_full(self) -> None:
        """Bytes are waiting in the transport: tell the watchers."""
        watchers = self._watchers
        if isinstance(watchers, dict):
            for watcher in tuple(watchers):
                if watcher in watchers:
                    watcher.sink_full()
        elif watchers is not None:
            watchers.sink_full()

    def transport_drained(self) -> None:
        """Nothing is waiting any more: send the pong that is due, tell the watchers until one fills it up again."""
        if self._state != _OPEN:
            return
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._transport.write(frame(PONG, pong))
        watchers = self._watchers
        if isinstance(watchers, dict):
            for watcher in tuple(watchers):
                if self.full:
                    return
                if watcher in watchers:
                    # To the end of the line, so that a busy room does not keep the others from their turn.
                    del watchers[watcher]
                    watchers[watcher] = None
                    watcher.sink_drained()
        elif watchers is not None and not self.full:
            watchers.sink_drained()

    def transport_shed(self) -> None:
        """See TransportOwner: the client does not read, and too much is waiting for all clients together. 1013: it may come back."""
        if self._state == _OPEN and self._transport.shorten():
            why = CloseReason(1013, "you read too slowly")
            self.send_away(why, self._registry.return_after())
            self.close(*why)
        else:
            self._abort("reads nothing")

    # What the client sends.

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take bytes from the transport."""
        if self._state > _CLOSING:
            return
        self._heard = True
        if self._paused or self._delivering:
            self._reader.pending += data
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Deliver what is in the bytes left of earlier ones and then in these, until the application pauses."""
        reader = self._reader
        while True:
            events = reader.feed(data)
            if reader.overhead and not self._affords():
                return
            self._deliver(events)
            if not (reader.pending and events) or self._paused:
                return
            data = b""

    def _affords(self) -> bool:
        """Count what was read beyond messages; if that is more work than the client may cause, end with 1008, stop reading, and return False."""
        reader, wheel = self._reader, self._wheel
        now = wheel.now * wheel.tick
        limits = self._limits
        until = max(self._overhead_until, now) + reader.overhead / limits.overhead
        reader.overhead = 0
        self._overhead_until = until
        # One tick more, since the wheel's time stands still that long.
        if until - now <= limits.overhead_burst / limits.overhead + wheel.tick:
            return True
        self._fail(CloseReason(1008, "too many pings or tiny fragments"))
        return False

    def _deliver(self, events: Sequence[tuple[int, Any]]) -> None:
        """Act on what was read, in order, until the application pauses."""
        self._delivering = True
        together = self.gathers and len(events) > 1
        if together:
            self._transport.cork()
        for done, (opcode, payload) in enumerate(events, 1):
            try:
                if opcode == TEXT:
                    self._application.text(payload)
                elif opcode == BINARY:
                    self._application.binary(payload)
                else:
                    self._control(opcode, payload)
            except Exception:
                self._application_failed()
            if self._paused:
                self._waiting = events[done:]
                break
        self._delivering = False
        if together:
            self._transport.uncork()

    def _control(self, opcode: int, payload: Any) -> None:
        if opcode == PING:
            if self._state == _OPEN:
                if self._transport.full:
                    # Section 5.5.3 allows answering only the newest, so a flood of pings costs nothing.
                    self._pong = payload
                else:
                    self._transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self._closed_by_client(payload)
        elif opcode == FAIL:
            self._fail(payload)

    def _closed_by_client(self, close: CloseReason) -> None:
        """The client sent a Close: answer it if it began, then the server closes the transport first (section 7.1.1)."""
        begun = self._state == _OPEN
        if begun:
            self._transport.write(close_frame(close.code))
        self._close_by_deadline(_ENDING)
        self._transport.loseConnection()
        if begun:
            self._tell_disconnected(close.code, close.reason)

    def _fail(self, close: CloseReason) -> None:
        """The client broke the protocol: say so and close (section 7.1.7).

        Only our direction is closed at once. With unread bytes in the kernel, closing both would reset the connection, and the client
        might never see our Close.
        """
        begun = self._state == _OPEN
        if begun:
            self._transport.write(close_frame(close.code, close.reason))
        self._close_by_deadline(_ENDING)
        self._transport.lose_write_connection()
        if begun:
            self._tell_disconnected(close.code, close.reason)

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """The transport is gone."""
        begun = self._state == _OPEN
        self._state = _LOST
        self._wheel.cancel(self)
        self._registry.remove(self)
        self._waiting = ()
        if begun:
            self._tell_disconnected(1006, "the connection broke")

    # The end.

    def _close_by_deadline(self, state: int) -> None:
        self._state = state
        self._pong = None
        self._wheel.add(self, self._limits.close_timeout)

    def _tell_disconnected(self, code: int, reason: str) -> None:
        application, self._application = self._application, _NOBODY
        try:
            application.disconnected(code, reason)
        except Exception:
            _log.failure("A WebSocket application failed to end; peer {peer}", peer=self.peer)
        self._watchers = None

    def _application_failed(self) -> None:
        """Called while an exception from the application is handled."""
        _log.failure("A WebSocket application failed; peer {peer}", peer=self.peer)
        self.close(1011, "internal error")

    def _abort(self, why: str) -> None:
        begun = self._state == _OPEN
        self._state = _ENDING
        self._transport.abortConnection()
        if begun:
            self._tell_disconnected(1006, why)

    # Time.

    def expired(self) -> None:
        """The wheel's call: the ping interval, or the deadline of the end, is over."""
        limits = self._limits
        if self._state != _OPEN:
            self._abort("")
        elif self._overdue():
            self._fail(CloseReason(1008, "a message took too long to arrive"))
        elif self._heard:
            self._ask(_NOTHING, limits.ping_interval)
        elif self._transport.full:
            if self._transport.stalled() and self._asked == _PROGRESS:
                self._abort("reads nothing")
            else:
                self._ask(_PROGRESS, limits.pong_timeout)
        elif self._paused:
            self._ask(_NOTHING, limits.ping_interval)
        elif self._asked == _PONG:
            self._abort("no answer to a ping")
        else:
            self._ask(_PONG, limits.pong_timeout)
            self._transport.write(_PING_FRAME)

    def _overdue(self) -> bool:
        """Whether a message has been arriving for too long. Time in which the client was not read from does not count."""
        message = self._reader.unfinished
        if message is None:
            return False
        now = self._wheel.now * self._wheel.tick
        if self._paused or message.begun is None:
            message.begun = now
        return now - message.begun >= self._limits.message_timeout

    def _ask(self, what: int, seconds: float) -> None:
        self._asked = what
        self._heard = False
        self._wheel.add(self, seconds)


class WebSocketRegister(Protocol):
    """Where a connection lists itself: OpenWebSockets, or what stands in front of it."""

    @property
    def draining(self) -> CloseReason | None:
        """What each newly opened one is told, None while they may stay."""

    def return_after(self) -> float:
        """After how many seconds a client that is sent away now is to come back."""

    def add(self, connection: WebSocketConnection) -> None:
        """List a connection."""

    def remove(self, connection: WebSocketConnection) -> None:
        """Its transport is gone."""
