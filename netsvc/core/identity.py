"""Who acts: the one immutable value that every login returns."""

from functools import lru_cache

import msgspec
from zope.interface import Interface, implementer

__all__ = ["RANKS", "ROLES", "IIdentity", "Identity"]

ROLES = ("guest", "member", "admin")
"""The roles, lowest first; a role has every right of those before it."""

RANKS = {role: rank for rank, role in enumerate(ROLES)}


@lru_cache(maxsize=64)
def _rank(roles: tuple[str, ...]) -> int:
    # Every procedure call asks for it, and there are few sets of roles.
    return max((RANKS.get(role, 0) for role in roles), default=0)


class IIdentity(Interface):
    """What a login asks the portal for."""


@implementer(IIdentity)
class Identity(msgspec.Struct, frozen=True):
    """An actor: a user, a program with a token, or a guest.

    :ivar name: what others see; unique among users, not among guests.
    :ivar roles: the granted roles, for instance ``("member",)``.
    :ivar guest: nobody has vouched for the name.
    :ivar credential: an opaque id of what proved it (never the secret), by which a revocation finds this identity; empty for guests.
    :ivar expires: when what proved it expires, milliseconds since the Unix epoch; 0 is never.
    :ivar network: of a guest: its network, by which a room's ban finds it; empty where that identifies nobody (loopback).
    :ivar since: of a user: when the account was made, milliseconds since the Unix epoch. Whoever had the name before was somebody else.
    """

    name: str
    roles: tuple[str, ...]
    guest: bool = False
    credential: str = ""
    expires: int = 0
    network: str = ""
    since: int = 0

    @property
    def rank(self) -> int:
        """The highest granted role as a number: 0 guest, 1 member, 2 admin."""
        return _rank(self.roles)
