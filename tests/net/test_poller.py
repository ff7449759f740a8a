"""The poller: it does for connections what a reactor does, and is in the reactor only while there are some."""

import select
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.net.poller import Poller
from tests.net.sockets import FakeReactor

IN, OUT, HUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR


class FakeEpoll:
    """An epoll that is strict about what is registered, and gives the events that the test says."""

    def __init__(self) -> None:
        self.watched: dict[int, int] = {}
        self.ready: list[tuple[int, int]] = []
        self.asked: list[tuple[Any, int]] = []

    def register(self, descriptor: int, events: int) -> None:
        """See epoll."""
        assert descriptor not in self.watched
        self.watched[descriptor] = events

    def modify(self, descriptor: int, events: int) -> None:
        """See epoll."""
        assert descriptor in self.watched
        self.watched[descriptor] = events

    def unregister(self, descriptor: int) -> None:
        """See epoll."""
        del self.watched[descriptor]

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """See epoll."""
        self.asked.append((timeout, most))
        ready, self.ready = self.ready[:most], self.ready[most:]
        return ready

    def fileno(self) -> int:
        """See epoll."""
        return 99


class Connection:
    """A connection that notes what it is told, and gives the answers that the test says."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.told: list[Any] = []
        self.on_read: Any = lambda: None
        self.on_write: Any = lambda: None

    def fileno(self) -> int:
        """See IFileDescriptor."""
        return self.number

    def doRead(self) -> Any:
        """See IReadDescriptor."""
        self.told.append("read")
        return self.on_read()

    def doWrite(self) -> Any:
        """See IWriteDescriptor."""
        self.told.append("write")
        return self.on_write()

    def connectionLost(self, reason: Failure) -> None:
        """See IFileDescriptor."""
        self.told.append(type(reason.value))

    def readConnectionLost(self, reason: Failure) -> None:
        """See IHalfCloseableDescriptor."""
        self.told.append("end")


class PollerTests(SynchronousTestCase):
    """What it watches and what it tells."""

    def setUp(self) -> None:
        """Two connections that are read from."""
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor)
        self.epoll: Any = FakeEpoll()
        self.poller._epoll = self.epoll
        self.one, self.two = Connection(1), Connection(2)
        for connection in (self.one, self.two):
            self.poller.addReader(connection)

    def serve(self, *events: tuple[int, int]) -> None:
        """Events are ready; the reactor calls."""
        self.epoll.ready += events
        self.poller.doRead()

    def test_interface(self) -> None:
        """To the reactor it is a descriptor that is read."""
        self.assertTrue(verifyObject(IReadDescriptor, self.poller))
        self.assertEqual((self.poller.fileno(), self.poller.logPrefix()), (99, "netsvc"))

    def test_in_the_reactor(self) -> None:
        """It is there from the first connection to the last."""
        self.assertEqual(self.reactor.reading, {self.poller})
        self.poller.removeReader(self.one)
        self.assertEqual(self.reactor.reading, {self.poller})
        self.poller.removeReader(self.two)
        self.assertEqual((self.reactor.reading, self.epoll.watched), (set(), {}))

    def test_watching(self) -> None:
        """Reading and writing are watched for apart; asking twice is no error."""
        for call, events in (
            (self.poller.addReader, IN),
            (self.poller.addWriter, IN | OUT),
            (self.poller.addWriter, IN | OUT),
            (self.poller.removeReader, OUT),
            (self.poller.addReader, IN | OUT),
            (self.poller.removeWriter, IN),
        ):
            call(self.one)
            self.assertEqual(self.epoll.watched[1], events)
        self.poller.removeReader(self.one)
        self.poller.removeReader(self.one)
        self.poller.removeWriter(self.one)
        self.assertEqual(self.epoll.watched, {2: IN})

    def test_closed_descriptor(self) -> None:
        """A connection without a descriptor is passed over."""
        self.poller.addReader(Connection(-1))
        self.assertEqual(self.epoll.watched, {1: IN, 2: IN})

    def test_events(self) -> None:
        """Each connection is told of its own events, reading first."""
        self.serve((1, IN), (2, IN | OUT))
        self.serve((1, OUT))
        self.assertEqual((self.one.told, self.two.told), (["read", "write"], ["read", "write"]))

    def test_never_waits(self) -> None:
        """It takes what is ready, a bounded number at once; the rest is served in the next turn."""
        self.serve(*[(1, IN)] * 300)
        self.assertEqual((self.epoll.asked, len(self.one.told)), ([(0, 256)], 256))
        self.poller.doRead()
        self.assertEqual(len(self.one.told), 300)

    def test_end(self) -> None:
        """The orderly end of what the other end sends is told as that, and no more is read."""
        self.one.on_read = lambda: CONNECTION_DONE
        self.serve((1, IN | HUP))
        self.assertEqual((self.one.told, self.epoll.watched), (["read", "end"], {2: IN}))

    def test_broken_while_reading(self) -> None:
        """An error while reading ends the connection."""
        self.poller.addWriter(self.one)
        self.one.on_read = lambda: CONNECTION_LOST
        self.serve((1, IN | OUT))
        self.assertEqual((self.one.told, self.epoll.watched), (["read", ConnectionLost], {2: IN}))

    def test_end_while_writing(self) -> None:
        """A close that waited for the last bytes ends the connection, also if there was something to read."""
        for event in (OUT, IN | OUT):
            self.setUp()
            self.poller.addWriter(self.one)
            self.one.on_write = lambda: CONNECTION_DONE
            self.serve((1, event))
            self.assertEqual(self.one.told[-2:], ["write", ConnectionDone])

    def test_hung_up(self) -> None:
        """Without anything to read it is over: orderly if we were reading, else not."""
        self.serve((1, HUP))
        self.poller.addWriter(self.two)
        self.poller.removeReader(self.two)
        self.serve((2, ERR | HUP))
        self.assertEqual((self.one.told, self.two.told), ([ConnectionDone], [ConnectionLost]))

    def test_bug(self) -> None:
        """A connection that raises is logged and ended; the others go on."""
        self.one.on_read = lambda: {}["bug"]
        self.serve((1, IN), (2, IN))
        self.assertEqual((self.one.told, self.two.told), (["read", KeyError], ["read"]))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_bug_at_the_end(self) -> None:
        """One that raises when it is told of its end is logged; neither the poller nor the others end with it."""

        def bug(reason: Failure) -> None:
            raise KeyError("bug")

        self.one.on_read = lambda: CONNECTION_LOST
        self.patch(self.one, "connectionLost", bug)
        self.serve((1, IN), (2, IN))
        self.assertEqual((self.two.told, self.epoll.watched, self.reactor.reading), (["read"], {2: IN}, {self.poller}))
        self.poller.addReader(self.one)
        self.poller.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual(self.two.told, ["read", ConnectionLost])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_closed_by_another(self) -> None:
        """A connection that another one has closed in this turn is not told of its event."""
        self.one.on_read = lambda: self.poller.removeReader(self.two)
        self.serve((1, IN), (2, IN))
        self.assertEqual(self.two.told, [])

    def test_the_reactor_stops(self) -> None:
        """Then all connections are lost."""
        self.poller.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual((self.one.told, self.two.told), ([ConnectionLost], [ConnectionLost]))

    def test_passes_on(self) -> None:
        """What else connections ask of a reactor, they get from it."""
        self.poller.callLater(1, self.one.told.append, "later")
        self.reactor.advance(1)
        self.assertEqual(self.one.told, ["later"])
