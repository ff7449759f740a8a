"""WebSocket connections: compression, and what a client may make netsvc do with few bytes."""

import tracemalloc

import msgspec

from netsvc.wire.deflate import Agreement, Deflater
from netsvc.wire.websocket import BINARY, PING, PONG, TEXT, close_frame, frame, text_frame
from tests.http.connections import ConnectionCase
from tests.wire.test_deflate import deflated
from tests.wire.test_websocket import client_frame


class CompressionTests(ConnectionCase):
    """A connection on which compression was agreed."""

    def setUp(self) -> None:
        """One more connection, with the agreement."""
        super().setUp()
        self.deflater = Deflater(3, 1, 1000)
        self.application, self.wire, self.connection = self.open(agreement=Agreement(b"", self.deflater, 15))

    def test_send(self) -> None:
        """Messages are compressed where that makes them shorter; ready frames and control frames are sent as they are."""
        self.connection.send_text(b"a" * 100)
        self.connection.send_binary(b"b" * 100)
        self.connection.send_text(b"c")
        self.connection.write(b"\x81\x01d")
        self.receive(client_frame(PING, b"e" * 100))
        expected = (
            self.deflater.frame(TEXT, b"a" * 100),
            self.deflater.frame(BINARY, b"b" * 100),
            text_frame(b"c"),
            text_frame(b"d"),
            frame(PONG, b"e" * 100),
        )
        self.assertEqual(self.wire.sent(), b"".join(expected))

    def test_framing(self) -> None:
        """What makes frames is the same for all who are sent the same, and another where nothing was agreed."""
        _, _, same = self.open(agreement=Agreement(b"", self.deflater, 9))
        _, wire, plain = self.open()
        self.assertIs(same.text_frame, self.connection.text_frame)
        self.assertIs(plain.text_frame, text_frame)
        plain.send_binary(b"b" * 100)
        self.assertEqual(wire.sent(), frame(BINARY, b"b" * 100))

    def test_receive(self) -> None:
        """Compressed and plain messages arrive in order."""
        self.receive(client_frame(TEXT, deflated(b"a" * 500), reserved=0x40), client_frame(TEXT, b"b"))
        self.assertEqual(self.application.heard, ["a" * 500, "b"])

    def test_bomb(self) -> None:
        """A message that inflates beyond the longest ends the connection with 1009; those before it arrive."""
        self.receive(client_frame(TEXT, b"good"), client_frame(TEXT, deflated(b"a" * 1001), reserved=0x40))
        self.assertEqual((self.application.heard, [code for code, _ in self.application.ends]), (["good"], [1009]))
        self.assertEqual(self.wire.ended, "half closed")


class OverheadTests(ConnectionCase):
    """Frames that cost more than they bring: the limit is 100 in a second, and what comes in five seconds may come at once."""

    def test_steady(self) -> None:
        """A client that keeps to the rate may do so for ever."""
        for number in range(100):
            self.receive(*[client_frame(PING, b"%d" % number)] * 95)
            self.assertEqual(self.wire.sent(), frame(PONG, b"%d" % number) * 95)
            self.clock.advance(1.0)
        self.assertEqual(self.application.ends, [])

    def test_flood_of_pings(self) -> None:
        """More pings than that are not answered, and end the connection with 1008."""
        for _ in range(6):
            self.receive(*[client_frame(PING)] * 100)
        self.wire.sent()
        self.receive(*[client_frame(PING)] * 100)
        self.assertEqual([code for code, _ in self.application.ends], [1008])
        self.assertEqual(self.wire.sent(), close_frame(1008, "too many pings or tiny fragments"))
        self.assertEqual(self.wire.ended, "half closed")
        self.receive(*[client_frame(PING)] * 10_000)
        self.assertEqual(self.wire.sent(), b"")

    def test_flood_of_fragments(self) -> None:
        """Likewise a message in tiny fragments that never ends."""
        self.receive(client_frame(TEXT, b"", fin=False))
        self.receive(*[client_frame(0, b"", fin=False)] * 1000)
        self.assertEqual(([code for code, _ in self.application.ends], self.application.heard), ([1008], []))

    def test_recovery(self) -> None:
        """Time makes up for a burst."""
        for _ in range(3):
            self.receive(*[client_frame(PONG)] * 500)
            self.advance(5)
        self.assertEqual(self.application.ends, [])

    def test_inflated_far(self) -> None:
        """One read is inflated no further than the bound allows, however many messages are in it."""
        self.limits = msgspec.structs.replace(self.limits, max_message=1 << 20)
        application, _, connection = self.open(agreement=Agreement(b"", Deflater(3, 1, 1000), 15))
        data = client_frame(TEXT, deflated(b"a" * (1 << 20)), reserved=0x40)
        connection.dataReceived(data)
        self.assertEqual(len(application.heard), 1)
        tracemalloc.start()
        try:
            connection.dataReceived(data * 60)
            self.assertLess(tracemalloc.get_traced_memory()[1], 10 << 20)
        finally:
            tracemalloc.stop()
        self.assertEqual((len(application.heard), [code for code, _ in application.ends]), (2, [1008]))

    def test_messages_are_free(self) -> None:
        """Whole messages are not counted here, whatever their number."""
        self.receive(*[client_frame(TEXT, b"")] * 5000)
        self.assertEqual((len(self.application.heard), self.application.ends), (5000, []))


class WaitingTests(ConnectionCase):
    """What was read from a client that is not read from any more."""

    def pause(self, message: str) -> None:
        """The application wants no more."""
        self.connection.pause()

    def held(self, data: bytes) -> int:
        """Bytes of memory that this costs while the application, after the first message of it, wants no more."""
        self.application.on_text = self.pause
        tracemalloc.start()
        try:
            self.connection.dataReceived(data)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    def test_tiny_messages(self) -> None:
        """A read full of tiny messages waits as bytes, not as thousands of objects; all of them come in the end, in order."""
        messages = [f"{number}" for number in range(7000)]
        data = b"".join(client_frame(TEXT, message.encode()) for message in messages)
        self.assertLess(self.held(data), 1.5 * len(data))
        self.assertEqual(self.application.heard, ["0"])
        self.connection.resume()
        self.assertEqual(self.application.heard, ["0", "1"])
        self.application.on_text = lambda message: None
        self.connection.resume()
        self.assertEqual(self.application.heard, messages)
        self.assertTrue(self.wire.reading)

    def test_inflated(self) -> None:
        """Likewise of messages that inflate to many times their length."""
        self.limits = msgspec.structs.replace(self.limits, max_message=1 << 20)
        self.application, self.wire, self.connection = self.open(agreement=Agreement(b"", Deflater(3, 1, 1000), 15))
        for size in (4000, 60_000):
            message = b"".join(b"%d " % number for number in range(size // 5))
            data = client_frame(TEXT, deflated(message), reserved=0x40)
            data *= (1 << 16) // len(data)
            self.assertLess(self.held(data), 7 * len(data))
            heard = len(self.application.heard)
            self.connection.resume()
            self.assertEqual(len(self.application.heard), heard + 1)
            self.application.on_text = lambda message: None
            self.connection.resume()

    def test_more_while_delivering(self) -> None:
        """What arrives while messages are delivered, as over TLS, comes behind them."""
        def more(message: str) -> None:
            self.application.on_text = lambda message: None
            self.connection.dataReceived(client_frame(TEXT, b"c"))

        self.application.on_text = more
        self.receive(client_frame(TEXT, b"a"), client_frame(TEXT, b"b"))
        self.assertEqual(self.application.heard, ["a", "b", "c"])


class UnfinishedTests(ConnectionCase):
    """Messages that do not come to their end: a minute is allowed, and looked at every half."""

    def test_too_slow(self) -> None:
        """A client that goes on and on with one message is closed with 1008."""
        self.receive(client_frame(TEXT, b"", fin=False))
        for _ in range(95):
            self.receive(client_frame(0, b"a", fin=False))
            self.clock.advance(1.0)
        self.assertEqual((self.application.ends, self.wire.ended), ([(1008, "a message took too long to arrive")], "half closed"))

    def test_one_after_the_other(self) -> None:
        """One that is always in the midst of a message, but never of the same for long, stays."""
        for number in range(10):
            self.receive(client_frame(TEXT, b"", fin=False))
            for _ in range(40):
                self.receive(client_frame(0, b"a", fin=False))
                self.clock.advance(1.0)
            self.receive(client_frame(0, b"a"))
            self.assertEqual(len(self.application.heard), number + 1)

    def test_not_read_from(self) -> None:
        """What the client could not send, since nothing was read from it, is not held against it."""
        self.receive(client_frame(TEXT, b"", fin=False))
        self.connection.pause()
        self.advance(200)
        self.connection.resume()
        self.advance(20)
        self.receive(client_frame(0, b"a"))
        self.assertEqual((self.application.heard, self.application.ends), (["a"], []))
