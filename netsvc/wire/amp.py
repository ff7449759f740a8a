"""The boxes of AMP, the Asynchronous Messaging Protocol (https://amp-protocol.net/): each a set of keys and values.

A value holds 65,535 bytes. A longer one is sent in pieces: the first piece of ``result`` has that key, the next ones ``result.2``,
``result.3``, and so on. A program that does not know this gets a truncated text, and can tell.
"""

from collections.abc import Iterable

from netsvc.errors import Malformed, NetsvcError, TooLarge

__all__ = ["Box", "BoxReader", "box_bytes", "joined", "pieces"]

Box = dict[bytes, bytes]

LONGEST_KEY = 255
LONGEST_VALUE = 0xFFFF
_KEYS = 1024
"""The most keys in one box, whatever their size."""


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
    """The value that `pieces` has split, None if there is none."""
    first = box.get(key)
    if first is None or b"%b.2" % key not in box:
        return first
    found = [first]
    while (piece := box.get(b"%b.%d" % (key, len(found) + 1))) is not None:
        found.append(piece)
    return b"".join(found)


class BoxReader:
    """Takes bytes and gives the boxes in them one by one: what has not been asked for yet stays as received.

    :param most: the most bytes of a box.
    :ivar over: nothing further is read.
    """

    __slots__ = ("_at", "_box", "_data", "_key", "_most", "_size", "over")

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = b""
        self._at = 0
        self._key: bytes | None = None
        self._box: Box = {}
        self._size = 0
        self.over = False

    @property
    def begun(self) -> bool:
        """There is a box whose end has not arrived, provided that all before it have been asked for."""
        return self._at < len(self._data) or self._size > 0

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if not self.over:
            self._data = self._data[self._at :] + data if self._at < len(self._data) else data
            self._at = 0

    def end(self) -> None:
        """The other end has stopped sending: an unfinished box counts for nothing."""

    def next(self) -> Box | NetsvcError | None:
        """The next box, skipping empty ones; None if there is none yet; an error for what is not a box, after which nothing is read."""
        while not self.over:
            start = self._at + 2
            if start > len(self._data):
                break
            length = int.from_bytes(self._data[start - 2 : start], "big")
            if self._key is None and length > LONGEST_KEY:
                return self._break(Malformed(f"this is not AMP: a key of {length} bytes"))
            if self._size + length > self._most or len(self._box) >= _KEYS:
                return self._break(TooLarge(f"a box of more than {self._most} bytes or {_KEYS} keys"))
            if start + length > len(self._data):
                break
            self._at = start + length
            box = self._part(self._data[start : self._at])
            if box:
                return box
        return None

    def _part(self, part: bytes) -> Box | None:
        """Take a key, the value of one, or the empty key that ends a box: then this is the box."""
        self._size += len(part) + 2
        if self._key is not None:
            self._box[self._key] = part
            self._key = None
        elif part:
            self._key = part
        else:
            box, self._box = self._box, {}
            self._size = 0
            return box
        return None

    def _break(self, error: NetsvcError) -> NetsvcError:
        self.over = True
        self._box = {}
        self._data = b""
        return error
