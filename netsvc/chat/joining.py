"""A join under way, and what it is to take the place of."""

from collections.abc import Hashable

from netsvc.core.identity import Identity
from netsvc.core.rooms import Member
from netsvc.rpc.connection import Belonging, RpcConnection

__all__ = ["Joining", "place_of"]


class Joining:
    """A join under way. The connection keeps it, so that a leave sent behind the join, or the connection's end, is not overtaken by it.

    If the connection is in the room already it stays there until the join is done, but hears nothing meanwhile: it is not told twice of what
    the answer tells, and if the join fails it misses nothing. What is there already may be a join itself.

    :param key: under which the connection keeps the room.
    :ivar over: what is being joined is not wanted any more.
    """

    __slots__ = ("_connection", "_former", "_identity", "_key", "_next", "over")

    def __init__(self, connection: RpcConnection, key: Hashable) -> None:
        self.over = False
        self._identity: Identity | None = None
        self._connection = connection
        self._key = key
        self._next: Joining | None = None
        self._former = connection.exchange(key, self)
        if isinstance(self._former, Joining):
            self._former._next = self
        elif isinstance(self._former, Member):
            self._former.hold()

    def leave(self) -> None:
        """See Belonging."""
        self.over = True
        if self._former is not None:
            self._former.leave()

    def act_as(self, identity: Identity) -> None:
        """See Belonging."""
        self._identity = identity
        if self._former is not None:
            self._former.act_as(identity)

    def succeeded(self, member: Member) -> None:
        """This is the connection's place in the room now, for all that this join knows."""
        if self._former is not None:
            self._former.leave()
        if self._next is None:
            self._connection.exchange(self._key, member)
        else:
            self._next._former = member
            member.hold()
        if self._identity is not None:
            member.act_as(self._identity)

    def failed(self) -> None:
        """What was there before goes on."""
        if self.over:
            return
        former = self._former
        if self._next is not None:
            self._next._former = former
        else:
            self._connection.exchange(self._key, former)
            if isinstance(former, Member):
                former.go_on()
        if isinstance(former, Joining):
            former._next = self._next

    def place(self) -> Member | None:
        """The connection's place in the room as long as nothing more is known."""
        return place_of(self._former)

    def lost(self) -> None:
        """That place is lost."""
        if isinstance(self._former, Joining):
            self._former.lost()
        else:
            self._former = None


def place_of(belonging: Belonging | None) -> Member | None:
    """The place in a room that a connection has by what it keeps."""
    if isinstance(belonging, Joining):
        return belonging.place()
    return belonging if isinstance(belonging, Member) else None
