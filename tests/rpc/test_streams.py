"""RPC over plain streams: lines of JSON and AMP, half-closes, timeouts, limits, the end."""

import json
from collections.abc import Iterator
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from netsvc.core.admission import Admission
from netsvc.core.identity import Identity
from netsvc.interfaces import ISink
from netsvc.rpc.lines import LineConnection
from netsvc.rpc.procedures import AuthProcedures
from netsvc.rpc.stream_settings import LinesSettings
from netsvc.rpc.streams import StreamFactory
from netsvc.wire.lines import LineReader
from tests.rpc.provider_case import ProviderTestCase

__all__ = ["StreamCase", "StreamTransport"]


class StreamTransport(StringTransport):
    """A transport whose other end may take nothing for a while.

    :ivar reading: the connection is read from; `half`: our direction is closed; `cut`: it was aborted.
    """

    def __init__(self, peer: str = "192.0.2.7") -> None:
        StringTransport.__init__(self, peerAddress=IPv4Address("TCP", peer, 5000))
        self.reading = True
        self.half = False
        self.cut = False
        self.stalls = True

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self.reading = False

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self.reading = True

    def abortConnection(self) -> None:
        """See ITransport."""
        self.cut = True

    def stalled(self) -> bool:
        """See DirectTransport."""
        return self.stalls


class StreamCase(ProviderTestCase):
    """A listener of lines, without a network."""

    stream_settings = LinesSettings(message=1024, idle_timeout=100, login_timeout=10, write_timeout=20, message_timeout=40)
    guests = True
    most = 0

    def setUp(self) -> None:
        """What each test starts with."""
        ProviderTestCase.setUp(self)
        self.registry.add(AuthProcedures(self.logins))
        if not self.guests:
            passwords: Any = None
            self.logins = type(self.logins)(self.logins._accounts, passwords, self.clock, self.logins._settings, guests=False)
            self.service.logins = self.logins
        self.admission = Admission(self.most)
        self.factory = self.make_factory()

    def make_factory(self) -> StreamFactory:
        """The factory under test."""
        return StreamFactory(self.stream_settings, self.service, self.admission, self.clock, LineReader, LineConnection)

    def connect(self) -> tuple[Any, StreamTransport]:
        """One more client."""
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 5000))
        transport = StreamTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def heard(self, transport: StreamTransport) -> Iterator[Any]:
        """The messages that a client of lines has got; they are forgotten."""
        data = transport.value()
        transport.clear()
        return map(json.loads, data.splitlines())


class Watcher:
    """Wants to know."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def sink_full(self) -> None:
        """See ISinkWatcher."""
        self._told.append("full")

    def sink_drained(self) -> None:
        """See ISinkWatcher."""
        self._told.append("drained")


class LineTests(StreamCase):
    """Messages in lines."""

    def call(self, method: str, params: Any = None, identifier: Any = 1) -> bytes:
        """A line."""
        message = {"jsonrpc": "2.0", "method": method, "id": identifier}
        return json.dumps(message if params is None else {**message, "params": params}).encode() + b"\n"

    def test_interfaces(self) -> None:
        """They are what they say."""
        protocol, _ = self.connect()
        for interface in (IProtocol, IHalfCloseableProtocol, ISink):
            verifyObject(interface, protocol)
        verifyObject(IProtocolFactory, self.factory)
        self.factory.doStart()
        self.factory.doStop()

    def test_calls(self) -> None:
        """Calls, batches and notifications, one a line; what is no message is answered with an error, and the next one counts."""
        protocol, transport = self.connect()
        batch = json.dumps([{"jsonrpc": "2.0", "method": "local.plain", "id": "b"}]).encode()
        protocol.dataReceived(self.call("local.plain") + batch + b"\r\n\nnonsense\n\xff\n" + self.call("auth.whoami")[:-1])
        first, second, third, fourth = self.heard(transport)
        self.assertEqual((first["result"], second[0]["id"], third["error"]["code"], fourth["error"]["code"]), (1, "b", -32700, -32700))
        protocol.dataReceived(b"\n")
        self.assertTrue(next(self.heard(transport))["result"]["guest"])

    def test_long_line(self) -> None:
        """Is answered with -32006, and is the end: what follows is not looked for. Our direction is closed first, so that this can be read."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.call("local.plain") + b"x" * 2000 + b"\n" + self.call("local.plain"))
        first, second, last = self.heard(transport)
        self.assertEqual((first["result"], second["error"]["code"]), (1, -32006))
        self.assertEqual((last["method"], last["params"]["code"]), ("server.closing", 1009))
        protocol.dataReceived(self.call("local.plain"))
        self.assertEqual(transport.value(), b"")
        self.clock.pump([1.0] * 5)
        self.assertTrue(transport.cut)

    def test_http(self) -> None:
        """A browser that some page has post to this port gets nowhere: its first line ends the connection."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nContent-Length: 99\r\n\r\n" + self.call("local.long"))
        (last,) = self.heard(transport)
        self.assertEqual(last["params"]["code"], 1002)
        self.assertEqual(self.local.running, [])

    def test_bugs(self) -> None:
        """Something that goes wrong in netsvc ends the connection, not the daemon."""
        protocol, transport = self.connect()
        self.service.dispatcher.handle = None  # type: ignore[assignment,method-assign]
        protocol.dataReceived(self.call("local.plain") + self.call("local.plain"))
        (last,) = self.heard(transport)
        self.assertEqual(last["params"]["code"], 1011)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_sink(self) -> None:
        """Rooms write to it as to any sink: bytes that are shared, the rest of what was not taken, and watchers that want to know."""
        protocol, transport = self.connect()
        self.assertEqual(protocol.raw_send(b"abc"), 3)
        protocol.rest(b"abcdef", 3)
        self.assertEqual(transport.value(), b"abcdef")
        told: list[str] = []
        watcher = Watcher(told)
        for _ in range(2):
            protocol.watch(watcher)
        protocol._transport.pauseProducing()
        protocol._transport.resumeProducing()
        protocol.unwatch(watcher)
        protocol.unwatch(watcher)
        protocol._transport.pauseProducing()
        self.assertEqual(told, ["full", "drained"])

    def test_login(self) -> None:
        """auth.login works as on a WebSocket; a guest may choose a name."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.call("auth.login", {"name": "Bob"}) + self.call("auth.whoami"))
        self.assertEqual([each["result"]["name"] for each in self.heard(transport)], ["Bob", "Bob"])

    def test_half_close(self) -> None:
        """Who has said all still gets its answers; then it ends. The last line needs no line feed."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.call("local.long") + self.call("local.plain", identifier=2)[:-1])
        protocol.readConnectionLost()
        self.assertEqual([each["id"] for each in self.heard(transport)], [2])
        self.assertFalse(transport.disconnecting)
        self.local.running[0][1].callback("late")
        self.assertEqual([each["result"] for each in self.heard(transport)], ["late"])
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(Failure(ConnectionError()))
        protocol, transport = self.connect()
        protocol.readConnectionLost()
        self.assertTrue(transport.disconnecting)

    def test_half_close_at_the_bound(self) -> None:
        """Also what waits because too much is under way."""
        self.service.bounds = self.service.bounds._replace(in_flight=1)
        protocol, transport = self.connect()
        protocol.dataReceived(b"".join(self.call("local.long", identifier=number) for number in range(3)))
        self.assertFalse(transport.reading)
        protocol.readConnectionLost()
        for number in range(3):
            self.local.running[number][1].callback(number)
        self.assertEqual([each["result"] for each in self.heard(transport)], [0, 1, 2])
        self.assertTrue(transport.disconnecting)

    def test_last_answers_take_their_time(self) -> None:
        """What waits at the end is sent for as long as the client takes some of it."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.call("local.plain"))
        protocol._transport.pauseProducing()
        protocol.readConnectionLost()
        self.assertFalse(transport.disconnecting, "the answers that wait come first")
        protocol._transport.resumeProducing()
        self.assertTrue(transport.disconnecting)
        transport.stalls = False
        self.clock.pump([1.0] * 50)
        self.assertFalse(transport.cut)
        transport.stalls = True
        self.clock.pump([1.0] * 25)
        self.assertTrue(transport.cut)

    def test_in_flight(self) -> None:
        """At the bound it is not read from; what was read waits."""
        self.service.bounds = self.service.bounds._replace(in_flight=2)
        protocol, transport = self.connect()
        protocol.dataReceived(b"".join(self.call("local.long", identifier=number) for number in range(3)))
        self.assertEqual((len(self.local.running), transport.reading), (2, False))
        self.local.running[0][1].callback(0)
        self.assertEqual((len(self.local.running), transport.reading), (3, False))
        self.local.running[1][1].callback(1)
        self.assertTrue(transport.reading)

    def test_a_client_that_does_not_read(self) -> None:
        """Is not read from either; when it takes nothing for too long it is given up."""
        protocol, transport = self.connect()
        sink = protocol
        protocol._transport.pauseProducing()
        self.assertTrue(sink.full)
        self.assertFalse(transport.reading)
        protocol._transport.resumeProducing()
        self.assertTrue(transport.reading)
        protocol._transport.pauseProducing()
        self.clock.pump([1.0] * 50)
        self.assertTrue(transport.cut)

    def test_provider(self) -> None:
        """It can provide; a lost one's calls fail."""
        protocol, transport = self.connect()
        self.service.logins = self.logins
        protocol._application.login(self.program().socket.identity)
        protocol.dataReceived(self.call("rpc.provide", ["test.work"]))
        caller = self.program()
        for number in range(2):
            caller.begin("test.work", identifier=number)
        _, asked, _ = self.heard(transport)
        protocol.dataReceived(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "x"}).encode() + b"\n")
        self.assertEqual(caller.outcome(0), "x")
        protocol.connectionLost(Failure(ConnectionError()))
        self.assertEqual(caller.outcome(1)["code"], -32009)

    def test_shed(self) -> None:
        """Who keeps too much waiting is cut."""
        protocol, transport = self.connect()
        protocol.transport_shed()
        self.assertTrue(transport.cut)

    def test_revoked(self) -> None:
        """A connection whose credential is revoked ends, and is told why."""
        protocol, transport = self.connect()
        protocol._application._revoked("revoked")
        (last,) = self.heard(transport)
        self.assertEqual(last["params"], {"code": 4401, "reason": "revoked"})
        protocol.close(1000, "again")
        self.assertEqual(transport.value(), b"")
        self.assertTrue(transport.disconnecting)


class TimeTests(StreamCase):
    """Timeouts."""

    def test_idle(self) -> None:
        """Who is silent for too long goes, but not while a call is under way."""
        silent, busy = self.connect(), self.connect()
        busy[0].dataReceived(b'{"jsonrpc":"2.0","method":"local.long","id":1,"deadline":290}\n')
        self.clock.pump([1.0] * 90)
        self.assertEqual(silent[1].value(), b"")
        self.clock.pump([1.0] * 40)
        (last,) = self.heard(silent[1])
        self.assertEqual(last["params"]["reason"], "idle for too long")
        self.assertEqual(busy[1].value(), b"")
        silent[0].connectionLost(Failure(ConnectionError()))
        self.assertEqual(len(self.factory), 1)

    def test_a_message_that_does_not_end(self) -> None:
        """Who begins one and goes on sending it byte by byte goes; who sends whole ones stays, however they are cut."""
        drips, talks = self.connect(), self.connect()
        drips[0].dataReceived(b'{"jsonrpc":"2.0","method":"local.long","id":1,"deadline":290}\n')  # so that it is not idle
        for _ in range(39):
            self.clock.advance(1.0)
            drips[0].dataReceived(b"x")
            talks[0].dataReceived(b'"}\n{"x":"')
        self.assertEqual(drips[1].value(), b"")
        for _ in range(25):
            self.clock.advance(1.0)
            drips[0].dataReceived(b"x")
            talks[0].dataReceived(b'"}\n{"x":"')
        (last,) = self.heard(drips[1])
        self.assertEqual(last["params"], {"code": 1008, "reason": "a message took too long to arrive"})
        self.assertNotIn("server.closing", [message.get("method") for message in self.heard(talks[1])])

    def test_a_message_that_is_not_read(self) -> None:
        """While netsvc reads no further, nobody can end what was begun: the time counts from when it reads on."""
        self.service.bounds = self.service.bounds._replace(in_flight=1)
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"jsonrpc":"2.0","method":"local.long","id":1,"deadline":290}\n{"jsonrpc":"2.0",')
        self.clock.pump([1.0] * 100)
        self.local.running[0][1].callback(1)
        self.clock.pump([1.0] * 30)
        protocol.dataReceived(b'"method":"local.plain","id":2}\n')
        self.clock.pump([1.0] * 60)
        self.assertEqual([message["id"] for message in self.heard(transport)], [1, 2])

    def test_a_message_that_nobody_ends(self) -> None:
        """Who closes its direction in the midst of one, still gets the answers to those before."""
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"jsonrpc":"2.0","method":"local.long","id":1,"deadline":290}\n{"jso')
        protocol.readConnectionLost()
        self.clock.pump([1.0] * 100)
        self.local.running[0][1].callback(1)
        self.assertEqual([message["id"] for message in self.heard(transport)], [None, 1])
        self.assertTrue(transport.disconnecting)


class LoginTimeTests(StreamCase):
    """Where guests are not allowed."""

    guests = False

    def test_nobody(self) -> None:
        """Who does not log in may do nothing else, and goes soon."""
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"jsonrpc":"2.0","method":"local.plain","id":1}\n')
        self.assertEqual(next(self.heard(transport))["error"]["code"], -32001)
        self.clock.pump([1.0] * 13)
        (last,) = self.heard(transport)
        self.assertEqual(last["params"]["code"], 1008)

    def test_a_login_under_way(self) -> None:
        """It is waited for."""
        proof: Deferred[Any] = Deferred()
        protocol, transport = self.connect()
        self.patch(type(self.logins), "login", lambda *_: proof)
        protocol.dataReceived(b'{"jsonrpc":"2.0","method":"auth.login","params":{"token":"x"},"id":1}\n')
        self.clock.pump([1.0] * 13)
        self.assertEqual(transport.value(), b"")
        proof.callback(Identity("ann", ("member",)))
        self.clock.pump([1.0] * 30)
        self.assertEqual([message["result"]["name"] for message in self.heard(transport)], ["ann"])


class EndTests(StreamCase):
    """Caps, and the end of the server."""

    most = 2

    def test_cap(self) -> None:
        """One more than there may be is told so; who goes makes room."""
        first, _ = self.connect()
        self.connect()
        third, transport = self.connect()
        (last,) = self.heard(transport)
        self.assertEqual(last["params"]["code"], 1013)
        self.assertTrue(transport.disconnecting)
        third.dataReceived(b"x\n")
        third.connectionLost(Failure(ConnectionError()))
        first.connectionLost(Failure(ConnectionError()))
        self.assertEqual((len(self.factory), len(self.admission)), (1, 1))
        _, transport = self.connect()
        self.assertEqual(transport.value(), b"")

    def test_drain(self) -> None:
        """Each is told when to come back, and goes when its calls are answered, or after a while. New ones are refused."""
        idle, busy = self.connect(), self.connect()
        busy[0].dataReceived(b'{"jsonrpc":"2.0","method":"local.long","id":1}\n')
        drained = self.factory.drain(10)
        self.assertEqual([each["method"] for each in self.heard(idle[1])], ["server.draining", "server.closing"])
        self.assertEqual([each["method"] for each in self.heard(busy[1])], ["server.draining"])
        self.local.running[0][1].callback("x")
        answer, last = self.heard(busy[1])
        self.assertEqual((answer["result"], last["params"]["code"]), ("x", 1001))
        self.assertNoResult(drained)
        for protocol, _ in (idle, busy):
            protocol.connectionLost(Failure(ConnectionError()))
        self.successResultOf(drained)

    def test_drain_cuts(self) -> None:
        """Who does not come to an end is cut."""
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"jsonrpc":"2.0","method":"local.long","id":1}\n')
        drained = self.factory.drain(10)
        self.clock.advance(11)
        self.assertTrue(transport.cut)
        protocol.connectionLost(Failure(ConnectionError()))
        self.successResultOf(drained)

    def test_drain_of_a_provider(self) -> None:
        """It is waited for while it has calls, and gets no more."""
        provider, caller = self.provider(), self.program()
        caller.begin("test.work")
        closed: list[int] = []
        provider.socket.draining(1.0, lambda: closed.append(1))
        self.assertEqual(self.program().call("test.work")["code"], -32601)
        self.assertEqual(closed, [])
        provider.answer("done")
        self.assertEqual((caller.outcome(), closed), ("done", [1]))
