"""Answers that are given together are sent in one piece, before the events that follow from them."""

import json
from typing import Any

from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.outbound import Outbound
from netsvc.http.transport import DirectServer
from netsvc.http.websocket import WebSocketConnection
from netsvc.http.wheel import TimingWheel
from netsvc.rpc.websocket import RpcSocket
from netsvc.wire.websocket import TEXT
from tests.http.connections import LIMITS
from tests.http.sockets import FakeReactor, Port
from tests.http.test_cork import NotingSocket
from tests.rpc.fakes import texts
from tests.rpc.test_websocket import GUEST, SocketTestCase
from tests.wire.test_websocket import client_frame


class CorkTests(SocketTestCase):
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

    def test_some(self) -> None:
        """Others that are answered in one reactor turn go out at its end."""
        self.ask(("test.wait", []), ("test.wait", []), ("test.wait", []))
        first, second, third = self.procedures.waiting
        second.callback(1)
        first.callback(1)
        self.assertEqual(self.sent(), [])
        self.turn()
        self.assertEqual(self.sent(), [[1, 0]])
        third.callback(1)
        self.assertEqual(self.sent(), [[2]])
