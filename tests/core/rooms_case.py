"""What the tests of rooms share: a store in memory, a clock, words for what clients do."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from netsvc.core.identity import Identity
from netsvc.core.rooms import Joined, Member, Rooms
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.store.memory import MemoryStore
from tests.core.fakes import FakeSink, LineFormat, TurningClock

__all__ = ["ALICE", "BOB", "GUEST", "OTHER_GUEST", "RoomsTestCase"]

ALICE = Identity("alice", ("member",))
BOB = Identity("bob", ("member",))
GUEST = Identity("guest-abc", ("guest",), guest=True)
OTHER_GUEST = Identity("guest-xyz", ("guest",), guest=True)


class RoomsTestCase(TestCase):
    """A store in memory, rooms, and words for what clients do."""

    create = "guest"

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = TurningClock()
        self.clock.advance(1_700_000_000.5)
        self.store = MemoryStore(self.clock)
        self.successResultOf(self.store.start())
        self.rooms = self.make_rooms()
        self.format = LineFormat()

    def make_rooms(self, **settings: Any) -> Rooms:
        """Rooms with small numbers."""
        return Rooms(self.store, self.clock, RoomsSettings(ring_events=16, **settings), LimitsSettings(append_batch=8, append_queue=32), self.create)

    def turn(self, turns: int = 5) -> None:
        """Let the reactor turn."""
        self.clock.pump([0.0] * turns)

    def result(self, deferred: "Deferred[Any]") -> Any:
        """What a Deferred gives after some turns."""
        self.turn()
        return self.successResultOf(deferred)

    def post(self, text: str = "hi", room: str = "lobby", who: Identity = ALICE, **params: Any) -> Any:
        """Post and wait."""
        return self.result(self.rooms.post(who, room, text, **params))

    def join(self, after: str | None = None, limit: int = 50, who: Identity = ALICE, room: str = "lobby") -> tuple[Joined, Member, FakeSink]:
        """Join, not yet started."""
        sink = FakeSink()
        joined, member = self.result(self.rooms.join(who, room, after, limit, self.format, sink))
        return joined, member, sink

    def cursor(self, seq: int) -> str:
        """The cursor behind an event."""
        return f"{self.store.epoch}:{seq}"
