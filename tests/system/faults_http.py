"""As much HTTP as the clients of the fault test need, on asyncio streams: every wait has a deadline, and whatever is wrong is a ConnectionError."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress

__all__ = ["HttpConnection", "StatusError"]


class StatusError(Exception):
    """An answer with a status other than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body[:300]!r}")
        self.status = status


class HttpConnection:
    """One connection to 127.0.0.1 that is kept alive.

    :param patience: seconds to wait for any part of an answer.
    """

    def __init__(self, port: int, patience: float) -> None:
        self._port = port
        self._patience = patience
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, target: str, headers: str = "", body: bytes = b"") -> bytes:
        """The body of the answer.

        :raises StatusError: it is not a 200.
        :raises ConnectionError: there is no whole answer.
        """
        status, fields = await self.send(method, target, headers, body)
        length = int(fields.get("content-length", "0"))
        content = await self._read(length) if length else b""
        if fields.get("connection", "") == "close":
            self.close()
        if status != 200:
            raise StatusError(status, content)
        return content

    async def send(self, method: str, target: str, headers: str = "", body: bytes = b"") -> tuple[int, dict[str, str]]:
        """Send a request; the answer's status and header fields."""
        try:
            async with asyncio.timeout(self._patience):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._streams
                writer.write(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.close()
            raise ConnectionError(repr(error)) from None
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in lines if line)}
        return int(status.split()[1]), fields

    async def stream(self) -> AsyncIterator[bytes]:
        """What comes, until the server closes the connection: the body of an answer without a length."""
        assert self._streams is not None
        while data := await self._wait(self._streams[0].read(65536)):
            yield data

    async def _read(self, count: int) -> bytes:
        assert self._streams is not None
        return await self._wait(self._streams[0].readexactly(count))

    async def _wait(self, reading: "Awaitable[bytes]") -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await reading
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.close()
            raise ConnectionError(repr(error)) from None

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._streams is not None:
            with suppress(OSError):
                self._streams[1].transport.abort()
            self._streams = None
