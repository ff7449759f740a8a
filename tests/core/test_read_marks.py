"""How far somebody has read, and what is new since."""

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from netsvc.core.identity import Identity
from netsvc.core.records import Draft, Outline
from netsvc.errors import InvalidParams, NotFound
from tests.core.rooms_case import ALICE, BOB, GUEST, OTHER_GUEST, RoomsTestCase


class ReadMarkTests(RoomsTestCase):
    """chat.mark_read and chat.unread."""

    def mark(self, seq: int, who: Identity = ALICE, room: str = "lobby") -> int:
        """Mark and wait; where the mark stands."""
        return int(self.result(self.rooms.read_marks.mark(who, room, seq)).seq)

    def unread(self, who: Identity = ALICE, *rooms: str) -> list[tuple[Any, ...]]:
        """What is new: room, read, head, unread, mentions, more."""
        found = self.result(self.rooms.read_marks.unread(who, rooms)).rooms
        return [(one.room, one.read, one.head, one.unread, one.mentions, one.more) for one in found]

    def test_counts(self) -> None:
        """Messages of others since the mark count, and of these those that mention one; not one's own, not deleted ones, no other events."""
        self.post("old", who=BOB)
        self.assertEqual(self.mark(1), 1)
        self.assertEqual(self.unread(), [("lobby", 1, 1, 0, 0, False)])
        for text in ("plain", "hi @Alice", "gone @alice", "@bob"):
            self.post(text, who=BOB)
        self.post("mine")
        self.result(self.rooms.posting.delete(BOB, "lobby", 4))
        self.result(self.rooms.posting.react(BOB, "lobby", 2, "+", True))
        self.assertEqual(self.unread(), [("lobby", 1, 8, 3, 1, False)])
        self.assertEqual(self.mark(8), 8)
        self.assertEqual(self.unread(), [("lobby", 8, 8, 0, 0, False)])

    def test_everybody(self) -> None:
        """``@room`` mentions everybody."""
        self.post(who=BOB)
        self.mark(1)
        self.post("@room", who=Identity("root", ("admin",)))
        self.assertEqual(self.unread(), [("lobby", 1, 2, 1, 1, False)])

    def test_never_back(self) -> None:
        """Another device that is behind changes nothing."""
        for number in range(3):
            self.post(str(number), who=BOB)
        self.assertEqual([self.mark(2), self.mark(1), self.mark(3), self.mark(0)], [2, 2, 3, 3])

    def test_rooms(self) -> None:
        """Rooms with a mark, and those that are asked for, by name; absent ones are left out."""
        for room in ("b", "a", "c"):
            self.post(room=room, who=BOB)
        self.mark(1, room="b")
        self.assertEqual([one[:4] for one in self.unread(ALICE, "a", "b", "absent")], [("a", 0, 1, 1), ("b", 1, 1, 0)])
        self.assertEqual(self.unread(BOB), [])

    def test_guests(self) -> None:
        """A guest's marks are kept under its name, in memory, so many for all guests."""
        self.rooms = self.make_rooms(guests_marks=2)
        for room in ("a", "b", "c"):
            self.post(room=room, who=BOB)
        self.assertEqual([self.mark(1, GUEST, "a"), self.mark(0, GUEST, "a")], [1, 1])
        self.assertEqual(self.unread(OTHER_GUEST), [])
        self.assertEqual(self.result(self.store.read_marks(GUEST.name)), {})
        self.mark(0, GUEST, "b")
        self.mark(0, OTHER_GUEST, "c")
        self.assertEqual([one[0] for one in self.unread(GUEST)], ["b"])

    def test_counted_so_far(self) -> None:
        """Only so many of the newest events are counted, and it is said that there may be more."""
        self.rooms = self.make_rooms(unread=3)
        for number in range(4):
            self.post(str(number), who=BOB)
        self.mark(0)
        self.assertEqual(self.unread(), [("lobby", 0, 4, 3, 0, True)])
        self.mark(1)
        self.assertEqual(self.unread(), [("lobby", 1, 4, 3, 0, False)])

    def test_where(self) -> None:
        """The room and the event must be there."""
        self.post()
        for error, room, seq in ((InvalidParams, "A B", 1), (InvalidParams, "lobby", -1), (InvalidParams, "lobby", 2**53)):
            self.assertRaises(error, self.rooms.read_marks.mark, ALICE, room, seq)
        for room, seq in (("absent", 0), ("lobby", 2)):
            marking = self.rooms.read_marks.mark(ALICE, room, seq)
            self.turn()
            self.failureResultOf(marking, NotFound)

    def test_many_rooms(self) -> None:
        """However many rooms there are, what is read at once is bounded, and who counts often has others wait for no more than that."""
        marks = {f"room-{number:03}": 1 for number in range(120)}
        asked: list[int] = []
        real = self.store.outlines

        def outlines(after: Mapping[str, int], limit: int) -> "Deferred[dict[str, Outline]]":
            asked.append(len(after))
            return deferLater(self.clock, 0, real, after, limit)  # type: ignore[arg-type]  # a Clock is one

        for room in marks:
            self.store.append([Draft(room, "message", "bob", 1, str(number)) for number in range(3)])
        with patch.object(self.store, "read_marks", lambda name: succeed(marks)), patch.object(self.store, "outlines", outlines):
            counts = [self.rooms.read_marks.unread(ALICE, [], "alice") for _ in range(5)]
            self.assertEqual(asked, [50, 50])
            for each in counts:
                found = self.result(each).rooms
                self.assertEqual([(one.room, one.unread) for one in found], [(room, 2) for room in marks])
        self.assertEqual(asked.count(20), 5)

    def test_many_rooms_of_a_guest(self) -> None:
        """A guest's marks count as far as a user's would."""
        self.rooms = self.make_rooms(read_marks=2)
        for room in ("a", "b", "c"):
            self.post(room=room)
            self.mark(1, GUEST, room)
        self.assertEqual([one[0] for one in self.unread(GUEST)], ["b", "c"])
