"""WebSocket connections as sinks of a fan-out, in the register of those open, and in memory."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.websocket import WebSocketConnection
from netsvc.interfaces import ISink, ISinkWatcher, IWebSocketApplication
from netsvc.wire.websocket import PING, TEXT, close_frame, text_frame
from tests.http.connections import LIMITS, ConnectionCase, Wire
from tests.wire.test_websocket import client_frame


@implementer(ISinkWatcher)
class Watcher:
    """Notes what it is told in a list that it shares with others."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.then: Callable[[], object] = lambda: None

    def sink_full(self) -> None:
        """See ISinkWatcher."""
        self.log.append(f"{self.name} full")
        self.then()

    def sink_drained(self) -> None:
        """See ISinkWatcher."""
        self.log.append(f"{self.name} drained")
        self.then()


class Turns:
    """A clock that runs what is to be called later one by one, as reactor turns would; Clock.advance runs all in one go."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def callLater(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        """See IReactorTime."""
        self.calls.append(partial(call, *arguments))


class SinkTests(ConnectionCase):
    """What the fan-out of a room sees."""

    def setUp(self) -> None:
        """Have three watchers at hand."""
        super().setUp()
        self.log: list[str] = []
        self.a, self.b, self.c = (Watcher(name, self.log) for name in "abc")

    def fill(self) -> None:
        """The transport has bytes waiting."""
        self.wire.pauseProducing()

    def drain(self) -> None:
        """They are gone."""
        self.wire.resumeProducing()

    def told(self) -> list[str]:
        """What the watchers were told since the last time."""
        told = self.log[:]
        self.log.clear()
        return told

    def test_interface(self) -> None:
        """It is an ISink, and its parts keep to their interfaces."""
        verifyObject(ISink, self.connection)
        verifyObject(ISinkWatcher, self.a)
        verifyObject(IWebSocketApplication, self.application)

    def test_send(self) -> None:
        """Raw sends and rests reach the transport."""
        self.assertEqual(self.connection.raw_send(text_frame(b"a")), 3)
        self.connection.rest(b"xx" + text_frame(b"b"), 2)
        self.assertEqual(self.wire.sent(), b"\x81\x01a\x81\x01b")

    def test_one_watcher(self) -> None:
        """A watcher hears of full and drained until it stops watching."""
        self.connection.watch(self.a)
        self.connection.watch(self.a)
        self.fill()
        self.assertTrue(self.connection.full)
        self.drain()
        self.assertFalse(self.connection.full)
        self.assertEqual(self.told(), ["a full", "a drained"])
        self.connection.unwatch(self.b)
        self.connection.unwatch(self.a)
        self.connection.unwatch(self.a)
        self.fill()
        self.drain()
        self.assertEqual(self.told(), [])

    def test_several_watchers(self) -> None:
        """All watchers hear of it; one that has left does not."""
        for watcher in (self.a, self.b, self.c):
            self.connection.watch(watcher)
        self.connection.unwatch(self.b)
        self.connection.unwatch(self.b)
        self.fill()
        self.drain()
        self.assertEqual(self.told(), ["a full", "c full", "a drained", "c drained"])

    def test_unwatch_from_within(self) -> None:
        """A watcher may take itself and others off while it is told."""
        for watcher in (self.a, self.b, self.c):
            self.connection.watch(watcher)
        self.a.then = lambda: (self.connection.unwatch(self.a), self.connection.unwatch(self.b))
        self.fill()
        self.connection.watch(self.b)
        self.b.then = lambda: (self.connection.unwatch(self.b), self.connection.unwatch(self.c))
        self.drain()
        self.assertEqual(self.told(), ["a full", "c full", "c drained", "b drained"])
        self.fill()
        self.assertEqual(self.told(), [])

    def test_others_taken_off_while_drained(self) -> None:
        """Whom a watcher takes off before its turn is not told."""
        for watcher in (self.a, self.b):
            self.connection.watch(watcher)
        self.fill()
        self.told()
        self.a.then = lambda: self.connection.unwatch(self.b)
        self.drain()
        self.assertEqual(self.told(), ["a drained"])

    def test_turns(self) -> None:
        """When one watcher fills the sink again the others wait, and have their turn first the next time."""
        for watcher in (self.a, self.b, self.c):
            self.connection.watch(watcher)
        self.fill()
        self.told()
        for watcher in (self.a, self.b, self.c):
            watcher.then = lambda: None if self.connection.full else self.fill()
        for name in "abca":
            self.drain()
            self.assertEqual(self.told()[0], f"{name} drained")

    def test_pong_first(self) -> None:
        """If the pong that was due fills the sink again, nobody is told that it drained."""
        self.connection.watch(self.a)
        self.fill()
        self.receive(client_frame(PING))
        self.told()
        write = self.wire.inner.write
        self.wire.inner.write = lambda data: (write(data), self.fill())
        self.drain()
        self.assertEqual(self.told(), ["a full"])

    def test_end(self) -> None:
        """When the connection ends, watchers are forgotten."""
        self.connection.watch(self.a)
        self.lose()
        self.fill()
        self.drain()
        self.assertEqual(self.told(), [])


class OpenWebSocketsTests(ConnectionCase):
    """The register and its draining."""

    def test_drain(self) -> None:
        """Every connection is told, a slice in each reactor turn; the Deferred fires when the last is gone."""
        opened = [self.open() for _ in range(4)] + [(self.application, self.wire, self.connection)]
        turns = Turns()
        gone = self.registry.drain(turns, 1001, "bye", per_turn=2)
        counts = [sum(wire.sent() == close_frame(1001, "bye") for _, wire, _ in opened)]
        while turns.calls:
            turns.calls.pop()()
            counts.append(sum(wire.sent() == close_frame(1001, "bye") for _, wire, _ in opened))
        self.assertEqual(counts, [2, 2, 1])
        self.assertTrue(all(application.ends == [(1001, "bye")] for application, _, _ in opened))
        for _, _, connection in opened:
            self.assertNoResult(gone)
            connection.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.successResultOf(gone))

    def test_return_times(self) -> None:
        """Each client has a time of its own to come back, also one that opens meanwhile."""
        registry = self.registry = OpenWebSockets(lambda count: iter(range(10, 10 + count)))
        opened = [self.open() for _ in range(5)]
        registry.drain(self.clock)
        opened.append(self.open())
        self.assertEqual(sorted(application.returns[0] for application, _, _ in opened), [10, 10, 11, 12, 13, 14])

    def test_calls_under_way(self) -> None:
        """Who has something under way is closed when that is done, and at the latest after a time."""
        self.application.busy = True
        other, wire, _ = self.open()
        other.busy = True
        self.registry.drain(self.clock, patience=4.0)
        self.assertEqual((self.application.ends, other.ends), ([], []))
        other.close()
        self.assertEqual((self.application.ends, other.ends), ([], [(1001, "")]))
        self.clock.advance(4)
        self.assertEqual(self.application.ends, [(1001, "")])
        self.application.close()
        self.assertEqual((self.wire.sent(), wire.sent()), (close_frame(1001), close_frame(1001)))

    def test_last_to_finish(self) -> None:
        """Nothing is waited for once all are gone; an application that fails is closed."""
        self.application.busy = True
        failing, _, connection = self.open()
        failing.draining = None  # type: ignore[assignment]
        gone = self.registry.drain(self.clock)
        self.assertEqual(failing.ends, [(1011, "internal error")])
        self.flushLoggedErrors(TypeError)
        for each in (connection, self.connection):
            each.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.successResultOf(gone))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_opened_meanwhile(self) -> None:
        """A connection that opens while the register drains is closed at once, and waited for."""
        gone = self.registry.drain(self.clock)
        self.lose()
        self.assertIsNone(self.successResultOf(gone))
        application, wire, connection = self.open(leftover=client_frame(TEXT, b"too late"))
        self.assertEqual(wire.sent(), close_frame(1001))
        self.assertEqual((application.heard, application.ends), ([], [(1001, "")]))
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.registry), 0)

    def test_deadline(self) -> None:
        """Draining ends by the deadline of the closing handshake, whatever clients do."""
        self.registry.drain(self.clock)
        self.advance(5)
        self.assertEqual(self.wire.ended, "aborted")

    def test_nothing_open(self) -> None:
        """An empty register is drained at once."""
        self.lose()
        self.assertIsNone(self.successResultOf(self.registry.drain(self.clock)))


class MemoryTests(ConnectionCase):
    """What an idle connection costs."""

    def test_idle(self) -> None:
        """An idle connection with one watcher takes under 500 bytes of its own: reader, wheel and register included; it has no dict."""
        self.assertFalse(hasattr(self.connection, "__dict__"))
        count = 2000
        wires = [Wire() for _ in range(count)]
        for wire in wires:
            # Twisted's transport of tests has a place for its protocol from now on; to make that place is not our cost.
            wire.hand_over(None)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        connections = [WebSocketConnection(wire, self.application, LIMITS, self.wheel, self.registry) for wire in wires]
        for connection in connections:
            connection.begin()
            connection.watch(self.application)
            connection.dataReceived(client_frame(TEXT, b"x" * 200))
        self.application.heard.clear()
        # Only what netsvc's lines allocated, and the one above that makes the objects: other tests may have left threads.
        ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/netsvc/*"), tracemalloc.Filter(True, __file__)])
        each = sum(statistic.size for statistic in ours.statistics("filename")) / count
        self.assertLess(each, 500)
