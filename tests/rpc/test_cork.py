"""Answers that are given together are sent in one piece, before the events that follow from them."""

import json
from typing import Any

from msgspec.structs import replace
from twisted.internet.address import IPv4Address

from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.websocket import WebSocketConnection
from netsvc.net.outbound import Outbound
from netsvc.net.transport import DirectServer
from netsvc.net.wheel import TimingWheel
from netsvc.rpc.websocket import RpcSocket
from netsvc.wire.websocket import TEXT
from tests.http.connections import LIMITS
from tests.net.sockets import FakeReactor, Port
from tests.net.test_cork import NotingSocket
from tests.rpc.fakes import texts
from tests.rpc.test_streams import StreamCase
from tests.rpc.test_websocket import GUEST, SocketTestCase
from tests.wire.test_websocket import client_frame


def line(method: str, params: Any = ()) -> bytes:
    """A call of a client of lines."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"


class WebSocketTests(SocketTestCase):
    """Calls of one client on a socket in memory."""

    def setUp(self) -> None:
        """A client that has joined a room."""
        super().setUp()
        port = Port(FakeReactor())
        port.outbound = Outbound(self.clock, 0)
        self.rooms.delivery.uncork = port.outbound.uncork
        self.wire = NotingSocket()
        transport: Any = DirectServer(self.wire, None, ("192.0.2.1", 4711), port, 0, port.reactor)  # type: ignore[arg-type]
        websocket = WebSocketConnection(transport, RpcSocket(self.service, GUEST, "192.0.2.1"), LIMITS, TimingWheel(self.clock), OpenWebSockets())
        websocket.begin()
        self.protocol = transport.protocol
        self.ask(("chat.join", ["lobby"]))
        self.turn()
        self.sent()

    def ask(self, *calls: tuple[str, list[Any]]) -> None:
        """Calls in one piece; their ids count from 0."""
        messages = [json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) for number, (method, params) in enumerate(calls)]
        self.protocol.dataReceived(b"".join(client_frame(TEXT, message.encode()) for message in messages))

    def sent(self) -> list[list[Any]]:
        """For each send since this was last asked, the messages in it: ids of answers, texts of events."""
        pieces, self.wire.sends = self.wire.sends, []
        return [[message["id"] if "id" in message else message["params"]["text"] for message in map(json.loads, texts(piece))] for piece in pieces]

    def test_posts(self) -> None:
        """Those that share a commit: their answers in one piece, then the events."""
        self.ask(("chat.post", ["lobby", "a"]), ("chat.post", ["lobby", "b"]))
        self.turn()
        self.assertEqual(self.sent(), [[0, 1], ["a", "b"]])

    def test_one(self) -> None:
        """A single call's answer is not delayed."""
        self.ask(("test.wait", []))
        self.procedures.waiting[0].callback(1)
        self.assertEqual(self.sent(), [[0]])

    def test_several(self) -> None:
        """Nor are those of several that are answered one by one."""
        self.ask(("test.wait", []), ("test.wait", []))
        first, second = self.procedures.waiting
        second.callback(1)
        self.assertEqual(self.sent(), [[1]])
        first.callback(1)
        self.assertEqual(self.sent(), [[0]])

    def test_events_before_others(self) -> None:
        """Once events are being sent nothing is gathered any more: nobody would send it."""
        flush, seen = self.rooms.delivery.flush, []

        def watched() -> None:
            seen.append(self.rooms.appender.giving_back)
            flush()

        self.patch(self.rooms.delivery, "flush", watched)
        self.ask(("chat.post", ["lobby", "a"]), ("chat.post", ["lobby", "b"]))
        self.turn()
        self.assertEqual((self.sent(), set(seen)), ([[0, 1], ["a", "b"]], {False}))

    def test_bug(self) -> None:
        """Answers are sent even if something goes wrong among those of the same commit."""
        self.ask(("chat.post", ["lobby", "first"]))
        self.turn()
        self.assertEqual(self.sent(), [[0], ["first"]])
        self.rooms.posting.founded = lambda name: self.fail("a bug")
        self.ask(("chat.post", ["lobby", "a"]), ("chat.post", ["lobby", "b"]), ("chat.post", ["other", "c"]))
        self.turn()
        self.assertEqual(self.sent(), [[0, 1], ["a", "b"]])
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)


class LineTests(StreamCase):
    """The same on a connection of [lines]."""

    settings = replace(StreamCase.settings, provide="guest")

    def connect_socket(self) -> tuple[Any, NotingSocket]:
        """One more client, on a socket that notes each send."""
        port = Port(FakeReactor())
        port.outbound = Outbound(self.clock, 0)
        wire = NotingSocket()
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 5000))
        protocol.makeConnection(DirectServer(wire, protocol, ("192.0.2.7", 5000), port, 0, port.reactor))  # type: ignore[arg-type]
        return protocol, wire

    def test_together(self) -> None:
        """Of what came in one read the first is answered at once, the rest in one piece."""
        protocol, wire = self.connect_socket()
        protocol.dataReceived(line("local.plain"))
        protocol.dataReceived(line("local.plain") * 3)
        self.assertEqual([piece.count(b"\n") for piece in wire.sends], [1, 1, 2])

    def test_provider(self) -> None:
        """A provider gets each further call as soon as one of its answers makes room for it."""
        protocol, wire = self.connect_socket()
        self.assertTrue(protocol.gathers)
        protocol.dataReceived(line("rpc.provide", ["test.work"]))
        caller = self.program()
        for number in range(6):
            caller.begin("test.work", identifier=number)
        self.assertEqual(len(wire.sends), 1 + self.settings.provider_calls)
        wire.sends.clear()
        protocol.dataReceived(b"".join(b'{"jsonrpc":"2.0","id":%d,"result":0}\n' % serial for serial in self.given(wire.taken)))
        self.assertEqual([piece.count(b"\n") for piece in wire.sends], [1, 1, 1])

    def test_close(self) -> None:
        """A client that is slow to take its answers has the time for that, and gets the last words, if it is closed within the same read."""
        protocol, wire = self.connect_socket()
        wire.room = 40
        protocol.dataReceived(line("local.plain") * 3 + b"x" * 2000)
        self.clock.advance(self.stream_settings.write_timeout - 1)
        wire.room = None
        protocol._transport.doWrite()
        lines = wire.taken.splitlines()
        self.assertEqual((len(lines), json.loads(lines[-1])["method"]), (5, "server.closing"))

    def given(self, data: bytes) -> list[int]:
        """The ids of the calls among these lines."""
        return [message["id"] for message in map(json.loads, data.splitlines()) if "method" in message]
