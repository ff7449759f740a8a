"""Rooms: posting, joining, history, presence, in memory and on a Clock."""

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from netsvc.core.identity import Identity
from netsvc.core.posting import Posted
from netsvc.core.records import Draft
from netsvc.errors import Conflict, Forbidden, InvalidParams, NotFound, StoreUnavailable, TooLarge
from tests.core.fakes import FakeSink
from tests.core.rooms_case import ALICE, BOB, GUEST, OTHER_GUEST, RoomsTestCase


class PostTests(RoomsTestCase):
    """chat.post."""

    def test_ack(self) -> None:
        """The answer says where the message stands and how durable it is."""
        posted = self.post()
        self.assertEqual((posted.room, posted.seq, posted.cursor), ("lobby", 1, self.cursor(1)))
        self.assertEqual((posted.at, posted.durable), ("2023-11-14T22:13:20.500Z", self.store.durable))
        self.assertEqual(self.post().seq, 2)

    def test_names_are_folded(self) -> None:
        """LOBBY is lobby; what is no name is refused."""
        self.assertEqual(self.post(room="LOBBY").room, "lobby")
        for name in ("", "-a", "a b", "é", "a" * 65):
            self.assertRaises(InvalidParams, self.rooms.post, ALICE, name, "hi")

    def test_text(self) -> None:
        """Not empty, and no longer than the setting, in bytes."""
        self.assertRaises(InvalidParams, self.rooms.post, ALICE, "lobby", "")
        self.rooms = self.make_rooms(text=10)
        self.post("é" * 5)
        error = self.assertRaises(TooLarge, self.rooms.post, ALICE, "lobby", "é" * 6)
        self.assertIn("12 bytes", error.detail)

    def test_reply(self) -> None:
        """A reply carries what it replies to."""
        self.post()
        self.post("yes", reply_to=1)
        history = self.result(self.rooms.history(ALICE, "lobby", None, None, 50))
        self.assertEqual([event.reply_to for event in history.events], [None, 1])
        for reply_to in (0, -1, 2**53, 10**4000):
            self.assertRaises(InvalidParams, self.rooms.post, ALICE, "lobby", "hi", None, reply_to)

    def test_who_has_the_answer_can_read_the_post(self) -> None:
        """Whatever runs as soon as the answer is there finds the message in the room."""
        _, member, _ = self.join()
        member.start()
        seen: list[Any] = []

        def look(posted: Posted) -> None:
            history = self.successResultOf(self.rooms.history(ALICE, "lobby", None, None, 50))
            seen.append((posted.seq, history.cursor))

        for _ in range(3):
            self.rooms.post(ALICE, "lobby", "x").addCallback(look)
        self.turn()
        self.assertEqual(seen, [(seq, self.cursor(seq)) for seq in (1, 2, 3)])

    def test_a_slow_commit_holds_nothing_back(self) -> None:
        """While a further commit is under way the delivery of what is committed waits for it, but not for long."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        self.post()
        append = self.store.append
        self.rooms.post(ALICE, "lobby", "x")
        self.clock.turn()
        never: Deferred[None] = Deferred()
        self.store.append = lambda drafts: never  # type: ignore[method-assign]
        self.rooms.post(ALICE, "lobby", "x")
        self.clock.turn()
        self.assertTrue(self.rooms.appender.busy)
        self.assertEqual(sink.lines(), ["1"])
        self.clock.advance(0.01)
        self.assertEqual(sink.lines(), ["1", "2"])
        self.store.append = append  # type: ignore[method-assign]

    def test_key(self) -> None:
        """A key takes effect once; the repeat has the same answer, and nobody sees it twice."""
        _, member, sink = self.join()
        member.start()
        first = self.post(key="k")
        self.clock.advance(5)
        self.assertEqual(self.post(key="k"), first)
        self.assertEqual([line for line in sink.lines() if line[0] != "+"], ["1"])
        self.assertEqual(self.post("other", key="k2").seq, 2)

    def test_key_with_other_params(self) -> None:
        """The same key for something else is a conflict."""
        self.post(key="k")
        posting = self.rooms.post(ALICE, "lobby", "other", "k")
        self.turn()
        self.failureResultOf(posting, Conflict)

    def test_scope_of_keys(self) -> None:
        """Keys are apart for each room and user; all guests are one, since a guest who reconnects has another name."""
        self.assertEqual(self.post(key="k").seq, 1)
        self.assertEqual(self.post(key="k", who=BOB).seq, 2)
        self.assertEqual(self.post(key="k", room="other").seq, 1)
        self.assertEqual(self.post(key="k", who=GUEST).seq, 3)
        self.assertEqual(self.post(key="k", who=OTHER_GUEST).seq, 3)

    def test_bad_keys(self) -> None:
        """A key has 1 to 200 characters."""
        for key in ("", "x" * 201):
            self.assertRaises(InvalidParams, self.rooms.post, ALICE, "lobby", "hi", key)

    def test_store_failure(self) -> None:
        """A post that could not be stored fails, is delivered to nobody, and uses no seq."""
        _, member, sink = self.join()
        member.start()
        self.store.fail_next(1)
        posting = self.rooms.post(ALICE, "lobby", "hi")
        self.turn()
        self.failureResultOf(posting, StoreUnavailable)
        self.assertEqual(self.post().seq, 1)
        self.assertEqual([line for line in sink.lines() if line[0] != "+"], ["1"])

    def test_many_in_one_turn_share_transactions(self) -> None:
        """Posts of a turn go in batches; the answers come in order."""
        answers: list[int] = []
        for _ in range(20):
            self.rooms.post(ALICE, "lobby", "x").addCallback(lambda posted: answers.append(posted.seq))
        self.turn(10)
        self.assertEqual(answers, list(range(1, 21)))
        self.assertEqual(self.rooms.appender.batches, 3)


class CreateTests(RoomsTestCase):
    """[chat] create."""

    create = "member"

    def test_who_may_not_start_a_room(self) -> None:
        """A lesser role may post where there is something already."""
        posting = self.rooms.post(GUEST, "lobby", "hi")
        self.turn()
        self.failureResultOf(posting, Forbidden)
        self.post(who=ALICE)
        self.assertEqual(self.post(who=GUEST).seq, 2)
        _, member, _ = self.join()
        member.start()
        self.assertEqual(self.post(who=GUEST).seq, 3)

    def test_order(self) -> None:
        """What one connection posts is appended in the order sent, also where the store has to say first whether there is a room."""
        self.post(who=ALICE)
        asked: list[Deferred[object]] = []

        def room(name: str) -> "Deferred[object]":
            asked.append(Deferred())
            return asked[-1]

        self.rooms = self.make_rooms()
        real, self.store.room = self.store.room, room  # type: ignore[method-assign,assignment]
        posts = [self.rooms.post(GUEST, "lobby", str(number)) for number in range(5)]
        # A pool of readers may answer the later question first.
        for question in reversed(asked):
            real("lobby").chainDeferred(question)  # type: ignore[arg-type]
        self.turn()
        self.assertEqual([self.successResultOf(post).seq for post in posts], [2, 3, 4, 5, 6])

    def test_order_after_a_refusal(self) -> None:
        """Also where somebody posts again as soon as a post is refused, in the middle of the turn of the one before it."""
        read, self.store.accesses.access = self.store.accesses.access, lambda room: deferLater(self.clock, 0, read, room)  # type: ignore[method-assign,assignment,arg-type]
        posts = [self.rooms.post(ALICE, "lobby", "@room 1")]

        def again(failure: Failure) -> None:
            failure.trap(Forbidden)
            self.rooms.permissions.forget()
            posts.append(self.rooms.post(ALICE, "lobby", "@room 2"))

        self.rooms.post(GUEST, "lobby", "no").addErrback(again)
        while len(posts) < 2:
            self.clock.turn()
        posts.append(self.rooms.post(ALICE, "lobby", "3"))
        self.turn()
        self.assertEqual([self.successResultOf(post).seq for post in posts], [1, 2, 3])
        self.assertEqual(len(self.rooms.posting._gates), 0)

    def test_a_store_that_cannot_say(self) -> None:
        """The post fails, and nothing of the room stays behind."""
        self.store.room = lambda name: fail(StoreUnavailable("no"))  # type: ignore[method-assign]
        self.failureResultOf(self.rooms.post(GUEST, "lobby", "hi"), StoreUnavailable)
        self.assertEqual(self.rooms._states, {})


class JoinTests(RoomsTestCase):
    """chat.join."""

    def test_an_empty_room(self) -> None:
        """A room without events gives cursor 0 and stores nothing."""
        joined, member, _ = self.join()
        self.assertEqual((joined.cursor, joined.events, joined.more, joined.recovered), (self.cursor(0), [], False, True))
        self.assertEqual((joined.present.count, joined.present.names), (1, ["alice"]))
        member.leave()
        self.assertIsNone(self.result(self.store.room("lobby")))

    def test_newest(self) -> None:
        """Without a cursor: the newest events, more says whether there are older ones."""
        for _ in range(5):
            self.post()
        joined, _, _ = self.join(limit=3)
        self.assertEqual(([event.seq for event in joined.events], joined.cursor, joined.more), ([3, 4, 5], self.cursor(5), True))
        joined, _, _ = self.join(limit=5)
        self.assertEqual(([event.seq for event in joined.events], joined.more), ([1, 2, 3, 4, 5], False))
        joined, _, _ = self.join(limit=0)
        self.assertEqual((joined.events, joined.cursor, joined.more), ([], self.cursor(5), True))

    def test_after_a_cursor(self) -> None:
        """With one: what follows; what does not fit into the answer is delivered behind it."""
        for _ in range(30):
            self.post()
        joined, member, sink = self.join(after=self.cursor(3), limit=4)
        self.assertEqual(([event.seq for event in joined.events], joined.cursor, joined.more, joined.recovered), ([4, 5, 6, 7], self.cursor(7), True, True))
        self.assertEqual(sink.received, b"")
        member.start()
        self.turn()
        self.assertEqual(sink.lines(), [str(seq) for seq in range(8, 31)])

    def test_a_cursor_at_the_head(self) -> None:
        """Nothing is missing: no events, the same cursor."""
        self.post()
        joined, _, _ = self.join(after=self.cursor(1))
        self.assertEqual((joined.events, joined.cursor, joined.more, joined.recovered), ([], self.cursor(1), False, True))

    def test_a_cursor_that_is_not_ours(self) -> None:
        """Of another epoch, past the head or negative: not recovered, the newest events instead."""
        self.post()
        self.post()
        for cursor in ("elsewhere:1", self.cursor(3), self.cursor(-1), ":0"):
            joined, _, _ = self.join(after=cursor, limit=1)
            self.assertEqual(([event.seq for event in joined.events], joined.cursor, joined.recovered), ([2], self.cursor(2), False), cursor)

    def test_a_cursor_older_than_retention(self) -> None:
        """Not recovered; the cursor before the oldest kept event still is."""
        for _ in range(10):
            self.post()
        self.result(self.store.prune(0, None, 4))
        self.assertFalse(self.join(after=self.cursor(5), limit=2)[0].recovered)
        joined, _, _ = self.join(after=self.cursor(6), limit=2)
        self.assertEqual(([event.seq for event in joined.events], joined.recovered), ([7, 8], True))

    def test_bad_params(self) -> None:
        """What is no cursor or limit is refused by name."""
        for after, limit, parameter in (("x", 5, "after"), (None, 201, "limit"), (None, -1, "limit")):
            error = self.assertRaises(InvalidParams, self.rooms.join, ALICE, "lobby", after, limit, self.format, FakeSink())
            self.assertEqual(error.data["parameter"], parameter)

    def test_live(self) -> None:
        """Everybody in the room gets the same bytes; each event is encoded once."""
        members = [self.join(who=who) for who in (ALICE, BOB, GUEST)]
        for _, member, _ in members:
            member.start()
        for _ in range(3):
            self.post()
        for _, _, sink in members:
            self.assertEqual([line for line in sink.lines() if line[0] != "+"], ["1", "2", "3"])
        self.assertEqual(self.format.encoded, 3)

    def test_posted_while_joining(self) -> None:
        """What is committed between the answer and its delivery is not missed."""
        _, member, sink = self.join()
        self.post()
        member.start()
        self.turn()
        self.assertEqual(sink.lines(), ["1"])

    def test_posted_while_the_room_is_looked_up(self) -> None:
        """A commit that overtakes the look-up counts."""
        self.post()
        joining = self.rooms.join(ALICE, "lobby", None, 50, self.format, FakeSink())
        self.rooms.post(ALICE, "lobby", "x")
        joined, _ = self.result(joining)
        self.assertEqual(joined.cursor, self.cursor(len(joined.events)))

    def test_committed_but_not_known_to_be(self) -> None:
        """What the store tells of a room may be newer than the outcomes of the posts: nobody gets those events twice, and the head stays."""
        for _ in range(12):
            self.rooms.post(ALICE, "lobby", "x")
        self.clock.turn()
        joining = self.rooms.join(BOB, "lobby", None, 3, self.format, sink := FakeSink())
        joined, member = self.successResultOf(joining)
        self.assertEqual(joined.cursor, self.cursor(8))
        member.start()
        for _ in range(8):
            self.clock.turn()
            self.assertGreaterEqual(self.rooms._states["lobby"].room.head, 8)
        self.assertEqual(sink.lines(), ["9", "10", "11", "12"])

    def test_leaving(self) -> None:
        """Who has left gets nothing more; leaving twice is no error."""
        _, member, sink = self.join()
        member.start()
        member.leave()
        member.leave()
        member.act_as(BOB)
        self.post()
        self.assertEqual(sink.received, b"")
        self.assertEqual(sink.watchers, [])

    def test_left_before_started(self) -> None:
        """A connection that is gone before its answer was written follows nothing."""
        _, member, sink = self.join()
        member.leave()
        member.start()
        self.post()
        self.assertEqual(sink.received, b"")

    def test_store_failure(self) -> None:
        """A join fails with the store, and the next one is tried afresh."""
        self.store.room, room = lambda name: fail(StoreUnavailable("disk")), self.store.room  # type: ignore[method-assign]
        joining = self.rooms.join(ALICE, "lobby", None, 50, self.format, FakeSink())
        self.failureResultOf(joining, StoreUnavailable)
        self.store.room = room  # type: ignore[method-assign]
        self.join()


class HistoryTests(RoomsTestCase):
    """chat.history and chat.rooms."""

    def history(self, before: str | None = None, after: str | None = None, limit: int = 50) -> tuple[list[int], str, bool, bool]:
        """Seqs, cursor, more, recovered."""
        history = self.result(self.rooms.history(ALICE, "lobby", before, after, limit))
        return [event.seq for event in history.events], history.cursor, history.more, history.recovered

    def check(self) -> None:
        """Ten events, all ways of asking."""
        cursor = self.cursor
        self.assertEqual(self.history(limit=3), ([8, 9, 10], cursor(10), True, True))
        self.assertEqual(self.history(), (list(range(1, 11)), cursor(10), False, True))
        self.assertEqual(self.history(before=cursor(4), limit=2), ([2, 3], cursor(3), True, True))
        self.assertEqual(self.history(before=cursor(3)), ([1, 2], cursor(2), False, True))
        self.assertEqual(self.history(before=cursor(1)), ([], cursor(10), False, True))
        self.assertEqual(self.history(before=cursor(50), limit=1), ([10], cursor(10), True, True))
        self.assertEqual(self.history(before=cursor(0)), ([], cursor(10), False, True))
        self.assertEqual(self.history(before=cursor(-1)), ([], cursor(10), False, True))
        self.assertEqual(self.history(before="elsewhere:4", limit=1), ([10], cursor(10), True, True))
        self.assertEqual(self.history(after=cursor(0), limit=2), ([1, 2], cursor(2), True, True))
        self.assertEqual(self.history(after=cursor(9)), ([10], cursor(10), False, True))
        self.assertEqual(self.history(after=cursor(10)), ([], cursor(10), False, True))
        self.assertEqual(self.history(after=cursor(11), limit=1), ([10], cursor(10), True, False))
        self.assertEqual(self.history(limit=0), ([], cursor(10), True, True))

    def test_from_the_store(self) -> None:
        """A room that nobody follows is read from the store."""
        for _ in range(10):
            self.post()
        self.check()

    def test_from_the_ring(self) -> None:
        """One that is followed is read from its ring, with the same answers."""
        _, member, _ = self.join()
        member.start()
        for _ in range(10):
            self.post()
        for name in ("read_after", "read_before"):
            setattr(self.store, name, lambda *_: fail(AssertionError("the ring should do")))
        self.check()

    def test_retention_passes_while_reading(self) -> None:
        """What is removed between question and answer is not promised by `more`."""
        for _ in range(10):
            self.post()
        asked: Deferred[Any] = Deferred()
        read_before, self.store.read_before = self.store.read_before, lambda *_: asked  # type: ignore[method-assign]
        reading = self.rooms.history(ALICE, "lobby", None, None, 5)
        self.turn()
        self.result(self.store.prune(0, None, 3))
        asked.callback(self.successResultOf(read_before("lobby", 11, 5)))
        history = self.result(reading)
        self.assertEqual(([event.seq for event in history.events], history.more), ([8, 9, 10], False))

    def test_absent(self) -> None:
        """A room without events is not found; both cursors at once are refused."""
        self.failureResultOf(self.rooms.history(ALICE, "lobby", None, None, 5), NotFound)
        self.assertRaises(InvalidParams, self.rooms.history, ALICE, "lobby", "x:1", "x:1", 5)

    def test_directory(self) -> None:
        """Rooms by name, with their newest cursor and who is there."""
        for room in ("b", "a", "c"):
            self.post(room=room)
        self.join(room="b")
        listed = self.result(self.rooms.directory(ALICE, "", 2))
        self.assertEqual([(room.name, room.cursor, room.count) for room in listed.rooms], [("a", self.cursor(1), 0), ("b", self.cursor(1), 1)])
        self.assertTrue(listed.more)
        listed = self.result(self.rooms.directory(ALICE, "b", 2))
        self.assertEqual(([room.name for room in listed.rooms], listed.more), (["c"], False))


class PresenceTests(RoomsTestCase):
    """Who is there."""

    def test_directory_of_secret_rooms(self) -> None:
        """However few rooms somebody asks for, it does not take a read of the store for each of those that are not for them."""
        for number in range(450):
            self.store.append([Draft(f"room-{number}", "message", "bob", 1, "hi")])
        self.rooms.permissions.restricted = self.rooms.permissions._closed = {f"room-{number}": "secret" for number in range(450) if number != 444}
        for limit in (0, 1, 200):
            with mock.patch.object(self.store, "rooms", side_effect=self.store.rooms) as asked:
                listed = self.result(self.rooms.directory(GUEST, "", limit))
            self.assertEqual(([room.name for room in listed.rooms], listed.more), (["room-444"][:limit], not limit))
            self.assertLessEqual(asked.call_count, 3)

    def test_coming_and_going(self) -> None:
        """Told once a second, leaving after ten seconds of absence."""
        _, alice, sink = self.join(who=ALICE)
        alice.start()
        self.clock.advance(1.0)
        _, bob, _ = self.join(who=BOB)
        bob.start()
        self.clock.advance(1.0)
        bob.leave()
        self.clock.pump([1.0] * 12)
        self.assertEqual(sink.lines(), ["+alice - =1", "+bob - =2", "+ -bob =1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who(self) -> None:
        """Counted and named; nobody in a room with events; an absent room is not found."""
        self.failureResultOf(self.rooms.who(ALICE, "lobby"), NotFound)
        _, member, _ = self.join()
        self.assertEqual(self.result(self.rooms.who(ALICE, "lobby")).names, ["alice"])
        self.post()
        member.leave()
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.result(self.rooms.who(ALICE, "lobby")).count, 0)

    def test_renaming(self) -> None:
        """A member who logs in under another name is there under that."""
        _, member, _ = self.join()
        member.act_as(Identity("carol", ("member",)))
        member.act_as(Identity("carol", ("member",)))
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.result(self.rooms.who(ALICE, "lobby")).names, ["carol"])
        member.leave()
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.rooms._states, {}, "a room that nobody holds is forgotten")

    def test_signals_are_not_queued(self) -> None:
        """A reader that does not keep up is spared presence."""
        _, alice, sink = self.join()
        alice.start()
        self.clock.advance(1.0)
        sink.window = 0
        self.post()
        self.join(who=BOB)
        self.clock.advance(1.0)
        self.assertEqual(len(sink.kept), 1)


class AppenderTests(RoomsTestCase):
    """The bound of waiting posts."""

    def test_full_and_room_again(self) -> None:
        """At the bound it is full; who waits is called when half of it is free."""
        for _ in range(32):
            self.rooms.post(ALICE, "lobby", "x")
        appender = self.rooms.appender
        self.assertTrue(appender.full)
        called: list[bool] = []
        appender.when_room(lambda: called.append(appender.full))
        idle = appender.idle()
        self.assertNoResult(idle)
        self.turn(20)
        self.assertEqual(called, [False])
        self.successResultOf(idle)
        self.successResultOf(appender.idle())

    def test_a_bug_behind_a_commit_is_logged(self) -> None:
        """And who waits for room, or for the end, waits no longer."""
        appender = self.rooms.appender
        appender._committed = lambda batch: 1 / 0  # type: ignore[assignment,return-value]
        self.rooms.post(ALICE, "lobby", "x")
        resumed: list[bool] = []
        appender.when_room(lambda: resumed.append(True))
        idle = appender.idle()
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(resumed, [True])
        self.successResultOf(idle)

    def test_a_store_that_fails(self) -> None:
        """It must not, but if it does the posts fail, that is logged, and the next ones are tried."""
        append, self.store.append = self.store.append, lambda drafts: fail(RuntimeError("a bug"))  # type: ignore[method-assign]
        posting = self.rooms.post(ALICE, "lobby", "x")
        self.turn()
        self.failureResultOf(posting, StoreUnavailable)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.store.append = append  # type: ignore[method-assign]
        self.assertEqual(self.post().seq, 1)
