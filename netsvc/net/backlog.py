"""The bytes of one connection that the kernel has not accepted yet."""

from socket import socket

from netsvc.net.outbound import Outbound

__all__ = ["Backlog"]

_GATHER = 64
"""Buffers handed to the kernel in one call."""


class Backlog:
    """References to the callers' bytes, in order, and how far the first of them is sent.

    :param outbound: told what is kept; None tells nobody.
    :ivar size: bytes waiting.
    :ivar moved: some were accepted since the transport's `stalled` was last asked.
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
        """Keep only the piece that is partly sent, if there is one."""
        begun = 1 if self.offset else 0
        self._drop(begun, len(self.chunks))
        self.size = len(self.chunks[0]) - self.offset if begun else 0

    def clear(self) -> None:
        """Keep nothing."""
        self._drop(0, len(self.chunks))
        self.offset = self.size = 0
