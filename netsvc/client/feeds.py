"""Following a room: every event once and in order, over as many connections as it takes."""

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from netsvc.client.errors import ClientError, ConnectionLost, DeadlinePassed, Forbidden, Overloaded, RateLimited
from netsvc.client.events import Event, Gap, Position, parse_cursor
from netsvc.client.session import Session

__all__ = ["Feed", "Item"]

Item = Event | Gap

RESUME = 200
"""Events in the answer to a join that continues; the server sends all others after it as they are read."""


class Feed:
    """A room as delivered to one reader; an asynchronous iterator for coroutines that wait for Deferreds.

    It is joined at once, and again on each new connection, after the last event received. When too many events wait to be
    read, the room is left until they have been: nothing is lost, since the server keeps the log.

    :param room: the room's name.
    :param after: a cursor: begin after it. Without one, begin with what comes from now on.
    :param history: without `after`: begin with this many earlier events, up to 200.
    :raises ValueError: the room is already followed; `after` is not a cursor.
    """

    def __init__(self, session: Session, room: str, after: str | None = None, history: int = 0) -> None:
        self.room = room.lower()
        if self.room in session.returning:
            raise ValueError(f"{room} is already followed")
        self._session = session
        self._history = history
        self._position: Position | None = parse_cursor(after) if after is not None else None
        self.cursor = after
        """The cursor of the last item read: a new feed `after` it continues there. None before the first join."""
        self.present: dict[str, Any] = {"count": 0, "names": []}
        """Who was there at the last join: ``{count, names}``."""
        self._items: deque[tuple[Item, str]] = deque()
        self._readers: deque[Deferred[Item]] = deque()
        self._joins: list[Deferred[None]] = []
        self._following = False
        self._held = False
        self._joining = False
        self._failures = 0
        self._error: BaseException | None = None
        self._stops = [session.on(f"chat.{name}", listener) for name, listener in (("event", self._event), ("gap", self._gap), ("left", self._left))]
        session.returning[self.room] = self
        self._retry: IDelayedCall | None = None
        session.online().addErrback(self._no_connection)
        self._join()

    # Reading

    def next(self) -> "Deferred[Item]":
        """The next event or gap; fails with StopAsyncIteration after `leave`, or with why there will be none."""
        if self._items:
            return succeed(self._read())
        if self._error is not None:
            return fail(self._error)
        reader: Deferred[Item] = Deferred(self._readers.remove)
        self._readers.append(reader)
        return reader

    def joined(self) -> "Deferred[None]":
        """Fires when the room has been joined, so that what is posted from now on will be read; fails if it cannot be."""
        if self._error is not None:
            return fail(self._error)
        if self._following:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._joins.remove)
        self._joins.append(waiter)
        return waiter

    def leave(self) -> None:
        """Stop following; what is waiting to be read is dropped."""
        if self._error is None:
            if self._following or self._joining:
                self._session.notify("chat.leave", {"room": self.room})
            self._items.clear()
            self.end(StopAsyncIteration())

    def __aiter__(self) -> "Feed":
        return self

    def __anext__(self) -> "Deferred[Item]":
        return self.next()

    async def __aenter__(self) -> "Feed":
        await self.joined()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.leave()

    # What the session says

    def attach(self) -> None:
        """See Returning."""
        self._following = self._joining = False
        self._failures = 0
        if not self._held:
            self._join()

    def end(self, error: BaseException) -> None:
        """See Returning."""
        if self._error is not None:
            return
        self._error = error
        self._following = False
        if self._session.returning.get(self.room) is self:
            del self._session.returning[self.room]
        for stop in self._stops:
            stop()
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        readers, self._readers = self._readers, deque()
        joins, self._joins = self._joins, []
        while readers:  # who hears of it may cancel others
            readers.popleft().errback(error)
        for waiter in joins:
            waiter.errback(error)

    # Joining

    def _no_connection(self, failure: Failure) -> None:
        # Including what is not an answer to a join at all.
        self.end(failure.value or ConnectionLost())

    def _join(self) -> None:
        if self._error is not None or self._joining or self._following or not self._session.ready:
            return
        self._joining = True
        position = self._position
        limit = self._history if position is None else RESUME
        params = {"room": self.room, "limit": limit, **({"after": position.cursor} if position is not None else {})}
        self._session.call("chat.join", params, self._session.limits.deadline).addCallbacks(
            self._joined, self._not_joined, callbackArgs=(position,)
        ).addErrback(self._no_connection)

    def _joined(self, answer: Any, asked: Position | None) -> None:
        self._joining = False
        if self._error is not None:
            return
        self._failures = 0
        self._following = True
        self.present = answer.get("present") or self.present
        events: list[dict[str, Any]] = answer["events"]
        head = parse_cursor(answer["cursor"])
        first = events[0]["seq"] if events else head.seq + 1
        if asked is None:
            self._position = Position(head.epoch, first - 1)
            if self.cursor is None:
                self.cursor = self._position.cursor
        elif not answer["recovered"]:
            # Of another log, or one that has lost its end, nothing is known: it begins at 1. Otherwise the missing ones are known.
            replaced = head.epoch != asked.epoch or head.seq < asked.seq
            self._position = Position(head.epoch, first - 1)
            self._deliver(Gap(self.room, 1 if replaced else asked.seq + 1, first - 1, replaced))
        for event in events:
            self._take(event)
        joins, self._joins = self._joins, []
        for waiter in joins:
            waiter.callback(None)

    def _not_joined(self, failure: Failure) -> None:
        self._joining = False
        error = failure.value
        if isinstance(error, ConnectionLost) or self._error is not None:
            return  # the session calls attach when there is another connection
        if isinstance(error, RateLimited | Overloaded | DeadlinePassed):
            self._retry = self._session.later(self._join, self._failures, error)
            self._failures += 1
        else:
            self.end(error if isinstance(error, ClientError) else ConnectionLost(str(error)))

    # Notifications

    def _event(self, params: Any) -> None:
        if self._following and params["room"] == self.room:
            self._take(params)

    def _gap(self, params: Any) -> None:
        position = self._position
        if self._following and position is not None and params["room"] == self.room and params["to"] > position.seq:
            self._position = Position(position.epoch, params["to"])
            self._deliver(Gap(self.room, max(params["from"], position.seq + 1), params["to"]))

    def _left(self, params: Any) -> None:
        if params["room"] == self.room:
            self.end(Forbidden("no longer allowed in the room", {"detail": str(params.get("reason") or "")}))

    def _take(self, event: dict[str, Any]) -> None:
        position, seq = self._position, event["seq"]
        if position is None or seq <= position.seq or not self._following:
            return
        if len(self._items) >= self._session.limits.buffer:
            self._hold()
            return
        if seq > position.seq + 1:
            self._position = Position(position.epoch, seq - 1)
            self._deliver(Gap(self.room, position.seq + 1, seq - 1))
        self._position = Position(position.epoch, seq)
        self._deliver(Event(event))

    def _deliver(self, item: Item) -> None:
        assert self._position is not None
        self._items.append((item, self._position.cursor))
        if self._readers:
            self._readers.popleft().callback(self._read())

    def _hold(self) -> None:
        """The reader is slow: let the server keep what comes next."""
        self._following = False
        self._held = True
        self._session.notify("chat.leave", {"room": self.room})

    def _read(self) -> Item:
        item, self.cursor = self._items.popleft()
        if self._held and not self._items:
            self._held = False
            self._join()
        return item
