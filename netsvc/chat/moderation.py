"""The procedures ``room.*``: a room's properties, who has which role in it, and who is shut out."""

from math import ceil
from typing import Annotated, Literal

from msgspec import Meta
from twisted.internet.defer import Deferred

from netsvc.chat.procedures import Limit
from netsvc.core.history import MOST
from netsvc.core.moderation import LONGEST, Moderated, Moderation
from netsvc.core.procedures import Call, procedure
from netsvc.core.rosters import RoomDescription, Roster

__all__ = ["RoomProcedures"]

_LONGEST_AGE = 1000 * 366 * 86400

Duration = Annotated[float, Meta(gt=0, le=LONGEST, description="seconds; for ever if not given")]
Age = Annotated[float, Meta(ge=-1, le=_LONGEST_AGE, description="seconds that events are kept; 0 for ever, -1 as [rooms] retention_age says")]
Number = Annotated[int, Meta(ge=-1, le=2**53 - 1, description="events that are kept; 0 any number, -1 as [rooms] retention_events says")]


class RoomProcedures:
    """``room.*``.

    :param moderation: does it.
    """

    def __init__(self, moderation: Moderation) -> None:
        self._moderation = moderation

    @procedure("room.info", role="guest", reads=True)
    def info(self, call: Call, room: str) -> Deferred[RoomDescription]:
        """What a room is like: topic, access, owners, retention, and what the caller is and may do there.

        :raises NotFound: there is no such room, or it is secret and the caller is not a member.
        :raises Forbidden: the room is for its members, or the caller is banned from it.
        """
        return self._moderation.info(call.caller, room)

    @procedure("room.members", role="guest", cost=2, reads=True)
    def members(self, call: Call, room: str, after: str = "", limit: Limit = MOST) -> Deferred[Roster]:
        """Owners, moderators and members of a room by name; moderators also see who is muted or banned.

        If there are more, ask again after the last name.

        :raises NotFound: there is no such room, or it is secret and the caller is not a member.
        :raises Forbidden: the room is for its members, or the caller is banned from it.
        """
        return self._moderation.members(call.caller, room, after, limit)

    @procedure("room.set", role="member")
    def set(
        self,
        call: Call,
        room: str,
        topic: str | None = None,
        access: Literal["public", "members", "secret"] | None = None,
        retention_age: Age | None = None,
        retention_events: Number | None = None,
        create: bool = False,
    ) -> Deferred[Moderated]:
        """Change the given properties of a room: a moderator may set the topic, an owner the rest.

        Each change is an event, of type topic or moderation. Anybody who may no longer read the room loses it at once.

        :param access: public: for everybody; members: for members, others know that it exists; secret: for members, others do not even know that.
        :param create: start the room. Its first event sets its access, so it is never public before that.
        :raises Forbidden: the caller may not do this here, or may not start rooms; only an admin can keep events longer than [rooms] says.
        :raises NotFound: there is no such room, and `create` is not set.
        :raises Conflict: the room exists, and `create` is set.
        """
        age = None if retention_age is None else -1 if retention_age < 0 else ceil(retention_age * 1000)
        return self._moderation.set(call.caller, room, topic, access, age, retention_events, create)

    @procedure("room.invite", role="member")
    def invite(self, call: Call, room: str, name: str) -> Deferred[Moderated]:
        """Make a user a member of a room; for its moderators.

        :raises NotFound: no such room or user. Guests cannot be members, since anybody may take a guest's name.
        :raises Conflict: the user is banned: unban first.
        :raises Forbidden: the caller is not a moderator.
        """
        return self._moderation.invite(call.caller, room, name)

    @procedure("room.role", role="member")
    def role(self, call: Call, room: str, name: str, role: Literal["member", "moderator", "owner"]) -> Deferred[Moderated]:
        """Make a user member, moderator or owner of a room; for its owners. There may be several owners.

        To hand a room over, make somebody else owner and then step down, with this or with room.leave.

        :raises NotFound: no such room or user.
        :raises Conflict: the user is banned, or the room would have no owner left.
        :raises Forbidden: the caller is not an owner; or this is about another owner, and the caller is not an admin.
        """
        return self._moderation.role(call.caller, room, name, role)

    @procedure("room.leave", role="member")
    def leave(self, call: Call, room: str) -> Deferred[Moderated]:
        """Give up one's own role in a room. (chat.leave only stops following it.)

        :raises Conflict: the caller is the only owner: make somebody else owner first.
        :raises NotFound: there is no such room.
        """
        return self._moderation.leave(call.caller, room)

    @procedure("room.kick", role="member")
    def kick(self, call: Call, room: str, name: str, reason: str = "") -> Deferred[Moderated]:
        """Take away somebody's role in a room, and remove all their connections from it; for moderators, on those below them.

        They can come back at once if everybody may read there.

        :raises NotFound: no such room; nobody of that name is in it.
        :raises Forbidden: the caller is not a moderator, or not above them.
        """
        return self._moderation.kick(call.caller, room, name, reason)

    @procedure("room.ban", role="member")
    def ban(self, call: Call, room: str, name: str, reason: str = "", duration: Duration | None = None) -> Deferred[Moderated]:
        """Shut a user or a guest out of a room, present or not, and take away their role; for moderators, on those below them.

        A guest who is in the room, or who calls without logging in, is banned together with its network, since a guest can take another name.

        :raises NotFound: there is no such room.
        :raises Forbidden: the caller is not a moderator, or not above them.
        """
        return self._moderation.ban(call.caller, room, name, reason, duration)

    @procedure("room.unban", role="member")
    def unban(self, call: Call, room: str, name: str) -> Deferred[Moderated]:
        """End a ban. A former member has to be invited again.

        :raises NotFound: there is no such room.
        :raises Forbidden: the caller is not a moderator.
        """
        return self._moderation.unban(call.caller, room, name)

    @procedure("room.mute", role="member")
    def mute(self, call: Call, room: str, name: str, reason: str = "", duration: Duration | None = None) -> Deferred[Moderated]:
        """Let somebody only read in a room; their role stays. For moderators, on those below them.

        :raises NotFound: there is no such room.
        :raises Forbidden: the caller is not a moderator, or not above them.
        """
        return self._moderation.mute(call.caller, room, name, reason, duration)

    @procedure("room.unmute", role="member")
    def unmute(self, call: Call, room: str, name: str) -> Deferred[Moderated]:
        """Let somebody write in a room again.

        :raises NotFound: there is no such room.
        :raises Forbidden: the caller is not a moderator, or not above them.
        """
        return self._moderation.unmute(call.caller, room, name)
