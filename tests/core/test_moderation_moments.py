"""What is posted, asked and deleted in the very moment of a moderation: nothing that it forbids comes behind its event."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from netsvc.core.identity import Identity
from netsvc.errors import Forbidden, NotFound, StoreUnavailable
from tests.core.moderation_case import ANN, BOB, EVE, MEG, MOD, ModerationTestCase


class MomentTests(ModerationTestCase):
    """A change that has been given to the store, whose outcome is not known yet."""

    def begin(self, what: str, who: Identity, *params: Any) -> "Deferred[Any]":
        """A moderation that is stored, but not answered."""
        defaults = {"mute": ("", None), "ban": ("", None), "kick": ("",)}.get(what, ())
        changing: Deferred[Any] = getattr(self.moderation, what)(who, "den", *params, *defaults)
        while self.last() != "moderation":
            self.clock.turn()
        self.assertNoResult(changing)
        return changing

    def last(self) -> str:
        """The type of the newest event that is stored."""
        return self.successResultOf(self.store.read_before("den", self.head() + 1, 1))[0].type

    def set_access(self, access: str) -> "Deferred[Any]":
        """The access is changed so."""
        return self.begin("set", ANN, None, access, None, None)

    def test_posts(self) -> None:
        """Who is muted, banned or shut out has posted before that, or is refused; others wait for a moment."""
        for change in (lambda: self.begin("mute", MOD, "bob"), lambda: self.begin("ban", MOD, "bob"), lambda: self.set_access("members")):
            self.do("unban", MOD, "bob")
            self.do("unmute", MOD, "bob")
            before = self.rooms.post(BOB, "den", "in time")
            self.clock.turn()
            changing = change()
            late, others = self.rooms.post(BOB, "den", "too late"), self.rooms.post(MEG, "den", "hi")
            self.assertNoResult(late)
            cursor = self.result(changing).cursor
            seq = self.successResultOf(before).seq
            self.assertEqual(cursor, self.cursor(seq + 1))
            self.failureResultOf(late, Forbidden)
            self.assertEqual(self.successResultOf(others).seq, seq + 2)

    def test_posts_that_wait(self) -> None:
        """Nor does it help to have asked before it, and to have waited for one's turn behind it."""
        self.do("mute", MOD, "eve")
        slow: Deferred[None] = Deferred()
        real = self.rooms.posting.check
        self.rooms.posting.check = lambda identity, room, right: slow
        first = self.rooms.post(ANN, "den", "first")
        self.rooms.posting.check = real
        changing = self.moderation.mute(MOD, "den", "bob", "", None)
        self.turn()
        self.rooms.permissions.forget()
        second = self.rooms.post(BOB, "den", "second")
        self.turn()
        slow.callback(None)
        self.turn()
        self.assertTrue(self.successResultOf(changing).changed)
        self.failureResultOf(second, Forbidden)
        self.assertEqual(self.successResultOf(first).seq + 1, self.head())

    def test_many_posts_that_wait(self) -> None:
        """However many have to wait, all are posted or refused, in order, and the room goes on."""
        changing = self.begin("mute", MOD, "bob")
        mentions = [self.rooms.post(MEG, "den", f"@room {number}") for number in range(300)]
        refused = [self.rooms.post(BOB, "den", "hi") for _ in range(300)]
        self.turn(100)
        self.assertEqual([self.successResultOf(post).seq for post in mentions], [*range(self.head() - 299, self.head() + 1)])
        for post in refused:
            self.failureResultOf(post, Forbidden)
        self.assertTrue(self.successResultOf(changing).changed)
        self.assertEqual(self.post(who=MEG, room="den").seq, self.head())

    def test_questions(self) -> None:
        """Who asks to read a room that is being closed is told when it is known; nobody sees it in a list meanwhile."""
        changing = self.set_access("secret")
        reading = self.rooms.history(BOB, "den", None, None, 1)
        self.assertNoResult(reading)
        self.assertEqual(self.result(self.rooms.directory(EVE, "", 9)).rooms, [])
        self.result(changing)
        self.failureResultOf(reading, NotFound)

    def test_deletions(self) -> None:
        """Who was a moderator until now deletes nobody's messages any more."""
        seq = self.post(who=BOB, room="den").seq
        changing = self.begin("role", ANN, "mod", "member")
        deleting = self.rooms.posting.delete(MOD, "den", seq)
        self.result(changing)
        self.failureResultOf(deleting, Forbidden)

    def test_one_at_a_time(self) -> None:
        """Changes of a room are made one after the other, also if one of them is refused and somebody asks again at once."""
        find = self.store.accounts.find_user
        self.store.accounts.find_user = lambda name: deferLater(self.clock, 0, find, name)  # type: ignore[method-assign,assignment,arg-type]
        changes = [self.moderation.set(ANN, "den", "one", None, None, None)]

        def again(failure: Failure) -> None:
            failure.trap(Forbidden)
            changes.append(self.moderation.invite(ANN, "den", "bob"))

        self.moderation.set(BOB, "den", "two", None, None, None).addErrback(again)
        while len(changes) < 2:
            self.clock.turn()
        changes.append(self.moderation.set(ANN, "den", None, "secret", None, None))
        self.turn()
        self.assertEqual([self.successResultOf(change).cursor for change in changes], [self.cursor(seq) for seq in range(self.head() - 2, self.head() + 1)])
        self.assertEqual(self.rooms.permissions.restricted, {"den": "secret"})
        self.assertEqual(len(self.moderation._locks), 0)

    def test_store_failure(self) -> None:
        """What could not be stored has taken nothing from anybody, and given nothing, not for a moment either."""
        self.store.fail_next()
        muting = self.moderation.mute(MOD, "den", "bob", "", None)
        self.clock.turn()
        posting = self.rooms.post(BOB, "den", "hi")
        self.turn()
        self.failureResultOf(muting, StoreUnavailable)
        self.assertEqual(self.successResultOf(posting).seq, self.head())
        self.assertNotIn("den", self.rooms.permissions.restricted)
        self.do("set", ANN, None, "secret")
        self.store.fail_next()
        opening = self.moderation.set(ANN, "den", None, "public", None, None)
        self.clock.turn()
        reading = self.rooms.history(BOB, "den", None, None, 1)
        self.assertEqual(self.result(self.rooms.directory(BOB, "", 9)).rooms, [])
        self.failureResultOf(opening, StoreUnavailable)
        self.failureResultOf(reading, NotFound)
