"""The reader of requests refuses what RFC 9112 refuses, whatever the pieces in which it comes; heads and chunks are well formed."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from netsvc.wire.http1 import BETWEEN, CLOSE, EXPECT, HEAD_ONLY, HTTP_1_0, IN_BODY, IN_HEAD, UPGRADE, BadMessage, RequestLimits, RequestReader
from netsvc.wire.http1_response import Heads, chunk, http_date

LIMITS = RequestLimits(line=100, head=1000, headers=10)


class Collector:
    """A receiver that keeps what it is given.

    :ivar seen: a tuple for each head, piece and request.
    """

    def __init__(self, max_body: int = 100, streaming: bool = False) -> None:
        self.seen: list[Any] = []
        self.max_body = max_body
        self.streaming = streaming

    def head_received(self, head: RequestReader) -> int:
        """See Receiver."""
        self.seen.append((head.method, head.target, head.host, head.flags, head.headers))
        head.streaming = self.streaming
        return self.max_body

    def piece_received(self, piece: bytes) -> None:
        """See Receiver."""
        self.seen.append(piece)

    def request_received(self, body: bytes) -> None:
        """See Receiver."""
        self.seen.append(("body", body))

    def bodies(self) -> list[bytes]:
        """The bodies of the complete requests."""
        return [item[1] for item in self.seen if item[0] == "body"]


def read(*pieces: bytes, limits: RequestLimits = LIMITS, max_body: int = 100, streaming: bool = False) -> tuple[Collector, BadMessage | None]:
    """Feed pieces, and again what came back unread; give what was seen and how it was refused, if it was."""
    collector = Collector(max_body, streaming)
    reader = RequestReader(collector, limits)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                rest = reader.feed(rest)
    except BadMessage as error:
        return collector, error
    return collector, None


def get(*lines: bytes, target: bytes = b"/", method: bytes = b"GET", version: bytes = b"HTTP/1.1", host: bytes = b"Host: a\r\n") -> bytes:
    """A request without a body."""
    return b"%b %b %b\r\n%b%b\r\n" % (method, target, version, host, b"".join(line + b"\r\n" for line in lines))


CHUNKED = get(b"Transfer-Encoding: chunked", method=b"POST")


class PlainRequests(SynchronousTestCase):
    """What a well-behaved client sends."""

    def test_simple(self) -> None:
        """Method, target, Host and header fields come out as sent, names in lower case."""
        collector, error = read(get(b"X-Thing:  some value ", target=b"/a?b=c"))
        self.assertIsNone(error)
        headers = [(b"host", b"a"), (b"x-thing", b"some value")]
        self.assertEqual(len(collector.seen), 2)
        method, target, host, flags, fields = collector.seen[0]
        self.assertEqual((method, target, host, flags), ("GET", b"/a?b=c", b"a", 0))
        self.assertEqual(fields, headers)
        self.assertEqual(collector.seen[1], ("body", b""))

    def test_pipelined(self) -> None:
        """Requests that arrive together are seen in order, each with its own headers."""
        collector, error = read(get(b"X: 1", target=b"/1") + get(b"X: 2", target=b"/2") + get(target=b"/3"))
        self.assertIsNone(error)
        heads = [item for item in collector.seen if item[0] == "GET"]
        self.assertEqual([head[1] for head in heads], [b"/1", b"/2", b"/3"])
        self.assertEqual([head[4][1:] for head in heads], [[(b"x", b"1")], [(b"x", b"2")], []])

    def test_body_with_length(self) -> None:
        """A body of a given length is collected, and the next request begins right behind it."""
        collector, error = read(get(b"Content-Length: 5", method=b"POST") + b"hel", b"lo" + get())
        self.assertIsNone(error)
        self.assertEqual(collector.bodies(), [b"hello", b""])

    def test_chunked_body(self) -> None:
        """A chunked body is joined; extensions and trailers mean nothing, not even a Host among them."""
        collector, error = read(CHUNKED + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nHost: evil\r\nExpect: x\r\n\r\n" + get())
        self.assertIsNone(error)
        self.assertEqual(collector.bodies(), [b"abcde", b""])
        self.assertEqual([item[4] for item in collector.seen if item[0] == "GET"], [[(b"host", b"a")]])

    def test_bytes_one_by_one(self) -> None:
        """A body that comes in the smallest pieces is the same bytes object type as any other."""
        request = get(b"Content-Length: 4", method=b"POST") + b"abcd"
        collector, error = read(*(request[at : at + 1] for at in range(len(request))))
        self.assertIsNone(error)
        self.assertEqual(collector.bodies(), [b"abcd"])
        self.assertIs(type(collector.bodies()[0]), bytes)

    def test_streamed_body(self) -> None:
        """A receiver that asks for it gets the pieces as they come, and an empty body at the end; the next request is collected again."""
        collector, error = read(get(b"Content-Length: 5", method=b"PUT") + b"ab", b"cde", streaming=True)
        self.assertIsNone(error)
        self.assertEqual(collector.seen[1:], [b"ab", b"cde", ("body", b"")])
        collector.streaming = False

    def test_flags(self) -> None:
        """What is out of the ordinary shows in the flags."""
        for request, flags in (
            (get(method=b"HEAD"), HEAD_ONLY),
            (get(b"Connection: close"), CLOSE),
            (get(b"Connection: keep-alive"), 0),
            (get(version=b"HTTP/1.0", host=b""), HTTP_1_0 | CLOSE),
            (get(b"Connection: keep-alive", version=b"HTTP/1.0"), HTTP_1_0),
            (get(b"Connection: Upgrade", b"Upgrade: websocket"), UPGRADE),
            (get(b"Connection: Upgrade", b"Upgrade: websocket", version=b"HTTP/1.0"), HTTP_1_0 | CLOSE),
            (get(b"Expect: 100-Continue", b"Content-Length: 1", method=b"POST"), EXPECT),
            (get(b"Expect: 100-continue", b"Content-Length: 1", method=b"POST", version=b"HTTP/1.0"), HTTP_1_0 | CLOSE),
        ):
            collector, error = read(request)
            self.assertIsNone(error, request)
            self.assertEqual(collector.seen[0][3], flags, request)

    def test_white_space_around_values(self) -> None:
        """What surrounds a value is no part of it (RFC 9112 section 5.1), however it comes."""
        lines = (b"Expect: \t100-continue \t", b"Connection: Upgrade ", b"Upgrade:\twebsocket\t", b"Empty: \t ", b"Two:  a b  ")
        request = get(*lines, b"Content-Length: 1 ", method=b"POST", host=b"Host: a \r\n") + b"x"
        for pieces in ([request], [request[at : at + 1] for at in range(len(request))]):
            collector, error = read(*pieces)
            self.assertIsNone(error)
            _, _, host, flags, fields = collector.seen[0]
            self.assertEqual((host, flags), (b"a", EXPECT | UPGRADE))
            self.assertEqual([value for _, value in fields], [b"a", b"100-continue", b"Upgrade", b"websocket", b"", b"a b", b"1"])
        self.assertEqual(read(get(b"Transfer-Encoding:\tchunked  ", method=b"POST") + b"0\r\n\r\n")[0].bodies(), [b""])

    def test_flags_of_one_request_only(self) -> None:
        """The flags of a request do not stay for the next."""
        collector, _ = read(get(b"Expect: 100-continue", b"Content-Length: 1", method=b"POST") + b"x" + get())
        self.assertEqual(collector.seen[-2][3], 0)

    def test_absolute_form(self) -> None:
        """The authority of an absolute-form target takes the place of Host (RFC 9112 section 3.2.2)."""
        for target, host, path in (
            (b"http://b:80/x?y", b"b:80", b"/x?y"),
            (b"HTTPS://b", b"b", b"/"),
            (b"http://b?y", b"b", b"/?y"),
        ):
            collector, error = read(get(target=target))
            self.assertIsNone(error)
            self.assertEqual(collector.seen[0][1:3], (path, host))

    def test_asterisk_form(self) -> None:
        """``OPTIONS *`` is a target of its own (section 3.2.4)."""
        collector, error = read(get(target=b"*", method=b"OPTIONS"))
        self.assertIsNone(error)
        self.assertEqual(collector.seen[0][1], b"*")

    def test_upgrade_leaves_the_rest(self) -> None:
        """What follows a request with Upgrade is given back unread."""
        reader = RequestReader(Collector(), LIMITS)
        self.assertEqual(reader.feed(get(b"Connection: Upgrade", b"Upgrade: websocket") + b"\x81\x00"), b"\x81\x00")
        self.assertEqual(reader.place, BETWEEN)

    def test_upgrade_with_body(self) -> None:
        """A body behind a request with Upgrade (curl --http2) is that request's, not another request."""
        request = get(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 6", method=b"POST")
        follower = get(target=b"/next")
        for pieces in ((request + b"GET / " + follower,), (request, b"GET", b" / ", follower), (request + b"GE", b"T / " + follower)):
            collector, error = read(*pieces)
            self.assertIsNone(error)
            self.assertEqual(collector.bodies(), [b"GET / ", b""])
            self.assertEqual([item[1] for item in collector.seen if item[0] == "GET"], [b"/next"])

    def test_place(self) -> None:
        """Between feeds the reader says whether a head or a body is in the making, and whether a request was completed."""
        reader = RequestReader(Collector(), LIMITS)
        request = get(b"Content-Length: 2", method=b"POST")
        places = []
        for piece in (request[:3], request[3:], b"a", b"b" + request[:20], request[20:], b"ab", b"\r\n"):
            reader.feed(piece)
            places.append((reader.place, reader.completed))
        expected = [(IN_HEAD, False), (IN_BODY, False), (IN_BODY, False), (IN_HEAD, True), (IN_BODY, False), (BETWEEN, True), (IN_HEAD, False)]
        self.assertEqual(places, expected)

    def test_place_in_the_body_of_an_upgrade(self) -> None:
        """The same while a body is read that llhttp leaves alone."""
        reader = RequestReader(Collector(), LIMITS)
        reader.feed(get(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 2", method=b"POST"))
        self.assertEqual(reader.place, IN_BODY)
        reader.feed(b"a")
        self.assertEqual(reader.place, IN_BODY)
        reader.feed(b"b")
        self.assertEqual(reader.place, BETWEEN)

    def test_errors_of_the_receiver(self) -> None:
        """What the receiver raises comes out of feed as it is."""

        class Broken(Collector):
            def request_received(self, body: bytes) -> None:
                raise KeyError(body)

        self.assertRaises(KeyError, RequestReader(Broken(), LIMITS).feed, get())


class BadRequests(SynchronousTestCase):
    """What is refused, and with which status."""

    def refused(self, status: int, *pieces: bytes, limits: RequestLimits = LIMITS, max_body: int = 100) -> BadMessage:
        """Assert that the pieces are refused with this status and no request comes of them; give the error."""
        collector, error = read(*pieces, limits=limits, max_body=max_body)
        if error is None:
            self.fail(f"accepted: {pieces!r}")
        self.assertEqual((error.status, collector.bodies()), (status, []), pieces)
        self.assertTrue(error.detail)
        return error

    def test_host(self) -> None:
        """HTTP/1.1 has exactly one Host (RFC 9112 section 3.2)."""
        self.refused(400, get(host=b""))
        self.refused(400, get(b"Host: a"))
        self.refused(400, get(b"Host: b"))

    def test_version(self) -> None:
        """Only 1.0 and 1.1 are spoken; HTTP/2's preface and HTTP/0.9 are not."""
        for version in (b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/3.0", b"http/1.1", b"HTTP/1.1 "):
            self.refused(400, get(version=version))
        self.refused(400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    def test_framing(self) -> None:
        """No request whose end two readers could see in different places (section 6.3)."""
        for lines in (
            (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 3"),
            (b"Content-Length: 3", b"Content-Length: 3"),
            (b"Content-Length: 3", b"Content-Length: 4"),
            (b"Content-Length: 3, 3",),
            (b"Content-Length: +3",),
            (b"Content-Length: -3",),
            (b"Content-Length: 0x3",),
            (b"Content-Length:",),
            (b"Content-Length: 99999999999999999999999",),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding:",),
            (b"Transfer-Encoding: chunked, gzip",),
            (b"Connection: Upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked"),
        ):
            self.refused(400, get(*lines, method=b"POST") + b"0\r\n\r\n")

    def test_chunked_in_1_0(self) -> None:
        """HTTP/1.0 knows no Transfer-Encoding (section 6.1)."""
        self.refused(400, get(b"Transfer-Encoding: chunked", method=b"POST", version=b"HTTP/1.0") + b"0\r\n\r\n")

    def test_transfer_codings(self) -> None:
        """Other transfer codings are not implemented (section 6.1)."""
        for coding in (b"gzip", b"gzip, chunked", b"identity", b"xchunked", b"chunked\t"):
            self.refused(501, get(b"Transfer-Encoding: " + coding, method=b"POST") + b"0\r\n\r\n")

    def test_line_ends(self) -> None:
        """Lines end with CRLF, nothing else; no folding (section 5.2)."""
        for request in (
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\nX",
            b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        ):
            self.refused(400, request)

    def test_fields(self) -> None:
        """Names are tokens with a colon right behind them, values have no control characters (section 5)."""
        for line in (b"X: a\x00b", b"X: a\x01", b"X: a\x7f", b"X : a", b": a", b"X", b"X\xff: a", b"(X): a"):
            self.refused(400, get(line))

    def test_targets(self) -> None:
        """A target is a path, an http URL without user information, or *."""
        for target in (b"foo", b"/a#b", b"/\xc3\xa9", b"/\x01", b"ftp://b/", b"http://u@b/", b"http:///x", b"*x", b"http://b/#f", b"/\ta"):
            self.refused(400, get(target=target))

    def test_methods(self) -> None:
        """A word that is no method is malformed, one for proxies or streaming servers is not implemented."""
        for method in (b"FOO", b"get", b"\x16\x03\x01\x02"):
            self.refused(400, get(method=method))
        for method in (b"CONNECT", b"SOURCE"):
            self.refused(501, get(method=method))

    def test_expectations(self) -> None:
        """Another expectation than 100-continue cannot be met (RFC 9110 section 10.1.1)."""
        self.refused(417, get(b"Expect: 200-ok", b"Content-Length: 1", method=b"POST"))

    def test_chunks(self) -> None:
        """Chunks are hexadecimal sizes and CRLFs in their places (section 7.1)."""
        for body in (b"3\nabc\r\n", b"3\r\nabc\n", b"3 \r\nabc\r\n", b"0x3\r\nabc\r\n", b"-3\r\nabc\r\n", b"3\r\nabcXX", b"ffffffffffffffffff\r\n"):
            self.refused(400, CHUNKED + body)

    def test_long_line(self) -> None:
        """A long target is refused before its end is there."""
        self.refused(414, b"GET /" + b"a" * 100)
        self.refused(414, b"GET /" + b"a" * 50, b"a" * 50)
        self.assertIsNone(read(get(target=b"/" + b"a" * 99))[1])

    def test_large_head(self) -> None:
        """A large head is refused before its end is there, also if it is one value without end (which llhttp would collect)."""
        self.refused(431, b"GET / HTTP/1.1\r\nX: " + b"a" * 990)
        self.refused(431, *[b"GET / HTTP/1.1\r\nX: ", *[b"a"] * 990])
        self.refused(431, get(b"X: " + b"a" * 980))
        self.refused(431, b"\r\n" * 501)
        self.assertIsNone(read(get(b"X: " + b"a" * 900) * 3)[1])

    def test_large_head_behind_a_request(self) -> None:
        """The same for a head that began in the piece in which another request ended; that one was answered."""
        collector, error = read(get() + b"GET / HTTP/1.1\r\nX: ", b"a" * 1001)
        self.assertEqual((error and error.status, len(collector.bodies())), (431, 1))

    def test_many_fields(self) -> None:
        """Many header fields are refused."""
        self.refused(431, get(*[b"X: y"] * 10))
        self.assertIsNone(read(get(*[b"X: y"] * 9))[1])

    def test_large_body(self) -> None:
        """A body that is announced too large is refused at once, one that grows too large when it does."""
        self.refused(413, get(b"Content-Length: 101", method=b"POST"))
        self.refused(413, get(b"Content-Length: 9223372036854775808", method=b"POST"))
        self.refused(413, CHUNKED + b"64\r\n" + b"a" * 100 + b"\r\n1\r\na")
        self.refused(413, CHUNKED + b"65\r\n" + b"a" * 60, b"a" * 41)

    def test_endless_framing(self) -> None:
        """What frames chunks is bounded: extensions, zeros, trailers."""
        many = [b"a" * 100] * 12
        self.refused(431, CHUNKED, b"1;", *many)
        self.refused(431, CHUNKED, *[b"0" * 100] * 12)
        self.refused(431, CHUNKED, b"0\r\n", b"X: ", *many)
        small = [b"1\r\na\r\n"] * 100
        self.assertIsNone(read(CHUNKED, *small, b"0\r\n\r\n")[1])

    def test_data_behind_close(self) -> None:
        """Nothing may follow a request that says close (RFC 9112 section 9.6)."""
        collector, error = read(get(b"Connection: close"), get())
        self.assertEqual((error and error.status, len(collector.bodies())), (400, 1))


FIELD = st.sampled_from([b"Accept: */*", b"X-A: b", b"Connection: keep-alive", b"Cookie: a=b; c=d", b"Expect: 100-continue"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, right or a little wrong."""
    target = draw(st.sampled_from([b"/", b"/a/b?c=%20", b"*", b"http://b/c", b"/" + b"x" * 120, b"bad"]))
    version = draw(st.sampled_from([b"HTTP/1.1"] * 5 + [b"HTTP/1.0", b"HTTP/2.0"]))
    host = draw(st.sampled_from([b"Host: a\r\n"] * 5 + [b"", b"Host: a\r\nHost: b\r\n"]))
    lines = draw(st.lists(FIELD, max_size=4, unique=True))
    body = draw(st.binary(max_size=120))
    kind = draw(st.sampled_from(["none", "length", "chunked", "both", "upgrade"]))
    if kind == "none":
        return get(*lines, target=target, version=version, host=host)
    if kind == "upgrade":
        lines = [b"Connection: Upgrade", b"Upgrade: h2c"]
    if kind in ("length", "both", "upgrade"):
        lines.append(b"Content-Length: %d" % len(body))
    if kind in ("chunked", "both"):
        lines.append(b"Transfer-Encoding: chunked")
        cut = len(body) // 2
        body = b"".join(chunk(part) for part in (body[:cut], body[cut:]) if part) + b"0\r\nT: x\r\n\r\n"
    return get(*lines, method=b"POST", target=target, version=version, host=host) + body


def summary(collector: Collector) -> list[Any]:
    """What was seen, with a streamed body as one."""
    return [item if isinstance(item, tuple) else ("piece", item) for item in collector.seen]


class Chunking(SynchronousTestCase):
    """The pieces in which bytes arrive change nothing."""

    @settings(max_examples=150, deadline=None)
    @given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(1, 400), max_size=12))
    def test_any_pieces(self, sent: list[bytes], cuts: list[int]) -> None:
        """The same requests and the same refusal come out of the whole and of any pieces of it."""
        whole = b"".join(sent)
        places = [0, *sorted({cut for cut in cuts if cut < len(whole)}), len(whole)]
        pieces = [whole[start:stop] for start, stop in pairwise(places)]
        limits = RequestLimits(line=100, head=100_000, headers=8)
        collector, error = read(whole, limits=limits)
        in_pieces, other = read(*pieces, limits=limits)
        self.assertEqual(error and error.status, other and other.status)
        self.assertEqual(summary(collector), summary(in_pieces))

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=6))
    def test_garbage(self, pieces: list[bytes]) -> None:
        """Whatever arrives, nothing but BadMessage comes out."""
        read(*(piece for piece in pieces if piece))
        read(*(b"GET / HTTP/1.1\r\nHost: a\r\n" + piece for piece in pieces))


class Answers(SynchronousTestCase):
    """What goes back."""

    def test_date(self) -> None:
        """The example of RFC 9110 section 5.6.7."""
        self.assertEqual(http_date(784111777), b"Sun, 06 Nov 1994 08:49:37 GMT")

    def test_chunk(self) -> None:
        """A size in hexadecimal, the data, each with CRLF."""
        self.assertEqual(chunk(b"a" * 26), b"1a\r\n" + b"a" * 26 + b"\r\n")

    def test_full(self) -> None:
        """Every field is where it belongs, and the head ends with an empty line."""
        heads = Heads(784111777)
        self.assertEqual(
            heads.full(200, b"text/plain", 5, ((b"X", b"y"),)),
            b"HTTP/1.1 200 OK\r\nServer: netsvc\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        )

    def test_lengths(self) -> None:
        """A chunked answer has no length, nor have 204 and 304, nor one that ends with the connection."""
        heads = Heads(0)
        self.assertIn(b"Transfer-Encoding: chunked\r\n", heads.full(200, b"", None, (), chunked=True))
        for head in (heads.full(200, b"", None, (), chunked=True), heads.full(204, b"", 0, ()), heads.full(304, b"", 5, ()), heads.full(200, b"", None, ())):
            self.assertNotIn(b"Content-Length", head)

    def test_unknown_status(self) -> None:
        """A status without a name is written with the space that has to follow it (RFC 9112 section 4)."""
        self.assertTrue(Heads(0).full(299, b"", 0, ()).startswith(b"HTTP/1.1 299 \r\n"))

    def test_no_splitting(self) -> None:
        """Nothing in a field can end the head."""
        for name, value in ((b"X", b"a\r\nSet-Cookie: b"), (b"X", b"a\nb"), (b"X", b"a\x00"), (b"X: y\r\nZ", b"a"), (b"", b"a")):
            self.assertRaises(ValueError, Heads(0).full, 200, b"", 0, ((name, value),))

    def test_plain(self) -> None:
        """Plain heads are made once, until the time changes."""
        heads = Heads(0)
        first = heads.plain(200, b"text/plain", 5)
        self.assertEqual(first, heads.full(200, b"text/plain", 5, ()))
        self.assertIs(heads.ready[200, b"text/plain", 5], first)
        heads.set_date(1)
        self.assertEqual(heads.ready, {})
        self.assertNotEqual(heads.plain(200, b"text/plain", 5), first)

    def test_plain_is_bounded(self) -> None:
        """Answers of ever other lengths do not fill the memory."""
        heads = Heads(0)
        for length in range(3000):
            heads.plain(200, b"", length)
        self.assertLess(len(heads.ready), 1100)

    def test_no_body_where_none_may_be(self) -> None:
        """204 and 304 with a body would be taken for two answers."""
        self.assertRaises(ValueError, Heads(0).plain, 204, b"", 1)
