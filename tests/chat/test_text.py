"""Plain-text rooms: the welcome, the lines, what is refused and how."""

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.chat.formats import TextFormat
from netsvc.chat.room_url import RoomUrl
from netsvc.chat.settings import ChatSettings
from netsvc.chat.text import TextRoom
from netsvc.core.credentials import Guest
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.rooms import Rooms
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.errors import InvalidParams, RateLimited, StoreUnavailable
from netsvc.http.messages import Request, Response, Upgrade
from netsvc.interfaces import ISinkWatcher, IWebSocketApplication
from netsvc.rpc.pace import Bounds
from netsvc.store.memory import MemoryStore
from netsvc.wire.deflate import Deflater
from netsvc.wire.websocket import text_frame
from tests.rpc.fakes import FakeConnection

BOB = Identity("bob", ("guest",), guest=True)
ALICE = Identity("alice", ("member",), credential="token 1")
DEFLATED = Deflater(3, 1, 1000).text_frame
FORMATS = {framing: TextFormat(framing) for framing in (text_frame, DEFLATED)}


class TextRoomTestCase(TestCase):
    """A room in memory."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.rooms = Rooms(self.store, self.clock, RoomsSettings(text=100), LimitsSettings(append_queue=3), "guest")
        self.budgets = Budgets(LimitsSettings(calls_per_second=1.0, burst=5.0), self.clock.seconds)
        self.logins: Any = mock.Mock()

    def turn(self) -> None:
        """Let the reactor turn."""
        self.clock.pump([0.0] * 10)

    def bounds(self, most: int) -> Bounds:
        """So many posts under way."""
        return Bounds(most, self.rooms.appender)

    def enter(self, identity: Identity = BOB, after: str | None = None, welcome: str = "Welcome {name}!", most: int = 2) -> tuple[TextRoom, FakeConnection]:
        """One more client in the room."""
        room = TextRoom(self.rooms, FORMATS, self.logins, self.budgets.of(identity, "192.0.2.1"), identity, "lobby", after, welcome, self.bounds(most))
        connection = FakeConnection()
        room.connected(connection)
        self.turn()
        return room, connection


class TalkTests(TextRoomTestCase):
    """Talking."""

    def test_welcome_and_lines(self) -> None:
        """A welcome first; then everybody's messages, the sender's own included."""
        bob, bobs = self.enter()
        verifyObject(IWebSocketApplication, bob)
        verifyObject(ISinkWatcher, bob)
        alice, alices = self.enter(ALICE)
        bob.text("hi\n")
        self.turn()
        alice.text("two\nlines")
        self.turn()
        lines = ["<bob> hi", "<alice> two\n  lines"]
        self.assertEqual(bobs.texts(), ["Welcome bob!", *lines])
        self.assertEqual(alices.texts(), ["Welcome alice!", *lines])

    def test_compressed(self) -> None:
        """A client with which compression was agreed gets all its lines compressed, the others theirs plain."""
        bob, bobs = self.enter()
        room = TextRoom(self.rooms, FORMATS, self.logins, self.budgets.of(ALICE, "192.0.2.1"), ALICE, "lobby", None, "hello, hello", self.bounds(2))
        connection = FakeConnection()
        connection.text_frame = DEFLATED
        room.connected(connection)
        self.turn()
        bob.text("ha" * 50)
        self.turn()
        line = f"<bob> {'ha' * 50}"
        self.assertEqual(bobs.texts()[1:], [line])
        self.assertEqual(connection.received, DEFLATED(b"hello, hello") + DEFLATED(line.encode()))
        self.assertLess(len(connection.received), len(line))

    def test_welcome_template(self) -> None:
        """Three fields are filled in, and nothing else is a field."""
        _, connection = self.enter(welcome="{name} {room} {cursor} {0.__class__} {")
        self.assertEqual(connection.texts(), ["bob lobby " + self.store.epoch + ":0 {0.__class__} {"])

    def test_nothing_is_read_before_the_welcome(self) -> None:
        """A post cannot come before the room is there."""
        room = TextRoom(self.rooms, FORMATS, self.logins, self.budgets.of(BOB, "192.0.2.1"), BOB, "lobby", None, "hi", self.bounds(2))
        connection = FakeConnection()
        answer: Deferred[Any] = Deferred()
        self.store.room = lambda name: answer  # type: ignore[method-assign]
        room.connected(connection)
        self.assertFalse(connection.reading)
        answer.callback(None)
        self.assertTrue(connection.reading)

    def test_reading_on(self) -> None:
        """From a cursor, what was missed comes after the welcome; a cursor that is no good is said to be."""
        bob, _ = self.enter()
        for text in "abc":
            bob.text(text)
            self.turn()
        _, connection = self.enter(ALICE, after=f"{self.store.epoch}:1")
        self.turn()
        self.assertEqual(connection.texts(), ["Welcome alice!", "<bob> b", "<bob> c"])
        _, connection = self.enter(ALICE, after="other:1")
        self.assertEqual(connection.texts(), ["Welcome alice!", "-- some messages since then are no longer kept; what follows is new --"])

    def test_empty_lines_are_not_posted(self) -> None:
        """The return key alone says nothing."""
        bob, connection = self.enter()
        bob.text("")
        bob.text("\r\n")
        self.turn()
        self.assertEqual(connection.texts(), ["Welcome bob!"])

    def test_refusals(self) -> None:
        """Too long, too fast, not stored: a line of the server's own says so."""
        bob, connection = self.enter()
        bob.text("x" * 101)
        self.store.fail_next(1)
        bob.text("x")
        self.turn()
        with mock.patch.object(self.rooms, "post", return_value=fail(RuntimeError("secret"))):
            bob.text("x")
        for _ in range(4):
            bob.text("x")
            self.turn()
        own = [text for text in connection.texts() if text.startswith("--")]
        self.assertIn("[rooms] text allows", own[0])
        self.assertTrue(own[1].startswith("-- not sent: "))
        self.assertEqual(own[2], "-- not sent: internal error --")
        self.assertEqual(own[3:], ["-- not sent: too fast, try again in 1 s --"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_empty_lines_cost(self) -> None:
        """A flood of empty lines is too fast, too; who does not heed that is not read from for a while."""
        bob, connection = self.enter()
        for _ in range(1000):
            if connection.reading:
                bob.text("")
        own = [text for text in connection.texts() if text.startswith("--")]
        self.assertEqual(set(own), {"-- not sent: too fast, try again in 1 s --"})
        self.assertFalse(connection.reading)
        self.clock.advance(10)
        self.assertTrue(connection.reading)

    def test_binary(self) -> None:
        """Closes with 1003."""
        bob, connection = self.enter()
        bob.binary(b"x")
        assert connection.closed is not None
        self.assertEqual(connection.closed[0], 1003)


class PaceTests(TextRoomTestCase):
    """What is read, and when not."""

    def test_in_flight(self) -> None:
        """At the bound netsvc reads no further, and goes on afterwards."""
        bob, connection = self.enter()
        bob.text("a")
        self.assertTrue(connection.reading)
        bob.text("b")
        self.assertFalse(connection.reading)
        self.turn()
        self.assertTrue(connection.reading)

    def test_full_queue(self) -> None:
        """Nor while the append queue is full."""
        bob, connection = self.enter(most=10)
        for text in "abc":
            bob.text(text)
        self.assertFalse(connection.reading)
        self.turn()
        self.assertTrue(connection.reading)
        self.assertEqual(len(connection.texts()), 4)

    def test_a_client_that_does_not_read(self) -> None:
        """Is not read from, and is spared the server's own lines."""
        bob, connection = self.enter(most=10)
        connection.window = 0
        bob.text("a")
        self.turn()
        self.assertFalse(connection.reading)
        bob.text("x" * 101)
        connection.read()
        self.assertTrue(connection.reading)
        self.assertEqual(connection.texts(), ["Welcome bob!", "<bob> a"])


class EndTests(TextRoomTestCase):
    """How it ends."""

    def test_disconnected(self) -> None:
        """Nothing is left behind."""
        bob, connection = self.enter()
        bob.text("a")
        bob.disconnected(1000, "")
        self.turn()
        self.assertEqual(connection.watchers, [])
        self.assertEqual(connection.texts(), ["Welcome bob!"])
        self.logins.unwatch.assert_called_once()
        self.clock.pump([1.0] * 13)
        self.assertEqual(self.rooms._states, {})
        bob._revoked("late")

    def test_draining(self) -> None:
        """Who is sent away is told when to come back; what was sent before is stored first, and nothing more is taken."""
        closed: list[int] = []
        bob, connection = self.enter()
        bob.text("a")
        bob.draining(12.3, lambda: closed.append(1))
        self.assertEqual((closed, connection.reading), ([], False))
        self.turn()
        self.assertEqual(closed, [1])
        self.assertEqual(connection.texts()[:2], ["Welcome bob!", "-- the server is going away: come back in 13 s --"])
        bob.disconnected(1001, "")
        bob.draining(1.0, lambda: closed.append(2))
        self.assertEqual(closed, [1])

    def test_gone_before_the_welcome(self) -> None:
        """A join that is answered too late is left again."""
        room = TextRoom(self.rooms, FORMATS, self.logins, self.budgets.of(BOB, "192.0.2.1"), BOB, "lobby", None, "hi", self.bounds(2))
        answer: Deferred[Any] = Deferred()
        self.store.room = lambda name: answer  # type: ignore[method-assign]
        room.connected(FakeConnection())
        room.disconnected(1006, "")
        answer.callback(None)
        self.clock.pump([1.0] * 13)
        self.assertEqual(self.rooms._states, {})

    def test_store_failure(self) -> None:
        """A room that cannot be read closes with 1013: try again later."""
        self.store.room = lambda name: fail(StoreUnavailable("the disk is broken"))  # type: ignore[method-assign]
        _, connection = self.enter()
        self.assertEqual(connection.closed, (1013, "the disk is broken"))
        with mock.patch.object(self.rooms, "join", side_effect=InvalidParams("after: no cursor")):
            _, connection = self.enter()
        self.assertEqual(connection.closed, (1013, "after: no cursor"))

    def test_revoked(self) -> None:
        """A revoked credential closes with 4401."""
        _, connection = self.enter(ALICE)
        self.logins.watch.call_args.args[1]("revoked")
        self.assertEqual(connection.closed, (4401, "revoked"))


class RoomUrlTests(TextRoomTestCase):
    """``/chat/<room>/``."""

    def setUp(self) -> None:
        """What each test starts with."""
        super().setUp()
        self.page = Response.text("the page")
        self.url = RoomUrl(self.rooms, FORMATS, self.logins, self.budgets, ChatSettings(), lambda request: self.page, self.bounds(4))

    def get(self, room: str, query: str = "", upgrade: bool = True, identity: Identity = BOB) -> Any:
        """A request for a room."""
        headers = [(b"upgrade", b"websocket")] if upgrade else []
        request = Request("GET", f"/chat/{room}/{query}".encode(), headers, "192.0.2.1")
        request.variables = {"room": room}
        request.identity = identity
        return self.url(request)

    def upgraded(self, *args: Any, **kwargs: Any) -> TextRoom:
        """The application of a WebSocket there."""
        answer = self.successResultOf(self.get(*args, **kwargs))
        assert isinstance(answer, Upgrade)
        assert isinstance(answer.application, TextRoom)
        return answer.application

    def test_page(self) -> None:
        """A browser that only looks gets the page; what is no room's name is refused."""
        self.assertIs(self.get("lobby", upgrade=False), self.page)
        self.assertRaises(InvalidParams, self.get, "no room", upgrade=False)

    def test_websocket(self) -> None:
        """A WebSocket as who one is."""
        self.assertEqual(self.upgraded("LOBBY").identity, BOB)

    def test_guest_name(self) -> None:
        """?name= is for guests; whoever is logged in keeps the name."""
        self.logins.login.return_value = succeed(Identity("Carol", ("guest",), guest=True))
        self.assertEqual(self.upgraded("lobby", "?name=Carol").identity.name, "Carol")
        credentials, peer = self.logins.login.call_args.args
        assert isinstance(credentials, Guest)
        self.assertEqual((credentials.name, peer), ("Carol", "192.0.2.1"))
        self.assertEqual(self.upgraded("lobby", "?name=Carol", identity=ALICE).identity, ALICE)
        self.logins.login.return_value = BOB
        self.assertEqual(self.upgraded("lobby", "?name=bob").identity, BOB)

    def test_cost(self) -> None:
        """Each attempt to open a WebSocket costs; the page does not."""
        budget = self.budgets.of(BOB, "192.0.2.1")
        self.get("lobby", upgrade=False)
        left = budget.remaining
        self.upgraded("lobby")
        self.failureResultOf(self.get("lobby", "?after=x"), InvalidParams)
        self.assertEqual(budget.remaining, left - 2)
        budget.charge(left - 2)
        self.failureResultOf(self.get("lobby"), RateLimited)

    def test_cursor(self) -> None:
        """?after= reads on; what is no cursor is refused before the handshake."""
        self.upgraded("lobby", "?after=e:4")
        self.failureResultOf(self.get("lobby", "?after=x"), InvalidParams)
