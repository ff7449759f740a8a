"""What comes in which order on one WebSocket: answers before what follows from them, logins before what is sent behind them."""

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed

from netsvc.core.identity import Identity
from netsvc.core.procedures import Call, procedure
from netsvc.errors import StoreUnavailable
from netsvc.rpc.procedures import ConventionProcedures
from netsvc.rpc.settings import RpcSettings
from tests.rpc.test_websocket import GUEST, SocketTestCase

WAIT = '{"jsonrpc":"2.0","method":"test.wait","id":"wait"}'


class OrderCase(SocketTestCase):
    """What both have whose order is that of answers and events."""

    def kinds(self) -> list[str]:
        """What the client has got: methods of notifications, ids of answers; presence is left out."""
        found = []
        for message in self.connection.messages():
            if isinstance(message, list):
                found.append("+".join(str(answer["id"]) for answer in message))
            elif message.get("method") != "chat.presence":
                found.append(message["method"].replace("chat.event", f"event {message['params'].get('text')}") if "method" in message else str(message["id"]))
        return found


class BatchTests(OrderCase):
    """The answer of a batch comes when all its calls are done; what follows from one of them comes behind that."""

    def setUp(self) -> None:
        """With system.multicall."""
        super().setUp()
        dispatcher = self.service.dispatcher
        dispatcher.registry.add(ConventionProcedures(dispatcher, RpcSettings()))

    def test_a_join_in_a_batch(self) -> None:
        """Another answer meanwhile does not begin the delivery."""
        self.call("chat.post", ["lobby", "old"])
        self.socket.text('[{"jsonrpc":"2.0","method":"chat.join","params":{"room":"lobby","limit":0},"id":"join"},%s]' % WAIT)  # noqa: UP031
        self.turn()
        self.send("auth.whoami")
        self.send("chat.post", ["lobby", "new"], 2)
        self.turn()
        self.assertEqual(self.kinds(), ["1", "2"])
        self.procedures.waiting[0].callback(0)
        self.turn()
        self.assertEqual(self.kinds(), ["join+wait", "event new"])

    def test_a_post_in_a_batch(self) -> None:
        """Its event waits for the answer, and so does all behind it; another connection's does not."""
        self.call("chat.join", ["lobby"])
        other, others = self.socket, self.connection
        self.socket, self.connection = self.connect(Identity("bob", ("member",)))
        self.call("chat.join", ["lobby"])
        others.messages()
        self.socket.text('[{"jsonrpc":"2.0","method":"chat.post","params":["lobby","mine"],"id":"post"},%s]' % WAIT)  # noqa: UP031
        self.turn()
        other.text('{"jsonrpc":"2.0","method":"chat.post","params":["lobby","theirs"]}')
        self.turn()
        self.assertEqual([message["params"]["text"] for message in others.messages()], ["mine", "theirs"])
        self.assertEqual(self.kinds(), [])
        self.procedures.waiting[0].callback(0)
        self.turn()
        self.assertEqual(self.kinds(), ["post+wait", "event mine", "event theirs"])

    def test_two_batches(self) -> None:
        """Each holds its own events back, whichever is answered first."""
        self.call("chat.join", ["lobby"])
        for text in "ab":
            self.socket.text('[{"jsonrpc":"2.0","method":"chat.post","params":["lobby","%s"],"id":"%s"},%s]' % (text, text, WAIT))  # noqa: UP031
            self.turn()
        self.procedures.waiting[1].callback(0)
        self.turn()
        self.assertEqual(self.kinds(), ["b+wait"])
        self.procedures.waiting[0].callback(0)
        self.turn()
        self.assertEqual(self.kinds(), ["a+wait", "event a", "event b"])

    def test_posts_alone(self) -> None:
        """A batch of posts is answered, then they are delivered; a batch of notifications is not answered."""
        self.call("chat.join", ["lobby"])
        posts = ['{"jsonrpc":"2.0","method":"chat.post","params":["lobby","%d"]%s}' % (number, f',"id":{number}') for number in range(3)]  # noqa: UP031
        self.socket.text(f"[{','.join(posts)}]")
        self.turn()
        self.assertEqual(self.kinds(), ["0+1+2", "event 0", "event 1", "event 2"])
        self.socket.text('[{"jsonrpc":"2.0","method":"chat.post","params":["lobby","quiet"]},{"jsonrpc":"2.0","method":"test.wait"}]')
        self.turn()
        self.assertEqual(self.kinds(), [])
        self.procedures.waiting[0].callback(0)
        self.turn()
        self.assertEqual(self.kinds(), ["event quiet"])

    def test_a_multicall(self) -> None:
        """It is like a batch, also when its deadline passes first."""
        self.call("chat.join", ["lobby"])
        calls = [{"methodName": "chat.post", "params": ["lobby", "mine"]}, {"methodName": "test.wait", "params": []}]
        self.send("system.multicall", [calls], "multicall")
        self.turn()
        self.assertEqual(self.kinds(), [])
        self.procedures.waiting[0].callback(0)
        self.turn()
        self.assertEqual(self.kinds(), ["multicall", "event mine"])
        self.send("system.multicall", [calls], "multicall")
        self.turn()
        self.clock.advance(30.0)
        self.assertEqual(self.kinds(), ["multicall", "event mine"])

    def test_a_login_in_a_batch(self) -> None:
        """The calls behind it are made by whom it has logged in, if that was done at once."""
        self.socket.text(
            '[{"jsonrpc":"2.0","method":"auth.login","params":{"name":"guest-abcdef"},"id":1},{"jsonrpc":"2.0","method":"auth.login","params":{},"id":2},'
            '{"jsonrpc":"2.0","method":"auth.whoami","id":3}]'
        )
        ((_, login, who),) = self.connection.messages()
        self.assertEqual(login["result"]["name"], who["result"]["name"])
        self.assertNotEqual(who["result"]["name"], GUEST.name)


class Following:
    """A procedure from which something follows."""

    @procedure("test.follow", role="guest")
    def follow(self, call: Call) -> None:
        """It is told behind the answer."""
        call.after_answer(lambda: call.connection.notify(b'{"method":"followed","params":{}}'))


class KeyTests(OrderCase):
    """Calls with a key, whose answers are stored before they are given: all the same they precede their own events."""

    def setUp(self) -> None:
        """In a room with a message of one's own; answers are stored when the test says so."""
        super().setUp()
        self.call("chat.join", ["lobby"])
        self.call("chat.post", ["lobby", "mine"])
        self.connection.messages()
        self.storing: list[Deferred[None]] = []
        remember = self.store.remember

        def later(*answer: Any) -> "Deferred[None]":
            self.storing.append(Deferred())
            return self.storing[-1].addCallback(lambda _: remember(*answer))

        self.store.remember = later  # type: ignore[method-assign]

    def begin(self, method: str, *params: Any, identifier: str = "x", **members: Any) -> None:
        """Send a call with a key, and let it take effect."""
        message = {"jsonrpc": "2.0", "method": method, "params": ["lobby", *params], "id": identifier, "key": "k", **members}
        self.socket.text(json.dumps(message))
        self.turn()

    def store_all(self) -> None:
        """The answers are stored."""
        while self.storing:
            self.storing.pop(0).callback(None)
        self.turn()

    def test_the_answer_comes_first(self) -> None:
        """Of each procedure that appends to a room; others hear of it at once, and a repetition is answered alone."""
        other, others = self.socket, self.connection
        for method, *params in (("chat.edit", 1, "other"), ("chat.react", 1, "👍"), ("chat.delete", 1)):
            self.socket, self.connection = self.connect()
            self.call("chat.join", ["lobby"])
            others.messages()
            self.begin(method, *params)
            self.assertEqual((self.kinds(), len(others.messages())), ([], 1), method)
            self.store_all()
            answer, event = self.connection.messages()
            self.assertEqual((answer["id"], answer["result"]["seq"]), ("x", event["params"]["seq"]))
            self.begin(method, *params)
            self.assertEqual(self.connection.messages(), [answer])
            self.socket.disconnected(1000, "")
        self.socket, self.connection = other, others
        self.begin("chat.post", "posted")
        self.assertEqual(self.kinds(), ["x", "event posted"])
        self.begin("chat.post", "posted")
        self.assertEqual((self.kinds(), self.storing), (["x"], []))

    def test_a_repetition_meanwhile(self) -> None:
        """Both are answered, then the event comes."""
        self.begin("chat.edit", 1, "other")
        self.begin("chat.edit", 1, "other", identifier="again")
        self.store_all()
        self.assertEqual(self.kinds(), ["x", "again", "event other"])

    def test_an_answer_that_cannot_be_stored(self) -> None:
        """The error precedes the event too."""
        self.begin("chat.edit", 1, "other")
        self.storing.pop().errback(StoreUnavailable("full"))
        self.turn()
        self.assertEqual(self.kinds(), ["x", "event other"])

    def test_given_up(self) -> None:
        """Whether it is before or after the event is in the log, nothing is held back for longer."""
        self.begin("chat.edit", 1, "late", deadline=1)
        self.clock.pump([0.5] * 3)
        self.assertEqual(self.kinds(), ["x", "event late"])
        self.store_all()
        self.assertEqual(self.kinds(), [])
        recalled: Deferred[None] = Deferred()
        self.store.recall = lambda *_: recalled  # type: ignore[method-assign,assignment,return-value]
        self.begin("chat.edit", 1, "later", deadline=1, key="k2")
        self.clock.pump([0.5] * 3)
        self.assertEqual(self.kinds(), ["x"])
        recalled.callback(None)
        self.turn()
        self.assertEqual(self.kinds(), ["event later"])

    def test_the_caller_leaves(self) -> None:
        """It goes on, and another connection of theirs hears of it."""
        first = self.socket
        self.begin("chat.edit", 1, "other")
        self.socket, self.connection = self.connect()
        self.call("chat.join", ["lobby"])
        first.disconnected(1006, "")
        self.store_all()
        self.begin("chat.edit", 1, "other", identifier="again")
        self.assertEqual(self.kinds(), ["again"])
        self.send("chat.post", ["lobby", "on"], "post")
        self.turn()
        self.assertEqual(self.kinds(), ["post", "event on"])

    def test_in_a_batch(self) -> None:
        """It waits for the answer to all."""
        edit = '{"jsonrpc":"2.0","method":"chat.edit","params":["lobby",1,"other"],"id":"edit","key":"k"}'
        for batch, answer in ((f"[{edit},{WAIT}]", "edit+wait"), (f"[{edit}]", "edit")):
            self.socket.text(batch)
            self.turn()
            self.store_all()
            if self.procedures.waiting:
                self.assertEqual(self.kinds(), [])
                self.procedures.waiting.pop().callback(0)
                self.turn()
                self.assertEqual(self.kinds(), [answer, "event other"])
        self.assertEqual(self.kinds(), [answer])

    def test_a_batch_that_is_over(self) -> None:
        """A call of it that was given up, and takes effect when all is answered, holds nothing back."""
        recalled: Deferred[None] = Deferred()
        self.store.recall = lambda *_: recalled  # type: ignore[method-assign,assignment,return-value]
        self.socket.text('[{"jsonrpc":"2.0","method":"chat.edit","params":["lobby",1,"late"],"id":"edit","key":"k","deadline":1}]')
        self.clock.pump([0.5] * 3)
        self.assertEqual(self.kinds(), ["edit"])
        recalled.callback(None)
        self.turn()
        self.assertEqual(self.kinds(), ["event late"])

    def test_a_notification(self) -> None:
        """There is no answer to wait for but that of the store."""
        self.socket.text('{"jsonrpc":"2.0","method":"chat.edit","params":["lobby",1,"quiet"],"key":"k"}')
        self.turn()
        self.store_all()
        self.assertEqual(self.kinds(), ["event quiet"])

    def test_stored_at_once(self) -> None:
        """A call that keeps nobody waiting is no exception."""
        self.service.dispatcher.registry.add(Following())
        self.store.recall = lambda *_: succeed(None)  # type: ignore[method-assign]
        self.store.remember = lambda *_: succeed(None)  # type: ignore[method-assign]
        self.socket.text('{"jsonrpc":"2.0","method":"test.follow","id":"x","key":"k"}')
        self.assertEqual(self.kinds(), ["x", "followed"])


class LoginTests(SocketTestCase):
    """auth.login with further messages right behind it."""

    def setUp(self) -> None:
        """A login that takes its time."""
        super().setUp()
        self.proofs: list[Deferred[Any]] = []

        def login(credentials: object, peer: str) -> "Deferred[Any]":
            self.proofs.append(Deferred())
            return self.proofs[-1]

        self.logins.login = login  # type: ignore[method-assign,assignment]

    def test_what_is_sent_behind_a_login_waits_for_it(self) -> None:
        """So that it acts as whom it expects; the login's answer comes first."""
        self.send("auth.login", {"token": "secret"}, "login")
        self.assertFalse(self.connection.reading)
        self.connection.resume = lambda: self.send("auth.whoami", None, "who")  # type: ignore[method-assign]
        self.proofs[0].callback(Identity("alice", ("member",)))
        self.assertEqual([(each["id"], each["result"]["name"]) for each in self.connection.messages()], [("login", "alice"), ("who", "alice")])

    def test_answers_of_before(self) -> None:
        """A call from before the login that is answered meanwhile changes nothing."""
        self.send("test.wait")
        self.send("auth.login", {"token": "secret"})
        self.procedures.waiting[0].callback(0)
        self.assertFalse(self.connection.reading)
        self.proofs[0].callback(Identity("alice", ("member",)))
        self.assertTrue(self.connection.reading)

    def test_a_login_that_takes_too_long(self) -> None:
        """The connection is read from again when its deadline has passed."""
        self.send("auth.login", {"token": "secret"})
        self.clock.advance(30.0)
        self.assertTrue(self.connection.reading)
        self.assertEqual(self.connection.messages()[0]["error"]["code"], -32007)

    def test_a_login_that_fails(self) -> None:
        """The connection is read from again."""
        self.send("auth.login", {"token": "secret"})
        self.proofs[0].errback(RuntimeError("no"))
        self.assertTrue(self.connection.reading)
        self.flushLoggedErrors(RuntimeError)

    def test_gone_while_logging_in(self) -> None:
        """A connection that is over is not watched, nor resumed."""
        watched: list[object] = []
        self.logins.watch = lambda identity, close: watched.append(identity)  # type: ignore[method-assign]
        self.send("auth.login", {"token": "secret"})
        self.socket.disconnected(1006, "")
        self.proofs[0].callback(Identity("alice", ("member",), credential="token 1"))
        self.assertEqual((watched, self.connection.reading), ([], False))
