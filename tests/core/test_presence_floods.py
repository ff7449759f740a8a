"""Coming and going as a flood: what it costs those who stay."""

from netsvc.core.identity import Identity
from netsvc.core.presence import NAMES, PACE
from tests.core.fakes import FakeSink
from tests.core.rooms_case import ALICE, RoomsTestCase


class FloodTests(RoomsTestCase):
    """One who stays, and many who do not."""

    def setUp(self) -> None:
        """Somebody is there, and has been told so."""
        super().setUp()
        _, member, self.sink = self.join()
        member.start()
        self.clock.pump([1.0] * 3)
        self.sink.received = b""

    def come_and_go(self, name: str) -> None:
        """Join and leave at once."""
        who = Identity(name, ("guest",), guest=True)
        joining = self.rooms.join(who, "lobby", None, 0, self.format, FakeSink())
        self.turn(2)
        self.successResultOf(joining).member.leave()

    def test_one_who_flickers(self) -> None:
        """A thousand joins in a second are one coming, and one going when the grace is over; their last state counts."""
        for _ in range(1000):
            self.come_and_go("flicker")
        self.clock.pump([1.0] * 15)
        self.assertEqual(self.sink.lines(), ["+flicker - =2", "+ -flicker =1"])

    def test_many(self) -> None:
        """However many come and go, those who stay are told once a second at the most, with so many names, and the number is right."""
        for number in range(600):
            self.come_and_go(f"guest-{number}")
            if number % 100 == 99:
                self.clock.advance(1.0)
        self.clock.pump([1.0] * 20)
        lines = self.sink.lines()
        self.assertLess(len(lines), 20)
        for line in lines:
            joined, left, count = line.split(" ")
            self.assertLessEqual(max(joined.count(","), left.count(",")), NAMES - 1)
            self.assertTrue(count.startswith("="))
        self.assertEqual(lines[-1].rpartition("=")[2], "1")
        self.assertLess(len(self.sink.received), 600 * 25)

    def test_a_big_room(self) -> None:
        """What is sent for presence in a second does not grow with the room."""
        sinks = []
        for number in range(2 * PACE):
            sink = FakeSink()
            joining = self.rooms.join(Identity(f"guest-{number}", ("guest",), guest=True), "lobby", None, 0, self.format, sink)
            if number % 500 == 499:
                self.turn(2)
            joining.addCallback(lambda membership: membership.member.start())
            sinks.append(sink)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.result(self.rooms.who(ALICE, "lobby")).count, 2 * PACE + 1)
        before = sum(sink.writes for sink in sinks)
        for second in range(10):
            self.come_and_go(f"visitor-{second}")
            self.clock.advance(1.0)
        self.turn(3)
        told = (sum(sink.writes for sink in sinks) - before) / 10
        self.assertTrue(0.5 * PACE < told < 1.3 * PACE, told)
