"""From HTTP to WebSocket on the same connection."""

from typing import Any

from netsvc.http.messages import Request, Response, Upgrade
from netsvc.http.websocket import WebSocketConnection
from netsvc.wire.deflate import PermessageDeflate
from netsvc.wire.websocket import CLOSE, TEXT
from tests.http.channels import ChannelCase, Client, request
from tests.http.connections import Recorder
from tests.wire.test_deflate import deflated
from tests.wire.test_websocket import client_frame

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nServer: netsvc\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class UpgradeTests(ChannelCase):
    """The example of RFC 6455 section 1.3, and what may be around it."""

    def setUp(self) -> None:
        """A route that upgrades, one that takes its time for it, and others."""
        super().setUp()
        self.application = Recorder()
        self.routes.add("GET", "/ws", lambda _: Upgrade(self.application), public=True)
        self.routes.add("POST", "/ws", lambda _: Upgrade(self.application), public=True)
        self.routes.add("GET", "/slow", self.ask, public=True)
        self.routes.add("GET", "/plain", lambda _: Response.text("plain"), public=True)
        self.routes.add("POST", "/plain", lambda asked: Response(200, asked.body), public=True)

    def speaks(self) -> bool:
        """Whether the client's connection is a WebSocket now."""
        connection: Any = self.client.owner
        connection.dataReceived(client_frame(TEXT, b"later"))
        return self.application.heard[-1:] == ["later"]

    def test_switch(self) -> None:
        """The answer is that of the RFC, and the connection is the application's."""
        self.client.send(request("/ws", *HANDSHAKE))
        self.assertEqual(self.client.sent(), SWITCHED)
        self.assertIsInstance(self.client.owner, WebSocketConnection)
        self.assertTrue(self.speaks())
        self.assertTrue(self.is_gone(self.client.channel))
        self.assertEqual((len(self.factory), len(self.websockets)), (1, 1))

    def test_slash(self) -> None:
        """Browsers follow no redirect here: whether the URL ends with a slash does not matter."""
        self.routes.add("GET", "/room/", lambda _: Upgrade(self.application), public=True)
        for target in ("/ws/", "/room", "/room?name=ann"):
            self.client = Client(self.factory)
            self.client.send(request(target, *HANDSHAKE))
            self.assertEqual(self.client.sent(), SWITCHED, target)
        for lines in ((), ("Upgrade: h2c", "Connection: Upgrade")):
            self.client = Client(self.factory)
            self.client.send(request("/room", *lines))
            self.assertEqual(self.client.answer().status, 308)

    def test_compression(self) -> None:
        """Where permessage-deflate is offered and the server has it, the answer says what is agreed, and the connection keeps to it."""
        self.factory.deflate = PermessageDeflate(3, 1, 1000)
        self.client.send(request("/ws", *HANDSHAKE, "Sec-WebSocket-Extensions: foo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
        agreed = b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n"
        self.assertEqual(self.client.sent(), SWITCHED[:-4] + agreed)
        connection: Any = self.client.owner
        connection.dataReceived(client_frame(TEXT, deflated(b"hello"), reserved=0x40))
        self.assertEqual(self.application.heard, ["hello"])
        connection.send_text(b"a" * 100)
        self.assertLess(len(self.client.sent()), 20)

    def test_no_compression(self) -> None:
        """Without an offer, with one that cannot be accepted, or where it is off, nothing is agreed."""
        self.factory.deflate = PermessageDeflate(3, 1, 1000)
        for lines in ((), ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8",)):
            client = Client(self.factory)
            client.send(request("/ws", *HANDSHAKE, *lines))
            self.assertEqual(client.sent(), SWITCHED)
        self.factory.deflate = None
        self.client.send(request("/ws", *HANDSHAKE, "Sec-WebSocket-Extensions: permessage-deflate"))
        self.assertEqual(self.client.sent(), SWITCHED)

    def test_malformed_extensions(self) -> None:
        """An offer that is against the grammar is a bad handshake (RFC 6455 section 9.1)."""
        self.factory.deflate = PermessageDeflate(3, 1, 1000)
        self.client.send(request("/ws", *HANDSHAKE, "Sec-WebSocket-Extensions: permessage-deflate;"))
        self.assertEqual(self.client.answer().status, 400)

    def test_frames_behind_the_handshake(self) -> None:
        """Frames that come right behind the request are the WebSocket's, also if they are in pieces."""
        frame = client_frame(TEXT, b"early")
        self.client.send(request("/ws", *HANDSHAKE) + frame + frame[:3])
        connection: Any = self.client.owner
        connection.dataReceived(frame[3:])
        self.assertEqual(self.application.heard, ["early", "early"])

    def test_behind_other_requests(self) -> None:
        """Earlier requests are answered first."""
        self.client.send(request("/plain") + request("/slow") + request("/ws", *HANDSHAKE) + client_frame(TEXT, b"early"))
        self.assertEqual(self.client.answer().body, b"plain")
        self.asked[0][1].callback(Response(204))
        self.assertTrue(self.client.sent().endswith(SWITCHED))
        self.assertEqual(self.application.heard, ["early"])
        self.assertTrue(self.speaks())

    def test_upgraded_later(self) -> None:
        """A handler may take its time; what comes meanwhile is the WebSocket's, and reading goes on."""
        self.client.send(request("/slow", *HANDSHAKE) + client_frame(TEXT, b"a"))
        self.client.send(client_frame(TEXT, b"b"))
        self.assertFalse(self.client.reading)
        self.asked[0][1].callback(Upgrade(self.application))
        self.assertEqual((self.client.sent(), self.application.heard), (SWITCHED, ["a", "b"]))
        self.assertTrue(self.client.reading)

    def test_nothing_stays(self) -> None:
        """Whether at once or later: the time that the WebSocket is given is all that is waited for."""
        waiting = []
        for target in ("/ws", "/slow"):
            self.setUp()
            self.client.send(request(target, *HANDSHAKE))
            for _, answer in self.asked:
                answer.callback(Upgrade(self.application))
            self.assertTrue(self.speaks(), target)
            waiting.append(len(self.factory.wheel))
        self.assertEqual(waiting, [2, 2])  # the other is the Date's

    def test_not_upgraded(self) -> None:
        """A handler may answer such a request as any other; the next one follows."""
        self.client.send(request("/plain", *HANDSHAKE) + request("/plain"))
        self.assertEqual([answer.status for answer in self.client.answers()], [200, 200])
        self.client.send(request("/slow", *HANDSHAKE) + request("/plain"))
        self.asked[0][1].callback(Response(204))
        self.assertEqual([answer.status for answer in self.client.answers()], [204, 200])

    def test_other_protocols(self) -> None:
        """Offers of other protocols are passed over, with the body that comes with them."""
        h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        self.client.send(request("/plain", *h2c) + request("/plain", *h2c, method="POST", body=b"body") + request("/plain"))
        self.assertEqual([answer.body for answer in self.client.answers()], [b"plain", b"body", b"plain"])

    def test_no_handshake(self) -> None:
        """A request that asks for no WebSocket is told that it should, and which version; the connection goes on."""
        self.client.send(request("/ws"), request("/plain"))
        refused, plain = self.client.answers()
        self.assertEqual((refused.status, refused.fields["sec-websocket-version"], plain.status), (426, "13", 200))

    def test_bad_handshakes(self) -> None:
        """Nor does any other mistake in the handshake open one."""
        for status, lines in (
            (426, ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 8", KEY)),
            (400, ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short")),
            (400, ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")),
        ):
            client = Client(self.factory)
            client.send(request("/ws", *lines))
            answer = client.answer()
            self.assertEqual((answer.status, answer.fields["sec-websocket-version"]), (status, "13"))

    def test_wrong_method(self) -> None:
        """Nor a request with another method."""
        self.client.send(request("/ws", *HANDSHAKE, method="POST"))
        self.assertEqual(self.client.answer().status, 400)

    def test_1_0(self) -> None:
        """Nor one in HTTP/1.0 (RFC 9110 section 7.8)."""
        self.client.send(request("/ws", *HANDSHAKE, version="1.0"))
        self.assertEqual(self.client.answer().status, 426)

    def test_timeouts_end(self) -> None:
        """The timeouts of HTTP do not apply any more."""
        self.client.send(request("/ws", *HANDSHAKE))
        connection: Any = self.client.owner
        for _ in range(10):
            self.advance(25)
            connection.dataReceived(client_frame(TEXT, b"here"))
        self.assertEqual(self.client.ended, "")

    def test_draining(self) -> None:
        """While the WebSockets are being closed, a new one is closed too."""
        self.websockets.drain(self.clock)
        self.client.send(request("/ws", *HANDSHAKE))
        self.assertEqual(self.client.sent(), SWITCHED + bytes((0x80 | CLOSE, 2)) + (1001).to_bytes(2, "big"))

    def test_identity(self) -> None:
        """A route that is not public upgrades for those who are known only."""
        self.routes.add("GET", "/mine", self.mine)
        self.client.send(request("/mine", *HANDSHAKE))
        self.assertEqual((self.client.sent(), self.application.heard), (SWITCHED, ["alice"]))

    def mine(self, request: Request) -> Upgrade:
        """Upgrade, noting for whom."""
        assert request.identity is not None
        self.application.heard.append(request.identity.name)
        return Upgrade(self.application)
