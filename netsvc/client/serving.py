"""Procedures that a client provides: calls from the server are carried out here."""

import inspect
from asyncio import CancelledError as TaskCancelledError
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any, NamedTuple, get_type_hints

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.client.errors import (
    CallFailed,
    ClientError,
    ConnectionLost,
    DeadlinePassed,
    InternalError,
    InvalidParams,
    NotFound,
    Overloaded,
    RateLimited,
    UnknownProcedure,
)

__all__ = ["Call", "Function", "Line", "Provided", "Serving"]

Function = Callable[..., Any]
"""Called with the params by position or by name, after a Call if its first parameter is annotated so; returns the result, or a Deferred of it."""


class Line(NamedTuple):
    """The connection on which a call came.

    :ivar send: sends a message; does nothing once the connection is gone.
    :ivar call: calls a procedure of the server, by name, with params and a deadline in seconds or None; fails with ConnectionLost once it is gone.
    """

    send: Callable[[bytes], None]
    call: "Callable[[str, Any, float | None], Deferred[Any]]"


class Call:
    """A call of a provided procedure, for a function that annotates its first parameter with this class; it is not a param of the call."""

    __slots__ = ("_identifier", "_line", "_seconds", "_until")

    def __init__(self, identifier: bytes, deadline: float | None, seconds: Callable[[], float], line: Line) -> None:
        self._identifier = identifier
        self._seconds = seconds
        self._line = line
        self._until = inf if deadline is None else seconds() + deadline

    def remaining(self) -> float:
        """The seconds that are left before the work is cancelled."""
        return max(0.0, self._until - self._seconds())

    def progress(self, data: Any = None, *, done: float | None = None, total: float | None = None) -> None:
        """Tell the caller how far the call has got, or send it a part of the result. No effect once the connection is gone.

        :param data: a part: JSON types. It is delivered, in order and before the answer; a call whose caller does not keep up is cancelled, so
            await `caught_up` between the parts of a long result.
        :param done: how far the call has got; `total`: the value at its end.
        """
        members = {name: value for name, value in (("data", data), ("done", done), ("total", total)) if value is not None}
        params = msgspec.json.encode({**members, "id": msgspec.Raw(self._identifier)})
        self._line.send(b'{"jsonrpc":"2.0","method":"rpc.progress","params":%b}' % params)

    def caught_up(self) -> Awaitable[None]:
        """Await it between the parts of a long result: it continues when the caller has received what was sent, so that no more is ever under way.

        With a server that does not support this, it continues at once.

        :return: a Deferred; with netsvc.client.aio a coroutine. Fails with CancelledError, that of Twisted or of asyncio, which ends the function,
            if the result is no longer wanted; with Overloaded or RateLimited if the server has no time for that.
        """
        return self._caught_up()

    def _caught_up(self) -> "Deferred[None]":
        left = self.remaining()
        asking = self._line.call("rpc.progress", {"id": msgspec.Raw(self._identifier)}, None if left == inf else max(0.001, left))
        return asking.addCallbacks(lambda _: None, _not_caught_up)


def _not_caught_up(failure: Failure) -> None:
    """Raise what kept us from waiting for the caller."""
    if failure.check(NotFound, DeadlinePassed, ConnectionLost):
        raise CancelledError
    if not failure.check(UnknownProcedure):  # what a server that does not support it says
        failure.raiseException()


class Serving:
    """Carries out the calls that a server sends to this client, each until its deadline.

    :ivar call_type: what functions that ask for their call get.
    """

    log = Logger()
    call_type: type[Call] = Call

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._under_way: dict[bytes, Deferred[Any]] = {}
        self._functions: dict[str, tuple[Function, bool]] = {}

    def provide(self, name: str, function: Function) -> None:
        """Call a function under a name from now on."""
        self._functions[name] = (function, _takes_call(function))

    def withdraw(self, name: str) -> None:
        """Stop calling it; no error if it is not provided."""
        self._functions.pop(name, None)

    def asked(self, identifier: bytes, method: str, params: Any, deadline: float | None, line: Line) -> None:
        """Carry out a call, and send its answer.

        :param identifier: the JSON of the call's id.
        :param deadline: in seconds.
        :param line: gets the answer.
        """
        function, takes_call = self._functions.get(method, (_unknown, False))
        calls = (self.call_type(identifier, deadline, self._clock.seconds, line),) if takes_call else ()
        outcome = _called(function, calls, params)
        if deadline is not None:
            outcome.addTimeout(max(0.0, deadline), self._clock)
        self._under_way[identifier] = outcome

        def done(result: Any) -> None:
            if self._under_way.get(identifier) is outcome:  # not a call on a later connection, where ids may come again
                del self._under_way[identifier]
            line.send(self._answer(identifier, method, result))

        outcome.addBoth(done)

    def cancelled(self, identifier: bytes) -> None:
        """The answer to this call is no longer wanted."""
        outcome = self._under_way.get(identifier)
        if outcome is not None:
            outcome.cancel()

    def stop(self) -> None:
        """No answer is wanted any more: the connection is gone."""
        under_way, self._under_way = self._under_way, {}
        for outcome in under_way.values():
            outcome.cancel()

    def _answer(self, identifier: bytes, method: str, result: Any) -> bytes:
        try:
            if not isinstance(result, Failure):
                return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identifier, msgspec.json.encode(result))
            if isinstance(result.value, CallFailed):
                return _refusal(identifier, result.value)
        except Exception:  # it, or what its error contains, is not JSON
            result = Failure()
        if result.check(CancelledError, TaskCancelledError, DeferredTimeoutError):
            return _refusal(identifier, DeadlinePassed("deadline passed"))
        self.log.failure("the provided {method} failed", result, method=method)
        return _refusal(identifier, InternalError("internal error"))


def _refusal(identifier: bytes, error: CallFailed) -> bytes:
    """The answer to a failed call."""
    members = {"code": error.code, "message": error.message, **({"data": error.data} if error.data else {})}
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (identifier, msgspec.json.encode(members))


def _unknown(*_: Any, **__: Any) -> None:
    """What is called when nothing is provided under a name."""
    raise CallFailed("method not found", code=-32601)


def _takes_call(function: Function) -> bool:
    """Whether its first parameter is annotated as a Call."""
    parameters = list(inspect.signature(function).parameters)
    annotated = _annotated(function)
    try:
        hints = get_type_hints(annotated)
    except (NameError, TypeError):  # an annotation that cannot be resolved; a callable that is not a function
        hints = getattr(annotated, "__annotations__", {})
    return bool(parameters) and hints.get(parameters[0]) in (Call, "Call")


def _annotated(function: Function) -> Function:
    """What holds the annotations of a callable: a function, or a method of an object."""
    function = inspect.unwrap(function)
    while isinstance(function, partial):
        function = inspect.unwrap(function.func)
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__


def _called(function: Function, calls: "tuple[Call, ...]", params: Any) -> "Deferred[Any]":
    """What a function returns for the params of a call, after the call itself if it takes one; InvalidParams if it does not accept them."""
    positional, kwargs = ((), params) if isinstance(params, dict) else (params or (), {})
    args = (*calls, *positional)
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return fail(InvalidParams("invalid params", {"detail": str(error)}))
    try:
        result = function(*args, **kwargs)
    except (Exception, TaskCancelledError):  # the latter is not an Exception; asking a cancelled task for its result raises it
        return fail()
    if inspect.iscoroutine(result):
        return Deferred.fromCoroutine(result)
    # A Deferred that belongs to somebody else must not be cancelled twice, nor be left with None as its result.
    outcome: Deferred[Any] = Deferred(lambda _: result.cancel() if isinstance(result, Deferred) else None)
    if isinstance(result, Deferred):

        def passed_on(value: Any) -> None:
            # An asyncio task ends some time after it is cancelled.
            if not outcome.called:
                outcome.callback(value)
            elif isinstance(value, Failure) and not value.check(CancelledError, TaskCancelledError):
                Serving.log.failure("a provided procedure failed after its caller had stopped waiting", value)

        result.addBoth(passed_on)
    else:
        outcome.callback(result)
    return outcome


class Provided:
    """A procedure that this client provides, again on each new connection, until `withdraw`.

    :param session: see Session, whose `serving` has its function.
    :param schema: see ``rpc.provide``; None if there is none.
    """

    log = Logger()

    def __init__(self, session: Any, name: str, schema: Any, function: Function) -> None:
        self._session = session
        self._name = name
        self._params = {"name": name, **({"schema": schema} if schema is not None else {})}
        self._key = f"procedure {name}"
        if self._key in session.returning:
            raise ValueError(f"{name} is already provided")
        self._waiting: list[Deferred[None]] = []
        self._over: ClientError | None = None
        self._retry: IDelayedCall | None = None
        self._failures = 0
        session.serving.provide(name, function)
        session.returning[self._key] = self

    def provided(self) -> "Deferred[None]":
        """Fires when the server sends calls; fails if it will not."""
        if self._over is not None:
            return fail(self._over)
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        if self._session.ready:
            self.attach()
        else:
            self._session.online().addErrback(self._not_provided)
        return waiter

    def withdraw(self) -> None:
        """Stop providing it; calls under way are still answered."""
        if self._over is None:
            self._session.notify("rpc.withdraw", {"name": self._name})
            self.end(ConnectionLost(f"{self._name} is no longer provided"))

    def attach(self) -> None:
        """See Returning."""
        call = self._session.send("rpc.provide", self._params, self._session.limits.deadline)
        call.addCallbacks(self._is_provided, self._not_provided)

    def end(self, error: ClientError) -> None:
        """See Returning."""
        if self._over is not None:
            return
        self._over = error
        self._session.returning.pop(self._key, None)
        self._session.serving.withdraw(self._name)
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(error)

    def _is_provided(self, _: Any) -> None:
        self._failures = 0
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _not_provided(self, failure: Failure) -> None:
        error = failure.value
        if self._over is not None:
            return
        if isinstance(error, RateLimited | Overloaded):
            self._retry = self._session.later(self._again, self._failures, error)
            self._failures += 1
        elif isinstance(error, CallFailed):
            if not self._waiting:
                self.log.failure("{name} can no longer be provided", failure, name=self._name)
            self.end(error)
        # Otherwise the connection is gone: the session calls attach when there is another, or end.

    def _again(self) -> None:
        if self._session.ready:
            self.attach()
