"""Who may do what in a room: the rules, as pure functions of what is stored about the room and of who asks.

A room is `public`, for `members`, or `secret`. A user may be its owner, moderator or member; anybody may be muted or banned in it.
For most rooms none of this is stored: everybody may read and write in them.
"""

from collections.abc import Iterable
from enum import IntEnum

from netsvc.core.events import timestamp
from netsvc.core.identity import RANKS, Identity
from netsvc.core.places import DEFAULTS, FOREVER, NOWHERE, AccessChange, Place, RoomSettings
from netsvc.errors import Conflict, Forbidden, NetsvcError, NotFound

__all__ = [
    "ACCESS",
    "EVERYWHERE",
    "GUEST_MARK",
    "ROOM_ROLES",
    "Right",
    "RoomAccess",
    "absent",
    "guest_key",
    "may_read",
    "refusal",
    "taken",
    "who_of",
]

ACCESS = ("public", "members", "secret")
"""Who may read and write: everybody; members, while everybody may know of the room; members, and for others it does not exist."""

ROOM_ROLES = ("member", "moderator", "owner")
"""What a user can be in a room, lowest first; each may do all that those before it may. An admin ranks above an owner, in every room."""

GUEST_MARK = "?"
"""The first character of a guest's key; no user's name begins with it."""

EVERYWHERE = RANKS["admin"]
"""The rank that acts as an owner in every room."""


class Right(IntEnum):
    """What somebody wants to do in a room; each includes those before it."""

    READ = 0
    WRITE = 1
    MODERATE = 2
    OWN = 3


_NEEDED = {Right.MODERATE: "moderator", Right.OWN: "owner"}
_LEVELS = {"": 0, **{role: level for level, role in enumerate(ROOM_ROLES, 1)}}
_ADMIN_LEVEL = len(_LEVELS)


def guest_key(name: str) -> str:
    """The key of a guest's place. The case of the name makes no difference."""
    return GUEST_MARK + name.casefold()


def who_of(identity: Identity) -> str:
    """The key of somebody's place in a room: a user's name, or a guest's name with GUEST_MARK before it."""
    return guest_key(identity.name) if identity.guest else identity.name


class RoomAccess:
    """All that is stored about a room besides its log. Immutable: `changed` makes a new one.

    :ivar settings: what room.set has set.
    :ivar places: by key.
    :ivar networks: until when the guests of a network are banned, milliseconds since the Unix epoch.
    """

    __slots__ = ("networks", "places", "settings")

    def __init__(self, settings: RoomSettings = DEFAULTS, places: Iterable[tuple[str, Place]] = ()) -> None:
        self.settings = settings
        self.places = dict(places)
        self.networks: dict[str, int] = {}
        for place in self.places.values():
            for network in place.networks:
                self.networks[network] = max(place.banned, self.networks.get(network, 0))

    def changed(self, change: AccessChange) -> "RoomAccess":
        """The state after a change."""
        places = {**self.places, **change.places}
        settings = self.settings if change.settings is None else change.settings
        return RoomAccess(settings, ((key, place) for key, place in places.items() if place != NOWHERE))

    def place(self, key: str) -> Place:
        """Somebody's place, an empty one if there is none."""
        return self.places.get(key, NOWHERE)

    def owners(self) -> list[str]:
        """The keys of the owners, by name."""
        return sorted(key for key, place in self.places.items() if place.role == "owner")

    def restricts(self) -> bool:
        """Whether anybody but an admin can be refused to read or write."""
        return self.settings.access != "public" or any(place.muted or place.banned for place in self.places.values())

    def level(self, identity: Identity) -> int:
        """How much somebody may do to others: 0 nothing, then as in ROOM_ROLES, admins highest. One may act on those of a lower level."""
        return _ADMIN_LEVEL if identity.rank >= EVERYWHERE else _LEVELS[self.place(who_of(identity)).role]

    def level_of(self, key: str) -> int:
        """The level of whoever has this key and is not an admin."""
        return _LEVELS[self.place(key).role]


def absent(room: str) -> NotFound:
    """The error for a room that does not exist, or that the caller may not know of."""
    return NotFound(f"there is no room {room!r}")


def taken(room: str) -> Conflict:
    """The error for starting a room that exists already."""
    return Conflict(f"there is a room {room!r} already")


def refusal(access: RoomAccess, room: str, identity: Identity, right: Right, now: int) -> NetsvcError | None:
    """Why somebody may not do something in a room, None if they may.

    :param now: milliseconds since the Unix epoch.
    :returns: NotFound for a secret room that is not theirs to read, else Forbidden.
    """
    if identity.rank >= EVERYWHERE:
        return None
    kind = access.settings.access
    place = access.places.get(who_of(identity), NOWHERE)
    banned = max(place.banned, access.networks.get(identity.network, 0)) if identity.network else place.banned
    if banned > now:
        return absent(room) if kind == "secret" else Forbidden(f"you are banned from {room}{_until(banned)}")
    if kind != "public" and not place.role:
        return absent(room) if kind == "secret" else Forbidden(f"{room} is for its members: ask one of its owners or moderators for an invitation")
    if right == Right.READ:
        return None
    if right == Right.WRITE:
        return Forbidden(f"you are muted in {room}{_until(place.muted)}") if place.muted > now else None
    needed = _NEEDED[right]
    if _LEVELS[place.role] < _LEVELS[needed]:
        return Forbidden(f"only {'a moderator or an owner' if needed == 'moderator' else 'an owner'} of {room}, or an admin, may do that")
    return None


def may_read(access: str, place: Place, now: int) -> bool:
    """Whether somebody who is not an admin may read a room; `refusal` says the same of Right.READ.

    :param access: one of ACCESS.
    :param place: their place; ``banned`` also counts a ban of their network.
    """
    return place.banned <= now and (access == "public" or bool(place.role))


def _until(when: int) -> str:
    return "" if when >= FOREVER else f" until {timestamp(when)}"
