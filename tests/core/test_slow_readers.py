"""Followers that do not keep up: they catch up from the ring or the store, or are told of a gap."""

from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred, fail

from netsvc.errors import StoreUnavailable
from tests.core.rooms_case import ALICE, BOB, RoomsTestCase


class SlowReaderTests(RoomsTestCase):
    """Followers that do not keep up."""

    def test_catching_up_from_the_ring(self) -> None:
        """A reader that paused gets what it missed, once, in order."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.window = 0
        for _ in range(10):
            self.post()
        self.assertEqual(len(sink.kept), 1, "no queue: one piece, by reference")
        sink.read()
        self.turn()
        self.assertEqual([line for line in sink.lines() if line[0] != "+"], [str(seq) for seq in range(1, 11)])

    def test_catching_up_from_the_store(self) -> None:
        """Also when the ring has moved on."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.window = 3
        for _ in range(300):
            self.rooms.post(ALICE, "lobby", "x")
        self.turn(200)
        state = self.rooms._states["lobby"]
        self.assertLessEqual(len(state.room.events), 16)
        sink.read()
        self.turn(20)
        self.assertEqual([line for line in sink.lines() if line[0] != "+"], [str(seq) for seq in range(1, 301)])

    def test_a_gap_is_told(self) -> None:
        """What retention has removed meanwhile is an explicit gap."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.window = 0
        for _ in range(40):
            self.post()
        self.result(self.rooms.prune())
        self.result(self.store.prune(0, None, 10))
        sink.read()
        self.turn(10)
        lines = [line for line in sink.lines() if line[0] != "+"]
        self.assertEqual(lines[1:], ["2-30", *[str(seq) for seq in range(31, 41)]])

    def test_everything_is_gone(self) -> None:
        """A gap up to the head where retention has left nothing."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.window = 0
        for _ in range(40):
            self.post()
        self.clock.advance(1000)
        self.result(self.store.prune(int(self.clock.seconds() * 1000), 1, None))
        sink.read()
        self.turn(10)
        self.assertEqual([line for line in sink.lines() if line[0] != "+"][1:], ["2-40"])

    def test_a_failing_store_is_tried_again(self) -> None:
        """A follower is not lost because a read failed."""
        _, member, sink = self.join()
        member.start()
        sink.window = 0
        for _ in range(40):
            self.post()
        self.store.read_after, read_after = lambda *_: fail(StoreUnavailable("disk")), self.store.read_after  # type: ignore[method-assign]
        sink.read()
        self.turn()
        self.store.read_after = read_after  # type: ignore[method-assign]
        self.clock.pump([0.5] * 6)
        self.turn()
        self.assertEqual([line for line in sink.lines() if line[0] != "+"], [str(seq) for seq in range(1, 41)])
        sink.window = 0
        for _ in range(40):
            self.post()
        self.store.read_after = lambda *_: fail(StoreUnavailable("disk"))  # type: ignore[method-assign]
        sink.read()
        member.leave()
        self.clock.pump([0.5] * 6)

    def test_a_broken_connection(self) -> None:
        """A send that fails takes the follower out; the transport tells of the loss itself."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.broken = True
        self.post()
        self.assertTrue(sink.full)
        member.leave()

    def test_leaving_while_reading_on(self) -> None:
        """A read whose follower has gone comes to nothing."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.window = 0
        for _ in range(40):
            self.post()
        reading: Deferred[Any] = Deferred()
        self.store.read_after = lambda *_: reading  # type: ignore[method-assign]
        sink.read()
        received = sink.received
        member.leave()
        reading.callback([])
        self.assertEqual(sink.received, received)

    def test_slices(self) -> None:
        """A big room is served in slices, one a turn, and nobody is left out."""
        self.rooms = self.make_rooms(fanout_slice=2)
        members = [self.join(who=BOB) for _ in range(7)]
        for _, member, _ in members:
            member.start()
        self.clock.advance(1.0)
        self.rooms.post(ALICE, "lobby", "x")
        before = sum(sink.writes for _, _, sink in members)
        counts = [0]
        turn = self.rooms.delivery._turn

        def counted() -> None:
            turn()
            counts.append(sum(sink.writes for _, _, sink in members) - before)

        self.rooms.delivery._turn = counted  # type: ignore[method-assign]
        self.clock.advance(0)
        self.assertEqual(counts[-1], 7)
        self.assertTrue(all(later - earlier <= 2 for earlier, later in pairwise(counts[1:])), counts)
        self.assertGreaterEqual(len(counts), 4)
        for _, _, sink in members:
            self.assertEqual(sink.lines()[-1], "1")

    def test_rings_share_a_budget(self) -> None:
        """The ring that has been quiet longest shrinks first; nothing is lost by it."""
        self.rooms = self.make_rooms(ring_bytes=64 * 1024)
        rooms = [f"room-{number}" for number in range(8)]
        sinks = []
        for room in rooms:
            _, member, sink = self.join(room=room)
            member.start()
            sinks.append(sink)
        self.turn()
        for room in rooms:
            for _ in range(10):
                self.post("x" * 1000, room=room)
        self.assertLessEqual(self.rooms.delivery.cost, 64 * 1024)
        self.assertGreater(len(list(self.rooms.delivery.rooms())), 0)
        self.assertLess(len(list(self.rooms.delivery.rooms())), 8)
        for sink in sinks:
            self.assertEqual([line for line in sink.lines() if line[0] != "+"], [str(seq) for seq in range(1, 11)])
