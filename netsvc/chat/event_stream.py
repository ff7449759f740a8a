"""Server-sent events: a client that follows a room over plain HTTP."""

from math import ceil

from netsvc.chat.formats import EventStreamFormat
from netsvc.chat.open_answers import OpenAnswers
from netsvc.core.events import parse_cursor
from netsvc.core.identity import Identity
from netsvc.core.logins import Logins
from netsvc.core.rooms import Joined, Member, Rooms
from netsvc.http.bodies import UNBUFFERED, Stream
from netsvc.net.wheel import TimingWheel
from netsvc.wire.http1_response import chunk

__all__ = ["EventStream", "EventStreams", "empty_stream"]

MEDIA_TYPE = b"text/event-stream"

HEARTBEAT = b":\n\n"

RETRY = b":\nretry: 3000\n\n"
"""The first heartbeat, which resets the retry time of a browser that came back after a stop to the usual, in milliseconds."""


def empty_stream() -> Stream:
    """An event stream that ends at once: the answer to HEAD."""
    return Stream(Stream.finish, media_type=MEDIA_TYPE, headers=UNBUFFERED, until_close=True)


class EventStreams:
    """Opens event streams.

    :param wheel: times the heartbeats.
    :param interval: seconds between two of them.
    :ivar logins: tells of revocations.
    :ivar open: lists the streams while they are open.
    """

    __slots__ = ("_bare", "_chunks", "_rooms", "interval", "logins", "open", "wheel")

    def __init__(self, rooms: Rooms, logins: Logins, open: OpenAnswers, wheel: TimingWheel, interval: float) -> None:
        self._rooms = rooms
        # Clients that read by requested length (as urllib3 and requests do) pass on an event when it comes only if it is a chunk.
        self._chunks = EventStreamFormat(chunk)
        self._bare = EventStreamFormat(bytes)
        self.logins = logins
        self.open = open
        self.wheel = wheel
        self.interval = interval

    async def follow(self, identity: Identity, room: str, after: str | None, limit: int, chunked: bool = True) -> Stream:
        """A stream of what comes after a cursor; without one, of the newest `limit` events and what comes from now on.

        If the cursor cannot be used, a gap says what is missing before the newest `limit` events.

        :param chunked: False for a client that speaks HTTP/1.0.
        :raises InvalidParams: a bad room name, cursor or limit.
        """
        stream = EventStream(self, identity, HEARTBEAT if after is None else RETRY)
        answer = stream.answer()
        format = self._chunks if chunked else self._bare
        joined, member = await self._rooms.join(identity, room, after, limit, format, answer)
        stream.ready(member, self._opening(joined, after))
        return answer

    def _opening(self, joined: Joined, after: str | None) -> bytes:
        """What is sent first: the events so far."""
        format, events = self._bare, joined.events
        parts = []
        if after is not None and not joined.recovered:
            # What the client may still have from an old epoch, or from beyond the head, says nothing about this log.
            (asked_epoch, asked), (epoch, head) = parse_cursor(after), parse_cursor(joined.cursor)
            first = asked + 1 if asked_epoch == epoch and 0 <= asked <= head else 1
            parts.append(format.gap(joined.room, first, events[0].seq - 1 if events else head))
        parts += map(format.event, events)
        if not events:
            parts.append(format.position(joined.cursor))
        return b"".join(parts)


class EventStream:
    """One client in one room. It is present while its stream is open; the follower keeps to the client's pace.

    :param shared: what all streams share.
    :param heartbeat: the first heartbeat.
    """

    __slots__ = ("_answer", "_heartbeat", "_identity", "_member", "_opening", "_shared", "wheel_slot")

    def __init__(self, shared: EventStreams, identity: Identity, heartbeat: bytes) -> None:
        self._shared = shared
        self._heartbeat = heartbeat
        self._identity = identity
        self._member: Member | None = None
        self._opening = b""
        self.wheel_slot: int | None = None
        self._answer: Stream | None = None  # only while it is open: else they would keep each other alive until garbage collection

    def answer(self) -> Stream:
        """The answer, which is also the sink of the follower."""
        return Stream(self._begin, self._over, media_type=MEDIA_TYPE, headers=UNBUFFERED, until_close=True)

    def ready(self, member: Member, opening: bytes) -> None:
        """The room is joined; `opening` is sent first."""
        self._member = member
        self._opening = opening
        member.lost = self._lost

    def _begin(self, answer: Stream) -> None:
        """The head has been sent."""
        opening, self._opening = self._opening, b""
        shared, member = self._shared, self._member
        assert member is not None, "the room is joined before there is an answer"
        if not member.there:
            answer.finish()
            return
        answer.send(opening)
        self._answer = answer
        if shared.open.draining:
            self.end(shared.open.return_after())
            return
        shared.open.add(self.end)
        shared.logins.watch(self._identity, self._revoked)
        shared.wheel.add(self, shared.interval)
        member.start()

    def expired(self) -> None:
        """See WheelEntry: time for a heartbeat. A client that has not taken what it was sent needs none."""
        answer = self._answer
        assert answer is not None, "a stream that is over waits for no heartbeat"
        self._shared.wheel.add(self, self._shared.interval)
        if not answer.full:
            answer.send(self._heartbeat)
            self._heartbeat = HEARTBEAT

    def end(self, return_after: float) -> None:
        """The daemon stops: browsers come back by themselves after the time they are told here (HTML standard, section 9.2.6)."""
        answer = self._answer
        if answer is not None:
            answer.send(b": the server is going away: come back in %d s\nretry: %d\n\n" % (ceil(return_after), round(return_after * 1000)))
            answer.finish()

    def _revoked(self, reason: str) -> None:
        if self._answer is not None:
            self._answer.finish()

    def _lost(self, member: Member, room: str, why: str) -> None:
        # A browser that comes back learns from the status whether it may.
        self._revoked(why)

    def _over(self, answer: Stream) -> None:
        """It has ended, from whichever side: let go of everything."""
        self._answer = None
        shared = self._shared
        shared.open.remove(self.end)
        shared.logins.unwatch(self._identity, self._revoked)
        shared.wheel.cancel(self)
        member, self._member = self._member, None
        if member is not None:
            member.leave()
