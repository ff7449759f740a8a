"""Corked transports: what is written together is sent in one piece, and in order."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.websocket import WebSocketConnection
from netsvc.net.outbound import Outbound
from netsvc.net.transport import HIGH_WATER
from netsvc.net.wheel import TimingWheel
from netsvc.wire.websocket import PONG, TEXT, close_frame, frame, text_frame
from tests.http.connections import LIMITS, Recorder, client_close
from tests.net.sockets import DirectCase, FakeSocket
from tests.wire.test_websocket import client_frame


class NotingSocket(FakeSocket):
    """A socket that notes each send."""

    def __init__(self) -> None:
        super().__init__()
        self.sends: list[bytes] = []

    def send(self, data: Any) -> int:
        """See socket."""
        sent = super().send(data)
        self.sends.append(bytes(data[:sent]))
        return sent


class CorkCase(DirectCase):
    """A transport that can be corked."""

    def setUp(self) -> None:
        """Connect."""
        super().setUp()
        self.clock = Clock()
        self.socket = self.transport.socket = NotingSocket()
        self.outbound = self.port.outbound = Outbound(self.clock, 0)

    def write(self, *pieces: bytes) -> None:
        """Write them one by one."""
        for piece in pieces:
            self.transport.write(piece)


class TransportTests(CorkCase):
    """When it is sent."""

    def test_one_piece(self) -> None:
        """What is written while it is corked; afterwards each write is sent at once."""
        self.write(b"a")
        self.transport.cork()
        self.write(b"b", b"c")
        self.assertEqual(self.socket.sends, [b"a"])
        self.transport.uncork()
        self.write(b"d", b"e")
        self.assertEqual(self.socket.sends, [b"a", b"bc", b"d", b"e"])
        self.transport.uncork()
        self.transport.cork()
        self.transport.uncork()
        self.assertEqual(self.socket.sends[4:], [])

    def test_all(self) -> None:
        """All can be uncorked at once, before something is sent past them."""
        other = self.kind(NotingSocket(), self.protocol, self.client, self.port, 0, self.reactor)  # type: ignore[arg-type]
        for _ in range(2):
            for transport in (self.transport, other):
                transport.cork()
                transport.cork()
                transport.write(b"a")
                transport.write(b"b")
            self.outbound.uncork()
            self.transport.raw_send(b"event")
        self.assertEqual((self.socket.sends, other.socket.sends), ([b"ab", b"event"] * 2, [b"ab"] * 2))  # type: ignore[attr-defined]
        self.assertEqual(self.outbound.corked, {})

    def test_much(self) -> None:
        """It is sent as soon as it is much, so that little is kept, and a long answer is not copied."""
        self.transport.cork()
        self.write(b"a", bytes(HIGH_WATER - 1), b"b")
        self.assertEqual([len(piece) for piece in self.socket.sends], [HIGH_WATER, 1])
        self.transport.cork()
        self.write(b"c")
        self.outbound.uncork()
        self.assertEqual(self.socket.sends[2:], [b"c"])

    def test_shed(self) -> None:
        """What was gathered is short enough for last words to follow it, however long the answer after it is."""
        self.socket.room = 50
        self.transport.cork()
        self.write(b"a" * 100, b"b" * 20_000)
        self.transport.uncork()
        self.assertTrue(self.transport.shorten())
        self.write(b"last words")
        self.socket.room = None
        self.turn()
        self.assertEqual(self.socket.taken, b"a" * 100 + b"last words")

    def test_not_taken(self) -> None:
        """What the kernel does not take waits as ever, and the owner knows; then there is nothing to gather."""
        self.socket.room = 1
        self.transport.cork()
        self.write(b"a", b"b")
        self.assertEqual((self.transport.full, self.owner.told), (False, []))
        self.transport.uncork()
        self.assertEqual((self.transport.full, self.owner.told, self.transport.waiting), (True, ["full"], 1))
        self.transport.cork()
        self.write(b"c")
        self.assertEqual(self.transport.waiting, 2)
        self.socket.room = None
        self.turn()
        self.assertEqual((self.socket.taken, self.owner.told), (b"abc", ["full", "drained"]))

    def test_close(self) -> None:
        """What was written before a close is sent before it, also before half a close."""
        for close in ("loseConnection", "lose_write_connection"):
            self.setUp()
            self.transport.cork()
            self.write(b"last words")
            getattr(self.transport, close)()
            self.outbound.uncork()
            self.assertEqual(self.socket.taken, b"last words")
            self.assertIn(self.transport, self.reactor.writing, "it goes on to close")

    def test_cut(self) -> None:
        """What was gathered for a connection that is gone is dropped."""
        for end, why in (("abortConnection", ()), ("connectionLost", (Failure(ConnectionDone()),))):
            self.setUp()
            self.transport.cork()
            self.write(b"a")
            getattr(self.transport, end)(*why)
            self.assertEqual(self.outbound.corked, {})
            self.transport.uncork()
            self.assertEqual(self.socket.sends, [])

    def test_nobody_to_uncork_it(self) -> None:
        """Where nothing would uncork it, it is not corked."""
        self.port.outbound = None
        self.transport.cork()
        self.write(b"a", b"b")
        self.assertEqual(self.socket.sends, [b"a", b"b"])

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(0, 50), st.sampled_from(["cork", "uncork", "all"]))))
    def test_order(self, steps: list[bytes | int | str]) -> None:
        """Every byte arrives once and in order, however writes, corks and the kernel's mood follow each other."""
        self.setUp()
        expected = b""
        for step in steps:
            if isinstance(step, bytes):
                expected += step
                self.transport.write(step)
            elif isinstance(step, int):
                self.socket.room = step
                if self.waiting:
                    self.turn()
            elif step == "all":
                self.outbound.uncork()
            else:
                getattr(self.transport, step)()
            self.assertTrue(expected.startswith(self.socket.taken))
        self.socket.room = None
        self.outbound.uncork()
        while self.waiting:
            self.turn()
        self.assertEqual(self.socket.taken, expected)


class WebSocketTests(CorkCase):
    """Messages that came together are answered together."""

    def setUp(self) -> None:
        """Open one."""
        super().setUp()
        self.application = Recorder()
        self.connection = WebSocketConnection(self.transport, self.application, LIMITS, TimingWheel(self.clock), OpenWebSockets())
        self.connection.begin()
        self.application.on_text = lambda message: self.connection.send_text(message.encode())

    def receive(self, *frames: bytes) -> list[bytes]:
        """The client sends frames in one piece; what was sent to it during that."""
        self.socket.sends.clear()
        self.protocol = self.transport.protocol
        self.protocol.dataReceived(b"".join(frames))
        return self.socket.sends

    def test_together(self) -> None:
        """Answers and pongs in one piece, before anything else runs; a single one at once."""
        messages = [client_frame(TEXT, text) for text in (b"a", b"b")]
        self.assertEqual(self.receive(messages[0]), [text_frame(b"a")])
        self.assertEqual(self.receive(messages[0], client_frame(9, b"!"), messages[1]), [text_frame(b"a") + frame(PONG, b"!") + text_frame(b"b")])

    def test_close(self) -> None:
        """The close of either side follows the answers to what came before it."""
        answered = text_frame(b"a") + close_frame(1000)
        self.assertEqual(self.receive(client_frame(TEXT, b"a"), client_close()), [answered])

    def test_broken(self) -> None:
        """So does the one after a breach of the protocol."""
        (sent,) = self.receive(client_frame(TEXT, b"a"), b"\xff\xff")
        self.assertTrue(sent.startswith(text_frame(b"a") + b"\x88"), sent)

    def test_paused(self) -> None:
        """What is answered before a pause does not wait for its end."""

        def answer(message: str) -> None:
            self.connection.send_text(message.encode())
            self.connection.pause()

        self.application.on_text = answer
        self.assertEqual(self.receive(client_frame(TEXT, b"a"), client_frame(TEXT, b"b")), [text_frame(b"a")])
