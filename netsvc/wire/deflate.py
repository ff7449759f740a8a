"""permessage-deflate (RFC 7692) as values: the negotiation, frames that many clients share, and a reader that inflates within bounds.

No window outlives a message, in either direction. So the compressed frame of a message is the same for everybody, and an idle
connection keeps neither a deflater nor an inflater.
"""

import re
import zlib
from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple

from netsvc.wire.websocket import BINARY, TEXT, BadHandshake, FrameReader, PartialMessage, ProtocolViolation, frame

__all__ = ["Agreement", "Deflater", "InflatingReader", "PermessageDeflate", "parse_extensions"]

NAME = "permessage-deflate"

_COMPRESSED = 0x40  # RSV1 (section 6)
_TAIL = b"\0\0\xff\xff"  # the end of an empty stored block: cut off by the sender, put back by the receiver (section 7.2)

_LARGEST_WINDOW = 15
_SMALLEST_WINDOW = 9  # zlib deflates with no smaller one, though it inflates 8

_FINAL_BLOCKS = 16  # that a message may have: each needs a new inflater
_FREE_RATIO = 64  # inflating by more than this counts as overhead: tables as JSON reach thirty, deflate can reach a thousand
_OVERHEAD = 4096  # counted once for each so many bytes beyond that

# The grammar of section 9.1 of RFC 6455, with the white space of lists (RFC 9110 section 5.6.1).
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_ELEMENT = re.compile(rb'[ \t]*(%b)[ \t]*(?:=[ \t]*(?:(%b)|"((?:[^"\\]|\\.)*)")[ \t]*)?([;,]|\Z)' % (_TOKEN, _TOKEN), re.DOTALL)
_EMPTY = re.compile(rb"[ \t]*(?:,|\Z)")
_BITS = re.compile(r"[89]|1[0-5]")

Parameters = list[tuple[str, str | None]]


def parse_extensions(value: bytes) -> list[tuple[str, Parameters]]:
    """Parse a Sec-WebSocket-Extensions field: each extension with its parameters, in order.

    :raises BadHandshake: it is malformed; section 9.1 of RFC 6455 requires failing such a connection.
    """
    found: list[tuple[str, Parameters]] = []
    position = 0
    parameters: Parameters | None = None  # of the extension being read
    while position < len(value):
        if parameters is None:
            empty = _EMPTY.match(value, position)
            if empty is not None:
                position = empty.end()
                continue
        element = _ELEMENT.match(value, position)
        if element is None:
            raise BadHandshake("Sec-WebSocket-Extensions is malformed")
        name, bare, quoted, separator = element.groups()
        position = element.end()
        content: bytes | None = bare if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)
        if content is not None and re.fullmatch(_TOKEN, content) is None:
            raise BadHandshake("Sec-WebSocket-Extensions: a quoted value is not a token")
        if parameters is not None:
            parameters.append((name.decode(), None if content is None else content.decode()))
        elif content is not None:
            raise BadHandshake("Sec-WebSocket-Extensions: an extension's name has a value")
        else:
            parameters = []
            found.append((name.decode(), parameters))
        if separator == b",":
            parameters = None
        elif separator == b";" and not value[position:].strip():
            raise BadHandshake("Sec-WebSocket-Extensions ends where a parameter should follow")
    return found


class Deflater:
    """Makes frames of messages, each compressed independently of all others.

    One stream serves all connections and all messages: a full flush after each makes it forget, at a fraction of the cost of a new stream.

    :param level: zlib's, 1 to 9.
    :param shortest: a message of fewer bytes is sent as it is. So is one that would not become shorter.
    :param longest: so is one of more bytes: a megabyte takes a fiftieth of a second, in which nobody else is served.
    :param window: bits of the window, 9 to 15.
    :ivar text_frame: makes a text frame of UTF-8. Always the same object, so it distinguishes formats of this deflater from others.
    """

    __slots__ = ("_longest", "_shortest", "_stream", "text_frame")

    def __init__(self, level: int, shortest: int, longest: int, window: int = _LARGEST_WINDOW) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, -window)
        self._shortest = max(1, shortest)
        self._longest = longest
        self.text_frame: Callable[[bytes], bytes] = self._text_frame

    def frame(self, opcode: int, payload: bytes) -> bytes:
        """Make a whole, unmasked data frame, ready for the wire."""
        if self._shortest <= len(payload) <= self._longest:
            stream = self._stream
            packed = stream.compress(payload) + stream.flush(zlib.Z_FULL_FLUSH)
            size = len(packed) - len(_TAIL)
            if size < len(payload):
                return frame(opcode | _COMPRESSED, packed[:size])
        return frame(opcode, payload)

    def _text_frame(self, payload: bytes) -> bytes:
        return self.frame(TEXT, payload)


class Agreement(NamedTuple):
    """What a client and the server have agreed on.

    :ivar answer: the value of Sec-WebSocket-Extensions in the server's half of the handshake.
    :ivar deflater: makes frames for this client.
    :ivar window: bits of the largest window that the client deflates with.
    """

    answer: bytes
    deflater: Deflater
    window: int


class PermessageDeflate:
    """The server's side of the negotiation (sections 5.1 and 7.1), and the deflaters that all connections share.

    :param level: zlib's, 1 to 9.
    :param shortest: messages of fewer bytes are not compressed.
    :param longest: nor are those of more bytes.
    """

    def __init__(self, level: int, shortest: int, longest: int) -> None:
        self._wide = Deflater(level, shortest, longest)
        # For all clients that ask for less than the largest: an answer may be smaller than the offer (section 7.1.2.1), and two kinds of frames are enough.
        self._narrow = Deflater(level, shortest, longest, _SMALLEST_WINDOW)

    @property
    def framings(self) -> tuple[Callable[[bytes], bytes], ...]:
        """The `text_frame` of each deflater that an agreement may name."""
        return self._wide.text_frame, self._narrow.text_frame

    def agree(self, fields: Iterable[bytes]) -> Agreement | None:
        """Accept the first acceptable offer; None if there is none, then no extension is used.

        :param fields: the values of all Sec-WebSocket-Extensions fields of the request.
        :raises BadHandshake: one is malformed.
        """
        offers = [offer for field in fields for offer in parse_extensions(field)]
        for name, parameters in offers:
            agreement = self._accept(parameters) if name == NAME else None
            if agreement is not None:
                return agreement
        return None

    def _accept(self, parameters: Parameters) -> Agreement | None:
        """Accept one offer, or decline: an unknown, doubled or wrong parameter (section 7), or a window that cannot be served."""
        offer = dict(parameters)
        if len(offer) < len(parameters):
            return None
        for name, value in parameters:
            if name in ("server_no_context_takeover", "client_no_context_takeover"):
                if value is not None:
                    return None
            elif name == "client_max_window_bits":
                if value is not None and not _BITS.fullmatch(value):
                    return None
            elif name != "server_max_window_bits" or value is None or not _BITS.fullmatch(value):
                return None
        deflater, answer = self._wide, NAME + "; server_no_context_takeover; client_no_context_takeover"
        asked = int(offer.get("server_max_window_bits") or _LARGEST_WINDOW)
        if asked < _SMALLEST_WINDOW:
            return None
        if "server_max_window_bits" in offer:
            given = _LARGEST_WINDOW
            if asked < _LARGEST_WINDOW:
                deflater, given = self._narrow, _SMALLEST_WINDOW
            answer += f"; server_max_window_bits={given}"
        # Taken at its word; the answer asks for no less than was offered, since no window outlives a message.
        window = offer.get("client_max_window_bits")
        if window is not None:
            answer += f"; client_max_window_bits={window}"
        return Agreement(answer.encode(), deflater, int(window or _LARGEST_WINDOW))


class _DeflatedMessage(PartialMessage):
    """A compressed message that has begun and not yet ended.

    It is kept as received and inflated when complete, so that what a client leaves unfinished costs no more than the client has sent.
    """

    __slots__ = ("_inflated", "_limit", "_window")

    def __init__(self, opcode: int, limit: int, window: int) -> None:
        PartialMessage.__init__(self, opcode)
        self._decoder = None  # these bytes are not text yet
        self._limit = limit
        self._window = window
        self._inflated = 0

    def value(self) -> str | bytes:
        """Inflate the whole message.

        :raises UnicodeDecodeError: it is not UTF-8.
        :raises ProtocolViolation: it cannot be inflated, or not within the bounds.
        """
        try:
            whole = _inflate(bytes(self.data + _TAIL), self._limit, self._window)
        except zlib.error:
            raise ProtocolViolation(1007, "a compressed message that cannot be inflated") from None
        self._inflated = len(whole)
        return whole.decode() if self.opcode == TEXT else whole

    def overhead(self) -> int:
        """Inflating by a large factor is work for us that cost the client nothing."""
        return max(0, self._inflated - _FREE_RATIO * self.received) // _OVERHEAD


def _inflate(packed: bytes, limit: int, window: int) -> bytes:
    """Inflate to at most `limit` bytes. ProtocolViolation: it would be more; zlib.error: it is not deflated data."""
    inflater = zlib.decompressobj(-window)
    # One byte more than allowed is asked for, to find out whether there is one.
    whole = inflater.decompress(packed, limit + 1)
    for _ in range(_FINAL_BLOCKS):
        if len(whole) > limit:
            raise ProtocolViolation(1009, f"a message is longer than {limit} bytes")
        packed = inflater.unused_data
        if not packed:
            return whole
        # A block may say that it is the last and be followed by more, from the next whole byte on (section 7.2.1).
        inflater = zlib.decompressobj(-window, zdict=whole[-(1 << window) :])
        whole += inflater.decompress(packed, limit + 1 - len(whole))
    raise ProtocolViolation(1008, "a compressed message of too many streams")


class InflatingReader(FrameReader):
    """A FrameReader for a client with which permessage-deflate was agreed.

    A compressed message is refused (1009) when it inflates to more than `max_message`, before more of it is inflated.

    :param window: bits of the client's window, as agreed.
    """

    __slots__ = ("_window",)

    reserved_bits: ClassVar[int] = 0x30

    def __init__(self, max_message: int, window: int, max_overhead: int = 1 << 30) -> None:
        FrameReader.__init__(self, max_message, max_overhead)
        self._window = window

    def _check_header(self, first: int, second: int) -> int:
        opcode = FrameReader._check_header(self, first, second)
        if first & _COMPRESSED and opcode not in (TEXT, BINARY):
            # It may be set only in the first frame of a message (section 6.1).
            raise ProtocolViolation(1002, "a reserved bit is set")
        return opcode

    def _begin(self, first: int) -> PartialMessage:
        if first & _COMPRESSED:
            return _DeflatedMessage(first & 0x0F, self.max_message, self._window)
        return PartialMessage(first & 0x0F)
