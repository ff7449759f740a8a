"""Who may do what in which room, asked for by everything that reads or writes in rooms.

For most rooms nothing is stored that could stop anybody from reading or writing: they are not in `Permissions.restricted`, and nothing
else is checked. What is stored about the others is kept in memory up to a limit, and looked up in the store beyond that.
"""

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from netsvc.core.access import EVERYWHERE, Right, RoomAccess, may_read, refusal, who_of
from netsvc.core.identity import Identity
from netsvc.core.places import Place
from netsvc.interfaces import IRoomAccesses

__all__ = ["Permissions"]

_WRITE = Right.WRITE  # every post uses it, and enum member access is slow


class Permissions:
    """The rules of netsvc.core.access, applied to what is stored.

    :param accesses: where it is stored.
    :param seconds: the clock's time, seconds since the Unix epoch.
    :param most: places in all rooms that are kept in memory; each room counts as one more.
    :ivar restricted: the rooms in which somebody may be refused to read or write, each with its access.
    """

    def __init__(self, accesses: IRoomAccesses, seconds: Callable[[], float], most: int) -> None:
        self.restricted: dict[str, str] = {}
        self._closed: dict[str, str] = {}
        """Those of them that are not public."""
        self._accesses = accesses
        self._seconds = seconds
        self._most = most
        self._known: OrderedDict[str, RoomAccess] = OrderedDict()
        self._held = 0
        self._loading: dict[str, list[Deferred[RoomAccess]]] = {}
        self._stale: set[str] = set()
        """Rooms that changed while they were being looked up."""
        self._held_back: dict[str, bool] = {}
        """Rooms that are about to change, and whether somebody is waiting for the outcome."""

    def start(self) -> "Deferred[None]":
        """Learn which rooms are restricted. StoreUnavailable, by way of the Deferred: it cannot be read."""
        return self._accesses.restricted().addCallback(self._started)

    def _started(self, restricted: dict[str, str]) -> None:
        self.restricted = restricted
        self._closed = {room: access for room, access in restricted.items() if access != "public"}

    @property
    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return int(self._seconds() * 1000)

    def check(self, identity: Identity, room: str, right: Right) -> "Deferred[None] | None":
        """None if it is known that somebody may do something in a room; else a Deferred that fires when that is known.

        Those who ask about the same room are answered in the order in which they asked.

        :param room: a folded name; whether the room exists is not checked.
        :raises NotFound: at once or by way of the Deferred: the room is secret and not for them.
        :raises Forbidden: the same way: they may not.
        """
        if room not in self.restricted and right <= _WRITE:
            return None
        access = self._recall(room)
        if access is None:
            return self.access(room).addCallback(self._judge, room, identity, right)
        self._judge(access, room, identity, right)
        return None

    def _judge(self, access: RoomAccess, room: str, identity: Identity, right: Right) -> None:
        error = refusal(access, room, identity, right, self.now)
        if error is not None:
            raise error

    def access(self, room: str) -> "Deferred[RoomAccess]":
        """All that is stored about a room."""
        access = self._recall(room)
        if access is not None:
            return succeed(access)
        waiting: Deferred[RoomAccess] = Deferred()
        if room in self._loading:
            self._loading[room].append(waiting)
        else:
            self._loading[room] = [waiting]
            self._load(room)
        return waiting

    def _recall(self, room: str) -> RoomAccess | None:
        # Not while others wait for it who asked earlier.
        access = self._known.get(room) if room not in self._loading else None
        if access is not None:
            self._known.move_to_end(room)
        return access

    def _load(self, room: str) -> None:
        if room in self._held_back:
            self._held_back[room] = True
            return
        self._stale.discard(room)
        self._accesses.access(room).addCallbacks(self._loaded, self._not_loaded, callbackArgs=(room,), errbackArgs=(room,))

    def _loaded(self, access: RoomAccess, room: str) -> None:
        if room in self._stale:
            self._load(room)
            return
        waiting = self._loading.pop(room)
        self._keep(room, access)
        for done in waiting:
            done.callback(access)

    def _not_loaded(self, failure: Failure, room: str) -> None:
        for done in self._loading.pop(room):
            done.errback(failure)

    def changed(self, room: str, access: RoomAccess) -> None:
        """A room's access has been stored: `access` is the present state. It is looked up again at its next use, like everything cached."""
        self._note(room, access)
        self._outdate(room)

    def _note(self, room: str, access: RoomAccess) -> None:
        for rooms, belongs in ((self.restricted, access.restricts()), (self._closed, access.settings.access != "public")):
            if belongs:
                rooms[room] = access.settings.access
            else:
                rooms.pop(room, None)

    def _outdate(self, room: str) -> None:
        if room in self._loading:
            self._stale.add(room)
        self._drop(room)

    def founded(self, room: str) -> None:
        """A room has its first event, and with it perhaps an owner: anything cached about it before is out of date."""
        self._outdate(room)

    def hold(self, room: str, access: RoomAccess) -> None:
        """An event is about to be stored, and this access with it. Anybody who asks and could be refused something before or after it waits for `release`."""
        self._held_back[room] = False
        # What is taken away holds at once, what is granted only once it is stored.
        if access.restricts() and room not in self._closed:
            self._note(room, access)
        self._outdate(room)

    def release(self, room: str, access: RoomAccess) -> None:
        """It has been stored, or not: `access` is the present state. No error if the room was not held."""
        self.changed(room, access)
        if self._held_back.pop(room, False):
            self._load(room)

    def forget(self) -> None:
        """Forget what is cached: users may have been removed, and their places with them."""
        self._stale.update(self._loading)
        self._known.clear()
        self._held = 0

    def _keep(self, room: str, access: RoomAccess) -> None:
        known = self._known
        known[room] = access
        self._held += 1 + len(access.places)
        while self._held > self._most and len(known) > 1:
            self._drop(next(iter(known)))

    def _drop(self, room: str) -> None:
        access = self._known.pop(room, None)
        if access is not None:
            self._held -= 1 + len(access.places)

    def unreadable(self, identity: Identity, rooms: list[str] | None = None) -> "Deferred[dict[str, str]]":
        """Those of these rooms (None: of all) that somebody may not read, each with its access: of secret rooms they may not know even the name."""
        if identity.rank >= EVERYWHERE or not self.restricted:
            return succeed({})
        asked = None if rooms is None else [room for room in rooms if room in self.restricted]
        if asked == []:
            return succeed({})

        def judged(places: dict[str, Place]) -> dict[str, str]:
            now, restricted, closed = self.now, self.restricted, self._closed
            # There may be a great many rooms but few places.
            unreadable = dict(closed) if asked is None else {room: closed[room] for room in asked if room in closed}
            for room, place in places.items():
                access = restricted.get(room, "public")
                if may_read(access, place, now):
                    unreadable.pop(room, None)
                else:
                    unreadable[room] = access
            return unreadable

        return self._accesses.places(who_of(identity), identity.network, asked).addCallback(judged)
