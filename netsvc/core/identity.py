"""Who acts: the one immutable value that every login returns."""

import msgspec

__all__ = ["RANKS", "ROLES", "Identity"]

ROLES = ("guest", "member", "admin")
"""The roles, least first; a role holds every right of those before it."""

RANKS = {role: rank for rank, role in enumerate(ROLES)}


class Identity(msgspec.Struct, frozen=True):
    """An actor: a user, a program with a token, or a guest.

    :ivar name: what others see; unique among users, not among guests.
    :ivar roles: the granted roles, for instance ``("member",)``.
    :ivar guest: nobody has vouched for the name.
    :ivar credential: an opaque id of what proved it (never the secret), by which a revocation finds it; empty for guests.
    """

    name: str
    roles: tuple[str, ...]
    guest: bool = False
    credential: str = ""

    @property
    def rank(self) -> int:
        """The highest granted role as a number: 0 guest, 1 member, 2 admin."""
        return max((RANKS.get(role, 0) for role in self.roles), default=0)
