"""When a WebSocket is read from."""

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.appender import Appender
from netsvc.core.records import Draft
from netsvc.rpc.pace import Bounds, PacedConnection
from netsvc.store.memory import MemoryStore
from tests.rpc.fakes import FakeConnection


class PostingConnection(PacedConnection):
    """Posts a draft for each message; the connection under it fails the test if it is paused or resumed twice."""

    __slots__ = ()

    def connected(self, connection: FakeConnection) -> None:
        """The handshake is done."""
        self._transport = connection

    def disconnected(self) -> None:
        """The connection is over."""
        self._transport = None

    def begin(self) -> None:
        """A message has come: a call begins."""
        assert self._reading, "a message although nothing is read"
        self._began()

    def end(self) -> None:
        """A call is answered."""
        self._ended()


class PaceTests(TestCase):
    """Three calls under way, a queue of four posts."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.appender = Appender(MemoryStore(self.clock), self.clock, lambda batch: None, 2, 4)
        self.bounds = Bounds(3, self.appender)
        self.socket, self.connection = self.connect()

    def connect(self) -> tuple[PostingConnection, FakeConnection]:
        """One more client."""
        socket, connection = PostingConnection(self.bounds), FakeConnection()
        socket.connected(connection)
        return socket, connection

    def post(self, count: int) -> None:
        """Drafts for the store."""
        for _ in range(count):
            self.appender.append(Draft("lobby", "message", "alice", 0, "hi"))

    def test_calls_under_way(self) -> None:
        """As many as may be, then no further one before one of them is answered."""
        for _ in range(3):
            self.assertTrue(self.connection.reading)
            self.socket.begin()
        self.assertFalse(self.connection.reading)
        self.socket.end()
        self.assertTrue(self.connection.reading)

    def test_every_reason_counts(self) -> None:
        """It is read from again when the last reason not to is gone, in whatever order they go."""
        self.socket.read_no_further()
        self.socket.read_no_further()
        self.connection.window = 0
        self.connection.watch(self.socket)
        self.connection.write(b"x")
        self.socket.read_on()
        self.connection.read()
        self.assertFalse(self.connection.reading)
        self.socket.read_on()
        self.assertTrue(self.connection.reading)

    def test_the_store_is_behind(self) -> None:
        """Who posts then is read from when half of the queue is free, not before, though calls are answered and answers taken."""
        self.post(4)
        self.socket.begin()
        self.assertFalse(self.connection.reading)
        self.socket.end()
        self.socket.sink_drained()
        self.assertFalse(self.connection.reading)
        self.clock.advance(0)
        self.assertTrue(self.connection.reading)

    def test_the_store_stays_behind(self) -> None:
        """Who waits for it is kept once, and nothing of who has gone."""
        self.post(4)
        for _ in range(100):
            socket, connection = self.connect()
            socket.begin()
            for _ in range(3):
                socket.sink_full()
                socket.sink_drained()
            self.assertFalse(connection.reading)
            socket.disconnected()
        self.assertLessEqual(len(self.appender._paused), 100)
        self.clock.advance(0)
        self.assertEqual(len(self.appender._paused), 0)

    def test_over(self) -> None:
        """A connection that is gone is neither paused nor resumed."""
        for _ in range(3):
            self.socket.begin()
        self.socket.disconnected()
        for _ in range(3):
            self.socket.end()
        self.socket.sink_drained()
        self.assertFalse(self.connection.reading)
