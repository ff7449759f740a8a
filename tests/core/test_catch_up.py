"""Joining from memory when everybody comes back."""

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail

from netsvc.core.catch_up import PATIENCE, READ
from netsvc.errors import StoreUnavailable
from tests.core.fakes import FakeSink
from tests.core.rooms_case import ALICE, BOB, RoomsTestCase


class CatchUpTests(RoomsTestCase):
    """Twelve events, and a ring of sixteen."""

    def setUp(self) -> None:
        """A room that nobody is in."""
        super().setUp()
        for number in range(12):
            self.post(f"text {number + 1}")
        self.clock.pump([1.0] * 13)
        self.reads: list[Any] = []
        self.held: list[tuple[Deferred[Any], Any]] | None = None
        really = self.store.read_before

        def read_before(*arguments: Any) -> Any:
            self.reads.append(arguments)
            if self.held is None:
                return really(*arguments)
            answer: Deferred[Any] = Deferred()
            self.held.append((answer, self.result(really(*arguments))))
            return answer

        self.patch(self.store, "read_before", read_before)
        self.patch(self.store, "read_after", lambda *arguments: self.fail(f"read_after {arguments}"))

    def start_joins(self, *after: int) -> list[Deferred[Any]]:
        """So many come back at once, each with a cursor."""
        return [self.rooms.join(ALICE, "lobby", self.cursor(seq), 50, self.format, FakeSink()) for seq in after]

    def give(self) -> None:
        """The store answers what it was asked."""
        held, self.held = self.held or [], None
        for answer, rows in held:
            answer.callback(rows)

    def seqs(self, joining: "Deferred[Any]") -> list[int]:
        """The events in the answer to a join, whose follower is started."""
        joined, member = self.result(joining)
        self.assertTrue(joined.recovered)
        member.start()
        return [event.seq for event in joined.events]

    def test_one_read_for_all(self) -> None:
        """However many come back at once, the store is asked once, and not at all by those who come later, until the last has left."""
        self.held = []
        joining = self.start_joins(2, 5, 11, 0)
        self.turn()
        self.assertEqual(len(self.reads), 1)
        self.give()
        for after, each in zip((2, 5, 11, 0), joining, strict=True):
            self.assertEqual(self.seqs(each), list(range(after + 1, 13)))
        self.clock.advance(PATIENCE)
        later = self.start_joins(*range(12))
        self.assertEqual([self.seqs(each) for each in later], [list(range(after + 1, 13)) for after in range(12)])
        newest = self.result(self.rooms.join(BOB, "lobby", None, 5, self.format, FakeSink())).joined
        self.assertEqual(([event.seq for event in newest.events], newest.more), ([8, 9, 10, 11, 12], True))
        self.assertEqual(len(self.reads), 1)

    def test_cost(self) -> None:
        """What is read back counts as what is in the rings, and is given back when the last has left."""
        (joining,) = self.start_joins(3)
        _, member = self.result(joining)
        member.start()
        self.clock.advance(PATIENCE)
        (room,) = self.rooms.delivery.rooms()
        self.assertEqual((room.base, len(room.events)), (0, 12))
        self.assertEqual(self.rooms.delivery.cost, room.cost)
        self.assertGreater(room.cost, 0)
        member.leave()
        self.assertEqual((self.rooms.delivery.cost, list(self.rooms.delivery.rooms())), (0, []))

    def test_posts_meanwhile(self) -> None:
        """What is appended while the store is asked is missing nowhere, whoever is in already."""
        _, member, sink = self.join(limit=0)
        member.start()
        self.held = []
        joining = self.start_joins(4)
        self.turn()
        self.post("text 13")
        self.give()
        self.assertEqual(self.seqs(joining[0]), list(range(5, 14)))
        self.post("text 14")
        self.assertEqual(sink.lines(), ["13", "14"])
        self.assertEqual(self.seqs(self.start_joins(0)[0]), list(range(1, 15)))
        self.assertEqual(len(self.reads), 1)

    def test_deletions_meanwhile(self) -> None:
        """What was read before something was changed is not kept: it is read again."""
        _, member, _ = self.join(limit=0)
        member.start()
        self.held = []
        joining = self.start_joins(4)
        self.turn()
        self.result(self.rooms.posting.delete(ALICE, "lobby", 7))
        self.patch(self.store, "read_after", type(self.store).read_after.__get__(self.store))
        self.give()
        joined, _ = self.result(joining[0])
        self.assertEqual([event.seq for event in joined.events if event.deleted], [7])
        (room,) = self.rooms.delivery.rooms()
        self.assertEqual(room.base, 12)

    def test_nobody_stayed(self) -> None:
        """Nothing is kept for nobody."""
        self.held = []
        joining = self.start_joins(4)
        with mock.patch.object(self.rooms.delivery, "follow", side_effect=RuntimeError("gone")):
            self.give()
            self.clock.advance(PATIENCE)
        self.failureResultOf(joining[0], RuntimeError)
        self.assertEqual((self.rooms.delivery.cost, list(self.rooms.delivery.rooms())), (0, []))

    def test_failing_store(self) -> None:
        """All who wait are told, and the next is tried anew."""
        self.patch(self.store, "read_before", lambda *arguments: fail(StoreUnavailable("disk")))
        for joining in self.start_joins(4, 5):
            self.turn()
            self.failureResultOf(joining, StoreUnavailable)
        self.assertEqual(self.rooms.delivery.cost, 0)

    def test_far_behind(self) -> None:
        """Who is further behind than is worth keeping reads alone."""
        self.assertGreater(READ, 16, "the ring is the bound here")
        for number in range(12, 30):
            self.post(f"text {number + 1}")
        read: list[Any] = []
        self.patch(self.store, "read_after", lambda *arguments: read.append(arguments) or type(self.store).read_after(self.store, *arguments))
        self.assertEqual(self.seqs(self.start_joins(1)[0]), list(range(2, 31)))
        self.assertEqual((len(read), self.reads), (1, []))
