"""Batching of writes that come at about the same time."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Gathering"]

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """Hands items over in batches: what comes while one batch is written goes into the next.

    :param write: writes a batch; its Deferred has the result or an error for each member, or fails for all of them.
    """

    def __init__(self, write: "Callable[[list[T]], Deferred[Sequence[R | Exception]]]") -> None:
        self._write = write
        self._busy = False
        self._waiting: list[tuple[T, Deferred[R]]] = []

    def add(self, member: T) -> "Deferred[R]":
        """Add an item; the Deferred has its result."""
        done: Deferred[R] = Deferred()
        self._waiting.append((member, done))
        if not self._busy:
            self._next()
        return done

    def _next(self) -> None:
        batch, self._waiting = self._waiting, []
        self._busy = bool(batch)
        if batch:
            self._write([member for member, _ in batch]).addBoth(self._written, [done for _, done in batch])

    def _written(self, outcomes: "Sequence[R | Exception] | Failure", waiting: "list[Deferred[R]]") -> None:
        self._next()
        for index, done in enumerate(waiting):
            outcome = outcomes if isinstance(outcomes, Failure) else outcomes[index]
            if isinstance(outcome, (Failure, Exception)):
                done.errback(outcome)
            else:
                done.callback(outcome)
