"""The client for programs on Twisted: it returns Deferreds."""

from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

from twisted.internet.defer import Deferred
from twisted.python.reflect import namedAny

from netsvc.client.connecting import Ground, ReactorGround
from netsvc.client.events import Progress
from netsvc.client.feeds import Feed
from netsvc.client.limits import Limits
from netsvc.client.methods import Methods
from netsvc.client.remote import Options, Remote, Target
from netsvc.client.serving import Function, Provided
from netsvc.client.session import State

__all__ = ["Client", "Rooms"]


class Client:
    """A netsvc to call, for coroutines that wait for Deferreds.

    ``async with Client(url, token) as rpc: await rpc.math.add(2, 3)``. Every attribute that is not defined here begins a
    procedure's name. Without ``async with`` connections are made when they are needed; `close` ends them.

    :param url: see Target; the further parameters are those of Options.
    :param token: to log in with, None to use none.
    :param ground: what makes connections and tells the time, by default the reactor.
    """

    def __init__(self, url: str, token: str | None = None, *, ground: Ground | None = None, **options: Unpack[Options]) -> None:
        target = Target(url, token, **options)
        # Looked up by name, since it must not be imported before a program has chosen its reactor.
        self._remote = Remote(target, ground if ground is not None else ReactorGround(namedAny("twisted.internet.reactor")))

    @property
    def state(self) -> State:
        """The state of the WebSocket."""
        return self._remote.session.state

    @property
    def limits(self) -> Limits:
        """The client's bounds."""
        return self._remote.limits

    @property
    def room(self) -> "Rooms":
        """``rpc.room("lobby")`` follows a room; ``rpc.room.set(…)`` is the procedure ``room.set``."""
        return Rooms(self.call, self._remote)

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
        """Call a procedure; see Remote.call."""
        return self._remote.call(method, params, deadline=deadline, key=key, idempotent=idempotent, progress=progress)

    def using(
        self,
        *,
        deadline: float | None = None,
        key: str | None = None,
        idempotent: bool | None = None,
        progress: Progress | None = None,
    ) -> "Methods[Deferred[Any]]":
        """The procedures, to be called with these options: ``rpc.using(deadline=2).math.add(2, 3)``."""
        return Methods(partial(self.call, deadline=deadline, key=key, idempotent=idempotent, progress=progress), "")

    async def provide(self, name: str, function: Function, schema: Any = None) -> Provided:
        """Provide a procedure to everybody, on the WebSocket, until the client is closed or the returned object withdrawn; see Remote.provide.

        :raises CallFailed: the server does not allow it.
        """
        provided = self._remote.provide(name, function, schema)
        await provided.provided()
        return provided

    def on(self, method: str, listener: Callable[[Any], None]) -> Callable[[], None]:
        """Call `listener` with the params of each notification `method`; returns a function that ends that."""
        return self._remote.on(method, listener)

    def watch(self, watcher: Callable[[State], None]) -> Callable[[], None]:
        """Call `watcher` with each new state of the WebSocket; returns a function that ends that."""
        return self._remote.watch(watcher)

    def open(self) -> "Deferred[None]":
        """Connect, if calls go over a WebSocket; fails if it cannot be done within the default deadline."""
        return self._remote.start()

    def close(self) -> "Deferred[None]":
        """End the connections; calls under way fail, rooms end."""
        return self._remote.close()

    def __getattr__(self, name: str) -> "Methods[Deferred[Any]]":
        return getattr(Methods(self.call, ""), name)  # type: ignore[no-any-return]

    async def __aenter__(self) -> "Client":
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


class Rooms(Methods["Deferred[Any]"]):
    """The procedures ``room.*``, and the rooms themselves."""

    __slots__ = ("_remote",)

    def __init__(self, call: Callable[..., "Deferred[Any]"], remote: Remote) -> None:
        super().__init__(call, "room")
        self._remote = remote

    def __call__(self, room: str, *, after: str | None = None, history: int = 0) -> Feed:  # type: ignore[override]  # no procedure is called just "room"
        """Follow a room; see Feed."""
        return self._remote.follow(room, after, history)
