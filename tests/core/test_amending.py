"""Editing, deleting, reacting, answering: who may, and what everybody sees of it."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import capturedLogs, formatEvent

from netsvc.core.events import Event
from netsvc.core.identity import Identity
from netsvc.errors import Conflict, Forbidden, InvalidParams, NetsvcError, NotFound, TooLarge
from tests.core.fakes import FakeSink, LineFormat
from tests.core.moderation_case import ANN, MEG, MOD, ModerationTestCase
from tests.core.rooms_case import ALICE, BOB, GUEST, OTHER_GUEST, RoomsTestCase

ROOT = Identity("root", ("admin",))


class SpokenFormat(LineFormat):
    """Events as ``seq type text``, one a line."""

    def event(self, event: Event) -> bytes:
        """Seq, type and text."""
        return f"{event.seq} {event.type} {event.text or ''}\n".encode()


class AmendingTestCase(RoomsTestCase):
    """Words for what clients do to messages."""

    def setUp(self) -> None:
        """Rooms, and a format that shows texts."""
        super().setUp()
        self.format = SpokenFormat()

    def edit(self, seq: int, text: str, who: Identity = ALICE) -> Any:
        """Edit and wait."""
        return self.result(self.rooms.posting.edit(who, "lobby", seq, text))

    def delete(self, seq: int, who: Identity = ALICE) -> Any:
        """Delete and wait."""
        return self.result(self.rooms.posting.delete(who, "lobby", seq))

    def react(self, seq: int, emoji: str = "👍", on: bool = True, who: Identity = ALICE) -> Any:
        """React and wait."""
        return self.result(self.rooms.posting.react(who, "lobby", seq, emoji, on))

    def refused(self, error: type[NetsvcError], deferred: Any) -> str:
        """The detail of the error by way of a Deferred."""
        self.turn()
        return str(self.failureResultOf(deferred, error).value.detail)

    def events(self) -> list[Event]:
        """The history of the lobby."""
        return list(self.result(self.rooms.history(ALICE, "lobby", None, None, 200)).events)

    def shown(self) -> list[tuple[str, str | None]]:
        """Type and text of each event."""
        return [(event.type, event.text) for event in self.events()]


class EditTests(AmendingTestCase):
    """chat.edit."""

    def test_present_text(self) -> None:
        """History gives a message's present text, and that it was edited; the edit is an event."""
        self.post("teh")
        posted = self.edit(1, "the")
        self.assertEqual((posted.seq, posted.cursor), (2, self.cursor(2)))
        first, second = self.events()
        self.assertEqual((first.text, first.edited, first.sender), ("the", True, "alice"))
        self.assertEqual((second.type, second.target, second.text, second.sender, second.edited), ("edit", 1, "the", "alice", False))

    def test_same_text(self) -> None:
        """The text that the last edit gave appends nothing more."""
        self.post("teh")
        self.assertEqual(self.edit(1, "the"), self.edit(1, "the"))
        self.assertEqual(self.edit(1, "thee").seq, 3)

    def test_whose(self) -> None:
        """Only one's own; not even an admin puts words into somebody's mouth. A guest and a user of one name are two."""
        self.post("mine")
        self.post("hers", who=GUEST)
        namesake = Identity(GUEST.name, ("member",))
        for seq, who in ((1, BOB), (1, ROOT), (1, Identity("alice", ("guest",), guest=True)), (2, OTHER_GUEST), (2, namesake)):
            self.assertIn("not yours", self.refused(Forbidden, self.rooms.posting.edit(who, "lobby", seq, "x")))
        self.assertEqual(self.edit(2, "still hers", who=GUEST).seq, 3)

    def test_guests_have_not_long(self) -> None:
        """A guest's name may be somebody else's tomorrow: it changes what was sent under it for an hour."""
        self.post("old", who=GUEST)
        self.clock.advance(3600.001)
        self.assertIn("3600 s", self.refused(Forbidden, self.rooms.posting.edit(GUEST, "lobby", 1, "x")))
        self.assertIn("3600 s", self.refused(Forbidden, self.rooms.posting.delete(GUEST, "lobby", 1)))

    def test_an_older_message_than_the_account(self) -> None:
        """Who was added under the name of a removed user may change nothing of that one's, and all of their own."""
        self.post("the former one's")
        self.clock.advance(0.001)
        again = Identity("alice", ("member",), since=int(self.clock.seconds() * 1000))
        self.post("mine", who=again)
        for change in (self.rooms.posting.edit(again, "lobby", 1, "x"), self.rooms.posting.delete(again, "lobby", 1)):
            self.assertIn("not yours", self.refused(Forbidden, change))
        self.edit(2, "edited", again)
        self.delete(2, again)

    def test_what(self) -> None:
        """There must be such a message: no other event, no absent one, no absent room, none that is deleted."""
        self.post("one")
        self.edit(1, "two")
        for seq in (2, 3, 2**53 - 1):
            self.assertIn("seq: there is no message", self.refused(NotFound, self.rooms.posting.edit(ALICE, "lobby", seq, "x")))
        self.refused(NotFound, self.rooms.posting.edit(ALICE, "absent", 1, "x"))
        self.assertIsNone(self.result(self.store.room("absent")))
        self.delete(1)
        self.assertIn("deleted", self.refused(Conflict, self.rooms.posting.edit(ALICE, "lobby", 1, "x")))

    def test_params(self) -> None:
        """Bad params are told by name, at once."""
        for error, name, room, seq, text in (
            (InvalidParams, "room", "A B", 1, "x"),
            (InvalidParams, "seq", "lobby", 0, "x"),
            (InvalidParams, "seq", "lobby", 2**53, "x"),
            (InvalidParams, "text", "lobby", 1, ""),
            (TooLarge, "text", "lobby", 1, "x" * 20_000),
        ):
            raised = self.assertRaises(error, self.rooms.posting.edit, ALICE, room, seq, text)
            self.assertEqual(raised.data["parameter"], name)

    def test_bound(self) -> None:
        """A message can be edited so often and no more."""
        self.rooms = self.make_rooms(edits=2)
        self.post("0")
        self.edit(1, "1")
        self.edit(1, "2")
        self.assertIn("[rooms] edits", self.refused(Conflict, self.rooms.posting.edit(ALICE, "lobby", 1, "3")))


class DeleteTests(AmendingTestCase):
    """chat.delete."""

    def texts_anywhere(self) -> str:
        """All texts of the lobby: in the store, in the ring, in the frames."""
        rows = self.result(self.store.read_after("lobby", 0, 1000))
        state = self.rooms._states.get("lobby")
        ring = state.room.events if state is not None else []
        frames = [frame for fanout in state.room.fanouts.values() for frame in fanout.frames] if state is not None else []
        return f"{rows}{ring}{frames}"

    def test_gone_for_good(self) -> None:
        """The text is gone from the message and from its edits, in log, ring and frames; the places stay."""
        _, member, sink = self.join()
        member.start()
        self.post("secret 1")
        self.post("other")
        self.edit(1, "secret 2 @bob")
        self.edit(1, "secret 3")
        self.assertIn("secret", sink.received.decode())
        posted = self.delete(1)
        self.assertEqual(posted.seq, 5)
        self.assertEqual(self.shown(), [("message", ""), ("message", "other"), ("edit", ""), ("edit", ""), ("delete", None)])
        first = self.events()[0]
        self.assertEqual((first.deleted, first.edited, first.mentions, self.events()[4].target), (True, False, None, 1))
        self.assertNotIn("secret", self.texts_anywhere())
        self.assertNotIn("bob", self.texts_anywhere())
        self.assertEqual(sink.lines()[-1], "5 delete ")

    def test_who_is_behind(self) -> None:
        """A follower that has not had the message yet gets it blanked, from the ring as from the store."""
        slow, fast = FakeSink(0), FakeSink()
        for sink in (slow, fast):
            self.result(self.rooms.join(BOB, "lobby", None, 0, self.format, sink)).member.start()
        self.post("first")  # fills the slow one
        self.post("secret")
        self.delete(2)
        slow.read()
        self.turn()
        self.assertEqual(slow.lines(), ["1 message first", "2 message ", "3 delete "])
        self.assertIn("2 message secret", fast.lines())
        _, member, again = self.join(after=self.cursor(1), limit=0)
        member.start()
        self.turn()
        self.assertEqual(again.lines(), ["2 message ", "3 delete "])

    def test_read_by_the_store(self) -> None:
        """So does one that reads from the store because the ring is short."""
        slow = FakeSink(0)
        self.result(self.rooms.join(BOB, "lobby", None, 0, self.format, slow)).member.start()
        _, member, _ = self.join(who=ALICE)
        member.start()
        self.post("first")
        self.post("secret")
        self.delete(2)
        for number in range(20):
            self.post(str(number))
        slow.read()
        self.turn(20)
        self.assertEqual(slow.lines()[1:3], ["2 message ", "3 delete "])
        self.assertEqual(len(slow.lines()), 23)

    def test_again(self) -> None:
        """Deleting what is deleted appends nothing, and has the same answer."""
        self.post()
        self.assertEqual(self.delete(1), self.delete(1))
        self.assertEqual(len(self.events()), 2)

    def test_whose(self) -> None:
        """One's own, or as a moderator anybody's. Whoever may not write any more can still take back what they said."""
        self.post("one", who=BOB)
        self.post("two", who=GUEST)
        for seq, who in ((1, GUEST), (2, BOB), (2, OTHER_GUEST)):
            self.assertIn("not yours", self.refused(Forbidden, self.rooms.posting.delete(who, "lobby", seq)))
        self.delete(1, who=ROOT)
        self.delete(2, who=GUEST)
        self.assertEqual([(event.type, event.sender) for event in self.events()[2:]], [("delete", "root"), ("delete", GUEST.name)])

    def test_keeps_the_thread(self) -> None:
        """A deleted answer is still an answer; a deleted message can be answered."""
        self.post("one")
        self.post("two", reply_to=1)
        self.delete(2)
        self.delete(1)
        self.post("three", reply_to=1)
        self.assertEqual([event.reply_to for event in self.events()], [None, 1, None, None, 1])

    def test_one_batch(self) -> None:
        """A message and its deletion in one transaction: nobody is ever told the text."""
        _, member, sink = self.join()
        member.start()
        self.rooms.post(ALICE, "lobby", "secret")
        self.rooms.posting.delete(ALICE, "lobby", 1)
        self.turn()
        self.assertEqual(sink.lines()[:2], ["1 message ", "2 delete "])


class ReactionTests(AmendingTestCase):
    """chat.react."""

    def reactions(self) -> dict[str, list[str]] | None:
        """Those of message 1."""
        return self.events()[0].reactions

    def test_on_and_off(self) -> None:
        """A reaction is an event; history shows who reacts how at present."""
        self.post()
        self.assertIsNone(self.reactions())
        self.react(1)
        self.react(1, who=BOB)
        self.react(1, "🎉", who=GUEST)
        self.assertEqual(self.reactions(), {"👍": ["alice", "bob"], "🎉": [GUEST.name]})
        self.react(1, on=False)
        self.react(1, "🎉", on=False, who=GUEST)
        self.assertEqual(self.reactions(), {"👍": ["bob"]})
        self.react(1, on=False, who=BOB)
        self.assertIsNone(self.reactions())
        event = self.events()[1]
        self.assertEqual((event.type, event.target, event.emoji, event.on, event.text, event.sender), ("reaction", 1, "👍", True, None, "alice"))
        self.assertEqual([event.on for event in self.events()[4:]], [False] * 3)
        self.assertFalse(self.events()[0].edited)

    def test_said_before(self) -> None:
        """The same again appends nothing, and has the answer of the first time; what was never on cannot go off."""
        self.post()
        self.assertEqual(self.react(1), self.react(1))
        self.assertEqual(self.react(1, on=False), self.react(1, on=False))
        self.assertEqual(self.react(1, "🎉", on=False).seq, 1)
        self.assertEqual(self.react(1).seq, 4)
        self.assertEqual(len(self.events()), 4)

    def test_what(self) -> None:
        """There must be such a message, and it must not be deleted; a deletion takes its reactions."""
        self.post()
        self.react(1)
        for seq in (2, 9):
            self.refused(NotFound, self.rooms.posting.react(ALICE, "lobby", seq, "👍", True))
        self.delete(1)
        self.assertIsNone(self.reactions())
        self.assertIn("deleted", self.refused(Conflict, self.rooms.posting.react(ALICE, "lobby", 1, "👍", True)))

    def test_emoji(self) -> None:
        """Whatever people take for an emoji, but nothing invisible and nothing long."""
        self.post()
        for emoji in ("👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "+1", ":tada:", "👋🏽", "1️⃣"):
            self.react(1, emoji)
        self.assertEqual(len(self.reactions() or {}), 7)
        invisible = ("", "a b", "\n", "\x1b", "\u200b", "\u200d", "\ufe0f", "\u0301", "👍\u202e", "\U000e0067")
        for error, emoji in (*((InvalidParams, emoji) for emoji in invisible), (TooLarge, "👍" * 17)):
            self.assertEqual(self.assertRaises(error, self.rooms.posting.react, ALICE, "lobby", 1, emoji, True).data["parameter"], "emoji")

    def test_bounds(self) -> None:
        """A message has so many different reactions, and so many in all; what was taken back does not count."""
        self.rooms = self.make_rooms(reactions=2, reactions_per_message=3)
        self.post()
        self.react(1, "a")
        self.react(1, "b")
        self.assertIn("[rooms] reactions ", self.refused(Conflict, self.rooms.posting.react(ALICE, "lobby", 1, "c", True)))
        self.react(1, "b", on=False)
        self.react(1, "c")
        self.react(1, "c", who=BOB)
        self.refused(Conflict, self.rooms.posting.react(GUEST, "lobby", 1, "c", True))
        self.assertEqual(self.reactions(), {"a": ["alice"], "c": ["alice", "bob"]})


class MentionTests(AmendingTestCase):
    """Answers and mentions."""

    def test_reply(self) -> None:
        """What is answered must be there; the answer says what it answers."""
        self.post("one")
        self.assertIn("reply_to: there is no message 2", self.refused(NotFound, self.rooms.post(ALICE, "lobby", "hi", reply_to=2)))
        self.post("two", reply_to=1)
        self.react(1)
        for seq in (3, 4, 2**53 - 1):
            self.refused(NotFound, self.rooms.post(ALICE, "lobby", "hi", reply_to=seq))
        self.assertRaises(InvalidParams, self.rooms.post, ALICE, "lobby", "hi", reply_to=0)
        self.assertEqual(self.events()[1].reply_to, 1)

    def test_names(self) -> None:
        """Messages and edits say whom they mention, in lower case; addresses mention nobody."""
        self.post("hi @Bob, @bob. and @guest-abc; @müller-x! mail ann@example.org @ @@no (@ann)")
        self.assertEqual(self.events()[0].mentions, ["bob", "guest-abc", "müller-x", "ann"])
        self.edit(1, "no: @carl")
        first, second = self.events()
        self.assertEqual((first.mentions, second.mentions), (["carl"], ["carl"]))
        self.edit(1, "nobody")
        self.assertIsNone(self.events()[0].mentions)
        self.edit(1, "@mu\u0308ller")  # the same name, written otherwise
        self.assertEqual(self.events()[0].mentions, ["müller"])

    def test_bounded(self) -> None:
        """So many names count."""
        self.rooms = self.make_rooms(mentions=2)
        self.post("@a @b @c")
        self.assertEqual(self.events()[0].mentions, ["a", "b"])
        self.post(f"@{'x' * 33} @ok")
        self.assertEqual(self.events()[1].mentions, ["ok"])

    def test_everybody(self) -> None:
        """Only who moderates the room mentions all of it. Alice owns it, since she began it; for others it is plain text."""
        self.store.local_accounts.add_user("alice", "member")
        self.post("hello")
        self.post("@room hello")
        self.post("@room @ann", who=BOB)
        self.post("@room", who=ROOT)
        self.edit(2, "@Room now")
        self.edit(3, "@room now", who=BOB)
        self.assertEqual([event.mentions for event in self.events()], [None, ["@room"], None, ["@room"], ["@room"], None])

    def test_owner_from_the_first_event_on(self) -> None:
        """Who has asked about a room before it was there is known as its owner all the same once it is."""
        self.store.local_accounts.add_user("alice", "member")
        self.refused(NotFound, self.rooms.posting.delete(ALICE, "lobby", 1))
        self.post("one")
        self.post("two", who=BOB)
        self.delete(2)

    def test_order(self) -> None:
        """Posts of one sender keep their order, also when it must be found out whether one of them may mention all."""
        self.post()
        self.rooms.permissions.forget()
        posts = [self.rooms.post(BOB, "lobby", text) for text in ("a", "@room b", "c", "@room d", "e")]
        self.turn(20)
        self.assertEqual([self.successResultOf(post).seq for post in posts], [2, 3, 4, 5, 6])
        self.assertEqual([text for _, text in self.shown()], ["hi", "a", "@room b", "c", "@room d", "e"])
        self.assertEqual(len(self.rooms.posting._gates), 0)


class PermissionTests(ModerationTestCase):
    """What room roles, mutes and bans mean for all this."""

    def test_moderators(self) -> None:
        """They delete what others have said, whoever it was; members only their own."""
        posting = self.rooms.posting
        for who in (ANN, MEG, BOB):
            self.post(who=who, room="den")
        head = self.head()
        self.denied(Forbidden, posting.delete, MEG, "den", head)
        for seq in (head - 2, head - 1, head):
            self.result(posting.delete(MOD, "den", seq))
        self.assertEqual([event["from"] for event in self.newest(3)], ["mod"] * 3)

    def test_told_by_the_log(self) -> None:
        """A line says who has deleted what of somebody else, once; what is one's own is nobody's business."""
        posting, seq = self.rooms.posting, self.head() + 1
        self.post(who=BOB, room="den")
        self.post(who=MOD, room="den")
        with capturedLogs() as logged:
            for _ in range(2):
                self.result(posting.delete(MOD, "den", seq))
            self.result(posting.delete(MOD, "den", seq + 1))
        (line,) = logged
        self.assertEqual(formatEvent(line), f"mod in den: delete message {seq} of bob")
        self.assertEqual((line["identity"], line["room"], line["target"], line["seq"]), ("mod", "den", seq, seq + 2))

    def test_no_room(self) -> None:
        """In a room that does not exist nothing can be said about a message: who hears of a secret room hears the same."""
        posting = self.rooms.posting
        self.do("set", ANN, None, "secret")
        for room in ("den", "nix"):
            calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
                (posting.edit, (1, "x")),
                (posting.edit, (1, "@room x")),
                (posting.delete, (1,)),
                (posting.react, (1, "+", True)),
                (posting.post, ("x", None, 1)),
                (posting.post, ("@room x", None, 1)),
            ]
            for call, params in calls:
                deferred = maybeDeferred(call, BOB, room, *params)
                self.turn()
                error = self.failureResultOf(deferred, NotFound).value
                self.assertEqual((error.detail, error.data), (f"there is no room {room!r}", {}))
        self.assertEqual(self.head("nix"), 0)

    def test_muted(self) -> None:
        """Who is muted changes nothing but this: what they said they can take back."""
        posting, seq = self.rooms.posting, self.head() + 1
        self.post(who=BOB, room="den")
        self.do("mute", MOD, "bob")
        self.denied(Forbidden, posting.edit, BOB, "den", seq, "x")
        self.denied(Forbidden, posting.edit, BOB, "den", seq, "@room x")
        self.denied(Forbidden, posting.react, BOB, "den", seq, "+", True)
        self.denied(Forbidden, posting.post, BOB, "den", "x", None, seq)
        self.denied(Forbidden, self.rooms.typing.tell, BOB, "den")
        self.result(self.rooms.read_marks.mark(BOB, "den", seq))
        self.result(posting.delete(BOB, "den", seq))

    def test_banned_and_secret(self) -> None:
        """Who is banned does nothing here; for whom a room does not exist, nothing in it does."""
        posting, seq = self.rooms.posting, self.head() + 1
        self.post(who=BOB, room="den")
        self.result(self.rooms.read_marks.mark(BOB, "den", seq))
        for error in (Forbidden, NotFound):
            if error is Forbidden:
                self.do("ban", MOD, "bob")
            else:
                self.do("set", ANN, None, "secret")
            self.denied(error, posting.edit, BOB, "den", seq, "x")
            self.denied(error, posting.delete, BOB, "den", seq)
            self.denied(error, posting.react, BOB, "den", seq, "+", True)
            self.denied(error, self.rooms.typing.tell, BOB, "den")
            self.denied(error, self.rooms.read_marks.mark, BOB, "den", seq)
            self.assertEqual(self.result(self.rooms.read_marks.unread(BOB, ["den"])).rooms, [])
