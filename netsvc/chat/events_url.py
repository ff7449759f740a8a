"""``/rooms/<room>/events``: a room over plain HTTP, as server-sent events or by long-poll."""

from twisted.internet.interfaces import IReactorTime

from netsvc.chat.event_stream import MEDIA_TYPE, EventStreams, empty_stream
from netsvc.chat.long_poll import LongPolls
from netsvc.chat.open_answers import OpenAnswers
from netsvc.core.history import MOST
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.logins import Logins
from netsvc.core.names import fold_room_name
from netsvc.core.rooms import Rooms
from netsvc.errors import InvalidParams
from netsvc.http.errors import HttpError
from netsvc.http.messages import JSON, Answer, Request, Response
from netsvc.http.preferences import wanted
from netsvc.net.wheel import TimingWheel
from netsvc.wire.http1 import HTTP_1_0

__all__ = ["LONGEST_WAIT", "EventsUrl", "preferred"]

LIMIT = 50
"""Events in one answer, unless the client says otherwise."""

LONGEST_WAIT = 60.0
"""The longest that a client may ask to wait, in seconds."""

COST = 2.0
"""What a request costs from a rate budget, the same as chat.history."""


class EventsUrl:
    """The handler of ``GET /rooms/{room}/events``.

    :param heartbeat: seconds between two comments in an event stream.
    :param longest_wait: the longest that a long-poll waits, whatever it asks for, in seconds: less than the server waits for an answer.
    :ivar open: the open answers; drain it when the daemon stops.
    """

    def __init__(self, rooms: Rooms, logins: Logins, budgets: Budgets, clock: IReactorTime, heartbeat: float, longest_wait: float) -> None:
        self._rooms = rooms
        self._budgets = budgets
        self._longest_wait = longest_wait
        self.open = OpenAnswers(clock, budgets.return_times)
        self._streams = EventStreams(rooms, logins, self.open, TimingWheel(clock), heartbeat)
        self._polls = LongPolls(rooms, logins, self.open, clock)

    async def __call__(self, request: Request) -> Answer:
        """Query: ``after`` (a cursor), ``limit``, and ``wait`` in seconds for JSON; for an event stream ``Last-Event-ID`` wins over ``after``.

        :raises HttpError: 406: the client accepts neither JSON nor an event stream.
        :raises InvalidParams: a bad room name, cursor or number.
        :raises NotFound: the room has no event, and the client did not ask to wait for one.
        :raises RateLimited: the caller's budget is spent.
        :raises Overloaded: too many clients at once.
        """
        identity = request.identity
        assert isinstance(identity, Identity)
        budget = self._budgets.of(identity, request.peer)
        request.charged(budget)
        room = fold_room_name(request.variables["room"])
        media_type = preferred(request.header(b"accept"))
        limit = _limit(request)
        budget.charge(COST)
        if media_type == MEDIA_TYPE:
            if request.method == "HEAD":
                return empty_stream()
            after = _last_seen(request)
            budget.admit()
            count = limit if limit is not None else LIMIT if after is not None else 0
            return await self._streams.follow(identity, room, after, count, chunked=not request.flags & HTTP_1_0)
        after, wait = request.parameter("after"), _wait(request)
        if limit is None:
            limit = LIMIT
        if wait and request.method != "HEAD":
            history = await self._polls.history(identity, room, after, limit, min(wait, self._longest_wait))
        else:
            history = await self._rooms.history(identity, room, None, after, limit)
        return Response.json(history, headers=((b"Cache-Control", b"no-store"),))


def _last_seen(request: Request) -> str | None:
    """The cursor after which a stream continues. A browser that reconnects sends the header, and the query of its first request again."""
    last = request.header(b"last-event-id")
    if not last:
        return request.parameter("after")
    try:
        return last.decode()
    except UnicodeDecodeError:
        raise InvalidParams("Last-Event-ID: not UTF-8", parameter="Last-Event-ID") from None


def _limit(request: Request) -> int | None:
    text = request.parameter("limit")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= MOST):
        raise InvalidParams(f"limit: expected 0 to {MOST}", parameter="limit")
    return int(text)


def _wait(request: Request) -> float:
    text = request.parameter("wait")
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= LONGEST_WAIT:
        raise InvalidParams(f"wait: expected 0 to {LONGEST_WAIT:g} seconds", parameter="wait")
    return seconds


def preferred(accept: bytes | None) -> bytes:
    """JSON or MEDIA_TYPE: what a client prefers (RFC 9110 section 12.5.1); JSON if it does not care.

    :raises HttpError: 406: neither.
    """
    best, found = (0.0, 0), JSON
    for offer in (JSON, MEDIA_TYPE):
        wish = wanted(accept or b"*/*", offer)
        # If both are equally welcome, one that was named goes before one that only matches a range.
        if wish > best:
            best, found = wish, offer
    if not best[0]:
        raise HttpError(406, "this URL serves application/json and text/event-stream")
    return found
