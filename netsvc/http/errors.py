"""How errors look over HTTP: the table of statuses, and the answer as HTML or JSON."""

from html import escape
from http import HTTPStatus
from math import ceil
from typing import Any

from netsvc.errors import (
    Conflict,
    DeadlinePassed,
    Forbidden,
    InvalidParams,
    InvalidRequest,
    Malformed,
    NetsvcError,
    NotAuthenticated,
    NotFound,
    Overloaded,
    ProviderGone,
    RateLimited,
    TooLarge,
    UnknownProcedure,
)
from netsvc.http.messages import HTML, JSON, Headers, Response
from netsvc.http.preferences import BY_NAME, wanted
from netsvc.wire.websocket import BadHandshake

__all__ = ["CHALLENGE", "HttpError", "error_response", "retry_after", "status_of", "status_of_class"]

_STATUS: dict[type[BaseException], int] = {
    Malformed: 400,
    InvalidRequest: 400,
    InvalidParams: 400,
    NotAuthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    UnknownProcedure: 404,
    Conflict: 409,
    TooLarge: 413,
    RateLimited: 429,
    ProviderGone: 502,
    Overloaded: 503,
    DeadlinePassed: 504,
}

CHALLENGE = (b"WWW-Authenticate", b'Bearer realm="netsvc"')
"""Sent with status 401. Only Bearer is offered: for Basic, browsers open their own dialog, even for a script's fetch. Basic is accepted all the same."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{status} {phrase}</title>
<h1>{status} {phrase}</h1>
<p>{detail}</p>{further}
<p><small>Request {request_id}</small></p>
"""


_SIGN_IN = '\n<p><a href="/">Sign in on the chat page</a></p>'


class HttpError(NetsvcError):
    """An error that exists only in HTTP.

    :param status: the status.
    :param headers: fields that go with it.
    """

    def __init__(self, status: int, detail: str = "", headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


def status_of(error: NetsvcError) -> int:
    """The status of an error: its own (``status`` of an HttpError, BadMessage, BadHandshake) or that of its class in the table, else 500."""
    if isinstance(error, HttpError | InvalidRequest):
        own = getattr(error, "status", None)
        if own is not None:
            return int(own)
    return status_of_class(type(error))


def status_of_class(kind: type[BaseException]) -> int:
    """The status in the table for a class of errors, or for the nearest class above it; 500 if there is none."""
    return next((status for each in kind.__mro__ if (status := _STATUS.get(each))), 500)


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """The field that says when to try again, in whole seconds (RFC 9110, section 10.2.3)."""
    return b"Retry-After", b"%d" % max(1, ceil(seconds))


def _wants_page(accept: bytes) -> bool:
    quality, named = wanted(accept, b"text/html")
    return named == BY_NAME and quality > 0 and quality >= wanted(accept, JSON)[0]


def error_response(error: NetsvcError, accept: bytes | None, request_id: str) -> Response:
    """The answer for an error.

    :param accept: the request's Accept; HTML is given only to clients that ask for it by name, and do not prefer JSON.
    :param request_id: shown in the page and in ``X-Request-Id``; it leads to more in the log.
    """
    status = status_of(error)
    headers: list[tuple[bytes, bytes]] = [(b"X-Request-Id", request_id.encode()), (b"Cache-Control", b"no-store")]
    if status == 401:
        headers.append(CHALLENGE)
    wait = error.data.get("retry_after")
    if wait is not None:
        headers.append(retry_after(wait))
    if isinstance(error, HttpError):
        headers += error.headers
    if isinstance(error, BadHandshake):
        headers.append((b"Sec-WebSocket-Version", b"13"))
    phrase = HTTPStatus(status).phrase
    detail = error.detail or phrase
    if accept is not None and _wants_page(accept):
        further = _SIGN_IN if status == 401 else ""
        page = _PAGE.format(status=status, phrase=escape(phrase), detail=escape(detail), further=further, request_id=request_id)
        headers.append((b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"))
        return Response(status, page.encode(), HTML, tuple(headers))
    content: dict[str, Any] = {"status": status, "message": detail, "request_id": request_id}
    if wait is not None:
        content["retry_after"] = wait
    return Response.json({"error": content}, status, tuple(headers))
