"""Turns the bytes that a client sends into requests, in order, and takes no more of them than can be handled."""

from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.python.failure import Failure

from netsvc.errors import NetsvcError
from netsvc.http.bodies import RequestBody
from netsvc.http.messages import Request
from netsvc.http.routing import refusal
from netsvc.net.transport import DirectTransport
from netsvc.wire.http1 import CLOSE, BadMessage, RequestReader

if TYPE_CHECKING:  # the factory makes channels, and these make intakes
    from netsvc.http.server import HttpFactory

__all__ = ["Intake", "IntakeOwner"]

# Why nothing is read from the client.
_UNREAD = 1  # something is still unparsed
_BODY = 2  # the handler has not kept up with the body

_EARLY = 1 << 8
"""A flag beside those of netsvc.wire.http1: the handler is called before the body is there."""


class IntakeOwner(Protocol):
    """The channel, as its intake sees it."""

    def take(self, item: Request | NetsvcError) -> None:
        """Answer a request, or refuse what could not become one, when its turn comes."""

    def busy(self) -> bool:
        """Something else has its turn, or the client does not read what it was sent."""


class Intake:
    """The reading half of a channel.

    :ivar reader: the parser; None when no further request is accepted.
    :ivar arriving: the request whose head is complete and whose body is not.
    :ivar unread: what was received but not parsed.
    :ivar ended: the client sends no more.
    :ivar feeding: the parser is at work, further up the stack.
    """

    __slots__ = ("_factory", "_held", "_owner", "_peer", "_secure", "_transport", "arriving", "ended", "feeding", "reader", "unread")

    def __init__(self, owner: IntakeOwner, factory: "HttpFactory", transport: DirectTransport) -> None:
        self._owner: IntakeOwner | None = owner
        self._factory = factory
        self._transport = transport
        self._peer = transport.peer
        self._secure = transport.secure
        self.unread = b""
        self._held = 0
        self.arriving: Request | None = None
        self.ended = False
        self.feeding = False
        self.reader: RequestReader | None = None

    def open(self) -> None:
        """Accept requests from now on."""
        self.reader = RequestReader(self, self._factory.request_limits)

    def close(self) -> None:
        """Accept no further request; what was read but not parsed is dropped."""
        reader, self.reader = self.reader, None
        self.unread = b""
        if reader is not None and not self.feeding:
            reader.stop()

    def leave(self) -> None:
        """The connection is gone, or belongs to another protocol: drop everything."""
        self.close()
        self.arriving = None
        self._owner = None

    def blank(self) -> Request:
        """What stands for a request that could not be read."""
        return Request("-", b"-", [], self._peer, self._secure, self._factory.seconds())

    # Bytes

    def read(self, data: bytes) -> None:
        """Parse; the owner is given what is complete."""
        reader = self.reader
        while reader is not None:
            self.feeding = True
            try:
                rest = reader.feed(data)
            except BadMessage as error:
                rest = b""
                self.break_off(error)
            finally:
                self.feeding = False
            if self.reader is None:
                reader.stop()
            elif rest:
                # It follows a request with Upgrade. Whether it is another request depends on the answer.
                if self._owner is not None and not self._owner.busy():
                    data = rest
                    continue
                self.unread = rest + self.unread
            return

    def keep(self, data: bytes) -> None:
        """Keep bytes for `read_on`, and read no more until then."""
        if self.reader is not None:  # else it is what a refused client keeps sending
            self.unread += data
            self._hold(_UNREAD)

    def keep_end(self) -> None:
        """Leave the end of the client's data for `read_on`, which will meet it again."""
        self.ended = True
        self._hold(_UNREAD)

    def read_on(self) -> bool:
        """Parse what was kept; False if there was nothing, and the transport is read again."""
        data, self.unread = self.unread, b""
        if data:
            self.read(data)
            return True
        self._let_go(_UNREAD)
        return False

    def discard(self) -> None:
        """Keep reading, and discard it."""
        self._let_go(_UNREAD | _BODY)

    def leftover(self) -> bytes:
        """What was received after the last request."""
        data, self.unread = self.unread, b""
        self._let_go(_UNREAD)
        return data

    def _hold(self, why: int) -> None:
        if not self._held:
            self._transport.pause_reading()
        self._held |= why

    def _let_go(self, why: int) -> None:
        if self._held & why:
            self._held &= ~why
            if not self._held:
                self._transport.resume_reading()

    @property
    def held(self) -> bool:
        """Nothing is read from the client at present, for reasons of our own."""
        return self._held != 0

    def break_off(self, error: NetsvcError) -> None:
        """What the client sent, or failed to send, ends the conversation: answer that in its turn, and accept nothing after it."""
        self.close()
        request, self.arriving = self.arriving, None
        if request is not None and request.stream is not None:
            request.flags |= CLOSE
            request.stream.failed(Failure(error))
        elif self._owner is not None and request is not None:
            # Its head is known: the refusal is in the form that it asked for, and the access log says what was refused.
            request.flags |= CLOSE
            request.route = refusal(lambda: error)
            self._owner.take(request)
        elif self._owner is not None:
            self._owner.take(error)

    def answered_early(self) -> None:
        """The request that is arriving is answered: the rest of its body could not be told apart from a following request."""
        self.arriving = None
        self.close()

    # Receiver

    def head_received(self, head: RequestReader) -> int:
        """See Receiver."""
        factory = self._factory
        self.arriving = request = Request(head.method, head.target, head.headers, self._peer, self._secure, factory.seconds(), b"", head.flags)
        factory.route(request, head.host)
        route = request.route
        if route.streaming and self._owner is not None:
            head.streaming = True
            request.flags |= _EARLY
            request.stream = RequestBody(partial(self._hold, _BODY), partial(self._let_go, _BODY))
            self._owner.take(request)
        return factory.max_body if route.body_limit is None else route.body_limit

    def piece_received(self, piece: bytes) -> None:
        """See Receiver."""
        if self.arriving is not None and self.arriving.stream is not None:
            self.arriving.stream.received(piece)

    def request_received(self, body: bytes) -> None:
        """See Receiver."""
        request, self.arriving = self.arriving, None
        if request is None or self._owner is None:
            return  # it is answered already, without its body
        if request.stream is None:
            request.body = body
            self._owner.take(request)
        else:
            request.stream.ended()
