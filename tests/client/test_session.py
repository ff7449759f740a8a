"""Tests for netsvc.client.session."""

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionRefusedError

from netsvc.client.addresses import Credentials
from netsvc.client.errors import BadAnswer, Conflict, ConnectionLost, DeadlinePassed, Forbidden, InvalidParams, NotAuthenticated, Untrusted
from netsvc.client.session import State
from tests.client.session_case import SessionCase


class Calls(SessionCase):
    """Calls and their answers."""

    def test_result(self) -> None:
        """The first call connects; it waits for the connection, then for its answer."""
        call = self.session.call("math.add", [2, 3], 5.0)
        self.assertEqual(self.server.accept()["authorization"], "Bearer t")
        (message,) = self.server.messages()
        self.assertEqual(message, {"jsonrpc": "2.0", "id": 1, "method": "math.add", "params": [2, 3], "deadline": 5.0})
        self.assertNoResult(call)
        self.server.answer(message, 5)
        self.called(5, call)
        self.assertEqual([timer.time for timer in self.clock.getDelayedCalls()], [10.0, 30.0])

    def test_answers_out_of_order(self) -> None:
        """Each answer finds its call; params are left out where there are none, and a result may be null."""
        server = self.go_online()
        first, second = self.session.call("a", None, 5.0), self.session.call("b", {"x": 1}, 5.0)
        one, two = server.messages()
        self.assertNotIn("params", one)
        server.answer(two, None)
        self.called(None, second)
        server.answer(one, [1])
        self.called([1], first)

    def test_error(self) -> None:
        """An error answer is raised as its class."""
        server = self.go_online()
        call = self.session.call("a", None, 5.0)
        server.refuse(server.messages()[0], -32602, "invalid params", detail="b: missing")
        self.assertEqual(str(self.failureResultOf(call, InvalidParams).value), "invalid params: b: missing")

    def test_deadline(self) -> None:
        """A call that is not answered in time fails; its answer is nothing to anybody then."""
        server = self.go_online()
        call = self.session.call("a", None, 5.0)
        self.clock.advance(5)
        self.failureResultOf(call, DeadlinePassed)
        server.answer(server.messages()[0], 1)

    def test_deadline_shrinks(self) -> None:
        """The time that it took to connect is not there any more."""
        self.session.call("a", None, 5.0).addErrback(lambda _: None)
        self.clock.advance(2)
        self.server.accept()
        self.assertEqual(self.server.messages()[0]["deadline"], 3.0)

    def test_no_connection_in_time(self) -> None:
        """The deadline covers connecting, too; what is told is why there is none."""
        self.ground.refuse = ConnectionRefusedError("refused")
        call = self.session.call("a", None, 5.0)
        self.clock.pump([1] * 5)
        self.assertIn("refused", str(self.failureResultOf(call, ConnectionLost).value))
        self.session.close()
        self.ground.refuse = None

    def test_lost(self) -> None:
        """Calls that are under way when the connection breaks fail, since nobody knows what became of them."""
        server = self.go_online()
        call = self.session.call("a", None, 5.0)
        server.lose()
        self.failureResultOf(call, ConnectionLost)
        self.failureResultOf(self.session.send("a", None, 1.0), ConnectionLost)

    def test_cancelled_when_another_is_lost(self) -> None:
        """Who hears that one call is lost may cancel others that are: all end, and there is another connection."""
        server = self.go_online()
        first, second, third = (self.session.call("a", None, 5.0) for _ in range(3))
        first.addErrback(lambda _: second.cancel())
        server.lose()
        self.failureResultOf(second, CancelledError)
        self.failureResultOf(third, ConnectionLost)
        self.assertEqual(self.session.state.name, "waiting")

    def test_cancel(self) -> None:
        """A call can be cancelled, before it is sent and after."""
        early = self.session.call("a", None, 5.0)
        early.cancel()
        self.failureResultOf(early)
        self.server.accept()
        self.assertEqual(self.server.messages(), [])
        late = self.session.call("b", None, 5.0)
        late.cancel()
        self.failureResultOf(late)
        call, cancel = self.server.messages()
        self.assertEqual((cancel["method"], cancel["params"]), ("rpc.cancel", {"id": call["id"]}))
        self.server.refuse(call, -32007)

    def test_progress(self) -> None:
        """Whoever wants to know how far a call is hears it, as long as it is under way."""
        heard: list[Any] = []
        server = self.go_online()
        call = self.session.call("a", None, 5.0, heard.append)
        (message,) = server.messages()
        server.tell("rpc.progress", {"id": message["id"], "done": 1, "total": 2})
        server.tell("rpc.progress", {"id": 99, "done": 1})
        server.tell("rpc.progress", {"done": 1})
        server.answer(message, 5)
        server.tell("rpc.progress", {"id": message["id"], "done": 2})
        self.called(5, call)
        self.assertEqual(heard, [{"done": 1, "total": 2}])

    def test_strange_messages(self) -> None:
        """What is no JSON-RPC, answers to nothing, and answers with ids that we never use, are not heeded."""
        server = self.go_online()
        for message in ({"id": 99, "result": 1}, {"id": "x", "result": 1}, {"id": None, "error": {"code": -32700}}, {}, [], "x", {"method": 5}):
            server.say(message)
        self.assertEqual(self.session.state.name, "online")

    def test_params_that_cannot_be_sent(self) -> None:
        """Lone surrogates are no UTF-8."""
        self.go_online()
        self.failureResultOf(self.session.send("a", ["\ud800"], 1.0), ValueError)


class Notifications(SessionCase):
    """What the server says by itself."""

    def test_listeners(self) -> None:
        """Each hears the params, until it does not want to any more; one that fails keeps nobody else from hearing."""
        heard: list[Any] = []
        self.session.on("chat.presence", lambda params: 1 / 0)
        stop = self.session.on("chat.presence", heard.append)
        server = self.go_online()
        server.tell("chat.presence", {"count": 1})
        server.tell("other", {})
        stop()
        stop()
        server.tell("chat.presence", {"count": 2})
        self.assertEqual(heard, [{"count": 1}])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_calls_of_the_server(self) -> None:
        """A call to us is answered: there is no such method."""
        server = self.go_online()
        server.say({"jsonrpc": "2.0", "id": "x", "method": "hello"})
        (answer,) = server.messages()
        self.assertEqual((answer["id"], answer["error"]["code"]), ("x", -32601))

    def test_own_notifications(self) -> None:
        """We can notify, too; without a connection nothing happens."""
        self.session.notify("chat.typing", {})
        server = self.go_online()
        self.session.notify("chat.typing", {"room": "lobby"})
        self.assertEqual(server.messages(), [{"jsonrpc": "2.0", "method": "chat.typing", "params": {"room": "lobby"}}])


class Returns(SessionCase):
    """Connections that are lost, and come back."""

    def setUp(self) -> None:
        """Keep the states."""
        super().setUp()
        self.states: list[State] = []
        self.stop = self.session.watch(self.states.append)

    def test_backoff(self) -> None:
        """Waits double up to the longest, half of each being chance; a connection clears the count once it has lived a while."""
        self.go_online()
        self.ground.down()
        for wait in (0.75, 1.5, 3.0, 6.0, 6.0):
            self.assertEqual(self.session.state.name, "waiting")
            self.assertEqual(self.session.state.seconds, wait)
            self.clock.advance(wait)
        self.ground.up()
        self.clock.advance(6.0)
        self.server.accept()
        self.clock.advance(self.limits.steady)
        self.server.lose()
        self.assertEqual(self.session.state.seconds, 0.75)
        self.stop()
        self.stop()
        self.assertEqual([state.name for state in self.states[:5]], ["connecting", "online", "waiting", "connecting", "waiting"])

    def test_flapping(self) -> None:
        """One that is lost at once counts as one more failure."""
        self.go_online().lose()
        self.clock.advance(0.75)
        self.server.accept()
        self.server.lose()
        self.assertEqual(self.session.state.seconds, 1.5)

    def test_draining(self) -> None:
        """A server that says when to return is believed, within bounds, and but once."""
        self.go_online()
        self.clock.advance(self.limits.steady)
        for said, wait in ((12.5, 12.5), (1e9, self.limits.return_longest), (-1, 0.0), ("soon", 0.75)):
            self.server.tell("server.draining", {"return_after": said})
            self.server.close(1001)
            self.assertEqual(self.session.state.seconds, wait)
            self.clock.advance(wait)
            self.server.accept()
            self.clock.advance(self.limits.steady)

    def test_no_calls_while_draining(self) -> None:
        """A server that sends us away answers what it has; what is called from then on waits for the next connection."""
        server = self.go_online()
        before = self.session.call("a", None, 30.0)
        server.tell("server.draining", {"return_after": 2})
        after = self.session.call("b", None, 30.0)
        (message,) = server.messages()
        server.answer(message, 1)
        self.called(1, before)
        server.close(1001)
        self.clock.advance(2)
        self.server.accept()
        (message,) = self.server.messages()
        self.server.answer(message, 2)
        self.called(2, after)

    def test_too_slow(self) -> None:
        """An attempt that takes too long, at whatever point, is given up."""
        self.ground.hang = True
        self.session.online()
        self.clock.advance(10)
        self.assertEqual(self.session.state, State("waiting", 0.75, "no connection within 10 s"))
        self.ground.hang = False
        self.clock.advance(0.75)
        self.clock.advance(10)
        self.assertTrue(self.server.transport.aborted)
        self.assertEqual(self.session.state.name, "waiting")

    def test_server_errors(self) -> None:
        """A server or a proxy that is busy or broken is asked again, when it says so."""
        self.session.online()
        self.server.respond(b"", 503, "Retry-After: 20\r\n")
        self.assertEqual(self.session.state.seconds, 20.75)
        self.clock.advance(20.75)
        self.server.respond(b"", 502)
        self.assertEqual(self.session.state.name, "waiting")

    def test_refused(self) -> None:
        """Who is refused does not come back: not after 401, a code of 44xx, a 404, an untrusted certificate."""
        for refuse, kind in (
            (lambda: self.server.respond(b"", 401), NotAuthenticated),
            (lambda: self.server.respond(b"", 404), BadAnswer),
            (lambda: (self.server.accept(), self.server.close(4401)), NotAuthenticated),
            (lambda: (self.server.accept(), self.server.close(4403, "banned")), Forbidden),
        ):
            self.session = self.make_session(Credentials("t"))
            self.session.online().addErrback(lambda _: None)
            refuse()
            self.assertEqual(self.session.state.name, "refused")
            self.failureResultOf(self.session.call("a", None, 5.0), kind)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.ground.refuse = Untrusted("no")
        self.session = self.make_session(Credentials("t"))
        self.failureResultOf(self.session.online(), Untrusted)

    def test_other_close_codes(self) -> None:
        """Every other one leaves the way open."""
        for code in (1001, 1008, 1011, 1013, 4500):
            self.session = self.make_session(Credentials("t"))
            self.go_online().close(code, "later")
            self.assertIn(f"{code} later", self.session.state.reason)
            self.assertEqual(self.session.state.name, "waiting")
            self.session.close()

    def test_close(self) -> None:
        """Closing ends everything: the connection, its timers, calls, and those who wait for it."""
        server = self.go_online()
        call = self.session.call("a", None, 5.0)
        self.session.close()
        self.session.close()
        self.failureResultOf(call, ConnectionLost)
        self.failureResultOf(self.session.online(), ConnectionLost)
        server.close(1000)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.session.state.name, "closed")

    def test_called_again_at_once(self) -> None:
        """Who hears that a call was lost, and calls again right then, waits for the next connection."""
        server = self.go_online()
        again = self.session.call("a", None, 5.0).addErrback(lambda _: self.session.call("b", None, 5.0))
        server.lose()
        self.clock.advance(0.75)
        self.server.accept()
        (message,) = self.server.messages()
        self.server.answer(message, 1)
        self.called(1, again)

    def test_close_by_who_hears(self) -> None:
        """Who hears that a call was lost, or that there is a connection, may close the session."""
        server = self.go_online()
        self.session.call("a", None, 5.0).addErrback(lambda _: self.session.close())
        server.lose()
        self.assertEqual((self.session.state.name, self.clock.getDelayedCalls()), ("closed", []))
        self.session = self.make_session(Credentials("t"))
        self.session.watch(lambda state: None if state.name != "online" else self.session.close().addErrback(lambda _: None) and None)
        waiting = self.session.online()
        self.server.accept()
        self.failureResultOf(waiting, ConnectionLost)
        self.server.close(1000)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_by_a_watcher(self) -> None:
        """Who watches may close it, even while it begins to connect."""
        self.session.watch(lambda state: self.session.close() if state.name == "connecting" else None)
        self.failureResultOf(self.session.online(), ConnectionLost)
        self.assertEqual(self.ground.connections, [])

    def test_close_while_connecting(self) -> None:
        """An attempt that is under way is given up."""
        self.ground.hang = True
        waiting = self.session.online()
        self.session.close()
        self.failureResultOf(waiting, ConnectionLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Guests(SessionCase):
    """A name that is asked for."""

    def setUp(self) -> None:
        """As a guest."""
        super().setUp()
        self.session = self.make_session(Credentials(None, "walter"))

    def test_login(self) -> None:
        """The name is asked for on every connection, before anything else."""
        call = self.session.call("a", None, 5.0)
        self.assertNotIn("authorization", self.server.accept())
        (login,) = self.server.messages()
        self.assertEqual((login["method"], login["params"]), ("auth.login", {"name": "walter"}))
        self.server.answer(login, {"name": "walter", "roles": ["guest"]})
        self.assertEqual([message["method"] for message in self.server.messages()], ["a"])
        call.addErrback(lambda _: None)

    def test_taken(self) -> None:
        """A name that cannot be had is the end; nobody talks under another one unasked."""
        call = self.session.call("a", None, 5.0)
        self.server.accept()
        self.server.refuse(self.server.messages()[0], -32004, "conflict", detail="taken")
        self.failureResultOf(call, Conflict)
        self.assertEqual(self.session.state.name, "refused")

    def test_busy(self) -> None:
        """A server that says to log in later is asked again."""
        self.session.online()
        self.server.accept()
        self.server.refuse(self.server.messages()[0], -32005, "rate limited", retry_after=3)
        self.assertEqual(self.session.state.seconds, 3.75)

    def test_lost_while_logging_in(self) -> None:
        """A connection that breaks then is made again."""
        self.session.online()
        self.server.accept()
        self.server.lose()
        self.assertEqual(self.session.state.name, "waiting")
