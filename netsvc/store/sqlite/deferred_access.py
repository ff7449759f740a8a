"""Settings and places of rooms as the daemon asks for them: the queries of `RoomAccesses`, each on a thread that has a connection."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.core.access import RoomAccess
from netsvc.core.places import Place
from netsvc.interfaces import IRoomAccesses
from netsvc.store.sqlite.access import RoomAccesses

__all__ = ["DeferredRoomAccesses", "RunOnRoomAccesses"]

R = TypeVar("R")


class RunOnRoomAccesses(Protocol):
    """Calls a function with the RoomAccesses to ask; the Deferred has what it returns or raises."""

    def __call__(self, ask: Callable[[RoomAccesses], R], /) -> "Deferred[R]":
        """Run it."""


@implementer(IRoomAccesses)
class DeferredRoomAccesses:
    """IRoomAccesses over RoomAccesses.

    :param read: runs what reads.
    """

    def __init__(self, read: RunOnRoomAccesses) -> None:
        self._read = read

    def restricted(self) -> "Deferred[dict[str, str]]":
        """The rooms that are not public, or have somebody muted or banned, with their access."""
        return self._read(lambda accesses: accesses.restricted())

    def access(self, room: str) -> "Deferred[RoomAccess]":
        """All that is stored of a room."""
        return self._read(lambda accesses: accesses.access(room))

    def places(self, key: str, network: str, rooms: "list[str] | None") -> "Deferred[dict[str, Place]]":
        """The places that this key has in these rooms (None: in all), ``banned`` also where its network is banned."""
        return self._read(lambda accesses: accesses.places(key, network, rooms))
