"""One WebSocket to a server, on any transport of Twisted's shape. The `websockets` library handles the bytes."""

# Twisted's names are in camelCase.
# ruff: noqa: N802

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State as CodecState
from websockets.uri import parse_uri

from netsvc.client.errors import BadAnswer, ClientError, ConnectionLost, lost, refusal
from netsvc.client.limits import Limits

__all__ = ["ABNORMAL", "Socket", "SocketOwner", "retry_seconds"]

ABNORMAL = 1006
"""The close code of a connection that ended without one."""


class _Body(msgspec.Struct):
    """The body of an HTTP error answer."""

    error: dict[str, Any] = {}


class SocketOwner(Protocol):
    """What opened a WebSocket."""

    def opened(self, socket: "Socket") -> None:
        """The handshake is done."""

    def received(self, socket: "Socket", message: bytes) -> None:
        """A whole text message; UTF-8 if the server behaves."""

    def ended(self, socket: "Socket", code: int, reason: str, error: ClientError | None) -> None:
        """It is over, or was never opened. Called exactly once, unless the owner abandoned it.

        :param code: of the server's Close frame, else `ABNORMAL`.
        :param error: what was wrong, if there was no Close frame.
        """


class Socket(TwistedProtocol):
    """One WebSocket.

    :param url: ``ws:`` or ``wss:``.
    :param headers: of the handshake, in addition to its own.
    """

    def __init__(self, clock: IReactorTime, url: str, headers: Mapping[str, str], limits: Limits, owner: SocketOwner) -> None:
        self._clock = clock
        self._headers = headers
        self._limits = limits
        self._owner: SocketOwner | None = owner
        self._codec = ClientProtocol(parse_uri(url), max_size=limits.max_message)
        self._fragments: list[bytes] = []
        self._timer: IDelayedCall | None = None
        self._heard = 0.0
        self._pinged = 0.0
        self._error: ClientError | None = None
        self._closing = False
        self._over = False
        self._gone: list[Deferred[None]] = []

    def send(self, message: bytes) -> None:
        """Send a text message; dropped if the connection is ending."""
        if self._codec.state is CodecState.OPEN:
            self._codec.send_text(message)
            self._flush()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Begin the closing handshake; if it takes too long the connection is cut."""
        if self._codec.state is not CodecState.OPEN:
            self.abort()
            return
        self._closing = True
        self._codec.send_close(code)
        self._flush()
        self._set_timer(self._limits.close, self.abort)

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # all TCP and TLS transports have it

    def let_go(self) -> "Deferred[None]":
        """Stop telling the owner, and close; fires when the connection is over."""
        self._owner = None
        if self.transport is None or self._over:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self.close()
        return gone

    # Twisted's hooks

    def connectionMade(self) -> None:
        """Twisted's hook: shake hands."""
        if self._owner is None:
            self.abort()
            return
        self._heard = self._clock.seconds()
        request = self._codec.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._codec.send_request(request)
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        self._heard = self._clock.seconds()
        self._codec.receive_data(data)
        for event in self._codec.events_received():
            if isinstance(event, Response):
                self._shaken(event)
            elif isinstance(event, Frame):
                self._take(event)
        if self._codec.handshake_exc is not None and self._error is None:
            self._error = BadAnswer("the answer is not HTTP; is this a netsvc server?")
        self._flush()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """Twisted's hook."""
        self._set_timer(None)
        self._over = True
        self._codec.receive_eof()
        gone, self._gone = self._gone, []
        for each in gone:
            each.callback(None)
        owner, self._owner = self._owner, None
        if owner is None:
            return
        close = self._codec.close_rcvd
        if close is not None:
            owner.ended(self, close.code, close.reason, None)
            return
        sent = self._codec.close_sent
        if self._error is None and sent is not None and sent.code != CloseCode.NORMAL_CLOSURE:
            self._error = ConnectionLost(f"the server broke the protocol: {sent.reason or sent.code}")
        owner.ended(self, ABNORMAL, "", self._error or lost(reason))

    def _shaken(self, response: Response) -> None:
        if self._codec.handshake_exc is None:
            self._listen_for_silence()
            if self._owner is not None:
                self._owner.opened(self)
        elif isinstance(self._codec.handshake_exc, InvalidStatus):
            self._error = refusal(response.status_code, _reason(response), retry_seconds(response.headers.get("Retry-After")))
        else:
            self._error = BadAnswer(f"the answer is not a WebSocket handshake: {self._codec.handshake_exc}")

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or (frame.opcode is Opcode.CONT and self._fragments):
            data = bytes(frame.data)
            if frame.fin:
                whole = b"".join((*self._fragments, data)) if self._fragments else data
                self._fragments.clear()
                if self._owner is not None:
                    self._owner.received(self, whole)
            else:
                self._fragments.append(data)

    def _flush(self) -> None:
        transport = self.transport
        assert transport is not None
        for data in self._codec.data_to_send():
            if data:
                transport.write(data)
            else:
                # TLS has no half-close: the server gets as long as it takes to write what is queued.
                transport.loseConnection()
        if self._codec.close_expected() and not self._closing:
            self._closing = True
            self._set_timer(self._limits.close, self.abort)

    def _listen_for_silence(self) -> None:
        """Ping when it has been quiet for long; a server that does not answer is disconnected."""
        limits, now = self._limits, self._clock.seconds()
        quiet = now - self._heard
        if quiet < limits.silence:
            self._set_timer(limits.silence - quiet, self._listen_for_silence)
        elif self._pinged <= self._heard:
            self._pinged = now
            if self._codec.state is CodecState.OPEN:
                self._codec.send_ping(b"")
                self._flush()
            self._set_timer(limits.pong, self._listen_for_silence)
        else:
            self._error = ConnectionLost("the server no longer answers")
            self.abort()

    def _set_timer(self, seconds: float | None, action: Any = None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None else self._clock.callLater(seconds, action)


def _reason(response: Response) -> str:
    """What an HTTP error answer says, "" if it says nothing that we understand."""
    try:
        return str(msgspec.json.decode(bytes(response.body or b""), type=_Body).error.get("message", ""))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def retry_seconds(value: str | None) -> float | None:
    """The seconds of a Retry-After header, None if it has none; dates are ignored."""
    return float(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 7 else None
