"""Followers that do not keep up: they catch up from the ring or the store, or are told of a gap."""

from inspect import stack
from itertools import pairwise
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.logger import globalLogPublisher

from netsvc.core import delivery
from netsvc.core.records import Row
from netsvc.errors import StoreUnavailable
from tests.core.fakes import LineFormat
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

    def test_a_failing_store_is_said_now_and_then(self) -> None:
        """However many followers wait for a store that cannot be read, and however long: a line a minute."""
        lines: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        sinks = []
        for _ in range(20):
            _, member, sink = self.join()
            member.start()
            sink.window = 0
            sinks.append(sink)
        for _ in range(40):
            self.post()
        self.store.read_after = lambda *_: fail(StoreUnavailable("disk"))  # type: ignore[method-assign]
        for sink in sinks:
            sink.read()
        self.clock.pump([1.0] * 30)
        self.assertEqual([line["room"] for line in lines], ["lobby"])
        self.clock.pump([1.0] * 60)
        self.assertEqual(len(lines), 2)

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

    def test_what_is_kept_for_a_slow_reader(self) -> None:
        """One piece at a time, however long the messages and however much is missing, and no more is read than is of use."""
        self.format = LineFormat(padding=2000)
        self.rooms = self.make_rooms(chunk=4096)
        for _ in range(150):
            self.post()
        _, member, sink = self.join(after=self.cursor(0), limit=0)
        sink.window = 0
        asked: list[int] = []
        read_after = self.store.read_after

        def counted(room: str, after: int, limit: int, upto: int | None = None) -> "Deferred[list[Row]]":
            asked.append(limit)
            return read_after(room, after, limit, upto)

        self.store.read_after = counted  # type: ignore[method-assign]
        member.start()
        for _ in range(50):
            self.turn()
            self.assertEqual(len(sink.kept), 1)
            self.assertLessEqual(len(sink.kept[0][0]), 4096 + 2010)
            sink.read(0)
            self.assertTrue(sink.full)
            sink.read(len(sink.kept[0][0]))
        self.assertLess(max(asked[1:]), 10, asked)
        sink.read()
        self.turn(100)
        self.assertEqual([int(line) for line in sink.lines()], list(range(1, 151)))

    def test_a_long_way_behind(self) -> None:
        """A store that answers at once does not nest the reads into each other."""
        for _ in range(400):
            self.rooms.post(ALICE, "lobby", "x")
        self.turn(200)
        with mock.patch.multiple(delivery, STORE_READ=1, FIRST_READ=1):
            _, member, sink = self.join(after=self.cursor(0), limit=0)
            depths = []
            self.store.read_after, read_after = lambda *args: depths.append(len(stack())) or read_after(*args), self.store.read_after  # type: ignore[method-assign,func-returns-value]
            member.start()
            self.turn(1000)
        self.assertEqual(sink.lines(), [str(seq) for seq in range(1, 401)])
        self.assertLess(max(depths) - min(depths), 20)

    def test_full_while_a_read_is_under_way(self) -> None:
        """What was read for a sink that has filled up since is read again later, not piled up."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.window = 0
        for _ in range(40):
            self.post()
        reading: Deferred[Any] = Deferred()
        rows = self.successResultOf(self.store.read_after("lobby", 1, 200))
        self.store.read_after, read_after = lambda *_: reading, self.store.read_after  # type: ignore[method-assign]
        sink.read()
        self.store.read_after = read_after  # type: ignore[method-assign]
        sink.window = 0
        sink.write(b"answer\n")
        kept = len(sink.kept)
        reading.callback(rows)
        self.turn()
        self.assertEqual(len(sink.kept), kept)
        sink.read()
        self.turn()
        self.assertEqual([line for line in sink.lines() if line[0] != "+"], ["1", "answer", *(str(seq) for seq in range(2, 41))])

    def test_what_is_committed_but_not_known_to_be(self) -> None:
        """A read of the store gives nobody an event before the outcome of its commit has come."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        sink.window = 0
        for _ in range(40):
            self.post()
        posting = self.rooms.post(ALICE, "lobby", "x")
        self.clock.turn()
        self.assertEqual(self.successResultOf(self.store.room("lobby")).head, 41)
        sink.read()
        self.assertEqual(sink.lines()[-1], "33", "one read of the store")
        self.assertNoResult(posting)
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(sink.lines()[-1], "41")

    def test_an_older_cursor_in_a_younger_format(self) -> None:
        """What a format has made ready for its first followers does for those who come from further back, too."""
        _, member, _ = self.join()
        member.start()
        for _ in range(5):
            self.post()
        self.format = LineFormat()
        _, member, level = self.join(limit=0)
        member.start()
        self.post()
        _, member, behind = self.join(after=self.cursor(2), limit=0)
        member.start()
        self.post()
        self.assertEqual((level.lines(), behind.lines()), (["6", "7"], ["3", "4", "5", "6", "7"]))
        self.assertEqual(self.format.encoded, 5)

    def test_held(self) -> None:
        """Who is held gets nothing, from the ring or from the store, until as many have let go as held."""
        _, member, sink = self.join()
        member.start()
        self.turn()
        member.hold()
        self.post()
        member.hold()
        member.go_on()
        sink.read()
        for _ in range(40):
            self.post()
        self.assertEqual(sink.lines(), [])
        reading: Deferred[Any] = Deferred()
        rows = self.successResultOf(self.store.read_after("lobby", 0, 200))
        self.store.read_after, read_after = lambda *_: reading, self.store.read_after  # type: ignore[method-assign]
        member.go_on()
        member.hold()
        self.store.read_after = read_after  # type: ignore[method-assign]
        reading.callback(rows)
        self.turn()
        self.assertEqual(sink.lines(), [])
        member.go_on()
        self.turn()
        self.assertEqual(sink.lines(), [str(seq) for seq in range(1, 42)])
        member.leave()
        member.hold()
        member.go_on()

    def test_a_bug_while_reading_on_is_logged(self) -> None:
        """It does not vanish in a Deferred that nobody looks at."""
        for _ in range(3):
            self.post()
        _, member, _ = self.join(after=self.cursor(0), limit=0)
        self.format.event = lambda event: 1 / 0  # type: ignore[assignment,method-assign,return-value]
        member.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

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
