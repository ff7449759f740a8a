"""Heads that are recognised: a request that begins like the one before is read the same as by a reader that has never seen it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from netsvc.wire.http1 import BETWEEN, BadMessage, RequestLimits, RequestReader

LIMITS = RequestLimits(256, 1024, 20)

HEADS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /x?y HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
    b"POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
    b"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n",
    b"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n",
    b"\r\nGET /crlf HTTP/1.1\r\nHost: a\r\n\r\n",
)
BODIES = {2: (b"abc", b"\r\n\r"), 3: (b"GET /", b"\r\n\r\nx"), 4: (b"wxyz",), 5: (b"2\r\nhi\r\n0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n"), 6: (b"x" * 99,)}


class Log:
    """A receiver that keeps everything it is given."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.pieces = b""
        self.streaming = False

    def head_received(self, head: RequestReader) -> int:
        """One target asks for its body in pieces; a body may have ten bytes."""
        self.seen.append((head.method, head.target, tuple(head.headers), head.host, head.flags, head.length, head.chunked))
        head.headers.append((b"the receiver's", b"to keep"))
        self.streaming = head.streaming = head.target == b"/stream"
        return 10

    def piece_received(self, piece: bytes) -> None:
        """Joined: how a body is cut is nobody's promise."""
        self.pieces += piece

    def request_received(self, body: bytes) -> None:
        """The whole request."""
        self.seen.append(self.pieces if self.streaming else body)
        self.pieces = b""


def read(pieces: list[bytes]) -> tuple[list[object], str]:
    """What a reader makes of some feeds, and how it ends."""
    log = Log()
    reader = RequestReader(log, LIMITS)
    try:
        for piece in pieces:
            reader.feed(piece)
    except BadMessage as error:
        return log.seen, error.detail
    return log.seen, "" if reader.place == BETWEEN else "in the middle"


requests = st.integers(0, len(HEADS) - 1).flatmap(lambda which: st.sampled_from(BODIES.get(which, (b"",))).map(lambda body: HEADS[which] + body))


class KnownHeadTests(TestCase):
    """Nobody can tell that a head was recognised."""

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(requests, st.integers(1, 4), st.booleans()), max_size=8))
    def test_the_same_as_byte_by_byte(self, plan: list[tuple[bytes, int, bool]]) -> None:
        """Whole requests in a feed each, repeated, two in a feed, cut in two: always what single bytes give."""
        pieces: list[bytes] = []
        for request, times, cut in plan:
            for _ in range(times):
                pieces += [request[: len(request) // 2], request[len(request) // 2 :]] if cut else [request]
            if not cut:
                pieces.append(request + request)
        data = b"".join(pieces)
        expected = read([data[index : index + 1] for index in range(len(data))])
        self.assertEqual(read(pieces), expected)

    def test_it_is_recognised(self) -> None:
        """The parser is not asked again."""
        log = Log()
        reader = RequestReader(log, LIMITS)
        reader.feed(HEADS[2] + b"abc")
        reader._parser = None
        reader.feed(HEADS[2] + b"def")
        reader.feed(HEADS[2] + b"ghi")
        self.assertEqual(log.seen[1::2], [b"abc", b"def", b"ghi"])
        self.assertEqual(log.seen[0], log.seen[2])

    def test_recognised_again_after_a_request_in_pieces(self) -> None:
        """One that came in pieces does not end it for good."""
        log = Log()
        reader = RequestReader(log, LIMITS)
        reader.feed(HEADS[0][:5])
        reader.feed(HEADS[0][5:])
        reader.feed(HEADS[0])
        reader._parser = None
        reader.feed(HEADS[0])
        self.assertEqual(len(log.seen), 6)

    def test_what_is_not_remembered(self) -> None:
        """Long heads, and all that is not plain HTTP/1.1 on a connection that stays open."""
        for head in (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3000 + b"\r\n\r\n",
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ):
            reader = RequestReader(Log(), RequestLimits(256, 8192, 20))
            reader.feed(head)
            self.assertEqual(reader._known, b"", head[:40])
