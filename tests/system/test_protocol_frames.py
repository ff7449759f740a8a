"""WebSocket frames on a raw socket, right and wrong, on both URLs that speak it; and a plain client of today."""

import json
import struct

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.system.clients import RpcSocket, TextRoom
from tests.system.raw import Close, RawWebSocket, frame
from tests.system.served import ServedCase, call

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
WHOAMI = json.dumps(call("auth.whoami")).encode()
LIMIT = 1 << 20


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """The payload of a Close."""
    return struct.pack(">H", code) + reason


class FrameTests(ServedCase):
    """Each URL keeps to RFC 6455."""

    def closed(self, *frames: bytes) -> list[Close]:
        """How the server closes after these frames, on each URL. The connection ends then, also if the client sends no Close."""
        closes = []
        for path in ("/ws", "/chat/frames/"):
            with RawWebSocket(self.daemon.port, path) as client:
                client.send(*frames)
                closes.append(client.closed())
                client.send(frame(CLOSE, close_payload(closes[-1].code) if closes[-1].code not in (1005, 1006) else b""))
                self.assertIsNone(client.frame())
        return closes

    def codes(self, *frames: bytes) -> set[int]:
        """The codes of these."""
        return {close.code for close in self.closed(*frames)}

    def test_broken_protocol(self) -> None:
        """1002: no mask, reserved bits and opcodes, control frames in pieces or too long, fragments out of order, codes that must not be sent."""
        for frames in (
            (frame(TEXT, WHOAMI, masked=False),),
            (frame(TEXT, WHOAMI, reserved=4),),
            (frame(TEXT, WHOAMI, reserved=1),),
            (frame(3, WHOAMI),),
            (frame(11),),
            (frame(0, WHOAMI),),
            (frame(TEXT, b"a", final=False), frame(TEXT, b"b")),
            (frame(PING, b"a" * 126),),
            (frame(PING, b"a", final=False),),
            (frame(CLOSE, b"a"),),
            (frame(TEXT, b"", length=1 << 63),),
            *((frame(CLOSE, close_payload(code)),) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        ):
            self.assertEqual(self.codes(*frames), {1002}, frames[0][:20])

    def test_text_that_is_none(self) -> None:
        """1007: bytes that are no UTF-8, in one frame, over two, and in a Close; as soon as they are there."""
        for frames in (
            (frame(TEXT, b"\xff"),),
            (frame(TEXT, b"\xed\xa0\x80"),),
            (frame(TEXT, b"\xc0\xaf"),),
            (frame(TEXT, b"\xe2\x82"),),
            (frame(TEXT, b"ok", final=False), frame(0, b"\xff", final=False)),
            (frame(TEXT, b"\xff", length=100),),
            (frame(CLOSE, close_payload(1000, b"\xff")),),
        ):
            self.assertEqual(self.codes(*frames), {1007}, frames[0])

    def test_too_big(self) -> None:
        """1009: as soon as the length is known, or the sum of the fragments' is."""
        for frames in (
            (frame(TEXT, b"", length=1 << 40),),
            (frame(TEXT, b"", length=LIMIT + 1),),
            (frame(TEXT, b"a" * LIMIT, final=False), frame(0, b"a")),
        ):
            self.assertEqual(self.codes(*frames), {1009}, frames[0][:20])

    def test_binary(self) -> None:
        """1003 where text is spoken."""
        self.assertEqual(self.codes(frame(BINARY, b"\0")), {1003})

    def test_closing(self) -> None:
        """A Close is answered with its code, an empty one with an empty one; the server ends the connection."""
        self.assertEqual(self.codes(frame(CLOSE, close_payload(1000, b"bye"))), {1000})
        self.assertEqual(self.codes(frame(CLOSE, close_payload(4999))), {4999})
        self.assertEqual(self.codes(frame(CLOSE)), {1005})

    def test_good_before_bad(self) -> None:
        """What was right is carried out and answered before the Close."""
        with RawWebSocket(self.daemon.port) as client:
            client.send(frame(TEXT, WHOAMI), frame(TEXT, b"\xff"))
            self.assertIn('"result"', client.text())
            self.assertEqual(client.closed().code, 1007)

    def test_fragments_and_pings(self) -> None:
        """A message in pieces is one; a ping between them is answered at once, with its payload; an unasked pong means nothing."""
        with RawWebSocket(self.daemon.port) as client:
            client.send(frame(PONG, b"unasked"), frame(TEXT, WHOAMI[:9], final=False), frame(PING, b"p" * 125))
            client.send(frame(0, b"", final=False), frame(0, WHOAMI[9:]))
            self.assertEqual(client.frame(), (PONG, b"p" * 125))
            self.assertIn('"result"', client.text())

    def test_posts_in_one_piece(self) -> None:
        """Posts that come together are all answered, each before its own event."""
        with RawWebSocket(self.daemon.port) as client:
            client.send(frame(TEXT, json.dumps(call("chat.join", ["together"])).encode()))
            client.text()
            posts = [{**call("chat.post", ["together", "hello"]), "id": number} for number in range(8)]
            client.send(b"".join(frame(TEXT, json.dumps(post).encode()) for post in posts))
            heard = [json.loads(client.text()) for _ in range(16)]
        self.assertEqual([message["id"] for message in heard if "id" in message], list(range(8)))
        seqs: dict[int, list[str]] = {}
        for message in heard:
            kind, about = ("answer", message["result"]) if "id" in message else ("event", message["params"])
            seqs.setdefault(about["seq"], []).append(kind)
        self.assertEqual(seqs, {seq: ["answer", "event"] for seq in range(1, 9)})

    def test_bytes_one_by_one(self) -> None:
        """Where the network cuts does not matter; nor does what comes right behind the handshake."""
        with RawWebSocket(self.daemon.port) as client:
            for byte in frame(TEXT, WHOAMI):
                client.send(bytes([byte]))
            self.assertIn('"result"', client.text())

    def test_the_largest(self) -> None:
        """A message of just the limit is taken."""
        with RawWebSocket(self.daemon.port) as client:
            padded = WHOAMI + b" " * (LIMIT - len(WHOAMI))
            client.send(frame(TEXT, padded))
            self.assertIn('"result"', client.text())

    def test_not_json(self) -> None:
        """A text that is no JSON-RPC is an error answer, not the end."""
        with RawWebSocket(self.daemon.port) as client:
            for text, code in ((b"", -32700), (b"nope", -32700), (b"3", -32600), (b"[]", -32600), (b"[" * 50_000, -32700)):
                client.send(frame(TEXT, text))
                error = json.loads(client.text())
                self.assertEqual((error["error"]["code"], error["id"]), (code, None))

    def test_no_compression(self) -> None:
        """Extensions and subprotocols that are offered and not known are not chosen."""
        with RawWebSocket(self.daemon.port, "/ws", "Sec-WebSocket-Protocol: jsonrpc", "Sec-WebSocket-Extensions: x-unknown") as client:
            client.send(frame(TEXT, WHOAMI))
            self.assertIn('"result"', client.text())


class LibraryTests(ServedCase):
    """The `websockets` library, with its own ideas of the protocol."""

    def test_as_it_comes(self) -> None:
        """With every default of the library, compression offered and pings on."""
        with connect(f"{self.daemon.websocket_url}/ws", proxy=None) as client:
            client.ping().wait(5)
            client.send(iter(["{", json.dumps(call("auth.whoami"))[1:]]))
            self.assertEqual(json.loads(client.recv(5))["id"], 1)
            client.close(1000, "done")
            self.assertEqual((client.close_code, client.protocol.close_rcvd_then_sent), (1000, False))

    def test_refused(self) -> None:
        """What is refused before the handshake has an HTTP status, with a reason in the body."""
        for path, origin, status in (("/nothing", None, 404), ("/healthz", None, 200), ("/chat/!/", None, 400), ("/ws", "https://evil.example", 403)):
            with self.assertRaises(InvalidStatus) as refused:
                connect(f"{self.daemon.websocket_url}{path}", origin=origin, proxy=None)  # type: ignore[arg-type]
            self.assertEqual(refused.exception.response.status_code, status)
            self.assertTrue(refused.exception.response.body)

    def test_large_answers(self) -> None:
        """An answer of several hundred kilobytes, and a client that reads it late."""
        with RpcSocket(self.daemon.websocket_url) as client, TextRoom(self.daemon.websocket_url, "large") as room:
            room.hear()
            for number in range(40):
                room.say(f"{number} " + "x" * 16_000)
            events = [room.hear() for _ in range(40)]
            self.assertEqual([event.partition("> ")[2].partition(" ")[0] for event in events], [str(number) for number in range(40)])
            ids = [client.send("chat.history", room="large", limit=200) for _ in range(5)]
            for id in ids:
                self.assertEqual(len(client.answer(id)["events"]), 40)
