"""The client for programs on asyncio.

All decisions are made by the same code as for Twisted. It needs no reactor, only something that tells the time and makes
connections. Here that is an asyncio event loop; none of Twisted's reactors is installed or run.
"""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Unpack, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from netsvc.client.events import Event, Gap, Progress
from netsvc.client.feeds import Feed
from netsvc.client.limits import Limits
from netsvc.client.loop import LoopClock, LoopEndpoint
from netsvc.client.methods import Methods
from netsvc.client.remote import Options, Remote, Target
from netsvc.client.serving import Call, Function, Provided
from netsvc.client.session import State

__all__ = ["Client", "LoopGround", "Room", "Rooms"]


class LoopGround:
    """An event loop of asyncio."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.clock = cast(IReactorTime, LoopClock(loop))

    def endpoint(self, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
        """See Ground."""
        return LoopEndpoint(self._loop, host, port, timeout)


class _LoopCall(Call):
    """A call of a provided procedure, for asyncio functions."""

    __slots__ = ()

    async def caught_up(self) -> None:
        """See Call."""
        try:
            await _awaited(self._caught_up())
        except CancelledError:
            # As if the task had been cancelled; it is about to be.
            raise asyncio.CancelledError from None


class Client:
    """A netsvc to call, for coroutines of asyncio.

    ``async with Client(url, token) as rpc: await rpc.math.add(2, 3)``. Every attribute that is not defined here begins a procedure's
    name. The client belongs to the loop that runs when it is first used.

    :param url: see Target; the further parameters are those of Options.
    :param token: to log in with, None to use none.
    """

    def __init__(self, url: str, token: str | None = None, **options: Unpack[Options]) -> None:
        self._target = Target(url, token, **options)
        self._used: tuple[asyncio.AbstractEventLoop, Remote] | None = None

    @property
    def _remote(self) -> Remote:
        loop = asyncio.get_running_loop()
        if self._used is None:
            remote = Remote(self._target, LoopGround(loop))
            remote.session.serving.call_type = _LoopCall
            self._used = loop, remote
        elif self._used[0] is not loop:
            raise RuntimeError("a client belongs to one event loop")
        return self._used[1]

    @property
    def state(self) -> State:
        """The state of the WebSocket."""
        return self._remote.session.state

    @property
    def limits(self) -> Limits:
        """The client's bounds."""
        return self._target.limits

    @property
    def room(self) -> "Rooms":
        """``rpc.room("lobby")`` follows a room; ``await rpc.room.set(…)`` is the procedure ``room.set``."""
        return Rooms(self.call, self._remote)

    async def call(
        self,
        method: str,
        params: Any = None,
        *,
        deadline: float | None = None,
        key: str | None = None,
        idempotent: bool | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Call a procedure; see Remote.call."""
        return await _awaited(self._remote.call(method, params, deadline=deadline, key=key, idempotent=idempotent, progress=progress))

    def using(
        self,
        *,
        deadline: float | None = None,
        key: str | None = None,
        idempotent: bool | None = None,
        progress: Progress | None = None,
    ) -> Methods[Any]:
        """The procedures, to be called with these options: ``await rpc.using(deadline=2).math.add(2, 3)``."""
        return Methods(partial(self.call, deadline=deadline, key=key, idempotent=idempotent, progress=progress), "")

    async def provide(self, name: str, function: Function, schema: Any = None) -> Provided:
        """Provide a procedure to everybody, on the WebSocket, until the client is closed or the returned object withdrawn; see Remote.provide.

        :param function: may be an asyncio coroutine function.
        :raises CallFailed: the server does not allow it.
        """

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            return Deferred.fromFuture(asyncio.ensure_future(result)) if inspect.isawaitable(result) else result

        provided = self._remote.provide(name, run, schema)
        await _awaited(provided.provided())
        return provided

    def on(self, method: str, listener: Callable[[Any], None]) -> Callable[[], None]:
        """Call `listener` with the params of each notification `method`; returns a function that ends that."""
        return self._remote.on(method, listener)

    def watch(self, watcher: Callable[[State], None]) -> Callable[[], None]:
        """Call `watcher` with each new state of the WebSocket; returns a function that ends that."""
        return self._remote.watch(watcher)

    async def open(self) -> None:
        """Connect, if calls go over a WebSocket.

        :raises ClientError: it cannot be done within the default deadline.
        """
        await _awaited(self._remote.start())

    async def close(self) -> None:
        """End the connections; calls under way fail, rooms end."""
        await _awaited(self._remote.close())

    def __getattr__(self, name: str) -> Methods[Any]:
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


class Room:
    """A followed room: an asynchronous iterator of its events; see Feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    @property
    def cursor(self) -> str | None:
        """The cursor of the last item that was read; see Feed."""
        return self._feed.cursor

    @property
    def present(self) -> dict[str, Any]:
        """Who was there at the last join: ``{count, names}``."""
        return self._feed.present

    async def next(self) -> Event | Gap:
        """The next event or gap.

        :raises ClientError: there will be none.
        :raises StopAsyncIteration: the room has been left.
        """
        item: Event | Gap = await _awaited(self._feed.next())
        return item

    async def joined(self) -> None:
        """Wait until the room has been joined, so that what is posted from now on will be read."""
        await _awaited(self._feed.joined())

    def leave(self) -> None:
        """Stop following; what is waiting to be read is dropped."""
        self._feed.leave()

    def __aiter__(self) -> "Room":
        return self

    async def __anext__(self) -> Event | Gap:
        return await self.next()

    async def __aenter__(self) -> "Room":
        await self.joined()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.leave()


class Rooms(Methods[Any]):
    """The procedures ``room.*``, and the rooms themselves."""

    __slots__ = ("_remote",)

    def __init__(self, call: Callable[..., Any], remote: Remote) -> None:
        super().__init__(call, "room")
        self._remote = remote

    def __call__(self, room: str, *, after: str | None = None, history: int = 0) -> Room:
        """Follow a room; see Feed."""
        return Room(self._remote.follow(room, after, history))


async def _awaited(deferred: "Deferred[Any]") -> Any:
    """A Deferred's outcome; cancelling the wait cancels the Deferred."""
    return await deferred.asFuture(asyncio.get_running_loop())
