"""When a connection is read from: exactly while its client may ask for more."""

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from netsvc.core.appender import Appender
from netsvc.interfaces import ISinkWatcher

__all__ = ["Bounds", "PacedConnection"]


class Bounds(NamedTuple):
    """What a client may have under way.

    :ivar in_flight: how many calls of one connection.
    :ivar appender: while it is full, connections that post are not read from.
    """

    in_flight: int
    appender: Appender


@implementer(ISinkWatcher)
class PacedConnection:
    """The base of what runs on a connection that stays: a WebSocket, or one of [lines] or [amp].

    It stops reading from a client that does not read its answers, has as many calls under way as it may have, or posts while the store
    is behind. Nothing is refused for that; the client's own sends wait.
    """

    __slots__ = ("_bounds", "_finished", "_in_flight", "_pausing", "_reading", "_transport", "_waits")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._transport: Any = None
        self._in_flight = 0
        self._reading = True
        self._pausing = False
        self._finished: Callable[[], None] | None = None
        self._waits = 0

    def read_no_further(self) -> None:
        """Take no further message until `read_on`, which must be called once for each call of this."""
        self._waits += 1
        self._pace()

    def read_on(self) -> None:
        """Take further messages, unless something else prevents it. One that was already read is delivered from within this call."""
        self._waits -= 1
        self._pace()

    def pause_for(self, seconds: float, clock: IReactorTime) -> None:
        """Take no further message for some time; no effect during such a pause."""
        if not self._pausing:
            self._pausing = True
            self.read_no_further()
            clock.callLater(seconds, self._pause_over)

    def _pause_over(self) -> None:
        self._pausing = False
        self.read_on()

    def finish(self, then: Callable[[], None]) -> None:
        """Take no further message, and call `then` once no call is under way any more, perhaps at once."""
        self.read_no_further()
        if self._in_flight:
            self._finished = then
        else:
            then()

    def sink_full(self) -> None:
        """See ISinkWatcher."""
        self._pace()

    def sink_drained(self) -> None:
        """See ISinkWatcher."""
        self._pace()

    def _began(self) -> None:
        """One more call is under way."""
        self._in_flight += 1
        bounds = self._bounds
        if bounds.appender.full:
            # At most once, since no further message comes before that.
            bounds.appender.when_room(self.read_on)
            self.read_no_further()
        elif self._in_flight >= bounds.in_flight:
            self._pace()

    def _ended(self) -> None:
        """One call less is under way."""
        self._in_flight -= 1
        if not self._reading:
            if self._finished is not None and not self._in_flight:
                self._finished()
            self._pace()

    def _pace(self) -> None:
        transport = self._transport
        if transport is None:
            return
        reading = not self._waits and self._in_flight < self._bounds.in_flight and not transport.full
        if reading != self._reading:
            self._reading = reading
            if reading:
                transport.resume()
            else:
                transport.pause()
