"""One HTTP/1.1 connection: what is read, whose turn it is, what is written, and how it ends."""

from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.errors import DeadlinePassed, NetsvcError, Overloaded
from netsvc.http.answers import error_answer, handle_later, render, render_stream, render_switch
from netsvc.http.bodies import Stream
from netsvc.http.deadline import ANSWER, BODY, END, HALF, IDLE, OPEN, SILENCE, WRITE, Deadline
from netsvc.http.errors import HttpError
from netsvc.http.intake import Intake
from netsvc.http.messages import BUDGETED, WAITED, Request, Response, Upgrade
from netsvc.http.ratelimit import rate_lines
from netsvc.http.requestlog import log_access
from netsvc.http.turn import Turn
from netsvc.http.websocket import WebSocketConnection
from netsvc.net.buffered_transport import direct
from netsvc.net.transport import DirectTransport
from netsvc.wire.deflate import Agreement
from netsvc.wire.http1 import BETWEEN, CLOSE, EXPECT, HEAD_ONLY
from netsvc.wire.http1_response import CONTINUE
from netsvc.wire.websocket import BadHandshake

if TYPE_CHECKING:  # the factory makes channels
    from netsvc.http.server import HttpFactory

__all__ = ["HttpChannel"]

# Whose turn it is.
READY = 0  # the client's: the next request is answered as soon as it is there
BUSY = 1  # a handler's or a stream's
SWITCHING = 2  # a WebSocket's, as soon as the rest of the current read is known
ENDING = 3  # nobody's: what was written is on its way, then the connection ends

_LARGE = 16 * 1024
"""Bodies from here on are not joined with their head, which would copy them."""

_JOINED = 64
"""Answers to pipelined requests that are joined into one write."""

_CLIENT_LEFT = 499


@implementer(IProtocol, IHalfCloseableProtocol)
class HttpChannel:
    """Reads requests, has them answered one after the other, and keeps to the deadlines.

    While a handler is at work, whatever else the client sends is kept unparsed, at most what one read of the transport brought; then reading
    stops. When the connection breaks, the work for the client is cancelled.
    """

    __slots__ = ("_deadline", "_factory", "_intake", "_last", "_out", "_queue", "_running", "_state", "_switching", "_transport", "_turn")

    def __init__(self, factory: "HttpFactory") -> None:
        self._factory = factory
        self._transport: DirectTransport
        self._intake: Intake
        self._deadline = Deadline(factory.wheel, factory.times, self._passed)
        self._state = READY
        self._turn: Turn | None = None  # while BUSY
        self._switching: tuple[Request, Upgrade, bytes, Agreement | None] | None = None  # while SWITCHING
        self._queue: deque[Request | NetsvcError] | None = None  # what was read and must wait for its turn
        self._out: list[bytes] = []  # answers that are not written yet
        self._running = False
        self._last = factory.draining  # the next answer ends the connection

    # The transport

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """See IProtocol."""
        self._transport = direct(transport)
        self._transport.owner = self
        self._intake = Intake(self, self._factory, self._transport)
        self.connectionMade()

    def connectionMade(self) -> None:  # noqa: N802
        """See IProtocol."""
        self._deadline.wait_for(SILENCE)
        if self._factory.admit(self, self._transport.peer):
            self._intake.open()
        elif self._factory.refuse(self):
            self._refuse(Overloaded("too many connections, in all or from your address: see [limits]", retry_after=self._factory.websockets.return_after()))
        else:
            self.abort()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """See IProtocol."""
        intake = self._intake
        if (self._state or self._queue or self._transport.full) and (intake.unread or not self._reads_body()):
            intake.keep(data)
            return
        intake.read(data)
        if self._switching is not None:
            self._switch(*self._switching)
            return
        out = self._out
        if len(out) == 1:
            self._transport.write(out.pop())
        elif out:
            self._flush()
        reader = intake.reader
        if reader is not None and reader.place == BETWEEN and not self._state and not self._transport.full:
            self._deadline.wait_for(IDLE)
        else:
            self._settle()

    def _reads_body(self) -> bool:
        """Whether what arrives now is the body that the handler at work is reading."""
        return self._turn is not None and self._turn.request is self._intake.arriving

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """See IProtocol. The work for the client is cancelled."""
        factory = self._factory
        unfinished = [item.stream for item in (*(self._queue or ()), self._intake.arriving) if isinstance(item, Request)]
        turn, self._turn = self._turn, None
        self._state = ENDING
        self._queue = None
        self._deadline.cancel()
        self._intake.leave()
        factory.left(self, self._transport.peer)
        if turn is not None and factory.access_log:
            stream = turn.stream
            log_access(turn.request, stream.status if stream else _CLIENT_LEFT, stream.sent if stream else 0, factory.seconds())
        if turn is not None:
            turn.cancel()  # first: what its handler makes of the broken body is not an answer any more
        for body in unfinished:
            if body is not None:
                body.failed(reason)

    def readConnectionLost(self) -> None:  # noqa: N802
        """The client sends no more: it has left, or has only closed its direction after its last request.

        Nothing tells the two apart before the answer is written. So an answer that ends by itself is waited for, for at most
        `half_closed_timeout`; then the client counts as gone. Waiting for something to happen and endless streams end at once.
        """
        if self._owes():
            self._intake.keep_end()
            self._settle()
        else:
            self._transport.loseConnection()

    def _owes(self) -> bool:
        """Whether an answer is in the making, or waits for its turn, that is worth waiting for when the client sends no more."""
        turn = self._turn
        if turn is None:
            return bool(self._queue or self._intake.unread)
        if self._reads_body():
            return False
        return not turn.request.route.waiting if turn.stream is None else turn.stream.ends

    def writeConnectionLost(self) -> None:  # noqa: N802
        """The result of our own `_end`."""

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

    def transport_shed(self) -> None:
        """See TransportOwner. An answer that is under way can only be cut."""
        self.abort()

    # Whose turn it is

    def busy(self) -> bool:
        """See IntakeOwner."""
        return bool(self._state or self._queue or self._transport.full)

    def take(self, item: Request | NetsvcError) -> None:
        """See IntakeOwner."""
        if not (self._state or self._queue or self._transport.full):
            self._act_on(item)
        elif self._state != ENDING:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(item)

    def _act_on(self, item: Request | NetsvcError) -> None:
        if isinstance(item, NetsvcError):
            self._refuse(item)
        else:
            self._handle(item)

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
        """Act on what a handler returned."""
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
            self._send(request, error_answer(request, TypeError(f"a handler gave {result!r}, which is not an answer")))

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
        if self._last:  # perhaps only since its head was sent
            self.drain()

    def _go_on(self) -> None:
        """Continue with what had to wait, until there is something to wait for again."""
        if self._intake.feeding or self._running:
            return
        self._running = True
        while not self._transport.full and (self._state == READY or self._reads_body()):
            if self._queue and self._state == READY:
                self._act_on(self._queue.popleft())
            elif not self._intake.read_on():
                break
        self._running = False
        if self._switching is not None:
            self._switch(*self._switching)
            return
        if self._out:
            self._flush()
        self._settle()

    # What is written

    def _send(self, request: Request, response: Response) -> None:
        """Queue an answer."""
        factory = self._factory
        body = response.body
        try:
            flags = request.flags
            if (flags and flags != BUDGETED) or self._last or response.headers:
                if response.status == 429 and self._held_back(request, response):
                    return
                self._conclude(request)
                head, body = render(factory.heads, request, response)
            else:
                key = (response.status, response.media_type, len(body))
                head = factory.heads.ready.get(key) or factory.heads.plain(*key)
                if flags:
                    head = head[:-2] + rate_lines(request.budget) + b"\r\n"
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

    def _held_back(self, request: Request, response: Response) -> bool:
        """Make a client that ignores refusals wait for its next one, and read nothing from it meanwhile."""
        if request.flags & (BUDGETED | WAITED) != BUDGETED:
            return False
        pause = request.budget.pause
        if pause:
            request.flags |= WAITED
            self._begin(request).wait(self._factory.later(pause, response))
        return bool(pause)

    def _conclude(self, request: Request) -> None:
        """Set CLOSE in a request whose answer ends the connection."""
        if request is self._intake.arriving:
            self._intake.answered_early()
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
        self._intake.close()
        request = self._intake.blank()
        request.flags |= CLOSE
        self._send(request, error_answer(request, error))

    def _stream(self, request: Request, stream: Stream) -> None:
        """Send the head of a stream and have it filled."""
        self._conclude(request)
        try:
            head = render_stream(self._factory.heads, request, stream)
        except ValueError as error:  # a bug of the handler, as in `_send`
            stream.lost()
            self._send(request, error_answer(request, error))
            return
        self._out.append(head)
        self._flush()
        if request.flags & HEAD_ONLY:
            stream.lost()
            self._done(request, stream.status, 0)
        else:
            self._begin(request).pour(stream, self._transport)

    def _upgrade(self, request: Request, upgrade: Upgrade) -> None:
        try:
            head, agreement = render_switch(request, self._factory.deflate)
        except BadHandshake as error:
            self._send(request, error_answer(request, error))
            return
        self._state = SWITCHING
        self._switching = (request, upgrade, head, agreement)

    def _switch(self, request: Request, upgrade: Upgrade, head: bytes, agreement: Agreement | None) -> None:
        """Speak WebSocket from here on; this channel is done."""
        factory = self._factory
        self._out.append(head)
        self._flush()
        self._switching = None
        self._state = ENDING
        self._deadline.cancel()
        leftover = self._intake.leftover()
        self._intake.leave()
        if factory.access_log:
            log_access(request, 101, 0, factory.seconds())
        factory.handed_over(self)
        limits, wheel = factory.websocket_limits, factory.wheel
        WebSocketConnection(self._transport, upgrade.application, limits, wheel, factory.websockets, agreement).begin(leftover)

    # The end

    def _end(self) -> None:
        """Let what was written arrive, then close.

        If the client was cut short, it may still be sending, or have sent more than was read. Closing then would reset the connection, and it might
        never see its answers (RFC 9112 section 9.6): so only our direction is closed, and what arrives is discarded until the client closes its own.
        """
        if self._out:
            self._flush()
        intake = self._intake
        cut_short = intake.reader is None or intake.held
        self._state = ENDING
        self._queue = None
        intake.close()
        if cut_short:
            intake.discard()
            self._transport.lose_write_connection()
        else:
            self._transport.loseConnection()
        self._settle()

    def abort(self) -> None:
        """Close at once."""
        self._state = ENDING
        self._transport.abortConnection()
        self._settle()

    def _leave(self) -> None:
        """Treat the client as gone; `connectionLost`, which follows, cancels the work for it."""
        self._state = ENDING
        if self._turn is not None and self._turn.stream is not None:
            self._transport.abortConnection()  # nobody must mistake a part of it for the whole
        else:
            self._transport.loseConnection()  # what was answered before still arrives
        self._settle()

    def drain(self) -> None:
        """End with the current request, at once if there is none."""
        self._last = True
        if not self._state and (self._deadline.what in (IDLE, SILENCE) or self._only_taking()):
            self._end()

    def _only_taking(self) -> bool:
        """Whether all that remains is for the client to read its last answer."""
        intake = self._intake
        waits = self._queue or intake.unread or intake.held
        return self._transport.full and not waits and intake.reader is not None and intake.reader.place == BETWEEN

    def cut(self) -> None:
        """End the current work now: with an answer, if none has begun and the client reads."""
        if self._turn is None or self._turn.stream is not None or self._transport.full:
            self.abort()
        else:
            self._give_up(Overloaded("the server is stopping", retry_after=self._factory.websockets.return_after()))

    def _give_up(self, error: NetsvcError) -> None:
        """Answer with an error in place of the handler at work."""
        turn, self._turn = self._turn, None
        assert turn is not None
        turn.cancel()
        self.answered(turn.request, error_answer(turn.request, error))

    # Time

    def _settle(self) -> None:
        """Start the deadline of what is waited for now."""
        arriving = self._intake.arriving
        if arriving is not None and arriving.flags & EXPECT and (self._reads_body() or not self.busy()):
            arriving.flags &= ~EXPECT
            self._transport.write(CONTINUE)
        what, anew = self._awaited()
        if anew or what != self._deadline.what:
            self._deadline.wait_for(what)

    def _awaited(self) -> tuple[int, bool]:
        """What is waited for now, and whether it is certainly a different thing than before."""
        reader, turn = self._intake.reader, self._turn
        if self._transport.full:
            return WRITE, False
        if self._state == ENDING:
            return END, False
        if turn is not None:
            if self._intake.ended:
                return HALF, False
            if turn.stream is not None:
                return OPEN, False
            # The next piece of a body; or the handler, if it has the whole body already or has not kept up with it.
            if self._reads_body() and not self._intake.held:
                return BODY, True
            return OPEN if turn.request.route.own_deadline else ANSWER, False
        assert reader is not None, "without a reader there is an answer on its way, or the end"
        # A client that sends steadily may be in the middle of something at the end of each read, but of a different thing each time.
        return reader.place, reader.place == IDLE or reader.completed

    def _passed(self, what: int) -> None:
        """A deadline has passed."""
        if what == OPEN or (what == WRITE and not self._transport.stalled()):
            self._deadline.wait_for(what)
        elif what in (WRITE, END):
            self.abort()
        elif what == HALF:
            self._leave()
        elif what in (IDLE, SILENCE):
            self._end()
        elif what == ANSWER:
            self._give_up(DeadlinePassed("the answer was not ready in time"))
        else:
            self._intake.break_off(HttpError(408, "the request did not arrive in time"))
            self._go_on()
