"""What providers say about their procedures, and about what went wrong with a call."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from netsvc.errors import Conflict, DeadlinePassed, Forbidden, InvalidParams, NetsvcError, NotFound, Overloaded, ProviderError, TooLarge
from netsvc.rpc.json_schema import check_schema
from netsvc.wire.jsonrpc import INTERNAL_ERROR

__all__ = ["ProvidedSchema", "check_provided", "error_of", "no_json"]

_MESSAGE = 200
_DETAIL = 1000
_RETRY = 3600.0
_RESERVED = range(-32768, -31999)
"""The codes that the JSON-RPC specification (section 5.1) reserves for itself and for servers like this one."""

_PASSED_ON: dict[int, type[NetsvcError]] = {
    -32602: InvalidParams,
    -32002: Forbidden,
    -32003: NotFound,
    -32004: Conflict,
    -32006: TooLarge,
    -32007: DeadlinePassed,
    -32008: Overloaded,
}
"""Codes of this server that mean the same when a provider sends them. The others are about the connection or the call as such."""


class ProvidedSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a provider describes a procedure.

    :ivar params: a JSON Schema of type object; its properties are the params, in this order.
    :ivar result: a JSON Schema.
    :ivar idempotent: a call may be made again elsewhere if its provider is lost or slow.
    """

    summary: Annotated[str, Meta(max_length=200)] = ""
    description: str = ""
    params: dict[str, Any] | None = None
    result: dict[str, Any] | bool = True
    idempotent: bool = False


def check_provided(schema: ProvidedSchema, most: int) -> None:
    """Check that a description can be shown to others.

    :param most: how many bytes its JSON may have.
    :raises TooLarge: it has more.
    :raises InvalidParams: something that should be a JSON Schema is not.
    """
    size = len(msgspec.json.encode(schema))
    if size > most:
        raise TooLarge(f"schema: {size} bytes; [rpc] provide_schema allows {most}")
    check_schema(schema.result, "schema.result")
    if schema.params is not None:
        check_schema(schema.params, "schema.params")
        if schema.params.get("type", "object") != "object":
            raise InvalidParams("schema.params: expected a JSON Schema of type object, whose properties are the params", parameter="schema")
        if "" in schema.params.get("properties", {}):
            raise InvalidParams("schema.params: every param needs a name", parameter="schema")


class _Error(msgspec.Struct):
    code: int
    message: str = ""
    data: Any = None


_decode_error = msgspec.json.Decoder(_Error).decode
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def no_json() -> ProviderError:
    """The error for a provider's answer that cannot be passed on."""
    return ProviderError(INTERNAL_ERROR, "internal error", {"detail": "the provider's answer is not valid JSON-RPC"})


def error_of(text: msgspec.Raw) -> NetsvcError:
    """The error that the caller gets for an error of a provider.

    Codes that JSON-RPC leaves to applications are passed on; so are those of this server that a provider may use in its place. With any
    other, a provider could pose as the server: ask for credentials, or claim that nobody has this procedure.
    """
    try:
        error = _decode_error(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return no_json()
    message = " ".join(_CONTROLS.sub(" ", error.message).split())[:_MESSAGE] or "error"
    kind = _PASSED_ON.get(error.code)
    if kind is not None:
        return _ours(kind, message, error.data)
    if error.code in _RESERVED or not -(1 << 31) <= error.code < 1 << 31:
        return ProviderError(INTERNAL_ERROR, "internal error", {"detail": message, "provider_code": error.code})
    return ProviderError(error.code, message, error.data)


def _ours(kind: type[NetsvcError], message: str, data: Any) -> NetsvcError:
    given = dict(data) if isinstance(data, dict) else {} if data is None else {"data": data}
    detail = given.pop("detail", None)
    retry_after = given.pop("retry_after", None)
    found = kind(detail[:_DETAIL] if isinstance(detail, str) else message)
    found.data.update(given)
    if kind is Overloaded and isinstance(retry_after, int | float) and 0 < retry_after <= _RETRY:
        found.data["retry_after"] = retry_after
    return found
