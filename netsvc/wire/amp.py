"""The boxes of AMP, the Asynchronous Messaging Protocol (https://amp-protocol.net/): each a set of keys and values.

A value holds 65,535 bytes. A longer one goes in pieces: of ``result`` the first has that key, the next ones ``result.2``, ``result.3``, and
so on. Who does not know of this finds a text that is cut off, and can tell.
"""

from collections.abc import Iterable

from netsvc.errors import Malformed, NetsvcError, TooLarge

__all__ = ["Box", "BoxReader", "box_bytes", "joined", "pieces"]

Box = dict[bytes, bytes]

LONGEST_KEY = 255
LONGEST_VALUE = 0xFFFF
_KEYS = 1024
"""Keys in one box, whatever their size."""


def box_bytes(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The wire bytes of a box. No value may be longer than LONGEST_VALUE: that is what `pieces` is for."""
    parts = []
    for key, value in pairs:
        parts += [len(key).to_bytes(2, "big"), key, len(value).to_bytes(2, "big"), value]
    parts.append(b"\0\0")
    return b"".join(parts)


def pieces(key: bytes, value: bytes) -> Iterable[tuple[bytes, bytes]]:
    """A value of any length as the keys and values that carry it."""
    if len(value) <= LONGEST_VALUE:
        return ((key, value),)
    starts = range(0, len(value), LONGEST_VALUE)
    return [(key if not number else b"%b.%d" % (key, number + 1), value[start : start + LONGEST_VALUE]) for number, start in enumerate(starts)]


def joined(box: Box, key: bytes) -> bytes | None:
    """The value that `pieces` has split, None without."""
    first = box.get(key)
    if first is None or b"%b.2" % key not in box:
        return first
    found = [first]
    while (piece := box.get(b"%b.%d" % (key, len(found) + 1))) is not None:
        found.append(piece)
    return b"".join(found)


class BoxReader:
    """Takes bytes, gives the boxes that are complete.

    :param most: bytes of a box.
    """

    __slots__ = ("_box", "_key", "_most", "_rest", "_size", "over")

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._key: bytes | None = None
        self._box: Box = {}
        self._size = 0
        self.over = False

    def feed(self, data: bytes) -> list[Box | NetsvcError]:
        """The boxes that end in `data`; an error for what is no box, or too large, after which nothing more is read."""
        found: list[Box | NetsvcError] = []
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while not self.over and start + 2 <= end:
            length = int.from_bytes(data[start : start + 2], "big")
            if self._key is None and length > LONGEST_KEY:
                self._break(found, Malformed(f"this is no AMP: a key of {length} bytes"))
                break
            if self._size + length > self._most or len(self._box) >= _KEYS:
                self._break(found, TooLarge(f"a box of more than {self._most} bytes or {_KEYS} keys"))
                break
            if start + 2 + length > end:
                break
            self._part(data[start + 2 : start + 2 + length], found)
            start += 2 + length
        self._rest = b"" if self.over else data[start:]
        return found

    def _part(self, part: bytes, found: list[Box | NetsvcError]) -> None:
        """A key, the value of one, or the empty key that ends a box."""
        self._size += len(part) + 2
        if self._key is not None:
            self._box[self._key] = part
            self._key = None
        elif part:
            self._key = part
        else:
            if self._box:
                found.append(self._box)
            self._box = {}
            self._size = 0

    def _break(self, found: list[Box | NetsvcError], error: NetsvcError) -> None:
        self.over = True
        self._box = {}
        found.append(error)

    def end(self) -> list[Box | NetsvcError]:
        """The other end stopped sending: what was begun counts for nothing."""
        self.over = True
        return []
