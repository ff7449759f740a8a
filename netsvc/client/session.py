"""A WebSocket that reconnects by itself, with JSON-RPC in both directions."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from netsvc.client.addresses import USER_AGENT, Address, Credentials
from netsvc.client.connecting import Way
from netsvc.client.errors import (
    BadAnswer,
    CallFailed,
    ClientError,
    ConnectionLost,
    DeadlinePassed,
    Forbidden,
    NotAuthenticated,
    Overloaded,
    RateLimited,
    Untrusted,
    answered_error,
    lost,
)
from netsvc.client.events import Progress, tell
from netsvc.client.limits import Limits, backoff
from netsvc.client.serving import Line, Serving
from netsvc.client.websocket import Socket

__all__ = ["Returning", "Session", "State"]

_NOTHING = msgspec.UNSET


class _Error(msgspec.Struct):
    code: int = -32603
    message: str = ""
    data: Any = None


class _Message(msgspec.Struct):
    """Whatever a server sends: an answer, a notification, a call."""

    id: msgspec.Raw = msgspec.Raw()
    method: str | None = None
    params: Any = None
    result: Any = _NOTHING
    error: _Error | None = None
    deadline: float | None = None


class State(NamedTuple):
    """The state of a session.

    :ivar name: ``waiting`` is between two attempts; after ``refused`` and ``closed`` there are no more attempts.
    :ivar seconds: until the next attempt, while waiting.
    :ivar reason: why, in words.
    """

    name: Literal["idle", "connecting", "online", "waiting", "refused", "closed"]
    seconds: float = 0.0
    reason: str = ""


class Returning(Protocol):
    """What is set up again on every new connection."""

    def attach(self) -> None:
        """There is a new connection."""

    def end(self, error: ClientError) -> None:
        """There will be no more connections."""


class Session:
    """A connection to ``/ws`` that is made when it is needed and made again when it is lost.

    :param random: gives numbers in [0, 1), for the waits between attempts.
    """

    def __init__(self, clock: IReactorTime, way: Way, address: Address, credentials: Credentials, limits: Limits, random: Callable[[], float]) -> None:
        self._clock = clock
        self._way = way
        self._url = address.url("/ws", websocket=True)
        self._credentials = credentials
        self._headers: Mapping[str, str] = {
            "User-Agent": USER_AGENT,
            **({"Authorization": credentials.authorization} if credentials.authorization is not None else {}),
        }
        self.limits = limits
        self._random = random
        self.state = State("idle")
        self._socket: Socket | None = None
        self._connecting: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._steady: IDelayedCall | None = None
        self._failures = 0
        self._return_after: float | None = None
        self._draining = False
        self._last_id = 0
        self._calls: dict[int, Deferred[Any]] = {}
        self._progress: dict[int, Progress] = {}
        self._waiting: list[Deferred[None]] = []
        self._over: ClientError | None = None
        self._leaving: Deferred[None] = succeed(None)
        self._listeners: dict[str, list[Callable[[Any], None]]] = {}
        self._watchers: list[Callable[[State], None]] = []
        self.serving = Serving(clock)
        """Carries out the server's calls to this client."""
        self.returning: dict[str, Returning] = {}
        """By name: see Returning."""

    # What others use

    @property
    def ready(self) -> bool:
        """Whether there is a connection on which calls are taken: a server that sends us away accepts no more."""
        return self.state.name == "online" and not self._draining

    def call(self, method: str, params: Any, deadline: float, progress: Progress | None = None, key: str | None = None) -> "Deferred[Any]":
        """Call a procedure, once there is a connection.

        :param params: a list, a dictionary, or None for none.
        :param deadline: in seconds.
        :param progress: is called with the members of each ``rpc.progress`` on the way, except `id`.
        :param key: an idempotency key.
        :return: fires with the result. Fails with what the server answered, DeadlinePassed, or ConnectionLost; then it is unknown
            whether the call took effect.
        """
        until = self._clock.seconds() + deadline
        begun = False

        def ask(_: None) -> "Deferred[Any]":
            nonlocal begun
            begun = True
            return self.send(method, params, max(0.001, until - self._clock.seconds()), progress, key)

        def late(_: object, seconds: float) -> Any:
            if begun:
                raise DeadlinePassed(f"{method} was not answered within {round(deadline, 2):g} s")
            raise ConnectionLost(self.state.reason or f"no connection within {round(deadline, 2):g} s")

        asking: Deferred[Any] = self.online().addCallback(ask)
        return asking.addTimeout(deadline, self._clock, onTimeoutCancel=late)

    def online(self) -> "Deferred[None]":
        """Fires when there is a connection; fails when there will be none. Starts making one."""
        if self._over is not None:
            return fail(self._over)
        if self.ready:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        if self.state.name == "idle":
            self._connect()
        return waiter

    def send(self, method: str, params: Any, deadline: float | None, progress: Progress | None = None, key: str | None = None) -> "Deferred[Any]":
        """Call a procedure on the current connection; the deadline is only passed to the server, None means the server's own."""
        if self._socket is None:
            return fail(ConnectionLost("not connected"))
        self._last_id += 1
        identifier = self._last_id
        answer: Deferred[Any] = Deferred(lambda _: self._cancelled(identifier))
        call = {"jsonrpc": "2.0", "id": identifier, "method": method, **_params(params)}
        if deadline is not None:
            call["deadline"] = round(deadline, 3)
        if key is not None:
            call["key"] = key
        try:
            message = msgspec.json.encode(call)
        except UnicodeEncodeError:
            return fail(ValueError("the params are not UTF-8"))
        self._calls[identifier] = answer
        if progress is not None:
            self._progress[identifier] = progress
        self._socket.send(message)
        return answer

    def _send_on(self, socket: Socket, method: str, params: Any, deadline: float | None) -> "Deferred[Any]":
        """Call a procedure on this connection and no other."""
        return self.send(method, params, deadline) if socket is self._socket else fail(ConnectionLost("the connection is over"))

    def _cancelled(self, identifier: int) -> None:
        """The answer is no longer wanted: tell the server, since something may be working on it."""
        if self._calls.pop(identifier, None) is not None:
            self._progress.pop(identifier, None)
            self.notify("rpc.cancel", {"id": identifier})

    def notify(self, method: str, params: Any) -> None:
        """Call a procedure without wanting an answer; nothing happens without a connection."""
        if self._socket is not None:
            self._socket.send(msgspec.json.encode({"jsonrpc": "2.0", "method": method, **_params(params)}))

    def on(self, method: str, listener: Callable[[Any], None]) -> Callable[[], None]:
        """Call `listener` with the params of each notification `method` from now on; returns a function that ends that."""
        listeners = self._listeners.setdefault(method, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener) if listener in listeners else None

    def later(self, action: Callable[[], None], failures: int, error: ClientError) -> IDelayedCall:
        """Do something again after so many failures in a row, not earlier than the error's hint says."""
        hint = error.retry_after if isinstance(error, CallFailed) else None
        return self._clock.callLater(self.wait(failures, hint), action)

    def wait(self, failures: int, hint: float | None) -> float:
        """Seconds until the next attempt: a server's hint, plus some more so that not all clients come at once."""
        return backoff(failures, self.limits, self._random) + min(hint or 0.0, self.limits.return_longest)

    def watch(self, watcher: Callable[[State], None]) -> Callable[[], None]:
        """Call `watcher` with each new state from now on; returns a function that ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def close(self) -> "Deferred[None]":
        """Disconnect for good; fires when the connection is over."""
        if self.state.name != "closed":
            self._finish(State("closed"), ConnectionLost("the client is closed"))
        return self._leaving

    # The life of a connection

    def _connect(self) -> None:
        self._become(State("connecting", 0.0, self.state.reason))
        if self.state.name != "connecting":
            return  # a watcher has closed it
        self._draining = False
        socket = self._socket = Socket(self._clock, self._url, self._headers, self.limits, self)
        self._set_timer(self.limits.connect, self._too_slow)
        connecting = self._connecting = self._way.endpoint().connect(Factory.forProtocol(lambda: socket))

        def unreachable(failure: Failure) -> None:
            if socket is self._socket:
                self.ended(socket, 0, "", lost(failure))

        connecting.addErrback(unreachable)

    def _too_slow(self) -> None:
        socket = self._socket
        assert socket is not None
        self.ended(socket, 0, "", ConnectionLost(f"no connection within {self.limits.connect:g} s"))

    def opened(self, socket: Socket) -> None:
        """See SocketOwner."""
        guest = self._credentials.guest
        if guest is None:
            self._greeted(None)
            return
        login = self.send("auth.login", {"name": guest}, self.limits.connect)

        def refused(failure: Failure) -> None:
            if socket is self._socket and isinstance(failure.value, ClientError):
                self.ended(socket, 0, "", failure.value)

        login.addCallbacks(self._greeted, refused)

    def _greeted(self, _: Any) -> None:
        returning = list(self.returning.values())  # whatever is added from here on finds us online
        self._set_timer(None)
        self._steady = self._clock.callLater(self.limits.steady, self._is_steady)
        self._become(State("online"))
        if not self.ready:
            return  # a watcher has closed it
        waiting, self._waiting = self._waiting, []
        for each in returning:
            each.attach()
        for waiter in waiting:
            waiter.callback(None)

    def _is_steady(self) -> None:
        self._failures = 0

    def received(self, socket: Socket, message: bytes) -> None:
        """See SocketOwner."""
        try:
            known = msgspec.json.decode(message, type=_Message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if known.method is not None:
            self._asked(socket, known.method, known)
            return
        try:
            identifier = int(bytes(known.id))
        except ValueError:
            return
        answer = self._calls.pop(identifier, None)
        self._progress.pop(identifier, None)
        if answer is None:
            return
        if known.error is not None:
            answer.errback(answered_error(known.error.code, known.error.message, known.error.data))
        else:
            answer.callback(None if known.result is _NOTHING else known.result)

    def _asked(self, socket: Socket, method: str, message: _Message) -> None:
        if message.id:
            line = Line(socket.send, partial(self._send_on, socket))
            self.serving.asked(bytes(message.id), method, message.params, message.deadline, line)
            return
        if method == "server.draining" and isinstance(message.params, dict):
            after = message.params.get("return_after")
            self._draining = True
            if isinstance(after, int | float):
                self._return_after = min(max(0.0, after), self.limits.return_longest)
        elif method == "rpc.cancel" and isinstance(message.params, dict):
            self.serving.cancelled(msgspec.json.encode(message.params.get("id")))
        elif method == "rpc.progress" and isinstance(message.params, dict):
            identifier = message.params.pop("id", None)
            progress = self._progress.get(identifier) if isinstance(identifier, int) else None
            if progress is not None:
                tell(progress, method, message.params)
        for listener in list(self._listeners.get(method, ())):
            tell(listener, method, message.params)

    def ended(self, socket: Socket, code: int, reason: str, error: ClientError | None) -> None:
        """See SocketOwner."""
        if socket is not self._socket:
            return
        if error is None:
            error = _closed_by_server(code, reason)
        if _is_final(error):
            self._finish(State("refused", 0.0, str(error)), error)
            return
        self._let_go(error)
        if self._over is not None:
            return  # a listener has closed the session
        wait = self.wait(self._failures, error.retry_after if isinstance(error, CallFailed) else None)
        if self._return_after is not None:
            # The server has spread its clients itself.
            wait, self._return_after = self._return_after, None
        self._failures += 1
        self._set_timer(wait, self._connect)
        self._become(State("waiting", wait, str(error)))

    def _finish(self, state: State, error: ClientError) -> None:
        self._over = error
        self._let_go(error if isinstance(error, ConnectionLost) else ConnectionLost(str(error)))
        waiting, self._waiting = self._waiting, []
        returning, self.returning = self.returning, {}
        self._become(state)
        for waiter in waiting:
            waiter.errback(error)
        for each in returning.values():
            each.end(error)

    def _let_go(self, error: ClientError) -> None:
        """The connection is gone: the calls under way fail."""
        self._draining = True  # code that hears of that and calls again must wait for the next connection
        self._set_timer(None)
        if self._steady is not None and self._steady.active():
            self._steady.cancel()
        socket, self._socket = self._socket, None
        connecting, self._connecting = self._connecting, None
        if socket is not None:
            self._leaving = socket.let_go()
        if connecting is not None:
            connecting.cancel()
        self.serving.stop()
        calls, self._calls, self._progress = self._calls, {}, {}
        for answer in calls.values():
            if not answer.called:  # cancelled by who has heard of another one's end
                answer.errback(ConnectionLost(f"the connection was lost before the answer: {error}"))

    def _set_timer(self, seconds: float | None, action: Callable[[], None] | None = None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None or action is None else self._clock.callLater(seconds, action)

    def _become(self, state: State) -> None:
        self.state = state
        for watcher in list(self._watchers):
            watcher(state)


def _params(params: Any) -> dict[str, Any]:
    return {} if params is None else {"params": params}


def _is_final(error: ClientError) -> bool:
    """Whether it would be useless to reconnect with the same credentials."""
    if isinstance(error, BadAnswer):
        return error.status < 500
    return isinstance(error, Untrusted) or (isinstance(error, CallFailed) and not isinstance(error, RateLimited | Overloaded | DeadlinePassed))


def _closed_by_server(code: int, reason: str) -> ClientError:
    """What a close code of the server means; 44xx codes say not to come back with the same credentials."""
    if code == 4401:
        return NotAuthenticated(reason or "the credentials are no longer valid")
    if 4400 <= code <= 4499:
        return Forbidden(reason or f"the server closed with {code}")
    return ConnectionLost(f"the server closed the connection ({code}{' ' if reason else ''}{reason})")
