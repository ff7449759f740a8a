"""What is stored about rooms besides their logs, over a connection: their settings, and who has which place in them."""

from sqlite3 import Connection
from typing import Final

from netsvc.core.access import GUEST_MARK, RoomAccess
from netsvc.core.places import DEFAULTS, NOWHERE, AccessChange, Place, RoomSettings
from netsvc.store.sqlite.transactions import rows_of

__all__ = ["RoomAccesses"]

_ROOMS: Final = 200
"""Rooms looked up by one query."""

_PLACES: Final = "SELECT {}, role, muted, banned, networks FROM room_places WHERE "
_PLACES_OF_ROOM: Final = _PLACES.format("who") + "room = ?"
_PLACES_OF_ONE: Final = _PLACES.format("room") + "who = ?"
_BANS_OF_NETWORK: Final = "SELECT room, banned FROM room_places WHERE networks != '' AND instr(' ' || networks || ' ', ' ' || ? || ' ')"
_PUT: Final = "INSERT INTO room_places (room, who, role, muted, banned, networks) SELECT ?, ?, ?, ?, ?, ?"


class RoomAccesses:
    """Settings and places of rooms, by the rooms' names. Callers make changes within their own transaction.

    :param connection: used by one thread at a time.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def restricted(self) -> dict[str, str]:
        """The rooms that are not public, or where somebody is or was muted or banned, with their access. The cost depends on how many there are."""
        found = {room: "public" for (room,) in rows_of(self._connection, "SELECT DISTINCT room FROM room_places WHERE muted > 0 OR banned > 0")}
        found.update(rows_of(self._connection, "SELECT room, access FROM room_settings WHERE access != 'public'"))
        return found

    def access(self, room: str) -> RoomAccess:
        """All that is stored about a room."""
        rows = rows_of(self._connection, "SELECT access, topic, retention_age, retention_events FROM room_settings WHERE room = ?", (room,))
        places = rows_of(self._connection, _PLACES_OF_ROOM, (room,))
        return RoomAccess(RoomSettings._make(rows[0]) if rows else DEFAULTS, ((who, _place(*place)) for who, *place in places))

    def places(self, key: str, network: str, rooms: list[str] | None) -> dict[str, Place]:
        """The places that this key has in these rooms (None: in all), ``banned`` also where its network is banned (empty: no network)."""
        if rooms is None:
            return self._places(key, network, "", ())
        found: dict[str, Place] = {}
        for start in range(0, len(rooms), _ROOMS):
            some = rooms[start : start + _ROOMS]
            found.update(self._places(key, network, f" AND room IN ({', '.join('?' * len(some))})", tuple(some)))
        return found

    def _places(self, key: str, network: str, among: str, rooms: tuple[str, ...]) -> dict[str, Place]:
        found = {room: _place(*place) for room, *place in rows_of(self._connection, _PLACES_OF_ONE + among, (key, *rooms))}
        for room, banned in rows_of(self._connection, _BANS_OF_NETWORK + among, (network, *rooms)) if network else ():
            place = found.get(room, NOWHERE)
            found[room] = place._replace(banned=max(place.banned, banned))
        return found

    def own(self, room: str, user: str) -> None:
        """Make a user the owner of a new room. No error if the user no longer exists."""
        self._put(room, user, Place("owner"))

    def apply(self, room: str, change: AccessChange) -> None:
        """Store a change. The place of a user who no longer exists is not stored."""
        if change.settings is not None:
            statement = "INSERT OR REPLACE INTO room_settings (room, access, topic, retention_age, retention_events) VALUES (?, ?, ?, ?, ?)"
            self._connection.execute(statement, (room, *change.settings))
        for key, place in change.places.items():
            self._connection.execute("DELETE FROM room_places WHERE room = ? AND who = ?", (room, key))
            if place != NOWHERE:
                self._put(room, key, place)

    def _put(self, room: str, key: str, place: Place) -> None:
        values = (room, key, place.role, place.muted, place.banned, " ".join(place.networks))
        # A trigger removes a user's places with the user: none must be made after that, or the next user of that name would have it.
        known = "" if key.startswith(GUEST_MARK) else " WHERE EXISTS (SELECT 1 FROM users WHERE name = ?)"
        self._connection.execute(_PUT + known, (*values, key) if known else values)

    def forget_expired(self, now: int, most: int) -> int:
        """Remove up to `most` places of guests whose bans are over at `now` (ms); returns how many."""
        query = "SELECT room, who FROM room_places WHERE (muted > 0 OR banned > 0) AND muted <= ? AND banned <= ? AND role = '' LIMIT ?"
        over = rows_of(self._connection, query, (now, now, most))
        self._connection.executemany("DELETE FROM room_places WHERE room = ? AND who = ?", over)
        return len(over)

    def retentions(self) -> dict[str, tuple[int | None, int | None]]:
        """For the rooms with their own retention: the age in milliseconds and the number of events, 0 for ever, None as for other rooms."""
        query = "SELECT room, retention_age, retention_events FROM room_settings WHERE retention_age IS NOT NULL OR retention_events IS NOT NULL"
        return {room: (age, events) for room, age, events in rows_of(self._connection, query)}


def _place(role: str, muted: int, banned: int, networks: str) -> Place:
    return Place(role, muted, banned, tuple(networks.split()))
