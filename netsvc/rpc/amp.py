"""``[amp]``: the same calls, in AMP boxes.

``Call`` carries a call in either direction and ``Notify`` a notification: a procedure's name, and its params as JSON. Inside netsvc every
message is JSON-RPC; this module turns messages into boxes and boxes into messages. docs/protocol.md describes the commands.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec

from netsvc.core.identity import Identity
from netsvc.errors import InvalidRequest, NetsvcError
from netsvc.rpc.connection import RpcService
from netsvc.rpc.streams import StreamRpc
from netsvc.wire.amp import LONGEST_VALUE, Box, box_bytes, joined, pieces
from netsvc.wire.jsonrpc import ABSENT, KEY_LENGTH, Incoming, Request

__all__ = ["AmpConnection", "notify_box"]

RPC_ERROR = b"RPC"
"""The code of all errors; the description is the JSON of the error object."""

UNHANDLED = b"UNHANDLED"
"""AMP's code for an unknown command."""

_OWN_IDS = "#"
"""The prefix of ids that netsvc gives to calls without one; the tag of the box follows it."""


class _Message(msgspec.Struct, gc=False):
    """Any JSON-RPC message that netsvc sends."""

    method: str = ""
    params: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    deadline: float | None = None
    result: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_id = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def notify_box(message: bytes) -> bytes:
    """A notification as the command Notify, which has no answer."""
    said = _decode_message(message)
    return box_bytes([(b"_command", b"Notify"), (b"method", said.method.encode()), *pieces(b"params", bytes(said.params) or b"{}")])


def _error_text(error: bytes) -> bytes:
    """An error object as a description, without its data if that would make it too long."""
    if len(error) <= LONGEST_VALUE:
        return error
    short = msgspec.json.decode(error)
    short.pop("data", None)
    return _encode(short)


class AmpConnection(StreamRpc):
    """An RPC connection whose messages are boxes."""

    __slots__ = ("_tags",)

    framing = staticmethod(notify_box)

    def __init__(self, service: RpcService, identity: Identity | None, peer: str) -> None:
        StreamRpc.__init__(self, service, identity, peer)
        self._tags: dict[str, bytes] = {}
        """The box tags of calls under way whose callers gave an id, by that id."""

    # What goes out

    def frame(self, message: bytes) -> bytes:  # type: ignore[override]  # it needs the tags
        """A message as a box; empty for an answer to a message without an id."""
        said = _decode_message(message)
        if said.method:
            return notify_box(message) if said.id is ABSENT else _call_box(said)
        tag = self._tag_of(said.id)
        if tag is None:
            return b""
        if said.error is ABSENT:
            return box_bytes([(b"_answer", tag), *pieces(b"result", bytes(said.result))])
        return box_bytes([(b"_error", tag), (b"_error_code", RPC_ERROR), (b"_error_description", _error_text(bytes(said.error)))])

    def _tag_of(self, identifier: msgspec.Raw) -> bytes | None:
        try:
            name = _decode_id(identifier)
        except msgspec.DecodeError:
            return None
        return name[1:].encode("latin-1") if name.startswith(_OWN_IDS) else self._tags.pop(name, None)

    # What comes in

    def received(self, message: Any) -> None:
        """A box."""
        box: Box = message
        if b"_command" in box:
            self._commanded(box)
        elif b"_answer" in box or b"_error" in box:
            self.response(_response(box))
        else:
            self.refuse(InvalidRequest("a box needs _command, _answer or _error"))

    def unreadable(self, error: NetsvcError) -> None:
        """AMP has no message for this; the reason is given when the connection is closed."""
        self.refuse(error)

    def _commanded(self, box: Box) -> None:
        tag = box.get(b"_ask")
        try:
            if box[b"_command"] not in (b"Call", b"Notify"):
                self._unhandled(box, tag)
                return
            request = _request(box, tag)
            name = _decode_id(request.id) if tag is not None else ""
            if name in self._tags:
                raise InvalidRequest(f"id: {name!r} belongs to a call that is under way")
        except NetsvcError as error:
            self.refuse(error, _encode(_own_id(tag)) if tag is not None else b"null")
            return
        if tag is not None and not name.startswith(_OWN_IDS):
            self._tags[name] = tag
        self.request(request)

    def _unhandled(self, box: Box, tag: bytes | None) -> None:
        # It costs what any fault does, but AMP has an answer of its own to it.
        refusal = self._service.dispatcher.refuse(InvalidRequest(), self, _encode(_own_id(tag)) if tag is not None else b"null")
        if refusal.retry_after is not None:
            self._send(refusal)
        elif tag is not None and self._transport is not None:
            words = b"Unhandled Command: %r; the commands are Call and Notify" % box[b"_command"][:40]
            self._transport.write(box_bytes([(b"_error", tag), (b"_error_code", UNHANDLED), (b"_error_description", words)]))


def _call_box(said: _Message) -> bytes:
    identifier = bytes(said.id)
    pairs = [(b"_ask", identifier), (b"_command", b"Call"), (b"method", said.method.encode()), (b"id", identifier)]
    if said.deadline is not None:
        pairs.append((b"deadline", b"%.3f" % said.deadline))
    return box_bytes([*pairs, *(pieces(b"params", bytes(said.params)) if said.params else ())])


def _own_id(tag: bytes) -> str:
    return _OWN_IDS + tag.decode("latin-1")


def _text(box: Box, name: bytes) -> str | None:
    """The text of an argument, None if it is missing. InvalidRequest: it is not UTF-8."""
    value = joined(box, name)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name.decode()}: not valid UTF-8") from None


def _argument(box: Box, name: bytes, read: Callable[[str], Any], accept: Callable[[Any], bool], words: str) -> Any:
    """An argument of Call, None if it is missing. InvalidRequest: it is not what `words` say."""
    text = _text(box, name)
    if text is None:
        return None
    try:
        value = read(text)
    except ValueError:
        value = None
    if value is None or not accept(value):
        raise InvalidRequest(f"{name.decode()}: expected {words}")
    return value


def _request(box: Box, tag: bytes | None) -> Request:
    """The call in a box or, without a tag, the notification. InvalidRequest: it is neither."""
    method = _text(box, b"method")
    if method is None:
        raise InvalidRequest("method: missing")
    params = _text(box, b"params") or ""
    deadline = _argument(box, b"deadline", float, isfinite, "a number of seconds")
    key = _argument(box, b"key", str, lambda text: 0 < len(text) <= KEY_LENGTH, f"1 to {KEY_LENGTH} characters")
    name = _argument(box, b"id", str, lambda text: not text.startswith(_OWN_IDS), f"text that does not begin with {_OWN_IDS}")
    identifier = ABSENT
    if tag is not None:
        identifier = msgspec.Raw(_encode(_own_id(tag) if name is None else name))
    return Request("2.0", method, msgspec.Raw(params.encode()) if params else ABSENT, identifier, deadline, key)


def _response(box: Box) -> Incoming:
    """A provider's answer to a call that netsvc gave it."""
    tag = box.get(b"_answer", box.get(b"_error", b""))
    identifier = msgspec.Raw(tag) if tag.isdigit() else msgspec.Raw(b"null")
    if b"_answer" in box:
        return Incoming("2.0", id=identifier, result=msgspec.Raw(joined(box, b"result") or b"null"))
    words = box.get(b"_error_description", b"")
    if box.get(b"_error_code") != RPC_ERROR:
        # An exception that the provider did not expect.
        words = _encode({"code": -32603, "message": words.decode(errors="replace")})
    return Incoming("2.0", id=identifier, error=msgspec.Raw(words or b"{}"))
