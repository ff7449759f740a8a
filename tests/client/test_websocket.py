"""Tests for netsvc.client.websocket, with the server's own codec at the other end."""

from typing import Any

from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.errors import BadAnswer, ConnectionLost, Forbidden, NotAuthenticated, Overloaded
from netsvc.client.limits import Limits
from netsvc.client.websocket import ABNORMAL, Socket, retry_seconds
from netsvc.wire.websocket import BINARY, CLOSE, PING, PONG, TEXT, frame, text_frame
from tests.client.memory import Connection, MemoryGround

LIMITS = Limits(silence=30, pong=10, close=5, max_message=1000)


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def opened(self, socket: Socket) -> None:
        """See SocketOwner."""
        self.told.append("opened")

    def received(self, socket: Socket, message: bytes) -> None:
        """See SocketOwner."""
        self.told.append(message)

    def ended(self, socket: Socket, code: int, reason: str, error: Exception | None) -> None:
        """See SocketOwner."""
        self.told.append((code, reason, type(error), str(error or "")))


class SocketCase(SynchronousTestCase):
    """A socket, and the server's end of it."""

    def setUp(self) -> None:
        """Connect."""
        self.ground = MemoryGround()
        self.owner = Owner()
        self.socket = Socket(self.ground.clock, "ws://h:1/ws", {"Authorization": "Bearer t"}, LIMITS, self.owner)
        self.ground.connect("h", 1, Factory.forProtocol(lambda: self.socket))

    @property
    def server(self) -> Connection:
        """The other end."""
        return self.ground.last


class Opening(SocketCase):
    """The handshake."""

    def test_accepted(self) -> None:
        """The request has our headers; then messages go both ways."""
        headers = self.server.accept()
        self.assertEqual((headers["host"], headers["authorization"]), ("h:1", "Bearer t"))
        self.assertTrue(self.server.head.startswith(b"GET /ws HTTP/1.1\r\n"))
        self.socket.send("ä".encode())
        self.assertEqual(self.server.frames(), [(TEXT, "ä")])
        self.server.receive(text_frame(b"hello"))
        self.assertEqual(self.owner.told, ["opened", b"hello"])

    def refused(self, status: int, body: Any, headers: str = "") -> Any:
        """How the owner is told of an HTTP answer."""
        self.server.respond(body, status, headers)
        return self.owner.told[-1]

    def test_refused(self) -> None:
        """An HTTP error is one of ours, with the server's words."""
        told = self.refused(401, {"error": {"status": 401, "message": "log in"}})
        self.assertEqual(told, (ABNORMAL, "", NotAuthenticated, "log in"))
        self.assertTrue(self.server.over)

    def test_later(self) -> None:
        """What says to come later says when."""
        self.assertEqual(self.refused(503, b"", "Retry-After: 7\r\n")[2:], (Overloaded, "HTTP status 503"))

    def test_strange_words(self) -> None:
        """What the body says otherwise is not heeded."""
        self.assertEqual(self.refused(403, b"\xff")[2:], (Forbidden, "HTTP status 403"))

    def test_no_websocket(self) -> None:
        """A 101 that answers another request, and no HTTP at all."""
        told = self.refused(101, b"", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n")
        self.assertIs(told[2], BadAnswer)

    def test_no_http(self) -> None:
        """What is no HTTP is said to be none."""
        self.server.receive(b"SSH-2.0-x\r\n\r\n")
        self.assertIs(self.owner.told[-1][2], BadAnswer)

    def test_broken(self) -> None:
        """A connection that ends before the answer."""
        self.server.lose()
        self.assertIs(self.owner.told[-1][2], ConnectionLost)

    def test_too_late(self) -> None:
        """Whoever let go before there was a connection does not get one."""
        socket = Socket(self.ground.clock, "ws://h:1/ws", {}, LIMITS, self.owner)
        socket.let_go()
        self.ground.connect("h", 1, Factory.forProtocol(lambda: socket))
        self.assertTrue(self.server.transport.aborted)
        self.assertEqual(self.owner.told, [])


class Open(SocketCase):
    """What happens on an open one."""

    def setUp(self) -> None:
        """Open it."""
        super().setUp()
        self.server.accept()
        self.owner.told.clear()

    def test_fragments(self) -> None:
        """A message in parts is one; binary messages and pongs are nothing to us."""
        self.server.receive(bytes((0x01, 2)) + b"ab" + bytes((0x80, 1)) + b"c" + frame(BINARY, b"x") + frame(PONG, b"") + text_frame(b"d"))
        self.assertEqual(self.owner.told, [b"abc", b"d"])

    def test_ping(self) -> None:
        """Pings are answered."""
        self.server.receive(frame(PING, b"x"))
        self.assertEqual(self.server.frames(), [(PONG, b"x")])

    def test_closed_by_the_server(self) -> None:
        """Its code and reason are told once; sending does nothing then."""
        self.server.close(4401, "revoked")
        self.socket.send(b"x")
        self.assertEqual(self.owner.told, [(4401, "revoked", type(None), "")])
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_a_server_that_does_not_hang_up(self) -> None:
        """After its Close frame it is given the time of a closing handshake."""
        self.patch(self.server.transport, "loseConnection", lambda: None)
        self.server.receive(frame(CLOSE, (1001).to_bytes(2, "big")))
        self.assertFalse(self.server.over)
        self.ground.clock.advance(5)
        self.assertTrue(self.server.transport.aborted)

    def test_too_large(self) -> None:
        """A message over the bound ends the connection before it is read."""
        self.server.receive(bytes((0x81, 126, 0xFF, 0xFF)))
        self.assertEqual(self.server.frames()[0][1].code, 1009)
        self.server.lose()
        self.assertEqual(self.owner.told[0][:3], (ABNORMAL, "", ConnectionLost))
        self.assertIn("broke the protocol", self.owner.told[0][3])

    def test_close(self) -> None:
        """Closing in order: our frame, theirs, the end."""
        self.socket.close()
        self.assertEqual(self.server.frames()[0][1].code, 1000)
        self.server.receive(frame(CLOSE, (1000).to_bytes(2, "big")))
        self.server.lose()
        self.assertEqual(len(self.owner.told), 1)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_close_without_answer(self) -> None:
        """Who does not answer our Close is cut off."""
        self.socket.let_go()
        self.ground.clock.advance(5)
        self.assertTrue(self.server.transport.aborted)
        self.assertEqual(self.owner.told, [])

    def test_messages_after_letting_go(self) -> None:
        """Nobody is told of what still comes."""
        self.socket.let_go()
        self.server.receive(text_frame(b"x"))
        self.assertEqual(self.owner.told, [])

    def test_silence(self) -> None:
        """A quiet server is pinged; one that answers is kept."""
        self.ground.clock.advance(20)
        self.server.receive(text_frame(b"x"))
        self.ground.clock.advance(10)
        self.assertEqual(self.server.frames(), [])
        self.ground.clock.advance(20)
        self.assertEqual(self.server.frames(), [(PING, b"")])
        self.server.receive(frame(PONG, b""))
        self.ground.clock.advance(10)
        self.ground.clock.advance(20)
        self.assertEqual(self.server.frames(), [(PING, b"")])
        self.assertFalse(self.server.over)

    def test_half_open(self) -> None:
        """One that does not answer a ping is given up."""
        self.ground.clock.advance(30)
        self.ground.clock.advance(10)
        self.assertTrue(self.server.transport.aborted)
        self.assertEqual(self.owner.told, [(ABNORMAL, "", ConnectionLost, "the server no longer answers")])


class RetryAfter(SynchronousTestCase):
    """The header."""

    def test_seconds(self) -> None:
        """Whole seconds; anything else is none."""
        self.assertEqual([retry_seconds(value) for value in ("7", None, "", "-1", "Fri, 01 Jan", "²", "9999999")], [7.0, *[None] * 6])
