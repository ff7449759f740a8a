"""Moderation: who has which role in a room, the room's settings, and an event in its log for each change.

A change is stored in the transaction that appends its event, so neither exists without the other. The changes of one room are
made one at a time; each takes effect at its commit, when anybody who may no longer read the room loses it.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.access import EVERYWHERE, ROOM_ROLES, Right, RoomAccess, absent, guest_key, refusal, taken, who_of
from netsvc.core.events import Extra, decode_extra, encode_extra, timestamp
from netsvc.core.fairness import OneByOne
from netsvc.core.history import check_limit
from netsvc.core.identity import Identity
from netsvc.core.names import fold_room_name, registered_form, tidy_guest_name
from netsvc.core.places import DEFAULTS, FOREVER, NOWHERE, AccessChange, Place, RoomSettings
from netsvc.core.posting import Posted
from netsvc.core.records import Draft
from netsvc.core.rooms import Rooms
from netsvc.core.rosters import RoomDescription, Roster, described, listed
from netsvc.core.settings import RoomsSettings
from netsvc.errors import Conflict, Forbidden, InvalidParams, NetsvcError, NotFound, TooLarge
from netsvc.interfaces import IAccounts

__all__ = ["LONGEST", "Moderated", "Moderation", "Target"]

LONGEST = 10 * 366 * 86400.0
"""The longest limited ban or mute, in seconds."""

_NETWORKS = 4
"""Networks banned with one guest, at most."""

R = TypeVar("R")

_Append = Callable[[Identity, Draft, Callable[[], None]], "Deferred[Posted]"]
"""A Posting method that calls back just before it appends."""


class Moderated(msgspec.Struct, omit_defaults=True):
    """The outcome of a moderation: whether it changed anything, and if so the cursor of its event."""

    room: str
    changed: bool
    cursor: str | None = None


class Target(NamedTuple):
    """The person whom a moderation is about.

    :ivar key: see netsvc.core.access.who_of.
    :ivar name: as shown in the event.
    :ivar user: a registered user.
    """

    key: str
    name: str
    user: bool


class _Deed(NamedTuple):
    """What is done to somebody, as the event reports it.

    :ivar until: when it ends, milliseconds since the Unix epoch; 0 if it has no end.
    """

    action: str
    reason: str = ""
    until: int = 0
    value: str | None = None


class Moderation:
    """What owners and moderators do.

    :param rooms: the rooms.
    :param accounts: tells which names belong to users.
    :param clock: its seconds are those of the Unix epoch.
    :param settings: [rooms].
    :param visitors: gives the networks of the guest of a name who sends requests without logging in.
    """

    log = Logger()

    def __init__(
        self, rooms: Rooms, accounts: IAccounts, clock: IReactorTime, settings: RoomsSettings, visitors: Callable[[str], list[str]] = lambda name: []
    ) -> None:
        self._rooms = rooms
        self._permissions = rooms.permissions
        self._accounts = accounts
        self._clock = clock
        self._settings = settings
        self._visitors = visitors
        self._locks = OneByOne()

    # People

    def invite(self, identity: Identity, room: str, name: str) -> "Deferred[Moderated]":
        """Make a user a member.

        Each of these methods raises InvalidParams for a bad name at once, and these by way of its Deferred:

        :raises NotFound: no such room, or no such user where one is needed.
        :raises Forbidden: the caller's role in the room is too low for this, or not above that of the person it is about.
        :raises Conflict: see each method.
        :raises TooLarge: the room has as many people with a place as it may have; at once: a topic or a reason is too long.
        """

        async def work(room: str) -> Moderated:
            access = await self._entitled(identity, room, Right.MODERATE)
            target = await self._user(name)
            place = access.place(target.key)
            if place.banned > self._now:
                raise Conflict(f"{target.name} is banned from {room}: unban first")
            if place.role:
                return Moderated(room, False)
            return await self._place(identity, room, access, target, place._replace(role="member", banned=0), _Deed("invite"))

        return self._alone(room, work)

    def kick(self, identity: Identity, room: str, name: str, reason: str) -> "Deferred[Moderated]":
        """Take away somebody's role, and remove their connections from the room. They may come back if everybody may.

        NotFound also if they are neither in the room nor have a role in it.
        """
        self._check_length("reason", reason)

        async def work(room: str) -> Moderated:
            access, target, place = await self._below(identity, room, name)
            if not place.role and all(who_of(each) != target.key for each in self._rooms.identities(room)):
                raise NotFound(f"{target.name} is not in {room}", parameter="name")
            return await self._place(identity, room, access, target, place._replace(role=""), _Deed("kick", reason))

        return self._alone(room, work)

    def ban(self, identity: Identity, room: str, name: str, reason: str, duration: float | None) -> "Deferred[Moderated]":
        """Keep somebody out for `duration` seconds, None for ever, and take away their role.

        A guest who is in the room at the moment, or a visitor, is banned together with its network, unless that is this host.
        """
        self._check_length("reason", reason)
        until = self._until(duration)

        async def work(room: str) -> Moderated:
            access, target, place = await self._below(identity, room, name)
            networks = [] if target.user else self._networks(room, target)
            before = place.networks if place.banned > self._now else ()
            banned = Place("", place.muted, until, tuple(dict.fromkeys((*before, *networks)))[-_NETWORKS:])
            if banned == place:
                return Moderated(room, False)
            return await self._place(identity, room, access, target, banned, _Deed("ban", reason, until))

        return self._alone(room, work)

    def unban(self, identity: Identity, room: str, name: str) -> "Deferred[Moderated]":
        """End a ban; a former member has to be invited again."""

        async def work(room: str) -> Moderated:
            access, target, place = await self._below(identity, room, name)
            if not place.banned:
                # A user may have been registered under the name of a guest who was banned before.
                target = Target(guest_key(target.name), target.name, False)
                place = access.place(target.key)
            if not place.banned:
                return Moderated(room, False)
            return await self._place(identity, room, access, target, place._replace(banned=0, networks=()), _Deed("unban"))

        return self._alone(room, work)

    def mute(self, identity: Identity, room: str, name: str, reason: str, duration: float | None) -> "Deferred[Moderated]":
        """Let somebody only read, for `duration` seconds, None for ever; their role stays."""
        self._check_length("reason", reason)
        until = self._until(duration)

        async def work(room: str) -> Moderated:
            access, target, place = await self._below(identity, room, name)
            if place.muted == until:
                return Moderated(room, False)
            return await self._place(identity, room, access, target, place._replace(muted=until), _Deed("mute", reason, until))

        return self._alone(room, work)

    def unmute(self, identity: Identity, room: str, name: str) -> "Deferred[Moderated]":
        """Let somebody write again."""

        async def work(room: str) -> Moderated:
            access, target, place = await self._below(identity, room, name)
            if not place.muted:
                return Moderated(room, False)
            return await self._place(identity, room, access, target, place._replace(muted=0), _Deed("unmute"))

        return self._alone(room, work)

    def role(self, identity: Identity, room: str, name: str, role: str) -> "Deferred[Moderated]":
        """Make a user owner, moderator or member. An owner may step down, but only an admin can take the role from another owner.

        Conflict: the user is banned, or the room would have no owner left.
        """
        if role not in ROOM_ROLES:
            raise InvalidParams(f"role: expected one of {', '.join(ROOM_ROLES)}", parameter="role")

        async def work(room: str) -> Moderated:
            access = await self._entitled(identity, room, Right.OWN)
            target = await self._user(name)
            place = access.place(target.key)
            if place.role == role:
                return Moderated(room, False)
            if place.banned > self._now:
                raise Conflict(f"{target.name} is banned from {room}: unban first")
            if place.role == "owner":
                if target.key != who_of(identity) and identity.rank < EVERYWHERE:
                    raise Forbidden(f"{target.name} owns {room}, too: only an admin may change that")
                self._keep_an_owner(identity, access, room)
            return await self._place(identity, room, access, target, place._replace(role=role, banned=0), _Deed("role", value=role))

        return self._alone(room, work)

    def leave(self, identity: Identity, room: str) -> "Deferred[Moderated]":
        """Give up one's own role. Conflict: the room would have no owner left."""

        async def work(room: str) -> Moderated:
            access = await self._entitled(identity, room, Right.READ)
            key = who_of(identity)
            place = access.place(key)
            if not place.role:
                return Moderated(room, False)
            if place.role == "owner":
                self._keep_an_owner(identity, access, room)
            return await self._place(identity, room, access, Target(key, identity.name, True), place._replace(role=""), _Deed("leave"))

        return self._alone(room, work)

    # What the room is like

    def info(self, identity: Identity, room: str) -> "Deferred[RoomDescription]":
        """A room, for anybody who may read it. NotFound, Forbidden as above."""
        return Deferred.fromCoroutine(self._info(identity, fold_room_name(room)))

    async def _info(self, identity: Identity, room: str) -> RoomDescription:
        access = await self._entitled(identity, room, Right.READ)
        return described(access, room, identity, self._now, int(self._settings.guest_edits * 1000))

    def members(self, identity: Identity, room: str, after: str, limit: int) -> "Deferred[Roster]":
        """Who has a place in a room, for anybody who may read it. NotFound, Forbidden as above."""
        check_limit(limit)
        return Deferred.fromCoroutine(self._members(identity, fold_room_name(room), after, limit))

    async def _members(self, identity: Identity, room: str, after: str, limit: int) -> Roster:
        return listed(await self._entitled(identity, room, Right.READ), identity, after, limit, self._now)

    def set(
        self,
        identity: Identity,
        room: str,
        topic: str | None,
        access: str | None,
        retention_age: int | None,
        retention_events: int | None,
        create: bool = False,
    ) -> "Deferred[Moderated]":
        """Change what is given; each change is a separate event.

        :param topic: takes a moderator; the rest takes an owner.
        :param retention_age: milliseconds, 0 for ever, -1 as [rooms] says; the same for `retention_events`.
        :param create: start the room. Its first event sets its access, which holds from there on.
        :raises Forbidden: also if an owner wants events kept longer than [rooms] says, or the caller may not start rooms.
        :raises Conflict: with `create`: the room exists.
        """
        self._check_length("topic", topic or "")
        wanted = {"topic": topic, "access": access, "retention_age": retention_age, "retention_events": retention_events}
        given = {key: value for key, value in wanted.items() if value is not None}
        right = Right.MODERATE if given.keys() <= {"topic"} else Right.OWN

        async def work(room: str) -> Moderated:
            if create:
                self._check_retention(identity, retention_age, retention_events)
                outcome, present = await self._start(identity, room, access or DEFAULTS.access)
            else:
                present = await self._entitled(identity, room, right)
                self._check_retention(identity, retention_age, retention_events)
                outcome = Moderated(room, False)
            for key, value in given.items():
                stored = None if value == -1 else value
                if getattr(present.settings, key) == stored:
                    continue
                change = AccessChange(present.settings._replace(**{key: stored}))  # type: ignore[arg-type]  # each of its own type
                draft = Draft(room, "topic" if key == "topic" else "moderation", identity.name, self._now)
                shown = "" if key == "topic" else _shown(key, stored)
                if key == "topic":
                    draft.text = topic
                else:
                    draft.extra = _extra(key, value=shown)
                outcome, present = await self._append(identity, draft, present, change, key, shown)
            return outcome

        return self._alone(room, work)

    def _check_retention(self, identity: Identity, age: int | None, events: int | None) -> None:
        limits = (("retention_age", age, int(self._settings.retention_age * 1000)), ("retention_events", events, self._settings.retention_events))
        for key, value, most in limits:
            if value is not None and most and identity.rank < EVERYWHERE and (value == 0 or value > most):
                raise Forbidden(f"{key}: only an admin may keep more than [rooms] {key} says", parameter=key)

    # How

    def _alone(self, room: str, work: "Callable[[str], Coroutine[Deferred[Any], Any, R]]") -> "Deferred[R]":
        """Run `work` with the folded name of a room, after what is under way there; cancelling the returned Deferred does not cancel the work."""
        return _seen_through(Deferred.fromCoroutine(self._in_turn(fold_room_name(room), work)))

    async def _in_turn(self, room: str, work: "Callable[[str], Coroutine[Deferred[Any], Any, R]]") -> R:
        await self._locks.acquire(room)
        try:
            return await work(room)
        finally:
            self._locks.release(room)

    async def _entitled(self, identity: Identity, room: str, right: Right) -> RoomAccess:
        """What is stored about a room, if somebody may do this there."""
        await self._may_read(identity, room)
        if not await self._rooms.exists(room):
            raise absent(room)
        access = await self._permissions.access(room)
        error = refusal(access, room, identity, right, self._now)
        if error is not None:
            raise error
        return access

    async def _may_read(self, identity: Identity, room: str) -> None:
        checking = self._permissions.check(identity, room, Right.READ)
        if checking is not None:
            await checking

    async def _below(self, identity: Identity, room: str, name: str) -> tuple[RoomAccess, Target, Place]:
        """The room's access for a moderator, and somebody below them with their present place."""
        access = await self._entitled(identity, room, Right.MODERATE)
        target, admin = await self._somebody(name)
        if admin:
            raise Forbidden(f"{target.name} is an admin: nobody can shut an admin out")
        if access.level_of(target.key) >= access.level(identity):
            raise Forbidden(f"{target.name} is {access.place(target.key).role} of {room}: only somebody above may do that")
        return access, target, access.place(target.key)

    async def _somebody(self, name: str) -> tuple[Target, bool]:
        """The user of this name, or else the guest, and whether it is an admin."""
        tidy = tidy_guest_name(name)
        folded = registered_form(tidy)
        user = await self._accounts.find_user(folded) if folded is not None else None
        if user is not None:
            return Target(user.name, user.name, True), user.role == "admin"
        return Target(guest_key(tidy), tidy, False), False

    async def _user(self, name: str) -> Target:
        target, _ = await self._somebody(name)
        if not target.user:
            raise NotFound(f"there is no user {target.name!r}; guests cannot have a role, since anybody may take a guest's name", parameter="name")
        return target

    def _keep_an_owner(self, identity: Identity, access: RoomAccess, room: str) -> None:
        if len(access.owners()) == 1 and identity.rank < EVERYWHERE:
            raise Conflict(f"{room} would have no owner: make somebody else owner first")

    def _networks(self, room: str, target: Target) -> list[str]:
        following = [each.network for each in self._rooms.identities(room) if each.network and who_of(each) == target.key]
        return following + self._visitors(target.name)

    def _check_length(self, parameter: str, text: str) -> None:
        if len(text.encode(errors="replace")) > self._settings.topic:
            raise TooLarge(f"{parameter}: more than the {self._settings.topic} bytes that [rooms] topic allows", parameter=parameter)

    def _until(self, duration: float | None) -> int:
        if duration is None:
            return FOREVER
        if not 0 < duration <= LONGEST:
            raise InvalidParams(f"duration: expected more than 0 and at most {LONGEST:g} seconds", parameter="duration")
        return self._now + int(duration * 1000)

    @property
    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)

    async def _place(self, identity: Identity, room: str, access: RoomAccess, target: Target, place: Place, deed: _Deed) -> Moderated:
        """Give somebody a place."""
        if target.key not in access.places and place != NOWHERE and len(access.places) >= self._settings.places:
            raise TooLarge(f"{len(access.places)} people have a place in {room}; [rooms] places sets the bound")
        draft = Draft(room, "moderation", identity.name, self._now, deed.reason or None)
        draft.extra = _extra(deed.action, target.name, deed.value, timestamp(deed.until) if 0 < deed.until < FOREVER else None)
        change = AccessChange(None, {target.key: place})
        outcome, _ = await self._append(identity, draft, access, change, deed.action, target.name, target.key)
        return outcome

    async def _start(self, identity: Identity, room: str, access: str) -> tuple[Moderated, RoomAccess]:
        """Start a room that has this access from its first event on: at no moment does anybody find it public."""
        await self._may_read(identity, room)
        if await self._rooms.exists(room):
            raise taken(room)
        draft = Draft(room, "moderation", identity.name, self._now)
        draft.extra = _extra("access", value=access)
        draft.change = AccessChange(RoomSettings(access))
        started = RoomAccess(RoomSettings(access), [(who_of(identity), Place("owner"))])
        posted = await self._stored(self._rooms.posting.found, identity, draft, RoomAccess(), started)
        return self._effect(identity, draft, posted, started, "access", access), started

    async def _append(
        self, identity: Identity, draft: Draft, access: RoomAccess, change: AccessChange, action: str, about: str, key: str = ""
    ) -> tuple[Moderated, RoomAccess]:
        """Append the event and store the change."""
        draft.change = change
        changed = access.changed(change)
        # The right to do this has been checked and cannot change: nobody else changes anything in this room meanwhile.
        posted = await self._stored(self._rooms.posting.change, identity, draft, access, changed)
        return self._effect(identity, draft, posted, changed, action, about, key), changed

    async def _stored(self, append: _Append, identity: Identity, draft: Draft, before: RoomAccess, after: RoomAccess) -> Posted:
        """Append an event that changes who may do what. Whoever asks meanwhile waits for the outcome: nothing that it forbids comes after it."""
        room = draft.room
        try:
            posted = await append(identity, draft, partial(self._permissions.hold, room, after))
        except BaseException:
            self._permissions.release(room, before)
            raise
        self._permissions.release(room, after)
        return posted

    def _effect(self, identity: Identity, draft: Draft, posted: Posted, changed: RoomAccess, action: str, about: str, key: str = "") -> Moderated:
        """A change has taken effect: it is logged, and those who may no longer read are removed.

        :param about: a name or a value, as the log shows it; `key`: that of the person it is about.
        """
        room = draft.room
        extra = decode_extra(draft.extra) if draft.extra else Extra()
        words = [action, about, extra.value if extra.value != about else None, extra.until and f"until {extra.until}"]
        told = {"action": action, "about": about, "value": extra.value or "", "until": extra.until or "", "reason": draft.text or ""}
        self.log.info("{identity} in {room}: {what}", identity=identity.name, room=room, what=" ".join(filter(None, words)), seq=posted.seq, **told)
        kicked = key if action == "kick" else ""
        now = self._now

        def lost(each: Identity) -> str:
            return action if who_of(each) == kicked or refusal(changed, room, each, Right.READ, now) is not None else ""

        self._rooms.expel(room, lost)
        return Moderated(room, True, posted.cursor)


def _shown(key: str, value: str | int | None) -> str:
    """A setting in an event: ages in seconds."""
    if value is None:
        return "default"
    return str(value) if key != "retention_age" else f"{int(value) / 1000:.3f}".rstrip("0").rstrip(".")


def _extra(action: str, name: str | None = None, value: str | None = None, until: str | None = None) -> str:
    return encode_extra(Extra(action=action, name=name, value=value, until=until))


def _seen_through(work: "Deferred[R]") -> "Deferred[R]":
    """The outcome of `work`; cancelling this does not cancel the work."""
    outcome: Deferred[R] = Deferred()

    def tell(result: "R | Failure") -> None:
        if not outcome.called:
            outcome.callback(result)
        elif isinstance(result, Failure) and not result.check(NetsvcError):
            Moderation.log.failure("a moderation failed after its caller had left", result)

    work.addBoth(tell)
    return outcome
