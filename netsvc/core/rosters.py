"""A room's properties, and who has which role in it, as its readers see them."""

import msgspec

from netsvc.core.access import GUEST_MARK, Right, RoomAccess, refusal, who_of
from netsvc.core.events import timestamp
from netsvc.core.identity import Identity
from netsvc.core.places import FOREVER

__all__ = ["Occupant", "RoomDescription", "Roster", "described", "listed"]


class RoomDescription(msgspec.Struct):
    """A room.

    :ivar access: public, members or secret.
    :ivar owners: names.
    :ivar retention_age: seconds that events are kept, 0 for ever, None as [rooms] says.
    :ivar retention_events: how many events are kept, 0 any number, None as [rooms] says.
    :ivar role: the caller's role here: owner, moderator, member, or empty.
    :ivar may: the most that the caller may do here: read, write, moderate or own.
    :ivar amends_since: the caller cannot change what was sent under its name before this moment: it is older than the account, or for a
        guest, older than [rooms] `guest_edits`. RFC 3339, UTC.
    """

    room: str
    access: str
    topic: str
    owners: list[str]
    retention_age: float | None
    retention_events: int | None
    role: str
    may: str
    amends_since: str


class Occupant(msgspec.Struct, omit_defaults=True):
    """Somebody with a place in a room.

    :ivar role: owner, moderator, member, or empty.
    :ivar until: when the ban ends, or else the mute; left out if neither ends.
    """

    name: str
    role: str = ""
    guest: bool = False
    muted: bool = False
    banned: bool = False
    until: str | None = None


class Roster(msgspec.Struct):
    """Those with a place in a room, by name; with ``more``, ask again ``after`` the last name."""

    members: list[Occupant]
    more: bool


def described(access: RoomAccess, room: str, identity: Identity, now: int, guest_edits: int) -> RoomDescription:
    """A room, for somebody who may read it.

    :param now: milliseconds since the Unix epoch.
    :param guest_edits: milliseconds for which a guest may change what was sent under its name.
    """
    settings = access.settings
    may = max(right for right in Right if refusal(access, room, identity, right, now) is None or right == Right.READ)
    age = None if settings.retention_age is None else settings.retention_age / 1000
    role = access.place(who_of(identity)).role
    since = timestamp(max(0, now - guest_edits) if identity.guest else identity.since)
    return RoomDescription(room, settings.access, settings.topic, access.owners(), age, settings.retention_events, role, may.name.lower(), since)


def listed(access: RoomAccess, identity: Identity, after: str, limit: int, now: int) -> Roster:
    """Up to `limit` of those whose names sort after `after`; only moderators see who is muted or banned.

    A guest and a user of the same name are never separated, so there may be one more.
    """
    moderates = refusal(access, "", identity, Right.MODERATE, now) is None
    found: list[Occupant] = []
    for name, key in sorted((key.removeprefix(GUEST_MARK), key) for key in access.places):
        if name <= after:
            continue
        place = access.places[key]
        occupant = Occupant(name, place.role, key.startswith(GUEST_MARK))
        if moderates:
            occupant.muted, occupant.banned = place.muted > now, place.banned > now
            until = place.banned if occupant.banned else place.muted if occupant.muted else FOREVER
            occupant.until = timestamp(until) if until < FOREVER else None
        if not (occupant.role or occupant.muted or occupant.banned):
            continue
        if len(found) >= limit and (not found or found[-1].name != name):
            return Roster(found, True)
        found.append(occupant)
    return Roster(found, False)
