"""Rooms in memory: there is one state of a room at a time, whatever the store says."""

from unittest.mock import patch

from twisted.internet.defer import Deferred, fail

from netsvc.core.access import RoomAccess
from netsvc.errors import StoreUnavailable
from tests.core.fakes import FakeSink
from tests.core.rooms_case import ALICE, RoomsTestCase


class RoomStatesTests(RoomsTestCase):
    """The states of rooms that cannot be looked up."""

    def test_failed_look_up(self) -> None:
        """Who was about to join when somebody else's look at the room failed still gets what comes."""
        self.post()
        self.clock.advance(20)
        self.rooms.permissions.restricted["lobby"] = "public"
        permission: Deferred[RoomAccess] = Deferred()
        sink = FakeSink()
        with patch.object(self.store.accesses, "access", lambda room: permission):
            joining = self.rooms.join(ALICE, "lobby", None, 5, self.format, sink)
        with patch.object(self.store, "room", lambda name: fail(StoreUnavailable("disk"))):
            self.failureResultOf(self.rooms.exists("lobby"), StoreUnavailable)
        permission.callback(RoomAccess())
        joined, member = self.result(joining)
        member.start()
        self.post()
        self.turn()
        self.assertEqual((joined.cursor, sink.lines()), (self.cursor(1), ["2"]))
        member.leave()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.rooms._states, {})
