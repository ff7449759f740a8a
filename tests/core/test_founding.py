"""Rooms that are started by room.set: whom they are for holds from the first event on, whoever comes at that moment."""

from typing import Any

from netsvc.core.identity import Identity
from netsvc.core.moderation import Moderation
from netsvc.core.settings import RoomsSettings
from netsvc.errors import Conflict, Forbidden, NotFound, StoreUnavailable
from tests.core.moderation_case import ANN, BOB, EVE, MEG, ROOT, ModerationTestCase


class FoundingTests(ModerationTestCase):
    """The room `vault`, which is not there at first."""

    def start(self, who: Identity = ANN, access: str | None = "secret", room: str = "vault") -> Any:
        """Start a room, without a turn."""
        return self.moderation.set(who, room, None, access, None, None, create=True)

    def begin_again(self, create: str) -> None:
        """As after a restart, with 10 as [rooms] retention_events, and another [chat] create."""
        self.create = create
        self.rooms = self.make_rooms()
        self.moderation = Moderation(self.rooms, self.store.accounts, self.clock, RoomsSettings(retention_events=10))
        self.successResultOf(self.rooms.permissions.start())

    def test_started(self) -> None:
        """The first event says whom the room is for, the caller owns it, and the rest of what is given follows."""
        outcome = self.do("set", ANN, "gold", "secret", None, 100, True, room="vault")
        self.assertEqual((outcome.changed, outcome.cursor), (True, self.cursor(3)))
        access = {"type": "moderation", "from": "ann", "action": "access", "value": "secret"}
        self.assertEqual(self.newest(9, "vault")[:2], [access, {"type": "topic", "from": "ann", "text": "gold"}])
        info = self.do("info", ANN, room="vault")
        self.assertEqual((info.access, info.owners, info.topic, info.retention_events), ("secret", ["ann"], "gold", 100))
        self.denied(NotFound, self.rooms.history, BOB, "vault", None, None, 1)
        self.denied(NotFound, self.rooms.post, MEG, "vault", "hi")
        self.post(who=ANN, room="vault")

    def test_access_not_given(self) -> None:
        """A room that is started without saying whom it is for is for everybody, and its first event says so."""
        for access, room in ((None, "plaza"), ("public", "park")):
            self.result(self.start(access=access, room=room))
            self.assertEqual(self.newest(9, room), [{"type": "moderation", "from": "ann", "action": "access", "value": "public"}])
            self.post(who=EVE, room=room)

    def test_a_room_that_is_there(self) -> None:
        """It cannot be started, by whomever, and stays as it is; for whom it is secret is told as much as by anything else."""
        for who in (ANN, BOB, ROOT):
            self.assertIn("already", self.refused(Conflict, "set", who, None, "secret", None, None, True))
        self.post(who=EVE, room="den")
        self.do("set", ANN, None, "secret")
        self.refused(NotFound, "set", BOB, None, "public", None, None, True)
        self.refused(Conflict, "set", MEG, None, "public", None, None, True)
        self.denied(NotFound, self.rooms.post, BOB, "den", "hi")

    def test_who_may(self) -> None:
        """Only who may start a room by a message may do it so; guests, who could not own it, may not. Nothing is stored for them."""
        self.begin_again("admin")
        for who in (ANN, EVE):
            self.refused(Forbidden, "set", who, None, "secret", None, None, True, room="vault")
        self.do("set", ROOT, None, "members", None, 0, True, room="vault")
        self.begin_again("guest")
        self.refused(Forbidden, "set", EVE, None, "secret", None, None, True, room="cave")
        self.refused(Forbidden, "set", ANN, None, "secret", None, 0, True, room="cave")
        self.denied(Forbidden, self.rooms.history, ANN, "vault", None, None, 1)

    def test_at_that_moment(self) -> None:
        """Who asks while the first event is being stored is refused, and who has posted before it has a room of their own."""
        starting = self.start()
        self.clock.turn()
        self.assertEqual(self.head("vault"), 1)
        self.assertNoResult(starting)
        asked = [self.rooms.post(BOB, "vault", "hi"), self.rooms.history(EVE, "vault", None, None, 1), self.rooms.who(MEG, "vault")]
        mine = self.rooms.post(ANN, "vault", "hi")
        for deferred in asked:
            self.assertNoResult(deferred)
        self.assertEqual([room.name for room in self.result(self.rooms.directory(BOB, "", 9)).rooms], ["den"])
        self.successResultOf(starting)
        for deferred in asked:
            self.failureResultOf(deferred, NotFound)
        self.assertEqual(self.successResultOf(mine).seq, 2)

    def test_somebody_was_faster(self) -> None:
        """A message that was on its way starts the room: it is its sender's, and as public as that one wanted it."""
        for text in ("hi", "hi @room"):
            room = f"room-of-{len(text)}"
            posting = self.rooms.post(BOB, room, text)
            starting = self.start(room=room)
            self.turn()
            self.failureResultOf(starting, Conflict)
            self.assertEqual(self.successResultOf(posting).seq, 1)
            self.assertEqual(self.head(room), 1)
            info = self.do("info", EVE, room=room)
            self.assertEqual((info.access, info.owners), ("public", ["bob"]))
            self.post(who=EVE, room=room)

    def test_who_waits_in_it(self) -> None:
        """Who has joined the room before it was there loses it with its first event, unseen."""
        _, member, sink = self.join(who=BOB, room="vault")
        member.start()
        lost: list[tuple[str, str]] = []
        member.lost = lambda _, room, why: lost.append((room, why))
        self.result(self.start())
        self.assertEqual((lost, sink.received), ([("vault", "access")], b""))

    def test_store_failure(self) -> None:
        """What could not be stored has started nothing: the room is there for everybody to start."""
        self.store.fail_next()
        starting = self.start()
        self.clock.turn()
        posting = self.rooms.post(BOB, "vault", "hi")
        self.turn()
        self.failureResultOf(starting, StoreUnavailable)
        self.assertEqual(self.successResultOf(posting).seq, 1)
        self.assertEqual(self.do("info", EVE, room="vault").owners, ["bob"])
