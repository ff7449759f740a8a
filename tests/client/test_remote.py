"""Tests for netsvc.client.remote."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.errors import ConnectionLost, DeadlinePassed, InvalidParams, Overloaded, RateLimited, Untrusted
from netsvc.client.limits import Limits
from netsvc.client.remote import Options, Remote, Target
from tests.client.memory import Connection, MemoryGround, middle

LIMITS = Limits(first=1.0, longest=8.0, attempts=3, deadline=30.0)


class RemoteCase(SynchronousTestCase):
    """A server as a client sees it."""

    def setUp(self) -> None:
        """Connections are in memory."""
        self.ground = MemoryGround()
        self.clock = self.ground.clock

    def remote(self, url: str, token: str | None = None, **options: Any) -> Remote:
        """As seen by this URL."""
        merged: Options = {"limits": LIMITS, **options}  # type: ignore[typeddict-item]
        return Remote(Target(url, token, **merged), self.ground, middle)

    @property
    def server(self) -> Connection:
        """The other end."""
        return self.ground.last


class Targets(SynchronousTestCase):
    """What a client is told."""

    def test_transport(self) -> None:
        """The URL says how calls go, unless it is said otherwise."""
        self.assertFalse(Target("http://h").websocket)
        self.assertTrue(Target("ws://h").websocket)
        self.assertTrue(Target("http://h", transport="websocket").websocket)
        self.assertFalse(Target("wss://h", transport="http").websocket)

    def test_mistaken_options(self) -> None:
        """What would silently mean something else is refused: a string is a tuple of letters, and * would match every procedure."""
        mistakes: tuple[Any, ...] = ({"transport": "ws"}, {"idempotent": "math.*"})
        for mistake in mistakes:
            self.assertRaises(ValueError, Target, "http://h", **mistake)

    def test_guests(self) -> None:
        """A guest's name can be asked for on a WebSocket only."""
        self.assertRaises(ValueError, Target, "http://h", name="walter")
        self.assertEqual(Target("ws://h", name="walter").credentials.guest, "walter")

    def test_proxy(self) -> None:
        """One that is named is asked, also for this computer; none if it is said so."""
        proxy = Target("http://127.0.0.1", proxy="http://p:1").proxy
        assert proxy is not None
        self.assertEqual(proxy.host, "p")
        self.assertIsNone(Target("http://outside.example", proxy="").proxy)

    def test_ca_file(self) -> None:
        """A file without certificates, and one that is not there."""
        empty = Path(self.mktemp())
        empty.write_text("nothing")
        self.assertRaises(ValueError, Target, "https://h", ca_file=empty)
        self.assertRaises(OSError, Target, "https://h", ca_file="/nowhere")


class HttpCalls(RemoteCase):
    """Calls over HTTP."""

    def setUp(self) -> None:
        """By an http: URL."""
        super().setUp()
        self.rpc = self.remote("http://h:1", idempotent=("math.*",))
        self.successResultOf(self.rpc.start())

    def respond(self, value: Any, status: int = 200) -> dict[str, str]:
        """Answer the request that is there; gives its headers."""
        headers, _ = self.server.request()
        self.server.respond(value, status)
        return headers

    def test_parts(self) -> None:
        """Parts of a result are passed on; once there was one the call is not made again, lest parts of two results mix."""
        told: list[Any] = []
        news, part = (b'{"method":"rpc.progress","params":{%b}}\n' % members for members in (b'"done":1', b'"data":1'))
        call = self.rpc.call("math.add", [1, 2], idempotent=True, progress=told.append)
        self.respond(news + b'{"error":{"code":-32008,"message":"later"}}', 200)
        self.clock.pump([1.0] * 5)
        self.respond(part + b'{"error":{"code":-32008,"message":"later"}}', 200)
        self.failureResultOf(call, Overloaded)
        self.assertEqual(told, [{"done": 1}, {"data": 1}])

    def test_parts_and_keys(self) -> None:
        """A call that wants parts has no key unless it is given one: what a server has kept for a key is the result alone."""
        for key, header in ((None, None), ("mine", '"mine"')):
            call = self.rpc.call("math.add", [1, 2], key=key, progress=lambda _: None)
            for _ in range(2):
                self.assertEqual(self.server.request()[0].get("idempotency-key"), header)
                self.server.lose()
                self.clock.advance(2)
            self.respond({"result": 3})
            self.assertEqual(self.successResultOf(call), 3)

    def busy(self, seconds: float) -> dict[str, str]:
        """Answer: not now."""
        return self.respond({"error": {"code": -32008, "message": "overloaded", "data": {"retry_after": seconds}}}, 503)

    def test_repeated(self) -> None:
        """An idempotent call is made again with the same key, after a wait that heeds the server's hint, with what is left of its time."""
        call = self.rpc.call("math.add", [2, 3])
        first = self.busy(2)
        self.assertNoResult(call)
        self.clock.advance(2.75)
        second = self.respond({"result": 5})
        self.assertEqual(self.successResultOf(call), 5)
        self.assertEqual(len(first["idempotency-key"]), 38)
        self.assertEqual(first["idempotency-key"], second["idempotency-key"])
        self.assertEqual((first["x-deadline"], second["x-deadline"]), ("30.000", "27.250"))

    def test_not_repeated(self) -> None:
        """Any other call is made once: whether it took effect is not known. It has no key."""
        call = self.rpc.call("orders.place", [1])
        self.assertNotIn("idempotency-key", self.busy(2))
        self.failureResultOf(call, Overloaded)
        call = self.rpc.call("math.add", [1], idempotent=False)
        self.server.lose()
        self.failureResultOf(call, ConnectionLost)

    def test_declared(self) -> None:
        """It may be said for one call, or by a key of one's own."""
        call = self.rpc.call("orders.place", [1], idempotent=True)
        self.server.lose()
        self.clock.advance(0.75)
        self.respond({"result": 1})
        self.assertEqual(self.successResultOf(call), 1)
        call = self.rpc.call("orders.place", [1], key="mine")
        self.server.lose()
        self.clock.advance(0.75)
        self.assertEqual(self.respond({"result": 2})["idempotency-key"], '"mine"')
        self.assertEqual(self.successResultOf(call), 2)

    def test_reading(self) -> None:
        """What only reads may always be called again, and needs no key."""
        call = self.rpc.call("chat.history", {"room": "lobby"})
        self.assertNotIn("idempotency-key", self.busy(0))
        self.clock.advance(0.75)
        self.respond({"result": {}})
        self.assertEqual(self.successResultOf(call), {})

    def test_attempts(self) -> None:
        """So many attempts, and no more; waits double."""
        self.ground.refuse = ConnectionRefusedError("refused")
        call = self.rpc.call("math.add", [1])
        self.clock.advance(0.75)
        self.assertNoResult(call)
        self.clock.advance(1.5)
        self.failureResultOf(call, ConnectionLost)

    def test_no_time_left(self) -> None:
        """Who has no time left gets none: 0 is no default."""
        for deadline in (0, -1):
            call = self.rpc.call("math.add", [1], deadline=deadline)
            self.clock.advance(0.01)
            self.failureResultOf(call, DeadlinePassed)

    def test_deadline_over_attempts(self) -> None:
        """No attempt is waited for that would begin too late: why the last one failed is said at once."""
        call = self.rpc.call("math.add", [1], deadline=4)
        self.busy(4)
        self.failureResultOf(call, Overloaded)

    def test_other_errors(self) -> None:
        """An error that would come again is raised at once; so is a certificate that is not trusted."""
        call = self.rpc.call("math.add", [1])
        self.respond({"error": {"code": -32602, "message": "no"}}, 400)
        self.failureResultOf(call, InvalidParams)
        self.ground.refuse = Untrusted("no")
        rpc = self.remote("http://h:2", idempotent=("math.*",))
        self.failureResultOf(rpc.call("math.add", [1]), Untrusted)

    def test_rate_limited(self) -> None:
        """A budget that is spent is waited for."""
        call = self.rpc.call("math.add", [1])
        self.respond({"error": {"code": -32005, "message": "slow", "data": {"retry_after": 40}}}, 429)
        self.failureResultOf(call, RateLimited)

    def test_put_off(self) -> None:
        """Being put off does not count as an attempt: it goes on until the deadline."""
        call = self.rpc.call("math.add", [1], deadline=60)
        for wait in (0.75, 1.5, 3.0, 6.0, 6.0):
            self.busy(0)
            self.clock.advance(wait)
        self.respond({"result": 1})
        self.assertEqual(self.successResultOf(call), 1)

    def test_cancel(self) -> None:
        """A call can be cancelled while it waits for its next attempt."""
        call = self.rpc.call("math.add", [1])
        self.busy(1)
        call.cancel()
        self.failureResultOf(call)
        self.clock.advance(3)
        self.assertEqual(self.server.sent(), b"")

    def test_cancel_an_attempt(self) -> None:
        """A call that is cancelled is not made again."""
        call = self.rpc.call("math.add", [1])
        call.cancel()
        self.failureResultOf(call, CancelledError)
        self.clock.advance(3)
        self.assertEqual(len(self.ground.connections), 1)

    def test_in_flight(self) -> None:
        """Of more calls than may be under way the rest wait, in turn, but not beyond their deadlines."""
        rpc = self.remote("http://h:1", limits=Limits(in_flight=2))
        calls = [rpc.call("a", [number], deadline=5 + number) for number in range(4)]
        self.assertEqual(len(self.ground.connections), 2)
        self.ground.connections[0].request()
        self.ground.connections[0].respond({"result": "first"})
        self.assertEqual(self.successResultOf(calls[0]), "first")
        self.assertEqual(self.ground.connections[0].request()[1]["params"], [2])
        self.clock.advance(7)
        for late in calls[1:3]:
            self.failureResultOf(late, DeadlinePassed)
        self.clock.advance(1)
        self.failureResultOf(calls[3], DeadlinePassed)
        rpc = self.remote("http://h:1", limits=Limits(in_flight=1))
        rpc.call("a", deadline=9).addErrback(lambda _: None)
        waiting = rpc.call("a", deadline=3)
        self.clock.advance(3)
        self.assertIn("waited", str(self.failureResultOf(waiting, DeadlinePassed).value))

    def test_closed(self) -> None:
        """A closed client calls nobody."""
        self.successResultOf(self.rpc.close())
        self.failureResultOf(self.rpc.call("a"), ConnectionLost)

    def test_closed_with_many_waiting(self) -> None:
        """Calls that wait for their turn fail when the client is closed, however many they are."""
        for url in ("ws://h:1", "http://h:1"):
            rpc = self.remote(url, limits=Limits(in_flight=2, deadline=30.0))
            calls = [rpc.call("a") for _ in range(3000)]
            connections = len(self.ground.connections)
            rpc.close()
            for call in calls:
                self.failureResultOf(call, ConnectionLost)
            self.assertEqual(len(self.ground.connections), connections)

    def test_closed_between_attempts(self) -> None:
        """A call is not made again by a closed client."""
        rpc = self.remote("http://h:1", idempotent=("math.*",))
        call = rpc.call("math.add", [1])
        self.server.request()
        self.server.respond({"error": {"code": -32008, "message": "later", "data": {"retry_after": 1}}}, 503)
        rpc.close()
        self.clock.advance(10)
        self.failureResultOf(call, ConnectionLost)
        self.assertEqual(len(self.ground.connections), 1)

    def test_many_that_fail_at_once(self) -> None:
        """Calls that cannot be sent at all do not keep those behind them waiting."""
        rpc = self.remote("http://h:1", limits=Limits(in_flight=1))
        first = rpc.call("a")
        bad = [rpc.call("a", ["\ud800"]) for _ in range(3000)]
        last = rpc.call("a", ["last"])
        self.server.request()
        self.server.respond({"result": 1})
        self.assertEqual(self.successResultOf(first), 1)
        for call in bad:
            self.failureResultOf(call, ValueError)
        self.assertEqual(self.server.request()[1]["params"], ["last"])
        self.server.respond({"result": 2})
        self.assertEqual(self.successResultOf(last), 2)


class WebSocketCalls(RemoteCase):
    """Calls over a WebSocket."""

    def online(self, **options: Any) -> Remote:
        """Connected."""
        rpc = self.remote("ws://h:1", **options)
        started = rpc.start()
        self.server.accept()
        if rpc.session.state.name != "online":
            self.server.answer(self.server.messages()[0], {})
        self.successResultOf(started)
        return rpc

    def test_call(self) -> None:
        """It goes over the WebSocket, with its deadline."""
        rpc = self.online()
        call = rpc.call("math.add", [2, 3], deadline=4)
        (message,) = self.server.messages()
        self.assertEqual((message["params"], message["deadline"]), ([2, 3], 4.0))
        self.server.answer(message, 5)
        self.assertEqual(self.successResultOf(call), 5)

    def test_not_reached(self) -> None:
        """Beginning fails when there is no connection in time, with the reason."""
        self.ground.refuse = ConnectionRefusedError("refused")
        started = self.remote("ws://h:1").start()
        self.clock.pump([1] * 30)
        self.assertIn("refused", str(self.failureResultOf(started, ConnectionLost).value))

    def test_repeated(self) -> None:
        """A call that may be made again is, on the next connection; others fail with the one that they were sent on."""
        rpc = self.online(idempotent=("math.*",))
        again, once = rpc.call("math.add", [1]), rpc.call("orders.place", [1])
        self.server.lose()
        self.failureResultOf(once, ConnectionLost)
        self.clock.advance(0.75)
        self.server.accept()
        (message,) = self.server.messages()
        self.server.answer(message, 2)
        self.assertEqual(self.successResultOf(again), 2)

    def test_keys(self) -> None:
        """A key goes beside the params, its own with every attempt; what only reads has none."""
        rpc = self.online(idempotent=("math.*",))
        rpc.call("orders.place", [1], key="k").addErrback(lambda _: None)
        (placed,) = self.server.messages()
        self.assertEqual((placed["params"], placed["key"]), ([1], "k"))
        rpc.call("math.add", [1])
        (first,) = self.server.messages()
        self.assertEqual(len(first["key"]), 36)
        self.server.lose()
        self.clock.advance(0.75)
        self.server.accept()
        self.assertIn(first["key"], [message["key"] for message in self.server.messages()])
        rpc.call("chat.history", ["lobby"])
        self.assertNotIn("key", self.server.messages()[0])

    def test_listening(self) -> None:
        """Notifications, states and rooms are the session's."""
        rpc = self.online()
        heard: list[Any] = []
        rpc.on("chat.presence", heard.append)
        rpc.watch(heard.append)
        self.server.tell("chat.presence", {"count": 1})
        feed = rpc.follow("lobby", history=3)
        self.assertEqual(self.server.messages()[0]["params"], {"room": "lobby", "limit": 3})
        closing = rpc.close()
        self.failureResultOf(feed.next(), ConnectionLost)
        self.assertNoResult(closing)
        self.server.close(1000)
        self.successResultOf(closing)
        self.assertEqual([heard[0], heard[-1].name], [{"count": 1}, "closed"])
