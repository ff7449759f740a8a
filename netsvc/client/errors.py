"""What a call may raise on the client's side.

An error that the server answered with is a CallFailed; the subclasses have the names of netsvc.errors, and their codes. If there is no
answer at all, that is a ConnectionLost. A deadline that passes is a DeadlinePassed, whether or not the server says so.
"""

import os
from collections.abc import Mapping
from typing import Any

from OpenSSL.SSL import Error as SslError
from service_identity.exceptions import VerificationError
from twisted.internet.error import ConnectionClosed
from twisted.python.failure import Failure
from twisted.web._newclient import ParseError  # it has no public name, though it is among the reasons of failures

__all__ = [
    "BadAnswer",
    "CallFailed",
    "ClientError",
    "Conflict",
    "ConnectionLost",
    "DeadlinePassed",
    "Forbidden",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "Malformed",
    "NotAuthenticated",
    "NotFound",
    "Overloaded",
    "ProviderGone",
    "RateLimited",
    "TooLarge",
    "UnknownProcedure",
    "Untrusted",
    "answered_error",
    "lost",
    "refusal",
]


class ClientError(Exception):
    """The root of the tree."""


class ConnectionLost(ClientError):
    """There was no answer: the connection could not be made, or ended first. Whether the call took effect is unknown."""


class Untrusted(ConnectionLost):
    """The server's certificate is not trusted for its name: nothing was sent, and trying again would not help."""


class BadAnswer(ClientError):
    """The answer makes no sense: the server is not a netsvc, or the answer is larger than the client accepts.

    :ivar status: the HTTP status, 0 if there is none.
    """

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


class CallFailed(ClientError):
    """The server answered with an error.

    :ivar code: the JSON-RPC code.
    :ivar message: what its code means, in words.
    :ivar detail: what was wrong, "" if it does not say.
    :ivar data: the error's further members.
    :ivar retry_after: seconds after which to try again, None if it does not say.
    """

    code: int = -32603

    def __init__(self, message: str, data: Mapping[str, Any] | None = None, *, code: int | None = None, retry_after: float | None = None) -> None:
        self.message = message
        self.data = dict(data or {})
        self.detail = str(self.data.get("detail") or "")
        if code is not None:
            self.code = code
        hint = self.data.get("retry_after")
        self.retry_after = float(hint) if isinstance(hint, int | float) and not isinstance(hint, bool) and 0 <= hint < float("inf") else retry_after
        super().__init__(f"{message}: {self.detail}" if self.detail else message)


class Malformed(CallFailed):
    """The server did not understand the syntax of what it got."""

    code = -32700


class InvalidRequest(CallFailed):
    """The request was malformed."""

    code = -32600


class UnknownProcedure(CallFailed):
    """There is no such procedure."""

    code = -32601


class InvalidParams(CallFailed):
    """A parameter is missing, unknown, of the wrong type or out of bounds."""

    code = -32602


class InternalError(CallFailed):
    """The server has a bug; ``data["request_id"]`` finds it in its log."""

    code = -32603


class NotAuthenticated(CallFailed):
    """Credentials are needed, or those given are wrong or have been revoked."""

    code = -32001


class Forbidden(CallFailed):
    """The caller may not do this."""

    code = -32002


class NotFound(CallFailed):
    """No such room, event or file."""

    code = -32003


class Conflict(CallFailed):
    """It conflicts with what already exists."""

    code = -32004


class RateLimited(CallFailed):
    """The caller's budget is spent; the call had no effect."""

    code = -32005


class TooLarge(CallFailed):
    """More bytes, elements or levels than the server allows."""

    code = -32006


class DeadlinePassed(CallFailed):
    """There was no answer in time; the call may or may not have taken effect."""

    code = -32007


class Overloaded(CallFailed):
    """The server has too much to do; the call had no effect."""

    code = -32008


class ProviderGone(CallFailed):
    """The program that served this procedure went away before it answered."""

    code = -32009


_TREE: tuple[type[CallFailed], ...] = (
    Malformed,
    InvalidRequest,
    UnknownProcedure,
    InvalidParams,
    InternalError,
    NotAuthenticated,
    Forbidden,
    NotFound,
    Conflict,
    RateLimited,
    TooLarge,
    DeadlinePassed,
    Overloaded,
    ProviderGone,
)

_BY_CODE = {kind.code: kind for kind in _TREE}

_BY_STATUS = {400: InvalidRequest, 401: NotAuthenticated, 403: Forbidden, 413: TooLarge, 429: RateLimited, 503: Overloaded, 504: DeadlinePassed}
"""The errors of answers that are not JSON-RPC: refusals of HTTP itself, also by a proxy in between."""


def answered_error(code: int, message: str, data: Any, retry_after: float | None = None) -> CallFailed:
    """The error for a JSON-RPC error object; an unknown code becomes a plain CallFailed."""
    return _BY_CODE.get(code, CallFailed)(message, data if isinstance(data, dict) else {}, code=code, retry_after=retry_after)


def refusal(status: int, message: str, retry_after: float | None = None) -> ClientError:
    """The error for an HTTP answer that is not JSON-RPC."""
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind(message or f"HTTP status {status}", retry_after=retry_after)
    return BadAnswer(f"HTTP status {status}{': ' if message else ''}{message}; is this a netsvc server?", status)


def lost(failure: Failure) -> ClientError:
    """The error for a connection, from whatever a transport or an HTTP client reports."""
    error: BaseException | None = failure.value
    # twisted.web wraps what happened.
    while (reasons := getattr(error, "reasons", None)) and isinstance(reasons[0], Failure):
        error = reasons[0].value
    if isinstance(error, ConnectionLost):
        return error
    if isinstance(error, ParseError):
        return BadAnswer("the answer is not HTTP; is this a netsvc server?")
    if isinstance(error, VerificationError):
        return Untrusted("the server's certificate is for another name")
    if isinstance(error, SslError):
        return _tls_failure(error)
    words = " ".join(_words(error).split()).rstrip(".")
    if isinstance(error, ConnectionClosed) and not error.args:
        words = "the connection was closed"
    return ConnectionLost(words or type(error).__name__)


def _words(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.errno:
        # asyncio's own message repeats the address; that of a resolver has negative numbers.
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error)


def _tls_failure(error: SslError) -> ConnectionLost:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = ", ".join(entry[2] for entry in entries if len(entry) > 2)
    if "certificate verify failed" in reasons:
        return Untrusted("the server's certificate is not trusted: it is not signed by a known authority, or not valid now")
    return ConnectionLost(f"TLS: {reasons or 'the handshake failed'}")
