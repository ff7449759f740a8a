"""Bodies that do not exist as a whole: requests that arrive in pieces, answers that are sent in pieces."""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.interfaces import ISink, ISinkWatcher
from netsvc.net.transport import DirectTransport
from netsvc.wire.http1_response import LAST_CHUNK, chunk

__all__ = ["UNBUFFERED", "RequestBody", "Stream"]

UNBUFFERED = ((b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"no"))
"""Header fields of an answer that is to reach the client piece by piece; the second tells nginx, and proxies that follow it, not to buffer."""

STREAM_WINDOW = 64 * 1024
"""How many bytes of a request's body may wait for the handler before reading from the client stops."""


class RequestBody:
    """A request's body as it arrives. One reader at a time.

    :param pause: called when enough is waiting to be read.
    :param resume: called when it has been read.
    """

    __slots__ = ("_ended", "_failure", "_pause", "_paused", "_pieces", "_reader", "_resume", "_size")

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._reader: Deferred[bytes] | None = None
        self._ended = False
        self._failure: Failure | None = None
        self._paused = False
        self._pause = pause
        self._resume = resume

    def read(self) -> "Deferred[bytes]":
        """The next piece, of any size; empty at the end. Fails with the reason if the rest will not come (connection lost, TooLarge)."""
        if self._pieces:
            piece = self._pieces.popleft()
            self._size -= len(piece)
            if self._paused and not self._size:
                self._paused = False
                self._resume()
            return succeed(piece)
        if self._failure is not None:
            failed: Deferred[bytes] = Deferred()
            failed.errback(self._failure)
            return failed
        if self._ended:
            return succeed(b"")
        self._reader = Deferred(self._forget)
        return self._reader

    def __aiter__(self) -> "RequestBody":
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read()
        if not piece:
            raise StopAsyncIteration
        return piece

    def _forget(self, reader: "Deferred[bytes]") -> None:
        self._reader = None

    # The channel's side

    def received(self, piece: bytes) -> None:
        """A piece has arrived."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(piece)
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= STREAM_WINDOW and not self._paused:
            self._paused = True
            self._pause()

    def ended(self) -> None:
        """The body is complete."""
        self._ended = True
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(b"")

    def failed(self, reason: Failure) -> None:
        """The rest will not come. No effect after `ended`."""
        if self._ended or self._failure is not None:
            return
        self._failure = reason
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.errback(reason)


@implementer(ISink)
class Stream:
    """An answer whose body is sent in pieces.

    It is sent chunked (RFC 9112 section 7.1), with a Content-Length if `length` is given, or ended by the end of the connection if the
    client speaks HTTP/1.0. As an ISink it takes ready wire bytes, the same for all: whole chunks if it is `chunked`. With `until_close`
    nothing follows it on its connection.

    :param start: called with the stream when the head has been sent (never for HEAD). If it gives a Deferred or a coroutine, the stream
        finishes with it, breaks off if it fails, and it is cancelled when the client leaves; otherwise call `finish`.
    :param stop: called once with the stream when it is over, whichever side ended it.
    :param length: the size of the body in bytes, if known.
    :param ends: it ends by itself, so a client that has stopped sending still gets all of it; the same goes for anything with a `length`.
    :ivar sent: bytes of the body given to `send` so far.
    :ivar chunked: it is sent in chunks.
    :ivar over: it is finished, broken off or lost; anything sent now is dropped.
    """

    __slots__ = (
        "_left",
        "_on_over",
        "_transport",
        "_waiting",
        "_watchers",
        "chunked",
        "ends",
        "headers",
        "length",
        "media_type",
        "over",
        "sent",
        "start",
        "status",
        "stop",
        "until_close",
    )

    def __init__(
        self,
        start: "Callable[[Stream], Deferred[None] | Coroutine[Any, Any, None] | None]",
        stop: "Callable[[Stream], None] | None" = None,
        *,
        status: int = 200,
        media_type: bytes = b"",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        length: int | None = None,
        until_close: bool = False,
        ends: bool = False,
    ) -> None:
        self.start = start
        self.stop = stop
        self.status = status
        self.media_type = media_type
        self.headers = headers
        self.length = length
        self.until_close = until_close
        self.ends = ends or length is not None
        self.chunked = False
        self.over = False
        self.sent = 0
        self._left = 0
        self._transport: DirectTransport | None = None
        self._on_over: Callable[[bool], None] | None = None
        self._watchers: list[ISinkWatcher] = []
        self._waiting: list[Deferred[None]] = []

    # For the code that fills it

    def send(self, data: bytes) -> None:
        """Send a piece of the body. Look at `full`, or await `writable`, before sending much more."""
        if self.over or not data or self._transport is None:
            return
        self.sent += len(data)
        if self.chunked:
            data = chunk(data)
        elif self.length is not None:
            self._left -= len(data)
            if self._left < 0:
                self.break_off()
                raise ValueError(f"the stream was announced with {self.length} bytes, but more were written")
        self._transport.write(data)

    def writable(self) -> "Deferred[None]":
        """Fires when nothing is waiting to be sent; fails with ConnectionDone if the stream is over."""
        waiting: Deferred[None] = Deferred(self._forget)
        if self.over:
            waiting.errback(ConnectionDone())
        elif self.full:
            self._waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def _forget(self, waiting: "Deferred[None]") -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def finish(self) -> None:
        """The body is complete. No effect if the stream is over."""
        if self.over or self._transport is None:
            return
        if self.chunked:
            self._transport.write(LAST_CHUNK)
        self._end(complete=not self._left)

    def break_off(self) -> None:
        """The rest will not come: the connection is cut, so that the client cannot mistake what it has for the whole."""
        if not self.over:
            self._end(complete=False)

    def _end(self, complete: bool) -> None:
        on_over = self._on_over
        self.lost()
        if on_over is not None:
            on_over(complete)

    # ISink

    @property
    def full(self) -> bool:
        """See ISink."""
        return self._transport is None or self._transport.full

    @property
    def raw_send(self) -> Callable[[bytes], int]:
        """See ISink. Wire bytes: `chunked` says what they are."""
        assert self._transport is not None, "the stream has not started"
        return self._transport.raw_send

    def write(self, data: bytes) -> None:
        """See ISink. Wire bytes: `send` is for pieces of the body."""
        if self._transport is not None:
            self._transport.write(data)

    def rest(self, data: bytes, offset: int) -> None:
        """See ISink."""
        if self._transport is not None:
            self._transport.rest(data, offset)

    def watch(self, watcher: ISinkWatcher) -> None:
        """See ISink."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: ISinkWatcher) -> None:
        """See ISink."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    # The channel's side

    def begin(self, transport: DirectTransport, on_over: Callable[[bool], None]) -> None:
        """The head is sent, and says `chunked` or not. When the filler ends the body, `on_over` is called with whether it is complete."""
        self._transport = transport
        self._on_over = on_over
        self._left = self.length or 0

    def transport_full(self) -> None:
        """Bytes wait in the transport."""
        for watcher in tuple(self._watchers):
            watcher.sink_full()

    def transport_drained(self) -> None:
        """Nothing is waiting any more."""
        for watcher in tuple(self._watchers):
            watcher.sink_drained()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:  # cancelled by one before it
                each.callback(None)

    def lost(self) -> None:
        """It is over. No effect if it was already."""
        if self.over:
            return
        self.over = True
        self._transport = self._on_over = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.errback(ConnectionDone())
        stop, self.stop = self.stop, None
        if stop is not None:
            stop(self)
