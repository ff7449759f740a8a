"""The rules: who may do what in which room."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.access import Right, RoomAccess, guest_key, refusal, who_of
from netsvc.core.identity import Identity
from netsvc.core.places import FOREVER, NOWHERE, AccessChange, Place, RoomSettings
from netsvc.errors import Forbidden, NotFound

NOW = 1_700_000_000_000
ADMIN = Identity("root", ("admin",))
ANN = Identity("ann", ("member",))
GUEST = Identity("Eve", ("guest",), guest=True, network="10.0.0.1")

YES, NO, ABSENT = type(None), Forbidden, NotFound


class RefusalTests(SynchronousTestCase):
    """`refusal`."""

    def check(self, access: str, place: Place, *expected: type, identity: Identity = ANN) -> None:
        """What an identity with this place is told when it wants to read, write, moderate, own."""
        room = RoomAccess(RoomSettings(access), {who_of(identity): place}.items())
        outcomes = [refusal(room, "r", identity, right, NOW) for right in Right]
        self.assertEqual([type(outcome) for outcome in outcomes], list(expected), (access, place))

    def test_roles(self) -> None:
        """In every kind of room a member reads and writes, a moderator moderates, an owner owns."""
        for access in ("public", "members", "secret"):
            self.check(access, Place("member"), YES, YES, NO, NO)
            self.check(access, Place("moderator"), YES, YES, YES, NO)
            self.check(access, Place("owner"), YES, YES, YES, YES)

    def test_strangers(self) -> None:
        """Who has no place reads and writes in public rooms; is refused where there are members; and has not heard of secret ones."""
        for identity in (ANN, GUEST):
            self.check("public", NOWHERE, YES, YES, NO, NO, identity=identity)
            self.check("members", NOWHERE, NO, NO, NO, NO, identity=identity)
            self.check("secret", NOWHERE, ABSENT, ABSENT, ABSENT, ABSENT, identity=identity)

    def test_muted(self) -> None:
        """Who is muted reads what it could read anyway, until the time is over; a moderator is no exception."""
        self.check("public", Place("", FOREVER), YES, NO, NO, NO)
        self.check("public", Place("moderator", NOW + 1), YES, NO, YES, NO)
        self.check("public", Place("", NOW), YES, YES, NO, NO)
        self.check("members", Place("", NOW + 1), NO, NO, NO, NO)
        self.check("secret", Place("member", NOW + 1), YES, NO, NO, NO)

    def test_banned(self) -> None:
        """Who is banned does nothing until the time is over, whatever else it is; a secret room is absent to it, too."""
        for identity in (ANN, GUEST):
            self.check("public", Place("", 0, FOREVER), NO, NO, NO, NO, identity=identity)
        self.check("members", Place("member", 0, NOW + 1), NO, NO, NO, NO)
        self.check("secret", Place("member", 0, NOW + 1), ABSENT, ABSENT, ABSENT, ABSENT)
        self.check("public", Place("", 0, NOW), YES, YES, NO, NO)

    def test_admins(self) -> None:
        """An admin may everything everywhere."""
        for access in ("public", "members", "secret"):
            self.check(access, Place("", FOREVER, FOREVER), YES, YES, YES, YES, identity=ADMIN)

    def test_networks(self) -> None:
        """The guests of a banned guest's network are banned as long as it is; users of that network are not."""
        room = RoomAccess(places=[("?x", Place("", 0, NOW + 1, ("10.0.0.1",))), ("?y", Place("", 0, NOW - 1, ("10.0.0.1", "10.0.0.2")))])
        self.assertIsInstance(refusal(room, "r", GUEST, Right.READ, NOW), Forbidden)
        self.assertIsNone(refusal(room, "r", GUEST, Right.READ, NOW + 1))
        for free in (Identity("Eve", ("guest",), guest=True, network="10.0.0.2"), Identity("Eve", ("guest",), guest=True), ANN):
            self.assertIsNone(refusal(room, "r", free, Right.WRITE, NOW))

    def test_words(self) -> None:
        """A refusal says what is wrong and until when; that of a secret room is word for word that of one that is not there."""
        banned = refusal(RoomAccess(places=[("ann", Place("", 0, NOW + 1000))]), "r", ANN, Right.READ, NOW)
        assert banned is not None
        self.assertEqual(banned.detail, "you are banned from r until 2023-11-14T22:13:21.000Z")
        secret = refusal(RoomAccess(RoomSettings("secret")), "r", ANN, Right.READ, NOW)
        assert secret is not None
        self.assertEqual(secret.detail, "there is no room 'r'")


class RoomAccessTests(SynchronousTestCase):
    """`RoomAccess`."""

    def test_keys(self) -> None:
        """A guest's key is nobody else's, and the same whatever the case of the name."""
        self.assertEqual((who_of(ANN), who_of(GUEST), guest_key("EVE")), ("ann", "?eve", "?eve"))

    def test_changed(self) -> None:
        """A change makes another; what it does not mention stays, and empty places go."""
        before = RoomAccess(RoomSettings("secret"), [("ann", Place("owner")), ("bob", Place("member"))])
        after = before.changed(AccessChange(None, {"bob": NOWHERE, "?eve": Place("", 0, FOREVER, ("n",))}))
        self.assertEqual((before.places, before.networks), ({"ann": Place("owner"), "bob": Place("member")}, {}))
        self.assertEqual(after.places, {"ann": Place("owner"), "?eve": Place("", 0, FOREVER, ("n",))})
        self.assertEqual((after.settings, after.networks), (RoomSettings("secret"), {"n": FOREVER}))
        self.assertEqual(after.changed(AccessChange(RoomSettings())).settings, RoomSettings())

    def test_restricts(self) -> None:
        """Owners, members and a topic restrict nobody; members only, mutes and bans do."""
        self.assertFalse(RoomAccess(RoomSettings(topic="t"), [("ann", Place("owner"))]).restricts())
        for room in (RoomAccess(RoomSettings("members")), RoomAccess(places=[("a", Place("", 1))]), RoomAccess(places=[("a", Place("", 0, 1))])):
            self.assertTrue(room.restricts())

    def test_levels(self) -> None:
        """An admin is above an owner, who is above a moderator, a member, and who is nothing."""
        room = RoomAccess(places=[("a", Place("owner")), ("b", Place("moderator")), ("c", Place("member")), ("d", Place("", 0, FOREVER))])
        levels = [room.level(ADMIN), *(room.level_of(key) for key in "abcde")]
        self.assertEqual(levels, [4, 3, 2, 1, 0, 0])
        self.assertEqual(room.level(Identity("a", ("member",))), 3)
        self.assertEqual(room.owners(), ["a"])
