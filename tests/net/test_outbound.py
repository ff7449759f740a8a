"""Tests for netsvc.net.outbound, and how transports and their owners go by it."""

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.websocket import WebSocketConnection
from netsvc.net.outbound import Outbound
from netsvc.net.transport import HIGH_WATER
from netsvc.net.wheel import TimingWheel
from netsvc.wire.websocket import CLOSE, text_frame
from tests.core.fakes import TurningClock
from tests.http.channels import ChannelCase, request
from tests.http.connections import LIMITS, Recorder
from tests.net.sockets import DirectCase, FakeSocket, Owner, Receiver


class Waiting:
    """A reader with a number of bytes, which lets go of all or some of them when it is shed."""

    def __init__(self, outbound: Outbound, data: bytes, stubborn: bool = False) -> None:
        self.outbound = outbound
        self.data = data
        self.stubborn = stubborn
        self.told = ""
        outbound.pin(data)
        outbound.moved(self)

    @property
    def waiting(self) -> int:
        """See WaitingReader."""
        return len(self.data)

    def shed(self) -> None:
        """See WaitingReader."""
        self.told += "shed "
        if not self.stubborn:
            self.abortConnection()

    def abortConnection(self) -> None:
        """See WaitingReader."""
        self.told += "aborted"
        self.outbound.unpin(self.data)
        self.outbound.gone(self)


class OutboundTests(SynchronousTestCase):
    """Counting and choosing."""

    def setUp(self) -> None:
        """A bound of 8,000 bytes."""
        self.clock = TurningClock()
        self.outbound = Outbound(self.clock, 8000)

    def told(self, *readers: Waiting) -> list[str]:
        """What readers were told, some turns later."""
        self.clock.pump([0.0] * 5)
        return [reader.told for reader in readers]

    def test_shared_bytes_count_once(self) -> None:
        """What a thousand readers wait for is in memory once, until the last of them has it."""
        frame = bytes(5000)
        readers = [Waiting(self.outbound, frame) for _ in range(1000)]
        self.assertEqual((self.outbound.bytes, len(self.outbound)), (5000, 1000))
        self.assertEqual(set(self.told(*readers)), {""})
        for reader in readers:
            self.assertEqual(self.outbound.bytes, 5000)
            reader.abortConnection()
        self.assertEqual((self.outbound.bytes, len(self.outbound), self.outbound.shed), (0, 0, 0))

    def test_the_worst_go_first(self) -> None:
        """Those that keep most, and of those that keep about as much the one that has stood still longest; no more of them than has to be."""
        small, first, second, third = (Waiting(self.outbound, bytes(size)) for size in (300, 2300, 2200, 2100))
        self.outbound.moved(first)
        self.assertEqual(self.told(first), [""])
        large = Waiting(self.outbound, bytes(4100))
        self.assertEqual(self.told(small, first, second, third, large), ["", "", "", "", "shed aborted"])
        fourth = Waiting(self.outbound, bytes(2050))
        self.assertEqual(self.told(small, first, second, third, fourth), ["", "", "shed aborted", "", ""])
        self.assertEqual(self.outbound.shed, 2)
        self.assertEqual(self.outbound.bytes, 300 + 2300 + 2100 + 2050)

    def test_bounded_work(self) -> None:
        """Many are shed over several turns."""
        readers = [Waiting(self.outbound, bytes(100 + number % 3)) for number in range(400)]
        self.clock.turn()
        self.assertEqual(sum(bool(reader.told) for reader in readers), 64)
        self.told()
        self.assertLessEqual(self.outbound.bytes, 8000)
        self.assertEqual(self.outbound.shed, sum(bool(reader.told) for reader in readers))

    def test_last_words_wait_no_longer_than_there_is_room(self) -> None:
        """Who is shed and keeps something for a while is cut when that is still too much."""
        readers = [Waiting(self.outbound, bytes(3000), stubborn=True) for _ in range(4)]
        self.assertEqual(self.told(*readers), ["shed aborted"] * 4)
        self.assertEqual((self.outbound.bytes, self.outbound.shed, self.clock.getDelayedCalls()), (0, 4, []))

    def test_no_bound(self) -> None:
        """0 is none."""
        outbound = Outbound(self.clock, 0)
        Waiting(outbound, bytes(100_000))
        self.assertEqual((outbound.bytes, self.clock.getDelayedCalls()), (100_000, []))


class TransportTests(DirectCase):
    """What a transport tells, and does when it is shed."""

    def setUp(self) -> None:
        """A client that takes ten bytes."""
        super().setUp()
        self.clock = Clock()
        self.outbound = self.transport.server.outbound = Outbound(self.clock, 100_000)
        self.transport.owner = self.owner = Owner()
        self.socket.room = 10

    def test_what_waits(self) -> None:
        """Counted is what is kept, whole; nothing once it is taken."""
        frame = bytes(30)
        self.transport.write(frame)
        self.transport.write(frame)
        self.assertEqual((self.outbound.bytes, self.transport.waiting), (30, 50))
        self.socket.room = 25
        self.transport.doWrite()
        self.assertEqual((self.outbound.bytes, self.transport.waiting), (30, 25))
        self.socket.room = None
        self.transport.doWrite()
        self.assertEqual((self.outbound.bytes, len(self.outbound), self.transport.waiting), (0, 0, 0))

    def test_shortened(self) -> None:
        """Of what waits only the rest of the piece under way stays; what is written then follows it."""
        self.transport.write(b"a" * 30)
        self.transport.write(b"b" * 5000)
        self.assertTrue(self.transport.shorten())
        self.transport.write(b"bye")
        self.assertEqual(self.outbound.bytes, 33)
        self.socket.room = None
        self.transport.doWrite()
        self.assertEqual(self.socket.taken, b"a" * 30 + b"bye")

    def test_nothing_begun(self) -> None:
        """Then nothing of it stays."""
        self.socket.room = 0
        self.transport.write(b"a" * 30)
        self.assertTrue(self.transport.shorten())
        self.transport.write(b"bye")
        self.socket.room = None
        self.transport.doWrite()
        self.assertEqual(self.socket.taken, b"bye")

    def test_too_long_to_wait_for(self) -> None:
        """A long piece is not waited for."""
        self.transport.write(b"a" * (HIGH_WATER + 11))
        self.assertFalse(self.transport.shorten())

    def test_shed(self) -> None:
        """The owner is asked; without one, as below TLS, the connection is cut. Either way nothing is kept."""
        self.transport.write(bytes(200_000))
        self.clock.advance(0)
        self.assertEqual(self.owner.told, ["full", "shed"])
        self.transport.abortConnection()
        self.assertEqual((self.outbound.bytes, len(self.outbound)), (0, 0))
        other = type(self.transport)(FakeSocket(), Receiver(), self.client, self.transport.server, 0, self.reactor)  # type: ignore[arg-type]
        other.socket.room = 10  # type: ignore[attr-defined]
        other.write(bytes(200_000))
        self.clock.advance(0)
        self.assertEqual((self.outbound.bytes, len(self.outbound), self.outbound.shed), (0, 0, 2))

    def test_lost(self) -> None:
        """A connection that is gone keeps nothing."""
        self.transport.write(bytes(50_000))
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.outbound.bytes, len(self.outbound)), (0, 0))


class WebSocketTests(DirectCase):
    """A WebSocket whose client does not read."""

    def setUp(self) -> None:
        """A bound of 100,000 bytes; the client takes nothing."""
        super().setUp()
        self.clock = Clock()
        self.outbound = self.transport.server.outbound = Outbound(self.clock, 100_000)
        self.application = Recorder()
        wheel = TimingWheel(self.clock)
        self.connection = WebSocketConnection(self.transport, self.application, LIMITS, wheel, OpenWebSockets())  # type: ignore[arg-type]
        self.connection.begin()
        self.socket.room = 10

    def test_closed_with_1013(self) -> None:
        """The frame under way is followed by a Close that says to come back; a client that does not read even that is cut soon."""
        first = text_frame(b"a" * 50)
        self.connection.write(first)
        self.connection.write(text_frame(bytes(120_000)))
        self.clock.advance(0)
        self.assertEqual(self.application.ends[0][0], 1013)
        self.assertEqual(len(self.application.returns), 1, "it was told when to come back")
        self.assertLess(self.outbound.bytes, 200)
        self.socket.room = None
        self.turn()
        self.assertTrue(self.socket.taken.startswith(first))
        self.assertEqual(self.socket.taken[len(first)] & 0x0F, CLOSE)
        self.assertEqual(int.from_bytes(self.socket.taken[len(first) + 2 : len(first) + 4], "big"), 1013)
        self.clock.pump([1.0] * 8)
        self.assertTrue(self.transport._aborting)

    def test_cut(self) -> None:
        """In the midst of a long message there is no place for a Close."""
        self.connection.write(text_frame(bytes(120_000)))
        self.clock.advance(0)
        self.assertEqual((self.application.ends, self.outbound.bytes), ([(1006, "reads nothing")], 0))

    def test_while_closing(self) -> None:
        """One that is being closed is cut."""
        self.connection.close(1000)
        self.transport.write(bytes(120_000))
        self.clock.advance(0)
        self.assertEqual((self.outbound.bytes, self.transport._aborting), (0, True))


class AnswerTests(ChannelCase):
    """An HTTP answer that is not taken."""

    def test_cut(self) -> None:
        """Can only be cut."""
        self.routes.add("GET", "/wait", self.ask, public=True)
        self.client.send(request("/wait"))
        self.client.channel.transport_shed()
        self.assertEqual(self.client.ended, "aborted")
