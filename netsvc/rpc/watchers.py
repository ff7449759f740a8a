"""What wants to know when a sink fills up and drains."""

from netsvc.interfaces import ISink, ISinkWatcher

__all__ = ["Watchers"]


class Watchers:
    """The watchers of one sink. Most sinks have one or none."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: dict[ISinkWatcher, None] = {}

    def add(self, watcher: ISinkWatcher) -> None:
        """Tell it from now on; only once, even if it is added twice."""
        self._all[watcher] = None

    def remove(self, watcher: ISinkWatcher) -> None:
        """Stop telling it; no error if it was not being told."""
        self._all.pop(watcher, None)

    def clear(self) -> None:
        """Stop telling all of them."""
        self._all.clear()

    def full(self) -> None:
        """Bytes are waiting in the sink."""
        for watcher in tuple(self._all):
            if watcher in self._all:
                watcher.sink_full()

    def drained(self, sink: ISink) -> None:
        """Nothing is waiting any more: tell them until one fills it up again."""
        for watcher in tuple(self._all):
            if sink.full:
                return
            if watcher in self._all:
                # To the end of the line, so that a busy room does not keep the others from their turn.
                del self._all[watcher]
                self._all[watcher] = None
                watcher.sink_drained()
