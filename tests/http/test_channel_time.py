"""How long each thing may take, and how many there may be."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netsvc.http import requestlog
from netsvc.http.messages import Response, Upgrade
from netsvc.http.settings import HttpSettings
from netsvc.http.websocket import WebSocketConnection
from tests.http.channels import ChannelCase, Client, request

HANDSHAKE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


class Quiet:
    """A WebSocket application that does nothing."""

    def connected(self, connection: WebSocketConnection) -> None:
        """See IWebSocketApplication."""
        self.connection = connection

    def draining(self, return_after: float, close: Callable[[], None]) -> None:
        """See IWebSocketApplication."""
        close()

    def text(self, message: str) -> None:
        """See IWebSocketApplication."""

    def binary(self, data: bytes) -> None:
        """See IWebSocketApplication."""

    def disconnected(self, code: int, reason: str) -> None:
        """See IWebSocketApplication."""


class TimedCase(ChannelCase):
    """Times that are easy to tell apart."""

    settings = HttpSettings(
        head_timeout=10, body_timeout=20, idle_timeout=30, answer_timeout=40, write_timeout=50, linger_timeout=3, drain_timeout=60, max_body=1 << 20
    )

    def setUp(self) -> None:
        """A quick, a slow and a WebSocket route."""
        super().setUp()
        self.routes.add("GET", "/", lambda _: Response(204), public=True)
        self.routes.add("POST", "/", lambda _: Response(204), public=True)
        self.routes.add("GET", "/slow", self.ask, public=True)
        self.routes.add("GET", "/ws", lambda _: Upgrade(Quiet()), public=True)


class TimeoutTests(TimedCase):
    """Deadlines."""

    def lives_for(self, seconds: int) -> None:
        """Assert that the connection lives for some time, but not three ticks longer."""
        self.advance(seconds)
        self.assertEqual(self.client.ended, "")
        self.advance(3)

    def test_silence(self) -> None:
        """A new connection that says nothing is closed without a word."""
        self.lives_for(10)
        self.assertEqual((self.client.sent(), self.client.ended), (b"", "closed"))

    def test_after_a_quiet_time(self) -> None:
        """A connection that comes after hours without any has its whole time."""
        self.client.lose()
        self.clock.advance(10_000.5)
        self.client = Client(self.factory)
        self.lives_for(10)
        self.assertEqual(self.client.ended, "closed")

    def test_idle(self) -> None:
        """So is one that stays idle after a request; each request begins the time anew."""
        for _ in range(5):
            self.client.send(request())
            self.client.answer()
            self.advance(25)
        self.lives_for(5)
        self.assertEqual((self.client.sent(), self.client.ended), (b"", "closed"))

    def test_slow_head(self) -> None:
        """A head that does not get ready gets 408, however steadily its bytes come."""
        head = request("/", "X: " + "a" * 100)
        self.client.send(head[:10])
        for byte in range(10, 20):
            self.assertEqual(self.client.ended, "")
            self.advance(1)
            self.client.send(head[byte : byte + 1])
        self.advance(3)
        self.assertEqual((self.client.answer().status, self.client.ended), (408, "half closed"))

    def test_many_heads_in_halves(self) -> None:
        """A client that always is in the midst of a head is not slow if each is quick."""
        self.client.send(request()[:10])
        for _ in range(10):
            self.advance(5)
            self.client.send(request()[10:] + request()[:10])
        self.assertEqual((len(self.client.answers()), self.client.ended), (10, ""))

    def test_slow_body(self) -> None:
        """A body that does not get ready gets 408."""
        self.client.send(request("/", "Content-Length: 100", method="POST"))
        for _ in range(20):
            self.client.send(b"x")
            self.advance(1)
        self.advance(3)
        self.assertEqual((self.client.answer().status, self.client.ended), (408, "half closed"))

    def test_slow_answer(self) -> None:
        """A handler that is not ready in time is cancelled, and the client gets 504; the connection goes on."""
        self.client.send(request("/slow") + request("/"))
        cancelled: list[Any] = []
        self.asked[0][1].addErrback(lambda failure: cancelled.append(failure))
        self.lives_for(40)
        self.assertEqual([answer.status for answer in self.client.answers()], [504, 204])
        self.client.send(request("/"))
        self.assertEqual(self.client.answer().status, 204)

    def test_slow_answer_is_cancelled(self) -> None:
        """The handler hears of it."""
        cancelled: list[Any] = []
        self.routes.add("GET", "/cancel", lambda _: Deferred(cancelled.append), public=True)
        self.client.send(request("/cancel"))
        self.advance(43)
        self.assertEqual(len(cancelled), 1)

    def test_own_deadline(self) -> None:
        """A handler with a deadline of its own has all the time it takes; when the server stops, it is answered for like any other."""
        for stop in (False, True):
            self.setUp()
            self.routes.add("POST", "/call", self.ask, public=True, own_deadline=True)
            self.client.send(request("/call", method="POST", body=b"x") + request("/slow"))
            self.advance(500)
            self.assertEqual((self.client.sent(), self.client.ended), (b"", ""))
            if stop:
                self.asked[0][1].addErrback(lambda _: None)
                self.factory.drain(5.0)
                self.advance(5)
                self.assertEqual((self.client.answer().status, self.client.ended), (503, "closed"))
            else:
                self.asked[0][1].callback(Response(204))
                self.assertEqual(self.client.answer().status, 204)
                self.asked[1][1].addErrback(lambda _: None)
                self.lives_for(40)
                self.assertEqual(self.client.answer().status, 504)

    def test_stalled(self) -> None:
        """A client that takes nothing for the time is cut; one that takes a little now and then is not."""
        self.client.send(request())
        self.client.fill()
        self.client.moving = True
        self.advance(200)
        self.assertEqual(self.client.ended, "")
        self.client.moving = False
        self.advance(53)
        self.assertEqual(self.client.ended, "aborted")

    def test_stalled_at_the_end(self) -> None:
        """A client that was told the end, but takes its bytes slowly, has the same time for that."""
        self.client.moving = True
        self.client.send(request())
        self.client.fill()
        self.client.channel.drain()
        self.client.send(request())
        self.client.drain()
        self.client.fill()
        self.advance(100)
        self.assertEqual(self.client.ended, "closed")
        self.client.drain()
        self.advance(6)
        self.assertEqual(self.client.ended, "aborted")

    def test_does_not_close(self) -> None:
        """A connection that was closed and does not go away (TLS) is cut."""
        self.client.send(request("/", "Connection: close"))
        self.assertEqual(self.client.ended, "closed")
        self.advance(6)
        self.assertEqual(self.client.ended, "aborted")

    def test_nothing_is_left(self) -> None:
        """A lost connection leaves no timer."""
        self.client.send(request())
        self.client.lose()
        self.advance(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ShortTimes(ChannelCase):
    """Settings below a second."""

    settings = HttpSettings(head_timeout=0.2)

    def test_tick(self) -> None:
        """The wheel is fine enough for them."""
        self.clock.pump([0.05] * 11)
        self.assertEqual(self.client.ended, "closed")


class LimitTests(TimedCase):
    """How many connections there may be."""

    connections = 4
    connections_per_address = 2

    def test_per_address(self) -> None:
        """One more from an address is told 503 and when to come again, before it has said anything; others are served."""
        Client(self.factory)
        third = Client(self.factory)
        answer = third.answer()
        self.assertEqual((answer.status, answer.fields["retry-after"], third.ended), (503, "7", "half closed"))
        third.send(request())
        self.assertEqual(third.sent(), b"")
        self.assertEqual(Client(self.factory, "192.0.2.2").ended, "")

    def test_in_all(self) -> None:
        """One more than there may be in all is refused, from whatever address."""
        others = [Client(self.factory, f"192.0.2.{number}") for number in range(10, 13)]
        self.assertEqual([other.ended for other in others], [""] * 3)
        self.assertEqual(Client(self.factory, "192.0.2.20").answer().status, 503)
        self.assertEqual(len(self.factory), 4)

    def test_room_again(self) -> None:
        """When a connection is gone, there is room for another."""
        second = Client(self.factory)
        refused = Client(self.factory)
        second.lose()
        refused.lose()
        self.assertEqual((Client(self.factory).ended, len(self.factory)), ("", 2))

    def test_ipv6(self) -> None:
        """Of IPv6 a whole /64 counts as one address."""
        ends = [Client(self.factory, f"2001:db8::{number}").ended for number in (1, 2, 3)]
        self.assertEqual(ends, ["", "", "half closed"])
        self.assertEqual(Client(self.factory, "2001:db8:0:1::1").ended, "")

    def test_websockets_count(self) -> None:
        """A connection that has become a WebSocket counts until it is gone."""
        self.client.send(request("/ws", *HANDSHAKE))
        Client(self.factory)
        self.assertEqual(Client(self.factory).ended, "half closed")
        connection = self.client.owner
        self.assertIsInstance(connection, WebSocketConnection)
        connection.connectionLost(Failure(KeyError("gone")))
        self.assertEqual((len(self.factory), Client(self.factory).ended), (1, ""))

    def test_many_refused(self) -> None:
        """A flood above the cap is not even told."""
        Client(self.factory)
        flood = [Client(self.factory) for _ in range(300)]
        self.assertEqual({client.ended for client in flood[:250]}, {"half closed"})
        self.assertEqual({client.ended for client in flood[260:]}, {"aborted"})
        for client in flood:
            client.lose()
        self.assertEqual(Client(self.factory).ended, "half closed")


class NoLimitTests(TimedCase):
    """0 is no cap."""

    def test_many(self) -> None:
        """Any number may come."""
        self.assertEqual({Client(self.factory).ended for _ in range(100)}, {""})


class UnixTests(TimedCase):
    """UNIX sockets."""

    connections_per_address = 1

    def test_no_address(self) -> None:
        """They have no address to count."""

        class Local(Client):
            peer = "unix"  # type: ignore[assignment]

        self.assertEqual([Local(self.factory).ended for _ in range(3)], [""] * 3)


class DrainTests(TimedCase):
    """Coming to an end."""

    def test_idle(self) -> None:
        """Idle and new connections are closed at once, and the end is told when they are gone."""
        other = Client(self.factory)
        other.send(request())
        done = self.factory.drain()
        self.assertEqual((self.client.ended, other.ended), ("closed", "closed"))
        self.assertNoResult(done)
        self.client.lose()
        other.lose()
        self.assertIsNone(self.successResultOf(done))
        self.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_connections(self) -> None:
        """Without connections it is done at once, as often as it is asked for."""
        self.client.lose()
        self.successResultOf(self.factory.drain())
        self.successResultOf(self.factory.drain())

    def test_under_way(self) -> None:
        """What is under way is finished, said to be the last, and nothing after it is taken."""
        self.client.send(request("/slow"))
        done = self.factory.drain()
        self.assertEqual(self.client.ended, "")
        self.asked[0][1].callback(Response(204))
        self.assertEqual((self.client.answer().fields["connection"], self.client.ended), ("close", "closed"))
        self.client.lose()
        self.successResultOf(done)

    def test_answered(self) -> None:
        """A client that still takes the bytes of its last answer is not waited for once it has them; what it has asked besides is answered."""
        self.client.send(request())
        self.client.fill()
        self.client.channel.transport_full()
        asking = Client(self.factory)
        asking.fill()
        asking.channel.transport_full()
        asking.send(request())
        self.factory.drain()
        self.assertEqual((self.client.ended, asking.ended), ("closed", ""))
        asking.drain()
        self.assertEqual((asking.answer().fields["connection"], asking.ended), ("close", "half closed"))

    def test_unread(self) -> None:
        """A client that was not read from while it was answered has perhaps sent more: it can read its answers to the end before it is closed."""
        self.client.send(request("/slow"), request("/") * 2)
        self.assertFalse(self.client.reading)
        self.factory.drain()
        self.asked[0][1].callback(Response.text("a"))
        self.assertEqual([answer.fields.get("connection") for answer in self.client.answers()], ["close"])
        self.assertEqual((self.client.ended, self.client.reading), ("half closed", True))
        self.client.send(request())
        self.client.channel.readConnectionLost()
        self.assertEqual((self.client.sent(), self.client.ended), (b"", "closed"))

    def test_unread_for_good(self) -> None:
        """One that does not close its end then is waited for as long as for anybody who was refused."""
        self.client.send(request("/slow"), request("/"))
        done = self.factory.drain()
        self.asked[0][1].callback(Response.text("a"))
        self.advance(5)
        self.assertEqual(self.client.ended, "aborted")
        self.client.lose()
        self.successResultOf(done)

    def test_half_a_request(self) -> None:
        """A request that has begun to arrive is answered too."""
        self.client.send(request()[:5])
        self.factory.drain()
        self.client.send(request()[5:])
        self.assertEqual((self.client.answer().status, self.client.ended), (204, "closed"))

    def test_newcomers(self) -> None:
        """Who still gets in is served once."""
        self.factory.drain()
        late = Client(self.factory)
        late.send(request())
        self.assertEqual((late.answer().status, late.ended), (204, "closed"))

    def test_deadline(self) -> None:
        """What does not come to an end is cut."""
        self.client.send(request("/ws", *HANDSHAKE))
        slow = Client(self.factory)
        self.routes.add("GET", "/endless", lambda _: Deferred(), public=True)
        slow.send(request("/endless"))
        done = self.factory.drain()
        self.advance(30)
        self.assertEqual(slow.ended, "")
        self.advance(31)
        self.assertEqual(slow.ended, "aborted")
        slow.lose()
        self.successResultOf(done)

    def test_cut(self) -> None:
        """A handler that does not come to an end in the time given is answered for, with when to come again; what else is under way is cut."""
        self.routes.add("POST", "/body", lambda request: Response(204), public=True)
        cancelled: list[Any] = []
        self.routes.add("GET", "/endless", lambda _: Deferred(cancelled.append), public=True)
        self.client.send(request("/endless"))
        half = Client(self.factory)
        half.send(request("/body", "Content-Length: 100", method="POST") + b"x")
        self.factory.drain(5.0)
        self.advance(4)
        self.assertEqual((self.client.ended, half.ended), ("", ""))
        self.advance(1)
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.fields["retry-after"], answer.fields["connection"]), (503, "7", "close"))
        self.assertEqual((self.client.ended, half.ended, len(cancelled)), ("closed", "aborted", 1))

    def test_websockets_are_not_waited_for(self) -> None:
        """WebSockets are another's to drain."""
        self.client.send(request("/ws", *HANDSHAKE))
        self.successResultOf(self.factory.drain())


class AccessLogTests(ChannelCase):
    """[http] access_log."""

    settings = HttpSettings(access_log=True)

    def setUp(self) -> None:
        """Watch the log."""
        super().setUp()
        self.routes.add("GET", "/me", lambda _: Response.text("hello"))
        self.routes.add("GET", "/slow", self.ask, public=True)
        self.routes.add("GET", "/ws", lambda _: Upgrade(Quiet()), public=True)
        self.events: list[dict[str, Any]] = []
        self.patch(requestlog._log, "observer", self.events.append)

    def test_fields(self) -> None:
        """A line has method, path without query, status, bytes, time, peer, identity and request id."""
        self.client.send(request("/me?token=secret"))
        (event,) = self.events
        self.assertNotIn("secret", str(event))
        wanted = {"peer": "192.0.2.1", "identity": "alice", "method": "GET", "path": "/me", "status": 200, "size": 5, "milliseconds": 0.0}
        self.assertEqual({key: event[key] for key in wanted}, wanted)
        self.assertTrue(event["request_id"])

    def test_time(self) -> None:
        """The time is that between the end of the head and the answer."""
        self.client.send(request("/slow"))
        self.clock.advance(0.25)
        self.asked[0][1].callback(Response(204))
        self.assertEqual(self.events[0]["milliseconds"], 250.0)

    def test_each(self) -> None:
        """Whatever is answered has a line: errors, malformed requests, upgrades, clients that leave."""
        self.client.send(request("/nothing") + request("/ws", *HANDSHAKE))
        malformed = Client(self.factory)
        malformed.send(b"rubbish\r\n\r\n")
        leaving = Client(self.factory)
        leaving.send(request("/slow"))
        leaving.lose()
        self.assertEqual([(event["method"], event["status"]) for event in self.events], [("GET", 404), ("GET", 101), ("-", 400), ("GET", 499)])

    def test_body_that_does_not_come(self) -> None:
        """The line says what the refused request was, and how long it took."""
        self.routes.add("POST", "/post", lambda _: Response(204), public=True)
        self.client.send(request("/post?x=1", "Content-Length: 2", method="POST"))
        self.advance(100)
        (event,) = self.events
        self.assertEqual((event["method"], event["path"], event["status"]), ("POST", "/post", 408))
        self.assertGreaterEqual(event["milliseconds"], 1000.0)

    def test_off(self) -> None:
        """Without the setting there is none."""
        self.factory.access_log = False
        self.client.send(request("/me"))
        self.assertEqual(self.events, [])
