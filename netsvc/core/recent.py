"""A mapping of bounded size."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

__all__ = ["Recent"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping that drops the least recently used entry once it holds more than `most`.

    :param most: entries, 1 or more.
    """

    __slots__ = ("_items", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: K) -> bool:
        return key in self._items

    def get(self, key: K) -> V | None:
        """The value, which is now the most recently used; None if there is none."""
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Set a value, which is now the most recently used."""
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._most:
            self._items.popitem(last=False)

    def items(self) -> Iterable[tuple[K, V]]:
        """All entries, the least recently used first. Does not count as a use."""
        return self._items.items()

    def forget(self, key: K) -> None:
        """Remove a value; no error if there is none."""
        self._items.pop(key, None)

    def clear(self) -> None:
        """Remove all."""
        self._items.clear()
