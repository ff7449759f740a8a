"""The register of the WebSockets that are open, and how they are all brought to an end."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from netsvc.http.websocket import WebSocketConnection
from netsvc.wire.websocket import CloseReason

__all__ = ["OpenWebSockets"]


class OpenWebSockets:
    """Every WebSocket whose transport is not gone yet.

    :ivar draining: what each is told that opens from now on, None while they may stay.
    """

    def __init__(self) -> None:
        self.draining: CloseReason | None = None
        self._connections: set[WebSocketConnection] = set()
        self._gone: Deferred[None] = Deferred()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: WebSocketConnection) -> None:
        """List a connection."""
        self._connections.add(connection)

    def remove(self, connection: WebSocketConnection) -> None:
        """Its transport is gone."""
        self._connections.discard(connection)
        self._look_whether_gone()

    def drain(self, clock: IReactorTime, code: int = 1001, reason: str = "", per_turn: int = 200) -> "Deferred[None]":
        """Close every connection, also those that open from now on. Call it once.

        :param clock: gives other work its turn between the slices.
        :param per_turn: connections told in one reactor turn.
        :returns: fires when the last one is gone, which is `close_timeout` after it was told at the latest.
        """
        self.draining = CloseReason(code, reason)
        self._tell(clock, list(self._connections), per_turn)
        self._look_whether_gone()
        return self._gone

    def _tell(self, clock: IReactorTime, connections: list[WebSocketConnection], per_turn: int) -> None:
        assert self.draining is not None
        for connection in connections[-per_turn:]:
            connection.close(*self.draining)
        del connections[-per_turn:]
        if connections:
            clock.callLater(0, self._tell, clock, connections, per_turn)

    def _look_whether_gone(self) -> None:
        if self.draining is not None and not self._connections and not self._gone.called:
            self._gone.callback(None)
