"""A server in memory: connections without sockets, whose other end the test is."""

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.wire.websocket import CLOSE, FrameReader, accept_key, close_frame, text_frame

__all__ = ["Connection", "MemoryGround", "middle"]


def middle() -> float:
    """A chance that is none: waits are three quarters of their longest."""
    return 0.5


class _Transport(StringTransport):
    """Tells the protocol of the end that it brings about, as transports do."""

    aborted = False
    over = False
    clock: Clock | None = None
    """If there is one, the end comes in its next turn."""

    def abortConnection(self) -> None:
        """Twisted's hook."""
        self.aborted = True
        self._end(ConnectionAborted())

    def loseConnection(self) -> None:
        """Twisted's hook."""
        self._end(ConnectionDone())

    def _end(self, reason: Exception) -> None:
        if self.clock is None:
            self.end(reason)
        else:
            self.clock.callLater(0, self.end, reason)

    def end(self, reason: Exception) -> None:
        """The connection is over."""
        if not self.over:
            self.over = True
            self.protocol.connectionLost(Failure(reason))


class Connection:
    """The server's end of a connection.

    :ivar protocol: the client's protocol.
    :ivar head: of the last request.
    """

    def __init__(self, host: str, port: int, factory: Any) -> None:
        self.to = (host, port)
        self.transport = _Transport(peerAddress=IPv4Address("TCP", "192.0.2.1", port))
        self.protocol = self.transport.protocol = factory.buildProtocol(self.transport.getPeer())
        self.head = b""
        self._reader = FrameReader(1 << 20)
        self.protocol.makeConnection(self.transport)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.transport.over

    def sent(self) -> bytes:
        """What the client has sent since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def receive(self, data: bytes) -> None:
        """Have the client receive something, unless the connection is over."""
        if data and not self.over:
            self.protocol.dataReceived(data)

    def lose(self) -> None:
        """Break it."""
        self.transport.end(ConnectionDone())

    # HTTP

    def request(self) -> tuple[dict[str, str], Any]:
        """The headers and the JSON of a request."""
        self.head, _, body = self.sent().partition(b"\r\n\r\n")
        lines = self.head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, json.loads(body) if body else None

    def respond(self, value: Any, status: int = 200, headers: str = "") -> None:
        """Answer with JSON, or with bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.receive(f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    # WebSocket

    def accept(self) -> dict[str, str]:
        """Shake hands; gives the request's headers."""
        headers, _ = self.request()
        key = accept_key(headers["sec-websocket-key"].encode()).decode()
        self.receive(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n".encode())
        return headers

    def frames(self) -> list[tuple[int, Any]]:
        """What the client has sent in frames since the last time."""
        return self._reader.feed(self.sent())

    def messages(self) -> list[Any]:
        """The JSON-RPC messages that it has sent since the last time."""
        return [json.loads(text) for _, text in self.frames() if isinstance(text, str)]

    def tell(self, method: str, params: Any) -> None:
        """Send a notification."""
        self.say({"jsonrpc": "2.0", "method": method, "params": params})

    def answer(self, call: Any, result: Any = None) -> None:
        """Answer a call."""
        self.say({"jsonrpc": "2.0", "id": call["id"], "result": result})

    def refuse(self, call: Any, code: int, message: str = "no", **data: Any) -> None:
        """Answer a call with an error."""
        self.say({"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message, "data": data}})

    def say(self, message: Any) -> None:
        """Send JSON."""
        self.receive(text_frame(json.dumps(message).encode()))

    def close(self, code: int, reason: str = "") -> None:
        """Close it in order."""
        self.receive(close_frame(code, reason))
        assert self.frames()[-1][0] == CLOSE
        self.lose()


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, ground: "MemoryGround", host: str, port: int) -> None:
        self._ground = ground
        self._to = (host, port)

    def connect(self, factory: Any) -> "Deferred[Any]":
        """Twisted's hook."""
        return self._ground.connect(*self._to, factory)


class MemoryGround:
    """What a client stands on in tests.

    :ivar connections: all that have been made.
    :ivar refuse: with what to refuse the next ones.
    :ivar hang: leave them unanswered.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.connections: list[Connection] = []
        self.refuse: Exception | None = None
        self.hang = False
        self.hanging: list[Deferred[Any]] = []
        self.timeout = 0.0

    def endpoint(self, host: str, port: int, timeout: float) -> Any:
        """See Ground."""
        self.timeout = timeout
        return _Endpoint(self, host, port)

    def connect(self, host: str, port: int, factory: Any) -> "Deferred[Any]":
        """Make a connection, or do not."""
        if self.hang:
            self.hanging.append(Deferred())
            return self.hanging[-1]
        if self.refuse is not None:
            return fail(self.refuse)
        connection = Connection(host, port, factory)
        self.connections.append(connection)
        return succeed(connection.protocol)

    @property
    def last(self) -> Connection:
        """The newest connection."""
        return self.connections[-1]

    def down(self) -> None:
        """Refuse connections from now on, and break those that there are."""
        self.refuse = ConnectionRefusedError("refused")
        for connection in self.connections:
            connection.lose()

    def up(self) -> None:
        """Take connections again."""
        self.refuse = None
