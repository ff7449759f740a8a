"""The readers' connections: each used by one thread at a time, and all idle for a moment when the writer asks for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from sqlite3 import Connection
from threading import Condition

__all__ = ["ReaderPool"]


class ReaderPool:
    """Connections to read with.

    :param connections: at least as many as there are threads that read.
    """

    __slots__ = ("_changed", "_idle", "_paused", "_size")

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._idle = list(connections)
        self._size = len(connections)
        self._paused = False
        self._changed = Condition()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One of the connections. Waits while reading is paused."""
        with self._changed:
            while self._paused or not self._idle:
                self._changed.wait()
            connection = self._idle.pop()
        try:
            yield connection
        finally:
            with self._changed:
                self._idle.append(connection)
                self._changed.notify_all()

    @contextmanager
    def paused(self, patience: float) -> Iterator[None]:
        """Within this no read begins; reads under way have been waited for, at most `patience` seconds."""
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: len(self._idle) == self._size, patience)
        try:
            yield
        finally:
            with self._changed:
                self._paused = False
                self._changed.notify_all()
