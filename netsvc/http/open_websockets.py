"""The register of open WebSockets, and how they are all brought to an end."""

from collections.abc import Callable, Iterator
from itertools import islice, repeat

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from netsvc.http.websocket import WebSocketConnection
from netsvc.wire.websocket import CloseReason

__all__ = ["OpenWebSockets", "ReturnTimes"]

ReturnTimes = Callable[[int], Iterator[float]]
"""Given a number of clients that are sent away together: after how many seconds each is to come back."""


def _at_once(count: int) -> Iterator[float]:
    return repeat(0.0, count)


class OpenWebSockets:
    """Every WebSocket whose transport is not gone yet.

    :param return_times: when clients that are sent away come back.
    :ivar draining: what each newly opened one is told, None while they may stay.
    """

    def __init__(self, return_times: ReturnTimes = _at_once) -> None:
        self.draining: CloseReason | None = None
        self._return_times = return_times
        self._connections: set[WebSocketConnection] = set()
        self._gone: Deferred[None] = Deferred()
        self._cut: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def return_after(self) -> float:
        """After how many seconds a client that is sent away now is to come back."""
        return next(self._return_times(1))

    def add(self, connection: WebSocketConnection) -> None:
        """List a connection."""
        self._connections.add(connection)

    def remove(self, connection: WebSocketConnection) -> None:
        """Its transport is gone."""
        self._connections.discard(connection)
        self._look_whether_gone()

    def drain(self, clock: IReactorTime, code: int = 1001, reason: str = "", per_turn: int = 200, patience: float = 5.0) -> "Deferred[None]":
        """Send every client away, new ones included: each is told when to come back, gets the answers under way, and is closed.

        Call it once.

        :param clock: gives other work its turn between the slices.
        :param per_turn: connections told in one reactor turn.
        :param patience: seconds after which connections are closed even if calls are under way.
        :returns: fires when the last one is gone, at most `close_timeout` after that.
        """
        self.draining = CloseReason(code, reason)
        connections = list(self._connections)
        self._tell(clock, connections, self._return_times(len(connections)), per_turn, patience)
        self._look_whether_gone()
        return self._gone

    def _tell(self, clock: IReactorTime, connections: list[WebSocketConnection], times: Iterator[float], per_turn: int, patience: float) -> None:
        assert self.draining is not None
        for connection, return_after in zip(connections[-per_turn:], times, strict=False):
            connection.send_away(self.draining, return_after)
        del connections[-per_turn:]
        if connections:
            clock.callLater(0, self._tell, clock, connections, times, per_turn, patience)
        elif any(connection.open for connection in self._connections):
            self._cut = clock.callLater(patience, self._close, clock, per_turn)

    def _close(self, clock: IReactorTime, per_turn: int) -> None:
        """Close those that are not closing yet."""
        assert self.draining is not None
        self._cut = None
        left = [connection for connection in self._connections if connection.open]
        for connection in islice(left, per_turn):
            connection.close(*self.draining)
        if len(left) > per_turn:
            self._cut = clock.callLater(0, self._close, clock, per_turn)

    def _look_whether_gone(self) -> None:
        if self.draining is not None and not self._connections and not self._gone.called:
            if self._cut is not None:
                self._cut.cancel()
                self._cut = None
            self._gone.callback(None)
