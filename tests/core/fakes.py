"""Stand-ins for what is around the core: a sink that takes as many bytes as it is told, a format that is easy to read back."""

from collections.abc import Sequence

from twisted.internet.task import Clock
from zope.interface import implementer

from netsvc.core.events import Event
from netsvc.interfaces import IFormat, ISink, ISinkWatcher

__all__ = ["FakeSink", "LineFormat", "TurningClock"]


class TurningClock(Clock):
    """A clock whose reactor turns can be told apart: `advance` also runs what the calls it runs put off to the next turn."""

    def turn(self, seconds: float = 0.0) -> None:
        """One reactor turn, `seconds` later: the calls that are due then, and none of those which they make."""
        self.rightNow += seconds
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


@implementer(ISink)
class FakeSink:
    """A connection whose peer reads `window` bytes and then no more until `read` is called.

    :ivar received: what the peer has got.
    :ivar broken: sending fails as on a connection that was reset.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.received = b""
        self.kept: list[tuple[bytes, int]] = []
        self.watchers: list[ISinkWatcher] = []
        self.broken = False
        self.writes = 0

    @property
    def full(self) -> bool:
        """Whether bytes wait."""
        return bool(self.kept)

    def raw_send(self, data: bytes) -> int:
        """Like socket.send."""
        assert not self.full, "raw_send on a full sink"
        self.writes += 1
        if self.broken:
            raise ConnectionResetError
        if self.window is None:
            self.received += data
            return len(data)
        taken = data[: self.window]
        if not taken:
            raise BlockingIOError
        self.window -= len(taken)
        self.received += taken
        return len(taken)

    def write(self, data: bytes) -> None:
        """Send, keep the rest."""
        if not data:
            return
        if self.full:
            self.kept.append((data, 0))
            return
        try:
            sent = self.raw_send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            self.rest(data, sent)

    def rest(self, data: bytes, offset: int) -> None:
        """Become full."""
        self.kept.append((data, offset))
        for watcher in list(self.watchers):
            watcher.sink_full()

    def watch(self, watcher: ISinkWatcher) -> None:
        """One more watcher."""
        self.watchers.append(watcher)

    def unwatch(self, watcher: ISinkWatcher) -> None:
        """One watcher less."""
        if watcher in self.watchers:
            self.watchers.remove(watcher)

    def read(self, count: int | None = None) -> None:
        """The peer reads: `count` further bytes fit (None: all that may come)."""
        was_full = self.full
        self.window = count
        while self.kept:
            data, offset = self.kept.pop(0)
            piece = data[offset:] if self.window is None else data[offset : offset + self.window]
            if self.window is not None:
                self.window -= len(piece)
            self.received += piece
            if offset + len(piece) < len(data):
                self.kept.insert(0, (data, offset + len(piece)))
                return
        if was_full:
            for watcher in list(self.watchers):
                watcher.sink_drained()

    def lines(self) -> list[str]:
        """What the peer has got, whole lines only."""
        return self.received.decode().split("\n")[:-1]


@implementer(IFormat)
class LineFormat:
    """Events as ``seq``, gaps as ``first-last``, presence as ``+joined -left =count``, one a line.

    :ivar encoded: how often an event was encoded.
    """

    def __init__(self, padding: int = 0) -> None:
        self.encoded = 0
        self.padding = padding

    def event(self, event: Event) -> bytes:
        """The seq."""
        self.encoded += 1
        return b"%d%b\n" % (event.seq, b" " * self.padding)

    def gap(self, room: str, first: int, last: int) -> bytes:
        """The range."""
        return b"%d-%d\n" % (first, last)

    def presence(self, room: str, joined: Sequence[str], left: Sequence[str], count: int) -> bytes:
        """All of it."""
        return f"+{','.join(joined)} -{','.join(left)} ={count}\n".encode()

    def typing(self, room: str, name: str) -> bytes:
        """The name and dots."""
        return f"{name}...\n".encode()
