"""HTTP channels on transports in memory, for the tests of them."""

from collections.abc import Callable
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.admission import Admission
from netsvc.core.identity import Identity
from netsvc.http.channel import HttpChannel
from netsvc.http.messages import Request, Response
from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.routing import Routes
from netsvc.http.server import HttpFactory
from netsvc.http.settings import HttpSettings
from netsvc.net.buffered_transport import BufferedTransport

__all__ = ["ALICE", "Answer", "ChannelCase", "Client", "answers", "echo", "request"]

ALICE = Identity("alice", ("member",))


class Answer(NamedTuple):
    """An answer, taken apart: names of fields in lower case, the last of each; a chunked body joined."""

    status: int
    fields: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


def answers(data: bytes, head_only: bool = False) -> list[Answer]:
    """Take apart what a server sent, written apart from the code under test. An answer without a length goes to the end.

    :param head_only: they answer HEAD, so none has a body.
    """
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if head_only or status < 200 or status in (204, 304):
            body = b""
        elif "content-length" in fields:
            size = int(fields["content-length"])
            body, data = data[:size], data[size:]
        elif fields.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size_text, _, data = data.partition(b"\r\n")
                size = int(size_text, 16)
                body, data = body + data[:size], data[size + 2 :]
                if not size:
                    break
        else:
            body, data = data, b""
        found.append(Answer(status, fields, body))
    return found


def request(target: str = "/", *lines: str, method: str = "GET", version: str = "1.1", host: str | None = "localhost", body: bytes = b"") -> bytes:
    """A request as a client sends it."""
    head = [f"{method} {target} HTTP/{version}", *([f"Host: {host}"] if host is not None else []), *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


class Line(StringTransport):
    """A class of its own, so that these tests leave no trace in the memory that StringTransports take, which other tests measure."""


class Client(BufferedTransport):
    """A connection, from the client's side.

    :ivar channel: the server's end of it.
    :ivar writes: how many times the server wrote.
    :ivar moving: whether the client takes bytes while some wait.
    """

    def __init__(self, factory: HttpFactory, peer: str = "192.0.2.1") -> None:
        self.inner: Line
        super().__init__(Line(peerAddress=IPv4Address("TCP", peer, 4711), lenient=True))
        self.moving = False
        self.half_closed = False
        self.writes = 0
        self.channel: Any = factory.buildProtocol(self.inner.getPeer())
        self.channel.makeConnection(self)

    def write(self, data: bytes) -> None:
        """See DirectTransport."""
        self.writes += 1
        super().write(data)

    def send(self, *pieces: bytes) -> None:
        """Send pieces, each of them read by itself."""
        for piece in pieces:
            self.channel.dataReceived(piece)

    def lose(self) -> None:
        """Go away."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    def fill(self) -> None:
        """Take no more bytes."""
        self.pauseProducing()

    def drain(self) -> None:
        """Take all bytes that wait."""
        self.resumeProducing()

    def sent(self) -> bytes:
        """What the server sent since this was asked last."""
        data = self.inner.value()
        self.inner.clear()
        return data

    def answers(self, head_only: bool = False) -> list[Answer]:
        """The same, taken apart."""
        return answers(self.sent(), head_only)

    def answer(self) -> Answer:
        """The one answer since this was asked last."""
        (found,) = self.answers()
        return found

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

    def stalled(self) -> bool:
        """See DirectTransport."""
        return self.full and not self.moving

    def lose_write_connection(self) -> None:
        """See DirectTransport."""
        self.half_closed = True


class ChannelCase(SynchronousTestCase):
    """A server with routes, and clients.

    :ivar asked: the requests whose handlers wait for an answer, with its Deferred.
    """

    settings = HttpSettings()
    connections = 0
    connections_per_address = 0

    def setUp(self) -> None:
        """Build the factory; subclasses add routes."""
        self.clock = Clock()
        self.routes = Routes()
        self.websockets = OpenWebSockets(lambda count: repeat(6.5, count))
        self.asked: list[tuple[Request, Deferred[Any]]] = []
        self.authenticate: Callable[[Request], Any] = lambda request: ALICE
        self.factory = HttpFactory(
            self.routes,
            self.settings,
            self.clock,
            lambda request: self.authenticate(request),
            self.websockets,
            admission=Admission(self.connections, self.connections_per_address),
            wall_clock=lambda: 784111777.0 + self.clock.seconds(),
        )
        self.client = Client(self.factory)

    def ask(self, request: Request) -> "Deferred[Any]":
        """A handler that waits."""
        answer: Deferred[Any] = Deferred()
        self.asked.append((request, answer))
        return answer

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.pump([1.0] * int(seconds))

    def is_gone(self, channel: HttpChannel) -> bool:
        """Whether the factory has forgotten a channel."""
        return channel not in self.factory._channels and channel not in self.factory._refused


def echo(request: Request) -> Response:
    """A handler that says what it was asked."""
    return Response.json({"method": request.method, "path": request.path, "body": request.body.decode()})
