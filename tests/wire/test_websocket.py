"""The WebSocket codec."""

import random
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from netsvc.wire.websocket import (
    BINARY,
    CLOSE,
    FAIL,
    PING,
    PONG,
    TEXT,
    BadHandshake,
    FrameReader,
    accept_key,
    check_handshake,
    close_frame,
    frame,
    text_frame,
    xor_mask,
)

KEY = b"\x37\xfa\x21\x3d"
LIMIT = 1 << 20


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes | None = KEY) -> bytes:
    """A frame as a client sends it; written apart from the code under test."""
    size = len(payload)
    masked = 0 if mask is None else 0x80
    head = bytes(((0x80 if fin else 0) | reserved | opcode,))
    if size < 126:
        head += bytes((masked | size,))
    elif size < 1 << 16:
        head += bytes((masked | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((masked | 127,)) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    masks = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "little") ^ int.from_bytes(masks, "little")).to_bytes(size, "little")


def failure(data: bytes, limit: int = LIMIT) -> tuple[int, str]:
    """Feed a fresh reader what must fail at once and give the close it asks for."""
    ((opcode, close),) = FrameReader(limit).feed(data)
    assert opcode == FAIL
    return tuple(close)


class MessageTests(SynchronousTestCase):
    """What well-behaved clients send."""

    def test_rfc_example(self) -> None:
        """The masked "Hello" of RFC 6455 section 5.7 is read."""
        self.assertEqual(FrameReader(LIMIT).feed(bytes.fromhex("818537fa213d7f9f4d5158")), [(TEXT, "Hello")])

    def test_rfc_fragments(self) -> None:
        """A text in two frames is one message (section 5.7's example, masked)."""
        data = client_frame(TEXT, b"Hel", fin=False) + client_frame(0, b"lo")
        self.assertEqual(FrameReader(LIMIT).feed(data), [(TEXT, "Hello")])

    def test_every_length_form(self) -> None:
        """Messages around each change of the length's encoding arrive as sent, text and binary."""
        for size in (0, 1, 125, 126, 127, 65535, 65536, 65537):
            reader = FrameReader(LIMIT)
            self.assertEqual(reader.feed(client_frame(TEXT, b"x" * size)), [(TEXT, "x" * size)])
            self.assertEqual(reader.feed(client_frame(BINARY, b"\xff" * size)), [(BINARY, b"\xff" * size)])

    def test_many_in_one_feed(self) -> None:
        """Messages that arrive together are given together, in order."""
        data = b"".join(client_frame(TEXT, b"%d" % number) for number in range(20))
        self.assertEqual(FrameReader(LIMIT).feed(data), [(TEXT, str(number)) for number in range(20)])

    def test_header_in_pieces(self) -> None:
        """A header may be cut anywhere, whatever form its length has."""
        for size in (5, 200, 70000):
            data = client_frame(TEXT, b"x" * size)
            for cut in range(1, 15):
                reader = FrameReader(LIMIT)
                self.assertEqual(reader.feed(data[:cut]) + reader.feed(data[cut:]), [(TEXT, "x" * size)])

    def test_control_between_fragments(self) -> None:
        """A ping between two fragments is given before the message that it interrupts (section 5.4)."""
        data = client_frame(BINARY, b"a", fin=False) + client_frame(PING, b"!") + client_frame(0, b"b") + client_frame(TEXT, b"c")
        self.assertEqual(FrameReader(LIMIT).feed(data), [(PING, b"!"), (BINARY, b"ab"), (TEXT, "c")])

    def test_empty_fragments(self) -> None:
        """Fragments may be empty, the last too."""
        data = client_frame(TEXT, b"", fin=False) + client_frame(0, "€".encode(), fin=False) + client_frame(0, b"")
        self.assertEqual(FrameReader(LIMIT).feed(data), [(TEXT, "€")])

    def test_character_across_fragments(self) -> None:
        """A character may be cut between fragments and between reads."""
        data = client_frame(TEXT, b"\xe2", fin=False) + client_frame(0, b"\x82\xac")
        reader = FrameReader(LIMIT)
        events = [event for index in range(len(data)) for event in reader.feed(data[index : index + 1])]
        self.assertEqual(events, [(TEXT, "€")])

    def test_control_frames(self) -> None:
        """Pings and pongs carry up to 125 bytes, also when they arrive byte by byte."""
        data = client_frame(PING, b"p" * 125) + client_frame(PONG)
        reader = FrameReader(LIMIT)
        events = [event for index in range(len(data)) for event in reader.feed(data[index : index + 1])]
        self.assertEqual(events, [(PING, b"p" * 125), (PONG, b"")])

    def test_close(self) -> None:
        """A Close gives its code and reason; one without a body stands for 1005."""
        self.assertEqual(FrameReader(LIMIT).feed(client_frame(CLOSE, b"\x03\xe8bye")), [(CLOSE, (1000, "bye"))])
        self.assertEqual(FrameReader(LIMIT).feed(client_frame(CLOSE)), [(CLOSE, (1005, ""))])

    def test_nothing_after_close(self) -> None:
        """What follows a Close is ignored, in the same read and in later ones."""
        reader = FrameReader(LIMIT)
        self.assertEqual(reader.feed(client_frame(CLOSE) + client_frame(TEXT, b"x")), [(CLOSE, (1005, ""))])
        self.assertEqual(reader.feed(client_frame(TEXT, b"x") + b"\xff"), [])


class ViolationTests(SynchronousTestCase):
    """What must fail the connection (section 7.1.7), and with which code."""

    def assertFails(self, code: int, words: str, *frames: bytes, limit: int = LIMIT) -> None:
        """The frames make the reader fail with this code and a reason that says what was wrong."""
        found, reason = failure(b"".join(frames), limit)
        self.assertEqual(found, code)
        self.assertIn(words, reason)

    def test_good_messages_come_first(self) -> None:
        """Messages before the violation are given; nothing after it is read."""
        reader = FrameReader(LIMIT)
        good = client_frame(TEXT, b"good")
        events = reader.feed(good + client_frame(3) + good)
        self.assertEqual([opcode for opcode, _ in events], [TEXT, FAIL])
        self.assertEqual(reader.feed(good), [])

    def test_reserved_bits(self) -> None:
        """Each reserved bit is refused: no extension is spoken."""
        for bit in (0x10, 0x20, 0x40):
            self.assertFails(1002, "reserved bit", client_frame(TEXT, b"x", reserved=bit))

    def test_reserved_opcodes(self) -> None:
        """Opcodes 3 to 7 and 11 to 15 are refused."""
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            self.assertFails(1002, f"opcode {opcode}", client_frame(opcode))

    def test_unmasked(self) -> None:
        """A frame without a mask is refused (section 5.1)."""
        self.assertFails(1002, "masked", client_frame(TEXT, b"x" * 10, mask=None))

    def test_continuation_without_a_beginning(self) -> None:
        """A continuation needs a message under way."""
        self.assertFails(1002, "without a beginning", client_frame(0, b"x"))

    def test_message_inside_a_message(self) -> None:
        """A new message cannot begin before the last one ended, however short it is."""
        reader = FrameReader(LIMIT)
        reader.feed(client_frame(TEXT, b"x", fin=False))
        ((opcode, (code, _)),) = reader.feed(client_frame(TEXT, b"y"))
        self.assertEqual((opcode, code), (FAIL, 1002))

    def test_control_frame_rules(self) -> None:
        """Control frames are whole and at most 125 bytes long (section 5.5)."""
        self.assertFails(1002, "control frame", client_frame(PING, b"", fin=False))
        self.assertFails(1002, "control frame", client_frame(PING, b"x" * 126))

    def test_lengths_in_shortest_form(self) -> None:
        """A length that would fit a shorter form, or has its top bit set, is refused (section 5.2)."""
        for head in (b"\x81\xfe\x00\x7d", b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff", b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00"):
            self.assertFails(1002, "length", head + KEY)

    def test_announced_length(self) -> None:
        """A message over the limit fails with 1009 as soon as its length is there: before the mask, before any payload."""
        self.assertFails(1009, "longer than 1000", client_frame(TEXT, b"x" * 1001)[:4], limit=1000)
        self.assertFails(1009, "longer than 70000", client_frame(BINARY, b"x" * 70001)[:10], limit=70000)
        self.assertEqual(len(FrameReader(1000).feed(client_frame(TEXT, b"x" * 1000))), 1)

    def test_limit_below_a_short_frame(self) -> None:
        """Limits under 126 bytes hold for the shortest frames too."""
        self.assertEqual(FrameReader(10).feed(client_frame(TEXT, b"x" * 10)), [(TEXT, "x" * 10)])
        self.assertFails(1009, "longer than 10", client_frame(TEXT, b"x" * 11), limit=10)

    def test_limit_counts_all_fragments(self) -> None:
        """The limit is for the message, not for the frame."""
        self.assertFails(1009, "longer than 10", client_frame(TEXT, b"x" * 6, fin=False), client_frame(0, b"x" * 5)[:2], limit=10)

    def test_invalid_text(self) -> None:
        """Text that is not UTF-8 fails with 1007: overlong forms, surrogates, beyond U+10FFFF, cut off at the end."""
        for text in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\xe2\x82"):
            self.assertFails(1007, "UTF-8", client_frame(TEXT, text))
            self.assertFails(1007, "UTF-8", client_frame(TEXT, text * 100))
            self.assertFails(1007, "UTF-8", client_frame(TEXT, b"", fin=False), client_frame(0, text))

    def test_invalid_text_fails_fast(self) -> None:
        """The first byte that cannot be UTF-8 fails the connection at once, inside a frame and inside a message (section 8.1)."""
        reader = FrameReader(LIMIT)
        data = client_frame(TEXT, b"good\xf4\x90" + b"x" * 50, fin=False)
        self.assertEqual(reader.feed(data[: 6 + 5]), [])
        ((opcode, (code, _)),) = reader.feed(data[6 + 5 : 6 + 6])
        self.assertEqual((opcode, code), (FAIL, 1007))

    def test_binary_is_not_checked(self) -> None:
        """Binary fragments may hold anything."""
        data = client_frame(BINARY, b"\xff", fin=False) + client_frame(0, b"\xfe")
        self.assertEqual(FrameReader(LIMIT).feed(data), [(BINARY, b"\xff\xfe")])

    def test_close_codes(self) -> None:
        """Codes that must not be sent are refused, those of section 7.4, of IANA and of applications are given."""
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535):
            self.assertFails(1002, "close code", client_frame(CLOSE, code.to_bytes(2, "big")))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4401, 4999):
            self.assertEqual(FrameReader(LIMIT).feed(client_frame(CLOSE, code.to_bytes(2, "big"))), [(CLOSE, (code, ""))])

    def test_close_body(self) -> None:
        """A body of one byte fails with 1002, a reason that is not UTF-8 with 1007 (sections 5.5.1, 8.1)."""
        self.assertFails(1002, "close code", client_frame(CLOSE, b"\x03"))
        self.assertFails(1007, "UTF-8", client_frame(CLOSE, b"\x03\xe8\xff"))


class BoundTests(SynchronousTestCase):
    """What a reader holds."""

    def test_tiny_fragments(self) -> None:
        """Fragments of one byte cost about a byte each, not an object each."""
        data = client_frame(BINARY, b"x", fin=False) + client_frame(0, b"x", fin=False) * 4_000
        reader = FrameReader(LIMIT)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        reader.feed(data)
        self.assertLess(tracemalloc.get_traced_memory()[0] - before, 20_000)

    def test_idle(self) -> None:
        """An idle reader holds nothing of what went through it."""
        reader = FrameReader(LIMIT)
        data = client_frame(TEXT, b"a" * 1000, fin=False) + client_frame(0, b"b" * 1000)
        for index in range(0, len(data), 7):
            reader.feed(data[index : index + 7])
        self.assertEqual((reader.pending, reader._message), (b"", None))
        self.assertFalse(hasattr(reader, "__dict__"))

    def test_failed(self) -> None:
        """A failed reader lets go of the message it was in."""
        reader = FrameReader(LIMIT)
        reader.feed(client_frame(TEXT, b"a" * 1000, fin=False) + client_frame(3))
        self.assertEqual((reader.pending, reader._message), (b"", None))


class FrameTests(SynchronousTestCase):
    """What a server sends."""

    def test_rfc_examples(self) -> None:
        """The unmasked frames of RFC 6455 section 5.7, to the byte."""
        self.assertEqual(text_frame(b"Hello"), bytes.fromhex("810548656c6c6f"))
        self.assertEqual(frame(PING, b"Hello"), bytes.fromhex("890548656c6c6f"))
        self.assertEqual(frame(BINARY, bytes(256))[:4], bytes.fromhex("827e0100"))
        self.assertEqual(frame(BINARY, bytes(65536))[:10], bytes.fromhex("827f0000000000010000"))

    def test_text_is_a_frame(self) -> None:
        """text_frame gives what frame gives, at every length form."""
        for size in (0, 1, 125, 126, 65535, 65536):
            payload = b"x" * size
            self.assertEqual(text_frame(payload), frame(TEXT, payload))
            self.assertTrue(text_frame(payload).endswith(payload))

    def test_close(self) -> None:
        """A Close carries code and reason; 1005 stands for an empty one."""
        self.assertEqual(close_frame(1000), b"\x88\x02\x03\xe8")
        self.assertEqual(close_frame(4401, "nö"), b"\x88\x05\x11\x31n\xc3\xb6")
        self.assertEqual(close_frame(1005, "never shown"), b"\x88\x00")

    def test_long_reason(self) -> None:
        """A reason is cut to what a control frame holds, between characters; what UTF-8 cannot say is replaced."""
        sent = close_frame(1000, "ab" + "€" * 100)
        self.assertEqual(sent[1], len(sent) - 2)
        self.assertEqual(sent[4:].decode(), "ab" + "€" * 40)
        self.assertEqual(close_frame(1000, "\ud800")[4:], b"?")

    def test_xor_without_c(self) -> None:
        """The mask in Python is that of section 5.3, for every remainder."""
        for size in range(10):
            payload = random.Random(size).randbytes(size)
            self.assertEqual(xor_mask(payload, KEY), bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload)))


class HandshakeTests(SynchronousTestCase):
    """Section 4.2.1."""

    GOOD = (
        (b"host", b"server.example.com"),
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"sec-websocket-version", b"13"),
    )

    def refused(self, status: int, words: str, method: str = "GET", **changed: bytes | None) -> None:
        """The good handshake with some headers replaced (None: removed) is refused."""
        changes = {name.replace("_", "-").encode(): value for name, value in changed.items()}
        headers = [(name, changes.get(name, value)) for name, value in self.GOOD]
        error = self.assertRaises(BadHandshake, check_handshake, method, [(name, value) for name, value in headers if value is not None])
        self.assertEqual(error.status, status)
        self.assertIn(words, error.detail)

    def test_rfc_example(self) -> None:
        """The example of section 1.3 is accepted with the value given there."""
        self.assertEqual(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.assertEqual(check_handshake("GET", self.GOOD), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    def test_lists_and_case(self) -> None:
        """Upgrade and Connection are lists without regard to case, and may come in several headers."""
        headers = [(b"upgrade", b"foo, WebSocket"), (b"connection", b"keep-alive"), (b"connection", b"x ,UPGRADE"), *self.GOOD[3:]]
        self.assertEqual(check_handshake("GET", headers), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    def test_not_an_upgrade(self) -> None:
        """What does not ask for a WebSocket gets 426."""
        self.refused(426, "Upgrade: websocket", upgrade=None)
        self.refused(426, "Upgrade: websocket", upgrade=b"h2c")
        self.refused(426, "Connection: Upgrade", connection=b"keep-alive")

    def test_method(self) -> None:
        """Only GET opens one."""
        self.refused(400, "GET", method="POST")

    def test_version(self) -> None:
        """Only version 13 is spoken; others get 426."""
        for version in (None, b"8", b"13, 8", b"013", b""):
            self.refused(426, "Sec-WebSocket-Version", sec_websocket_version=version)

    def test_key(self) -> None:
        """The key is 16 bytes in base64, given once."""
        for key in (None, b"", b"short", b"dGhlIHNhbXBsZSBub25j", b"dGhlIHNhbXBsZSBub25jZQ", b"d@hlIHNhbXBsZSBub25jZQ=="):
            self.refused(400, "Sec-WebSocket-Key", sec_websocket_key=key)
        self.assertRaises(BadHandshake, check_handshake, "GET", [*self.GOOD, self.GOOD[3]])


MASKS = st.binary(min_size=4, max_size=4)
CHARACTERS = "a\0é€\U0001f600"  # one of each length in UTF-8
REPEATABLE = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, Any]]]:
    """What a client may send, and what a reader must make of it; now and then with a violation at the end."""
    wire, events = b"", []
    for _ in range(draw(st.integers(0, 5))):
        payload = draw(st.text(CHARACTERS, max_size=300) | st.binary(max_size=300))
        opcode, data = (TEXT, payload.encode()) if isinstance(payload, str) else (BINARY, payload)
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
        for index, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(data)], strict=True)):
            if draw(st.booleans()):
                ping = draw(st.binary(max_size=20))
                wire += client_frame(PING, ping, mask=draw(MASKS))
                events.append((PING, ping))
            wire += client_frame(opcode if index == 0 else 0, data[start:end], fin=index == len(cuts), mask=draw(MASKS))
        events.append((opcode, payload))
    wire += draw(st.just(b"") | st.binary(max_size=20))
    return wire, events


class PropertyTests(SynchronousTestCase):
    """What holds for every stream of bytes."""

    @REPEATABLE
    @given(conversations(), st.lists(st.integers(1, 50), max_size=40))
    def test_chunks_do_not_matter(self, conversation: tuple[bytes, list[tuple[int, Any]]], sizes: list[int]) -> None:
        """However the stream is cut into reads, the events are the same, and begin with what was sent."""
        wire, expected = conversation
        whole = FrameReader(2000).feed(wire)
        self.assertEqual(whole[: len(expected)], expected)
        reader = FrameReader(2000)
        pieces: list[tuple[int, Any]] = []
        position = 0
        for size in [*sizes, len(wire)]:
            pieces += reader.feed(wire[position : position + size])
            position += size
        self.assertEqual(pieces, whole)

    @REPEATABLE
    @given(st.lists(st.binary(max_size=60), max_size=10))
    def test_random_bytes(self, pieces: list[bytes]) -> None:
        """Random bytes raise nothing; after a failure or a Close nothing more is given."""
        reader = FrameReader(100)
        ended = False
        for piece in pieces:
            events = reader.feed(piece)
            self.assertFalse(ended and events)
            ended = ended or any(opcode in (FAIL, CLOSE) for opcode, _ in events)
            self.assertFalse(any(opcode in (FAIL, CLOSE) for opcode, _ in events[:-1]))
            self.assertLessEqual(len(reader.pending), 131)


class PortionTests(SynchronousTestCase):
    """What is given at once."""

    def test_portions(self) -> None:
        """Of many messages a few are given at a time, and behind a long one nothing more; the rest is pending, and in the end all is given."""
        for messages in ([f"{number}" for number in range(1000)], ["x" * 5000] * 10):
            reader = FrameReader(LIMIT)
            portions = [reader.feed(b"".join(client_frame(TEXT, message.encode()) for message in messages))]
            while reader.pending and portions[-1]:
                portions.append(reader.feed(b""))
            self.assertEqual([message for portion in portions for _, message in portion], messages)
            self.assertLess(max(sum(len(message) for _, message in portion) for portion in portions), 10_000)
            self.assertLess(max(map(len, portions)), 100)

    def test_end_at_a_portion(self) -> None:
        """A Close that is the last of a portion ends the stream as any other."""
        reader = FrameReader(LIMIT)
        events = reader.feed(client_frame(TEXT) * 63 + client_frame(CLOSE) + client_frame(TEXT))
        self.assertEqual((len(events), events[-1][0], reader.pending), (64, CLOSE, b""))


class OverheadTests(SynchronousTestCase):
    """Frames that cost more than they bring are counted."""

    def overhead(self, *frames: bytes) -> int:
        """Of a reader that was fed these."""
        reader = FrameReader(LIMIT)
        reader.feed(b"".join(frames))
        return reader.overhead

    def test_messages(self) -> None:
        """Whole messages do not count, whatever their length and however they arrive."""
        self.assertEqual(self.overhead(*[client_frame(TEXT, b"x" * size) for size in (0, 1, 125, 126, 70_000)]), 0)
        reader = FrameReader(LIMIT)
        for index, byte in enumerate(client_frame(TEXT, b"x" * 500)):
            reader.feed(bytes((byte,)))
            self.assertEqual(reader.overhead, 0, index)

    def test_control_frames(self) -> None:
        """Each control frame counts."""
        self.assertEqual(self.overhead(client_frame(PING), client_frame(PONG, b"a"), client_frame(PING)), 3)

    def test_fragments(self) -> None:
        """Each short fragment counts, the empty ones and the last of a message included; a long one does not."""
        self.assertEqual(self.overhead(*[client_frame(0 if number else TEXT, b"x", fin=number == 9) for number in range(10)]), 10)
        long = b"x" * 1024
        self.assertEqual(self.overhead(client_frame(TEXT, long, fin=False), client_frame(0, long, fin=False), client_frame(0, long)), 0)
