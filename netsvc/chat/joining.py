"""A join under way, and the place in the room that it will replace."""

from collections.abc import Hashable

from netsvc.core.identity import Identity
from netsvc.core.rooms import Member
from netsvc.rpc.connection import Belonging, RpcConnection

__all__ = ["Joining", "place_of"]


class Joining:
    """A join under way. The connection keeps it, so that it cannot overtake a leave sent after the join, or the connection's end.

    If the connection is in the room already it stays there until the join is done, but gets nothing meanwhile: so it is not sent twice what
    is in the answer, and misses nothing if the join fails. The earlier place may be a join itself.

    :param key: the key under which the connection keeps the room.
    :ivar over: the join is no longer wanted.
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
        """The join is done: `member` is the connection's place in the room now."""
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
        """The place from before continues."""
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
        """The connection's place in the room until the join is done."""
        return place_of(self._former)

    def lost(self) -> None:
        """That place is lost."""
        if isinstance(self._former, Joining):
            self._former.lost()
        else:
            self._former = None


def place_of(belonging: Belonging | None) -> Member | None:
    """The place in a room that belongs to what a connection keeps."""
    if isinstance(belonging, Joining):
        return belonging.place()
    return belonging if isinstance(belonging, Member) else None
