"""Any moderations in any order: what is in memory says what the store says, and who may not read follows no room."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.access import Right, refusal
from netsvc.core.identity import Identity
from netsvc.core.moderation import Moderation
from netsvc.core.permissions import Permissions
from netsvc.core.rooms import Member, Rooms
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.errors import NetsvcError
from netsvc.store.memory import MemoryStore
from tests.core.fakes import FakeSink, LineFormat, TurningClock

ROOMS = ("den", "plaza", "attic")
USERS = [Identity(name, ("admin",) if name == "root" else ("member",)) for name in ("ann", "bob", "meg", "root")]
GUESTS = [Identity("Gus", ("guest",), guest=True, network="192.0.2.1"), Identity("eve", ("guest",), guest=True, network="192.0.2.1")]
PEOPLE = USERS + GUESTS

room = st.sampled_from(ROOMS)
person = st.sampled_from(PEOPLE)
actor = st.sampled_from((*PEOPLE, *[USERS[0], USERS[-1]] * 4))  # mostly those who may
name = person.map(lambda identity: identity.name)
access = st.sampled_from((None, "public", "members", "secret"))
duration = st.sampled_from((None, 1.0, 5.0))
steps = st.one_of(
    st.tuples(st.sampled_from(("invite", "unban", "unmute")), actor, room, name),
    st.tuples(st.just("kick"), actor, room, name, st.just("")),
    st.tuples(st.just("ban"), actor, room, name, st.just("because"), duration),
    st.tuples(st.just("mute"), actor, room, name, st.just("because"), duration),
    st.tuples(st.just("role"), actor, room, name, st.sampled_from(("member", "moderator", "owner"))),
    st.tuples(st.just("leave"), person, room),
    st.tuples(st.just("set"), actor, room, st.sampled_from((None, "topic")), access, st.none(), st.none()),
    st.tuples(st.just("set"), actor, room, st.none(), access, st.none(), st.none(), st.just(True)),
    st.tuples(st.just("join"), person, room),
    st.tuples(st.just("post"), person, room),
    st.tuples(st.just("wait"), st.floats(0.1, 3.0)),
    st.tuples(st.just("forget")),
)


class World:
    """Three rooms: ann has started den, a guest plaza, attic is not there yet; everybody is in them."""

    def __init__(self) -> None:
        self.clock = TurningClock()
        self.clock.advance(1_700_000_000.0)
        self.store = MemoryStore(self.clock)
        for identity in USERS:
            self.store.local_accounts.add_user(identity.name, identity.roles[0])
        # So few places are kept that rooms are looked up again and again.
        kept = RoomsSettings(places_cached=2)
        self.rooms = Rooms(self.store, self.clock, kept, LimitsSettings(), "guest")
        self.moderation = Moderation(self.rooms, self.store.accounts, self.clock, kept)
        self.members: list[tuple[str, Member]] = []
        for starter, started in ((USERS[0], "den"), (GUESTS[0], "plaza")):
            self.outcome(self.rooms.post(starter, started, "hello"))
        for identity in PEOPLE:
            for where in ROOMS:
                self.step("join", identity, where)

    def outcome(self, deferred: "Deferred[Any]") -> Any:
        """The result, or the error, after some turns."""
        found: list[Any] = []
        deferred.addBoth(found.append)
        self.clock.pump([0.0] * 10)
        result = found[0].value if isinstance(found[0], Failure) else found[0]
        assert not isinstance(result, BaseException) or isinstance(result, NetsvcError), result
        return result

    def step(self, what: str, *params: Any) -> None:
        """Do one thing."""
        if what == "wait":
            self.clock.advance(params[0])
        elif what == "forget":
            self.rooms.permissions.forget()
        elif what == "join":
            who, where = params
            joined = self.outcome(maybeDeferred(self.rooms.join, who, where, None, 0, LineFormat(), FakeSink()))
            if not isinstance(joined, NetsvcError):
                self.members.append((where, joined.member))
        elif what == "post":
            self.outcome(maybeDeferred(self.rooms.post, *params, "hi"))
        else:
            self.outcome(maybeDeferred(getattr(self.moderation, what), *params))

    def check(self) -> None:
        """Everything that can be asked agrees with what is stored."""
        now = int(self.clock.seconds() * 1000)
        again = Permissions(self.store.accesses, self.clock.seconds, 100)
        self.outcome(again.start())
        there = {each.name for each in self.outcome(self.store.rooms("", 10))}
        assert again.restricted.items() <= self.rooms.permissions.restricted.items()
        for identity in PEOPLE:
            hidden = set()
            for where in ROOMS:
                access = self.outcome(self.store.accesses.access(where))
                for right in Right:
                    error = refusal(access, where, identity, right, now)
                    for permissions in (self.rooms.permissions, again):
                        told = self.outcome(maybeDeferred(permissions.check, identity, where, right))
                        assert (type(told), str(told)) == (type(error), str(error)), (identity.name, where, right)
                    if right == Right.READ and error is not None:
                        hidden.add(where)
            assert self.outcome(self.rooms.permissions.unreadable(identity)).keys() == hidden
            assert self.outcome(again.unreadable(identity, list(ROOMS))).keys() == hidden
            listed = self.outcome(self.rooms.directory(identity, "", 10)).rooms
            assert {each.name for each in listed if each.cursor is not None} == there - hidden

    def check_members(self) -> None:
        """Who follows a room may read it. (Somebody's ban may be over; nobody's begins by itself.)"""
        now = int(self.clock.seconds() * 1000)
        for where, member in self.members:
            access = self.outcome(self.store.accesses.access(where))
            assert not member.there or refusal(access, where, member.identity, Right.READ, now) is None, (where, member.identity.name)


class ModerationPropertyTests(SynchronousTestCase):
    """Random moderations."""

    @settings(max_examples=100, deadline=None)
    @given(st.lists(steps, max_size=25))
    def test_any_moderations(self, taken: list[tuple[Any, ...]]) -> None:
        """After each step memory agrees with the store, however little is kept there, and followers with both."""
        world = World()
        for step in taken:
            world.step(*step)
            world.check_members()
        world.check()

    def test_every_seq_has_its_event(self) -> None:
        """The log of a room has an event for each change, and for nothing else."""
        world = World()
        ann, bob = USERS[:2]
        before = world.outcome(world.store.room("den")).head
        changes = (("invite", ann, "den", "bob"), ("invite", ann, "den", "bob"), ("role", bob, "den", "ann", "member"), ("kick", ann, "den", "bob", ""))
        for change in changes:
            world.step(*change)
        self.assertEqual(world.outcome(world.store.room("den")).head, before + 2)
