"""The chat procedures, ``chat.*``: the core's rooms for all callers."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from netsvc.chat.joining import Joining, place_of
from netsvc.core.history import MOST, History
from netsvc.core.names import fold_room_name
from netsvc.core.posting import Posted
from netsvc.core.procedures import Call, procedure
from netsvc.core.read_marks import Marked, UnreadList
from netsvc.core.rooms import Joined, Member, Membership, Present, RoomList, Rooms
from netsvc.errors import InvalidRequest, TooLarge
from netsvc.interfaces import IFormat
from netsvc.rpc.connection import Framing
from netsvc.wire.jsonrpc import notification

__all__ = ["ChatProcedures", "Empty"]

Limit = Annotated[int, Meta(ge=0, le=MOST, description="most events in the answer")]

_JOIN_OVER_HTTP = "chat.join needs a connection that stays: a WebSocket, or one of [lines] or [amp]; over HTTP read /rooms/<room>/events or call chat.history"


class Empty(msgspec.Struct):
    """``{}``: done."""


class _Left(msgspec.Struct):
    """The params of chat.left."""

    room: str
    reason: str


class ChatProcedures:
    """``chat.join|leave|post|edit|delete|react|typing|mark_read|unread|history|rooms|who``.

    :param rooms: the rooms.
    :param formats: how a connection that joins gets its events, by its framing.
    :param rooms_per_connection: rooms that one connection may be in.
    """

    def __init__(self, rooms: Rooms, formats: Mapping[Framing, IFormat], rooms_per_connection: int) -> None:
        self._rooms = rooms
        self._formats = formats
        self._most = rooms_per_connection
        self._lost = self._left  # one bound method for all members

    @procedure("chat.post", role="guest")
    def post(self, call: Call, room: str, text: str, key: str | None = None, reply_to: int | None = None) -> Deferred[Posted]:
        """Append a message to a room; the answer comes when it is stored.

        With a key (a UUID), sending it again has no further effect and gives the same answer.
        """
        return self._answer_first(self._rooms.post(call.caller, room, text, call.key if key is None else key, reply_to), call)

    def _answer_first(self, posting: Deferred[Posted], call: Call) -> Deferred[Posted]:
        return posting.addCallback(self._hold_event, call) if (call.joint or call.stored) and call.connection is not None else posting

    def _hold_event(self, posted: Posted, call: Call) -> Posted:
        """A post's answer precedes its event, even if the answer waits for those to other calls, or to be stored."""
        member = place_of(call.connection.belonging(("room", posted.room)))
        if member is not None:
            member.hold()
            call.after_answer(member.go_on)
        return posted

    @procedure("chat.edit", role="guest")
    def edit(self, call: Call, room: str, seq: int, text: str) -> Deferred[Posted]:
        """Change the text of your message `seq`; the answer is that of the edit event."""
        return self._answer_first(self._rooms.posting.edit(call.caller, room, seq, text), call)

    @procedure("chat.delete", role="guest")
    def delete(self, call: Call, room: str, seq: int) -> Deferred[Posted]:
        """Remove the text of your message `seq` for good, or as a moderator of anybody's message; its place in the room stays."""
        return self._answer_first(self._rooms.posting.delete(call.caller, room, seq), call)

    @procedure("chat.react", role="guest")
    def react(self, call: Call, room: str, seq: int, emoji: str, on: bool = True) -> Deferred[Posted]:
        """React to message `seq` with an emoji, or take that back; repeating it changes nothing."""
        return self._answer_first(self._rooms.posting.react(call.caller, room, seq, emoji, on), call)

    @procedure("chat.typing", role="guest", reads=True)
    def typing(self, call: Call, room: str) -> Deferred[Empty]:
        """Say that you are writing: those in the room get ``chat.typing``, at most once in 3 s; nothing is stored."""
        return self._rooms.typing.tell(call.caller, room).addCallback(lambda _: Empty())

    @procedure("chat.mark_read", role="guest")
    def mark_read(self, call: Call, room: str, seq: int) -> Deferred[Marked]:
        """Say that you have read a room up to event `seq`; the answer is how far you have read, which never goes back."""
        return self._rooms.read_marks.mark(call.caller, room, seq)

    @procedure("chat.unread", role="guest", cost=5, reads=True)
    def unread(self, call: Call) -> Deferred[UnreadList]:
        """What is new since you have read: in rooms where you have said how far, and in those that this connection is in."""
        keys = call.connection.keys() if call.connection is not None else ()
        rooms = [key[1] for key in keys if isinstance(key, tuple) and key[0] == "room"]
        return self._rooms.read_marks.unread(call.caller, rooms, call.budget)

    @procedure("chat.join", role="guest", reads=True)
    def join(self, call: Call, room: str, after: str | None = None, limit: Limit = 50) -> Deferred[Joined]:
        """Follow a room on this connection: past events now, then ``chat.event`` notifications from the answer's cursor on.

        It needs a connection that stays: a WebSocket, or one of [lines] or [amp]. With `after`, read on from a cursor; without, the newest
        events. For a room that the connection already follows this starts over; if it fails, the connection follows as before.
        """
        connection = call.connection
        if connection is None or connection.gone:
            raise InvalidRequest(_JOIN_OVER_HTTP)
        key = ("room", fold_room_name(room))
        if connection.kept(key) >= self._most:
            raise TooLarge(f"this connection is in {self._most} rooms already; [limits] rooms_per_connection sets the bound")

        call.budget.admit()
        done = self._rooms.join(call.caller, room, after, limit, self._formats[connection.framing], connection.sink)
        joining = Joining(connection, key)

        def joined(membership: Membership) -> Joined:
            member: Member = membership.member
            if joining.over:
                member.leave()
                return membership.joined
            lost: list[tuple[Member, str, str]] = []

            def answered() -> None:
                member.lost = self._lost
                if lost:
                    self._left(*lost[0])
                member.start()

            # If the room is lost before the answer is written, the client is told after it; else it would think that it is in.
            member.connection, member.lost = connection, lambda *what: lost.append(what)
            joining.succeeded(member)
            call.after_answer(answered)
            return membership.joined

        def failed(failure: Failure) -> Failure:
            joining.failed()
            return failure

        return done.addCallbacks(joined, failed)

    def _left(self, member: Member, room: str, why: str) -> None:
        """A connection may no longer be in a room."""
        connection, key = member.connection, ("room", room)
        belonging = connection.belonging(key)
        if place_of(belonging) is not member:
            return  # it has joined again meanwhile, or left
        if isinstance(belonging, Joining):
            belonging.lost()
        else:
            connection.release(key)
        # Even to a slow client: otherwise it would wait for events for ever.
        connection.send(notification("chat.left", msgspec.json.encode(_Left(room, why))))

    @procedure("chat.leave", role="guest", reads=True)
    def leave(self, call: Call, room: str) -> Deferred[Empty]:
        """Stop following a room; no error if this connection did not, but an error if there is no such room."""
        if call.connection is not None and call.connection.release(("room", fold_room_name(room))):
            return succeed(Empty())
        return self._rooms.who(call.caller, room).addCallback(lambda _: Empty())

    @procedure("chat.history", role="guest", cost=2, reads=True)
    def history(self, call: Call, room: str, before: str | None = None, after: str | None = None, limit: Limit = 50) -> Deferred[History]:
        """Events before or after a cursor; without either, the newest."""
        return self._rooms.history(call.caller, room, before, after, limit)

    @procedure("chat.rooms", role="guest", cost=2, reads=True)
    def rooms(self, call: Call, after: str = "", limit: Limit = MOST) -> Deferred[RoomList]:
        """The rooms by name; if there are more, ask again after the last name."""
        return self._rooms.directory(call.caller, after, limit)

    @procedure("chat.who", role="guest", reads=True)
    def who(self, call: Call, room: str) -> Deferred[Present]:
        """Who is in a room: all are counted, at most 100 named."""
        return self._rooms.who(call.caller, room)
