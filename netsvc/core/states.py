"""The rooms that are in memory because somebody is in them, or asks about them."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from netsvc.core.presence import Presence
from netsvc.core.records import RoomInfo
from netsvc.core.ring import Room
from netsvc.interfaces import IStore

__all__ = ["RoomState", "RoomStates"]


class RoomState:
    """A room in memory: its delivery, its presence, and how many holders it has.

    :ivar loaded: its bounds have been read from the store.
    :ivar members: the connections that follow it (netsvc.core.rooms.Member).
    :ivar writers: who was announced as writing, and until when that holds; `quiet_until`: until when such notices use up their share of writes.
    """

    __slots__ = ("holders", "loaded", "members", "presence", "quiet_until", "room", "waiting", "writers")

    def __init__(self, name: str, grace: float) -> None:
        self.room = Room(name)
        self.presence = Presence(grace)
        self.holders = 0
        self.loaded = False
        self.members: dict[Any, None] = {}
        self.waiting: list[Deferred[None]] = []
        self.writers: dict[str, float] = {}
        self.quiet_until = 0.0


class RoomStates(dict[str, RoomState]):
    """All rooms in memory, by name. A room that nobody holds and nobody has just left is not among them.

    :param store: the log.
    :param grace: see Presence.
    """

    def __init__(self, store: IStore, grace: float) -> None:
        super().__init__()
        self._store = store
        self._grace = grace

    def hold(self, name: str) -> RoomState:
        """Keep a room in memory until `release`."""
        state = self.get(name)
        if state is None:
            state = self[name] = RoomState(name, self._grace)
        state.holders += 1
        return state

    def release(self, state: RoomState) -> None:
        """One holder less."""
        state.holders -= 1
        if not state.holders and not state.presence.pending:
            self.forget(state)

    def forget(self, state: RoomState) -> None:
        """Nobody holds it."""
        if self.get(state.room.name) is state:
            del self[state.room.name]

    def loaded(self, state: RoomState) -> "Deferred[None]":
        """Wait until a room that is held has its bounds from the store. Those who wait for the same room are answered in the order in which they asked."""
        if state.loaded:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        state.waiting.append(waiting)
        if len(state.waiting) == 1:
            self._store.room(state.room.name).addCallbacks(self._load, self._load_failed, callbackArgs=(state,), errbackArgs=(state,))
        return waiting

    def _load(self, info: RoomInfo | None, state: RoomState) -> None:
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

    def _load_failed(self, failure: Failure, state: RoomState) -> None:
        # It stays as long as somebody holds it, who may ask again: with two states of one room the older would miss everything.
        waiting, state.waiting = state.waiting, []
        for done in waiting:
            done.errback(failure)

    def exists(self, name: str) -> "Deferred[bool]":
        """Whether a room has an event. Those who ask about the same room are answered in the order in which they asked."""
        state = self.hold(name)

        def answer(outcome: object) -> bool:
            self.release(state)
            if isinstance(outcome, Failure):
                outcome.raiseException()
            return state.room.head > 0

        return self.loaded(state).addBoth(answer)
