"""Fan-out in slices: no reactor turn has more writes than are set, and nobody is left out."""

from typing import Any

from netsvc.core.rooms import Rooms
from tests.core.fakes import FakeSink, LineFormat
from tests.core.rooms_case import ALICE, BOB, RoomsTestCase

SLICE = 4


class SliceTests(RoomsTestCase):
    """Rooms with more followers than a slice has writes."""

    def make_rooms(self, **settings: Any) -> Rooms:
        """Small slices."""
        return super().make_rooms(fanout_slice=SLICE, **settings)

    def follow(self, room: str, count: int) -> list[FakeSink]:
        """Followers of a room, level with it, who have been told of each other."""
        sinks = []
        for _ in range(count):
            _, member, sink = self.join(room=room, who=BOB)
            member.start()
            sinks.append(sink)
        self.clock.advance(1.0)
        self.turn(count)
        return sinks

    def writes_per_turn(self, sinks: list[FakeSink], turns: int) -> list[int]:
        """How many writes each of the next reactor turns has."""
        counts = []
        for _ in range(turns):
            before = sum(sink.writes for sink in sinks)
            self.clock.turn()
            counts.append(sum(sink.writes for sink in sinks) - before)
        return counts

    def test_rooms_share_the_slice(self) -> None:
        """Many rooms with something new are served in as many turns as their writes need."""
        rooms = [f"room-{number}" for number in range(5)]
        sinks = [sink for room in rooms for sink in self.follow(room, SLICE)]
        for room in rooms:
            self.rooms.post(ALICE, room, "x")
        counts = self.writes_per_turn(sinks, 10)
        self.assertEqual(sum(counts), len(sinks))
        self.assertLessEqual(max(counts), SLICE)

    def test_a_busy_room_serves_everybody(self) -> None:
        """Where something is posted in every turn, those at the end of the room get it, too."""
        sinks = self.follow("lobby", 3 * SLICE)
        for _ in range(30):
            self.rooms.post(ALICE, "lobby", "x")
            self.clock.turn()
        seen = [len([line for line in sink.lines() if line[0] != "+"]) for sink in sinks]
        self.assertGreater(min(seen), 20, seen)

    def test_presence_is_cut_into_slices(self) -> None:
        """Who comes and goes is told to a big room, and to many rooms, in slices; all of it arrives."""
        rooms = [f"room-{number}" for number in range(3)]
        sinks = [sink for room in rooms for sink in self.follow(room, 2 * SLICE)]
        for sink in sinks:
            sink.received = b""
        for room in rooms:
            self.join(room=room, who=ALICE)
        before = sum(sink.writes for sink in sinks)
        self.clock.turn(1.0)
        counts = [sum(sink.writes for sink in sinks) - before, *self.writes_per_turn(sinks, 10)]
        self.assertLessEqual(max(counts), SLICE, counts)
        for sink in sinks:
            self.assertEqual(sink.lines(), ["+alice - =2"])

    def test_presence_of_two_sweeps(self) -> None:
        """A delta that waits for its slice is not lost to the next one."""
        sinks = self.follow("lobby", 2 * SLICE)
        for sink in sinks:
            sink.received = b""
        state = self.rooms._states["lobby"]
        for joined in ("ann", "ben"):
            for format, fanout in state.room.fanouts.items():
                fanout.signal(format.presence("lobby", (joined,), (), 9))
        self.turn()
        for sink in sinks:
            self.assertEqual(sink.lines(), ["+ann - =9", "+ben - =9"])

    def test_formats_are_told_apart(self) -> None:
        """Each follower gets what its format makes of an event, and one whose format shows nothing gets nothing."""

        class Silent(LineFormat):
            def event(self, event: object) -> bytes:
                """Nothing."""
                return b""

        (lines,) = self.follow("lobby", 1)
        self.format = Silent()
        (silent,) = self.follow("lobby", 1)
        lines.received = silent.received = b""
        self.post()
        self.assertEqual((lines.lines(), silent.lines()), (["1"], []))
