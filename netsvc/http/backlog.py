"""What the kernel has not taken yet of what is to be sent on one connection."""

from socket import socket

from netsvc.http.outbound import Outbound

__all__ = ["Backlog"]

_GATHER = 64
"""Buffers handed to the kernel in one call."""


class Backlog:
    """References to the callers' bytes, in order, and how far the first of them is sent.

    :param outbound: told of what is kept, None for nobody.
    :ivar size: bytes that wait.
    :ivar moved: some were taken since `stalled` of the transport was asked last.
    """

    __slots__ = ("_outbound", "chunks", "moved", "offset", "size")

    def __init__(self, outbound: Outbound | None) -> None:
        self._outbound = outbound
        self.chunks: list[bytes] = []
        self.offset = 0
        self.size = 0
        self.moved = True

    def add(self, data: bytes, offset: int) -> None:
        """Keep data[offset:], too. A copy is only made if something waits already and there is an offset."""
        if self.chunks and offset:
            data, offset = data[offset:], 0
        if not self.chunks:
            self.offset = offset
        self.chunks.append(data)
        self.size += len(data) - offset
        if self._outbound is not None:
            self._outbound.pin(data)

    def send(self, skt: socket) -> bool:
        """Send once; True if nothing is left. OSError as of ``send``."""
        chunks = self.chunks
        first = memoryview(chunks[0])[self.offset :]
        sent = skt.send(first) if len(chunks) == 1 else skt.sendmsg([first, *chunks[1:_GATHER]])
        self.size -= sent
        self.moved = True
        sent += self.offset
        done = 0
        while done < len(chunks) and sent >= len(chunks[done]):
            sent -= len(chunks[done])
            done += 1
        self._drop(0, done)
        self.offset = sent
        return not chunks

    def _drop(self, start: int, end: int) -> None:
        if self._outbound is not None:
            for chunk in self.chunks[start:end]:
                self._outbound.unpin(chunk)
        del self.chunks[start:end]

    def shorten(self) -> None:
        """Keep what is begun and not done, if there is such a piece."""
        begun = 1 if self.offset else 0
        self._drop(begun, len(self.chunks))
        self.size = len(self.chunks[0]) - self.offset if begun else 0

    def clear(self) -> None:
        """Keep nothing."""
        self._drop(0, len(self.chunks))
        self.offset = self.size = 0
