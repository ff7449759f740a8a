"""HTTP/1.1 (RFC 9112) as values: a strict reader of requests. No transport and no clock here; responses are in http1_response.

httptools (llhttp) does the parsing; what it accepts and the RFC forbids is refused here.
"""

import re
from typing import NamedTuple, Protocol

import httptools

from netsvc.errors import InvalidRequest

__all__ = [
    "BETWEEN",
    "CLOSE",
    "EXPECT",
    "HEAD_ONLY",
    "HTTP_1_0",
    "IN_BODY",
    "IN_HEAD",
    "UPGRADE",
    "BadMessage",
    "Receiver",
    "RequestLimits",
    "RequestReader",
]

# What is unusual about a request; 0 is a plain HTTP/1.1 request on a connection that stays open.
CLOSE = 1  # the connection ends after the answer
HEAD_ONLY = 2  # the answer has no body: the method is HEAD
HTTP_1_0 = 4
UPGRADE = 8  # the client asks for another protocol
EXPECT = 16  # the client waits for 100 (Continue) before it sends the body

# Where a reader stands between two feeds.
BETWEEN = 0
IN_HEAD = 1
IN_BODY = 2

_SLASH = ord("/")

_PER_CHUNK = 16
"""Bytes of framing allowed for each chunk: its size in up to 12 digits and two CRLF."""

_METHODS = {
    name.encode(): (name, HEAD_ONLY if name == "HEAD" else 0)
    for name in (
        *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "QUERY", "COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND"),
        *("PROPPATCH", "UNLOCK", "SEARCH", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "LINK", "UNLINK", "PURGE"),
    )
}

_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(/[^#]*|\?[^#]*|)", re.IGNORECASE)

# Marks of the current request.
_WITH_BODY = 1
_UNUSUAL = 2  # and above: there is a field whose meaning depends on the version

_MARKED = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"))


class BadMessage(InvalidRequest):
    """A request that is refused for its form or size. The connection cannot continue: where the next request begins is unknown.

    :param status: the HTTP status to answer with.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class RequestLimits(NamedTuple):
    """The bounds of a request's head.

    :ivar line: bytes of the request target; more is refused with 414.
    :ivar head: bytes of the whole head, and separately of all framing of a chunked body (extensions, trailers); more is refused with 431.
        A head in one piece is measured without the white space around values.
    :ivar headers: the number of header fields; more is refused with 431.
    """

    line: int
    head: int
    headers: int


_LONGEST_KNOWN = 2048
"""The longest head that is remembered, to be recognised again."""

_NEVER = 1 << 62


class Receiver(Protocol):
    """Is given the requests, in order, from inside `RequestReader.feed`. BadMessage may be raised from anywhere."""

    def head_received(self, head: "RequestReader") -> int:
        """A head is complete and valid; its fields are in the reader now. Return the most bytes that its body may have."""

    def piece_received(self, piece: bytes) -> None:
        """A piece of the body, if ``head.streaming`` was set."""

    def request_received(self, body: bytes) -> None:
        """The request is complete; `body` is empty if it was streamed."""


class RequestReader:
    """Reads the requests of one connection, strictly.

    In `Receiver.head_received` these describe the current request:

    :ivar method: for instance ``GET``.
    :ivar target: path and query (section 3.2.1) or ``*`` (section 3.2.4), ASCII without control characters.
    :ivar headers: names in lower case and values, in order; the list is the receiver's to keep.
    :ivar host: the value of Host, or what the target has in its place (section 3.2.2); None if there is none (HTTP/1.0 only).
    :ivar flags: CLOSE, HEAD_ONLY and so on, or'ed.
    :ivar length: the Content-Length, None without one.
    :ivar chunked: the body comes in chunks.
    :ivar streaming: set it to get the body in pieces.

    Between two feeds:

    :ivar completed: the last feed completed a request.
    :ivar place: BETWEEN, IN_HEAD or IN_BODY. An incomplete method counts as BETWEEN if it came right after another request.
    """

    __slots__ = (
        "_at_start",
        "_body",
        "_chunks",
        "_fed",
        "_in_body",
        "_known",
        "_known_fields",
        "_left",
        "_marks",
        "_max_body",
        "_max_head",
        "_max_headers",
        "_max_line",
        "_parser",
        "_raw",
        "_receiver",
        "_size",
        "chunked",
        "completed",
        "flags",
        "headers",
        "host",
        "length",
        "method",
        "place",
        "streaming",
        "target",
    )

    def __init__(self, receiver: Receiver, limits: RequestLimits) -> None:
        self._receiver = receiver
        self._max_line, self._max_head, self._max_headers = limits
        self._parser = httptools.HttpRequestParser(self)
        self.completed = False
        self._at_start = True  # the parser waits for the first byte of a request
        self._known = b""  # the previous request's head, byte for byte, and what was read from it
        self._known_fields: tuple[str, bytes, list[tuple[bytes, bytes]], bytes | None, int, int | None] = ("", b"", [], None, 0, None)
        self._fed = 0  # bytes of this feed
        self._raw = 0  # bytes of earlier feeds that belong to the current head; in a chunked body, those of the body
        self._left = 0  # bytes still to come of the body of a request with Upgrade: llhttp considers such a request complete
        self._max_body = 0
        self._in_body = False
        self.method = ""
        self.flags = 0
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.host: bytes | None = None
        self.place = BETWEEN
        self._forget_body()

    def _forget_body(self) -> None:
        self._marks = 0
        self._body: bytes | bytearray = b""
        self._size = 0
        self._chunks = 0
        self.length: int | None = None
        self.chunked = False
        self.streaming = False

    def feed(self, data: bytes) -> bytes:
        """Continue reading. The receiver is called for whatever is complete.

        :param data: not empty.
        :returns: what follows a request with the flag UPGRADE, unread: the next request, or whatever the receiver has agreed to
            speak instead. In the former case, feed it again.
        :raises BadMessage: the connection must be closed after the answer to this; feed no more.
        """
        if self._at_start and self._known and data.startswith(self._known) and self._feed_again(data):
            return b""
        self.completed = False
        self._fed = len(data)
        at_start, self._at_start = self._at_start, False
        if self._left:
            data = self._feed_upgrade_body(data)
            if not data:
                self.place = IN_BODY if self._left else BETWEEN
                return b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest: bytes = data[upgrade.args[0] :]
            if self._left:
                rest = self._feed_upgrade_body(rest)
            self._raw = 0
            self.place = IN_BODY if self._left else BETWEEN
            return rest
        except httptools.HttpParserCallbackError as error:
            raise (error.__context__ or error) from None  # what the callback raised
        except httptools.HttpParserError as error:
            raise BadMessage(f"not HTTP/1.1: {error}") from None
        if self._in_body:
            self.place = IN_BODY
            if self.chunked:
                self._measure_framing(len(data))
        elif self.target or not self.completed:
            self.place = IN_HEAD
            # How much of this feed belongs to earlier requests is not known, so the first piece after one does not count.
            self._raw = 0 if self.completed else self._raw + len(data)
            if self._raw > self._max_head:
                raise self._head_too_large()
        else:
            self.place = BETWEEN
            self._raw = 0
            self._learn(data, at_start)
        return b""

    def _learn(self, data: bytes, at_start: bool) -> None:
        """If the request that a feed completed was the whole feed, remember its head."""
        end = data.find(b"\r\n\r\n") + 4
        fields = self._known_fields
        if not at_start or len(data) != end + (fields[5] or 0):
            # For a request without a body, the end of the data shows its end.
            self._at_start = data.endswith(b"\r\n\r\n") and not fields[5] and not fields[4]
            self._known = b""
            return
        self._at_start = True
        self._known = data[:end] if end <= _LONGEST_KNOWN and fields[4] & ~HEAD_ONLY == 0 else b""

    def _feed_again(self, data: bytes) -> bool:
        """Take a request whose head is byte for byte that of the previous one, as programs send them; False if there is more or less than that."""
        method, target, headers, host, flags, length = self._known_fields
        start = len(self._known)
        if len(data) != start + (length or 0):
            return False
        self.method, self.target, self.host, self.flags, self.length = method, target, host, flags, length
        self.headers = headers.copy()
        max_body = self._receiver.head_received(self)
        body = data[start:]
        if len(body) > max_body:
            self._max_body = max_body
            raise self._body_too_large()
        if self.streaming:
            if body:
                self._receiver.piece_received(body)
            body = b""
            self.streaming = False
        self.headers = []
        self.host = None
        self.target = b""
        self.flags = 0
        self.length = None
        self.completed = True
        self._receiver.request_received(body)
        return True

    def stop(self) -> None:
        """Feed no more from now on: release the receiver and the parser, which refer to each other. Not from inside `feed`."""
        del self._parser, self._receiver

    # Callbacks of httptools

    def on_url(self, url: bytes) -> None:
        """The target, or a piece of it."""
        self.target += url
        if len(self.target) > self._max_line:
            raise BadMessage(f"the request target is longer than {self._max_line} bytes ([http] max_line)", 414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer field."""
        name = name.lower()
        spaced, value = value, value.rstrip(b" \t")  # llhttp leaves what follows the value (RFC 9112 section 5.1)
        self.headers.append((name, value))
        if name in _MARKED:
            if name == b"host" and self.host is None and not self._in_body:
                self.host = value
            else:
                self._mark(name, spaced if name == b"transfer-encoding" else value)

    def _mark(self, name: bytes, value: bytes) -> None:
        """Act on a field that says how to read the message. llhttp has refused bad numbers, and Content-Length with Transfer-Encoding."""
        if self._in_body:
            return  # a trailer: none of these may mean anything there (RFC 9110 section 6.5.1)
        if name == b"host":
            raise BadMessage("more than one Host")
        if name == b"content-length":
            self._marks |= _WITH_BODY
            self.length = int(value)
            return
        self._marks |= _UNUSUAL
        if name == b"transfer-encoding":
            # Spaces at its end are nothing to llhttp, but with a tab there it knows no coding, and says so only after the head.
            if value.rstrip(b" ").lower() != b"chunked":
                raise BadMessage("the only transfer coding known here is chunked", 501)
            self._marks |= _WITH_BODY
            self.chunked = True
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadMessage("the only expectation met here is 100-continue", 417)
            self.flags |= EXPECT

    def on_headers_complete(self) -> None:
        """The head is complete."""
        parser = self._parser
        known = _METHODS.get(parser.get_method())
        if known is None:
            raise BadMessage(f"the method {parser.get_method().decode()} is not known here", 501)
        self.method, flags = known
        # Without a Connection header only HTTP/1.1 keeps alive: most requests need no closer look.
        if self._marks >= _UNUSUAL or not parser.should_keep_alive():
            flags |= self._look_closer()
        if self.host is None and not flags & HTTP_1_0:
            raise BadMessage("Host is missing")
        if self.target[0] != _SLASH or b"#" in self.target:
            self._normalize_target()
        if self._raw + self._fed > self._max_head and self._head_size() > self._max_head:
            raise self._head_too_large()
        if len(self.headers) > self._max_headers:
            raise BadMessage(f"more than {self._max_headers} header fields ([http] max_headers)", 431)
        self._in_body = True
        self.flags = flags
        # A chunked body has a different length each time, so its head is never recognised.
        self._known_fields = (self.method, self.target, self.headers.copy(), self.host, flags, _NEVER if self.chunked else self.length)
        self._max_body = self._receiver.head_received(self)
        self.headers = []  # for trailers, and then the next request
        self.host = None
        if self._marks or self.streaming:
            self._announce_body()

    def _look_closer(self) -> int:
        """The flags of a request that is not plain HTTP/1.1."""
        parser = self._parser
        flags = self.flags & EXPECT
        version = parser.get_http_version()
        if version == "1.0":
            flags = HTTP_1_0  # an expectation does not count there (RFC 9110 section 10.1.1), nor does an upgrade (section 7.8)
            if self.chunked:
                raise BadMessage("HTTP/1.0 has no Transfer-Encoding")
        elif version != "1.1":
            raise BadMessage(f"HTTP/{version} is not supported")
        if not parser.should_keep_alive():
            flags |= CLOSE
        if parser.should_upgrade() and version == "1.1":
            flags |= UPGRADE
        return flags

    def _normalize_target(self) -> None:
        """Accept the forms of a target that are not a plain path (section 3.2)."""
        if self.target == b"*":
            return
        found = _ABSOLUTE.fullmatch(self.target)
        if found is None:
            raise BadMessage("the request target is neither a path nor an http URL")
        self.host = found[1]
        self.target = found[2] if found[2].startswith(b"/") else b"/" + found[2]

    def _announce_body(self) -> None:
        """Refuse a body that is too large before it is read."""
        if self.length is not None and self.length > self._max_body:
            raise self._body_too_large()
        if self._marks >= _UNUSUAL and self._parser.should_upgrade():
            if self.chunked:
                raise BadMessage("a chunked body and Upgrade in one request")
            self._left = self.length or 0
        self._marks |= _WITH_BODY
        self._raw = -1

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._size += len(piece)
        if self._size > self._max_body:
            raise self._body_too_large()
        if self.streaming:
            self._receiver.piece_received(piece)
        elif not self._body:
            self._body = piece
        else:
            if type(self._body) is bytes:
                self._body = bytearray(self._body)  # not a list: pieces of one byte would take fifty times their size
            self._body += piece

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._chunks += 1

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._left:
            return
        body = self._body
        if self._marks:
            if type(body) is bytearray:
                body = bytes(body)
            if self.chunked and self.headers:
                self.headers = []
            self._forget_body()
        self.target = b""
        self.flags = 0
        self._in_body = False
        self.completed = True
        self._receiver.request_received(body)  # type: ignore[arg-type]  # bytes by now: a body in pieces has a length or is chunked

    # Bounds

    def _feed_upgrade_body(self, data: bytes) -> bytes:
        """Take the body of a request with Upgrade from the data; llhttp does not read it."""
        body, rest = data[: self._left], data[self._left :]
        self._left -= len(body)
        if body:
            self.on_body(body)
        if not self._left:
            self.on_message_complete()
        return rest

    def _head_size(self) -> int:
        """The size of the current head, without white space around values."""
        return len(self.method) + len(self.target) + 14 + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _measure_framing(self, fed: int) -> None:
        """Bound what is not content in a chunked body: extensions, trailers, zeros before a size."""
        # The feed that contained the head is not counted.
        self._raw = self._size if self._raw < 0 else self._raw + fed
        if self._raw - self._size > self._max_head + _PER_CHUNK * self._chunks:
            raise self._head_too_large()

    def _head_too_large(self) -> BadMessage:
        return BadMessage(f"the head, or the framing of the chunks, is larger than {self._max_head} bytes ([http] max_head)", 431)

    def _body_too_large(self) -> BadMessage:
        return BadMessage(f"the body is larger than {self._max_body} bytes", 413)
