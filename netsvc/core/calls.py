"""A call under way: where it comes from, what it knows, and where its progress is reported."""

from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from netsvc.core.identity import Identity
from netsvc.core.limits import Budget
from netsvc.errors import InvalidRequest, NotAuthenticated, Overloaded

__all__ = ["Call", "Caller", "Listener", "fallen_behind"]


def fallen_behind() -> Overloaded:
    """The error of a call whose caller does not take its output. It has no retry_after, since the call may have had an effect."""
    error = Overloaded("the caller does not keep up with the call's output; [rpc] progress_backlog sets the bound")
    del error.data["retry_after"]
    return error


class Listener(Protocol):
    """Where the progress of a caller's calls is reported."""

    def send_progress(self, message: bytes, essential: bool) -> None:
        """Send a notification, the text of one JSON-RPC message.

        :param essential: it must not be dropped.
        :raises Overloaded: too many essential ones wait for the caller.
        """

    @property
    def gone(self) -> bool:
        """Whether the caller is no longer there."""

    def caught_up(self) -> "Deferred[None]":
        """Fires when the caller can take more without anything having to wait; fails with ConnectionDone if it is gone."""


class Caller(Protocol):
    """Where calls come from.

    :ivar identity: who calls; None before a login.
    :ivar peer: the address as text.
    :ivar budget: what may still be spent.
    :ivar key: the Idempotency-Key of the request, None if it has none.
    """

    peer: str
    key: str | None

    @property
    def identity(self) -> Identity | None:
        """See above."""

    @property
    def budget(self) -> Budget:
        """See above."""

    @property
    def connection(self) -> Any:
        """The connection for notifications, a WebSocket or one of [lines] or [amp]; None for HTTP."""

    @property
    def listener(self) -> Listener | None:
        """Where progress goes, None if it cannot be sent."""

    def after_answer(self, then: Callable[[], None]) -> None:
        """Call `then` once the answer is written to the connection; never if there is no connection."""


class Call:
    """One call: who makes it, and over which connection.

    :ivar identity: who calls; None before a login where guests are not allowed.
    :ivar peer: the caller's address as text.
    :ivar budget: what the caller may still spend.
    :ivar connection: what it came by, a WebSocket or one of [lines] or [amp], for notifications and clean-up; None for plain HTTP.
    :ivar key: the Idempotency-Key header, None if there is none.
    :ivar joint: it is one of several calls whose answers are sent together when all are done: one of a batch.
    :ivar stored: its answer is stored under a key before it is sent.
    """

    __slots__ = ("budget", "connection", "identity", "key", "peer")

    joint = stored = False
    listener: Listener | None = None
    """See Caller; None for calls made within another call: they report no progress."""

    def __init__(self, identity: Identity | None, peer: str, budget: Budget, connection: Any = None, key: str | None = None) -> None:
        self.identity = identity
        self.peer = peer
        self.budget = budget
        self.connection = connection
        self.key = key

    @property
    def caller(self) -> Identity:
        """Who calls.

        :raises NotAuthenticated: nobody has logged in.
        """
        if self.identity is None:
            raise NotAuthenticated("log in first, with auth.login")
        return self.identity

    def after_answer(self, then: Callable[[], None]) -> None:
        """Call `then` once the answer to this call is written to its connection; never for a call over plain HTTP, which has none."""

    @property
    def heard(self) -> bool:
        """Whether progress reaches the caller."""
        return False

    def remaining(self) -> float:
        """How many more seconds the caller will wait."""
        return inf

    def progress(self, data: Any = None, *, done: float | None = None, total: float | None = None) -> None:
        """Send the caller ``rpc.progress``; nothing happens if it cannot get it, as over plain HTTP unless it asked
        for lines. Not from a blocking procedure.

        :param data: a part of the result, JSON types. It is delivered, in order and before the answer; progress without data is dropped for
            a caller that does not keep up.
        :param done: how far the call is; `total`: the value at which it is complete.
        :raises Overloaded: the caller does not keep up with the data.
        """
        given = {"data": data, "done": done, "total": total}
        self.report({name: value for name, value in given.items() if value is not None})

    def caught_up(self) -> "Deferred[None]":
        """Await this between the parts of a long result: other work gets its turn, and the call continues once the caller has taken what was sent.

        :return: fires in a later turn of the reactor; fails with CancelledError, which ends the call, if the caller is gone.
        """
        return succeed(None)

    def run(self, method: str, *params: Any) -> "Deferred[Any]":
        """Call another procedure as the same caller: with its permissions, at its cost, within the time that is left. Not from a blocking procedure.

            await call.run("chat.post", "stock", f"{call.caller.name} took {count} nuts")

        :param params: by position.
        :return: fires with the result, or fails with the NetsvcError that the caller would have got.
        """
        return fail(InvalidRequest("this call was not made through a server"))

    @property
    def clock(self) -> IReactorTime:
        """Time: ``seconds()`` and ``callLater``, in tests a Clock.

        :raises InvalidRequest: the call was not made through a server.
        """
        raise InvalidRequest("this call was not made through a server")

    def report(self, members: dict[str, Any]) -> None:
        """Send the caller ``rpc.progress`` with these members and the id of its call. Errors are those of `progress`."""
