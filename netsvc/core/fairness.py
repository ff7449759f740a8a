"""Whose turn it is when several callers want the same thing."""

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed

__all__ = ["FairQueue", "OneByOne", "Turns"]

R = TypeVar("R")
T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """A queue that takes one item of each owner in turn, so that a heavy caller delays only itself.

    All operations are O(1), except `discard`, which is O(items of that owner).
    """

    __slots__ = ("_items", "_size")

    def __init__(self) -> None:
        self._items: dict[Hashable, deque[T]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, owner: Hashable, item: T) -> None:
        """Append an item for its owner."""
        self._items.setdefault(owner, deque()).append(item)
        self._size += 1

    def pop(self) -> T:
        """Take the first item of the owner whose last turn was longest ago.

        :raises IndexError: nothing waits.
        """
        if not self._items:
            raise IndexError("nothing waits")
        owner = next(iter(self._items))
        items = self._items.pop(owner)
        item = items.popleft()
        if items:
            self._items[owner] = items
        self._size -= 1
        return item

    def discard(self, owner: Hashable, item: T) -> bool:
        """Remove an item; False if it is not waiting."""
        items = self._items.get(owner)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._items[owner]
        self._size -= 1
        return True


class _Turn:
    """Something to be called when its owner has a turn.

    :ivar outcome: fires with its outcome.
    :ivar work: what it returned when it was called, None before.
    """

    __slots__ = ("function", "outcome", "owner", "work")

    def __init__(self, owner: Hashable, function: "Callable[[], Deferred[Any]]") -> None:
        self.owner = owner
        self.function = function
        self.outcome: Deferred[Any] = Deferred()
        self.work: Deferred[Any] | None = None


class Turns:
    """Long work of which only a few may run at once: of those waiting, owners take turns, one piece each.

    How many may wait is limited elsewhere, by each owner's other bounds.

    :param at_once: how many may run at once.
    """

    __slots__ = ("_at_once", "_beginning", "_under_way", "_waiting")

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._under_way = 0
        self._beginning = False
        self._waiting: FairQueue[_Turn] = FairQueue()

    def take(self, owner: Hashable, function: "Callable[[], Deferred[R]]") -> "Deferred[R]":
        """Call a function when it is its owner's turn; the Deferred has its result. If cancelled before that, it is not called."""
        turn = _Turn(owner, function)
        outcome: Deferred[R] = Deferred(partial(self._cancel, turn))
        turn.outcome = outcome
        self._waiting.add(owner, turn)
        self._begin()
        return outcome

    def _cancel(self, turn: _Turn, outcome: "Deferred[Any]") -> None:
        if turn.work is None:
            self._waiting.discard(turn.owner, turn)
        else:
            turn.work.cancel()

    def _begin(self) -> None:
        """Start as many as may run. (Those that finish at once come back here: they must not nest.)"""
        if self._beginning:
            return
        self._beginning = True
        while self._waiting and self._under_way < self._at_once:
            turn = self._waiting.pop()
            self._under_way += 1
            turn.work = maybeDeferred(turn.function)
            turn.work.addBoth(self._done, turn)
        self._beginning = False

    def _done(self, outcome: Any, turn: _Turn) -> None:
        self._under_way -= 1
        self._begin()
        if not turn.outcome.called:  # cancelled, but it continued
            turn.outcome.callback(outcome)


class _Line:
    """Those who want the same key.

    :ivar held: somebody has it.
    :ivar moving: it is being handed on.
    """

    __slots__ = ("held", "moving", "waiting")

    def __init__(self) -> None:
        self.held = True
        self.moving = False
        self.waiting: deque[Deferred[None]] = deque()


class OneByOne:
    """A lock for each key; those who want the same one get it in the order in which they asked. A key that nobody wants takes no memory.

    Unlike with DeferredLock, holders that release it at once do not nest, however many wait: a few hundred would be too deep for Python.
    """

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._lines

    def acquire(self, key: Hashable) -> "Deferred[None]":
        """Fires when nobody else has the key; call `release` then. Cancelled before that, it waits no longer."""
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = _Line()
            return succeed(None)
        turn: Deferred[None] = Deferred(line.waiting.remove)
        line.waiting.append(turn)
        return turn

    def release(self, key: Hashable) -> None:
        """Let the next have it."""
        line = self._lines[key]
        line.held = False
        if line.moving:
            return
        line.moving = True
        while line.waiting and not line.held:
            line.held = True
            line.waiting.popleft().callback(None)
        line.moving = False
        if not line.held:
            del self._lines[key]
