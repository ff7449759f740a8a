"""HTTP/1.1 (RFC 9112) as values: heads of responses, chunks."""

import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

__all__ = ["CONTINUE", "LAST_CHUNK", "NO_BODY", "Heads", "chunk", "http_date"]

LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked body; no trailers."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (section 7.1); `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def http_date(seconds: float) -> bytes:
    """A time (seconds since the Unix epoch) in the format of RFC 9110 section 5.6.7."""
    return formatdate(seconds, usegmt=True).encode()


_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
NO_BODY = frozenset((204, 304))
"""Statuses after which nothing follows the head (RFC 9112 section 6.3)."""

_MANY = 1024

_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Heads:
    """Makes heads of responses.

    :ivar ready: those that `plain` has made since the Date was set, by arguments.
    """

    __slots__ = ("_date", "ready")

    def __init__(self, seconds: float) -> None:
        self.ready: dict[tuple[int, bytes, int], bytes] = {}
        self.set_date(seconds)

    def set_date(self, seconds: float) -> None:
        """Set the time, in seconds since the Unix epoch."""
        self._date = http_date(seconds)
        self.ready.clear()

    def plain(self, status: int, media_type: bytes, length: int) -> bytes:
        """The head of an answer without fields of its own, on an HTTP/1.1 connection that stays open."""
        if length and status in NO_BODY:
            raise ValueError(f"an answer of status {status} has no body")
        if len(self.ready) >= _MANY:
            self.ready.clear()
        head = self.ready[status, media_type, length] = self.full(status, media_type, length, ())
        return head

    def full(self, status: int, media_type: bytes, length: int | None, headers: Iterable[tuple[bytes, bytes]], chunked: bool = False) -> bytes:
        """Any head, its empty line included.

        :param length: the Content-Length, None to leave it out. 204 and 304 never have one.
        :raises ValueError: a name or value that would break the head (section 5.1).
        """
        lines = [b"HTTP/1.1 %d %b\r\nServer: netsvc\r\nDate: %b\r\n" % (status, _REASONS.get(status, b""), self._date)]
        if media_type:
            lines.append(b"Content-Type: %b\r\n" % media_type)
        if chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif length is not None and status not in NO_BODY:
            lines.append(b"Content-Length: %d\r\n" % length)
        for name, value in headers:
            if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
                raise ValueError(f"{name!r}: {value!r} is not a header field")
            lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"\r\n")
        return b"".join(lines)
