"""Permissions: what is kept in memory of rooms, in which order those who ask are answered, what changes meanwhile."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from netsvc.core.access import Right, RoomAccess
from netsvc.core.identity import Identity
from netsvc.core.permissions import Permissions
from netsvc.core.places import FOREVER, Place, RoomSettings
from netsvc.errors import Forbidden, NotFound, StoreUnavailable
from netsvc.interfaces import IRoomAccesses

ANN = Identity("ann", ("member",))
BOB = Identity("bob", ("member",))
ROOT = Identity("root", ("admin",))
MEMBERS = RoomAccess(RoomSettings("members"), [("ann", Place("member"))])


@implementer(IRoomAccesses)
class SlowAccesses:
    """Answers when the test does.

    :ivar asked: the questions and their Deferreds.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[object, Deferred[RoomAccess]]] = []

    def restricted(self) -> "Deferred[dict[str, str]]":
        """Which."""
        return self._ask("restricted")  # type: ignore[return-value]

    def access(self, room: str) -> "Deferred[RoomAccess]":
        """What."""
        return self._ask(room)

    def places(self, key: str, network: str, rooms: "list[str] | None") -> "Deferred[dict[str, Place]]":
        """Where."""
        return self._ask((key, network, rooms))  # type: ignore[return-value]

    def _ask(self, question: object) -> "Deferred[RoomAccess]":
        done: Deferred[RoomAccess] = Deferred()
        self.asked.append((question, done))
        return done

    def answer(self, question: object, answer: object) -> None:
        """Answer the oldest question, which must be this one."""
        asked, done = self.asked.pop(0)
        assert asked == question, asked
        done.callback(answer)  # type: ignore[arg-type]


class PermissionsTests(SynchronousTestCase):
    """Rooms called den are for members."""

    def setUp(self) -> None:
        """Three of four places fit in memory."""
        self.store = SlowAccesses()
        self.permissions = Permissions(self.store, lambda: 1000.0, 4)
        started = self.permissions.start()
        self.store.answer("restricted", {"den": "members", "den2": "members", "den3": "public"})
        self.successResultOf(started)

    def waiting(self, identity: Identity, room: str = "den", right: Right = Right.READ) -> "Deferred[None]":
        """Ask what has to be looked up."""
        checking = self.permissions.check(identity, room, right)
        assert checking is not None
        self.assertNoResult(checking)
        return checking

    def test_most_rooms(self) -> None:
        """In a room that is not restricted nothing is looked up to read or write."""
        for right in (Right.READ, Right.WRITE):
            self.assertIsNone(self.permissions.check(BOB, "lobby", right))
        self.assertEqual(self.store.asked, [])

    def test_moderation(self) -> None:
        """Who may moderate is looked up for any room."""
        checking = self.waiting(BOB, "lobby", Right.MODERATE)
        self.store.answer("lobby", RoomAccess(places=[("bob", Place("moderator"))]))
        self.successResultOf(checking)
        self.assertIsNone(self.permissions.check(BOB, "lobby", Right.MODERATE))
        self.assertRaises(Forbidden, self.permissions.check, BOB, "lobby", Right.OWN)
        self.assertIsNone(self.permissions.check(ROOT, "lobby", Right.OWN))

    def test_looked_up_once(self) -> None:
        """A room is looked up once for all who ask, who are answered in their order; then it is known."""
        order: list[str] = []
        first, second = self.waiting(ANN), self.waiting(BOB)
        first.addCallback(lambda _: order.append("ann"))
        second.addErrback(lambda failure: order.append(failure.type.__name__))
        self.store.answer("den", MEMBERS)
        self.assertEqual(order, ["ann", "Forbidden"])
        self.assertIsNone(self.permissions.check(ANN, "den", Right.WRITE))
        self.assertRaises(Forbidden, self.permissions.check, BOB, "den", Right.READ)
        self.assertEqual(self.store.asked, [])

    def test_bounded(self) -> None:
        """What was used longest ago is forgotten beyond the bound; one room is kept however large it is."""
        for room in ("den", "den2"):
            self.waiting(ANN, room)
            self.store.answer(room, MEMBERS)
        self.permissions.check(ANN, "den", Right.READ)
        self.waiting(ANN, "den3")
        self.store.answer("den3", MEMBERS)
        self.assertIsNone(self.permissions.check(ANN, "den", Right.READ))
        self.waiting(ANN, "den2")
        self.store.answer("den2", RoomAccess(places=((f"u{number}", Place("member")) for number in range(10))))
        self.assertIsNone(self.permissions.check(BOB, "den2", Right.READ))
        self.waiting(ANN, "den")

    def test_changed(self) -> None:
        """A change holds at once: it is looked up anew, also for who has asked before, and may restrict a room or free it."""
        checking = self.waiting(BOB)
        self.permissions.changed("den", MEMBERS)
        self.store.answer("den", RoomAccess())
        self.assertNoResult(checking)
        self.store.answer("den", MEMBERS)
        self.failureResultOf(checking, Forbidden)
        self.permissions.changed("den", RoomAccess())
        self.assertIsNone(self.permissions.check(BOB, "den", Right.WRITE))
        self.permissions.changed("lobby", RoomAccess(places=[("bob", Place("", 0, FOREVER))]))
        checking = self.waiting(BOB, "lobby")
        self.store.answer("lobby", RoomAccess(RoomSettings("secret")))
        self.failureResultOf(checking, NotFound)

    def test_founding(self) -> None:
        """While a room that is not public gets its first event, who asks about it waits, also who was about to be told what was before."""
        before = self.waiting(BOB, "new", Right.MODERATE)
        self.permissions.hold("new", MEMBERS)
        during = [self.waiting(BOB, "new"), self.waiting(ANN, "new")]
        self.store.answer("new", RoomAccess())
        for checking in (before, *during):
            self.assertNoResult(checking)
        self.permissions.release("new", MEMBERS)
        self.store.answer("new", MEMBERS)
        for checking in (before, during[0]):
            self.failureResultOf(checking, Forbidden)
        self.successResultOf(during[1])

    def test_founding_while_it_is_looked_up(self) -> None:
        """What is looked up all the time while a room gets its first event is looked up again."""
        before = self.waiting(ANN, "new", Right.MODERATE)
        self.permissions.hold("new", MEMBERS)
        self.permissions.release("new", MEMBERS)
        during = self.waiting(ANN, "new")
        self.store.answer("new", RoomAccess())
        self.assertNoResult(during)
        self.store.answer("new", MEMBERS)
        self.successResultOf(during)
        self.failureResultOf(before, Forbidden)

    def test_founding_for_all(self) -> None:
        """A room for everybody is waited for by nobody who reads or writes; and what did not happen restricts nobody."""
        self.permissions.hold("new", RoomAccess(places=[("ann", Place("owner"))]))
        self.assertIsNone(self.permissions.check(BOB, "new", Right.WRITE))
        self.permissions.release("new", RoomAccess())
        self.permissions.hold("new", MEMBERS)
        checking = self.waiting(BOB, "new")
        self.permissions.release("new", RoomAccess())
        self.store.answer("new", RoomAccess())
        self.successResultOf(checking)
        self.assertIsNone(self.permissions.check(BOB, "new", Right.WRITE))

    def test_forget(self) -> None:
        """All is looked up anew, also what is being looked up."""
        self.waiting(ANN, "den2")
        self.store.answer("den2", MEMBERS)
        checking = self.waiting(ANN)
        self.permissions.forget()
        self.store.answer("den", MEMBERS)
        self.assertNoResult(checking)
        self.store.answer("den", RoomAccess(RoomSettings("members")))
        self.failureResultOf(checking, Forbidden)
        self.waiting(ANN, "den2")

    def test_unavailable(self) -> None:
        """If the store cannot say, nobody may; the next who asks, asks anew."""
        first, second = self.waiting(ANN), self.waiting(ANN)
        self.store.asked.pop()[1].errback(StoreUnavailable())
        for checking in (first, second):
            self.failureResultOf(checking, StoreUnavailable)
        self.waiting(ANN)

    def test_unreadable(self) -> None:
        """Of some rooms or all those that somebody may not read; none for admins, and nothing is asked where nothing can be."""
        asking = self.permissions.unreadable(BOB, ["lobby", "den", "den2"])
        self.store.answer(("bob", "", ["den", "den2"]), {"den": Place("member")})
        self.assertEqual(self.successResultOf(asking), {"den2": "members"})
        asking = self.permissions.unreadable(Identity("Eve", ("guest",), guest=True, network="n"))
        self.store.answer(("?eve", "n", None), {"den3": Place("", 0, FOREVER), "den2": Place("", FOREVER)})
        self.assertEqual(self.successResultOf(asking), {"den": "members", "den2": "members", "den3": "public"})
        self.permissions.changed("den", RoomAccess(RoomSettings("secret")))
        self.permissions.changed("den2", RoomAccess())
        asking = self.permissions.unreadable(BOB)
        self.store.answer(("bob", "", None), {"den3": Place("", 0, 1_000_000), "lobby": Place("owner")})
        self.assertEqual(self.successResultOf(asking), {"den": "secret"})
        self.assertEqual(self.successResultOf(self.permissions.unreadable(BOB, ["lobby"])), {})
        self.assertEqual(self.successResultOf(self.permissions.unreadable(ROOT)), {})
