"""WebSocket connections: messages, closing, pauses, pings."""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from netsvc.wire.websocket import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame
from tests.http.connections import ConnectionCase, Recorder, client_close
from tests.wire.test_websocket import client_frame

PING_FRAME = frame(PING, b"")


class MessageTests(ConnectionCase):
    """Messages both ways."""

    def test_begin(self) -> None:
        """The connection receives from the transport from then on, is listed, and the application has it."""
        self.assertIs(self.wire.inner.protocol, self.connection)
        self.assertIs(self.application.connection, self.connection)
        self.assertEqual(len(self.registry), 1)
        self.assertEqual(self.wire.sent(), b"")

    def test_leftover(self) -> None:
        """What came right behind the handshake is not lost."""
        application, _, _ = self.open(leftover=client_frame(TEXT, b"early"))
        self.assertEqual(application.heard, ["early"])

    def test_peer(self) -> None:
        """The application can ask who is there and whether TLS is spoken, also after the end."""
        self.assertEqual((self.connection.peer, self.connection.secure), ("192.168.1.1", False))
        self.wire.inner.peerAddr = UNIXAddress(None)
        self.lose()
        self.assertEqual(self.connection.peer, "unix")

    def test_receive(self) -> None:
        """Text and binary messages arrive in order."""
        self.receive(client_frame(TEXT, "é".encode()), client_frame(BINARY, b"\xff"), client_frame(TEXT, b"b"))
        self.assertEqual(self.application.heard, ["é", b"\xff", "b"])

    def test_send(self) -> None:
        """Ready frames are written as they are, a payload as a text frame."""
        self.connection.send(b"\x81\x01a")
        self.connection.write(b"\x81\x01b")
        self.connection.send_text(b"c")
        self.assertEqual(self.wire.sent(), b"\x81\x01a\x81\x01b\x81\x01c")

    def test_ping(self) -> None:
        """A ping is answered with its payload; a pong that nobody asked for is not."""
        self.receive(client_frame(PING, b"there?"), client_frame(PONG, b"unasked"))
        self.assertEqual(self.wire.sent(), frame(PONG, b"there?"))

    def test_pings_while_full(self) -> None:
        """While bytes wait, only the newest ping is kept; it is answered once they are gone."""
        self.wire.pauseProducing()
        self.receive(*[client_frame(PING, b"%d" % number) for number in range(100)])
        self.assertEqual(self.wire.sent(), b"")
        self.wire.resumeProducing()
        self.assertEqual(self.wire.sent(), frame(PONG, b"99"))
        self.wire.pauseProducing()
        self.wire.resumeProducing()
        self.assertEqual(self.wire.sent(), b"")


class ClosingTests(ConnectionCase):
    """The end, from either side (RFC 6455 section 7)."""

    def test_by_us(self) -> None:
        """Our Close goes out and the application is told at once; the transport closes when the client's Close is there."""
        self.connection.close(4403, "banned")
        self.assertEqual(self.wire.sent(), close_frame(4403, "banned"))
        self.assertEqual(self.application.ends, [(4403, "banned")])
        self.assertEqual(self.wire.ended, "")
        self.receive(client_frame(TEXT, b"on its way"), client_frame(PING), client_close(4403))
        self.assertEqual(self.wire.ended, "closed")
        self.lose()
        self.assertEqual((self.application.heard, self.application.ends, self.wire.sent()), ([], [(4403, "banned")], b""))
        self.assertEqual((len(self.registry), len(self.wheel)), (0, 0))

    def test_by_us_unanswered(self) -> None:
        """A client that never answers our Close is cut off after the deadline."""
        self.connection.close()
        self.clock.advance(4.9)
        self.assertEqual(self.wire.ended, "")
        self.advance(0)
        self.assertEqual(self.wire.ended, "aborted")
        self.receive(client_close())
        self.lose()
        self.assertEqual(self.application.ends, [(1000, "")])

    def test_by_client(self) -> None:
        """A client's Close is answered with its code, and the server closes the transport first."""
        self.receive(client_frame(TEXT, b"last"), client_close(1001, b"leaving"))
        self.assertEqual(self.application.heard, ["last"])
        self.assertEqual(self.application.ends, [(1001, "leaving")])
        self.assertEqual(self.wire.sent(), close_frame(1001))
        self.assertEqual(self.wire.ended, "closed")
        self.lose()
        self.assertEqual(len(self.application.ends), 1)

    def test_by_client_without_code(self) -> None:
        """A Close without a code is answered with one without; the application is told 1005."""
        self.receive(client_frame(CLOSE))
        self.assertEqual(self.wire.sent(), b"\x88\x00")
        self.assertEqual(self.application.ends, [(1005, "")])

    def test_transport_does_not_end(self) -> None:
        """A client that does not take our last bytes is cut off after the deadline."""
        self.receive(client_close())
        self.advance(5)
        self.assertEqual(self.wire.ended, "aborted")

    def test_violation(self) -> None:
        """A violation is answered with the RFC's code; only our direction closes, so that the client sees it, and what it sends is ignored."""
        self.receive(client_frame(TEXT, b"good"), client_frame(3), client_frame(TEXT, b"bad"))
        self.assertEqual(self.application.heard, ["good"])
        ((code, reason),) = self.application.ends
        self.assertEqual(code, 1002)
        self.assertEqual(self.wire.sent(), close_frame(1002, reason))
        self.assertEqual(self.wire.ended, "half closed")
        self.receive(client_frame(TEXT, b"more"), client_close())
        self.assertEqual((self.application.heard, self.wire.sent()), (["good"], b""))
        self.advance(5)
        self.assertEqual(self.wire.ended, "aborted")

    def test_violation_after_close(self) -> None:
        """A violation after our Close gets no second one."""
        self.connection.close(1001)
        self.wire.sent()
        self.receive(client_frame(3))
        self.assertEqual((self.wire.sent(), self.wire.ended), (b"", "half closed"))
        self.assertEqual(self.application.ends, [(1001, "")])

    def test_too_long(self) -> None:
        """A message over the limit closes with 1009 before it has arrived."""
        self.receive(client_frame(TEXT, b"x" * 1001)[:4])
        self.assertEqual(self.application.ends[0][0], 1009)

    def test_lost(self) -> None:
        """A transport that just breaks is 1006, once."""
        self.lose()
        self.assertEqual(self.application.ends, [(1006, "the connection broke")])
        self.assertEqual((len(self.registry), len(self.wheel)), (0, 0))

    def test_nothing_after_close(self) -> None:
        """After the end began nothing is sent, a pong that was due included, and the sink is full for good."""
        self.wire.pauseProducing()
        self.receive(client_frame(PING))
        self.connection.close()
        self.wire.sent()
        self.connection.send(b"frame")
        self.connection.send_text(b"text")
        self.connection.close(4401, "again")
        self.connection.pause()
        self.wire.resumeProducing()
        self.assertEqual(self.wire.sent(), b"")
        self.assertTrue(self.connection.full)
        self.assertTrue(self.wire.reading)

    def test_close_from_within_a_message(self) -> None:
        """An application may close while it is given a message; it gets no further ones."""
        self.application.on_text = lambda message: self.connection.close(1008, "enough")
        self.receive(client_frame(TEXT, b"a"), client_frame(TEXT, b"b"), client_frame(BINARY, b"c"), client_close())
        self.assertEqual(self.application.heard, ["a"])
        self.assertEqual(self.application.ends, [(1008, "enough")])
        self.assertEqual(self.wire.ended, "closed")

    def test_close_while_paused(self) -> None:
        """A client's Close that waits behind a pause counts when we close: nobody waits for a deadline."""
        self.application.on_text = lambda message: self.connection.pause()
        self.receive(client_frame(TEXT, b"a"), client_frame(TEXT, b"b"), client_close())
        self.connection.close(1001)
        self.assertEqual(self.application.heard, ["a"])
        self.assertEqual(self.wire.ended, "closed")
        self.assertTrue(self.wire.reading)


class FailingTests(ConnectionCase):
    """Applications that raise."""

    @contextmanager
    def logged(self, words: str) -> Iterator[None]:
        """Within, one exception is logged, with the words and the peer."""
        with capturedLogs() as events:
            yield
        (event,) = events
        self.assertIn(words, event["log_format"])
        self.assertEqual(event["peer"], "192.168.1.1")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def fail_with(self, method: str) -> Recorder:
        """An application one of whose methods raises."""
        application = Recorder()
        setattr(application, method, lambda *arguments: 1 // 0)
        return application

    def test_connected(self) -> None:
        """A failing `connected` closes with 1011."""
        with self.logged("failed"):
            application, wire, _ = self.open(self.fail_with("connected"))
        self.assertEqual(wire.sent(), close_frame(1011, "internal error"))
        self.assertEqual(application.ends, [(1011, "internal error")])

    def test_messages(self) -> None:
        """A failing `text` or `binary` closes with 1011; nothing more is delivered."""
        for method, opcode in (("text", TEXT), ("binary", BINARY)):
            application, wire, connection = self.open(self.fail_with(method))
            with self.logged("failed"):
                connection.dataReceived(client_frame(opcode) + client_frame(TEXT, b"more"))
            self.assertEqual(wire.sent(), close_frame(1011, "internal error"))
            self.assertEqual((application.heard, application.ends), ([], [(1011, "internal error")]))

    def test_disconnected(self) -> None:
        """A failing `disconnected` does not keep the connection."""
        _, wire, connection = self.open(self.fail_with("disconnected"))
        with self.logged("failed to end"):
            connection.dataReceived(client_close())
        self.assertEqual(wire.ended, "closed")
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.registry), 1)


class PauseTests(ConnectionCase):
    """An application that cannot take more for now."""

    def test_pause(self) -> None:
        """A pause stops reading; resume goes on."""
        self.connection.pause()
        self.assertFalse(self.wire.reading)
        self.connection.pause()
        self.connection.resume()
        self.assertTrue(self.wire.reading)
        self.connection.resume()
        self.receive(client_frame(TEXT, b"a"))
        self.assertEqual(self.application.heard, ["a"])

    def test_what_was_read_waits(self) -> None:
        """Messages behind a pause wait, control frames too, and come in order with what is read later."""
        self.application.on_text = lambda message: self.connection.pause() if message == "a" else None
        self.receive(client_frame(TEXT, b"a"), client_frame(TEXT, b"b"), client_frame(PING))
        self.receive(client_frame(TEXT, b"c"))
        self.assertEqual((self.application.heard, self.wire.sent()), (["a"], b""))
        self.connection.resume()
        self.assertEqual((self.application.heard, self.wire.sent()), (["a", "b", "c"], frame(PONG, b"")))
        self.assertTrue(self.wire.reading)

    def test_pause_each_time(self) -> None:
        """An application may pause again within what resume delivers; reading stays stopped then."""
        self.application.on_text = lambda message: self.connection.pause()
        self.receive(*[client_frame(TEXT, b"%d" % number) for number in range(3)])
        for number in range(3):
            self.assertEqual(len(self.application.heard), number + 1)
            self.assertFalse(self.wire.reading)
            self.connection.resume()
        self.assertEqual(self.application.heard, ["0", "1", "2"])
        self.assertTrue(self.wire.reading)

    def test_resume_from_within(self) -> None:
        """Pause and resume within one message change nothing, and nothing is delivered inside of it."""
        depths: list[int] = []

        def on_text(message: str) -> None:
            depths.append(1)
            self.connection.pause()
            self.connection.resume()
            depths.append(-1)

        self.application.on_text = on_text
        self.receive(*[client_frame(TEXT, b"%d" % number) for number in range(3)])
        self.assertEqual(depths, [1, -1] * 3)
        self.assertEqual(self.application.heard, ["0", "1", "2"])

    def test_received_from_within(self) -> None:
        """Bytes that come in while a message is being given wait for their turn."""
        self.application.on_text = lambda message: self.receive(client_frame(TEXT, b"c")) if message == "a" else None
        self.receive(client_frame(TEXT, b"a"), client_frame(TEXT, b"b"))
        self.assertEqual(self.application.heard, ["a", "b", "c"])

    def test_lost_while_paused(self) -> None:
        """What waits behind a pause goes with the connection, and a late resume does nothing."""
        self.connection.pause()
        self.receive(client_frame(TEXT, b"a"))
        self.lose()
        self.connection.resume()
        self.assertEqual((self.application.heard, self.application.ends[0][0]), ([], 1006))
        self.assertFalse(self.wire.reading)

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=30), st.sets(st.integers(0, 19)))
    def test_any_order(self, steps: list[tuple[int, bool]], pauses: set[int]) -> None:
        """Wherever reads are cut and whenever the application pauses and resumes, it gets each message once, in order."""
        application, _, connection = self.open()
        application.on_text = lambda message: connection.pause() if int(message) in pauses else None
        data = b"".join(client_frame(TEXT, b"%d" % number) for number in range(20))
        for size, resume in [*steps, (len(data), True)]:
            connection.dataReceived(data[:size])
            data = data[size:]
            if resume:
                connection.resume()
        for _ in pauses:
            connection.resume()
        self.assertEqual(application.heard, [str(number) for number in range(20)])


class LivenessTests(ConnectionCase):
    """Pings and the peers that do not answer them."""

    def test_silence(self) -> None:
        """A silent client is pinged after the interval and given up when it does not answer in time."""
        self.clock.advance(29)
        self.assertEqual(self.wire.sent(), b"")
        self.advance(1)
        self.assertEqual(self.wire.sent(), PING_FRAME)
        self.advance(10)
        self.assertEqual(self.wire.ended, "aborted")
        self.assertEqual(self.application.ends, [(1006, "no answer to a ping")])
        self.lose()
        self.assertEqual(len(self.application.ends), 1)

    def test_answer(self) -> None:
        """A client that answers stays, and is pinged again after the next silence."""
        for _ in range(3):
            self.advance(30)
            self.assertEqual(self.wire.sent(), PING_FRAME)
            self.receive(client_frame(PONG))
            self.advance(10)
        self.assertEqual(self.wire.ended, "")

    def test_traffic(self) -> None:
        """A client that says anything within the interval is not pinged."""
        for _ in range(10):
            self.advance(20)
            self.receive(client_frame(TEXT, b"x")[:3])
            self.receive(client_frame(TEXT, b"x")[3:])
        self.assertEqual(self.wire.sent(), b"")

    def test_paused(self) -> None:
        """A client that we do not read from is not judged by its silence, nor right after."""
        self.connection.pause()
        self.advance(200)
        self.assertEqual((self.wire.sent(), self.wire.ended), (b"", ""))
        self.connection.resume()
        self.advance(30)
        self.assertEqual((self.wire.sent(), self.wire.ended), (b"", ""))

    def test_paused_after_ping(self) -> None:
        """A pause while the answer to a ping is awaited makes it no dead client."""
        self.advance(30)
        self.connection.pause()
        self.advance(100)
        self.assertEqual(self.wire.ended, "")

    def test_full_and_stalled(self) -> None:
        """A client that is silent and reads nothing is disconnected; no ping is queued after the waiting data."""
        self.wire.pauseProducing()
        self.advance(30)
        self.assertEqual((self.wire.sent(), self.wire.ended), (b"", ""))
        self.advance(10)
        self.assertEqual(self.application.ends, [(1006, "reads nothing")])

    def test_full_and_slow(self) -> None:
        """A client that is silent because it is still taking bytes stays, and is pinged when they are gone."""
        self.wire.moving = True
        self.wire.pauseProducing()
        self.advance(300)
        self.assertEqual((self.wire.sent(), self.wire.ended), (b"", ""))
        self.wire.resumeProducing()
        self.advance(10)
        self.assertEqual(self.wire.sent(), PING_FRAME)
