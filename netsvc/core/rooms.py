"""Rooms: posting, joining, history, who is there. Every rule about them is here; bytes and sockets are not."""

from typing import NamedTuple

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.delivery import Delivery, Follower, Room
from netsvc.core.events import Event, cursor_of, parse_cursor, timestamp
from netsvc.core.history import Histories, History, check_limit, position
from netsvc.core.identity import Identity
from netsvc.core.names import fold_room_name
from netsvc.core.posting import Posting
from netsvc.core.records import RoomInfo
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.core.states import RoomState, RoomStates
from netsvc.errors import InvalidParams, NotFound
from netsvc.interfaces import IFormat, ISink, IStore

__all__ = ["Joined", "Member", "Membership", "Present", "RoomList", "RoomSummary", "Rooms"]

SWEEP = 1.0
"""Seconds between two looks at who has come and gone, while somebody has."""


class Present(msgspec.Struct):
    """Who is in a room: all counted, at most 100 named."""

    count: int
    names: list[str]


class Joined(msgspec.Struct):
    """The answer to a join; what comes behind ``cursor`` is delivered."""

    room: str
    cursor: str
    recovered: bool
    events: list[Event]
    more: bool
    present: Present


class RoomSummary(msgspec.Struct):
    """A room in a list: its newest cursor, when that event was, and how many are there now."""

    name: str
    cursor: str
    at: str
    count: int


class RoomList(msgspec.Struct):
    """Rooms by name; with ``more``, ask again ``after`` the last name."""

    rooms: list[RoomSummary]
    more: bool


class Membership(NamedTuple):
    """What a join gives to the protocol: the answer, and the follower to start once the answer is written."""

    joined: Joined
    member: "Member"


class Member:
    """A connection's place in a room: it follows, and its name is present. `leave` ends both."""

    __slots__ = ("_follower", "_name", "_rooms", "_state")

    def __init__(self, rooms: "Rooms", state: RoomState, name: str, follower: Follower) -> None:
        self._rooms = rooms
        self._state: RoomState | None = state
        self._name = name
        self._follower = follower

    def start(self) -> None:
        """Begin to deliver. Call it when the answer to the join is written."""
        self._follower.start()

    def hold(self) -> None:
        """Deliver nothing for now; to be followed by `go_on`."""
        self._follower.hold()

    def go_on(self) -> None:
        """Deliver on, once this was called as often as `hold`."""
        self._follower.go_on()

    def rename(self, name: str) -> None:
        """The connection acts under another name now."""
        if self._state is not None and name != self._name:
            self._rooms.renamed(self._state, self._name, name)
            self._name = name

    def leave(self) -> None:
        """Deliver no more. May be called twice."""
        state, self._state = self._state, None
        if state is not None:
            self._follower.stop()
            self._rooms.left(state, self._name)


class Rooms:
    """All rooms of this daemon.

    :param store: the log; open when the first call comes.
    :param clock: time and later calls.
    :param rooms: [rooms]; `limits`: [limits].
    :param create: the least role that may start a room.
    :ivar delivery: delivers their events.
    :ivar posting: appends to them; ``post`` and ``appender`` are its.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, rooms: RoomsSettings, limits: LimitsSettings, create: str = "guest") -> None:
        self._store = store
        self._clock = clock
        self._settings = rooms
        self._states = RoomStates(store, rooms.presence_grace)
        self._sweeping: dict[RoomState, None] = {}
        self._histories = Histories(store)
        self.delivery = Delivery(store, clock, rooms.fanout_slice, rooms.chunk, rooms.ring_events, rooms.ring_bytes)
        self.posting = Posting(store, clock, rooms, limits, self._states, self.delivery, create)
        self.appender = self.posting.appender
        self.post = self.posting.post

    # Following

    def join(self, identity: Identity, room: str, after: str | None, limit: int, format: IFormat, sink: ISink) -> "Deferred[Membership]":
        """Follow a room: past events up to a cursor now, everything behind that cursor once the member is started.

        :param after: a cursor to read on from, None for the newest events.
        :param limit: events in the answer, 0 to 200.
        :raises InvalidParams: a bad room name, cursor or limit.
        """
        name = fold_room_name(room)
        behind = position("after", after)
        check_limit(limit)
        state = self._states.hold(name)
        reading = self._states.loaded(state).addCallback(lambda _: self._histories.read(state.room, behind, None, limit))

        def member(history: History) -> Membership:
            seq = parse_cursor(history.cursor)[1]
            follower = self.delivery.follow(state.room, format, sink, seq)
            state.presence.came(identity.name)
            self._sweep_later(state)
            present = Present(len(state.presence), state.presence.names())
            joined = Joined(name, history.cursor, history.recovered, history.events, history.more, present)
            return Membership(joined, Member(self, state, identity.name, follower))

        def failed(failure: Failure) -> Failure:
            self._states.release(state)
            return failure

        return reading.addCallbacks(member, failed)

    def left(self, state: RoomState, name: str) -> None:
        """A member has left (called by Member)."""
        state.presence.went(name, self._clock.seconds())
        self._sweep_later(state)
        self._states.release(state)

    def renamed(self, state: RoomState, old: str, new: str) -> None:
        """A member has another name now (called by Member)."""
        state.presence.came(new)
        state.presence.went(old, self._clock.seconds())
        self._sweep_later(state)

    # Reading

    def history(self, room: str, before: str | None, after: str | None, limit: int) -> "Deferred[History]":
        """Events before or after a cursor, or the newest.

        :raises NotFound: no such room.
        :raises InvalidParams: a bad room name, cursor or limit, or both cursors.
        """
        name = fold_room_name(room)
        if before is not None and after is not None:
            raise InvalidParams("before: give either before or after, not both", parameter="before")
        forward, backward = position("after", after), position("before", before)
        check_limit(limit)
        state = self._states.get(name)
        if state is not None and state.loaded and state.room.head:
            return self._histories.read(state.room, forward, backward, limit)

        def found(info: RoomInfo | None) -> "Deferred[History]":
            if info is None:
                raise NotFound(f"there is no room {name!r}")
            return self._histories.read(Room(name, info.first, info.head), forward, backward, limit)

        return self._store.room(name).addCallback(found)

    def directory(self, after: str, limit: int) -> "Deferred[RoomList]":
        """Up to `limit` rooms whose names sort after `after`."""
        check_limit(limit)

        def made(infos: list[RoomInfo]) -> RoomList:
            epoch = self._store.epoch
            shown = [RoomSummary(info.name, cursor_of(epoch, info.head), timestamp(info.at), self._count(info.name)) for info in infos[:limit]]
            return RoomList(shown, len(infos) > limit)

        return self._store.rooms(after, limit + 1).addCallback(made)

    def _count(self, name: str) -> int:
        state = self._states.get(name)
        return len(state.presence) if state is not None else 0

    def who(self, room: str) -> "Deferred[Present]":
        """Who is in a room.

        :raises NotFound: the room has no event and nobody is in it.
        """
        name = fold_room_name(room)
        state = self._states.get(name)
        if state is not None and len(state.presence):
            return succeed(Present(len(state.presence), state.presence.names()))

        def found(exists: bool) -> Present:
            if not exists:
                raise NotFound(f"there is no room {name!r}")
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
