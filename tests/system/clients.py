"""Clients for the system tests: independent of netsvc's own code, on the `websockets` library and the standard library."""

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

__all__ = ["Answer", "RpcError", "RpcSocket", "TextRoom", "post_rpc", "request", "run_async"]

DEADLINE = 10.0

T = TypeVar("T")


class Answer(NamedTuple):
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def run_async(program: Coroutine[Any, Any, T]) -> T:
    """What ``asyncio.run`` gives, in a thread of its own: in this one the loop of playwright may run."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, program).result()


class RpcError(Exception):
    """A JSON-RPC error answer."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']} {error.get('data', '')}")
        self.code: int = error["code"]
        self.data = error.get("data")


def request(url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One HTTP request on a connection of its own; OSError if the server is not there."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=DEADLINE)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def post_rpc(url: str, method: str, params: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """Call a procedure over ``POST /rpc`` of the server at `url`; RpcError for an error answer."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params if params is not None else {}}
    answer = request(f"{url}/rpc", "POST", json.dumps(call).encode(), {"Content-Type": "application/json", **(headers or {})}).json()
    if "error" in answer:
        raise RpcError(answer["error"])
    return answer["result"]


class _Socket:
    """A WebSocket with a deadline on everything."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.connection: ClientConnection = connect(url, additional_headers=dict(headers or {}), proxy=None, open_timeout=DEADLINE, close_timeout=DEADLINE)

    def close(self) -> None:
        """Close it in order."""
        self.connection.close()

    def closed(self, deadline: float = DEADLINE) -> int:
        """Wait until the server closes, ignoring what it still sends; the close code, 1006 if it just broke."""
        until = time.monotonic() + deadline
        while True:
            try:
                self.connection.recv(timeout=max(0.0, until - time.monotonic()))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd is not None else 1006

    def __enter__(self) -> Any:
        return self

    def __exit__(self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class RpcSocket(_Socket):
    """JSON-RPC over ``/ws``.

    :param url: ``ws://host:port``.
    :ivar notifications: (method, params) that came while something else was waited for.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{url}/ws", headers)
        self.notifications: list[tuple[str, dict[str, Any]]] = []
        self._last = 0

    def send(self, method: str, **params: Any) -> int:
        """Send a call without waiting for its answer; its id."""
        self._last += 1
        self.connection.send(json.dumps({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}))
        return self._last

    def call(self, method: str, **params: Any) -> Any:
        """Call and wait for the answer; RpcError for an error answer."""
        return self.answer(self.send(method, **params))

    def answer(self, id: int, deadline: float = DEADLINE) -> Any:
        """The answer to the call `id`. Answers to other calls on the way are dropped."""
        until = time.monotonic() + deadline
        while True:
            message = self._receive(until)
            if message.get("id") == id and "method" not in message:
                if "error" in message:
                    raise RpcError(message["error"])
                return message["result"]

    def event(self, matches: Callable[[dict[str, Any]], bool] = lambda event: True, deadline: float = DEADLINE) -> dict[str, Any]:
        """The next ``chat.event`` that matches, also of those that came before; earlier ones that do not match are dropped."""
        until = time.monotonic() + deadline
        while True:
            while self.notifications:
                method, params = self.notifications.pop(0)
                if method == "chat.event" and matches(params):
                    return params
            self._receive(until)

    def _receive(self, until: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=max(0.0, until - time.monotonic())))
        if "method" in message and "id" not in message:
            self.notifications.append((message["method"], message["params"]))
        return message


class TextRoom(_Socket):
    """A plain-text room at ``/chat/<room>/``; `parameters` is a query string such as ``name=ann``."""

    def __init__(self, url: str, room: str, parameters: str = "") -> None:
        super().__init__(f"{url}/chat/{room}/{'?' if parameters else ''}{parameters}")

    def say(self, text: str) -> None:
        """Post a line."""
        self.connection.send(text)

    def hear(self, deadline: float = DEADLINE) -> str:
        """The next frame."""
        frame = self.connection.recv(timeout=deadline)
        assert isinstance(frame, str), "a plain-text room sent a binary frame"
        return frame
