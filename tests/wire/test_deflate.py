"""permessage-deflate: what is agreed, what is sent, and what is inflated."""

import contextlib
import random
import tracemalloc
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.headers import parse_extension

from netsvc.wire.deflate import Agreement, Deflater, InflatingReader, PermessageDeflate, parse_extensions
from netsvc.wire.websocket import BINARY, FAIL, PING, TEXT, BadHandshake, FrameReader
from netsvc.wire.websocket import frame as plain_frame
from tests.wire.test_websocket import client_frame

LIMIT = 1 << 20
RSV1 = 0x40
TAIL = b"\0\0\xff\xff"
BOTH = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def deflated(payload: bytes, window: int = 15) -> bytes:
    """A message as a client compresses it (RFC 7692 section 7.2.1)."""
    stream = zlib.compressobj(wbits=-window)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def agree(*offers: bytes) -> Agreement | None:
    """What a server with plain settings agrees on."""
    return PermessageDeflate(3, 1, LIMIT).agree(offers)


def answer(*offers: bytes) -> bytes | None:
    """What it answers, None without agreement."""
    agreement = agree(*offers)
    return None if agreement is None else agreement.answer


def failed(data: bytes, limit: int = LIMIT, window: int = 15) -> int:
    """Feed a fresh reader what must fail and give the close code."""
    (opcode, close) = InflatingReader(limit, window).feed(data)[-1]
    assert opcode == FAIL
    return int(close.code)


class GrammarTests(SynchronousTestCase):
    """Sec-WebSocket-Extensions (RFC 6455 section 9.1)."""

    def test_parse(self) -> None:
        """Extensions and their parameters come in order; white space, quotes and empty elements mean nothing."""
        value = b' foo ,, bar; a ; b = 1;c="2\\3" , ,baz;d\t'
        self.assertEqual(parse_extensions(value), [("foo", []), ("bar", [("a", None), ("b", "1"), ("c", "23")]), ("baz", [("d", None)])])

    def test_nothing(self) -> None:
        """An empty field offers nothing."""
        self.assertEqual([parse_extensions(value) for value in (b"", b" ", b", ,")], [[], [], []])

    def test_malformed(self) -> None:
        """A field against the grammar fails the handshake with 400."""
        parameters = (b"a;", b"a; ", b"a;;b", b"a; b=", b'a; b="', b'a; b=""', b'a; b="c d"', b"a; b=c d", b"a;,b")
        for value in (*parameters, b"a=1", b'a="1"', b"a b", b"a(b)", b";a", b"\xff"):
            refusal = self.assertRaises(BadHandshake, parse_extensions, value)
            self.assertEqual(refusal.status, 400, value)

    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=60))
    def test_anything(self, value: bytes) -> None:
        """Whatever is sent, it is parsed or refused."""
        with contextlib.suppress(BadHandshake):
            parse_extensions(value)

    def test_long(self) -> None:
        """A long field takes time in proportion to its length: no part of the grammar is tried twice."""
        for value in (b"a" * 30_000, b"a;" * 15_000, b"," * 30_000, b" " * 30_000, b'a;b="' + b"\\" * 30_000, b"a; b=" + b" " * 30_000):
            with contextlib.suppress(BadHandshake):
                parse_extensions(value)


class NegotiationTests(SynchronousTestCase):
    """What is offered and what is answered (RFC 7692 sections 5.1 and 7.1)."""

    def test_plain(self) -> None:
        """The plain offer is accepted, and no window is kept in either direction, whether that was offered or not."""
        self.assertEqual(answer(b"permessage-deflate"), BOTH)
        self.assertEqual(answer(b"permessage-deflate; client_no_context_takeover; server_no_context_takeover"), BOTH)

    def test_browsers(self) -> None:
        """What Chromium offers is accepted; the window of the client needs no word, for it is not kept."""
        self.assertEqual(answer(b"permessage-deflate; client_max_window_bits"), BOTH)

    def test_client_window(self) -> None:
        """A client that names its window is taken at its word."""
        agreement = agree(b"permessage-deflate; client_max_window_bits=10")
        assert agreement is not None
        self.assertEqual((agreement.answer, agreement.window), (BOTH + b"; client_max_window_bits=10", 10))

    def test_server_window(self) -> None:
        """A window that a client wants is kept to; a smaller one than asked for may be answered, and is."""
        for asked, given_ in ((9, 9), (10, 9), (14, 9), (15, 15)):
            self.assertEqual(answer(b"permessage-deflate; server_max_window_bits=%d" % asked), BOTH + b"; server_max_window_bits=%d" % given_)

    def test_impossible_window(self) -> None:
        """A window of 8 bits is declined, since zlib has none; a further offer may be accepted."""
        self.assertIsNone(answer(b"permessage-deflate; server_max_window_bits=8"))
        self.assertEqual(answer(b"permessage-deflate; server_max_window_bits=8, permessage-deflate"), BOTH)

    def test_declined(self) -> None:
        """An offer with an unknown, doubled or wrong parameter is declined (section 7), which leaves the connection without extension."""
        for parameters in (
            b"foo",
            b"server_no_context_takeover=1",
            b'client_no_context_takeover="x"',
            b"server_max_window_bits",
            b"server_max_window_bits=16",
            b"server_max_window_bits=7",
            b"server_max_window_bits=09",
            b"server_max_window_bits=+9",
            b"client_max_window_bits=x",
            b"client_max_window_bits=16",
            b"client_max_window_bits; client_max_window_bits",
            b"server_max_window_bits=10; server_max_window_bits=10",
            b"SERVER_MAX_WINDOW_BITS=10",
        ):
            self.assertIsNone(answer(b"permessage-deflate; " + parameters), parameters)

    def test_others(self) -> None:
        """Extensions that are not known are passed over, in one field or several."""
        self.assertIsNone(answer(b"x-webkit-deflate-frame"))
        self.assertIsNone(answer())
        self.assertEqual(answer(b"bbf-usp-protocol; a=1, permessage-deflate"), BOTH)
        self.assertEqual(answer(b"foo", b"permessage-deflate"), BOTH)

    def test_order(self) -> None:
        """The first acceptable offer is the one that is accepted."""
        offers = b"permessage-deflate; server_max_window_bits=9, permessage-deflate"
        self.assertEqual(answer(offers), BOTH + b"; server_max_window_bits=9")

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(
        st.builds(
            ClientPerMessageDeflateFactory,
            st.booleans(),
            st.booleans(),
            st.none() | st.integers(9, 15),
            st.none() | st.just(True) | st.integers(9, 15),
        )
    )
    def test_a_client_agrees(self, client: ClientPerMessageDeflateFactory) -> None:
        """Whatever an independent client offers, it accepts the answer, and each reads what the other sends."""
        parameters = client.get_request_params()
        offer = "; ".join(["permessage-deflate", *(name if value is None else f"{name}={value}" for name, value in parameters)])
        agreement = agree(offer.encode())
        assert agreement is not None
        ((_, answered),) = parse_extension(agreement.answer.decode())
        spoken = client.process_response_params(answered, [])
        reader = InflatingReader(LIMIT, agreement.window)
        for payload in (b"abc" * 500, b"abc" * 500, bytes(range(256)) * 20 + b"abc" * 500):
            sent = spoken.encode(Frame(Opcode.BINARY, payload))
            self.assertEqual(reader.feed(client_frame(BINARY, sent.data, reserved=RSV1 if sent.rsv1 else 0)), [(BINARY, payload)])
            self.assertEqual(read(spoken, agreement.deflater.frame(BINARY, payload)), payload)


def read(client: PerMessageDeflate, data: bytes) -> bytes:
    """What a client reads in a frame of at most 64 KiB that the server sent."""
    head = 2 if data[1] < 126 else 4
    frame = client.decode(Frame(Opcode(data[0] & 0x0F), data[head:], rsv1=bool(data[0] & RSV1)))
    return bytes(frame.data)


class DeflaterTests(SynchronousTestCase):
    """What is sent."""

    def test_compressed(self) -> None:
        """A message that becomes shorter is sent so: RSV1 in its frame, the tail cut off (section 7.2.1)."""
        data = Deflater(3, 1, 1000).text_frame(b"abc" * 100)
        self.assertEqual(data[0], 0x80 | RSV1 | TEXT)
        self.assertEqual(data[1], len(data) - 2)
        self.assertFalse(data.endswith(TAIL))
        self.assertEqual(zlib.decompressobj(-15).decompress(data[2:] + TAIL), b"abc" * 100)

    def test_length(self) -> None:
        """A message that is too short for it, or so long that it would take too long, is sent as it is."""
        deflater = Deflater(3, 100, 200)
        self.assertEqual(deflater.text_frame(b"a" * 99), plain_frame(TEXT, b"a" * 99))
        for size in (100, 200):
            self.assertLess(len(deflater.text_frame(b"a" * size)), 50)
        self.assertEqual(deflater.text_frame(b"a" * 201), plain_frame(TEXT, b"a" * 201))

    def test_nothing_gained(self) -> None:
        """A message that does not become shorter is sent as it is, the empty one included."""
        deflater = Deflater(3, 0, 1000)
        noise = random.Random(1).randbytes(1000)
        for payload in (b"", b"a", noise):
            self.assertEqual(deflater.frame(BINARY, payload), plain_frame(BINARY, payload))

    def test_same_object(self) -> None:
        """The function that makes frames is the same object each time, and another for each deflater."""
        one, other = Deflater(3, 1, 1000), Deflater(3, 1, 1000)
        self.assertIs(one.text_frame, one.text_frame)
        self.assertNotEqual(one.text_frame, other.text_frame)

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(st.integers(1, 9), st.sampled_from((9, 15)), st.lists(st.binary(max_size=40).map(lambda unit: unit * 60), max_size=8))
    def test_independent(self, level: int, window: int, payloads: list[bytes]) -> None:
        """Each frame is what it would be if nothing had been sent before, so everybody can be sent the same; a window of that size reads it."""
        shared = Deflater(level, 1, LIMIT, window)
        for payload in payloads:
            data = shared.frame(BINARY, payload)
            self.assertEqual(data, Deflater(level, 1, LIMIT, window).frame(BINARY, payload))
            client = PerMessageDeflate(remote_no_context_takeover=True, local_no_context_takeover=True, remote_max_window_bits=window, local_max_window_bits=15)
            self.assertEqual(read(client, data), payload)


class InflatingTests(SynchronousTestCase):
    """What clients send compressed."""

    def feed(self, data: bytes) -> list[tuple[int, object]]:
        """Read with a fresh reader."""
        return InflatingReader(LIMIT, 15).feed(data)

    def test_rfc_examples(self) -> None:
        """Every example of section 7.2.3 is read: "Hello" compressed, shared between frames, stored, in a final block, in two blocks."""
        for payload in ("f248cdc9c90700", "000500faff48656c6c6f00", "f348cdc9c9070000", "f248050000 00ffffcac9c90700"):
            self.assertEqual(self.feed(client_frame(TEXT, bytes.fromhex(payload), reserved=RSV1)), [(TEXT, "Hello")], payload)
        fragments = client_frame(TEXT, bytes.fromhex("f248cd"), fin=False, reserved=RSV1) + client_frame(0, bytes.fromhex("c9c90700"))
        self.assertEqual(self.feed(fragments), [(TEXT, "Hello")])

    def test_empty(self) -> None:
        """An empty message is the single byte of an empty block (section 7.2.3.6)."""
        self.assertEqual(self.feed(client_frame(TEXT, b"\0", reserved=RSV1)), [(TEXT, "")])

    def test_each_for_itself(self) -> None:
        """Compressed and plain messages follow each other as the client likes."""
        data = client_frame(TEXT, b"plain") + client_frame(TEXT, deflated(b"packed"), reserved=RSV1) + client_frame(BINARY, b"\xff")
        self.assertEqual(self.feed(data), [(TEXT, "plain"), (TEXT, "packed"), (BINARY, b"\xff")])

    def test_ping_between(self) -> None:
        """A ping in the midst of a compressed message is read first, and never compressed."""
        packed = deflated(b"0123456789" * 10)
        data = client_frame(TEXT, packed[:5], fin=False, reserved=RSV1) + client_frame(PING, b"!") + client_frame(0, packed[5:])
        self.assertEqual(self.feed(data), [(PING, b"!"), (TEXT, "0123456789" * 10)])

    @settings(derandomize=True, deadline=None, max_examples=80)
    @given(st.text(max_size=30), st.integers(0, 60), st.lists(st.integers(0, 40), max_size=6), st.integers(1, 9), st.booleans())
    def test_any_cut(self, unit: str, count: int, cuts: list[int], step: int, ends: bool) -> None:
        """However it is fragmented and however the bytes arrive, a message is read as it was sent, with a final block or without."""
        message = unit * count
        stream = zlib.compressobj(wbits=-15)
        packed = stream.compress(message.encode()) + (stream.flush() + b"\0" if ends else stream.flush(zlib.Z_SYNC_FLUSH)[:-4])
        pieces, rest = [], packed
        for cut in cuts:
            pieces.append(rest[:cut])
            rest = rest[cut:]
        frames = [client_frame(TEXT if number == 0 else 0, piece, fin=False, reserved=0 if number else RSV1) for number, piece in enumerate(pieces)]
        frames.append(client_frame(0 if pieces else TEXT, rest, reserved=0 if pieces else RSV1))
        data = b"".join(frames)
        reader = InflatingReader(LIMIT, 15)
        events = [event for index in range(0, len(data), step) for event in reader.feed(data[index : index + step])]
        self.assertEqual(events, [(TEXT, message)])

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.binary(max_size=200))
    def test_anything(self, payload: bytes) -> None:
        """Whatever is sent as compressed, it is a message or a failure, and no other exception."""
        ((opcode, _),) = InflatingReader(1000, 15).feed(client_frame(BINARY, payload, reserved=RSV1))
        self.assertIn(opcode, (BINARY, FAIL))

    def test_garbage(self) -> None:
        """What is no deflated data fails the connection (1007), as does text that is not UTF-8 once inflated."""
        self.assertEqual(failed(client_frame(TEXT, b"\xff\xff\xff", reserved=RSV1)), 1007)
        self.assertEqual(failed(client_frame(TEXT, deflated(b"a\xffb"), reserved=RSV1)), 1007)
        self.assertEqual(failed(client_frame(TEXT, deflated("é".encode()[:1]), reserved=RSV1)), 1007)

    def test_small_window(self) -> None:
        """What a client deflates with a smaller window, which it has named, is read; the smallest is one that zlib itself would not make."""
        message = bytes(range(250)) * 20
        for window in (8, 9, 12):
            reader = InflatingReader(LIMIT, window)
            self.assertEqual(reader.feed(client_frame(BINARY, deflated(message, max(9, window)), reserved=RSV1)), [(BINARY, message)])

    def test_reserved_bits(self) -> None:
        """RSV1 is only for the first frame of a message (section 6.1), RSV2 and RSV3 for none."""
        begun = client_frame(TEXT, deflated(b"a")[:1], fin=False, reserved=RSV1)
        self.assertEqual(failed(client_frame(PING, b"", reserved=RSV1)), 1002)
        self.assertEqual(failed(client_frame(8, b"", reserved=RSV1)), 1002)
        self.assertEqual(failed(begun + client_frame(0, b"", reserved=RSV1)), 1002)
        self.assertEqual(failed(client_frame(TEXT, b"", fin=False) + client_frame(0, b"", reserved=RSV1)), 1002)
        self.assertEqual(failed(client_frame(TEXT, b"\0", reserved=RSV1 | 0x20)), 1002)
        self.assertEqual(failed(client_frame(TEXT, b"\0", reserved=RSV1 | 0x10)), 1002)

    def test_not_agreed(self) -> None:
        """Without agreement RSV1 is a violation."""
        ((opcode, close),) = FrameReader(LIMIT).feed(client_frame(TEXT, deflated(b"a"), reserved=RSV1))
        self.assertEqual((opcode, close.code), (FAIL, 1002))


class BoundTests(SynchronousTestCase):
    """What a client can make the reader do."""

    def test_limit(self) -> None:
        """A message may inflate to the limit and not to a byte more."""
        for size in (1000, 1001):
            data = client_frame(BINARY, deflated(b"a" * size), reserved=RSV1)
            ((opcode, _),) = InflatingReader(1000, 15).feed(data)
            self.assertEqual(opcode, BINARY if size == 1000 else FAIL)

    def test_bomb(self) -> None:
        """A bomb is refused with 1009, and inflated no further than the limit."""
        bomb = client_frame(TEXT, deflated(b"\0" * (200 << 20)), reserved=RSV1)
        self.assertLess(len(bomb), LIMIT)
        tracemalloc.start()
        try:
            self.assertEqual(failed(bomb), 1009)
            self.assertLess(tracemalloc.get_traced_memory()[1], 4 * LIMIT)
        finally:
            tracemalloc.stop()

    def test_bomb_in_pieces(self) -> None:
        """A bomb in fragments is refused when it is whole."""
        packed = deflated(b"\0" * 5000)
        half = len(packed) // 2
        reader = InflatingReader(4000, 15)
        self.assertEqual(reader.feed(client_frame(BINARY, packed[:half], fin=False, reserved=RSV1)), [])
        ((opcode, close),) = reader.feed(client_frame(0, packed[half:]))
        self.assertEqual((opcode, close.code), (FAIL, 1009))

    def test_unfinished(self) -> None:
        """A message that is never finished costs what was sent of it, not what that would inflate to."""
        data = client_frame(BINARY, deflated(b"\0" * LIMIT), fin=False, reserved=RSV1)
        readers = [InflatingReader(LIMIT, 15) for _ in range(20)]
        tracemalloc.start()
        try:
            for reader in readers:
                self.assertEqual(reader.feed(data), [])
            self.assertLess(tracemalloc.get_traced_memory()[0], 20 * 4000)
        finally:
            tracemalloc.stop()

    def test_announced(self) -> None:
        """More compressed bytes than a message may have are refused when they are announced, over all fragments."""
        self.assertEqual(failed(client_frame(BINARY, b"\0" * 1001, reserved=RSV1)[:8], 1000), 1009)
        data = client_frame(BINARY, b"\0\0\0\xff\xff" * 100, fin=False, reserved=RSV1)
        self.assertEqual(failed(data + client_frame(0, b"\0" * 501)[:8], 1000), 1009)

    def test_final_blocks(self) -> None:
        """A few streams may follow each other in a message, each knowing the text before; so many that inflating costs too much may not."""
        first, second = zlib.compressobj(wbits=-15), zlib.compressobj(wbits=-15, zdict=b"0123456789")
        packed = first.compress(b"0123456789") + first.flush() + second.compress(b"0123456789") + second.flush() + b"\0"
        self.assertEqual(InflatingReader(LIMIT, 15).feed(client_frame(TEXT, packed, reserved=RSV1)), [(TEXT, "0123456789" * 2)])
        self.assertEqual(failed(client_frame(TEXT, b"\x03\0" * 1000, reserved=RSV1)), 1008)

    def test_nothing_kept(self) -> None:
        """Between messages a reader keeps no inflater: it is as small as one that knows of no compression."""
        data = client_frame(TEXT, deflated(b"a" * 5000), reserved=RSV1)
        readers = [InflatingReader(LIMIT, 15) for _ in range(100)]
        tracemalloc.start()
        try:
            for reader in readers:
                reader.feed(data)
            self.assertLess(tracemalloc.get_traced_memory()[0], 100 * 100)
        finally:
            tracemalloc.stop()

    def test_overhead(self) -> None:
        """A message that inflates far counts as overhead, by what is out of proportion; an ordinary one does not."""
        reader = InflatingReader(LIMIT, 15)
        reader.feed(client_frame(TEXT, deflated(b"ordinary text" * 10), reserved=RSV1))
        self.assertEqual(reader.overhead, 0)
        reader.feed(client_frame(TEXT, deflated(b"a" * LIMIT), reserved=RSV1))
        self.assertGreater(reader.overhead, 200)
