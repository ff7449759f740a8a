"""Transports that send at once: order, what waits, how they end, what Twisted expects of them."""

from errno import ECONNRESET, ENOBUFS
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.net.transport import HIGH_WATER, READ_SIZE
from tests.net.sockets import DirectCase, Owner, Producer, Receiver


class WriteTests(DirectCase):
    """Sending."""

    def test_at_once(self) -> None:
        """What the kernel takes is sent at once; the reactor has nothing to do."""
        self.transport.write(b"hello")
        self.transport.writeSequence([b" ", b"world"])
        self.assertEqual((self.socket.taken, self.waiting, self.transport.full, self.owner.told), (b"hello world", False, False, []))

    def test_in_part(self) -> None:
        """What it does not take waits, and goes first when there is room again."""
        self.socket.room = 2
        self.transport.write(b"hello")
        self.assertEqual((self.socket.taken, self.waiting, self.transport.full, self.owner.told), (b"he", True, True, ["full"]))
        self.transport.write(b" world")
        self.assertEqual(self.socket.taken, b"he")
        self.socket.room = 5
        self.turn()
        self.assertEqual((self.socket.taken, self.transport.full, self.owner.told), (b"hello w", True, ["full"]))
        self.socket.room = None
        self.turn()
        self.assertEqual((self.socket.taken, self.waiting, self.transport.full), (b"hello world", False, False))
        self.assertEqual(self.owner.told, ["full", "drained"])

    def test_would_block(self) -> None:
        """The same if it takes nothing, then and later."""
        self.socket.room = 0
        self.transport.write(b"hello")
        self.turn()
        self.assertEqual((self.waiting, self.transport.full), (True, True))
        self.socket.room = None
        self.turn()
        self.assertEqual((self.socket.taken, self.owner.told), (b"hello", ["full", "drained"]))

    def test_many_pieces(self) -> None:
        """Many pieces that wait are handed over by few calls, in order."""
        self.socket.room = 0
        pieces = [b"%d," % number for number in range(1000)]
        for piece in pieces:
            self.transport.write(piece)
        self.socket.room = None
        turns = 0
        while self.transport.full:
            self.turn()
            turns += 1
        self.assertEqual(self.socket.taken, b"".join(pieces))
        self.assertLess(turns, 20)

    def test_no_copy(self) -> None:
        """What waits is the caller's own bytes object, however much of it was sent."""
        shared = b"x" * 100_000
        self.assertEqual(self.transport.raw_send(shared[:10]), 10)
        self.transport.rest(shared, 10)
        self.assertIs(self.transport._backlog.chunks[0], shared)
        self.socket.taken = b""
        self.turn()
        self.assertEqual(self.socket.taken, shared[10:])

    def test_mutable(self) -> None:
        """Bytes that could change are copied."""
        self.socket.room = 0
        data = bytearray(b"hello")
        self.transport.write(data)
        data[0] = 0
        self.socket.room = None
        self.turn()
        self.assertEqual(self.socket.taken, b"hello")

    def test_rest_after_rest(self) -> None:
        """Another rest goes behind the first."""
        self.transport.rest(b"abc", 1)
        self.transport.rest(b"def", 1)
        self.transport.rest(b"ghi", 0)
        self.transport.rest(b"jkl", 3)
        self.turn()
        self.assertEqual(self.socket.taken, b"bcefghi")

    def test_no_text(self) -> None:
        """Text is a mistake of the caller."""
        self.assertRaises(TypeError, self.transport.write, "hello")

    def test_broken(self) -> None:
        """An error of the socket is reported by the reactor's call, not in the midst of the caller."""
        self.socket.break_()
        self.transport.write(b"hello")
        self.assertEqual((self.lost(), self.waiting), (None, True))
        self.turn()
        self.assertIsInstance(self.lost(), ConnectionLost)

    def test_no_memory(self) -> None:
        """A kernel out of buffers is tried again."""
        self.socket.error = OSError(ENOBUFS, "no buffers")
        self.transport.write(b"hello")
        self.turn()
        self.socket.error = None
        self.turn()
        self.assertEqual((self.socket.taken, self.lost()), (b"hello", None))

    def test_stalled(self) -> None:
        """It can be asked whether the other end takes anything."""
        self.assertFalse(self.transport.stalled())
        self.socket.room = 1
        self.transport.write(b"hello")
        self.assertEqual([self.transport.stalled(), self.transport.stalled()], [False, True])
        self.socket.room = 1
        self.turn()
        self.assertEqual([self.transport.stalled(), self.transport.stalled()], [False, True])
        self.socket.room = None
        self.turn()
        self.assertFalse(self.transport.stalled())

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.one_of(st.binary(min_size=1, max_size=40).map(lambda data: ("write", data)), st.integers(0, 50).map(lambda room: ("room", room)))))
    def test_order(self, steps: list[tuple[str, Any]]) -> None:
        """Whatever the kernel takes and when, every byte arrives once and in order, and owners hear full and drained in turn."""
        self.setUp()
        expected = b""
        for step, value in steps:
            if step == "write":
                expected += value
                self.transport.write(value)
            else:
                self.socket.room = value
                if self.waiting:
                    self.turn()
            self.assertTrue(expected.startswith(self.socket.taken))
            self.assertEqual(self.transport.full, self.socket.taken != expected)
        self.socket.room = None
        while self.waiting:
            self.turn()
        self.assertEqual(self.socket.taken, expected)
        self.assertEqual(self.owner.told, ["full", "drained"] * (len(self.owner.told) // 2))


class EndTests(DirectCase):
    """How a connection ends."""

    def test_close(self) -> None:
        """Closing waits for what is to be sent, then is orderly."""
        self.socket.room = 2
        self.transport.write(b"hello")
        self.transport.loseConnection()
        self.transport.loseConnection()
        self.turn()
        self.assertEqual((self.lost(), self.transport in self.reactor.reading), (None, False))
        self.socket.room = None
        self.turn()
        self.assertIsInstance(self.lost(), ConnectionDone)
        self.assertEqual((self.socket.taken, self.socket.closed), (b"hello", True))
        self.assertIn(("shutdown", 2), self.socket.calls)

    def test_close_with_nothing_to_send(self) -> None:
        """It never happens in the midst of the caller."""
        self.transport.loseConnection()
        self.assertEqual((self.lost(), self.waiting), (None, True))
        self.turn()
        self.assertIsInstance(self.lost(), ConnectionDone)

    def test_write_after_close(self) -> None:
        """What is written between is sent, as on any Twisted transport."""
        self.transport.loseConnection()
        self.transport.write(b"bye")
        self.turn()
        self.assertEqual((self.socket.taken, self.socket.closed), (b"bye", True))

    def test_half_close(self) -> None:
        """Our direction is closed after what waits; then nothing is sent any more, but reading goes on."""
        self.socket.room = 2
        self.transport.write(b"hello")
        self.transport.lose_write_connection()
        self.assertNotIn(("shutdown", 1), self.socket.calls)
        self.socket.room = None
        self.turn()
        self.assertIn(("shutdown", 1), self.socket.calls)
        self.transport.write(b"more")
        self.assertEqual((self.socket.taken, self.transport.full, self.waiting), (b"hello", True, False))
        self.socket.incoming.append(b"still here")
        self.transport.doRead()
        self.assertEqual((self.protocol.received, self.lost()), (b"still here", None))
        self.turn()
        self.transport.loseConnection()
        self.assertIsInstance(self.lost(), ConnectionDone)

    def test_half_close_is_told(self) -> None:
        """A protocol that wants to know of closed halves is told."""
        told: list[str] = []

        @implementer(IHalfCloseableProtocol)
        class Halves(Receiver):
            def readConnectionLost(self) -> None:
                told.append("read")

            def writeConnectionLost(self) -> None:
                told.append("write")

        self.transport.hand_over(Halves())
        self.transport.lose_write_connection()
        self.turn()
        self.transport.readConnectionLost(Failure(CONNECTION_DONE))
        self.assertEqual(told, ["write", "read"])

    def test_abort(self) -> None:
        """Aborting drops what waits, in a later turn, and nothing is read or sent meanwhile."""
        self.socket.room = 0
        self.transport.write(b"hello")
        self.transport.abortConnection()
        self.transport.abortConnection()
        self.assertEqual((self.lost(), self.reactor.reading, self.reactor.writing), (None, set(), set()))
        self.assertIsNone(self.transport.doRead())
        self.assertIsNone(self.transport.doWrite())
        self.reactor.advance(0)
        self.assertIsInstance(self.lost(), ConnectionAborted)
        self.assertTrue(self.socket.closed)

    def test_lost(self) -> None:
        """After the end everything is refused quietly, and the end comes once."""
        self.transport.connectionLost(Failure(CONNECTION_LOST))
        self.transport.connectionLost(Failure(CONNECTION_LOST))
        self.transport.write(b"x")
        self.transport.rest(b"x", 0)
        self.transport.loseConnection()
        self.assertEqual((len(self.protocol.reasons), self.transport.full, self.transport.fileno()), (1, True, -1))
        self.assertRaises(OSError, self.transport.raw_send, b"x")
        self.assertEqual((self.reactor.reading, self.reactor.writing), (set(), set()))


class ReadTests(DirectCase):
    """Receiving."""

    def test_data(self) -> None:
        """Up to 64 KiB are read at a time, though only 16 may wait to be sent."""
        self.socket.incoming.append(b"hello")
        self.assertIsNone(self.transport.doRead())
        self.assertEqual((self.protocol.received, self.socket.calls[-1], self.transport.bufferSize), (b"hello", ("recv", READ_SIZE), HIGH_WATER))

    def test_nothing(self) -> None:
        """A false alarm is none."""
        self.assertIsNone(self.transport.doRead())

    def test_end(self) -> None:
        """The end is orderly, an error is not."""
        self.socket.incoming.extend([b"", OSError(ECONNRESET, "reset")])
        self.assertIs(self.transport.doRead(), CONNECTION_DONE)
        self.assertIs(self.transport.doRead(), CONNECTION_LOST)

    def test_pause(self) -> None:
        """Reading can be paused and resumed; not resumed while the connection closes."""
        self.transport.pause_reading()
        self.assertEqual(self.reactor.reading, set())
        self.transport.resume_reading()
        self.assertEqual(self.reactor.reading, {self.transport})
        self.transport.loseConnection()
        self.transport.resume_reading()
        self.assertEqual(self.reactor.reading, set())

    def test_hand_over(self) -> None:
        """Another protocol can take over: it receives, owns, and hears of the end."""

        class Successor(Receiver, Owner):
            def __init__(self) -> None:
                Receiver.__init__(self)
                Owner.__init__(self)

        successor = Successor()
        self.transport.hand_over(successor)
        self.socket.incoming.append(b"hello")
        self.transport.doRead()
        self.socket.room = 0
        self.transport.write(b"x")
        self.transport.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual((successor.received, successor.told, len(successor.reasons)), (b"hello", ["full"], 1))
        self.assertEqual((self.protocol.received, self.protocol.reasons, self.owner.told), (b"", [], []))


class ProducerTests(DirectCase):
    """IConsumer, for what runs on top (TLS for one)."""

    def setUp(self) -> None:
        """A producer."""
        super().setUp()
        self.producer = Producer()
        self.transport.owner = None

    def test_push(self) -> None:
        """A producer is paused above 16 KiB and resumed when all is sent."""
        self.transport.registerProducer(self.producer, True)
        self.transport.write(b"x" * 100_000)
        self.assertEqual(self.producer.told, [])
        self.socket.room = 0
        self.transport.write(b"x" * HIGH_WATER)
        self.assertEqual(self.producer.told, [])
        self.transport.write(b"x")
        self.assertEqual(self.producer.told, ["pause"])
        self.socket.room = HIGH_WATER
        self.turn()
        self.assertEqual(self.producer.told, ["pause"])
        self.socket.room = None
        self.turn()
        self.assertEqual(self.producer.told, ["pause", "resume"])

    def test_pull(self) -> None:
        """A pull producer is asked again after each piece, although that was sent at once."""
        transport = self.transport
        left = [b"a", b"b", b"c"]

        class Pull(Producer):
            def resumeProducing(self) -> None:
                if left:
                    transport.write(left.pop(0))
                else:
                    transport.unregisterProducer()

        self.transport.registerProducer(Pull(), False)
        while self.waiting:
            self.turn()
        self.assertEqual(self.socket.taken, b"abc")

    def test_close_with_producer(self) -> None:
        """A producer at work holds up the close until it is unregistered."""
        self.transport.registerProducer(self.producer, True)
        self.socket.room = 0
        self.transport.write(b"x" * 20_000)
        self.transport.loseConnection()
        self.socket.room = None
        self.turn()
        self.assertEqual((self.producer.told, self.lost()), (["pause", "resume"], None))
        self.transport.unregisterProducer()
        self.turn()
        self.assertIsInstance(self.lost(), ConnectionDone)

    def test_stop(self) -> None:
        """A producer is stopped with the connection, and one that comes later at once."""
        self.transport.registerProducer(self.producer, True)
        self.transport.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual(self.producer.told, ["stop"])
        self.transport.registerProducer(self.producer, True)
        self.assertEqual(self.producer.told, ["stop", "stop"])
