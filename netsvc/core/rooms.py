"""Rooms: following, history, presence and upkeep. Appending is in netsvc.core.posting; bytes and sockets are elsewhere."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.access import Right, absent
from netsvc.core.catch_up import CatchUp
from netsvc.core.delivery import Delivery, Follower
from netsvc.core.events import Event, cursor_of, parse_cursor, timestamp
from netsvc.core.history import MOST, Histories, History, check_limit, position
from netsvc.core.identity import Identity
from netsvc.core.names import fold_room_name
from netsvc.core.permissions import Permissions
from netsvc.core.posting import Posting
from netsvc.core.read_marks import ReadMarks
from netsvc.core.records import RoomInfo
from netsvc.core.ring import Room
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.core.states import RoomState, RoomStates
from netsvc.core.typing_notices import TypingNotices
from netsvc.errors import InvalidParams, NetsvcError
from netsvc.interfaces import IFormat, ISink, IStore

__all__ = ["Joined", "Member", "Membership", "Present", "RoomList", "RoomSummary", "Rooms"]

SWEEP = 1.0
"""Seconds between two checks of who has come and gone, while somebody has."""


class Present(msgspec.Struct):
    """Who is in a room: all are counted, at most 100 named."""

    count: int
    names: list[str]


class Joined(msgspec.Struct):
    """The answer to a join; everything after ``cursor`` is delivered."""

    room: str
    cursor: str
    recovered: bool
    events: list[Event]
    more: bool
    present: Present


class RoomSummary(msgspec.Struct, omit_defaults=True):
    """A room in a list: its newest cursor, when that event was, and how many are there now.

    For a room that the caller may not read there is nothing but its name and its access.
    """

    name: str
    cursor: str | None = None
    at: str | None = None
    count: int | None = None
    access: str = "public"


class RoomList(msgspec.Struct):
    """Rooms by name; with ``more``, ask again ``after`` the last name."""

    rooms: list[RoomSummary]
    more: bool


class Membership(NamedTuple):
    """What a join gives to the protocol: the answer, and the follower to start once the answer is written."""

    joined: Joined
    member: "Member"


class Member:
    """A connection's place in a room: it follows, and its name is present. `leave` ends both.

    :ivar identity: who it is in the room as.
    :ivar lost: called after `leave` when it may no longer be there, with the member, the room's name and a word that says why.
    :ivar connection: for the protocol's own use.
    """

    __slots__ = ("_follower", "_rooms", "_state", "connection", "identity", "lost")

    def __init__(self, rooms: "Rooms", state: RoomState, identity: Identity, follower: Follower) -> None:
        self._rooms = rooms
        self._state: RoomState | None = state
        self.identity = identity
        self._follower = follower
        self.lost: Callable[[Member, str, str], None] | None = None
        self.connection: Any = None
        state.members[self] = None

    @property
    def there(self) -> bool:
        """Whether it has not left."""
        return self._state is not None

    def start(self) -> None:
        """Begin to deliver. Call this once the answer to the join is written."""
        self._follower.start()

    def hold(self) -> None:
        """Deliver nothing until `go_on` is called."""
        self._follower.hold()

    def go_on(self) -> None:
        """Resume, once this has been called as often as `hold`."""
        self._follower.go_on()

    def act_as(self, identity: Identity) -> None:
        """The connection now acts as somebody else; it loses the room if they may not read it."""
        state, before, self.identity = self._state, self.identity, identity
        if state is not None and identity != before:
            if identity.name != before.name:
                self._rooms.renamed(state, before.name, identity.name)
            self._rooms.judge(self, state.room.name)

    def leave(self) -> None:
        """Stop delivering. May be called twice."""
        state, self._state = self._state, None
        if state is not None:
            del state.members[self]
            self._follower.stop()
            self._rooms.left(state, self.identity.name)

    def expel(self, room: str, why: str) -> None:
        """Leave the room of this name, and tell the connection."""
        self.leave()
        if self.lost is not None:
            self.lost(self, room, why)


class Rooms:
    """All rooms of this daemon.

    :param store: the log; open before the first call comes.
    :param clock: time and later calls.
    :param rooms: [rooms]; `limits`: [limits].
    :param create: the lowest role that may start a room.
    :ivar delivery: delivers their events.
    :ivar posting: appends to them; ``post`` and ``appender`` are taken from it.
    :ivar read_marks: how far everybody has read.
    :ivar typing: passes on who is writing in them.
    :ivar permissions: who may do what in them; start it before the first call comes.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, rooms: RoomsSettings, limits: LimitsSettings, create: str) -> None:
        self._store = store
        self._clock = clock
        self._settings = rooms
        self._states = RoomStates(store, rooms.presence_grace)
        self._sweeping: dict[RoomState, None] = {}
        self._histories = Histories(store)
        self.permissions = Permissions(store.accesses, clock.seconds, rooms.places_cached)
        self.delivery = Delivery(store, clock, rooms.fanout_slice, rooms.chunk, rooms.ring_events, rooms.ring_bytes)
        self._catch_up = CatchUp(store, self._histories, self.delivery)
        self.posting = Posting(store, clock, rooms, limits, self._states, self.delivery, create)
        self.posting.check = self.permissions.check
        self.posting.founded = self.permissions.founded
        self.typing = TypingNotices(self._states, self.permissions.check, clock)
        self.read_marks = ReadMarks(store, self.permissions.check, self.permissions.unreadable, clock, rooms)
        self.appender = self.posting.appender
        self.post = self.posting.post

    # Following

    def join(self, identity: Identity, room: str, after: str | None, limit: int, format: IFormat, sink: ISink) -> "Deferred[Membership]":
        """Follow a room: past events up to a cursor now, everything after that cursor once the member is started.

        :param after: a cursor to read on from, None for the newest events.
        :param limit: events in the answer, 0 to 200.
        :raises InvalidParams: at once or by way of the Deferred, like all below: a bad room name, cursor or limit.
        :raises NotFound: the room is secret and not for them.
        :raises Forbidden: they may not read it.
        """
        name = fold_room_name(room)
        behind = position("after", after)
        check_limit(limit)
        checking = self.permissions.check(identity, name, Right.READ)
        state = self._states.hold(name)
        loaded = self._states.loaded(state) if checking is None else checking.addCallback(lambda _: self._states.loaded(state))

        def member(history: History) -> Membership:
            return self._member(identity, state, history, format, sink)

        def permitted(history: History) -> "Membership | Deferred[Membership]":
            # The permission may have been lost while the events were read; from here on `expel` finds the member.
            again = self.permissions.check(identity, name, Right.READ)
            return member(history) if again is None else again.addCallback(lambda _: member(history))

        def failed(failure: Failure) -> Failure:
            self._states.release(state)
            return failure

        reading = loaded.addCallback(lambda _: self._catch_up.read(state.room, behind, limit))
        joining: Deferred[Membership] = reading.addCallback(permitted)
        return joining.addErrback(failed)

    def _member(self, identity: Identity, state: RoomState, history: History, format: IFormat, sink: ISink) -> Membership:
        follower = self.delivery.follow(state.room, format, sink, parse_cursor(history.cursor)[1])
        state.presence.came(identity.name)
        self._sweep_later(state)
        present = Present(len(state.presence), state.presence.names())
        joined = Joined(state.room.name, history.cursor, history.recovered, history.events, history.more, present)
        return Membership(joined, Member(self, state, identity, follower))

    def judge(self, member: Member, room: str) -> None:
        """A member is somebody else now (called by Member): it stays if they may read, and gets nothing until that is known."""

        def out(failure: Failure) -> None:
            # Also if this cannot be found out.
            if member.there:
                member.expel(room, "login")

        try:
            checking = self.permissions.check(member.identity, room, Right.READ)
        except NetsvcError:
            member.expel(room, "login")
            return
        if checking is not None:
            member.hold()
            checking.addErrback(out).addCallback(lambda _: member.go_on())

    def identities(self, room: str) -> Iterator[Identity]:
        """Who follows a room, each once for every connection they have there."""
        state = self._states.get(room)
        return iter([member.identity for member in state.members] if state is not None else ())

    def expel(self, room: str, why: Callable[[Identity], str]) -> None:
        """Remove the members for whom `why` gives a reason.

        :param room: a folded name.
        """
        state = self._states.get(room)
        members = list(state.members) if state is not None else []
        lost = [(member, reason) for member in members if (reason := why(member.identity))]
        # They get nothing from now on, but telling a large room why takes several turns.
        for member, _ in lost:
            member.leave()
        self._tell(room, lost)

    def _tell(self, room: str, lost: list[tuple[Member, str]]) -> None:
        for member, reason in lost[: self._settings.fanout_slice]:
            try:
                member.expel(room, reason)
            except Exception:
                # A failure in one connection must not keep the others from being told.
                self.log.failure("a connection could not be told that it has lost {room}", room=room)
        rest = lost[self._settings.fanout_slice :]
        if rest:
            self._clock.callLater(0, self._tell, room, rest)

    def exists(self, room: str) -> "Deferred[bool]":
        """Whether a room (its folded name) has an event."""
        return self._states.exists(room)

    def left(self, state: RoomState, name: str) -> None:
        """A member has left (called by Member)."""
        state.presence.went(name, self._clock.seconds())
        self._sweep_later(state)
        self._states.release(state)

    def renamed(self, state: RoomState, old: str, new: str) -> None:
        """A member has another name now (called by Member)."""
        state.presence.renamed(old, new)
        self._sweep_later(state)

    # Reading

    def history(self, identity: Identity, room: str, before: str | None, after: str | None, limit: int) -> "Deferred[History]":
        """Events before or after a cursor, or the newest.

        :raises NotFound: no such room, or it is secret and not for them; this and the next at once or by way of the Deferred.
        :raises Forbidden: they may not read it.
        :raises InvalidParams: a bad room name, cursor or limit, or both cursors.
        """
        name = fold_room_name(room)
        if before is not None and after is not None:
            raise InvalidParams("before: give either before or after, not both", parameter="before")
        forward, backward = position("after", after), position("before", before)
        check_limit(limit)
        checking = self.permissions.check(identity, name, Right.READ)
        if checking is not None:
            return checking.addCallback(lambda _: self._history(name, forward, backward, limit))
        return self._history(name, forward, backward, limit)

    def _history(self, name: str, forward: tuple[str, int] | None, backward: tuple[str, int] | None, limit: int) -> "Deferred[History]":
        state = self._states.get(name)
        if state is not None and state.loaded and state.room.head:
            return self._histories.read(state.room, forward, backward, limit)

        def found(info: RoomInfo | None) -> "Deferred[History]":
            if info is None:
                raise absent(name)
            return self._histories.read(Room(name, info.first, info.head), forward, backward, limit)

        return self._store.room(name).addCallback(found)

    def directory(self, identity: Identity, after: str, limit: int) -> "Deferred[RoomList]":
        """Up to `limit` rooms whose names sort after `after`; of those that somebody may not read, only the name, or nothing if they are secret."""
        check_limit(limit)
        return Deferred.fromCoroutine(self._directory(identity, after, limit))

    async def _directory(self, identity: Identity, after: str, limit: int) -> RoomList:
        epoch = self._store.epoch
        shown: list[RoomSummary] = []
        # Many may be secret: they must not take a read each.
        asked = max(limit + 1, MOST)
        while True:
            infos: list[RoomInfo] = await self._store.rooms(after, asked)
            unreadable = await self.permissions.unreadable(identity, [info.name for info in infos])
            for info in infos:
                readable = info.name not in unreadable
                access = self.permissions.restricted.get(info.name) if readable else unreadable[info.name]
                if access == "secret" and not readable:
                    continue
                if len(shown) == limit:
                    return RoomList(shown, True)
                summary = RoomSummary(info.name)
                if access is not None and access != "public":
                    # Only then: a default is left out if it is the same object, and only moderators are told that somebody is banned.
                    summary.access = access
                if readable:
                    summary.cursor, summary.at, summary.count = cursor_of(epoch, info.head), timestamp(info.at), self._count(info.name)
                shown.append(summary)
            if len(infos) < asked:
                return RoomList(shown, False)
            after = infos[-1].name

    def _count(self, name: str) -> int:
        state = self._states.get(name)
        return len(state.presence) if state is not None else 0

    def who(self, identity: Identity, room: str) -> "Deferred[Present]":
        """Who is in a room.

        :raises NotFound: at once or by way of the Deferred, like all below: the room has no event and nobody is in it, or it is secret.
        :raises Forbidden: they may not read it.
        """
        name = fold_room_name(room)
        checking = self.permissions.check(identity, name, Right.READ)
        return self._who(name) if checking is None else checking.addCallback(lambda _: self._who(name))

    def _who(self, name: str) -> "Deferred[Present]":
        state = self._states.get(name)
        if state is not None and len(state.presence):
            return succeed(Present(len(state.presence), state.presence.names()))

        def found(exists: bool) -> Present:
            if not exists:
                raise absent(name)
            return Present(0, [])

        return self._states.exists(name).addCallback(found)

    # Presence and upkeep

    def _sweep_later(self, state: RoomState) -> None:
        if not self._sweeping:
            self._clock.callLater(SWEEP, self._sweep)
        self._sweeping[state] = None

    def _sweep(self) -> None:
        now = self._clock.seconds()
        sweeping, self._sweeping = self._sweeping, {}
        for state in sweeping:
            delta = state.presence.sweep(now)
            if delta is not None:
                for format, fanout in state.room.fanouts.items():
                    fanout.signal(format.presence(state.room.name, *delta))
            if state.presence.pending:
                self._sweep_later(state)
            elif not state.holders:
                self._states.forget(state)

    def prune(self) -> "Deferred[None]":
        """One round of retention, as [rooms] says; a follower whose next events are gone is told by a gap."""
        age, events = self._settings.retention_age, self._settings.retention_events

        def pruned(infos: list[RoomInfo]) -> None:
            for info in infos:
                state = self._states.get(info.name)
                if state is not None:
                    state.room.first = info.first

        now = int(self._clock.seconds() * 1000)
        return self._store.prune(now, int(age * 1000) or None, events or None).addCallback(pruned)
