"""The commands of netsvc's ``[amp]`` listeners, for Twisted's own AMP.

    protocol = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", 8090), amp.AMP())
    answer = await protocol.callRemote(Call, method="math.add", params=[2, 3])
    answer["result"]

A program that provides procedures, or wants notifications, answers these commands itself: ``@Call.responder``, ``@Notify.responder``.
"""

# amp has hardly any types.
# mypy: disable-error-code="no-untyped-call, misc"

import json
from collections.abc import MutableMapping
from typing import Any

from twisted.protocols import amp

__all__ = ["Call", "Json", "Notify", "RpcError"]

_LONGEST = 0xFFFF


class Json(amp.Argument):
    """A JSON value. A box holds 65,535 bytes under one key; a longer one continues under ``key.2``, ``key.3`` and so on.

    What JSON cannot express is refused before it is sent: TypeError, and for NaN and infinities ValueError.
    """

    def fromBox(self, name: bytes, strings: MutableMapping[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:  # noqa: N802 - amp's names
        """See amp.Argument."""
        text = strings.pop(name, None)
        if text is None and not self.optional:
            raise KeyError(name)
        number = 2
        while text is not None and (piece := strings.pop(b"%b.%d" % (name, number), None)) is not None:
            text += piece
            number += 1
        objects[name.decode()] = None if text is None else json.loads(text)

    def toBox(self, name: bytes, strings: MutableMapping[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:  # noqa: N802
        """See amp.Argument."""
        value = objects.get(name.decode())
        if value is None and self.optional:
            return
        text = json.dumps(value, allow_nan=False).encode()
        strings[name] = text[:_LONGEST]
        for number, start in enumerate(range(_LONGEST, len(text), _LONGEST), 2):
            strings[b"%b.%d" % (name, number)] = text[start : start + _LONGEST]


class RpcError(Exception):
    """An error in the answer to a Call. To answer with one, raise it with all three.

    :ivar code: as in JSON-RPC; `message`: a few words; `data`: details, None if there are none.
    """

    def __init__(self, code: int | str, message: str = "", data: Any = None) -> None:
        if isinstance(code, str):  # as received: the description
            error = json.loads(code)
            code, message, data = error["code"], error["message"], error.get("data")
        self.code = code
        self.message = message
        self.data = data
        Exception.__init__(self, code, message, data)

    def __str__(self) -> str:
        """As sent: the description."""
        return json.dumps({"code": self.code, "message": self.message, "data": self.data})


class Call(amp.Command):
    """Call a procedure, in either direction.

    `deadline`: seconds. `key`: an idempotency key. `id`: names the call for rpc.cancel and rpc.progress; netsvc always sends one.
    """

    arguments = [  # noqa: RUF012
        (b"method", amp.Unicode()),
        (b"params", Json(optional=True)),
        (b"deadline", amp.Float(optional=True)),
        (b"key", amp.Unicode(optional=True)),
        (b"id", amp.Unicode(optional=True)),
    ]
    response = [(b"result", Json())]  # noqa: RUF012
    errors = {RpcError: b"RPC"}  # noqa: RUF012


class Notify(amp.Command):
    """A notification, in either direction: it has no answer."""

    arguments = [(b"method", amp.Unicode()), (b"params", Json(optional=True))]  # noqa: RUF012
    response = []  # noqa: RUF012
    requiresAnswer = False  # noqa: N815
