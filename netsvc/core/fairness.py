"""Whose turn it is, where several callers want the same thing."""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """A queue that takes one item of each owner in turn, so that who asks for much waits for himself and not others for him.

    All operations are O(1), save `discard`, which is O(items of that owner).
    """

    __slots__ = ("_items", "_size")

    def __init__(self) -> None:
        self._items: dict[Hashable, deque[T]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, owner: Hashable, item: T) -> None:
        """Append an item to those of its owner."""
        self._items.setdefault(owner, deque()).append(item)
        self._size += 1

    def pop(self) -> T:
        """Take the first item of the owner who has waited longest since his last one.

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
        """Take an item out; False if it does not wait."""
        items = self._items.get(owner)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._items[owner]
        self._size -= 1
        return True
