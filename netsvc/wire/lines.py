"""Messages in lines: UTF-8, ended by a line feed (https://jsonlines.org); a carriage return before it counts as part of the end."""

from netsvc.errors import Malformed, NetsvcError, TooLarge

__all__ = ["LineReader", "line_frame"]


def line_frame(message: bytes) -> bytes:
    """A JSON text as one line. Strings cannot contain a line feed, and elsewhere it is only a space."""
    if b"\n" in message:
        message = message.replace(b"\n", b" ")
    return message + b"\n"


class LineReader:
    """Takes bytes and gives the lines in them one by one: what has not been asked for yet stays as received.

    :param most: the most bytes of a line. Nothing of a longer one is kept, and nothing after it is read.
    :ivar over: nothing further is read.
    """

    __slots__ = ("_at", "_begun", "_data", "_ended", "_most", "over")

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = b""
        self._at = 0
        # A line whose end has not arrived. Not a list: pieces of one byte would take fifty times their size.
        self._begun: bytes | bytearray = b""
        self._ended = False
        self.over = False

    @property
    def begun(self) -> bool:
        """There is a line whose end has not arrived, and all before it have been asked for."""
        return bool(self._begun)

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if not self.over:
            self._data = self._data[self._at :] + data if self._at < len(self._data) else data
            self._at = 0

    def end(self) -> None:
        """The other end has stopped sending: an unfinished line counts as complete."""
        self._ended = True

    def next(self) -> str | NetsvcError | None:
        """The next line, skipping empty ones; an error in place of one that cannot be read; None if there is none yet."""
        while not self.over:
            end = self._data.find(b"\n", self._at)
            self._add(self._data[self._at :] if end < 0 else self._data[self._at : end])
            self._at = end + 1
            if end < 0:
                self._data = b""
            if len(self._begun) > self._most:
                self.over = True
                self._data = self._begun = b""
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
        if not self._begun:
            self._begun = piece
        elif piece:
            if isinstance(self._begun, bytes):
                self._begun = bytearray(self._begun)
            self._begun += piece

    def _line(self) -> str | NetsvcError | None:
        """The line that is complete now, None if it is empty."""
        line, self._begun = self._begun, b""
        if not line.strip(b" \t\r"):
            return None
        try:
            return line.decode()
        except UnicodeDecodeError:
            return Malformed("not valid UTF-8")
