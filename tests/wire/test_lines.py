"""Lines of JSON: read in any pieces, bounded, never joined."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from netsvc.errors import Malformed, NetsvcError, TooLarge
from netsvc.wire.lines import LineReader, line_frame


def read(reader: LineReader, data: bytes | None) -> list[str | NetsvcError]:
    """The lines that are there when this has come; None for the end."""
    if data is None:
        reader.end()
    else:
        reader.feed(data)
    return list(iter(reader.next, None))


class LineTests(TestCase):
    """LineReader and line_frame."""

    def test_frame(self) -> None:
        """A message is one line, whatever space is in its JSON."""
        self.assertEqual(line_frame(b'{"a":\n 1}'), b'{"a":  1}\n')

    def test_ends(self) -> None:
        """LF or CRLF; empty lines are none; the last one needs no end."""
        reader = LineReader(100)
        self.assertEqual(read(reader, b"a\r\n\n \r\nb\nc"), ["a\r", "b"])
        self.assertEqual(read(reader, None), ["c"])
        self.assertEqual(read(reader, b"d\n"), [])
        self.assertEqual(read(LineReader(100), None), [])

    def test_one_by_one(self) -> None:
        """What has come meanwhile is behind what was there and has not been asked for."""
        reader = LineReader(100)
        reader.feed(b"a\nb\nc")
        self.assertEqual(reader.next(), "a")
        reader.feed(b"d\ne\n")
        self.assertEqual(list(iter(reader.next, None)), ["b", "cd", "e"])

    def test_not_utf8(self) -> None:
        """Is an error in its place, and the next line is read."""
        found = read(LineReader(100), b"a\n\xff\nb\n")
        self.assertEqual((found[0], found[2]), ("a", "b"))
        self.assertIsInstance(found[1], Malformed)

    def test_too_long(self) -> None:
        """A line beyond the bound is an error as soon as it is seen, also before its end; lines before it count, nothing after it."""
        for pieces in ([b"a\n12345678901\nb\n"], [b"a\n1234", b"5678", b"901"]):
            reader = LineReader(10)
            found = [item for piece in pieces for item in read(reader, piece)]
            self.assertEqual(found[0], "a")
            self.assertIsInstance(found[1], TooLarge)
            self.assertEqual(found[2:], [])
            self.assertTrue(reader.over)
            self.assertEqual(read(reader, b"c\n") + read(reader, None), [])
        self.assertEqual(read(LineReader(10), b"1234567890\n"), ["1234567890"])

    def test_slow(self) -> None:
        """A line that comes in tiny pieces takes about its own length, not many times as much."""
        reader, length = LineReader(10_000), 4_000
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(length // 2):
                reader.feed(b"%02d" % (number % 100))
                self.assertIsNone(reader.next())
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(after - before, 3 * length)
        self.assertEqual(len(str(read(reader, b"\n")[0])), length)

    @given(st.lists(st.text().filter(lambda text: "\n" not in text and text.strip(" \t\r"))), st.lists(st.integers(1, 20)))
    def test_any_pieces(self, lines: list[str], cuts: list[int]) -> None:
        """However the bytes are cut, the lines are the same."""
        data = "".join(f"{line}\n" for line in lines).encode()
        reader = LineReader(10_000)
        found = []
        for cut in cuts:
            found += read(reader, data[:cut])
            data = data[cut:]
        found += read(reader, data) + read(reader, None)
        self.assertEqual(found, lines)
