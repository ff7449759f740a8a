"""Tests for netsvc.client.deferred: the client for Twisted."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from netsvc import client
from netsvc.client import Client, ConnectionLost, Event, Limits, deferred
from tests.client.memory import Connection, MemoryGround
from tests.client.test_feeds import joined

LIMITS = Limits(deadline=5.0)


class ClientTests(SynchronousTestCase):
    """What a program writes."""

    def setUp(self) -> None:
        """Connections are in memory."""
        self.ground = MemoryGround()

    @property
    def server(self) -> Connection:
        """The other end."""
        return self.ground.last

    def client(self, url: str) -> Client:
        """A client of this server."""
        return Client(url, "t", ground=self.ground, limits=LIMITS)

    def test_http(self) -> None:
        """``async with``, procedures as attributes, by position and by name; nothing is connected before the first call."""
        results: list[Any] = []

        async def program() -> None:
            async with self.client("http://h:1") as rpc:
                self.assertEqual(self.ground.connections, [])
                results.append(await rpc.math.add(2, 3))
                results.append(await rpc.using(deadline=2).math.add(a=2, b=3))
                self.assertEqual((rpc.state.name, rpc.limits), ("idle", LIMITS))

        running = Deferred.fromCoroutine(program())
        self.assertEqual(self.server.request()[1]["method"], "math.add")
        self.server.respond({"result": 5})
        headers, body = self.server.request()
        self.assertEqual((headers["x-deadline"], body["params"]), ("2.000", {"a": 2, "b": 3}))
        self.server.respond({"result": 6})
        self.ground.clock.advance(5)
        self.successResultOf(running)
        self.assertEqual(results, [5, 6])

    def test_websocket(self) -> None:
        """Rooms, notifications and states; leaving the block closes the connection."""
        heard: list[Any] = []

        async def program() -> None:
            async with self.client("ws://h:1") as rpc:
                rpc.watch(heard.append)
                rpc.on("chat.presence", heard.append)
                async with rpc.room("lobby", history=1) as room:
                    async for item in room:
                        heard.append(item)
                        break
                await rpc.room.set(room="lobby", topic="x")

        running = Deferred.fromCoroutine(program())
        self.server.accept()
        self.server.tell("chat.presence", {"count": 1})
        self.server.answer(self.server.messages()[0], joined(1))
        leave, call = self.server.messages()
        self.assertEqual((leave["method"], call["method"], call["params"]), ("chat.leave", "room.set", {"room": "lobby", "topic": "x"}))
        self.server.answer(call)
        self.assertNoResult(running)
        self.server.close(1000)
        self.ground.clock.advance(5)
        self.successResultOf(running)
        self.assertEqual([type(item) for item in heard], [dict, Event, client.State])

    def test_provide(self) -> None:
        """A procedure is provided once the server has said so."""

        async def program() -> Any:
            rpc = self.client("ws://h:1")
            return await rpc.provide("weather.today", lambda: "rain", {"summary": "The weather"})

        running = Deferred.fromCoroutine(program())
        self.server.accept()
        self.server.answer(self.server.messages()[0], {})
        self.successResultOf(running)
        self.server.say({"id": 1, "method": "weather.today"})
        self.assertEqual(self.server.messages()[0]["result"], "rain")

    def test_unreachable(self) -> None:
        """The block is not entered without a connection, and nothing is left behind."""
        self.ground.refuse = ConnectionRefusedError("refused")

        async def program() -> None:
            async with self.client("ws://h:1"):
                raise AssertionError("not reached")

        running = Deferred.fromCoroutine(program())
        self.ground.clock.pump([1] * 5)
        self.failureResultOf(running, ConnectionLost)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_reactor(self) -> None:
        """By default it is on the reactor of the process."""
        reactor = MemoryReactorClock()
        self.patch(deferred, "namedAny", lambda name: reactor)
        rpc = Client("http://127.0.0.1:8080")
        rpc.call("a").addErrback(lambda _: None)
        self.assertEqual(reactor.tcpClients[0][:2], ("127.0.0.1", 8080))

    def test_public_names(self) -> None:
        """What the package offers is what it says."""
        for name in client.__all__:
            self.assertTrue(hasattr(client, name))
