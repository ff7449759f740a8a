"""Moderation: who may change what of a room, what it changes, and the event of each change."""

from unittest import mock

import msgspec
from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs, formatEvent

from netsvc.core.events import timestamp
from netsvc.core.identity import Identity
from netsvc.core.moderation import Moderation
from netsvc.core.settings import RoomsSettings
from netsvc.errors import Conflict, Forbidden, InvalidParams, NotFound, StoreUnavailable, TooLarge
from tests.core.moderation_case import ANN, BOB, EVE, MEG, MOD, ROOT, ModerationTestCase


class PeopleTests(ModerationTestCase):
    """Roles, invitations, kicks, bans, mutes."""

    def test_the_founder_owns(self) -> None:
        """Who starts a room as a user owns it; a guest's room has no owner, and only an admin can give it one."""
        self.assertEqual(self.do("info", ANN).owners, ["ann"])
        self.post(who=EVE, room="wild")
        self.assertEqual(self.do("info", EVE, room="wild").owners, [])
        self.refused(Forbidden, "role", ANN, "ann", "owner", room="wild")
        self.do("role", ROOT, "ann", "owner", room="wild")
        self.assertEqual(self.do("info", ANN, room="wild").may, "own")

    def test_invite(self) -> None:
        """A moderator makes a user a member, once; a guest cannot be one, nor somebody who is banned."""
        outcome = self.do("invite", MOD, "BOB")
        self.assertEqual((outcome.changed, outcome.cursor), (True, self.cursor(self.head())))
        self.assertEqual(self.newest(), [{"type": "moderation", "from": "mod", "action": "invite", "name": "bob"}])
        again = self.do("invite", MOD, "bob")
        self.assertEqual((again.changed, again.cursor), (False, None))
        self.assertEqual(self.roster(), {"ann": "owner", "bob": "member", "meg": "member", "mod": "moderator"})
        self.assertIn("guests cannot", self.refused(NotFound, "invite", MOD, "Eve"))
        self.do("ban", MOD, "bob")
        self.refused(Conflict, "invite", MOD, "bob")
        self.refused(Conflict, "role", ANN, "bob", "moderator")

    def test_who_may(self) -> None:
        """Members, strangers and guests moderate nobody; moderators nobody at their level or above, nor what is an owner's; admins all."""
        for who in (MEG, BOB, EVE):
            for what in ("invite", "kick", "ban", "unban", "mute", "unmute"):
                self.refused(Forbidden, what, who, "bob")
        for what in ("kick", "ban", "mute", "unban", "unmute"):
            for name in ("ann", "mod"):
                self.refused(Forbidden, what, MOD, name)
        self.refused(Forbidden, "role", MOD, "bob", "member")
        self.refused(Forbidden, "role", MEG, "meg", "owner")
        for what in ("mute", "kick", "ban"):
            self.do("role", ANN, "bob", "owner")
            self.assertIn("owner of den", self.refused(Forbidden, what, ANN, "bob"))
            self.assertIn("admin", self.refused(Forbidden, what, ANN, "root"))
            self.do(what, ROOT, "bob")

    def test_roles(self) -> None:
        """An owner makes moderators and owners, and may step down, but not as the last one; another owner's role is an admin's to take."""
        self.assertIn("no owner", self.refused(Conflict, "role", ANN, "ann", "member"))
        self.refused(Conflict, "leave", ANN)
        self.do("role", ANN, "bob", "owner")
        self.assertEqual(self.newest(), [{"type": "moderation", "from": "ann", "action": "role", "name": "bob", "value": "owner"}])
        self.refused(Forbidden, "role", ANN, "bob", "member")
        self.do("role", ANN, "ann", "member")
        self.refused(Forbidden, "role", ANN, "ann", "owner")
        self.do("role", ROOT, "bob", "moderator")
        self.assertEqual(self.do("info", ANN).owners, [])
        self.assertFalse(self.do("role", ROOT, "bob", "moderator").changed)
        self.assertRaises(InvalidParams, self.ask, "role", ANN, "bob", "king")
        self.refused(NotFound, "role", ROOT, "nobody", "member")

    def test_log(self) -> None:
        """The daemon's log has who did what to whom, and for how long; the reason, which is somebody's text, beside that."""
        until = timestamp(int(self.clock.seconds() * 1000) + 60_000)
        with capturedLogs() as logged:
            self.do("role", ANN, "bob", "moderator")
            self.do("ban", ANN, "meg", "so\nthere", 60.0)
            self.do("set", ANN, "plans")
        said = [formatEvent(event) for event in logged]
        self.assertEqual(said, ["ann in den: role bob moderator", f"ann in den: ban meg until {until}", "ann in den: topic"])
        self.assertEqual([event["reason"] for event in logged], ["", "so\nthere", "plans"])

    def test_leave(self) -> None:
        """A role can be given up; who has none gives up nothing."""
        self.do("leave", MEG)
        self.assertEqual(self.newest(), [{"type": "moderation", "from": "meg", "action": "leave", "name": "meg"}])
        self.assertFalse(self.do("leave", BOB).changed)
        self.assertNotIn("meg", self.roster())

    def test_kick(self) -> None:
        """Who is kicked loses the role and the room, and can come back where everybody may."""
        _, member, _ = self.join(who=EVE, room="den")
        lost: list[tuple[str, str]] = []
        member.lost = lambda _, room, why: lost.append((room, why))
        self.do("kick", MOD, "eve", "too loud")
        self.assertEqual((lost, member.there), ([("den", "kick")], False))
        self.assertEqual(self.newest(), [{"type": "moderation", "from": "mod", "action": "kick", "name": "eve", "text": "too loud"}])
        self.join(who=EVE, room="den")
        self.do("kick", MOD, "meg")
        self.assertEqual(self.roster(), {"ann": "owner", "mod": "moderator"})
        self.refused(NotFound, "kick", MOD, "meg")

    def test_ban(self) -> None:
        """Who is banned neither reads nor writes, until the ban ends or is lifted; the role is gone."""
        self.do("ban", MOD, "meg", "spam", 60.0)
        until = "2023-11-14T22:14:20.500Z"
        self.assertEqual(self.newest(), [{"type": "moderation", "from": "mod", "action": "ban", "name": "meg", "text": "spam", "until": until}])
        self.assertEqual(self.roster(), {"ann": "owner", "meg": "banned", "mod": "moderator"})
        self.denied(Forbidden, self.rooms.post, MEG, "den", "hi")
        self.denied(Forbidden, self.rooms.history, MEG, "den", None, None, 1)
        self.clock.advance(61.0)
        self.post(who=MEG, room="den")
        self.assertEqual(self.roster(), {"ann": "owner", "mod": "moderator"})
        self.do("ban", MOD, "meg")
        self.assertFalse(self.do("ban", MOD, "meg").changed)
        self.clock.advance(1e9)
        self.denied(Forbidden, self.rooms.post, MEG, "den", "hi")
        self.do("unban", MOD, "meg")
        self.post(who=MEG, room="den")
        self.assertFalse(self.do("unban", MOD, "meg").changed)
        for duration in (0.0, -1.0, 1e10):
            self.assertRaises(InvalidParams, self.ask, "ban", MOD, "meg", "", duration)

    def test_ban_of_a_guest(self) -> None:
        """A guest is banned by name, in any case, and with its network if it is there; users of that network are not."""
        self.join(who=EVE, room="den")
        self.do("ban", MOD, "eve")
        other_name = Identity("mallory", ("guest",), guest=True, network="192.0.2.1")
        for who in (EVE, Identity("EVE", ("guest",), guest=True), other_name):
            self.denied(Forbidden, self.rooms.post, who, "den", "hi")
        self.post(who=Identity("mallory", ("guest",), guest=True, network="192.0.2.2"), room="den")
        self.post(who=Identity("bob", ("member",)), room="den")
        self.do("unban", MOD, "Eve")
        self.post(who=other_name, room="den")
        self.do("ban", MOD, "mallory")
        self.post(who=EVE, room="den")

    def test_networks_of_a_ban_that_is_over(self) -> None:
        """Who has the name of a guest who was banned once is not banned with that one's network; a longer ban keeps what it has."""
        here, there = EVE, Identity("Eve", ("guest",), guest=True, network="192.0.2.2")
        other_here = Identity("carl", ("guest",), guest=True, network=here.network)
        self.join(who=here, room="den")
        self.do("ban", MOD, "Eve", "", 60.0)
        self.do("ban", MOD, "Eve", "", 120.0)
        self.clock.advance(61.0)
        self.denied(Forbidden, self.rooms.post, other_here, "den", "hi")
        self.clock.advance(60.0)
        self.join(who=there, room="den")
        self.do("ban", MOD, "Eve")
        self.denied(Forbidden, self.rooms.post, there, "den", "hi")
        self.post(who=other_here, room="den")

    def test_ban_of_a_visitor(self) -> None:
        """A guest who only sends requests is banned with its network, too: its name is another when the daemon is started again."""
        self.moderation._visitors = lambda name: ["192.0.2.9"] if name == "guest-abc234" else []
        self.do("ban", MOD, "guest-abc234")
        self.denied(Forbidden, self.rooms.post, Identity("guest-xyz234", ("guest",), guest=True, network="192.0.2.9"), "den", "hi")
        self.do("unban", MOD, "guest-abc234")
        self.post(who=Identity("guest-xyz234", ("guest",), guest=True, network="192.0.2.9"), room="den")

    def test_unban_of_a_guest_whose_name_is_a_users_now(self) -> None:
        """The ban of a guest can be lifted also when a user has got the name."""
        self.join(who=EVE, room="den")
        self.do("ban", MOD, "eve")
        self.store.local_accounts.add_user("eve", "member")
        self.assertTrue(self.do("unban", MOD, "eve").changed)
        self.post(who=EVE, room="den")

    def test_mute(self) -> None:
        """Who is muted reads, and keeps the role; writes again when it is over or lifted."""
        self.do("mute", MOD, "meg", "", 60.0)
        self.denied(Forbidden, self.rooms.post, MEG, "den", "hi")
        self.result(self.rooms.history(MEG, "den", None, None, 1))
        self.assertEqual(self.roster()["meg"], "muted")
        self.assertEqual(self.roster(BOB)["meg"], "member")
        self.clock.advance(61.0)
        self.post(who=MEG, room="den")
        self.do("mute", MOD, "meg")
        self.assertFalse(self.do("mute", MOD, "meg").changed)
        self.do("unmute", MOD, "meg")
        self.assertFalse(self.do("unmute", MOD, "meg").changed)
        self.assertEqual(self.roster()["meg"], "member")
        self.post(who=MEG, room="den")

    def test_absent_rooms(self) -> None:
        """A room that is not there is not found, whoever asks and for whatever; that stores nothing."""
        for who in (ANN, ROOT):
            for what in ("invite", "kick", "ban", "unban", "mute", "unmute"):
                self.refused(NotFound, what, who, "bob", room="new")
            self.refused(NotFound, "role", who, "bob", "member", room="new")
            self.refused(NotFound, "set", who, "topic", room="new")
            self.refused(NotFound, "members", who, "", 1, room="new")
            for what in ("leave", "info"):
                self.refused(NotFound, what, who, room="new")

    def test_names(self) -> None:
        """What is no name is refused."""
        for name in ("", "a b", "x" * 40, "<eve>"):
            self.refused(InvalidParams, "ban", MOD, name)

    def test_bounds(self) -> None:
        """No more places than may be, and no longer reasons."""
        self.moderation._settings = RoomsSettings(places=4, topic=10)
        self.do("ban", MOD, "x1")
        self.refused(TooLarge, "ban", MOD, "x2")
        self.do("mute", MOD, "x1")
        self.do("unban", MOD, "x1")
        self.do("unmute", MOD, "x1")
        self.do("ban", MOD, "x2", "1234567890")
        for what in ("kick", "ban", "mute"):
            self.assertRaises(TooLarge, self.ask, what, MOD, "x2", "12345678901")


class RoomTests(ModerationTestCase):
    """room.set, room.info, room.members."""

    def test_topic(self) -> None:
        """A moderator sets the topic, which is an event and told by info; the same again is nothing; an empty one is none."""
        self.do("set", MOD, "Dens & foxes")
        self.assertEqual(self.newest(), [{"type": "topic", "from": "mod", "text": "Dens & foxes"}])
        self.assertEqual(self.do("info", BOB).topic, "Dens & foxes")
        self.assertFalse(self.do("set", MOD, "Dens & foxes").changed)
        self.do("set", MOD, "")
        self.assertEqual(self.newest(), [{"type": "topic", "from": "mod", "text": ""}])
        self.refused(Forbidden, "set", MEG, "mine")
        self.assertRaises(TooLarge, self.ask, "set", MOD, "x" * 1025)

    def test_access(self) -> None:
        """An owner opens and closes the room; who may not read any more loses it."""
        self.refused(Forbidden, "set", MOD, None, "members")
        lost: list[str] = []
        members = {}
        for who in (ANN, MEG, BOB, EVE, ROOT):
            _, member, _ = self.join(who=who, room="den")
            members[who.name] = member
            member.lost = lambda member, room, why: lost.append(f"{member.identity.name} {why}")
        self.do("set", ANN, None, "members")
        self.assertEqual(lost, ["bob access", "Eve access"])
        self.assertEqual([name for name, member in members.items() if member.there], ["ann", "meg", "root"])
        self.assertEqual(self.newest(), [{"type": "moderation", "from": "ann", "action": "access", "value": "members"}])
        self.do("invite", MOD, "bob")
        self.post(who=BOB, room="den")
        self.do("set", ANN, None, "secret")
        self.do("leave", MEG)
        self.assertEqual(lost[2:], ["meg leave"])
        self.denied(NotFound, self.rooms.post, MEG, "den", "hi")
        self.do("set", ANN, None, "public")
        self.post(who=EVE, room="den")

    def test_a_large_room_is_told_in_slices(self) -> None:
        """All of a room lose it at once, and are told so many in a turn; one whose connection has a fault does not keep it from others."""
        self.rooms = self.make_rooms(fanout_slice=10)
        self.moderation = Moderation(self.rooms, self.store.accounts, self.clock, self.settings)
        told: list[int] = []
        sinks = []
        for number in range(25):
            _, member, sink = self.join(who=BOB, room="den")
            member.lost = mock.Mock(side_effect=lambda *_, number=number: 1 / 0 if number == 3 else told.append(number))
            member.start()
            sinks.append(sink)
        self.moderation.set(ANN, "den", None, "members", None, None)
        for _ in range(20):
            self.clock.turn()
            if told:
                break
        self.assertEqual(told, [number for number in range(10) if number != 3])
        self.rooms.post(ANN, "den", "not for bob")
        self.turn()
        self.assertEqual((len(told), {sink.received for sink in sinks}), (24, {b""}))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_several_at_once(self) -> None:
        """Each thing that is set is an event, in the order of the params; nothing to set is nothing."""
        outcome = self.do("set", ANN, "quiet", "secret", 3_600_000, 100)
        events = self.newest(4)
        self.assertEqual([(event["type"], event.get("action"), event.get("value", event.get("text"))) for event in events], [
            ("topic", None, "quiet"), ("moderation", "access", "secret"), ("moderation", "retention_age", "3600"), ("moderation", "retention_events", "100"),
        ])
        self.assertEqual(outcome.cursor, self.cursor(self.head()))
        info = self.do("info", ANN)
        self.assertEqual((info.topic, info.access, info.retention_age, info.retention_events), ("quiet", "secret", 3600.0, 100))
        self.assertFalse(self.do("set", ANN).changed)
        self.do("set", ANN, None, None, -1, -1)
        self.assertEqual(self.newest(1)[0]["value"], "default")
        info = self.do("info", ANN)
        self.assertEqual((info.retention_age, info.retention_events), (None, None))

    def test_retention(self) -> None:
        """What is beyond a room's retention goes in the next round, from the store and for those who follow."""
        for _ in range(5):
            self.post(room="den", who=ANN)
        self.do("set", ANN, None, None, None, 2)
        self.result(self.rooms.prune())
        history = self.result(self.rooms.history(ANN, "den", None, None, 50))
        self.assertEqual([event.seq for event in history.events], [self.head() - 1, self.head()])

    def test_longer_than_rooms_says(self) -> None:
        """An owner can have events kept for a shorter time than [rooms] says; for a longer one it takes an admin."""
        self.moderation._settings = RoomsSettings(retention_age=60.0, retention_events=10)
        for params in ((0, None), (60_001, None), (None, 0), (None, 11)):
            self.refused(Forbidden, "set", ANN, None, None, *params)
            self.assertTrue(self.do("set", ROOT, None, None, *params).changed)
        self.do("set", ANN, None, None, 60_000, 10)
        self.do("set", ANN, None, None, -1, -1)

    def test_info(self) -> None:
        """What the caller is and may do here."""
        seen = {who.name: (self.do("info", who).role, self.do("info", who).may) for who in (ANN, MOD, MEG, BOB, EVE, ROOT)}
        expected = {"ann": ("owner", "own"), "mod": ("moderator", "moderate"), "meg": ("member", "write"), "bob": ("", "write"), "Eve": ("", "write")}
        self.assertEqual(seen, {**expected, "root": ("", "own")})
        self.do("mute", MOD, "meg")
        self.assertEqual(self.do("info", MEG).may, "read")

    def test_since_when_one_may_amend(self) -> None:
        """What is older than a user's account, or a guest's hour, is not theirs: what is told is what holds."""
        self.clock.advance(10 - self.clock.seconds() % 10)
        now = int(self.clock.seconds() * 1000)
        again = Identity("bob", ("member",), since=now - 5000)
        told = [self.do("info", who).amends_since for who in (again, EVE, BOB)]
        self.assertEqual(told, [timestamp(now - 5000), timestamp(now - 3_600_000), "1970-01-01T00:00:00.000Z"])
        self.moderation._settings = RoomsSettings(guest_edits=1e12)
        self.assertEqual(self.do("info", EVE).amends_since, "1970-01-01T00:00:00.000Z")

    def test_members(self) -> None:
        """By name, a page at a time; bans and mutes are for moderators."""
        self.do("ban", MOD, "Eve", "", 60.0)
        self.do("mute", MOD, "aaron")
        self.assertEqual(list(self.roster()), ["aaron", "ann", "eve", "meg", "mod"])
        self.assertEqual(list(self.roster(MEG)), ["ann", "meg", "mod"])
        page = self.do("members", ANN, "aaron", 2)
        self.assertEqual(([each.name for each in page.members], page.more), (["ann", "eve"], True))
        self.assertEqual((page.members[1].guest, page.members[1].until), (True, "2023-11-14T22:14:20.500Z"))
        page = self.do("members", ANN, "eve", 2)
        self.assertEqual(([each.name for each in page.members], page.more), (["meg", "mod"], False))
        self.assertRaises(InvalidParams, self.ask, "members", ANN, "", 201)

    def test_directory(self) -> None:
        """The list of rooms says which are not public, to who may know; pages are full, however many rooms are left out."""
        for number in range(9):
            self.post(who=BOB, room=f"a{number}")
            self.do("set", BOB, None, "secret", room=f"a{number}")
        self.post(who=BOB, room="club")
        self.do("set", BOB, None, "members", room="club")
        self.post(who=BOB, room="open")

        def names(who: Identity, after: str = "", limit: int = 2) -> list[tuple[str, str, bool]]:
            listed = self.result(self.rooms.directory(who, after, limit))
            return [(room.name, room.access, room.cursor is not None) for room in listed.rooms] + [("more", "", True)] * listed.more

        more = ("more", "", True)
        self.assertEqual(names(ANN), [("club", "members", False), ("den", "public", True), more])
        self.assertEqual(names(ANN, "den"), [("open", "public", True)])
        self.assertEqual(names(BOB), [("a0", "secret", True), ("a1", "secret", True), more])
        self.assertEqual(len(names(ROOT, limit=200)), 12)
        self.assertEqual(names(ANN, limit=0), [more])

    def test_directory_tells_nobody_of_bans(self) -> None:
        """A public room looks the same in the list whether or not somebody is banned there, or the room was closed once."""
        self.do("set", ANN, None, "members")
        self.do("set", ANN, None, "".join(("pub", "lic")))  # as from a database: another object than the default
        self.do("ban", MOD, "bob")
        for who in (MEG, BOB):
            (room,) = msgspec.to_builtins(self.result(self.rooms.directory(who, "", 9)))["rooms"]
            self.assertEqual("cursor" in room, who is MEG)
            self.assertNotIn("access", room)


class TroubleTests(ModerationTestCase):
    """Stores that fail, callers that lose patience, several at once."""

    def test_store_failure(self) -> None:
        """What cannot be stored does not hold, and nobody loses anything by it."""
        _, member, _ = self.join(who=BOB, room="den")
        self.store.broken = "disk full"
        self.refused(StoreUnavailable, "ban", MOD, "bob")
        self.store.broken = ""
        self.assertTrue(member.there)
        self.post(who=BOB, room="den")
        self.do("ban", MOD, "bob")
        self.assertFalse(member.there)

    def test_a_caller_who_loses_patience(self) -> None:
        """What was begun is done: the event, the change, and its effect on those who are there."""
        _, member, _ = self.join(who=BOB, room="den")
        done = self.moderation.ban(MOD, "den", "bob", "", None)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.turn()
        self.assertEqual(self.newest()[0]["action"], "ban")
        self.assertFalse(member.there)
        self.denied(Forbidden, self.rooms.post, BOB, "den", "hi")
        self.assertEqual(len(self.moderation._locks), 0)

    def test_a_bug_behind_a_caller_who_has_lost_patience(self) -> None:
        """An error that nobody waits for any more is logged."""
        done = self.moderation.ban(MOD, "den", "bob", "", None)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.rooms.expel = mock.Mock(side_effect=RuntimeError("a bug"))  # type: ignore[method-assign]
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_one_after_the_other(self) -> None:
        """Moderations of one room are made in the order in which they were asked for, each knowing of those before."""
        asked = [
            self.moderation.invite(MOD, "den", "bob"),
            self.moderation.role(ANN, "den", "bob", "owner"),
            self.moderation.role(ANN, "den", "ann", "member"),
            self.moderation.invite(ANN, "den", "bob"),
            self.moderation.role(BOB, "den", "ann", "moderator"),
        ]
        self.turn(20)
        self.failureResultOf(asked.pop(3), Forbidden)
        self.assertEqual([self.successResultOf(each).changed for each in asked], [True] * 4)
        self.assertEqual(self.roster(), {"ann": "moderator", "bob": "owner", "meg": "member", "mod": "moderator"})
        self.assertEqual(len(self.moderation._locks), 0)

    def test_the_last_owner(self) -> None:
        """Two owners who step down at the same moment leave one of them."""
        self.do("role", ANN, "bob", "owner")
        first, second = self.moderation.leave(ANN, "den"), self.moderation.leave(BOB, "den")
        self.turn(20)
        self.successResultOf(first)
        self.failureResultOf(second, Conflict)

    def test_a_ban_survives_the_cache(self) -> None:
        """What is forgotten in memory is still in the store."""
        self.do("ban", MOD, "bob")
        self.rooms.permissions.forget()
        self.denied(Forbidden, self.rooms.post, BOB, "den", "hi")
        again = self.make_rooms()
        self.successResultOf(again.permissions.start())
        self.denied(Forbidden, again.post, BOB, "den", "hi")
