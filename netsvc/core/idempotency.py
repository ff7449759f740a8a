"""Idempotency keys of calls: the same key gives the same answer, and the call takes effect once.

This is for procedures with effects outside the log. A post keeps its key in the transaction that appends it (netsvc.core.posting).
"""

from collections.abc import Callable
from hashlib import blake2b

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.identity import Identity
from netsvc.core.records import StoredAnswer
from netsvc.errors import Conflict, DeadlinePassed, NetsvcError
from netsvc.interfaces import IStore

__all__ = ["Answers", "digest_of", "scope_of"]


def scope_of(procedure: str, room: str, identity: Identity) -> str:
    """The scope in which a key is unique. All guests share one: a guest who reconnects has another name."""
    return f"{procedure}\0{room}\0{'' if identity.guest else identity.name}"


def digest_of(params: bytes) -> bytes:
    """Identifies the params."""
    return blake2b(params, digest_size=16).digest()


class Answers:
    """Answers by key.

    :param store: keeps them across restarts.
    :param clock: for their age.
    :param keep: how long they are kept, seconds.
    :param longest: how long a call may run, seconds, whether or not anybody waits for it.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, keep: float, longest: float) -> None:
        self._store = store
        self._clock = clock
        self._keep = int(keep * 1000)
        self._longest = longest
        self._under_way: dict[tuple[str, str], tuple[bytes, list[Deferred[bytes]]]] = {}

    def once(self, scope: str, key: str, digest: bytes, run: "Callable[[], Deferred[bytes]]") -> "Deferred[bytes]":
        """The stored answer of a key, or that of `run`, which is then stored; a failure is not.

        A caller that comes while the first call is under way waits for its outcome. Nobody can cancel the call itself: a client that lost
        the connection, or timed out, sends the same key again and gets the answer to that same call.

        :raises Conflict: by way of the Deferred: the key was used with other params.
        :raises StoreUnavailable: by way of the Deferred.
        """
        known = self._under_way.get((scope, key))
        if known is not None and known[0] != digest:
            return fail(_conflict())
        waiters = known[1] if known is not None else []
        waiter: Deferred[bytes] = Deferred(waiters.remove)
        waiters.append(waiter)
        if known is None:
            self._under_way[scope, key] = (digest, waiters)
            outcome = Deferred.fromCoroutine(self._first(scope, key, digest, run))
            outcome.addTimeout(self._longest, self._clock, _too_long)
            outcome.addBoth(self._tell, (scope, key))
        return waiter

    async def _first(self, scope: str, key: str, digest: bytes, run: "Callable[[], Deferred[bytes]]") -> bytes:
        now = int(self._clock.seconds() * 1000)
        stored: StoredAnswer | None = await self._store.recall(scope, key, now)
        if stored is not None:
            if stored.digest != digest:
                raise _conflict()
            return stored.answer
        answer = await run()
        await self._store.remember(scope, key, digest, answer, now + self._keep)
        return answer

    def _tell(self, outcome: "bytes | Failure", key: tuple[str, str]) -> None:
        waiters = self._under_way.pop(key)[1]
        if isinstance(outcome, Failure) and not waiters and not outcome.check(NetsvcError):
            self.log.failure("a call with a key failed after its caller had left: {key}", outcome, key=key)
        while waiters:
            if isinstance(outcome, Failure):
                waiters.pop(0).errback(outcome)
            else:
                waiters.pop(0).callback(outcome)


def _conflict() -> Conflict:
    return Conflict("this idempotency key was used with other params: use a new one for each call")


def _too_long(outcome: "bytes | Failure", seconds: float) -> bytes:
    """The outcome of a call that took too long and was cancelled: DeadlinePassed, unless it has one all the same."""
    if isinstance(outcome, Failure):
        outcome.trap(CancelledError)
        raise DeadlinePassed(f"the call took longer than {seconds:g} s")
    return outcome
