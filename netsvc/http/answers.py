"""Turns what a handler returned into the bytes that are sent."""

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from netsvc.core.identity import Identity
from netsvc.errors import NetsvcError
from netsvc.http.bodies import Stream
from netsvc.http.errors import HttpError, error_response
from netsvc.http.messages import BUDGETED, Headers, Request, Response
from netsvc.http.ratelimit import rate_fields
from netsvc.http.requestlog import log_failure
from netsvc.wire.deflate import Agreement, PermessageDeflate
from netsvc.wire.http1 import CLOSE, HEAD_ONLY, HTTP_1_0, UPGRADE
from netsvc.wire.http1_response import NO_BODY, Heads
from netsvc.wire.websocket import BadHandshake, check_handshake

__all__ = ["error_answer", "handle_later", "log_unexpected", "render", "render_stream", "render_switch"]

_CLOSE_FIELD = ((b"Connection", b"close"),)
_KEEP_FIELD = ((b"Connection", b"keep-alive"),)
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nServer: netsvc\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n%b\r\n"
)


def _further(request: Request) -> Headers:
    """The fields that follow from the request.

    Connection (RFC 9112 section 9.3) only where the client would not assume it; the rest of a rate budget if it was charged.
    """
    flags = request.flags
    connection = _CLOSE_FIELD if flags & CLOSE else _KEEP_FIELD if flags & HTTP_1_0 else ()
    return (*rate_fields(request.budget), *connection) if flags & BUDGETED else connection


def render(heads: Heads, request: Request, response: Response) -> tuple[bytes, bytes]:
    """Head and body of any answer. ValueError: it cannot be written (a line break in a field, a body where there is none)."""
    body = response.body
    _check_body(response.status, body)
    head = heads.full(response.status, response.media_type, len(body), (*response.headers, *_further(request)))
    return head, b"" if request.flags & HEAD_ONLY else body


def _check_body(status: int, body: object) -> None:
    if body and status in NO_BODY:
        raise ValueError(f"an answer of status {status} has no body")


def render_stream(heads: Heads, request: Request, stream: Stream) -> bytes:
    """The head of a streamed answer. Settles how its end is marked: by length, by chunks, or by closing the connection, which sets CLOSE in the request.

    ValueError: it cannot be written, as in `render`.
    """
    _check_body(stream.status, True)
    stream.chunked = stream.length is None and not request.flags & HTTP_1_0
    if stream.until_close or (stream.length is None and not stream.chunked):
        request.flags |= CLOSE
    return heads.full(stream.status, stream.media_type, stream.length, (*stream.headers, *_further(request)), stream.chunked)


def render_switch(request: Request, deflate: PermessageDeflate | None) -> tuple[bytes, Agreement | None]:
    """The answer to a valid opening handshake (RFC 6455 section 4.2.2), and what it agrees to. BadHandshake: the handshake is not valid."""
    accept = check_handshake(request.method, request.headers)
    if not request.flags & UPGRADE:
        raise BadHandshake("a WebSocket needs HTTP/1.1", 426)
    fields = [value for name, value in request.headers if name == b"sec-websocket-extensions"]
    agreement = deflate.agree(fields) if deflate is not None and fields else None
    extension = b"" if agreement is None else b"Sec-WebSocket-Extensions: %b\r\n" % agreement.answer
    return _SWITCH % (accept, extension), agreement


def error_answer(request: Request, error: BaseException, failure: Failure | None = None) -> Response:
    """The answer for an error; an unexpected one is logged, and the client gets only the request id."""
    if not isinstance(error, NetsvcError):
        log_failure(request, failure or Failure(error))
        error = HttpError(500, "an internal error; the server's log says more under this request id")
    return error_response(error, request.header(b"accept"), request.id)


def log_unexpected(request: Request, failure: Failure) -> None:
    """Log a failure that comes too late for an answer, unless a client that left caused it."""
    if not failure.check(CancelledError, NetsvcError, ConnectionDone, ConnectionLost, ConnectionAborted):
        log_failure(request, failure)


async def handle_later(request: Request, identity: "Deferred[Identity]") -> Any:
    """Have a request answered once its sender is known."""
    request.identity = await identity
    result: Any = request.route.handler(request)
    return await result if isinstance(result, Awaitable) else result
