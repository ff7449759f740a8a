"""A call on its way: where it comes from, what it knows, and where it is heard of while it is under way."""

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
    """The error of a call whose caller does not take what it gives. It names no time to call again, since the call may have had an effect."""
    error = Overloaded("the caller does not keep up with what the call gives; [rpc] progress_backlog sets the bound")
    del error.data["retry_after"]
    return error


class Listener(Protocol):
    """Where a caller hears of its calls while they are under way."""

    def send_progress(self, message: bytes, essential: bool) -> None:
        """Send a notification, the text of one JSON-RPC message.

        :param essential: it must not be dropped.
        :raises Overloaded: more of those wait for the caller than may.
        """

    @property
    def gone(self) -> bool:
        """Nobody hears any more."""

    def caught_up(self) -> "Deferred[None]":
        """Fires when the caller takes more without anything having to wait; fails with ConnectionDone if it is gone."""


class Caller(Protocol):
    """Where calls come from.

    :ivar identity: who calls; None before a login.
    :ivar peer: the address as text.
    :ivar budget: what may still be spent.
    :ivar key: the Idempotency-Key of the request, None without.
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
        """The WebSocket with its notifications, None for HTTP."""

    @property
    def listener(self) -> Listener | None:
        """Where progress goes, None if there is no way for it."""

    def after_answer(self, then: Callable[[], None]) -> None:
        """Call `then` when the answer is written to the connection; never if there is none."""


class Call:
    """One call: who makes it, and by what.

    :ivar identity: who calls; None before a login where guests are not allowed.
    :ivar peer: the caller's address as text.
    :ivar budget: what the caller may still spend.
    :ivar connection: the WebSocket it came by, for notifications and clean-up; None for a call over plain HTTP.
    :ivar key: the Idempotency-Key header, None without.
    :ivar joint: it is one of several calls whose answers come together, when all are done: one of a batch.
    :ivar stored: its answer is stored under a key before it is given.
    """

    __slots__ = ("budget", "connection", "identity", "key", "peer")

    joint = stored = False
    listener: Listener | None = None
    """See Caller: calls that are made within this one are not heard of."""

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
        """Call `then` when the answer to this call is written to its connection; a call over plain HTTP has none, and `then` is not called."""

    @property
    def heard(self) -> bool:
        """Somebody hears of progress."""
        return False

    def remaining(self) -> float:
        """The seconds that the caller still waits."""
        return inf

    def progress(self, data: Any = None, *, done: float | None = None, total: float | None = None) -> None:
        """Send the caller ``rpc.progress``; nothing happens where it could not get it: over plain HTTP unless it asked
        for lines. Not from a blocking procedure.

        :param data: a part of what the call gives, JSON types. It is delivered, in order and before the answer; what has none is dropped for
            a caller that does not keep up.
        :param done: how far the call is; `total`: when it is through.
        :raises Overloaded: the caller does not keep up with the data.
        """
        given = {"data": data, "done": done, "total": total}
        self.report({name: value for name, value in given.items() if value is not None})

    def caught_up(self) -> "Deferred[None]":
        """Await it between the parts of a long result: others have their turn, and it goes on when the caller has taken what was sent.

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
