"""What the tests of the stores share: a reactor of nothing but callFromThread, and drafts."""

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.core.records import Draft, Key
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import SqliteStore

__all__ = ["DAY", "DEADLINE", "NOW", "ThreadlessReactor", "draft", "key", "now", "open_store"]

R = TypeVar("R")

NOW = 1_760_000_000_000
"""A time in milliseconds since the Unix epoch, that of every draft unless another is given."""

DAY = 86_400_000

DEADLINE = 10.0
"""Seconds after which a thread counts as lost."""


@implementer(IReactorFromThreads)
class ThreadlessReactor:
    """Runs on the test's thread what other threads ask for, while the test waits."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self.calls = 0

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Keep the call for `turn`."""
        self._calls.put(lambda: callable(*args, **kwargs))

    def turn(self) -> None:
        """Wait for one call and make it."""
        self._calls.get(timeout=DEADLINE)()
        self.calls += 1

    def wait(self, deferred: "Deferred[R]") -> R:
        """The result of a Deferred; raises its error."""
        while not deferred.called or deferred.paused:
            self.turn()
        return now(deferred)


def now(deferred: "Deferred[R]") -> R:
    """The result of a Deferred that has fired; raises its error."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]


def open_store(directory: Path, **settings: Any) -> tuple[ThreadlessReactor, SqliteStore]:
    """A store that has been started, and the reactor to wait for it with. The test stops it."""
    reactor = ThreadlessReactor()
    store = SqliteStore(reactor, directory, StoreSettings(**settings))
    reactor.wait(store.start())
    return reactor, store


def draft(text: str | None = "hello", room: str = "r", at: int = NOW, key: Key | None = None) -> Draft:
    """A message."""
    return Draft(room, "message", "ada", at, text, key=key)


def key(name: str = "k", digest: bytes = b"one", expires: int = NOW + DAY, scope: str = "chat.post\0r\0ada") -> Key:
    """An idempotency key."""
    return Key(scope, name, digest, expires)
