"""A bare ASGI application that adds numbers sent as JSON-RPC, with orjson: what `POST /rpc` is measured against.

No registry, no permission, no rate, no check of types: the least that gives the same answer.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

__all__ = ["app"]


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer a call with the sum of its params."""
    if scope["type"] != "http":
        return
    call = orjson.loads((await receive())["body"])
    body = orjson.dumps({"jsonrpc": "2.0", "id": call["id"], "result": sum(call["params"])})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
