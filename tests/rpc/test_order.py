"""What comes in which order on one WebSocket: answers before what follows from them, logins before what is sent behind them."""

from typing import Any

from twisted.internet.defer import Deferred

from netsvc.core.identity import Identity
from netsvc.rpc.procedures import ConventionProcedures
from netsvc.rpc.settings import RpcSettings
from tests.rpc.test_websocket import GUEST, SocketTestCase

WAIT = '{"jsonrpc":"2.0","method":"test.wait","id":"wait"}'


class BatchTests(SocketTestCase):
    """The answer of a batch comes when all its calls are done; what follows from one of them comes behind that."""

    def setUp(self) -> None:
        """With system.multicall."""
        super().setUp()
        dispatcher = self.service.dispatcher
        dispatcher.registry.add(ConventionProcedures(dispatcher, RpcSettings()))

    def kinds(self) -> list[str]:
        """What the client has got: methods of notifications, ids of answers; presence is left out."""
        found = []
        for message in self.connection.messages():
            if isinstance(message, list):
                found.append("+".join(str(answer["id"]) for answer in message))
            elif message.get("method") != "chat.presence":
                found.append(message["method"].replace("chat.event", f"event {message['params'].get('text')}") if "method" in message else str(message["id"]))
        return found

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
