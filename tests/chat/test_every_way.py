"""Every way into a room times every standing of the caller: who may not read learns nothing, who may not write changes nothing."""

import json
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.chat.events_url import EventsUrl
from netsvc.chat.formats import NotificationFormat, TextFormat
from netsvc.chat.moderation import RoomProcedures
from netsvc.chat.procedures import ChatProcedures
from netsvc.chat.search import SearchProcedures
from netsvc.chat.text import TextRoom
from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.moderation import Moderation
from netsvc.core.procedures import Registry
from netsvc.core.rooms import Rooms
from netsvc.core.search import Searches
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.routing import Routes
from netsvc.http.server import HttpFactory
from netsvc.http.settings import HttpSettings
from netsvc.rpc.connection import RpcService
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.pace import Bounds
from netsvc.rpc.settings import RpcSettings
from netsvc.rpc.websocket import RpcSocket
from netsvc.store.memory import MemoryStore
from netsvc.tap import OWN_PROCEDURES
from netsvc.wire.websocket import text_frame
from tests.http.channels import Client, request
from tests.rpc.fakes import FakeConnection

FORBIDDEN, ABSENT = -32002, -32003
SECRET = "the treasure is under the old oak"


def user(name: str, role: str = "member") -> Identity:
    """A registered user."""
    return Identity(name, (role,), credential=f"token {name}")


def guest(name: str, network: str = "") -> Identity:
    """A guest."""
    return Identity(name, ("guest",), guest=True, network=network)


ADMIN, OWNER = user("root", "admin"), user("olga")

STANDINGS = {
    "admin": ADMIN,
    "owner": OWNER,
    "moderator": user("mod"),
    "member": user("meg"),
    "muted member": user("mute-meg"),
    "user": user("bob"),
    "muted": user("mute-bob"),
    "banned": user("ban-bob"),
    "guest": guest("Gus"),
    "muted guest": guest("Mute-Gus"),
    "banned guest": guest("Ban-Gus", "192.0.2.1"),
    "guest of a banned network": guest("Other-Gus", "192.0.2.1"),
    "muted long ago": user("was-muted"),
    "banned long ago": guest("Was-Gus"),
}

MAKING = [
    ("role", "mod", "moderator"),
    ("role", "meg", "member"),
    ("role", "mute-meg", "member"),
    ("mute", "mute-meg", "", None),
    ("mute", "mute-bob", "", None),
    ("mute", "mute-gus", "", None),
    ("ban", "ban-bob", "", None),
    ("ban", "ban-gus", "", None),
    ("mute", "was-muted", "", 1.0),
    ("ban", "was-gus", "", 1.0),
]
"""How they come to that: by the owner, while all are in the public room."""

INSIDE = ("admin", "owner", "moderator", "member", "muted member")
SILENT = ("muted member", "muted", "muted guest")
BANNED = ("banned", "banned guest", "guest of a banned network")


def verdict(access: str, standing: str, need: str) -> int:
    """What who stands so is told: 0 for yes, or the code of the error. Told again in other words than in netsvc.core.access."""
    if access == "secret" and standing not in INSIDE:
        return ABSENT
    if standing in BANNED or (access == "members" and standing not in INSIDE):
        return FORBIDDEN
    levels = {"read": 0, "write": 0, "moderate": 1, "own": 2}
    level = {"admin": 3, "owner": 2, "moderator": 1}.get(standing, 0)
    return FORBIDDEN if (need == "write" and standing in SILENT) or level < levels[need] else 0


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat.join": ("read", {}),
    "chat.leave": ("read", {}),
    "chat.history": ("read", {}),
    "chat.who": ("read", {}),
    "chat.search": ("read", {"query": "treasure"}),
    "chat.mark_read": ("read", {"seq": 1}),
    "chat.post": ("write", {"text": "hello"}),
    "chat.edit": ("write", {"seq": "own", "text": "changed"}),
    "chat.react": ("write", {"seq": 1, "emoji": "👍", "on": True}),
    "chat.delete": ("read", {"seq": "own"}),
    "chat.typing": ("write", {}),
    "room.info": ("read", {}),
    "room.members": ("read", {}),
    "room.leave": ("read", {}),
    "room.set": ("moderate", {"topic": "oaks"}),
    "room.invite": ("moderate", {"name": "new"}),
    "room.kick": ("moderate", {"name": "new"}),
    "room.mute": ("moderate", {"name": "new"}),
    "room.unmute": ("moderate", {"name": "new"}),
    "room.ban": ("moderate", {"name": "new"}),
    "room.unban": ("moderate", {"name": "new"}),
    "room.role": ("own", {"name": "new", "role": "moderator"}),
}
"""Every procedure that names a room: what it needs, and its other params."""

LISTS = {"chat.rooms": {}, "chat.unread": {}}
"""Those that give many rooms; and so does chat.search without a room."""


class EveryWayTestCase(TestCase):
    """Everything that is between a client and a room, but for the network, the clock and the disk."""

    def setUp(self) -> None:
        """A public room `den`, in which all have spoken; then some are given their standing."""
        self.clock = Clock()
        self.clock.advance(1_700_000_000.0)
        self.store = MemoryStore(self.clock, epoch="e")
        self.limits = LimitsSettings(rate=False)
        self.rooms = Rooms(self.store, self.clock, RoomsSettings(), self.limits, "guest")
        self.moderation = Moderation(self.rooms, self.store.accounts, self.clock, RoomsSettings())
        for each in (*STANDINGS.values(), user("new")):
            if not each.guest:
                self.store.local_accounts.add_user(each.name, each.roles[0])
        self.logins: Any = mock.Mock()
        self.budgets = Budgets(self.limits, self.clock.seconds)
        registry = Registry()
        formats = {text_frame: NotificationFormat(text_frame)}
        searches = Searches(self.store, self.rooms.permissions.unreadable)
        for source in (ChatProcedures(self.rooms, formats, 10), RoomProcedures(self.moderation), SearchProcedures(searches)):
            registry.add(source)
        dispatcher = Dispatcher(registry, self.clock, RpcSettings(), Answers(self.store, self.clock, 60.0, 300.0), lambda *_: self.fail("nothing blocks"), 256)  # type: ignore[arg-type,return-value]
        self.service = RpcService(dispatcher, self.budgets, self.logins, self.rooms.appender, 10, 256 * 1024, 30.0)
        self.identity = ADMIN
        events = EventsUrl(self.rooms, self.logins, self.budgets, self.clock, heartbeat=15.0, longest_wait=40.0)
        routes = Routes()
        routes.add("GET", "/rooms/{room}/events", events, waiting=True)
        self.http = HttpFactory(routes, HttpSettings(), self.clock, lambda _: self.identity, OpenWebSockets())
        self.own = {}
        self.rooms.post(OWNER, "den", SECRET)
        for standing, identity in STANDINGS.items():
            posted = self.rooms.post(identity, "den", f"I am {standing}")
            self.turn()
            self.own[standing] = self.successResultOf(posted).seq
        following = [self.follow(identity) for identity in STANDINGS.values()]
        for what, *params in MAKING:
            done = getattr(self.moderation, what)(OWNER, "den", *params)
            self.turn()
            self.assertTrue(self.successResultOf(done).changed, (what, params))
        for socket, _ in following:
            socket.disconnected(1000, "")
        self.clock.advance(30.0)

    def turn(self) -> None:
        """Let the reactor turn."""
        self.clock.pump([0.0] * 10)

    def close(self, access: str) -> None:
        """Set the room's access."""
        done = self.moderation.set(OWNER, "den", None, access, None, None)
        self.turn()
        self.successResultOf(done)

    def connect(self, identity: Identity) -> tuple[RpcSocket, FakeConnection]:
        """A WebSocket of somebody's."""
        socket, connection = RpcSocket(self.service, identity, "192.0.2.1"), FakeConnection()
        socket.connected(connection)
        return socket, connection

    def call(self, identity: Identity, method: str, **params: Any) -> tuple[int, Any]:
        """Call something: the code of the error or 0, and the answer."""
        socket, connection = self.connect(identity)
        socket.text(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        self.turn()
        answer = next(message for message in connection.messages() if message.get("id") == 1)
        socket.disconnected(1000, "")
        return answer.get("error", {"code": 0})["code"], answer

    def follow(self, identity: Identity) -> tuple[RpcSocket, FakeConnection]:
        """Somebody in the room."""
        socket, connection = self.connect(identity)
        socket.text('{"jsonrpc":"2.0","id":1,"method":"chat.join","params":["den"]}')
        self.turn()
        return socket, connection

    def get(self, identity: Identity, query: str, accept: str = "application/json") -> Client:
        """Ask for the room's events over HTTP."""
        self.identity = identity
        client = Client(self.http)
        client.send(request(f"/rooms/den/events{query}", f"Accept: {accept}"))
        self.turn()
        return client

    def plain(self, identity: Identity) -> tuple[TextRoom, FakeConnection]:
        """Somebody in the plain-text room."""
        formats = {text_frame: TextFormat(text_frame)}
        bounds = Bounds(5, self.rooms.appender)
        room = TextRoom(self.rooms, formats, self.logins, self.budgets.of(identity, "x"), identity, "den", None, "Welcome {name}!", bounds)
        connection = FakeConnection()
        room.connected(connection)
        self.turn()
        return room, connection

    def head(self) -> int:
        """The newest seq."""
        info = self.successResultOf(self.store.room("den"))
        assert info is not None
        return info.head


class EveryWayTests(EveryWayTestCase):
    """Ways in."""

    def test_no_way_is_forgotten(self) -> None:
        """Every procedure of netsvc's own about rooms has its line in these tables."""
        about_rooms = {name for name in OWN_PROCEDURES if name.startswith(("chat.", "room."))}
        self.assertEqual(about_rooms - WAYS.keys() - LISTS.keys(), set())

    def check_calls(self, access: str) -> None:
        """Every procedure, by everybody."""
        self.close(access)
        for method in filter(OWN_PROCEDURES.__contains__, WAYS):
            need, params = WAYS[method]
            for standing, identity in STANDINGS.items():
                expected = verdict(access, standing, need)
                if method.startswith("room.") and identity.guest and need != "read":
                    expected = FORBIDDEN
                if method == "room.leave":
                    expected = FORBIDDEN if identity.guest else -32004 if standing == "owner" and not expected else expected
                    if not expected:
                        continue
                filled = {name: self.own[standing] if value == "own" else value for name, value in params.items()}
                head = self.head()
                code, answer = self.call(identity, method, room="den", **filled)
                if method == "room.kick" and not expected:
                    self.assertIn(code, (0, ABSENT))
                    continue
                self.assertEqual(code, expected, (access, method, standing, answer))
                if code:
                    self.assertEqual(self.head(), head, (method, standing))
                    self.assertNotIn("oak", json.dumps(answer))

    def test_calls_in_a_public_room(self) -> None:
        """Everybody but who is banned reads, everybody but who is muted writes, moderators moderate."""
        self.check_calls("public")

    def test_calls_in_a_room_for_members(self) -> None:
        """Members only; others are told so."""
        self.check_calls("members")

    def test_calls_in_a_secret_room(self) -> None:
        """Members only; for others there is no such room, in the words of one that is not there."""
        self.check_calls("secret")
        for method in ("chat.history", "chat.who", "room.info", "chat.search"):
            params = WAYS[method][1]
            _, secret = self.call(STANDINGS["user"], method, room="den", **params)
            _, absent = self.call(STANDINGS["user"], method, room="nen", **params)
            self.assertEqual(json.dumps(secret), json.dumps(absent).replace("nen", "den"), method)

    def test_lists(self) -> None:
        """Lists name what the caller may know of, and search finds what the caller may read."""
        for access in ("public", "members", "secret"):
            self.close(access)
            for standing, identity in STANDINGS.items():
                readable = not verdict(access, standing, "read")
                listed = self.call(identity, "chat.rooms")[1]["result"]["rooms"]
                if verdict(access, standing, "read") == ABSENT:
                    self.assertEqual(listed, [], (access, standing))
                else:
                    self.assertEqual([room["name"] for room in listed], ["den"])
                    self.assertEqual("cursor" in listed[0], readable, (access, standing))
                found = self.call(identity, "chat.search", query="treasure")[1]["result"]["events"]
                self.assertEqual(bool(found), readable, (access, standing))
                if "chat.unread" in OWN_PROCEDURES:
                    unread = json.dumps(self.call(identity, "chat.unread")[1])
                    self.assertFalse("den" in unread and not readable, (access, standing))

    def test_events_over_http(self) -> None:
        """Event streams, long-polls that wait and those that do not."""
        for access in ("public", "members", "secret"):
            self.close(access)
            for standing, identity in STANDINGS.items():
                expected = {0: 200, FORBIDDEN: 403, ABSENT: 404}[verdict(access, standing, "read")]
                for query, accept in (("?limit=200", "text/event-stream"), ("?limit=200", "application/json"), ("?after=e:0&wait=5", "application/json")):
                    client = self.get(identity, query, accept)
                    head, _, body = client.sent().partition(b"\r\n\r\n")
                    self.assertEqual(int(head.split()[1]), expected, (access, standing, query, accept))
                    self.assertEqual(b"oak" in body, expected == 200)
                    client.lose()

    def test_plain_text(self) -> None:
        """Plain text closes where one may not read, and posts nothing where one may not write."""
        for access in ("public", "members", "secret"):
            self.close(access)
            for standing, identity in STANDINGS.items():
                room, connection = self.plain(identity)
                closed = {0: None, FORBIDDEN: 4403, ABSENT: 4404}[verdict(access, standing, "read")]
                self.assertEqual(connection.closed and connection.closed[0], closed, (access, standing))
                if closed is None:
                    head = self.head()
                    room.text("hello")
                    self.turn()
                    self.assertEqual(self.head() > head, not verdict(access, standing, "write"), (access, standing))
                room.disconnected(1000, "")


class LosingTests(EveryWayTestCase):
    """Those who follow a room and may not any more."""

    def change(self, what: str, *params: Any, by: Identity = OWNER) -> None:
        """Moderate."""
        done = getattr(self.moderation, what)(by, "den", *params)
        self.turn()
        self.successResultOf(done)

    def check_lost(self, who: Identity, reason: str, what: str, *params: Any, by: Identity = OWNER, comes_back: bool = False) -> None:
        """Somebody follows by every way, something is changed, and nothing that is said then gets there."""
        socket, connection = self.follow(who)
        _, others = self.follow(ADMIN)
        text, plain = self.plain(who)
        stream, poll = self.get(who, "", "text/event-stream"), self.get(who, f"?after=e:{self.head()}&wait=30")
        connection.received = b""
        stream.sent()
        self.change(what, *params, by=by)
        self.rooms.post(OWNER, "den", "the oak has been felled")
        self.turn()
        self.assertEqual([(each["method"], each["params"]) for each in connection.messages()], [("chat.left", {"room": "den", "reason": reason})])
        self.assertEqual(plain.closed and plain.closed[0], 4403)
        polled = poll.sent()
        for heard in (connection.received, plain.received, stream.sent(), polled):
            self.assertNotIn(b"felled", heard)
        self.assertEqual(stream.ended, "closed")
        self.assertEqual(int(polled.split()[1]) == 200, comes_back)
        self.assertIn("felled", str(others.messages()))
        self.assertEqual(socket.kept(), 0)
        self.clock.advance(30.0)
        present = self.successResultOf(self.rooms.who(ADMIN, "den"))
        self.assertNotIn(who.name, present.names)
        for ended in (socket, text):
            ended.disconnected(1000, "")
        poll.lose()

    def test_ban(self) -> None:
        """A user, a guest, and the other guests of its network lose the room with a ban."""
        self.check_lost(STANDINGS["user"], "ban", "ban", "bob", "", None)
        self.check_lost(STANDINGS["guest"], "ban", "ban", "gus", "", 60.0)
        other = guest("someone", "198.51.100.7")
        socket, connection = self.follow(other)
        self.check_lost(guest("troll", "198.51.100.7"), "ban", "ban", "troll", "", None)
        self.assertIn("chat.left", str(connection.messages()))
        socket.disconnected(1000, "")

    def test_kick(self) -> None:
        """Who is kicked loses the room; out of one for members for good."""
        self.check_lost(STANDINGS["guest"], "kick", "kick", "gus", "", comes_back=True)
        self.close("members")
        self.check_lost(STANDINGS["member"], "kick", "kick", "meg", "")

    def test_access(self) -> None:
        """Who is no member loses a room that is for members from now on, or secret."""
        for access in ("members", "secret"):
            self.check_lost(STANDINGS["user"], "access", "set", None, access, None, None)
            self.close("public")

    def test_leave(self) -> None:
        """Who leaves the members loses their room."""
        self.close("secret")
        self.check_lost(STANDINGS["member"], "leave", "leave", by=STANDINGS["member"])

    def test_login(self) -> None:
        """A connection that acts as somebody else from now on keeps the rooms that that one may read."""
        self.close("members")
        for identity, kept in ((STANDINGS["moderator"], 1), (STANDINGS["banned"], 0)):
            socket, connection = self.follow(STANDINGS["member"])
            connection.received = b""
            socket.login(identity)
            self.turn()
            self.assertEqual(socket.kept(), kept)
            self.assertEqual("login" in str(connection.messages()), not kept)
            socket.disconnected(1000, "")

    def test_a_client_that_does_not_read(self) -> None:
        """It is told when it reads, behind what came before and before nothing of the room."""
        socket, connection = self.follow(STANDINGS["user"])
        connection.messages()
        connection.window = 10
        for _ in range(3):
            self.rooms.post(OWNER, "den", "before")
            self.turn()
        self.change("ban", "bob", "", None)
        self.rooms.post(OWNER, "den", "felled")
        self.turn()
        connection.read()
        self.turn()
        heard = connection.messages()
        self.assertEqual((heard[0]["params"]["text"], heard[-1]["method"]), ("before", "chat.left"))
        self.assertNotIn("felled", str(heard))
        socket.disconnected(1000, "")

    def test_a_batch(self) -> None:
        """Who gives up the room that the same batch joins has all its answers, and follows nothing."""
        self.close("members")
        socket, connection = self.connect(STANDINGS["member"])
        calls = [("chat.join", ["den"]), ("room.leave", ["den"]), ("chat.history", ["den"])]
        socket.text(json.dumps([{"jsonrpc": "2.0", "id": number, "method": name, "params": params} for number, (name, params) in enumerate(calls)]))
        self.turn()
        told = connection.messages()
        answers = next(each for each in told if isinstance(each, list))
        self.assertEqual(sorted(each["id"] for each in answers), [0, 1, 2])
        self.assertEqual([each["method"] for each in told if isinstance(each, dict)], ["chat.left"])
        self.assertEqual(socket.kept(), 0)
        socket.disconnected(1000, "")

    def test_login_with_what_is_not_in_memory(self) -> None:
        """Nothing is delivered until it is known whether the new identity may read."""
        self.close("members")
        for identity, heard in ((STANDINGS["moderator"], 1), (STANDINGS["user"], 0)):
            socket, connection = self.follow(STANDINGS["member"])
            connection.received = b""
            self.rooms.permissions.forget()
            asked: Any = mock.Mock(wraps=self.store.accesses.access)
            with mock.patch.object(self.store.accesses, "access", asked):
                socket.login(identity)
                self.assertEqual(asked.call_count, 1)
            self.rooms.post(OWNER, "den", "felled")
            self.turn()
            self.assertEqual(str(connection.messages()).count("felled"), heard)
            socket.disconnected(1000, "")

    def test_lost_before_the_answer(self) -> None:
        """Who loses the room between a join and its answer, by a moderation or another login, is told so behind the answer."""
        join = '{"jsonrpc":"2.0","id":1,"method":"chat.join","params":["den"]}'
        socket, connection = self.connect(STANDINGS["user"])
        socket.text(join)
        self.change("set", None, "secret", None, None)
        self.assertEqual([each.get("method", "answer") for each in connection.messages()], ["answer", "chat.left"])
        socket, connection = self.connect(STANDINGS["member"])
        socket.text(join)
        socket.login(STANDINGS["user"])
        self.turn()
        self.assertEqual([each.get("method", "answer") for each in connection.messages()], ["answer", "chat.left"])
        self.assertEqual(socket.kept(), 0)

    def test_a_ban_while_joining(self) -> None:
        """Who is banned while the room is being read for the join does not get in."""
        for who in (STANDINGS["user"], STANDINGS["guest"]):
            socket, connection = self.connect(who)
            banned = self.moderation.ban(OWNER, "den", who.name, "", None)
            self.clock.advance(0)
            socket.text('{"jsonrpc":"2.0","id":1,"method":"chat.join","params":["den"]}')
            self.turn()
            self.successResultOf(banned)
            self.rooms.post(OWNER, "den", "felled")
            self.turn()
            self.assertNotIn("felled", str(connection.messages()))
            self.assertEqual(socket.kept(), 0)
