"""Boxes of AMP: the same bytes as Twisted's, read in any pieces, bounded."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.protocols.amp import AmpBox
from twisted.trial.unittest import TestCase

from netsvc.errors import Malformed, NetsvcError, TooLarge
from netsvc.wire.amp import Box, BoxReader, box_bytes, joined, pieces

BOXES = st.lists(st.dictionaries(st.binary(min_size=1, max_size=255), st.binary(max_size=300), min_size=1, max_size=5), max_size=5)


def read(reader: BoxReader, data: bytes) -> list[Box | NetsvcError]:
    """The boxes that are there when this has come."""
    reader.feed(data)
    return list(iter(reader.next, None))


class BoxTests(TestCase):
    """BoxReader and box_bytes."""

    @given(BOXES, st.lists(st.integers(1, 50)))
    def test_any_pieces(self, boxes: list[dict[bytes, bytes]], cuts: list[int]) -> None:
        """What Twisted writes is read, however the bytes are cut, and is what is written here."""
        data = b"".join(AmpBox(box).serialize() for box in boxes)
        self.assertEqual(b"".join(box_bytes(sorted(box.items())) for box in boxes), data)
        reader = BoxReader(100_000)
        found = []
        for cut in cuts:
            found += read(reader, data[:cut])
            data = data[cut:]
        self.assertEqual(found + read(reader, data), boxes)

    def test_long_values(self) -> None:
        """Go in pieces and come back whole."""
        for size in (0, 1, 65535, 65536, 131070, 200_000):
            value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            box = dict(pieces(b"result", value))
            self.assertEqual(joined(box, b"result"), value)
            self.assertEqual(len(box), max(1, -(-size // 65535)))
        self.assertIsNone(joined({}, b"result"))

    def test_no_amp(self) -> None:
        """Text, of some other protocol, is told at once."""
        reader = BoxReader(1000)
        (error,) = read(reader, b"GET / HTTP/1.1\r\n")
        self.assertIsInstance(error, Malformed)
        self.assertEqual(read(reader, b"\0\0"), [])

    def test_too_large(self) -> None:
        """By bytes, before they are there, or by keys."""
        for data in (b"\0\1a\0\x09123456789\0\1b\xff\xff", b"".join(b"\0\1%c\0\0" % (1 + number % 200) for number in range(3000))):
            reader = BoxReader(5000)
            found = read(reader, data)
            self.assertIsInstance(found[0], TooLarge)
            self.assertTrue(reader.over)

    def test_empty_boxes(self) -> None:
        """Are nothing; what is begun at the end is nothing."""
        reader = BoxReader(1000)
        self.assertEqual(read(reader, b"\0\0\0\0\0\1a\0\1b\0\0\0\1c"), [{b"a": b"b"}])
        reader.end()
        self.assertIsNone(reader.next())
