"""Messages in lines: UTF-8, ended by a line feed (https://jsonlines.org); a carriage return before it is taken for part of the end."""

from netsvc.errors import Malformed, NetsvcError, TooLarge

__all__ = ["LineReader", "line_frame"]


def line_frame(message: bytes) -> bytes:
    """A JSON text as one line. Outside of its strings, where none can be, a line feed is but a space."""
    if b"\n" in message:
        message = message.replace(b"\n", b" ")
    return message + b"\n"


class LineReader:
    """Takes bytes, gives the lines that are complete.

    :param most: bytes of a line. Of a longer one nothing is kept, and nothing that follows is read.
    """

    __slots__ = ("_most", "_pieces", "_size", "over")

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: list[bytes] | None = None
        self._size = 0
        self.over = False

    def feed(self, data: bytes) -> list[str | NetsvcError]:
        """The lines that end in `data`, without those that are empty. A line that cannot be read is an error in its place."""
        if self.over:
            return []
        lines = data.split(b"\n")
        rest = lines.pop()
        found: list[str | NetsvcError] = []
        for line in lines:
            self._add(line)
            if self.over:
                break
            self._take(found)
        if not self.over:
            self._add(rest)
        if self.over:
            found.append(TooLarge(f"a line of more than {self._most} bytes"))
        return found

    def end(self) -> list[str | NetsvcError]:
        """What was begun when the other end stopped sending counts as a line."""
        found: list[str | NetsvcError] = []
        if not self.over:
            self._take(found)
        self.over = True
        return found

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        self._size += len(piece)
        if self._size > self._most:
            self.over = True
            self._pieces = None
        elif self._pieces is None:
            self._pieces = [piece]
        else:
            self._pieces.append(piece)

    def _take(self, found: list[str | NetsvcError]) -> None:
        """The line that is complete now."""
        if self._pieces is None:
            return
        line = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = None
        self._size = 0
        if line.strip(b" \t\r"):
            try:
                found.append(line.decode())
            except UnicodeDecodeError:
                found.append(Malformed("not valid UTF-8"))
