"""``/ws``: calls, notifications, pace, logins, and what is left when a connection ends."""

import gc
import json
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.chat.formats import NotificationFormat
from netsvc.chat.procedures import ChatProcedures
from netsvc.core.delivery import Follower
from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import REFUSALS, Budgets
from netsvc.core.logins import Logins
from netsvc.core.passwords import Passwords
from netsvc.core.procedures import Call, Registry, procedure
from netsvc.core.rooms import Member, Rooms
from netsvc.core.settings import AuthSettings, LimitsSettings, RoomsSettings
from netsvc.errors import NotAuthenticated, StoreUnavailable
from netsvc.interfaces import ISinkWatcher, IWebSocketApplication
from netsvc.rpc.connection import RpcService
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.procedures import AuthProcedures
from netsvc.rpc.settings import RpcSettings
from netsvc.rpc.websocket import RpcSocket
from netsvc.store.memory import MemoryStore
from netsvc.wire.deflate import Deflater
from netsvc.wire.jsonrpc import Request
from netsvc.wire.websocket import text_frame
from tests.rpc.fakes import FakeConnection

GUEST = Identity("guest-1", ("guest",), guest=True)
DEFLATED = Deflater(3, 1, 1000).text_frame


class Thing:
    """Something that a procedure leaves with a connection."""

    def __init__(self) -> None:
        self.left = 0
        self.names: list[str] = []

    def leave(self) -> None:
        """End."""
        self.left += 1

    def act_as(self, identity: Identity) -> None:
        """Somebody else."""
        self.names.append(identity.name)


class Waiting:
    """Procedures for these tests."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.things: list[Thing] = []

    @procedure("test.wait", role="guest")
    def wait(self) -> Deferred[Any]:
        """Answers later."""
        done: Deferred[Any] = Deferred()
        self.waiting.append(done)
        return done

    @procedure("test.keep", role="guest")
    def keep(self, call: Call, key: str) -> int:
        """Leaves something with the connection, tells of it before and after the answer."""
        thing = Thing()
        self.things.append(thing)
        call.connection.keep(key, thing)
        call.connection.after_answer(lambda: call.connection.notify(b'"after"'))
        call.connection.notify(b'"before"')
        return int(call.connection.kept())


class SocketTestCase(TestCase):
    """A service with everything real but the network, the clock and the disk."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        passwords: Passwords = None  # type: ignore[assignment]  # no test here logs in by password
        self.logins = Logins(self.store.accounts, passwords, self.clock, AuthSettings(), guests=True)
        limits = LimitsSettings(in_flight=3, append_queue=4, rooms_per_connection=2)
        self.rooms = Rooms(self.store, self.clock, RoomsSettings(), limits, "guest")
        self.procedures = Waiting()
        registry = Registry()
        chat = ChatProcedures(self.rooms, {framing: NotificationFormat(framing) for framing in (text_frame, DEFLATED)}, limits.rooms_per_connection)
        for source in (self.procedures, AuthProcedures(self.logins), chat):
            registry.add(source)
        dispatcher = Dispatcher(registry, self.clock, RpcSettings(), Answers(self.store, self.clock, 60.0, 300.0), lambda *_: self.fail("nothing blocks"), 256)  # type: ignore[arg-type,return-value]
        budgets = Budgets(LimitsSettings(rate=False), self.clock.seconds)
        self.service = RpcService(dispatcher, budgets, self.logins, self.rooms.appender, limits.in_flight, 256 * 1024, 30.0)
        self.socket, self.connection = self.connect()

    def connect(self, identity: Identity | None = GUEST) -> tuple[RpcSocket, FakeConnection]:
        """One more WebSocket."""
        socket, connection = RpcSocket(self.service, identity, "192.0.2.1"), FakeConnection()
        socket.connected(connection)
        return socket, connection

    def send(self, method: str, params: Any = None, identifier: Any = 1) -> None:
        """A call, or a notification with the id None."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if identifier is not None:
            message["id"] = identifier
        if params is not None:
            message["params"] = params
        self.socket.text(json.dumps(message))

    def turn(self) -> None:
        """Let the reactor turn."""
        self.clock.pump([0.0] * 10)

    def call(self, method: str, params: Any = None) -> Any:
        """A call's result or its error."""
        self.connection.messages()
        self.send(method, params, 77)
        self.turn()
        answers = [message for message in self.connection.messages() if message.get("id") == 77]
        self.assertEqual(len(answers), 1)
        return answers[0].get("result", answers[0].get("error"))


class CallTests(SocketTestCase):
    """Calls and their pace."""

    def test_interfaces(self) -> None:
        """It is what it says."""
        verifyObject(IWebSocketApplication, self.socket)
        verifyObject(ISinkWatcher, self.socket)

    def test_answers(self) -> None:
        """At once, later, or never for a notification."""
        self.assertEqual(self.call("auth.whoami"), {"name": "guest-1", "roles": ["guest"], "guest": True})
        self.send("auth.whoami", identifier=None)
        self.assertEqual(self.connection.messages(), [])
        self.send("test.wait", identifier="a")
        self.send("test.wait", identifier="a")
        self.procedures.waiting[1].callback(2)
        self.procedures.waiting[0].callback(1)
        self.assertEqual([message["result"] for message in self.connection.messages()], [2, 1], "ids in flight may repeat")

    def test_in_flight(self) -> None:
        """At the bound netsvc reads no further, and goes on when one is answered; nothing is refused."""
        for _ in range(3):
            self.assertTrue(self.connection.reading)
            self.send("test.wait")
        self.assertFalse(self.connection.reading)
        self.procedures.waiting[0].callback(1)
        self.assertTrue(self.connection.reading)

    def test_full_append_queue(self) -> None:
        """Who posts while the queue is full is not read from until there is room; everything is posted."""
        for number in range(6):
            socket, connection = self.connect()
            socket.text('{"jsonrpc":"2.0","method":"chat.post","params":["lobby","%d"]}' % number)  # noqa: UP031
            self.assertEqual(connection.reading, number < 3)
            self.addCleanup(lambda connection=connection: self.assertTrue(connection.reading))
        self.turn()
        self.assertEqual(self.call("chat.history", ["lobby"])["cursor"].rpartition(":")[2], "6")

    def test_a_client_that_does_not_read(self) -> None:
        """Is not read from either, and is spared notifications."""
        self.connection.window = 5
        self.send("auth.whoami")
        self.assertFalse(self.connection.reading)
        self.socket.notify(b'"dropped"')
        self.connection.read()
        self.assertTrue(self.connection.reading)
        self.assertEqual(len(self.connection.messages()), 1)

    def test_who_takes_no_heed_of_refusals(self) -> None:
        """Is read from no faster than refusals are forgotten, whatever the shape of its calls; who waits as it is told is not touched."""
        for batch in (False, True):
            self.service.budgets = Budgets(LimitsSettings(burst=5.0, calls_per_second=1.0), self.clock.seconds)
            socket, connection = self.connect()
            one = '{"jsonrpc":"2.0","method":"auth.whoami","id":1}'
            message, calls = (f"[{','.join([one] * 10)}]", 10) if batch else (one, 1)
            for _ in range((REFUSALS + 5) // calls):
                self.assertTrue(connection.reading)
                socket.text(message)
            self.assertTrue(connection.reading)
            socket.text(message)
            self.assertFalse(connection.reading)
            self.clock.advance(calls / REFUSALS + 0.001)
            self.assertTrue(connection.reading)
            socket.text(message)
            self.assertFalse(connection.reading)
            socket.disconnected(1006, "")
            self.clock.advance(1)

    def test_draining(self) -> None:
        """A client that is sent away is told when to come back, also behind what it has not read, is answered what is under way, and nothing else."""
        closed: list[int] = []
        self.connection.window = 5
        self.send("test.wait")
        self.send("auth.whoami")
        self.socket.draining(12.3456, lambda: closed.append(1))
        self.connection.read()
        self.assertEqual((closed, self.connection.reading), ([], False))
        self.procedures.waiting[0].callback("done")
        self.assertEqual(closed, [1])
        _, told, answer = self.connection.messages()
        self.assertEqual((told["method"], told["params"], answer["result"]), ("server.draining", {"return_after": 12.346}, "done"))
        other, _ = self.connect()
        other.draining(1.0, lambda: closed.append(2))
        self.assertEqual(closed, [1, 2])
        other.disconnected(1001, "")
        other.draining(1.0, lambda: closed.append(3))
        self.assertEqual(closed, [1, 2])

    def test_binary(self) -> None:
        """Is refused by 1003."""
        self.socket.binary(b"x")
        assert self.connection.closed is not None
        self.assertEqual(self.connection.closed[0], 1003)

    def test_answered_after_the_end(self) -> None:
        """A late answer goes nowhere."""
        self.send("test.wait")
        self.socket.disconnected(1006, "")
        self.procedures.waiting[0].callback(1)
        self.socket.notify(b'"x"')
        self.socket.sink_drained()
        self.assertEqual(self.connection.received, b"")
        self.assertEqual(self.connection.watchers, [])


class BelongingTests(SocketTestCase):
    """What procedures leave with a connection."""

    def test_after_the_answer(self) -> None:
        """What is to come behind the answer does, also in a batch and for a notification."""
        self.send("test.keep", ["a"])
        self.assertEqual([message if isinstance(message, str) else message["result"] for message in self.connection.messages()], ["before", 1, "after"])
        self.send("test.keep", ["a"], None)
        self.assertEqual(self.connection.messages(), ["before", "after"])
        self.socket.text('[{"jsonrpc":"2.0","method":"test.keep","params":["a"],"id":1},{"jsonrpc":"2.0","method":"auth.whoami","id":2}]')
        before, batch, after = self.connection.messages()
        self.assertEqual((before, len(batch), after), ("before", 2, "after"))

    def test_ends_with_the_connection(self) -> None:
        """And is told of a new name; one key has one thing."""
        self.send("test.keep", ["a"])
        self.send("test.keep", ["b"])
        self.send("test.keep", ["b"])
        first, second, third = self.procedures.things
        self.assertEqual((first.left, second.left, third.left), (0, 1, 0))
        self.socket.login(Identity("alice", ("member",), credential="token 1"))
        self.assertEqual((first.names, third.names), (["alice"], ["alice"]))
        self.assertTrue(self.socket.release("a"))
        self.assertFalse(self.socket.release("a"))
        self.socket.disconnected(1000, "")
        self.assertEqual((first.left, third.left), (1, 1))
        late = Thing()
        self.socket.keep("late", late)
        self.assertEqual(late.left, 1)


class LoginTests(SocketTestCase):
    """auth.login and revocation."""

    def test_guest_name(self) -> None:
        """A guest may choose a name."""
        self.assertEqual(self.call("auth.login", {"name": "Bob"}), {"name": "Bob", "roles": ["guest"]})
        self.assertEqual(self.call("auth.whoami")["name"], "Bob")

    def test_before_login(self) -> None:
        """A connection without an identity may do nothing else."""
        self.socket, self.connection = self.connect(None)
        self.assertEqual(self.call("auth.whoami")["code"], -32001)
        self.assertEqual(self.call("auth.login", {"token": "wrong"})["code"], -32001)
        self.call("auth.login", {"name": "bob"})
        self.assertEqual(self.call("auth.whoami")["name"], "bob")

    def test_params(self) -> None:
        """Token, or name and password, or name."""
        self.assertEqual(self.call("auth.login", {"token": "x", "name": "bob"})["code"], -32602)
        self.assertEqual(self.call("auth.login", {"password": "x"})["code"], -32602)

    def test_no_login(self) -> None:
        """A connection that is nobody's has its time for a login; with one, as a guest's, it may stay."""
        nobody, logs_in = self.connect(None), self.connect(None)
        self.socket = logs_in[0]
        self.send("auth.login", {"name": "bob"})
        self.clock.pump([1.0] * 29)
        self.assertIsNone(nobody[1].closed)
        self.clock.pump([1.0] * 4)
        reason = "nobody has logged in within 30 s: connect again with credentials, or call auth.login first"
        self.assertEqual((nobody[1].closed, logs_in[1].closed, self.connection.closed), ((4401, reason), None, None))
        self.assertLess(len(reason), 123)
        nobody[0].disconnected(4401, reason)
        self.assertEqual((logs_in[0].kept(), self.clock.getDelayedCalls()), (0, []))

    def test_gone_before_the_login(self) -> None:
        """Nothing waits for it any more."""
        socket, connection = self.connect(None)
        socket.disconnected(1006, "")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(connection.closed)

    def test_a_login_under_way(self) -> None:
        """It is waited for, if it was sent in time: that passwords take long to check is not the client's fault."""
        proof: Deferred[Any] = Deferred()
        self.logins.login = lambda *_: proof  # type: ignore[method-assign,assignment,return-value]
        self.socket, self.connection = self.connect(None)
        self.clock.pump([1.0] * 25)
        self.send("auth.login", {"name": "ann", "password": "secret"})
        self.clock.pump([1.0] * 10)
        self.assertIsNone(self.connection.closed)
        proof.errback(NotAuthenticated("no"))
        self.clock.pump([1.0] * 3)
        assert self.connection.closed is not None
        self.assertEqual(self.connection.closed[0], 4401)

    def test_revoked(self) -> None:
        """A connection whose credential is revoked is closed by 4401."""
        closes: list[Any] = []
        self.logins.watch = lambda identity, close: closes.append(close)  # type: ignore[method-assign]
        self.socket.login(Identity("alice", ("member",), credential="token 1"))
        closes[0]("revoked")
        self.assertEqual(self.connection.closed, (4401, "revoked"))
        self.socket.disconnected(4401, "revoked")
        closes[0]("again")


class ChatTests(SocketTestCase):
    """The chat procedures over a WebSocket."""

    def test_answer_before_own_event(self) -> None:
        """The poster's answer precedes the poster's own event."""
        self.call("chat.join", ["lobby"])
        self.send("chat.post", {"room": "lobby", "text": "hi"})
        self.turn()
        answer, event = self.connection.messages()
        self.assertEqual(answer["result"]["seq"], 1)
        self.assertEqual((event["method"], event["params"]["text"], event["params"]["from"]), ("chat.event", "hi", "guest-1"))

    def test_join_twice_and_leave(self) -> None:
        """A second join replaces the first: no event comes twice; after leaving none comes."""
        self.call("chat.join", ["lobby"])
        self.call("chat.join", ["LOBBY"])
        self.call("chat.post", ["lobby", "hi"])
        joined = self.call("chat.join", ["lobby", None, 0])
        self.assertEqual(joined["present"], {"count": 1, "names": ["guest-1"]})
        self.send("chat.post", ["lobby", "hi"], None)
        self.turn()
        self.assertEqual([message["method"] for message in self.connection.messages()], ["chat.event"])
        self.assertEqual(self.call("chat.leave", ["lobby"]), {})
        self.send("chat.post", ["lobby", "hi"], None)
        self.turn()
        self.assertEqual(self.connection.messages(), [])

    def test_leave_what_is_not_joined(self) -> None:
        """No error for a room that is there; one that is not is not found."""
        self.assertEqual(self.call("chat.leave", ["lobby"])["code"], -32003)
        self.call("chat.post", ["lobby", "hi"])
        self.assertEqual(self.call("chat.leave", ["lobby"]), {})
        self.call("chat.join", ["empty"])
        self.assertEqual(self.call("chat.leave", ["empty"]), {})

    def test_calls_behind_a_join(self) -> None:
        """A leave, a login and further joins that do not wait for the answer to a join are not overtaken by it."""
        ask = self.store.room
        self.store.room = lambda name: deferLater(self.clock, 0.1, ask, name)  # type: ignore[method-assign]
        self.send("chat.join", ["lobby"])
        self.send("chat.leave", ["lobby"])
        for room in ("a", "b", "c"):
            self.send("chat.join", [room])
        self.send("auth.login", {"name": "ann"})
        self.clock.pump([0.1] * 3)
        answers = [message.get("result", message.get("error")) for message in self.connection.messages()]
        self.assertEqual([answer.get("code") for answer in answers if "code" in answer], [-32006], "two rooms at the most")
        self.assertIn("ann", self.call("chat.who", ["a"])["names"])
        self.call("chat.post", ["a", "hi"])
        self.send("chat.post", ["lobby", "hi"], None)
        self.turn()
        self.assertEqual([message["params"]["room"] for message in self.connection.messages() if message.get("method") == "chat.event"], [])

    def test_a_join_that_fails(self) -> None:
        """It leaves its place to others, and what was joined before stays."""
        self.call("chat.join", ["a"])
        for cursor in ("x", "x"):
            self.assertEqual(self.call("chat.join", ["b", cursor])["code"], -32602)
        self.store.room = lambda name: fail(StoreUnavailable("no"))  # type: ignore[method-assign]
        for _ in range(2):
            self.assertEqual(self.call("chat.join", ["b"])["code"], -32008)
        self.assertEqual(self.socket.kept(), 1)

    def test_an_empty_key(self) -> None:
        """It is refused: a client that sends it means to have a key."""
        self.assertEqual(self.call("chat.post", {"room": "lobby", "text": "hi", "key": ""})["code"], -32602)

    def test_compressed(self) -> None:
        """A client with which compression was agreed gets answers and events compressed; an event is the same frame for all such clients."""
        others = []
        for _ in range(2):
            connection = FakeConnection()
            connection.text_frame = DEFLATED
            socket = RpcSocket(self.service, GUEST, "192.0.2.1")
            socket.connected(connection)
            socket.text('{"jsonrpc":"2.0","id":1,"method":"chat.join","params":["lobby"]}')
            self.turn()
            self.assertEqual(connection.received[0], 0xC1)
            connection.received = b""
            others.append(connection)
        self.call("chat.join", ["lobby"])
        self.send("chat.post", ["lobby", "ha" * 100])
        self.turn()
        ((event,), (packed,)) = ([text_frame(text.encode()) for text in self.connection.texts() if "chat.event" in text], {other.received for other in others})
        self.assertLess(len(packed), len(event))
        self.assertEqual(packed, DEFLATED(event[4:]))

    def test_rooms_per_connection(self) -> None:
        """Bounded, but for a room that one is in already."""
        for room in ("a", "b"):
            self.call("chat.join", [room])
        self.assertEqual(self.call("chat.join", ["c"])["code"], -32006)
        self.assertEqual(self.call("chat.join", ["b"])["room"], "b")

    def test_reading(self) -> None:
        """History, rooms, who."""
        self.assertEqual(self.call("chat.history", ["lobby"])["code"], -32003)
        self.call("chat.post", {"room": "lobby", "text": "hi", "key": "k"})
        self.assertEqual(self.call("chat.history", ["lobby"])["events"][0]["text"], "hi")
        self.assertEqual([room["name"] for room in self.call("chat.rooms")["rooms"]], ["lobby"])
        self.assertEqual(self.call("chat.who", ["lobby"]), {"count": 0, "names": []})

    def test_presence(self) -> None:
        """Coming is told as chat.presence, once a second."""
        self.call("chat.join", ["lobby"])
        self.clock.advance(1.0)
        (presence,) = self.connection.messages()
        self.assertEqual(presence, {"jsonrpc": "2.0", "method": "chat.presence", "params": {"room": "lobby", "joined": ["guest-1"], "left": [], "count": 1}})

    def test_a_key_for_what_concerns_the_connection(self) -> None:
        """Means nothing: who joins again with the same key is in the room again, and of a login nothing is stored."""
        join = '{"jsonrpc":"2.0","method":"chat.join","params":["lobby"],"key":"k","id":1}'
        self.socket.text(join)
        self.turn()
        self.socket.disconnected(1006, "")
        self.socket, self.connection = self.connect()
        self.socket.text(join)
        self.turn()
        self.assertEqual(self.call("chat.who", ["lobby"])["count"], 1)
        self.socket.text('{"jsonrpc":"2.0","method":"auth.login","params":{"name":"walter"},"key":"l","id":1}')
        self.turn()
        self.assertEqual(self.store._answers, {})

    def test_gone_while_joining(self) -> None:
        """A connection that ends before its join is answered leaves nothing behind."""
        self.send("chat.join", ["lobby"])
        self.socket.disconnected(1006, "")
        self.turn()
        self.clock.pump([1.0] * 13)
        self.assertEqual(self.rooms._states, {})

    def test_connections_leave_no_cycles(self) -> None:
        """What a connection was made of is gone when it is, without the garbage collector."""
        gc.disable()
        self.addCleanup(gc.enable)

        def alive() -> int:
            return sum(isinstance(each, RpcSocket | Member | Follower | Request) for each in gc.get_objects())

        self.call("chat.join", ["lobby"])
        before = alive()
        for _ in range(20):
            self.socket, self.connection = self.connect()
            self.call("chat.join", ["lobby"])
            self.call("chat.post", ["lobby", "hi"])
            self.call("chat.nothing")
            self.socket.disconnected(1000, "")
        self.socket, self.connection = self.connect()
        self.clock.pump([1.0] * 13)
        self.assertLessEqual(alive(), before + 1)
