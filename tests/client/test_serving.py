"""Tests for netsvc.client.serving."""

from asyncio import CancelledError as TaskCancelledError
from functools import partial, wraps
from math import inf
from operator import add
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from netsvc.client.errors import Conflict, ConnectionLost, Forbidden, NotAuthenticated, NotFound
from netsvc.client.serving import Call, Provided
from tests.client.session_case import SessionCase


class ServingCase(SessionCase):
    """A client that provides what the test says."""

    def provide(self, function: Any, name: str = "weather.today", schema: Any = None) -> Provided:
        """Provide it, and be heard."""
        provided = Provided(self.session, name, schema, function)
        waiting = provided.provided()
        if self.session.state.name == "connecting":
            self.server.accept()
        (call,) = self.server.messages()
        self.assertEqual(call["method"], "rpc.provide")
        self.server.answer(call, {"name": name, "providers": 1})
        self.successResultOf(waiting)
        return provided

    def ask(self, params: Any = None, id: Any = 71, name: str = "weather.today", **members: Any) -> None:
        """Call it as the server does."""
        self.server.say({"jsonrpc": "2.0", "id": id, "method": name, "params": params, **members})

    def answered(self, params: Any = None, **members: Any) -> Any:
        """Call it, and give the answer."""
        self.ask(params, **members)
        (answer,) = self.server.messages()
        return answer


class Calls(ServingCase):
    """The server's calls."""

    def test_result(self) -> None:
        """Params come by position or by name; the result goes back with the call's id."""
        self.provide(lambda town="Oslo": f"rain in {town}")
        self.assertEqual(self.answered(["Bergen"]), {"jsonrpc": "2.0", "id": 71, "result": "rain in Bergen"})
        self.assertEqual(self.answered({"town": "Bodø"}, id="x")["result"], "rain in Bodø")
        self.assertEqual(self.answered()["result"], "rain in Oslo")

    def test_later(self) -> None:
        """A Deferred's or a coroutine's result is sent when it is there, each call's by itself."""
        results: list[Deferred[Any]] = []

        def function() -> "Deferred[Any]":
            results.append(Deferred())
            return results[-1]

        async def coroutine() -> Any:
            return await function()

        self.provide(function)
        self.provide(coroutine, "other")
        self.ask(id=1)
        self.ask(id=2, name="other")
        results[1].callback("second")
        results[0].callback("first")
        self.assertEqual([(answer["id"], answer["result"]) for answer in self.server.messages()], [(2, "second"), (1, "first")])

    def test_errors(self) -> None:
        """A CallFailed reaches the caller; of a bug nothing does, but the log has it."""

        def function(kind: str) -> Any:
            if kind == "bug":
                raise ZeroDivisionError("secret")
            if kind == "json":
                return object()
            if kind == "data":
                raise NotFound("not found", {"town": object()})
            if kind == "surrogate":
                raise NotFound("\ud83d")
            raise NotFound("not found", {"detail": "no such town"})

        self.provide(function)
        self.assertEqual(self.answered([""])["error"], {"code": -32003, "message": "not found", "data": {"detail": "no such town"}})
        for kind, logged in (("bug", ZeroDivisionError), ("json", TypeError), ("data", TypeError), ("surrogate", UnicodeEncodeError)):
            self.assertEqual(self.answered([kind])["error"], {"code": -32603, "message": "internal error"})
            self.assertEqual(len(self.flushLoggedErrors(logged)), 1)

    def test_cancelled_task(self) -> None:
        """A function that asks for the result of a task of asyncio that was cancelled harms nothing but its call."""

        def function() -> Any:
            raise TaskCancelledError

        self.provide(function)
        self.assertEqual(self.answered()["error"]["code"], -32007)

    def test_params(self) -> None:
        """Params that the function does not take are the caller's mistake."""
        self.provide(lambda town: town)
        for params in ([], [1, 2], {"x": 1}, None):
            self.assertEqual(self.answered(params)["error"]["code"], -32602)

    def test_call(self) -> None:
        """A function that asks for it by its annotation knows its call: the time that is left, and the way to tell of progress."""
        calls: list[Call] = []

        def function(call: Call, town: str) -> str:
            calls.append(call)
            call.progress({"rain": 0.5}, done=1, total=2)
            call.progress(done=2)
            return town

        async def later(call: "Call", town: str) -> str:
            return function(call, town)

        def elsewhere(call: Any, town: str) -> str:
            return function(call, town)

        elsewhere.__annotations__ = {"call": "Call", "town": "NoSuchType"}
        for number, each in enumerate((function, later, elsewhere)):
            self.provide(each, f"weather.{number}")
            for params in (["Oslo"], {"town": "Oslo"}):
                self.ask(params, "x", f"weather.{number}", deadline=2.5)
                told = [message.get("params", message.get("result")) for message in self.server.messages()]
                self.assertEqual(told, [{"data": {"rain": 0.5}, "done": 1, "total": 2, "id": "x"}, {"done": 2, "id": "x"}, "Oslo"])
        self.assertEqual(calls[-1].remaining(), 2.5)
        self.clock.advance(4)
        self.assertEqual(calls[-1].remaining(), 0)
        self.ask(["Oslo"], "x", "weather.0")
        self.assertEqual(calls[-1].remaining(), inf)
        self.server.messages()
        self.ask([], name="weather.0")
        self.assertEqual(self.server.messages()[0]["error"]["code"], -32602)

    def test_call_of_what_is_no_function(self) -> None:
        """So do methods, objects that can be called, and functions some of whose params are given already; others are given params alone."""

        class Weather:
            def __call__(self, call: Call, town: str) -> str:
                call.progress(done=1)
                return f"rain in {town}"

            def today(self, call: Call, town: str) -> str:
                return self(call, town)

        class Other:
            def __call__(self, town: Any) -> str:
                return f"rain in {town}"

        @wraps(Weather())
        def wrapped(*args: Any) -> str:
            return Weather()(*args)

        of_oslo = partial(partial(Weather()), town="Oslo")
        for number, (function, params, told) in enumerate(
            (
                (Weather(), ["Oslo"], 2),
                (Weather().today, ["Oslo"], 2),
                (partial(Weather().today), ["Oslo"], 2),
                (of_oslo, [], 2),
                (wrapped, ["Oslo"], 2),
                (Other(), ["Oslo"], 1),
                (partial(add, "rain in "), ["Oslo"], 1),
            )
        ):
            self.provide(function, f"weather.{number}")
            self.ask(params, "x", f"weather.{number}")
            messages = self.server.messages()
            self.assertEqual((len(messages), messages[-1].get("result")), (told, "rain in Oslo"), number)

    def test_caught_up(self) -> None:
        """Between the parts it can be waited until the caller has taken what was sent; the time for that is what the call has left."""

        async def count(call: Call, most: int) -> int:
            for number in range(most):
                call.progress(number)
                await call.caught_up()
            return most

        self.provide(count)
        for deadline in ({"deadline": 2.5}, {}):
            self.ask([2], "x", **deadline)
            for number in range(2):
                part, asked = self.server.messages()
                self.assertEqual(part["params"], {"data": number, "id": "x"})
                self.assertEqual((asked["method"], asked["params"], asked.get("deadline")), ("rpc.progress", {"id": "x"}, deadline.get("deadline")))
                self.server.answer(asked)
            self.assertEqual(self.server.messages()[0]["result"], 2)

    def test_caught_up_with_nobody(self) -> None:
        """Once the call is over that fails, and the function ends; a server that does not know how is not waited for."""
        ends: list[str] = []

        async def count(call: Call) -> int:
            try:
                await call.caught_up()
            except Exception as error:
                ends.append(type(error).__name__)
                raise
            return 1

        self.provide(count)
        for code, end, answer in ((-32003, "CancelledError", -32007), (-32007, "CancelledError", -32007), (-32008, "Overloaded", -32008), (-32601, "", None)):
            self.ask()
            self.server.refuse(self.server.messages()[0], code)
            self.assertEqual((ends or [""], self.server.messages()[0].get("error", {}).get("code")), ([end], answer))
            ends.clear()
        self.ask()
        self.server.messages()
        self.server.tell("rpc.cancel", {"id": 71})
        self.assertEqual((ends, self.server.messages()[0]["method"]), (["CancelledError"], "rpc.cancel"))

    def test_caught_up_on_another_connection(self) -> None:
        """A call that came by a connection which is lost is over, though there is another one."""
        calls: list[Call] = []

        def keep(call: Call) -> "Deferred[None]":
            calls.append(call)
            return Deferred()

        self.provide(keep)
        self.ask()
        for again in (False, True):
            if again:
                self.clock.advance(self.session.state.seconds)
                self.server.accept()
                self.server.messages()
            else:
                self.server.lose()
            self.failureResultOf(calls[0].caught_up(), CancelledError)  # type: ignore[arg-type]  # a Deferred
            self.assertEqual(self.server.messages(), [])

    def test_unknown(self) -> None:
        """What is not provided is no method."""
        self.provide(lambda: 1)
        self.assertEqual(self.answered(name="other")["error"]["code"], -32601)

    def test_deadline(self) -> None:
        """When the time is over the work is cancelled, and answered all the same."""
        cancelled: list[Any] = []
        work: Deferred[Any] = Deferred(cancelled.append)
        self.provide(lambda: work)
        self.ask(deadline=2.5)
        self.clock.advance(2.5)
        self.assertEqual(cancelled, [work])
        self.assertEqual(self.server.messages()[0]["error"]["code"], -32007)

    def test_cancelled(self) -> None:
        """So it is when nobody wants the answer any more."""
        cancelled: list[Any] = []
        self.provide(lambda: Deferred(cancelled.append))
        self.ask(id="x")
        self.server.tell("rpc.cancel", {"id": "y"})
        self.server.tell("rpc.cancel", {"id": "x"})
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.server.messages()[0]["error"]["code"], -32007)

    def test_cancelled_with_a_delay(self) -> None:
        """What ends some time after it is cancelled, as a task of asyncio does, is not waited for; what goes wrong in it is logged."""
        ends: list[Deferred[Any]] = []

        def function() -> "Deferred[Any]":
            work: Deferred[Any] = Deferred(lambda each: each.callback(None))
            ends.append(Deferred())
            return work.addCallback(lambda _, end=ends[-1]: end)

        self.provide(function)
        for outcome in ("late", Failure(CancelledError()), Failure(ZeroDivisionError())):
            self.ask(id=1)
            self.server.tell("rpc.cancel", {"id": 1})
            self.assertEqual(self.server.messages()[0]["error"]["code"], -32007)
            ends[-1].callback(outcome)
        self.assertEqual(self.server.messages(), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_connection_lost(self) -> None:
        """And when the connection is gone."""
        cancelled: list[Any] = []
        work: Deferred[Any] = Deferred(cancelled.append)
        self.provide(lambda: work)
        self.ask()
        self.server.lose()
        self.assertEqual(cancelled, [work])

    def test_the_same_id_again(self) -> None:
        """A restarted server counts anew: the end of a call on the former connection is not that of the call with its id."""
        stubborn: list[Deferred[Any]] = []

        async def function() -> None:
            for _ in range(2):
                stubborn.append(Deferred())
                try:
                    await stubborn[-1]
                except CancelledError:
                    continue

        self.provide(function)
        self.ask(id=1)
        self.server.lose()
        self.clock.advance(self.session.state.seconds)
        self.server.accept()
        self.server.answer(self.server.messages()[0], {})
        self.ask(id=1)
        stubborn[1].callback(None)
        self.server.tell("rpc.cancel", {"id": 1})
        self.assertEqual(len(stubborn), 4)


class Providing(ServingCase):
    """Being a provider."""

    def test_schema(self) -> None:
        """What is said of it goes along; on each new connection it is said again."""
        provided = Provided(self.session, "weather.today", {"idempotent": True}, lambda: 1)
        waiting = provided.provided()
        self.server.accept()
        self.server.lose()
        self.clock.advance(self.session.state.seconds)
        self.server.accept()
        (call,) = self.server.messages()
        self.assertEqual(call["params"], {"name": "weather.today", "schema": {"idempotent": True}})
        self.server.answer(call, {})
        self.successResultOf(waiting)

    def test_twice(self) -> None:
        """A client provides a name once; withdrawn, it can be provided again."""
        provided = self.provide(lambda: 1)
        self.assertRaises(ValueError, Provided, self.session, "weather.today", None, lambda: 2)
        provided.withdraw()
        provided.withdraw()
        (message,) = self.server.messages()
        self.assertEqual((message["method"], message["params"]), ("rpc.withdraw", {"name": "weather.today"}))
        self.failureResultOf(provided.provided(), ConnectionLost)
        self.provide(lambda: 2)
        self.assertEqual(self.answered()["result"], 2)

    def test_refused(self) -> None:
        """Who may not is told; later, when nobody waits for it, the log is."""
        provided = Provided(self.session, "rpc.x", None, lambda: 1)
        waiting = provided.provided()
        self.server.accept()
        self.server.refuse(self.server.messages()[0], -32004)
        self.failureResultOf(waiting, Conflict)
        self.provide(lambda: 1)
        self.server.lose()
        self.clock.advance(self.session.state.seconds)
        self.server.accept()
        self.server.refuse(self.server.messages()[0], -32002)
        self.assertEqual(len(self.flushLoggedErrors(Forbidden)), 1)
        self.assertEqual(self.answered()["error"]["code"], -32601)

    def test_later(self) -> None:
        """A server that has no time now is asked again, unless that is of no use any more."""
        provided = Provided(self.session, "weather.today", None, lambda: 1)
        waiting = provided.provided()
        self.server.accept()
        for _ in range(2):
            self.server.refuse(self.server.messages()[0], -32005, retry_after=2)
            self.clock.advance(4)
        self.server.answer(self.server.messages()[0], {})
        self.successResultOf(waiting)
        for lose in (True, False):
            other = Provided(self.session, "other", None, lambda: 1)
            waiting = other.provided()
            self.server.refuse(self.server.messages()[0], -32005, retry_after=2)
            if lose:
                self.ground.hang = True
                self.server.lose()
                self.clock.advance(3)
            other.withdraw()
            self.failureResultOf(waiting, ConnectionLost)
            if lose:
                self.ground.hang = False
                self.session.close()
                self.session = self.make_session(self.session._credentials)
                self.go_online()

    def test_put_off_after_its_end(self) -> None:
        """It was withdrawn before the server put it off: it is not provided again."""
        self.go_online()
        provided = Provided(self.session, "weather.today", None, lambda: 1)
        waiting = provided.provided()
        (call,) = self.server.messages()
        provided.withdraw()
        self.failureResultOf(waiting, ConnectionLost)
        self.server.refuse(call, -32005, retry_after=2)
        self.server.messages()
        self.clock.advance(5)
        self.assertEqual(self.server.messages(), [])

    def test_no_connection(self) -> None:
        """A session that ends, ends it."""
        provided = Provided(self.session, "weather.today", None, lambda: 1)
        waiting = provided.provided()
        self.server.respond(b"", 401)
        self.failureResultOf(waiting, NotAuthenticated)
        late = Provided(self.session, "other", None, lambda: 1)
        self.failureResultOf(late.provided(), NotAuthenticated)
