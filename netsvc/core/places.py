"""What is stored about a room besides its log: its settings, and who has which place in it."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["DEFAULTS", "FOREVER", "NOWHERE", "AccessChange", "Place", "RoomSettings"]

FOREVER = 2**53 - 1
"""A time in ms that never comes."""


class RoomSettings(NamedTuple):
    """What `room.set` sets.

    :ivar access: public, members or secret.
    :ivar topic: a line of text, may be empty.
    :ivar retention_age: milliseconds that events are kept, 0 for ever; None as [rooms] says.
    :ivar retention_events: how many events are kept, 0 any number; None as [rooms] says.
    """

    access: str = "public"
    topic: str = ""
    retention_age: int | None = None
    retention_events: int | None = None


DEFAULTS = RoomSettings()
"""The settings of a room for which nothing is stored."""


class Place(NamedTuple):
    """Somebody's place in a room.

    :ivar role: member, moderator or owner, empty for none.
    :ivar muted: until when, milliseconds since the Unix epoch; 0 is not muted.
    :ivar banned: the same for a ban.
    :ivar networks: of a banned guest: the networks whose guests are banned along with it.
    """

    role: str = ""
    muted: int = 0
    banned: int = 0
    networks: tuple[str, ...] = ()


NOWHERE = Place()
"""The place of whoever has none."""


class AccessChange(NamedTuple):
    """What a moderation changes in the stored state of its room.

    :ivar settings: the new ones, None to leave them.
    :ivar places: by key (netsvc.core.access.who_of) the new places; an empty place removes one.
    """

    settings: RoomSettings | None = None
    places: Mapping[str, Place] = {}
