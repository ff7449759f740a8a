"""What every store promises of settings and places of rooms (IRoomAccesses, and the drafts that change them): one suite, run on each."""

from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.core.amending import first
from netsvc.core.places import DEFAULTS, FOREVER, NOWHERE, AccessChange, Place, RoomSettings
from netsvc.core.records import Draft
from netsvc.errors import Conflict, StoreUnavailable
from netsvc.interfaces import IRoomAccesses
from netsvc.store.memory import MemoryStore
from netsvc.store.sqlite.opening import open_accounts
from tests.store.harness import NOW, draft, key, now, open_store

R = TypeVar("R")


class RoomAccessesContract:
    """The promises. A subclass makes the store, with the users ann and bob, and waits for its answers."""

    store: Any
    users: Any

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result of a Deferred; raises its error."""
        raise NotImplementedError

    def append(self, *drafts: Draft) -> None:
        """Append in one batch."""
        self.outcome(self.store.append(list(drafts)))

    def founding(self, sender: str, room: str = "r", founds: bool = True) -> Draft:
        """A message of somebody."""
        made = Draft(room, "message", sender, NOW, "hello")
        made.founds = founds
        return made

    def change(self, room: str = "r", settings: RoomSettings | None = None, **places: Place) -> Draft:
        """A moderation; ``g_x`` is the guest x."""
        made = Draft(room, "moderation", "ann", NOW, None, "{}")
        made.change = AccessChange(settings, {name.replace("g_", "?"): place for name, place in places.items()})
        return made

    def places(self, room: str = "r") -> dict[str, Place]:
        """Who has a place in a room."""
        return self.outcome(self.store.accesses.access(room)).places

    def test_interface(self) -> None:
        """The store's `accesses` provide IRoomAccesses."""
        verifyObject(IRoomAccesses, self.store.accesses)

    def test_nothing(self) -> None:
        """Of a room that nobody said anything about, there or not, nothing is stored."""
        self.append(draft())
        for room in ("r", "absent"):
            access = self.outcome(self.store.accesses.access(room))
            self.assertEqual((access.settings, access.places, access.restricts()), (DEFAULTS, {}, False))
        self.assertEqual(self.outcome(self.store.accesses.restricted()), {})
        self.assertEqual(self.outcome(self.store.accesses.places("ann", "10.0.0.1", None)), {})

    def test_the_founder_owns(self) -> None:
        """The user whose event is a room's first owns it; not who comes later, not a guest, not who is no user (any more)."""
        self.append(self.founding("ann"), self.founding("bob"), self.founding("bob", "other", founds=False), self.founding("gone", "third"))
        self.append(self.founding("bob"))
        self.assertEqual([self.places(room) for room in ("r", "other", "third")], [{"ann": Place("owner")}, {}, {}])
        self.assertEqual(self.outcome(self.store.accesses.restricted()), {})

    def test_a_conflict_founds_nothing(self) -> None:
        """An event that is not appended gives nobody a room."""
        self.append(draft(key=key()))
        clash = self.founding("ann", "new")
        clash.key = key(digest=b"two")
        self.append(clash)
        self.assertIsInstance(clash.error, Conflict)
        self.assertEqual(self.places("new"), {})

    def test_founded_with_a_change(self) -> None:
        """The event that founds a room may change its access; if somebody else's event comes before it in the batch, neither is."""
        for faster in (False, True):
            room = f"r{faster:d}"
            made = self.change(room, RoomSettings("secret"))
            made.founds, made.target, made.amend = True, 0, first
            self.append(*[self.founding("bob", room)] * faster, made, *[self.founding("bob", room)] * (not faster))
            access = self.outcome(self.store.accesses.access(room))
            owner, kind = ("bob", "public") if faster else ("ann", "secret")
            self.assertEqual((access.places, access.settings), ({owner: Place("owner")}, RoomSettings(kind)))
            self.assertEqual(made.seq, 0 if faster else 1)
            self.assertIsInstance(made.error, Conflict if faster else type(None))

    def test_change(self) -> None:
        """A change is stored with its event: settings as a whole, places one by one, empty ones not at all."""
        self.append(self.founding("ann"))
        settings = RoomSettings("secret", "what, 'this' is\nabout", 86_400_000, 0)
        banned = Place("", 0, FOREVER, ("10.0.0.1", "2001:db8::/64"))
        self.append(self.change(settings=settings, bob=Place("member", NOW + 5), g_eve=banned))
        access = self.outcome(self.store.accesses.access("r"))
        self.assertEqual(access.settings, settings)
        self.assertEqual(access.places, {"ann": Place("owner"), "bob": Place("member", NOW + 5), "?eve": banned})
        self.append(self.change(bob=NOWHERE, g_eve=Place("", 0, NOW + 1)))
        access = self.outcome(self.store.accesses.access("r"))
        self.assertEqual((access.settings, access.places), (settings, {"ann": Place("owner"), "?eve": Place("", 0, NOW + 1)}))
        self.assertEqual(self.outcome(self.store.room("r")).head, 3)

    def test_changes_of_one_batch(self) -> None:
        """Of several changes in one transaction the last one stays."""
        self.append(self.founding("ann"), self.change(bob=Place("member")), draft(), self.change(bob=Place("moderator")))
        self.assertEqual(self.places(), {"ann": Place("owner"), "bob": Place("moderator")})

    def test_restricted(self) -> None:
        """Rooms that are not public and rooms with somebody muted or banned are named; a topic, an owner or a member restricts nobody."""
        self.append(*(self.founding("ann", room) for room in ("a", "b", "c", "d", "e")))
        self.append(self.change("a", RoomSettings("members")), self.change("b", RoomSettings(topic="t"), bob=Place("member")))
        self.append(self.change("c", bob=Place("", NOW)), self.change("d", g_eve=Place("", 0, FOREVER)))
        self.assertEqual(self.outcome(self.store.accesses.restricted()), {"a": "members", "c": "public", "d": "public"})
        self.append(self.change("a", DEFAULTS), self.change("d", g_eve=NOWHERE))
        self.assertEqual(self.outcome(self.store.accesses.restricted()), {"c": "public"})

    def test_places_of_one(self) -> None:
        """The places of a user, a guest, a guest's network, in some rooms or in all."""
        self.append(*(self.founding("ann", room) for room in ("a", "b", "c", "d")))
        networks = ("10.0.0.1", "2001:db8::/64")
        banned = Place("", 0, NOW + 5, networks)
        self.append(self.change("a", RoomSettings("secret")), self.change("b", g_eve=banned), self.change("c", bob=Place("member")))

        def places(who: str, network: str, rooms: list[str] | None) -> dict[str, Place]:
            return self.outcome(self.store.accesses.places(who, network, rooms))

        self.assertEqual(places("bob", "", None), {"c": Place("member")})
        self.assertEqual(places("bob", "", ["a", "b", "absent"]), {})
        self.assertEqual(places("ann", "", ["a", "d"]), {"a": Place("owner"), "d": Place("owner")})
        self.assertEqual(places("?eve", "", ["b"]), {"b": banned})
        self.assertEqual(places("?eve", "10.0.0.1", ["b"]), {"b": banned})
        for network in networks:
            self.assertEqual(places("?new", network, ["b", "c"]), {"b": Place("", 0, NOW + 5)})
            self.assertEqual(places("?new", network, None), {"b": Place("", 0, NOW + 5)})
        self.assertEqual(places("?new", "10.0.0.11", ["b"]), {})
        self.assertEqual(places("bob", "", []), {})

    def test_places_in_many_rooms(self) -> None:
        """Any number of rooms may be asked for."""
        names = [f"room{number}" for number in range(450)]
        self.append(*(self.change(name, bob=Place("member")) for name in names))
        self.assertEqual(sorted(self.outcome(self.store.accesses.places("bob", "", names))), sorted(names))

    def test_a_user_who_is_removed(self) -> None:
        """With a user all the user's places go: the next of that name inherits nothing. A guest of that name keeps what it has."""
        self.append(self.founding("ann"), self.change(bob=Place("moderator"), g_bob=Place("", 0, FOREVER)))
        self.users.remove_user("bob")
        self.append(self.change(bob=Place("member")))
        self.users.add_user("bob", "member")
        self.assertEqual(self.places(), {"ann": Place("owner"), "?bob": Place("", 0, FOREVER)})

    def test_retention_of_a_room(self) -> None:
        """A room with a retention of its own keeps to that, be it more or less than the others', by age and by number."""
        for room in ("few", "all", "young", "ever", "plain"):
            self.append(*(draft(room=room, at=NOW + number) for number in range(10)))
        for room, settings in (
            ("few", RoomSettings(retention_events=3)),
            ("all", RoomSettings(retention_events=0)),
            ("young", RoomSettings(retention_age=1000 - 5)),
            ("ever", RoomSettings(retention_age=0, retention_events=0)),
        ):
            made = self.change(room, settings)
            made.at = NOW + 10
            self.append(made)

        def bounds(max_age: int | None, max_events: int | None) -> list[tuple[str, int]]:
            self.outcome(self.store.prune(NOW + 1000, max_age, max_events))
            return [(info.name, info.first) for info in self.outcome(self.store.rooms("", 10))]

        self.assertEqual(bounds(None, None), [("all", 1), ("ever", 1), ("few", 9), ("plain", 1), ("young", 6)])
        self.assertEqual(bounds(None, 4), [("all", 1), ("ever", 1), ("few", 9), ("plain", 7), ("young", 8)])
        self.assertEqual(bounds(1000 - 9, None), [("all", 10), ("ever", 1), ("few", 10), ("plain", 10), ("young", 8)])

    def test_bans_that_are_over(self) -> None:
        """Retention forgets guests whose bans are over; a member who was muted stays a member."""
        self.append(self.founding("ann"), self.change(bob=Place("member", NOW), g_old=Place("", 0, NOW), g_new=Place("", 0, NOW + 1)))
        self.append(self.change(g_mute=Place("", FOREVER)))
        self.outcome(self.store.prune(NOW, None, None))
        self.assertEqual(sorted(self.places()), ["?mute", "?new", "ann", "bob"])

    def test_stopped(self) -> None:
        """A store that has been stopped refuses."""
        accesses = self.store.accesses
        self.outcome(self.store.stop())
        for refused in (accesses.restricted(), accesses.access("r"), accesses.places("ann", "", None)):
            self.assertRaises(StoreUnavailable, self.outcome, refused)


class MemoryRoomAccessesTests(RoomAccessesContract, SynchronousTestCase):
    """The memory store."""

    def setUp(self) -> None:
        """A new store."""
        self.store = MemoryStore()
        self.users = self.store.local_accounts
        for name in ("ann", "bob"):
            self.users.add_user(name, "member")

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result; raises its error."""
        return now(deferred)


class SqliteRoomAccessesTests(RoomAccessesContract, SynchronousTestCase):
    """The store on SQLite, with threads."""

    def setUp(self) -> None:
        """A new state directory."""
        directory = Path(self.mktemp())
        self.reactor, self.store = open_store(directory)
        self.addCleanup(lambda: self.reactor.wait(self.store.stop()))
        self.users = open_accounts(directory)
        self.addCleanup(self.users.close)
        for name in ("ann", "bob"):
            self.users.add_user(name, "member")

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result; raises its error."""
        return self.reactor.wait(deferred)

    def test_a_room_whose_start_fails(self) -> None:
        """A transaction that is not committed leaves neither the event nor what it would have changed."""
        bad = self.change("r", RoomSettings("secret"))
        bad.text = "\ud800"
        self.append(bad, draft())
        self.assertIsInstance(bad.error, StoreUnavailable)
        self.assertEqual(self.outcome(self.store.accesses.restricted()), {})
        self.assertEqual(self.outcome(self.store.room("r")).head, 1)
