"""RFC 6455 as values: the server's half of the handshake, frames to send, and a reader of what clients send.

No transport and no clock here. No extension is supported here, so all reserved bits are refused; `netsvc.wire.deflate` adds one.
"""

import codecs
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from hashlib import sha1
from struct import Struct
from typing import Any, ClassVar, NamedTuple

from netsvc.errors import InvalidRequest

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - websockets without its C extension

    def apply_mask(data: bytes, mask: bytes) -> bytes:  # type: ignore[misc]  # the same as the C function, for bytes only
        """XOR with the repeated mask, three to ten times slower than in C."""
        return xor_mask(data, mask)


__all__ = [
    "BINARY",
    "CLOSE",
    "FAIL",
    "PING",
    "PONG",
    "TEXT",
    "BadHandshake",
    "CloseReason",
    "FrameReader",
    "PartialMessage",
    "ProtocolViolation",
    "accept_key",
    "check_handshake",
    "close_frame",
    "frame",
    "text_frame",
]

# Opcodes (section 5.2); FAIL is not on the wire: it is how the reader reports a violation.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FAIL = -1

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FIN = 0x80
_MASKED = 0x80
_SMALL = 125  # the longest payload whose length fits the second byte; also the longest of a control frame
_MOST = 64  # events returned at once
_LARGE = 4096  # bytes or characters of a message after which nothing more is returned at once
_TINY = 1024  # shorter fragments cost more to read than they bring
_TEXT_HEADERS = tuple(bytes((_FIN | TEXT, size)) for size in range(_SMALL + 1))
_wide_header = Struct(">BBH").pack

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class CloseReason(NamedTuple):
    """Why a connection is closed: a code of section 7.4 and words of at most 123 bytes of UTF-8."""

    code: int
    reason: str


class BadHandshake(InvalidRequest):
    """The request does not open a WebSocket as section 4.2.1 requires.

    :param status: the HTTP status to answer with: 426 if the version is wrong (or there is no upgrade at all), else 400. Section 4.4
        asks for ``Sec-WebSocket-Version: 13`` in that answer.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


def accept_key(key: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` that answers a ``Sec-WebSocket-Key`` (section 4.2.2, step 5.4)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def check_handshake(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Check the client's half of the handshake (section 4.2.1) and return the ``Sec-WebSocket-Accept`` value.

    The channel checks HTTP version, Host and Origin.

    :param method: the request's method.
    :param headers: all fields of the request, names in lower case.
    :raises BadHandshake: naming the header at fault.
    """
    upgrade, connection, versions, keys = [], [], [], []
    for name, value in headers:
        if name == b"upgrade":
            upgrade += _tokens(value)
        elif name == b"connection":
            connection += _tokens(value)
        elif name == b"sec-websocket-version":
            versions += _tokens(value)
        elif name == b"sec-websocket-key":
            keys.append(value.strip())
    if b"websocket" not in upgrade or b"upgrade" not in connection:
        raise BadHandshake("a WebSocket needs Upgrade: websocket and Connection: Upgrade", 426)
    if method != "GET":
        raise BadHandshake("a WebSocket is opened with GET")
    if versions != [b"13"]:
        raise BadHandshake("Sec-WebSocket-Version must be 13", 426)
    if len(keys) != 1 or not _is_nonce(keys[0]):
        raise BadHandshake("Sec-WebSocket-Key must be 16 bytes in base64, once")
    return accept_key(keys[0])


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip().lower() for token in value.split(b",")]


def _is_nonce(key: bytes) -> bool:
    try:
        return len(b64decode(key, validate=True)) == 16
    except Base64Error:
        return False


def frame(opcode: int, payload: bytes) -> bytes:
    """Make a whole, unmasked frame with FIN set (section 5.2), ready for the wire."""
    size = len(payload)
    if size <= _SMALL:
        return bytes((_FIN | opcode, size)) + payload
    if size < 0x10000:
        return _wide_header(_FIN | opcode, 126, size) + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def text_frame(payload: bytes) -> bytes:
    """Make a text frame of `payload`, which the caller knows to be UTF-8."""
    size = len(payload)
    if size <= _SMALL:
        return _TEXT_HEADERS[size] + payload
    return frame(TEXT, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Make a Close frame (section 5.5.1); `reason` is cut to 123 bytes between characters. Code 1005 means no code: an empty body."""
    if code == 1005:
        return frame(CLOSE, b"")
    text = reason.encode("utf-8", "replace")[: _SMALL - 2]
    return frame(CLOSE, code.to_bytes(2, "big") + text.decode("utf-8", "ignore").encode())


def xor_mask(data: bytes, mask: bytes) -> bytes:
    """XOR `data` with the repeated four bytes of `mask` (section 5.3), where the C function is missing."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class ProtocolViolation(Exception):
    """The client broke the protocol: `close` says how to answer it. Used within codecs only; a reader reports it as FAIL."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.close = CloseReason(code, reason)


class PartialMessage:
    """A data message that has begun and not yet ended.

    :ivar opcode: TEXT or BINARY.
    :ivar remaining: bytes of the current frame that are still to come.
    :ivar mask: of the current frame, rotated to start at the next byte.
    :ivar final: the current frame is the last.
    :ivar received: bytes of payload received so far, as the client sent them.
    :ivar begun: when it began, for whoever bounds the time that it takes.
    """

    __slots__ = ("_decoder", "begun", "data", "final", "mask", "opcode", "received", "remaining")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        # One bytearray, not a list of pieces: a million fragments of one byte take a million bytes.
        self.data = bytearray()
        # Fed with each piece only to find the first byte that cannot be UTF-8 as soon as it arrives (section 8.1).
        self._decoder = _Utf8Decoder() if opcode == TEXT else None
        self.received = 0
        self.begun: float | None = None
        self.remaining = 0
        self.mask = b""
        self.final = False

    def add(self, masked: bytes) -> None:
        """Take the next bytes of the current frame.

        :raises UnicodeDecodeError: what has arrived cannot become UTF-8.
        :raises ProtocolViolation: what has arrived cannot become a message.
        """
        size = len(masked)
        self.received += size
        self.remaining -= size
        self._keep(apply_mask(masked, self.mask), self.final and not self.remaining)
        turn = size & 3
        self.mask = self.mask[turn:] + self.mask[:turn]

    def _keep(self, piece: bytes, last: bool) -> None:
        """Take the next unmasked bytes; `last`: there are no more."""
        if self._decoder is not None:
            self._decoder.decode(piece, last)
        self.data += piece

    def value(self) -> str | bytes:
        """Return the whole message: TEXT as str, BINARY as bytes."""
        return self.data.decode() if self.opcode == TEXT else bytes(self.data)

    def overhead(self) -> int:
        """What the whole message costs beyond its length; see FrameReader."""
        return 0


class FrameReader:
    """Turns what a client sends into messages, strictly by RFC 6455.

    :param max_message: the longest message, in bytes of payload over all its fragments. Announcing more is a violation (1009) before any of its bytes
        are kept, so that a reader never holds more than this and a header.
    :param max_overhead: the largest `overhead`; more is a violation (1008).
    :ivar overhead: the number of control frames and tiny fragments read since it was last set to 0 by whoever bounds
        their rate.
    :ivar pending: bytes that have not been read yet: the beginning of a header or of a control frame, or what was too much for one `feed`.
    """

    __slots__ = ("_deaf", "_max_overhead", "_message", "_short", "max_message", "overhead", "pending")

    #: The bits of a frame's first byte that must be zero; an extension that is negotiated removes its own.
    reserved_bits: ClassVar[int] = 0x70

    def __init__(self, max_message: int, max_overhead: int = 1 << 30) -> None:
        self.max_message = max_message
        self._max_overhead = max_overhead
        self._short = min(_LARGE, max_message)
        self.pending = b""
        self._message: PartialMessage | None = None
        self._deaf = False
        self.overhead = 0

    @property
    def unfinished(self) -> PartialMessage | None:
        """The message that has begun and not yet ended, None if there is none."""
        return self._message

    def feed(self, data: bytes) -> list[tuple[int, Any]]:
        """Take the next bytes of the stream and return what is complete, in order.

        Each is ``(TEXT, str)``, ``(BINARY, bytes)``, ``(PING, bytes)``, ``(PONG, bytes)``, ``(CLOSE, CloseReason)`` with code 1005 if the
        client gave none, or, as the last, ``(FAIL, CloseReason)``: the connection must be failed with this code (section 7.1.7). After CLOSE
        or FAIL everything is ignored. Raises nothing, whatever the bytes.

        However much there is, little is returned at once, since it may have to wait, and as objects it is many times as large: while
        `pending` is not empty, feed b"" for more, until nothing is returned.
        """
        events: list[tuple[int, Any]] = []
        if self.pending:
            data = self.pending + data
            self.pending = b""
        position = 0
        size = len(data)
        short = self._short
        # Between fragments and after the end there are no ordinary messages.
        ordinary = self._message is None and not self._deaf
        try:
            while position < size and len(events) < _MOST:
                if ordinary and size - position > 5 and data[position] == 0x81:
                    # The common case, all in one place: a whole, short, masked text message.
                    body = position + 6
                    length = data[position + 1] - 128
                    if length == 126:
                        body += 2
                        length = data[position + 2] << 8 | data[position + 3]
                        if length <= _SMALL:
                            length = -1  # not the shortest way to say it
                    elif length == 127:
                        length = -1
                    end = body + length
                    if 0 <= length <= short and end <= size:
                        events.append((TEXT, apply_mask(data[body:end], data[body - 4 : body]).decode()))
                        position = end
                        continue
                position = self._read_frame(data, position, events)
                ordinary = self._message is None and not self._deaf
                if events and len(events[-1][1]) > _LARGE:
                    break
            if position < size and not self._deaf:
                self.pending = data[position:]
        except ProtocolViolation as violation:
            self._end(events, FAIL, violation.close)
        except UnicodeDecodeError:
            self._end(events, FAIL, CloseReason(1007, "text that is not UTF-8"))
        return events

    def _end(self, events: list[tuple[int, Any]], opcode: int, close: CloseReason) -> None:
        events.append((opcode, close))
        self._deaf = True
        self.pending = b""
        self._message = None

    def _read_frame(self, data: bytes, position: int, events: list[tuple[int, Any]]) -> int:
        """Read one frame, or the rest of one, or what has arrived of one. Return where the next begins."""
        if self._deaf:
            return len(data)
        message = self._message
        if message is not None and message.remaining:
            return self._read_payload(message, data, position, events)
        present = len(data) - position
        if present < 2:
            return self._keep(data, position)
        first, second = data[position], data[position + 1]
        opcode = self._check_header(first, second)
        length = second & 0x7F
        body = position + 6
        if length > _SMALL:
            wide = 2 if length == 126 else 8
            if present < 2 + wide:
                return self._keep(data, position)
            length = _long_length(data[position + 2 : position + 2 + wide])
            body += wide
        if opcode >= CLOSE:
            if len(data) < body + length:
                return self._keep(data, position)
            self._pay(1)
            self._read_control(opcode, apply_mask(data[body : body + length], data[body - 4 : body]), events)
            return body + length
        if length + (0 if message is None else message.received) > self.max_message:
            raise ProtocolViolation(1009, f"a message is longer than {self.max_message} bytes")
        if len(data) < body:
            return self._keep(data, position)
        mask = data[body - 4 : body]
        final = first >= _FIN
        if message is None:
            if final and body + length <= len(data) and not first & 0x70:
                payload = apply_mask(data[body : body + length], mask)
                events.append((opcode, payload.decode() if opcode == TEXT else payload))
                return body + length
            message = self._message = self._begin(first)
        if length < _TINY and not (final and opcode):
            self._pay(1)
        message.final = final
        message.remaining = length
        message.mask = mask
        return self._read_payload(message, data, body, events)

    def _pay(self, overhead: int) -> None:
        self.overhead += overhead
        if self.overhead > self._max_overhead:
            raise ProtocolViolation(1008, "too many pings or tiny fragments")

    def _begin(self, first: int) -> PartialMessage:
        """A message whose first frame has this first byte."""
        return PartialMessage(first & 0x0F)

    def _keep(self, data: bytes, position: int) -> int:
        self.pending = data[position:]
        return len(data)

    def _check_header(self, first: int, second: int) -> int:
        """Check what the first two bytes of a frame say (sections 5.1, 5.2, 5.4, 5.5). Return the opcode."""
        opcode = first & 0x0F
        if first & self.reserved_bits:
            raise ProtocolViolation(1002, "a reserved bit is set")
        if not second & _MASKED:
            raise ProtocolViolation(1002, "a client's frame must be masked")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise ProtocolViolation(1002, f"opcode {opcode} is reserved")
            if not first & _FIN or second & 0x7F > _SMALL:
                raise ProtocolViolation(1002, "a control frame is fragmented or longer than 125 bytes")
        elif opcode > BINARY:
            raise ProtocolViolation(1002, f"opcode {opcode} is reserved")
        elif (opcode == CONTINUATION) is (self._message is None):
            raise ProtocolViolation(1002, "a fragment without a beginning" if opcode == CONTINUATION else "a message begins inside another")
        return opcode

    def _read_payload(self, message: PartialMessage, data: bytes, position: int, events: list[tuple[int, Any]]) -> int:
        end = min(len(data), position + message.remaining)
        message.add(data[position:end])
        if message.final and not message.remaining:
            events.append((message.opcode, message.value()))
            self._message = None
            self._pay(message.overhead())
        return end

    def _read_control(self, opcode: int, payload: bytes, events: list[tuple[int, Any]]) -> None:
        if opcode != CLOSE:
            events.append((opcode, payload))
        elif not payload:
            self._end(events, CLOSE, CloseReason(1005, ""))
        else:
            code = int.from_bytes(payload[:2], "big")
            if len(payload) < 2 or not _may_be_sent(code):
                raise ProtocolViolation(1002, "a close code that must not be sent")
            self._end(events, CLOSE, CloseReason(code, payload[2:].decode()))


def _may_be_sent(code: int) -> bool:
    """Whether a close code may stand in a Close frame (section 7.4 and IANA's registry, up to 1014)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def _long_length(encoded: bytes) -> int:
    """Decode a length of two or eight bytes, which must be the shortest way to say it (section 5.2)."""
    length = int.from_bytes(encoded, "big")
    if length <= (_SMALL if len(encoded) == 2 else 0xFFFF) or length >> 63:
        raise ProtocolViolation(1002, "a length that is not in its shortest form, or over 63 bits")
    return length
