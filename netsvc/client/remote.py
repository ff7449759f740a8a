"""A server as its client sees it: calls over HTTP or WebSocket, rooms, notifications. Everything is a Deferred, nothing needs a reactor."""

import random
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args
from uuid import uuid4

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime

from netsvc.client.addresses import Address, Credentials, Proxy, proxy_for
from netsvc.client.connecting import Ground, Way, trust_in
from netsvc.client.errors import CallFailed, ClientError, ConnectionLost, DeadlinePassed, Overloaded, ProviderGone, RateLimited, Untrusted
from netsvc.client.events import Progress
from netsvc.client.feeds import Feed
from netsvc.client.http import HttpCalls
from netsvc.client.limits import Limits, backoff
from netsvc.client.serving import Function, Provided
from netsvc.client.session import Session, State

__all__ = ["READING", "Options", "Remote", "Target", "Transport"]

Transport = Literal["http", "websocket"]

READING = (
    "auth.whoami",
    "chat.history",
    "chat.rooms",
    "chat.search",
    "chat.unread",
    "chat.who",
    "room.info",
    "room.members",
    "rpc.discover",
    "server.status",
    "system.*",
)
"""Procedures that change nothing, so they may always be called again."""


class Options(TypedDict, total=False):
    """The keyword arguments of both kinds of clients.

    :param name: a user's name, with `password`; without one, a guest's, on WebSockets.
    :param transport: of calls; by default what the URL says.
    :param ca_file: a PEM file with the certificates to trust instead of the system's.
    :param proxy: ``http://host:port`` of one that supports CONNECT; "" to use none; None to use the environment's.
    :param idempotent: names of procedures that may be called again if no answer came, besides those that only read; ``math.*`` is a pattern.
    :param limits: the client's limits.
    """

    name: str | None
    password: str | None
    transport: Transport | None
    ca_file: str | Path | None
    proxy: str | None
    idempotent: tuple[str, ...]
    limits: Limits


class Target:
    """Which server, and how to speak to it.

    :param url: ``http://…`` or ``https://…``: calls go over HTTP. ``ws://…`` or ``wss://…``: over a WebSocket, which rooms and
        notifications use in any case.
    :param token: to log in with.
    :raises ValueError: one of these is malformed.
    :raises OSError: the `ca_file` cannot be read.
    """

    def __init__(self, url: str, token: str | None = None, **options: Unpack[Options]) -> None:
        self.address = Address.parse(url)
        self.credentials = Credentials(token, options.get("name"), options.get("password"))
        transport = options.get("transport") or ("websocket" if self.address.websocket else "http")
        if transport not in get_args(Transport):
            raise ValueError(f"transport: expected 'http' or 'websocket', not {transport!r}")
        self.websocket = transport == "websocket"
        if self.credentials.guest is not None and not self.websocket:
            raise ValueError("a guest's name can be asked for on a WebSocket only: use ws: or wss:, or transport='websocket'")
        proxy, ca_file = options.get("proxy"), options.get("ca_file")
        self.proxy = proxy_for(self.address) if proxy is None else Proxy.parse(proxy) if proxy else None
        self.trust = None if ca_file is None else trust_in(ca_file)
        if isinstance(idempotent := options.get("idempotent", ()), str):
            raise ValueError(f"idempotent: expected a tuple of names, like ({idempotent!r},)")  # else each letter would be a pattern, and * matches everything
        self.idempotent = (*READING, *idempotent)
        self.limits = options.get("limits") or Limits()


class Remote:
    """A server, and the connections to it.

    :param random: gives numbers in [0, 1), for the waits between attempts.
    """

    def __init__(self, target: Target, ground: Ground, random: Callable[[], float] = random.random) -> None:
        self._clock: IReactorTime = ground.clock
        self._target = target
        self._random = random
        self.limits = limits = target.limits
        way = Way(ground, target.address, target.proxy, target.trust, limits.connect)
        self.session = Session(self._clock, way, target.address, target.credentials, limits, random)
        self._http = HttpCalls(self._clock, way, target.address, target.credentials, limits)
        self._turns = _Turns(limits.in_flight)
        self._closed = False

    def start(self) -> "Deferred[None]":
        """Connect, if calls need a permanent connection; fails if there is none within the default deadline."""
        if not self._target.websocket:
            return succeed(None)

        def late(_: object, seconds: float) -> None:
            raise ConnectionLost(self.session.state.reason or f"no connection within {seconds:g} s")

        return self.session.online().addTimeout(self.limits.deadline, self._clock, onTimeoutCancel=late)

    def close(self) -> "Deferred[None]":
        """End the connections; calls under way fail, rooms end."""
        self._closed = True
        closing: Deferred[None] = gatherResults([self.session.close(), self._http.close()], consumeErrors=True).addCallback(lambda _: None)
        return closing

    def call(
        self,
        method: str,
        params: Any = None,
        *,
        deadline: float | None = None,
        key: str | None = None,
        idempotent: bool | None = None,
        progress: Progress | None = None,
    ) -> "Deferred[Any]":
        """Call a procedure.

        An idempotent call is made again if there is no answer, or one that says to try later, until its deadline passes.

        :param params: a list, a dictionary, or None for none.
        :param deadline: in seconds, for all attempts together; travels with the call.
        :param key: an idempotency key, with which calling again has no further effect (a UUID).
        :param idempotent: the call may be made again, with a key generated here, unless there is `progress`. The default is yes if there is a key,
            or if the procedure is known to be idempotent.
        :param progress: is told how far a long call has got, and is given parts of its result; after the first such part the call is not made again.
            Before that, it is carried out again: no key is generated, since the answer that a server keeps for a key is the result alone, without
            its parts. The same goes for a key that is given here.
        :return: fires with the result; fails with a ClientError. Cancelling it tells the server, on a WebSocket.
        """
        return Deferred.fromCoroutine(self._call(method, params, self.limits.deadline if deadline is None else max(0.0, deadline), key, idempotent, progress))

    def follow(self, room: str, after: str | None = None, history: int = 0) -> Feed:
        """Follow a room, on a WebSocket; see Feed."""
        return Feed(self.session, room, after, history)

    def provide(self, name: str, function: Function, schema: Any = None) -> Provided:
        """Provide a procedure, on the WebSocket.

        :param function: is called with the params by position or by name; gives the result, a Deferred or a coroutine. A CallFailed that it
            raises reaches the caller.
        :param schema: see ``rpc.provide``.
        :raises ValueError: it is already provided.
        """
        return Provided(self.session, name, schema, function)

    def on(self, method: str, listener: Callable[[Any], None]) -> Callable[[], None]:
        """Call `listener` with the params of each notification `method`; returns a function that ends that. Only rooms and calls make it connect."""
        return self.session.on(method, listener)

    def watch(self, watcher: Callable[[State], None]) -> Callable[[], None]:
        """Call `watcher` with each new state of the WebSocket; returns a function that ends that."""
        return self.session.watch(watcher)

    async def _call(self, method: str, params: Any, deadline: float, key: str | None, idempotent: bool | None, progress: Progress | None) -> Any:
        if self._closed:
            raise ConnectionLost("the client is closed")
        until = self._clock.seconds() + deadline
        known = any(fnmatchcase(method, pattern) for pattern in self._target.idempotent)
        again = bool(key is not None or known) if idempotent is None else idempotent
        # What is kept for a key has no parts: a call that wants them must be carried out again.
        if key is None and again and progress is None and not any(fnmatchcase(method, pattern) for pattern in READING):
            key = str(uuid4())
        await self._turn(deadline, method)
        try:
            parts = None if progress is None else _Parts(progress)
            return await self._attempts(self._way_of(method, params, key, parts), until, again, parts)
        finally:
            self._turns.release()

    async def _turn(self, deadline: float, method: str) -> None:
        def late(_: object, seconds: float) -> None:
            raise DeadlinePassed(f"{method} waited {round(seconds, 2):g} s for other calls of this client to be answered")

        await self._turns.acquire().addTimeout(deadline, self._clock, onTimeoutCancel=late)

    async def _attempts(self, attempt: Callable[[float], "Deferred[Any]"], until: float, again: bool, parts: "_Parts | None") -> Any:
        failures = lost = 0
        while True:
            if self._closed:  # while it waited for its turn, or for this attempt
                raise ConnectionLost("the client is closed")
            try:
                return await attempt(max(0.001, until - self._clock.seconds()))
            except (ConnectionLost, RateLimited, Overloaded, ProviderGone) as error:
                failures += 1
                # Being put off had no effect and comes with a hint: only the deadline bounds it.
                lost += not isinstance(error, RateLimited | Overloaded)
                wait = self._wait(error, failures)
                useless = isinstance(error, Untrusted) or self._closed or lost >= self.limits.attempts or (parts is not None and parts.any)
                if not again or useless or wait >= until - self._clock.seconds():
                    raise
            await self._sleep(wait)

    def _wait(self, error: ClientError, failures: int) -> float:
        hint = error.retry_after if isinstance(error, CallFailed) else None
        return backoff(failures - 1, self.limits, self._random) + (hint or 0.0)

    def _way_of(self, method: str, params: Any, key: str | None, progress: Progress | None) -> Callable[[float], "Deferred[Any]"]:
        """How to make one attempt of at most this many seconds."""
        if self._target.websocket:
            return lambda left: self.session.call(method, params, left, progress, key)
        return lambda left: self._http.call(method, params, left, key, progress)

    def _sleep(self, seconds: float) -> "Deferred[None]":
        sleeping: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(seconds, sleeping.callback, None)
        return sleeping


class _Turns:
    """Of calls only so many are under way; the rest wait, in order.

    Unlike with DeferredSemaphore, calls that fail at once do not nest, however many wait: a few hundred would be too deep for Python.
    """

    __slots__ = ("_free", "_giving", "_waiting")

    def __init__(self, most: int) -> None:
        self._free = most
        self._giving = False
        self._waiting: deque[Deferred[None]] = deque()

    def acquire(self) -> "Deferred[None]":
        """Fires when a call may begin; call `release` when it is over. Cancelled before that, it waits no longer."""
        if self._free and not self._waiting:
            self._free -= 1
            return succeed(None)
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        return turn

    def release(self) -> None:
        """Let the next begin."""
        self._free += 1
        if self._giving:
            return
        self._giving = True
        while self._waiting and self._free:
            self._free -= 1
            self._waiting.popleft().callback(None)
        self._giving = False


class _Parts:
    """Passes on progress.

    :ivar any: a part of the result was among it; parts of two results must not mix.
    """

    __slots__ = ("_listener", "any")

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self.any = False

    def __call__(self, members: dict[str, Any]) -> None:
        self.any = self.any or "data" in members
        self._listener(members)
