"""Procedures that a client provides: calls of the server are carried out here."""

import inspect
from asyncio import CancelledError as TaskCancelledError
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.client.errors import CallFailed, ClientError, ConnectionLost, DeadlinePassed, InternalError, InvalidParams, Overloaded, RateLimited

__all__ = ["Function", "Provided", "Serving"]

Function = Callable[..., Any]
"""Called with the params by position or by name; gives the result, or a Deferred of it."""

_METHOD_NOT_FOUND = CallFailed("method not found", code=-32601)


class Serving:
    """Carries out the calls that a server sends to this client, each until its deadline."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._under_way: dict[bytes, Deferred[Any]] = {}
        self.functions: dict[str, Function] = {}
        """By the names under which they are called."""

    def asked(self, identifier: bytes, method: str, params: Any, deadline: float | None, send: Callable[[bytes], None]) -> None:
        """Carry out a call, and send its answer.

        :param identifier: the JSON of the call's id.
        :param deadline: in seconds.
        :param send: takes the answer; does nothing once the connection is gone.
        """
        function = self.functions.get(method)
        outcome: Deferred[Any] = fail(_METHOD_NOT_FOUND) if function is None else _called(function, params)
        if deadline is not None:
            outcome.addTimeout(max(0.0, deadline), self._clock)
        self._under_way[identifier] = outcome

        def done(result: Any) -> None:
            self._under_way.pop(identifier, None)
            send(self._answer(identifier, method, result))

        outcome.addBoth(done)

    def cancelled(self, identifier: bytes) -> None:
        """Nobody wants the answer to this call any more."""
        outcome = self._under_way.get(identifier)
        if outcome is not None:
            outcome.cancel()

    def stop(self) -> None:
        """Nobody wants any answer any more: the connection is gone."""
        under_way, self._under_way = self._under_way, {}
        for outcome in under_way.values():
            outcome.cancel()

    def _answer(self, identifier: bytes, method: str, result: Any) -> bytes:
        if not isinstance(result, Failure):
            try:
                return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identifier, msgspec.json.encode(result))
            except Exception:
                result = Failure()
        error = result.value
        if isinstance(error, CancelledError | DeferredTimeoutError):
            error = DeadlinePassed("deadline passed")
        elif not isinstance(error, CallFailed):
            self.log.failure("the provided {method} failed", result, method=method)
            error = InternalError("internal error")
        members = {"code": error.code, "message": error.message, **({"data": error.data} if error.data else {})}
        return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (identifier, msgspec.json.encode(members))


def _called(function: Function, params: Any) -> "Deferred[Any]":
    """What a function gives for the params of a call; InvalidParams if it does not take them."""
    args, kwargs = ([], params) if isinstance(params, dict) else (params or [], {})
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return fail(InvalidParams("invalid params", {"detail": str(error)}))
    try:
        result = function(*args, **kwargs)
    except Exception:
        return fail()
    if inspect.iscoroutine(result):
        return Deferred.fromCoroutine(result)
    # Another's Deferred is not to be cancelled twice, nor to be left with None as its result.
    outcome: Deferred[Any] = Deferred(lambda _: result.cancel() if isinstance(result, Deferred) else None)
    if isinstance(result, Deferred):

        def passed_on(value: Any) -> None:
            # A task of asyncio ends some time after it is cancelled.
            if not outcome.called:
                outcome.callback(value)
            elif isinstance(value, Failure) and not value.check(CancelledError, TaskCancelledError):
                Serving.log.failure("what is provided failed when nobody waited for it any more", value)

        result.addBoth(passed_on)
    else:
        outcome.callback(result)
    return outcome


class Provided:
    """A procedure that this client provides, on each connection anew, until `withdraw`.

    :param session: see Session, whose `serving` has its function.
    :param schema: see ``rpc.provide``; None for none.
    """

    log = Logger()

    def __init__(self, session: Any, name: str, schema: Any, function: Function) -> None:
        self._session = session
        self._name = name
        self._params = {"name": name, **({"schema": schema} if schema is not None else {})}
        self._key = f"procedure {name}"
        if self._key in session.returning:
            raise ValueError(f"{name} is provided already")
        self._waiting: list[Deferred[None]] = []
        self._over: ClientError | None = None
        self._retry: IDelayedCall | None = None
        self._failures = 0
        session.serving.functions[name] = function
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
        """Provide it no longer; calls under way are answered."""
        if self._over is None:
            self._session.notify("rpc.withdraw", {"name": self._name})
            self.end(ConnectionLost(f"{self._name} is not provided any more"))

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
        self._session.serving.functions.pop(self._name, None)
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
        if isinstance(error, RateLimited | Overloaded):
            self._retry = self._session.later(self._again, self._failures, error)
            self._failures += 1
        elif isinstance(error, CallFailed):
            if not self._waiting:
                self.log.failure("{name} cannot be provided any more", failure, name=self._name)
            self.end(error)
        # Else the connection is gone: the session calls attach when there is another, or end.

    def _again(self) -> None:
        if self._session.ready:
            self.attach()
