"""Rooms: posting, joining, history, who is there. Every rule about them is here; bytes and sockets are not."""

from typing import NamedTuple

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.appender import Appender
from netsvc.core.delivery import Delivery, Follower, Room
from netsvc.core.events import Event, cursor_of, event_of, parse_cursor, timestamp
from netsvc.core.history import Histories, History, check_limit, position
from netsvc.core.idempotency import digest_of, scope_of
from netsvc.core.identity import RANKS, Identity
from netsvc.core.names import fold_room_name
from netsvc.core.presence import Presence
from netsvc.core.records import Draft, Key, RoomInfo, Row
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.errors import Forbidden, InvalidParams, NotFound, TooLarge
from netsvc.interfaces import IFormat, ISink, IStore

__all__ = ["Joined", "Member", "Membership", "Posted", "Present", "RoomList", "RoomSummary", "Rooms"]

KEY_LENGTH = 200
"""Characters of an idempotency key at the most."""

LAST_SEQ = 2**53 - 1
"""No seq is higher: the highest integer that every JSON parser reads as it is written (RFC 8259 section 6)."""

FLUSH_DEFERRALS = 2
"""Commits for which a flush may be held while a further one is under way (measured: a third more throughput, PERFORMANCE)."""

FLUSH_HOLD = 0.005
"""Seconds for which it may be held at the most: a disk may take long for the next commit."""

SWEEP = 1.0
"""Seconds between two looks at who has come and gone, while somebody has."""


class Posted(msgspec.Struct, gc=False):
    """The answer to a post: where it stands, and ``durable``, "fsync" or "memory"."""

    room: str
    seq: int
    cursor: str
    at: str
    durable: str


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

    def __init__(self, rooms: "Rooms", state: "_State", name: str, follower: Follower) -> None:
        self._rooms = rooms
        self._state: _State | None = state
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


class _State:
    """A room in memory: its delivery, its presence, and how many hold it."""

    __slots__ = ("holders", "loaded", "presence", "room", "waiting")

    def __init__(self, name: str, grace: float) -> None:
        self.room = Room(name)
        self.presence = Presence(grace)
        self.holders = 0
        self.loaded = False
        self.waiting: list[Deferred[None]] = []


class Rooms:
    """All rooms of this daemon.

    :param store: the log; open when the first call comes.
    :param clock: time and later calls.
    :param rooms: [rooms]; `limits`: [limits].
    :param create: the least role that may start a room.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, rooms: RoomsSettings, limits: LimitsSettings, create: str = "guest") -> None:
        self._store = store
        self._clock = clock
        self._settings = rooms
        self._create = RANKS[create]
        self._states: dict[str, _State] = {}
        self._sweeping: dict[_State, None] = {}
        self._deferred = 0
        self._held = False
        self._histories = Histories(store)
        self._keys = int(rooms.keys * 1000)
        self.appender = Appender(store, clock, self._committed, limits.append_batch, limits.append_queue)
        self.delivery = Delivery(store, clock, rooms.fanout_slice, rooms.chunk, rooms.ring_events, rooms.ring_bytes)

    # Posting

    def post(self, identity: Identity, room: str, text: str, key: str | None = None, reply_to: int | None = None) -> "Deferred[Posted]":
        """Append a message; the Deferred fires after its commit, and before it is delivered to anybody.

        :raises InvalidParams: by way of the Deferred or at once: a bad room name, text or key.
        :raises TooLarge: the text is longer than ``[rooms] text``.
        :raises Forbidden: the room has no event yet and the identity may not start one.
        :raises Conflict: the key was used with other params.
        :raises StoreUnavailable: it could not be stored; nothing was.
        """
        name = fold_room_name(room)
        if not text:
            raise InvalidParams("text: must not be empty", parameter="text")
        # A character is at most four bytes: most texts need no encoding to be known as short enough.
        if len(text) * 4 > self._settings.text and len(text.encode()) > self._settings.text:
            raise TooLarge(f"text: {len(text.encode())} bytes are more than the {self._settings.text} that [rooms] text allows", parameter="text")
        if reply_to is not None and not 1 <= reply_to <= LAST_SEQ:
            raise InvalidParams("reply_to: expected the seq of a message, 1 or more", parameter="reply_to")
        draft = Draft(name, "message", identity.name, int(self._clock.seconds() * 1000), text)
        if reply_to is not None:
            draft.extra = f'{{"reply_to":{reply_to}}}'
        if key is not None:
            draft.key = self._key(identity, draft, key)
        done: Deferred[Posted] = Deferred()
        draft.context = done
        if identity.rank >= self._create:
            self.appender.append(draft)
            return done
        return self._exists(name).addCallback(self._append_if, draft, done)

    def _key(self, identity: Identity, draft: Draft, key: str) -> Key:
        if not key or len(key) > KEY_LENGTH:
            raise InvalidParams(f"key: expected 1 to {KEY_LENGTH} characters, a UUID for one", parameter="key")
        digest = digest_of(f"{draft.extra or ''}\0{draft.text}".encode())
        return Key(scope_of("chat.post", draft.room, identity), key, digest, draft.at + self._keys)

    def _append_if(self, exists: bool, draft: Draft, done: "Deferred[Posted]") -> "Deferred[Posted]":
        if not exists:
            raise Forbidden(f"there is no room {draft.room!r} yet, and you may not start one")
        self.appender.append(draft)
        return done

    def _exists(self, name: str) -> "Deferred[bool]":
        """Whether a room has an event. Those who ask for the same room are answered in the order in which they asked."""
        state = self._hold(name)

        def answer(outcome: object) -> bool:
            self._release(state)
            if isinstance(outcome, Failure):
                outcome.raiseException()
            return state.room.head > 0

        return self._loaded(state).addBoth(answer)

    def _committed(self, batch: list[Draft]) -> None:
        epoch, durable, states = self._store.epoch, self._store.durable, self._states
        for draft in batch:
            done = draft.context
            assert isinstance(done, Deferred)
            if draft.error is not None:
                done.errback(draft.error)
                continue
            name, seq = draft.room, draft.seq
            cursor, at = f"{epoch}:{seq}", timestamp(draft.at)
            state = states.get(name)
            if state is not None and not draft.repeated:
                if draft.extra is None:
                    event = Event(room=name, seq=seq, cursor=cursor, type=draft.type, sender=draft.sender, at=at, text=draft.text)
                else:
                    event = event_of(epoch, name, Row(seq, draft.at, draft.type, draft.sender, draft.text, draft.extra))
                self.delivery.append(state.room, event)
            # In the room before its answer, so that who has that can read it there; delivered behind it, by the flush.
            done.callback(Posted(name, seq, cursor, at, durable))
        if self.appender.busy and self._deferred < FLUSH_DEFERRALS:
            self._deferred += 1
            if not self._held:
                self._held = True
                self._clock.callLater(FLUSH_HOLD, self._flush_held)
        else:
            self._deferred = 0
            self.delivery.flush()

    def _flush_held(self) -> None:
        self._held = False
        self.delivery.flush()

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
        state = self._hold(name)
        reading = self._loaded(state).addCallback(lambda _: self._histories.read(state.room, behind, None, limit))

        def member(history: History) -> Membership:
            seq = parse_cursor(history.cursor)[1]
            follower = self.delivery.follow(state.room, format, sink, seq)
            state.presence.came(identity.name)
            self._sweep_later(state)
            present = Present(len(state.presence), state.presence.names())
            joined = Joined(name, history.cursor, history.recovered, history.events, history.more, present)
            return Membership(joined, Member(self, state, identity.name, follower))

        def failed(failure: Failure) -> Failure:
            self._release(state)
            return failure

        return reading.addCallbacks(member, failed)

    def left(self, state: _State, name: str) -> None:
        """A member has left (called by Member)."""
        state.presence.went(name, self._clock.seconds())
        self._sweep_later(state)
        self._release(state)

    def renamed(self, state: _State, old: str, new: str) -> None:
        """A member has another name now (called by Member)."""
        state.presence.came(new)
        state.presence.went(old, self._clock.seconds())
        self._sweep_later(state)

    def _hold(self, name: str) -> _State:
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = _State(name, self._settings.presence_grace)
        state.holders += 1
        return state

    def _release(self, state: _State) -> None:
        state.holders -= 1
        if not state.holders and not state.presence.pending:
            self._forget(state)

    def _forget(self, state: _State) -> None:
        if self._states.get(state.room.name) is state:
            del self._states[state.room.name]

    def _loaded(self, state: _State) -> "Deferred[None]":
        if state.loaded:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        state.waiting.append(waiting)
        if len(state.waiting) == 1:
            self._store.room(state.room.name).addCallbacks(self._load, self._load_failed, callbackArgs=(state,), errbackArgs=(state,))
        return waiting

    def _load(self, info: RoomInfo | None, state: _State) -> None:
        if info is not None:
            state.room.first = max(state.room.first, info.first)
            # A commit may have been seen since the store was asked.
            if info.head > state.room.head:
                state.room.head = info.head
                state.room.clear(info.head)
        state.loaded = True
        waiting, state.waiting = state.waiting, []
        for done in waiting:
            done.callback(None)

    def _load_failed(self, failure: Failure, state: _State) -> None:
        waiting, state.waiting = state.waiting, []
        self._forget(state)
        for done in waiting:
            done.errback(failure)

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

        return self._exists(name).addCallback(found)

    # Presence and upkeep

    def _sweep_later(self, state: _State) -> None:
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
                self._forget(state)

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
