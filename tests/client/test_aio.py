"""Tests for netsvc.client.aio: the client for asyncio, on an event loop of asyncio with connections in memory."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client import Call, ConnectionLost, Event, InvalidParams, Limits, aio
from netsvc.client.loop import LoopEndpoint
from tests.client.memory import Connection, MemoryGround
from tests.client.test_feeds import joined

LIMITS = Limits(deadline=5.0)


class ClientTests(SynchronousTestCase):
    """What a program writes."""

    def setUp(self) -> None:
        """Connections are in memory; the loop is real."""
        self.ground = MemoryGround()
        self.patch(aio, "LoopGround", lambda loop: self.ground)
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)

    @property
    def server(self) -> Connection:
        """The other end."""
        return self.ground.last

    def client(self, url: str) -> aio.Client:
        """A client of this server."""
        return aio.Client(url, "t", limits=LIMITS)

    def start(self, program: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a program until it has to wait."""
        task = self.loop.create_task(program)
        self.turn()
        return task

    def turn(self) -> None:
        """Let it do what it can do."""
        for _ in range(5):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def test_http(self) -> None:
        """``async with``, procedures as attributes, errors with their classes."""

        async def program() -> Any:
            async with self.client("http://h:1") as rpc:
                total = await rpc.math.add(2, 3)
                try:
                    await rpc.using(deadline=2).math.add(a=2)
                except InvalidParams as error:
                    return total, error.code, rpc.state.name, rpc.limits

        task = self.start(program())
        self.assertEqual(self.server.request()[1]["params"], [2, 3])
        self.server.respond({"result": 5})
        self.turn()
        self.assertEqual(self.server.request()[0]["x-deadline"], "2.000")
        self.server.respond({"error": {"code": -32602, "message": "no"}}, 400)
        self.turn()
        self.ground.clock.advance(5)
        self.turn()
        self.assertEqual(task.result(), (5, -32602, "idle", LIMITS))

    def test_websocket(self) -> None:
        """Rooms, notifications and states."""
        heard: list[Any] = []

        async def program() -> Any:
            async with self.client("ws://h:1") as rpc:
                rpc.watch(heard.append)
                rpc.on("chat.presence", heard.append)
                async with rpc.room("lobby", history=2) as room:
                    async for item in room:
                        heard.append(item)
                        break
                    await room.joined()
                    self.assertEqual((room.cursor, room.present["count"]), ("e:1", 1))
                    room.leave()
                    return [item async for item in room]

        task = self.start(program())
        self.server.accept()
        self.turn()
        self.server.tell("chat.presence", {"count": 1})
        self.server.answer(self.server.messages()[0], joined(1, 2))
        self.turn()
        self.server.close(1000)
        self.turn()
        self.assertEqual(task.result(), [])
        self.assertEqual([type(item) for item in heard[:2]], [dict, Event])
        self.assertEqual(heard[-1].name, "closed")

    def test_provide(self) -> None:
        """A procedure may be a coroutine function, or a function."""

        async def weather(town: str) -> str:
            await asyncio.sleep(0)
            return f"rain in {town}"

        async def program() -> None:
            await rpc.provide("weather.today", weather)
            await rpc.provide("weather.code", lambda: 7)

        rpc = self.client("ws://h:1")
        task = self.start(program())
        self.server.accept()
        for _ in range(2):
            self.turn()
            self.server.answer(self.server.messages()[0], {})
        self.turn()
        self.assertTrue(task.done())
        calls = {"id": 1, "method": "weather.today", "params": ["Oslo"]}, {"id": 2, "method": "weather.today"}, {"id": 3, "method": "weather.code"}
        for call in calls:
            self.loop.call_soon(self.server.say, call)
        self.turn()
        answers = {answer["id"]: answer for answer in self.server.messages()}
        self.assertEqual((answers[1]["result"], answers[2]["error"]["code"], answers[3]["result"]), ("rain in Oslo", -32602, 7))

    def test_cancel_what_is_provided(self) -> None:
        """Nobody wants the answer any more: the coroutine is cancelled, and that is all."""
        cancelled: list[int] = []

        async def weather(number: int) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(number)
                raise

        rpc = self.client("ws://h:1")
        task = self.start(rpc.provide("weather.today", weather))
        self.server.accept()
        self.turn()
        self.server.answer(self.server.messages()[0], {})
        self.turn()
        self.assertTrue(task.done())
        self.loop.call_soon(self.server.say, {"id": 1, "method": "weather.today", "params": [5]})
        self.turn()
        self.loop.call_soon(self.server.tell, "rpc.cancel", {"id": 1})
        self.turn()
        self.assertEqual(cancelled, [5])
        self.assertEqual([answer["error"]["code"] for answer in self.server.messages()], [-32007])
        gc.collect()  # which is when Twisted tells of an error that nobody has heard of

    def test_caught_up(self) -> None:
        """Waiting for the caller is waited for as asyncio does; when the call is over it is as if the task had been cancelled."""
        ends: list[Any] = []
        answers: list[Any] = []

        async def count(call: Call) -> str:
            try:
                call.progress("part")
                ends.append(await call.caught_up())
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
            return "whole"

        rpc = self.client("ws://h:1")
        self.start(rpc.provide("count.up", count))
        self.server.accept()
        self.turn()
        self.server.answer(self.server.messages()[0], {})
        self.turn()
        for refused in (False, True):
            self.loop.call_soon(self.server.say, {"id": 1, "method": "count.up", "params": []})
            self.turn()
            _, asked = self.server.messages()
            self.loop.call_soon(*(self.server.refuse, asked, -32003) if refused else (self.server.answer, asked))
            self.turn()
            answers += self.server.messages()
        self.assertEqual((ends, answers[0]["result"], answers[1]["error"]["code"]), ([None, "cancelled"], "whole", -32007))

    def test_cancel(self) -> None:
        """Cancelling who waits cancels what is waited for."""
        task = self.start(self.client("http://h:1").call("a"))
        task.cancel()
        self.turn()
        self.assertTrue(task.cancelled())
        self.assertTrue(self.server.over)

    def test_unreachable(self) -> None:
        """The block is not entered without a connection."""
        self.ground.refuse = ConnectionRefusedError("refused")

        async def program() -> None:
            async with self.client("ws://h:1"):
                raise AssertionError("not reached")

        task = self.start(program())
        self.ground.clock.pump([1] * 5)
        self.turn()
        self.assertIsInstance(task.exception(), ConnectionLost)
        self.assertEqual(self.ground.clock.getDelayedCalls(), [])

    def test_one_loop(self) -> None:
        """A client cannot go from one loop to another."""
        rpc = self.client("http://h:1")
        self.start(rpc.close())
        other = asyncio.new_event_loop()
        self.addCleanup(other.close)
        self.assertRaises(RuntimeError, other.run_until_complete, rpc.close())


class GroundTests(SynchronousTestCase):
    """What the client stands on."""

    def test_loop(self) -> None:
        """The loop's time, and its connections."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        ground = aio.LoopGround(loop)
        self.assertLessEqual(ground.clock.seconds(), loop.time())
        self.assertIsInstance(ground.endpoint("h", 1, 2.0), LoopEndpoint)
