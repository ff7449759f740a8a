"""Messages in lines: UTF-8, ended by a line feed (https://jsonlines.org); a carriage return before it is taken for part of the end."""

from netsvc.errors import Malformed, NetsvcError, TooLarge

__all__ = ["LineReader", "line_frame"]


def line_frame(message: bytes) -> bytes:
    """A JSON text as one line. Outside of its strings, where none can be, a line feed is but a space."""
    if b"\n" in message:
        message = message.replace(b"\n", b" ")
    return message + b"\n"


class LineReader:
    """Takes bytes, gives the lines in them, one by one: what nobody has asked for yet stays as the bytes that it came as.

    :param most: bytes of a line. Of a longer one nothing is kept, and nothing that follows is read.
    :ivar over: nothing that follows is read.
    """

    __slots__ = ("_at", "_data", "_ended", "_most", "_pieces", "_size", "over")

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = b""
        self._at = 0
        self._pieces: list[bytes] | None = None  # of a line whose end is not there
        self._size = 0
        self._ended = False
        self.over = False

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        if not self.over:
            self._data = self._data[self._at :] + data if self._at < len(self._data) else data
            self._at = 0

    def end(self) -> None:
        """The other end has stopped sending: what was begun counts as a line."""
        self._ended = True

    def next(self) -> str | NetsvcError | None:
        """The next line, without those that are empty; an error in the place of one that cannot be read; None if there is none yet."""
        while not self.over:
            end = self._data.find(b"\n", self._at)
            self._add(self._data[self._at :] if end < 0 else self._data[self._at : end])
            self._at = end + 1
            if end < 0:
                self._data = b""
            if self._size > self._most:
                self.over = True
                self._data, self._pieces = b"", None
                return TooLarge(f"a line of more than {self._most} bytes")
            if end < 0 and not self._ended:
                return None
            line = self._line()
            if line is not None:
                return line
            if end < 0:
                self.over = True
        return None

    def _add(self, piece: bytes) -> None:
        if piece:
            self._size += len(piece)
            if self._pieces is None:
                self._pieces = [piece]
            else:
                self._pieces.append(piece)

    def _line(self) -> str | NetsvcError | None:
        """The line that is complete now, None if it is empty."""
        pieces, self._pieces, self._size = self._pieces, None, 0
        if pieces is None:
            return None
        line = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not line.strip(b" \t\r"):
            return None
        try:
            return line.decode()
        except UnicodeDecodeError:
            return Malformed("not valid UTF-8")
