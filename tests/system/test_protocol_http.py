"""HTTP on a raw socket: what is malformed, too large, too slow, or from elsewhere."""

import time
from xmlrpc.client import ServerProxy

from tests.system.clients import request
from tests.system.raw import HANDSHAKE, RawWebSocket, exchange, head
from tests.system.served import ServedCase, call

UPGRADE = HANDSHAKE.strip().split("\r\n")
CHUNKED = "Transfer-Encoding: chunked"


class MalformedTests(ServedCase):
    """Bad requests: one answer with a status, then the connection ends."""

    def refused(self, status: int, *pieces: bytes) -> None:
        """One answer of this status, which says that it ends the connection, and the end."""
        answers, closed = exchange(self.daemon.port, *pieces)
        shown = pieces[0][:80]
        self.assertEqual([answer.status for answer in answers], [status], shown)
        self.assertTrue(closed, shown)
        self.assertEqual(answers[0].headers.get("connection"), "close", shown)
        self.assertNotIn(b"Traceback", answers[0].body)

    def test_request_lines(self) -> None:
        """Versions that are not spoken, and lines that are none."""
        for line in (
            b"GET / HTTP/2.0",
            b"GET / HTTP/1.2",
            b"GET / HTTP/0.9",
            b"GET / HTTP/1",
            b"GET / http/1.1",
            b"GET /",
            b"GET",
            b"hello world",
            b"get / HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"GET nothing HTTP/1.1",
            b"GET /\xff HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
        ):
            self.refused(400, line + b"\r\nHost: localhost\r\n\r\n")

    def test_hosts(self) -> None:
        """No Host, two of them, and what is no host."""
        self.refused(400, head(host=None))
        self.refused(400, head("/healthz", "GET", "Host: localhost"))
        for host in ("a b", "user@localhost", "localhost,localhost", "localhost/", "[::1"):
            self.refused(400, head(host=host))

    def test_fields(self) -> None:
        """Header fields that other parsers would read in another way."""
        for field in ("X : a", "X: a\r\n folded", "no colon", "X: a\0b", "X: a\rb", ": a", "X\x7f: a"):
            self.refused(400, head("/healthz", "GET", field))
        self.refused(400, b"GET /healthz HTTP/1.1\nHost: localhost\n\n")

    def test_framing(self) -> None:
        """Bodies whose end could be seen in two places."""
        for fields, body, status in (
            ((CHUNKED, "Content-Length: 2"), b"2\r\n{}\r\n0\r\n\r\n", 400),
            (("Content-Length: 2", "Content-Length: 3"), b"{} ", 400),
            (("Content-Length: +2",), b"{}", 400),
            (("Content-Length: -2",), b"{}", 400),
            (("Content-Length: 2, 2",), b"{}", 400),
            ((f"Content-Length: {10**30}",), b"", 400),
            (("Transfer-Encoding: gzip, chunked",), b"", 501),
            (("Transfer-Encoding: identity",), b"{}", 501),
            ((CHUNKED,), b"zz\r\n{}\r\n0\r\n\r\n", 400),
            ((CHUNKED,), b"2\r\n{}x\r\n0\r\n\r\n", 400),
            ((CHUNKED,), b"-2\r\n{}\r\n0\r\n\r\n", 400),
        ):
            self.refused(status, head("/rpc", "POST", *fields) + body)
        self.refused(400, head("/rpc", "POST", CHUNKED, version="HTTP/1.0") + b"2\r\n{}\r\n0\r\n\r\n")

    def test_behind_a_good_request(self) -> None:
        """The good one is answered first; nothing behind the bad one is."""
        answers, closed = exchange(self.daemon.port, head() + b"bad\r\n\r\n" + head())
        self.assertEqual(([answer.status for answer in answers], closed), ([200, 400], True))

    def test_paths(self) -> None:
        """A path that is no UTF-8 under its percent signs; none leads out of the folder of files."""
        self.assertEqual(exchange(self.daemon.port, head("/chat/%ff/"), expect=1)[0][0].status, 400)
        for path in ("/web/../tap.py", "/web/%2e%2e/tap.py", "/web/..%2ftap.py", "/web//etc/passwd", "/web/%00", "/web/"):
            self.assertEqual(exchange(self.daemon.port, head(path), expect=1)[0][0].status, 404, path)

    def test_sizes(self) -> None:
        """Too much of anything is refused while it comes."""
        mebibyte = b"a" * (1 << 20)
        self.refused(431, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + mebibyte + b"\r\n\r\n")
        self.refused(431, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: a\r\n" % number for number in range(5000)) + b"\r\n")
        self.refused(414, b"GET /" + mebibyte + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.refused(413, head("/rpc", "POST", f"Content-Length: {1 << 30}"))
        self.refused(413, head("/rpc", "POST", CHUNKED) + b"200000\r\n" + mebibyte + mebibyte + b"\r\n0\r\n\r\n")
        self.refused(431, head("/rpc", "POST", CHUNKED) + b"1;" + mebibyte + b"\r\na\r\n0\r\n\r\n")

    def test_expectations(self) -> None:
        """A client that waits for 100 gets it, or the refusal in its place."""
        start = head("/rpc", "POST", "Content-Length: 2", "Expect: 100-continue")
        self.assertEqual([answer.status for answer in exchange(self.daemon.port, start, expect=1)[0]], [100])
        self.refused(417, head("/rpc", "POST", "Content-Length: 2", "Expect: something"))
        self.refused(413, head("/rpc", "POST", f"Content-Length: {1 << 30}", "Expect: 100-continue"))

    def test_nobody_else_is_harmed(self) -> None:
        """After all this, and garbage besides, others are served."""
        for garbage in (b"\0" * 10_000, b"\r\n" * 5000, bytes(range(256)) * 100):
            exchange(self.daemon.port, garbage, head("/healthz", "GET", "Connection: close"))
        self.assertEqual(request(f"{self.url}/readyz").status, 200)


class GoodTests(ServedCase):
    """What may look odd and is right."""

    def statuses(self, *pieces: bytes, expect: int = 0) -> tuple[list[int], bool]:
        """What is answered, and whether the connection has ended."""
        answers, closed = exchange(self.daemon.port, *pieces, expect=expect)
        return [answer.status for answer in answers], closed

    def test_old_clients(self) -> None:
        """HTTP/1.0 needs no Host and is closed after the answer, unless it asks for more."""
        self.assertEqual(self.statuses(head(host=None, version="HTTP/1.0")), ([200], True))
        kept, closed = exchange(self.daemon.port, head("/healthz", "GET", "Connection: keep-alive", version="HTTP/1.0"), expect=1)
        self.assertEqual((kept[0].headers["connection"], closed), ("keep-alive", False))

    def test_pipelining(self) -> None:
        """Requests sent at once are answered in their order, slow ones too."""
        body = b'{"jsonrpc":"2.0","id":%d,"method":"chat.post","params":["pipe","%d"]}'
        posts = [body % (number, number) for number in range(50)]
        sent = b"".join(head("/rpc", "POST", f"Content-Length: {len(post)}") + post for post in posts)
        answers, _ = exchange(self.daemon.port, head() + sent + head("/healthz", "GET", "Connection: close"))
        self.assertEqual([answer.status for answer in answers], [200] * 52)
        self.assertEqual([answer.body.split(b",")[1] for answer in answers[1:-1]], [b'"id":%d' % number for number in range(50)])

    def test_bytes_one_by_one(self) -> None:
        """Where the network cuts does not matter."""
        body = b'{"jsonrpc":"2.0","id":1,"method":"auth.whoami"}'
        message = head("/rpc", "POST", CHUNKED) + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nTrailer: x\r\n\r\n"
        pieces = [message[index : index + 1] for index in range(len(message))]
        self.assertEqual(self.statuses(*pieces, expect=1), ([200], False))

    def test_forms_of_targets(self) -> None:
        """Absolute targets, whose host counts; ``*`` for OPTIONS; empty lines before a request; a query."""
        self.assertEqual(self.statuses(b"\r\n\r\n" + head("http://localhost/healthz?a=b"), expect=1)[0], [200])
        self.assertEqual(self.statuses(head("http://evil.example/healthz"), expect=1)[0], [421])
        self.assertEqual(self.statuses(head("*", "OPTIONS"), expect=1)[0], [204])

    def test_methods(self) -> None:
        """HEAD is GET without a body; a wrong method is told the right ones."""
        for path in ("/", "/healthz", "/openrpc.json"):
            got, asked = request(self.url + path), request(self.url + path, "HEAD")
            self.assertEqual((asked.status, asked.body), (200, b""))
            self.assertEqual(asked.headers["content-type"], got.headers["content-type"])
        for path, method, allowed in (("/rpc", "GET", "POST"), ("/", "POST", "GET"), ("/login", "GET", "POST"), ("/ws", "DELETE", "GET")):
            answer = request(self.url + path, method)
            self.assertEqual(answer.status, 405)
            self.assertIn(allowed, answer.headers["allow"].split(", "))

    def test_fields_of_answers(self) -> None:
        """Date, Server, Content-Type and Content-Length are there; nothing tells a version."""
        answer = request(f"{self.url}/healthz")
        self.assertLessEqual({"date", "server", "content-type", "content-length"}, set(answer.headers))
        self.assertEqual(answer.headers["server"], "netsvc")

    def test_the_page(self) -> None:
        """At / and on a room, with a strict policy; a room's URL without its slash leads there."""
        for path in ("/", "/chat/lobby/", "/chat/LOBBY/"):
            answer = request(self.url + path)
            self.assertEqual((answer.status, answer.headers["content-type"].partition(";")[0]), (200, "text/html"), path)
            self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
        self.assertEqual(request(f"{self.url}/chat/lobby").headers["location"], "/chat/lobby/")
        self.assertEqual(request(f"{self.url}/chat/!/").status, 400)

    def test_handshakes(self) -> None:
        """Wrong ones get a status and say what would be right; the right one is answered as RFC 6455 computes it."""
        for fields, status in (
            ([], 426),
            ([field for field in UPGRADE if "Version" not in field], 426),
            ([field.replace("13", "8") for field in UPGRADE], 426),
            ([field for field in UPGRADE if "Key" not in field], 400),
            ([field.replace("dGhl", "") for field in UPGRADE], 400),
        ):
            (answer,), _ = exchange(self.daemon.port, head("/ws", "GET", *fields), expect=1)
            self.assertEqual((answer.status, answer.headers["sec-websocket-version"]), (status, "13"), fields)
        (answer,), _ = exchange(self.daemon.port, head("/ws", "GET", *UPGRADE), expect=1)
        self.assertEqual((answer.status, answer.headers["sec-websocket-accept"]), (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        self.assertEqual(self.statuses(head("/healthz", "GET", "Connection: Upgrade", "Upgrade: h2c") + head(), expect=2)[0], [200, 200])

    def test_another_protocol_offered(self) -> None:
        """Who offers HTTP/2 with its request, as curl --http2 does, gets the page of a room, not a word about WebSockets."""
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
        (answer,), _ = exchange(self.daemon.port, head("/chat/lobby/", "GET", *offer), expect=1)
        self.assertEqual((answer.status, answer.headers["content-type"].partition(";")[0]), (200, "text/html"))


class FromElsewhereTests(ServedCase):
    """Host against DNS rebinding, Origin against other sites' pages."""

    settings = "[http]\nhosts = chat.example, other.example\norigins = https://app.example\n  http://app.example:8000\n"

    def status(self, path: str, method: str = "GET", *fields: str, host: str = "localhost") -> int:
        """The status of a request."""
        return exchange(self.daemon.port, head(path, method, *fields, host=host), expect=1)[0][0].status

    def test_hosts(self) -> None:
        """IP literals, localhost and the names in the settings, in any case and with any port; all else is 421, WebSockets too."""
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "8.8.8.8:80", "[::1]", "[2001:db8::1]:80", "chat.example", "Chat.Example:99", "other.example"):
            self.assertEqual(self.status("/healthz", host=host), 200, host)
            self.assertEqual(self.status("/ws", "GET", *UPGRADE, host=host), 101, host)
        for host in ("evil.example", "chat.example.evil", "a.chat.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "2130706433"):
            self.assertEqual(self.status("/healthz", host=host), 421, host)
            self.assertEqual(self.status("/ws", "GET", *UPGRADE, host=host), 421, host)
            self.assertEqual(self.status("/rpc", "POST", "Content-Length: 0", host=host), 421, host)

    def test_origins(self) -> None:
        """Every WebSocket and every method but GET and HEAD; this host is scheme, name and port."""
        host = "chat.example:8080"
        ours = ("http://chat.example:8080", "HTTP://Chat.Example:8080", "https://app.example", "https://app.example:443", "http://app.example:8000")
        theirs = (
            "null", "http://chat.example", "https://chat.example:8080", "http://chat.example:8081", "http://evil.example",
            "https://app.example.evil", "http://app.example", "https://app.example/", "https://app.example@evil.example", "", "*",
        )  # fmt: skip
        two = (f"Origin: {ours[0]}", "Origin: http://evil.example")
        for fields in (two, two[::-1]):
            self.assertEqual(self.status("/rpc", "POST", "Content-Length: 0", *fields, host=host), 403)
        for origin in (*ours, *theirs):
            allowed, field = origin in ours, f"Origin: {origin}"
            for path in ("/ws", "/chat/lobby/"):
                self.assertEqual(self.status(path, "GET", *UPGRADE, field, host=host), 101 if allowed else 403, (path, origin))
            for path, method in (("/rpc", "POST"), ("/login", "POST"), ("/logout", "POST"), ("/nothing", "DELETE")):
                status = self.status(path, method, "Content-Length: 0", field, host=host)
                self.assertEqual(status == 403, not allowed, (path, origin, status))
            self.assertEqual(self.status("/healthz", "GET", field, host=host), 200)

    def test_no_origin(self) -> None:
        """curl and wscat send none, and pass."""
        self.assertEqual(self.status("/ws", "GET", *UPGRADE), 101)
        self.assertEqual(self.status("/rpc", "POST", "Content-Length: 0"), 400)


class PatienceTests(ServedCase):
    """Slow clients."""

    settings = (
        "[http]\nhead_timeout = 300ms\nbody_timeout = 300ms\nidle_timeout = 300ms\nanswer_timeout = 300ms\nping_interval = 300ms\npong_timeout = 700ms\n"
        "[rpc]\nmodules = wire_procedures\n"
    )

    def late(self, *pieces: bytes) -> list[int]:
        """The statuses of what is answered before the server gives up, which it must in time."""
        began = time.monotonic()
        answers, closed = exchange(self.daemon.port, *pieces, deadline=9.0)
        self.assertTrue(closed)
        self.assertLess(time.monotonic() - began, 9.0)
        return [answer.status for answer in answers]

    def test_heads(self) -> None:
        """A head that does not come to its end is 408."""
        for start in (b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "):
            self.assertEqual(self.late(start), [408], start)

    def test_bodies(self) -> None:
        """So is a body."""
        self.assertEqual(self.late(head("/rpc", "POST", "Content-Length: 20") + b"{"), [408])
        self.assertEqual(self.late(head("/rpc", "POST", CHUNKED) + b"5\r\n{"), [408])

    def test_calls(self) -> None:
        """A call has the time that its own deadline gives it, in JSON-RPC and in XML-RPC."""
        self.assertEqual(self.post(call("slow.coroutine", [1.2]), X_Deadline="20").json()["result"], "coroutine")
        self.check_error(self.post(call("slow.coroutine", [20]), X_Deadline="1.2"), 504, -32007)
        with ServerProxy(f"{self.url}/RPC2") as proxy:
            self.assertEqual(proxy.slow.coroutine(1.2), "coroutine")

    def test_nothing(self) -> None:
        """Who says nothing, or nothing more, is let go without an answer to nothing."""
        self.assertEqual(self.late(), [])
        self.assertEqual(self.late(head()), [200])

    def test_a_dead_websocket(self) -> None:
        """A client that answers no ping is given up; one that does stays."""
        with RawWebSocket(self.daemon.port) as dead, RawWebSocket(self.daemon.port) as alive:
            from_server = dead.frame()
            self.assertEqual(from_server, (9, b""))
            for _ in range(2):
                ping = alive.frame()
                assert ping is not None
                self.assertEqual(ping[0], 9)
                alive.pong(ping[1])
            self.assertIsNone(dead.frame())
