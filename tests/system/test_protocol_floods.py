"""WebSocket clients that mean harm, with few bytes: all of it is bounded, and nobody else notices."""

import json
import time
import zlib
from collections.abc import Iterable
from typing import Any

from tests.system.clients import post_rpc
from tests.system.raw import HANDSHAKE, RawWebSocket, exchange, frame, head
from tests.system.served import ServedCase, call
from tests.system.stalled_readers import COMPRESSION, resident

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
URLS = ("/ws", "/chat/floods/")
COMPRESSED = 4
LIMIT = 1 << 20
PATIENCE = 5.0


def deflated(payload: bytes) -> bytes:
    """A compressed message (RFC 7692 section 7.2.1)."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


class FloodTests(ServedCase):
    """Floods of what costs a client nothing."""

    settings = "[http]\nhead_timeout = 1s\n"

    def served(self) -> None:
        """Somebody else is answered at once."""
        begun = time.monotonic()
        post_rpc(self.url, "system.listMethods")
        self.assertLess(time.monotonic() - begun, PATIENCE)

    def closed(self, pieces: Iterable[bytes], *fields: str) -> set[int]:
        """How the server closes when all this is sent, on each URL."""
        data = b"".join(pieces)
        codes = set()
        for url in URLS:
            with RawWebSocket(self.daemon.port, url, *fields) as client:
                client.send(data)
                codes.add(client.closed().code)
            self.served()
        return codes

    def test_pings(self) -> None:
        """Some pings are answered, a flood of them is 1008. Pongs that nobody asked for are the same."""
        for opcode in (PING, PONG):
            self.assertEqual(self.closed([frame(opcode, b"flood")] * 2000), {1008})
        with RawWebSocket(self.daemon.port) as client:
            client.send(*[frame(PING, b"%d" % number) for number in range(50)])
            self.assertEqual([client.frame() for _ in range(50)], [(PONG, b"%d" % number) for number in range(50)])

    def test_fragments(self) -> None:
        """A message in a thousand tiny fragments is 1008, also if all are empty; one in fragments of a kilobyte is fine."""
        for payload in (b"", b" "):
            self.assertEqual(self.closed([frame(TEXT, b"", final=False), *[frame(0, payload, final=False)] * 2000]), {1008})
        with RawWebSocket(self.daemon.port) as client:
            message = json.dumps(call("auth.whoami")).encode().ljust(LIMIT)
            pieces = [message[begin : begin + 1024] for begin in range(0, LIMIT, 1024)]
            client.send(*[frame(0 if number else TEXT, piece, final=number == len(pieces) - 1) for number, piece in enumerate(pieces)])
            self.assertIn('"result"', client.text())

    def test_slow_handshake(self) -> None:
        """A handshake that does not come to its end is given up in time."""
        begun = time.monotonic()
        for data in (b"G", head("/ws", "GET", *HANDSHAKE.strip().split("\r\n"))[:-2]):
            _, closed = exchange(self.daemon.port, data)
            self.assertTrue(closed)
        self.assertLess(time.monotonic() - begun, 10)


class EmptyMessageTests(ServedCase):
    """Floods of messages with nothing in them."""

    settings = "[netsvc]\nlog_level = info\n"

    def test_flood(self) -> None:
        """Each costs a call; who goes on is told that it is too fast, and read from slowly. It is not disconnected, and nobody else notices."""
        memory = resident(self.daemon)
        clients = [RawWebSocket(self.daemon.port, url) for url in URLS]
        for client in clients:
            self.addCleanup(client.close)
            client.send(*[frame(TEXT)] * 50_000)
        for client in clients:
            answer = ""
            while "too " not in answer:
                answer = client.text()
        begun = time.monotonic()
        (healthy,), _ = exchange(self.daemon.port, head("/healthz"), expect=1)
        self.assertEqual(healthy.status, 200)
        self.assertLess(time.monotonic() - begun, PATIENCE)
        self.assertLess(resident(self.daemon) - memory, 10_000_000)


class BombTests(ServedCase):
    """Messages that inflate far."""

    settings = "[limits]\nrate = off\n"

    def compressed(self, payload: bytes, **keywords: Any) -> bytes:
        """A compressed message as a frame."""
        return frame(TEXT, deflated(payload), reserved=COMPRESSED, **keywords)

    def open(self, url: str = "/ws") -> RawWebSocket:
        """A client with which compression was agreed."""
        client = RawWebSocket(self.daemon.port, url, COMPRESSION)
        self.addCleanup(client.close)
        self.assertEqual(client.extensions, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
        return client

    def test_bombs(self) -> None:
        """1009, on each URL, and the memory of the daemon does not know of it."""
        bomb = self.compressed(b" " * (100 << 20))
        memory = resident(self.daemon)
        for url in URLS * 5:
            client = self.open(url)
            client.send(bomb)
            self.assertEqual(client.closed().code, 1009)
        self.assertLess(resident(self.daemon) - memory, 20_000_000)

    def test_just_not(self) -> None:
        """Messages that inflate to just the limit, a thousandfold, are taken now and then, not many at once: 1008."""
        message = self.compressed(json.dumps(call("auth.whoami")).encode().ljust(LIMIT))
        self.assertLess(len(message), 2000)
        client = self.open()
        client.send(message)
        self.assertIn('"result"', client.text())
        client.send(message * 50)
        self.assertEqual(client.closed().code, 1008)

    def test_broken(self) -> None:
        """What cannot be inflated is 1007, compression where it may not be is 1002."""
        for code, data in (
            (1007, frame(TEXT, b"\xff\xff", reserved=COMPRESSED)),
            (1007, self.compressed(b"\xff")),
            (1002, frame(PING, b"", reserved=COMPRESSED)),
            (1002, self.compressed(b"a", final=False) + frame(0, b"", reserved=COMPRESSED)),
        ):
            client = self.open()
            client.send(data)
            self.assertEqual(client.closed().code, code)


class CompressionTests(ServedCase):
    """Compression as it is meant."""

    def test_shared(self) -> None:
        """Clients with and without it see the same of a room; those with it are sent less."""
        sizes = []
        for fields in ((), (COMPRESSION,), (COMPRESSION + "; server_max_window_bits=9",)):
            with RawWebSocket(self.daemon.port, "/chat/shared/", *fields) as client:
                client.frame()
                client.send(frame(TEXT, b"again " * 100))
                self.assertTrue(client.text().endswith("again " * 100))
                sizes.append(client.taken)
        plain, wide, narrow = sizes
        self.assertLess(wide, plain / 2)
        self.assertLess(narrow, plain / 2)

    def test_declined(self) -> None:
        """An offer that cannot be accepted leaves the connection as it is; a malformed one is refused."""
        with RawWebSocket(self.daemon.port, "/ws", COMPRESSION + "; server_max_window_bits=8") as client:
            self.assertEqual(client.extensions, "")
            client.send(frame(TEXT, json.dumps(call("auth.whoami")).encode()))
            self.assertIn('"result"', client.text())
        (answer,), _ = exchange(self.daemon.port, head("/ws", "GET", *HANDSHAKE.strip().split("\r\n"), COMPRESSION + ";"), expect=1)
        self.assertEqual(answer.status, 400)


class OffTests(ServedCase):
    """websocket_compression = off."""

    settings = "[http]\nwebsocket_compression = off\n"

    def test_off(self) -> None:
        """It is not agreed, and what is compressed all the same is 1002."""
        with RawWebSocket(self.daemon.port, "/ws", COMPRESSION) as client:
            self.assertEqual(client.extensions, "")
            client.send(frame(TEXT, deflated(b"a"), reserved=COMPRESSED))
            self.assertEqual(client.closed().code, 1002)
