"""HTTP and WebSocket as bytes on a socket: for what no decent client library sends."""

import os
import socket
import struct
import zlib
from contextlib import suppress
from typing import NamedTuple

__all__ = ["HANDSHAKE", "Close", "RawAnswer", "RawWebSocket", "abandon", "exchange", "frame", "head", "parse_answers"]

DEADLINE = 10.0
HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"  # RFC 6455 section 1.3
)


class RawAnswer(NamedTuple):
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Close(NamedTuple):
    """A Close frame."""

    code: int
    reason: str


def head(path: str = "/healthz", method: str = "GET", *fields: str, host: str | None = "localhost", version: str = "HTTP/1.1") -> bytes:
    """The head of a request; `host` None leaves Host out."""
    lines = [f"{method} {path} {version}", *([] if host is None else [f"Host: {host}"]), *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def parse_answers(data: bytes) -> list[RawAnswer]:
    """The complete answers in what a server sent. Interim ones (100) have no body; behind a 101 another protocol begins."""
    answers: list[RawAnswer] = []
    while not answers or answers[-1].status != 101:
        lines, ended, data = data.partition(b"\r\n\r\n")
        status_line, *fields = lines.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        length = int(headers.get("content-length", "0"))
        if not ended or len(data) < length:
            break
        answers.append(RawAnswer(int(status_line.split()[1]), headers, data[:length]))
        data = data[length:]
    return answers


def exchange(port: int, *pieces: bytes, expect: int = 0, deadline: float = DEADLINE) -> tuple[list[RawAnswer], bool]:
    """Send pieces on a connection of its own.

    :param expect: return as soon as there are so many answers; 0: wait for the server to close.
    :return: the answers, and whether the server has closed. AssertionError if neither comes by the deadline.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=deadline) as client:
        with suppress(OSError):  # it may close before it has read everything; its answer counts
            for piece in pieces:
                client.sendall(piece)
        while not expect or len(parse_answers(received)) < expect:
            try:
                data = client.recv(65536)
            except TimeoutError:
                raise AssertionError(f"the server neither answered nor closed within {deadline:g} s; so far: {received[:500]!r}") from None
            if not data:
                return parse_answers(received), True
            received += data
    return parse_answers(received), False


def abandon(port: int, data: bytes) -> None:
    """Send bytes and leave once the server has taken them, without waiting for an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
        client.sendall(data)


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, masked: bool = True, length: int | None = None) -> bytes:
    """A client's frame (RFC 6455 section 5.2), right or, by the keywords, wrong; `length` is announced in place of the payload's."""
    announced = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if announced < 126:
        size = bytes([bit | announced])
    elif announced < 1 << 16:
        size = struct.pack(">BH", bit | 126, announced)
    else:
        size = struct.pack(">BQ", bit | 127, announced)
    mask = os.urandom(4) if masked else b""
    body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if masked else payload
    return bytes([final << 7 | reserved << 4 | opcode]) + size + mask + body


class RawWebSocket:
    """A WebSocket whose frames are written and read one by one.

    :param fields: of the handshake's head.
    :param receive_buffer: bytes that the kernel takes for it before it reads them; 0 leaves that to the kernel.
    :ivar extensions: what was agreed on.
    :ivar taken: bytes of frames that were read.
    """

    def __init__(self, port: int, path: str = "/ws", *fields: str, receive_buffer: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(DEADLINE)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.connect(("127.0.0.1", port))
        self._buffer = b""
        self.taken = 0
        self._socket.sendall(head(path, "GET", *HANDSHAKE.strip().split("\r\n"), *fields))
        while b"\r\n\r\n" not in self._buffer:
            assert self._receive(), "the server closed in place of a handshake"
        answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        self.extensions = parse_answers(answer + b"\r\n\r\n")[0].headers.get("sec-websocket-extensions", "")

    def send(self, *pieces: bytes) -> None:
        """Write bytes; no error if the server has closed."""
        with suppress(OSError):
            self._socket.sendall(b"".join(pieces))

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            assert self._receive(), "the server closed inside of a frame"
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        self.taken += count
        return taken

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame as opcode and payload, inflated if it is compressed; None when the server has closed the connection."""
        if not self._buffer and not self._receive():
            return None
        first, second = self._take(2)
        length = second
        if second == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif second == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        assert first & 0x80, "a server's messages come in one frame"
        payload = self._take(length)
        if first & 0x40:
            # RFC 7692 section 7.2.2; where something else was agreed than a window for each message, this fails.
            payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
        return first & 0x0F, payload

    def text(self) -> str:
        """The next frame, which must be a text."""
        received = self.frame()
        assert received is not None, "the connection is closed"
        assert received[0] == 1, received
        return received[1].decode()

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self.send(frame(10, payload))

    def closed(self) -> Close:
        """Read on until the server's Close."""
        while True:
            received = self.frame()
            assert received is not None, "the connection ended without a Close"
            if received[0] == 8:
                payload = received[1]
                return Close(struct.unpack(">H", payload[:2])[0], payload[2:].decode()) if payload else Close(1005, "")

    def close(self) -> None:
        """Let go."""
        self._socket.close()

    def __enter__(self) -> "RawWebSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
