"""Who is writing right now: told only to those who follow the room, and never stored."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from netsvc.core.access import Right, absent
from netsvc.core.identity import Identity
from netsvc.core.names import fold_room_name
from netsvc.core.posting import Check
from netsvc.core.states import RoomState, RoomStates

__all__ = ["INTERVAL", "PACE", "TypingNotices"]

INTERVAL = 3.0
"""Seconds between two notices of one name in one room."""

WRITERS = 100
"""Names announced in one room within INTERVAL, at most."""

PACE = 5000
"""Roughly how many notices are written for one room in a second: in a room with that many connections there is one announcement a second."""

_AHEAD = 0.5
"""How many seconds' worth of these may be used at once."""


class TypingNotices:
    """Passes on who is writing.

    :param states: the rooms in memory.
    :param check: says who may.
    :param clock: time.
    """

    def __init__(self, states: RoomStates, check: Check, clock: IReactorTime) -> None:
        self._states = states
        self._check = check
        self._clock = clock

    def tell(self, identity: Identity, room: str) -> "Deferred[None]":
        """Tell those in a room that somebody is writing there. A notice beyond the limits is dropped without an error.

        :raises InvalidParams: a bad room name.
        :raises NotFound: at once or by way of the Deferred, like the next: there is no such room, and nobody is in it.
        :raises Forbidden: they may not write there.
        """
        name = fold_room_name(room)
        checking = self._check(identity, name, Right.WRITE)
        return self._tell(identity, name) if checking is None else checking.addCallback(lambda _: self._tell(identity, name))

    def _tell(self, identity: Identity, name: str) -> "Deferred[None]":
        state = self._states.get(name)
        if state is not None and state.members:
            self._signal(state, identity.name)
            return succeed(None)

        def found(exists: bool) -> None:
            if not exists:
                raise absent(name)

        return self._states.exists(name).addCallback(found)

    def _signal(self, state: RoomState, name: str) -> None:
        now = self._clock.seconds()
        writers = state.writers
        if writers and next(iter(writers.values())) > now + INTERVAL:
            # The clock was set back.
            writers.clear()
            state.quiet_until = 0.0
        # In the order in which they were announced, so the first ones expire first.
        while writers and next(iter(writers.values())) <= now:
            del writers[next(iter(writers))]
        if state.quiet_until > now + _AHEAD or name in writers or len(writers) >= WRITERS:
            return
        writers[name] = now + INTERVAL
        state.quiet_until = max(now, state.quiet_until) + len(state.members) / PACE
        for format, fanout in state.room.fanouts.items():
            fanout.signal(format.typing(state.room.name, name))
