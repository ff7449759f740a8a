"""One HTTP/1.1 connection: what is read, whose turn it is, what is written, and the end."""

from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.errors import DeadlinePassed, NetsvcError, Overloaded
from netsvc.http.answers import error_answer, handle_later, render, render_stream, render_switch
from netsvc.http.bodies import RequestBody, Stream
from netsvc.http.deadline import ANSWER, BODY, END, IDLE, OPEN, SILENCE, WRITE, Deadline
from netsvc.http.errors import HttpError
from netsvc.http.messages import Request, Response, Upgrade
from netsvc.http.requestlog import log_access
from netsvc.http.transport import DirectTransport, direct
from netsvc.http.turn import Turn
from netsvc.http.websocket import WebSocketConnection
from netsvc.wire.http1 import BETWEEN, CLOSE, CONTINUE, EXPECT, HEAD_ONLY, BadMessage, RequestReader
from netsvc.wire.websocket import BadHandshake

if TYPE_CHECKING:  # the factory makes channels
    from netsvc.http.server import HttpFactory

__all__ = ["HttpChannel"]

# Whose turn it is.
READY = 0  # the client's: the next request is answered as soon as it is there
BUSY = 1  # a handler's or a stream's
SWITCHING = 2  # a WebSocket's, as soon as the rest of the present read is known
ENDING = 3  # nobody's: what was written is on its way, then the connection ends

# Why nothing is read from the client.
_UNREAD = 1  # there is something that was not parsed yet
_BODY = 2  # the handler is behind with the body it reads

_EARLY = 1 << 8
"""A flag beside those of netsvc.wire.http1: the handler is called before the body is there."""

_LARGE = 16 * 1024
"""Bodies from here on are not joined with their head, which would copy them."""

_JOINED = 64
"""Answers to pipelined requests that are joined into one write."""

_CLIENT_LEFT = 499


@implementer(IProtocol, IHalfCloseableProtocol)
class HttpChannel:
    """Reads requests, has them answered one after the other, and keeps to the deadlines.

    While a handler is at work, what else the client sends is kept unparsed, at most what one read of the transport brought; then no more is
    read. A client that leaves cancels what is done for it.
    """

    __slots__ = (
        "_arriving",
        "_deadline",
        "_factory",
        "_feeding",
        "_held",
        "_last",
        "_out",
        "_peer",
        "_queue",
        "_reader",
        "_running",
        "_secure",
        "_state",
        "_switching",
        "_transport",
        "_turn",
        "_unread",
    )

    def __init__(self, factory: "HttpFactory") -> None:
        self._factory = factory
        self._transport: DirectTransport
        self._reader: RequestReader | None = None  # None: no further request is taken
        self._deadline = Deadline(factory.wheel, factory.times, self._passed)
        self._state = READY
        self._arriving: Request | None = None  # its head is here, its body is not
        self._turn: Turn | None = None  # while BUSY
        self._switching: tuple[Request, Upgrade, bytes] | None = None
        self._queue: deque[Request | NetsvcError] | None = None  # what was read and has to wait for its turn
        self._out: list[bytes] = []  # answers that are not written yet
        self._unread = b""  # what was received and not parsed
        self._held = 0
        self._feeding = False
        self._running = False
        self._last = factory.draining  # the next answer ends the connection

    # The transport

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """See IProtocol."""
        self._transport = direct(transport)
        self._transport.owner = self
        self._peer = self._transport.peer
        self._secure = self._transport.secure
        self.connectionMade()

    def connectionMade(self) -> None:  # noqa: N802
        """See IProtocol."""
        factory = self._factory
        self._deadline.wait_for(SILENCE)
        if factory.admit(self, self._peer):
            self._reader = RequestReader(self, factory.request_limits)
        elif factory.refuse(self):
            self._refuse(Overloaded("there are as many connections as there may be", retry_after=5))
        else:
            self.abort()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """See IProtocol."""
        if (self._state or self._queue or self._transport.full) and not self._reads_on():
            if self._reader is not None:  # else it is what a refused client goes on sending
                self._unread += data
                self._hold(_UNREAD)
            return
        self._read(data)
        out = self._out
        if len(out) == 1:
            self._transport.write(out.pop())
        elif out:
            self._flush()
        reader = self._reader
        if reader is not None and reader.place == BETWEEN and not self._state and not self._transport.full:
            self._deadline.wait_for(IDLE)
        else:
            self._settle()

    def _reads_on(self) -> bool:
        """Whether what arrives now is the body that the handler at work is reading."""
        return self._turn is not None and self._turn.request is self._arriving

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """See IProtocol. What is done for the client is cancelled."""
        factory = self._factory
        self._deadline.cancel()
        self._drop_reader()
        turn, self._turn = self._turn, None
        unfinished = [item.stream for item in (*(self._queue or ()), self._arriving) if isinstance(item, Request)]
        self._state = ENDING
        self._queue = None
        self._arriving = None
        factory.left(self, self._peer)
        if turn is not None and factory.access_log:
            stream = turn.stream
            log_access(turn.request, stream.status if stream else _CLIENT_LEFT, stream.sent if stream else 0, factory.seconds())
        for body in unfinished:
            if body is not None:
                body.failed(reason)
        if turn is not None:
            turn.cancel()

    def readConnectionLost(self) -> None:  # noqa: N802
        """The client sends no more. It still gets what waits for it; what has no answer yet is taken as not wanted any more."""
        self._transport.loseConnection()

    def writeConnectionLost(self) -> None:  # noqa: N802
        """Our own doing, see `_end`."""

    def transport_full(self) -> None:
        """See TransportOwner."""
        if self._turn is not None and self._turn.stream is not None:
            self._turn.stream.transport_full()
        self._settle()

    def transport_drained(self) -> None:
        """See TransportOwner."""
        if self._turn is not None and self._turn.stream is not None:
            self._turn.stream.transport_drained()
        self._go_on()

    # What is read

    def _read(self, data: bytes) -> None:
        """Parse, and answer what is complete."""
        reader = self._reader
        while reader is not None:
            self._feeding = True
            try:
                rest = reader.feed(data)
            except BadMessage as error:
                rest = b""
                self._break(error)
            finally:
                self._feeding = False
            if self._reader is None:
                reader.stop()
            elif rest:
                # Behind a request with Upgrade. Whether it is another request depends on the answer.
                if not (self._state or self._queue or self._transport.full):
                    data = rest
                    continue
                self._unread = rest + self._unread
            if self._switching is not None:
                self._switch(*self._switching)
            return

    def head_received(self, head: RequestReader) -> int:
        """See Receiver."""
        factory = self._factory
        self._arriving = request = Request(head.method, head.target, head.headers, self._peer, self._secure, factory.seconds(), b"", head.flags)
        factory.route(request, head.host)
        route = request.route
        if route.streaming:
            head.streaming = True
            request.flags |= _EARLY
            request.stream = RequestBody(partial(self._hold, _BODY), partial(self._let_go, _BODY))
            self._take(request)
        return factory.max_body if route.body_limit is None else route.body_limit

    def piece_received(self, piece: bytes) -> None:
        """See Receiver."""
        if self._arriving is not None and self._arriving.stream is not None:
            self._arriving.stream.received(piece)

    def request_received(self, body: bytes) -> None:
        """See Receiver."""
        request, self._arriving = self._arriving, None
        if request is None:
            return  # it is answered already, without its body
        if request.stream is not None:
            request.stream.ended()
            return
        request.body = body
        if self._state or self._queue or self._transport.full:
            self._take(request)
        else:
            self._handle(request)

    def _take(self, item: Request | NetsvcError) -> None:
        """Answer something when its turn comes."""
        if self._state == ENDING:
            return
        if self._state or self._queue or self._transport.full:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(item)
        else:
            self._act_on(item)

    def _act_on(self, item: Request | NetsvcError) -> None:
        if isinstance(item, Request):
            self._handle(item)
        else:
            self._refuse(item)

    def _break(self, error: NetsvcError) -> None:
        """What the client sent ends the conversation: answer that in its turn, and take nothing after it."""
        self._drop_reader()
        request = self._arriving
        if request is not None and request.stream is not None:
            self._arriving = None
            request.flags |= CLOSE
            request.stream.failed(Failure(error))
        else:
            self._take(error)

    def _drop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not self._feeding:
            reader.stop()

    def _hold(self, why: int) -> None:
        """Read no more from the client."""
        if not self._held:
            self._transport.pause_reading()
        self._held |= why

    def _let_go(self, why: int) -> None:
        """Read again, unless there is another reason not to."""
        if self._held & why:
            self._held &= ~why
            if not self._held:
                self._transport.resume_reading()

    # Whose turn it is

    def _handle(self, request: Request) -> None:
        """Have a request answered."""
        route = request.route
        result: Any
        try:
            if not route.public:
                identity = self._factory.authenticate(request)
                if isinstance(identity, Deferred):
                    result = handle_later(request, identity)
                else:
                    request.identity = identity
                    result = route.handler(request)
            else:
                result = route.handler(request)
        except Exception as error:
            result = error_answer(request, error)
        if type(result) is Response:
            self._send(request, result)
        else:
            self._deliver(request, result)

    def _deliver(self, request: Request, result: Any) -> None:
        """Act on whatever a handler gave."""
        if isinstance(result, Coroutine):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Response):
            self._send(request, result)
        elif isinstance(result, Deferred):
            self._begin(request).wait(result)
        elif isinstance(result, Stream):
            self._stream(request, result)
        elif isinstance(result, Upgrade):
            self._upgrade(request, result)
        else:
            self._send(request, error_answer(request, TypeError(f"a handler gave {result!r}, which is no answer")))

    def _begin(self, request: Request) -> Turn:
        self._state = BUSY
        self._turn = turn = Turn(self, request)
        self._deadline.wait_for(ANSWER)
        return turn

    def answered(self, request: Request, result: Any) -> None:
        """See TurnOwner."""
        self._state = READY
        self._turn = None
        self._deliver(request, result)
        self._go_on()

    def streamed(self, request: Request, stream: Stream, complete: bool) -> None:
        """See TurnOwner."""
        self._state = READY
        self._turn = None
        if not complete:
            self.abort()
        self._done(request, stream.status, stream.sent)
        self._go_on()

    def _go_on(self) -> None:
        """Do what had to wait, until there is something to wait for again."""
        if self._feeding or self._running:
            return
        self._running = True
        while not self._state and not self._transport.full:
            if self._queue:
                self._act_on(self._queue.popleft())
            elif self._unread:
                data, self._unread = self._unread, b""
                self._read(data)
            else:
                self._let_go(_UNREAD)
                break
        self._running = False
        if self._out:
            self._flush()
        self._settle()

    # What is written

    def _send(self, request: Request, response: Response) -> None:
        """Put an answer in the row."""
        factory = self._factory
        body = response.body
        try:
            if request.flags or self._last or response.headers:
                self._conclude(request)
                head, body = render(factory.heads, request, response)
            else:
                key = (response.status, response.media_type, len(body))
                head = factory.heads.ready.get(key) or factory.heads.plain(*key)
        except ValueError as error:  # a bug of the handler: such an answer cannot be written
            self._send(request, error_answer(request, error))
            return
        if len(body) < _LARGE:
            self._out.append(head + body)
            if len(self._out) >= _JOINED:
                self._flush()
        else:
            self._out.append(head)
            self._flush()
            self._transport.write(body)
        if request.flags or factory.access_log:
            self._done(request, response.status, len(body))

    def _conclude(self, request: Request) -> None:
        """Say CLOSE in a request whose answer ends the connection."""
        if request is self._arriving:
            # Answered before its body is there: the rest of it could not be told from a next request.
            self._arriving = None
            self._drop_reader()
            request.flags |= CLOSE
        if self._last:
            request.flags |= CLOSE

    def _flush(self) -> None:
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._transport.write(data)

    def _done(self, request: Request, status: int, size: int) -> None:
        """A request is answered."""
        factory = self._factory
        if factory.access_log:
            log_access(request, status, size, factory.seconds())
        if request.flags & CLOSE and self._state != ENDING:
            self._end()

    def _refuse(self, error: NetsvcError) -> None:
        """Answer what could not become a request, and end."""
        self._drop_reader()
        request, self._arriving = self._arriving, None
        if request is None:
            request = Request("-", b"-", [], self._peer, self._secure, self._factory.seconds())
        request.flags |= CLOSE
        self._send(request, error_answer(request, error))

    def _stream(self, request: Request, stream: Stream) -> None:
        """Send the head of a stream and have it filled."""
        self._conclude(request)
        self._out.append(render_stream(self._factory.heads, request, stream))
        self._flush()
        if request.flags & HEAD_ONLY:
            stream.lost()
            self._done(request, stream.status, 0)
        else:
            self._begin(request).pour(stream, self._transport)

    def _upgrade(self, request: Request, upgrade: Upgrade) -> None:
        try:
            head = render_switch(request)
        except BadHandshake as error:
            self._send(request, error_answer(request, error))
            return
        self._state = SWITCHING
        self._switching = (request, upgrade, head)
        if not self._feeding:
            self._switch(*self._switching)

    def _switch(self, request: Request, upgrade: Upgrade, head: bytes) -> None:
        """Speak WebSocket from here on; this channel is left behind."""
        factory = self._factory
        self._out.append(head)
        self._flush()
        self._switching = None
        self._state = ENDING
        self._deadline.cancel()
        self._drop_reader()
        self._let_go(_UNREAD)
        leftover, self._unread = self._unread, b""
        if factory.access_log:
            log_access(request, 101, 0, factory.seconds())
        factory.handed_over(self)
        WebSocketConnection(self._transport, upgrade.application, factory.websocket_limits, factory.wheel, factory.websockets).begin(leftover)

    # The end

    def _end(self) -> None:
        """Let what was written arrive, then close.

        If the client was cut short, it may still be sending. Closing then would reset the connection, and the client might never see the
        answer (RFC 9112 section 9.6): so only our direction is closed, and what comes is read and thrown away until it closes its own.
        """
        if self._out:
            self._flush()
        self._state = ENDING
        self._queue = None
        self._unread = b""
        if self._reader is None:
            self._let_go(_UNREAD | _BODY)
            self._transport.lose_write_connection()
        else:
            self._drop_reader()
            self._transport.loseConnection()
        self._settle()

    def abort(self) -> None:
        """Close at once."""
        self._state = ENDING
        self._transport.abortConnection()
        self._settle()

    def drain(self) -> None:
        """End with the request at hand, at once if there is none."""
        self._last = True
        if self._deadline.what in (IDLE, SILENCE) and not self._state:
            self._end()

    # Time

    def _settle(self) -> None:
        """Wait for the right thing."""
        arriving = self._arriving
        if arriving is not None and arriving.flags & EXPECT and (self._reads_on() or not (self._state or self._queue or self._transport.full)):
            arriving.flags &= ~EXPECT
            self._transport.write(CONTINUE)
        what, anew = self._awaited()
        if anew or what != self._deadline.what:
            self._deadline.wait_for(what)

    def _awaited(self) -> tuple[int, bool]:
        """What is waited for now, and whether that is surely another thing than before."""
        reader, turn = self._reader, self._turn
        if self._transport.full:
            return WRITE, False
        if self._state == ENDING:
            return END, False
        if turn is not None:
            if turn.stream is not None:
                return OPEN, False
            # The next piece of a body, or the handler, if it has that body already or is behind with it.
            return (BODY, True) if self._reads_on() and not self._held else (ANSWER, False)
        assert reader is not None, "without a reader there is an answer on its way, or the end"
        # A client that sends steadily may be in the midst of something at the end of each read, but of another thing each time.
        return reader.place, reader.place == IDLE or reader.completed

    def _passed(self, what: int) -> None:
        """A deadline has passed."""
        if what == OPEN or (what == WRITE and not self._transport.stalled()):
            self._deadline.wait_for(what)
        elif what in (WRITE, END):
            self.abort()
        elif what in (IDLE, SILENCE):
            self._end()
        elif what == ANSWER:
            turn, self._turn = self._turn, None
            assert turn is not None
            turn.cancel()
            self.answered(turn.request, error_answer(turn.request, DeadlinePassed("the answer was not ready in time")))
        else:
            self._break(HttpError(408, "the request did not arrive in time"))
            self._go_on()
