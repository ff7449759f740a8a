"""Idempotency keys of calls: the same key gives the same answer, and the call takes effect once.

This is for procedures whose effect is their own. A post keeps its key in the transaction that appends it (netsvc.core.rooms).
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from netsvc.core.identity import Identity
from netsvc.core.records import StoredAnswer
from netsvc.errors import Conflict
from netsvc.interfaces import IStore

__all__ = ["Answers", "digest_of", "scope_of"]


def scope_of(procedure: str, room: str, identity: Identity) -> str:
    """What a key is unique within. All guests are one scope: a guest who reconnects has another name."""
    return f"{procedure}\0{room}\0{'' if identity.guest else identity.name}"


def digest_of(params: bytes) -> bytes:
    """What tells the same params from others."""
    return blake2b(params, digest_size=16).digest()


class Answers:
    """Answers by key.

    :param store: where they outlive the process.
    :param clock: for their age.
    :param keep: how long they are kept, seconds.
    """

    def __init__(self, store: IStore, clock: IReactorTime, keep: float) -> None:
        self._store = store
        self._clock = clock
        self._keep = int(keep * 1000)
        self._under_way: dict[tuple[str, str], tuple[bytes, list[Deferred[bytes]]]] = {}

    def once(self, scope: str, key: str, digest: bytes, run: "Callable[[], Deferred[bytes]]") -> "Deferred[bytes]":
        """The stored answer of a key, or that of `run`, which is then stored; a failure is not.

        Who comes while the first is under way waits for its outcome.

        :raises Conflict: by way of the Deferred: the key was used with other params.
        :raises StoreUnavailable: likewise.
        """
        known = self._under_way.get((scope, key))
        if known is None:
            self._under_way[scope, key] = known = (digest, [])
            outcome = Deferred.fromCoroutine(self._first(scope, key, digest, run))
            outcome.addBoth(self._tell, (scope, key))
            return outcome
        waiter: Deferred[bytes] = Deferred()
        if known[0] == digest:
            known[1].append(waiter)
        else:
            waiter.errback(_conflict())
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

    def _tell(self, outcome: Any, key: tuple[str, str]) -> Any:
        for waiter in self._under_way.pop(key)[1]:
            if isinstance(outcome, Failure):
                waiter.errback(outcome)
            else:
                waiter.callback(outcome)
        return outcome


def _conflict() -> Conflict:
    return Conflict("this idempotency key was used with other params: use a new one for each call")
