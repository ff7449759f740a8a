"""Any moderations and posts at the same time: all come to an end, and in the log nothing stands behind an event that forbids it."""

from datetime import datetime
from itertools import chain
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.events import decode_extra
from netsvc.core.places import FOREVER
from netsvc.core.records import Draft
from netsvc.errors import NetsvcError
from tests.core.test_moderation_property import PEOPLE, ROOMS, World, steps

ADMIN = "root"

ANN, BOB = PEOPLE[:2]
COMMIT = 4
"""Turns of the reactor that a commit takes."""

deeds = st.sampled_from((("mute", ANN, "den", "bob", "", None), ("ban", ANN, "den", "bob", "", 5.0), ("set", ANN, "den", None, "members", None, None)))
dispute = st.tuples(deeds, st.tuples(st.just("turn"), st.integers(1, 12)), st.just(("post", BOB, "den")))
hurried = st.one_of(st.tuples(steps), st.tuples(st.tuples(st.just("turn"), st.integers(1, 4))), dispute, dispute).map(list)


class Crowd(World):
    """The same rooms, but nobody waits for the outcome of anything, and the store takes its time."""

    def __init__(self) -> None:
        self.hurry = False
        self.begun: list[Deferred[Any]] = []
        self.outcomes: list[Any] = []
        super().__init__()
        for source, name in ((self.store, "room"), (self.store.accesses, "access"), (self.store.accesses, "places")):
            setattr(source, name, self.later(getattr(source, name)))

        self.append = self.store.append
        self.store.append = self.commit  # type: ignore[method-assign]

    def commit(self, drafts: list[Draft]) -> "Deferred[None]":
        """An append whose outcome is not known at once."""
        done: Deferred[None] = self.append(drafts)
        for _ in range(COMMIT):
            done.addCallback(lambda _: deferLater(self.clock, 0))  # type: ignore[arg-type]  # a Clock is one
        return done

    def later(self, read: Any) -> Any:
        """A read that takes a turn."""
        return lambda *arguments: deferLater(self.clock, 0, read, *arguments)  # type: ignore[arg-type]  # a Clock is one

    def outcome(self, deferred: "Deferred[Any]") -> Any:
        """Not known while they hurry."""
        if not self.hurry:
            return super().outcome(deferred)
        self.begun.append(deferred.addBoth(self.outcomes.append))
        return NetsvcError("not known yet")

    def step(self, what: str, *params: Any) -> None:
        """Do one thing."""
        if what == "turn":
            for _ in range(params[0]):
                self.clock.turn()
        else:
            super().step(what, *params)

    def all(self, taken: list[tuple[Any, ...]]) -> None:
        """Do them, and wait for all that comes of them."""
        self.hurry = True
        for step in taken:
            self.step(*step)
        self.hurry = False
        self.clock.pump([0.0] * (20 + 20 * len(taken)))
        assert len(self.outcomes) == len(self.begun), "something never comes to an end"
        for outcome in self.outcomes:
            assert not isinstance(outcome, Failure) or outcome.check(NetsvcError), outcome

    def check_log(self, where: str) -> None:
        """Go through the log of a room, and see at each message whether its sender might write then."""
        roles: dict[str, str] = {}
        until: dict[tuple[str, str], int] = {}
        access = "public"
        for row in self.outcome(self.store.read_after(where, 0, 1000)):
            if row.seq == 1 and not any(each.guest and each.name == row.sender for each in PEOPLE):
                roles[row.sender] = "owner"
            if row.type == "message" and row.sender != ADMIN:
                assert all(until.get((what, row.sender), 0) <= row.at for what in ("mute", "ban")), (where, row)
                assert access == "public" or roles.get(row.sender), (where, row)
            if row.type != "moderation":
                continue
            extra = decode_extra(row.extra)
            name = extra.name or row.sender
            if extra.action in ("mute", "ban"):
                until[extra.action, name] = round(datetime.fromisoformat(extra.until).timestamp() * 1000) if extra.until else FOREVER
            elif extra.action in ("unmute", "unban"):
                until.pop((extra.action[2:], name), None)
            elif extra.action == "access":
                access = extra.value or ""
            if extra.action in ("invite", "role"):
                roles[name] = extra.value or "member"
                until.pop(("ban", name), None)
            elif extra.action in ("ban", "kick", "leave"):
                roles.pop(name, None)


class InterleavedTests(SynchronousTestCase):
    """Random moderations, posts and joins, all at once."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(hurried, max_size=20))
    def test_nothing_behind_what_forbids_it(self, taken: list[list[tuple[Any, ...]]]) -> None:
        """However they fall together, nobody waits for ever, and who has lost a right does not make use of it afterwards."""
        crowd = Crowd()
        crowd.all(list(chain.from_iterable(taken)))
        for where in ROOMS:
            crowd.check_log(where)
        crowd.check()

    def test_it_would_be_seen(self) -> None:
        """A message behind the ban of its sender is noticed."""
        crowd = Crowd()
        crowd.step("ban", ANN, "den", "bob", "", None)
        crowd.check_log("den")
        crowd.rooms.posting.check = lambda identity, room, right: None
        crowd.outcome(maybeDeferred(crowd.rooms.post, BOB, "den", "hi"))
        self.assertRaises(AssertionError, crowd.check_log, "den")
