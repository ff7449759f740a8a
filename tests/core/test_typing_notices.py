"""Who is writing: who is told, how often, and who may say it."""

from netsvc.core.identity import Identity
from netsvc.core.typing_notices import WRITERS
from netsvc.errors import InvalidParams, NotFound
from tests.core.fakes import FakeSink
from tests.core.rooms_case import ALICE, BOB, GUEST, RoomsTestCase


class TypingTests(RoomsTestCase):
    """chat.typing."""

    def setUp(self) -> None:
        """Alice follows the lobby."""
        super().setUp()
        _, self.member, self.sink = self.join()
        self.member.start()
        self.turn()
        self.clock.advance(2)
        self.sink.received = b""

    def tell(self, who: Identity = BOB, room: str = "lobby") -> None:
        """Say that somebody is writing."""
        self.assertIsNone(self.result(self.rooms.typing.tell(who, room)))

    def test_told(self) -> None:
        """Those who follow the room are told; nothing is stored, and the room need not have an event."""
        self.tell()
        self.tell(GUEST, "LOBBY")
        self.assertEqual(self.sink.lines(), ["bob...", f"{GUEST.name}..."])
        self.assertIsNone(self.result(self.store.room("lobby")))

    def test_not_often(self) -> None:
        """One name is told of once in three seconds in one room; the rest is dropped without an error."""
        for _ in range(3):
            self.tell()
        self.clock.advance(2.9)
        self.tell()
        self.assertEqual(self.sink.lines(), ["bob..."])
        self.clock.advance(0.1)
        self.tell()
        self.assertEqual(self.sink.lines(), ["bob...", "bob..."])

    def test_clock_set_back(self) -> None:
        """Nobody is silent for as long as the clock was set back."""
        self.tell()
        self.clock.rightNow -= 3600
        self.tell()
        self.assertEqual(len(self.sink.lines()), 2)

    def test_many(self) -> None:
        """So many names are told of within three seconds, and no more are remembered."""
        for number in range(WRITERS + 20):
            self.clock.advance(0.001)
            self.tell(Identity(f"u{number}", ("member",)))
        self.assertEqual(len(self.sink.lines()), WRITERS)
        self.clock.advance(3)
        self.tell()
        self.assertEqual(len(self.rooms._states["lobby"].writers), 1)

    def test_paced(self) -> None:
        """In a room with many connections all names together are told of less often."""
        for _ in range(999):
            self.result(self.rooms.join(ALICE, "lobby", None, 0, self.format, FakeSink())).member.start()
        self.clock.advance(2)
        self.sink.received = b""
        for number in range(9):
            self.tell(Identity(f"u{number}", ("member",)))
        self.assertEqual(self.sink.lines(), ["u0...", "u1...", "u2..."])
        self.clock.advance(0.2)
        self.tell()
        self.tell(GUEST)
        self.assertEqual(self.sink.lines()[3:], ["bob..."])

    def test_slow(self) -> None:
        """Who does not keep up is not told, and nothing is kept for it."""
        slow = FakeSink(0)
        self.result(self.rooms.join(ALICE, "lobby", None, 0, self.format, slow)).member.start()
        self.post("one")
        kept = list(slow.kept)
        self.tell()
        self.assertEqual(slow.kept, kept)

    def test_where(self) -> None:
        """A room that nobody follows must have an event; its name must be one."""
        self.assertRaises(InvalidParams, self.rooms.typing.tell, BOB, "A B")
        telling = self.rooms.typing.tell(BOB, "absent")
        self.turn()
        self.failureResultOf(telling, NotFound)
        self.post(room="quiet")
        self.tell(room="quiet")
        self.assertNotIn("quiet", self.rooms._states)
