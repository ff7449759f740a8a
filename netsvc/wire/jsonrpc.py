"""JSON-RPC 2.0: text to requests, outcomes to bytes (https://www.jsonrpc.org/specification).

A message is a request, a notification, a response or a batch. `parse` tells them apart and says exactly what is wrong with
anything else; ids are echoed byte for byte.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from netsvc import errors

__all__ = [
    "ABSENT",
    "CODES",
    "KEY_LENGTH",
    "Failed",
    "Incoming",
    "Request",
    "answer",
    "code_of",
    "failure",
    "notification",
    "parse",
    "parse_element",
    "parse_incoming",
    "request",
]

ABSENT: Final = msgspec.Raw(b"")
"""The id of a notification, and the params of a call without any."""

_NULL: Final = b"null"

CODES: Final[Mapping[type[BaseException], tuple[int, str]]] = {
    errors.Malformed: (-32700, "parse error"),
    errors.InvalidRequest: (-32600, "invalid request"),
    errors.UnknownProcedure: (-32601, "method not found"),
    errors.InvalidParams: (-32602, "invalid params"),
    errors.NotAuthenticated: (-32001, "not authenticated"),
    errors.Forbidden: (-32002, "forbidden"),
    errors.NotFound: (-32003, "not found"),
    errors.Conflict: (-32004, "conflict"),
    errors.RateLimited: (-32005, "rate limited"),
    errors.TooLarge: (-32006, "too large"),
    errors.DeadlinePassed: (-32007, "deadline passed"),
    errors.Overloaded: (-32008, "overloaded"),
    errors.StoreUnavailable: (-32008, "overloaded"),
    errors.ProviderGone: (-32009, "provider gone"),
}
"""Code and message of each error; a class that is not listed is an internal error, -32603."""

INTERNAL_ERROR: Final = -32603

KEY_LENGTH: Final = 200
"""The most characters of an idempotency key."""


class Request(msgspec.Struct, gc=False):
    """A call or, without an id, a notification.

    :ivar method: the procedure's name.
    :ivar params: the JSON text of the params, ABSENT (empty) if there are none.
    :ivar id: the JSON text of the id, ABSENT (empty) for a notification.
    :ivar deadline: seconds the caller is willing to wait, None if it does not say. An extension, like `key`; other members are ignored.
    :ivar key: an idempotency key, None if there is none.
    """

    jsonrpc: Literal["2.0"]
    method: str
    params: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    deadline: float | None = None
    key: Annotated[str, Meta(min_length=1, max_length=KEY_LENGTH)] | None = None


class Failed(bytes):
    """The bytes of a response that is an error; `code` is its JSON-RPC code, `retry_after` the seconds to wait, if any."""

    code: int = INTERNAL_ERROR
    retry_after: float | None = None


class Incoming(msgspec.Struct, gc=False):
    """A message of a client that also receives calls: a response, or anything else that a client may send.

    :ivar method: empty for a response.
    :ivar params, result, error: their JSON text, ABSENT (empty) if missing.
    :ivar id: the JSON text of the id, ABSENT if missing.
    """

    jsonrpc: Literal["2.0"]
    method: str = ""
    params: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    result: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT

    @property
    def is_response(self) -> bool:
        """It answers a call."""
        return not self.method and self.id is not ABSENT and (self.result is not ABSENT or self.error is not ABSENT)


_decode_request = msgspec.json.Decoder(Request).decode
_decode_incoming = msgspec.json.Decoder(Incoming).decode
_decode_any = msgspec.json.Decoder().decode
_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_ID_STARTS = frozenset(b'"-0123456789n')


def _split_batch(message: str) -> list[msgspec.Raw] | None:
    """The elements of a batch, None if the message is not an array.

    :raises DecodeError, RecursionError: it is not JSON, or nested too deeply; `parse` turns both into an error response.
    """
    return _decode_batch(message) if message.lstrip(" \t\r\n")[:1] == "[" else None


def parse(message: str) -> Request | Failed | list[msgspec.Raw]:
    """One incoming message: a request, the elements of a batch, or the error response to send for anything else.

    :param message: valid Unicode; for bytes that are not UTF-8, make the parse error with `failure`.
    """
    try:
        request = _decode_request(message)
    except (msgspec.DecodeError, RecursionError):
        try:
            batch = _split_batch(message)
        except (msgspec.DecodeError, RecursionError) as error:
            return _parse_error(message, error)
        if batch is None:
            return _why_invalid(message)
        return batch or _invalid("a batch needs at least one call")
    return request if request.id is ABSENT else _checked(request)


def parse_element(element: msgspec.Raw) -> Request | Failed:
    """One element of a batch, parsed the same way; an array inside a batch is an invalid request."""
    try:
        request = _decode_request(element)
    except (msgspec.DecodeError, RecursionError):
        return _why_invalid(bytes(element).decode())
    return request if request.id is ABSENT else _checked(request)


def parse_incoming(message: str) -> Incoming | None:
    """A message that may be a response; None if it is neither that nor a request; `parse` then says what is wrong with it."""
    try:
        return _decode_incoming(message)
    except (msgspec.DecodeError, RecursionError):
        return None


def _checked(request: Request) -> Request | Failed:
    return request if bytes(request.id)[0] in _ID_STARTS else _invalid('"id" must be a string, a number or null')


def _why_invalid(message: str) -> Failed:
    try:
        value = _decode_any(message)
    except (msgspec.DecodeError, RecursionError) as error:
        return _parse_error(message, error)
    if not isinstance(value, dict):
        return _invalid("a request is a JSON object")
    identifier = value.get("id")
    known = _encode(identifier) if isinstance(identifier, str | int | float) and not isinstance(identifier, bool) else _NULL
    if "method" not in value:
        return _invalid('"method" is missing', known)
    if not isinstance(value["method"], str):
        return _invalid('"method" must be a string', known)
    if value.get("jsonrpc") != "2.0":
        return _invalid('"jsonrpc" must be "2.0"', known)
    key = value.get("key")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= KEY_LENGTH):
        return _invalid(f'"key" must be a string of 1 to {KEY_LENGTH} characters', known)
    return _invalid('"deadline" must be a number of seconds', known)


def _invalid(why: str, identifier: bytes = _NULL) -> Failed:
    return failure(errors.InvalidRequest(why), identifier)


def _parse_error(message: str, error: Exception) -> Failed:
    return failure(errors.Malformed.json(message, error))


def answer(identifier: msgspec.Raw, result: bytes) -> bytes:
    """The response to a call: its id and the JSON text of its result."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identifier, result)


def code_of(error: errors.NetsvcError) -> int:
    """The code of an error."""
    return error.code if isinstance(error, errors.ProviderError) else CODES.get(type(error), (INTERNAL_ERROR, ""))[0]


def failure(error: BaseException, identifier: bytes | msgspec.Raw = _NULL, request_id: str = "") -> Failed:
    """The error response for what a call raised.

    Anything but a NetsvcError with an entry in CODES becomes an internal error that reveals only the request id.
    """
    code, message = CODES.get(type(error), (INTERNAL_ERROR, "internal error"))
    data: Any
    if isinstance(error, errors.ProviderError):
        code, message = error.code, error.message
        data = error.content
    elif isinstance(error, errors.NetsvcError):
        data = {"detail": error.detail, **error.data} if error.detail else error.data
    else:
        data = {"request_id": request_id} if request_id else {}
    body = {"code": code, "message": message, "data": data} if data else {"code": code, "message": message}
    failed = Failed(b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (identifier, _encode(body)))
    failed.code = code
    failed.retry_after = error.data.get("retry_after") if isinstance(error, errors.NetsvcError) else None
    return failed


def request(identifier: int, method: str, params: bytes | msgspec.Raw, deadline: float) -> bytes:
    """A call of ours: its method (a plain name), the JSON text of its params (empty: none), and the seconds for which we wait for its answer."""
    given = b',"params":%b' % params if params else b""
    return b'{"jsonrpc":"2.0","id":%d,"method":"%b"%b,"deadline":%.3f}' % (identifier, method.encode(), given, deadline)


def notification(method: str, params: bytes) -> bytes:
    """A notification from its method (a plain name) and the JSON text of its params."""
    return b'{"jsonrpc":"2.0","method":"%b","params":%b}' % (method.encode(), params)
