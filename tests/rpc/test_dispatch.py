"""Dispatch: calls that answer later, deadlines, batches, faults."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.procedures import Call, Registry, procedure
from netsvc.core.settings import LimitsSettings
from netsvc.errors import Conflict, Overloaded
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.settings import RpcSettings
from netsvc.store.memory import MemoryStore
from netsvc.wire.jsonrpc import Failed

GUEST = Identity("guest-1", ("guest",), guest=True)


class Slow:
    """Procedures that answer when they are told to, or wrongly."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.cancelled = 0
        self.keys: list[str | None] = []
        self.counted = 0
        self.fault: Exception | None = None

    @procedure("slow.wait", role="guest")
    def wait(self, call: Call) -> Deferred[Any]:
        """Answers later."""
        self.keys.append(call.key)
        done: Deferred[Any] = Deferred(self._cancel)
        self.waiting.append(done)
        return done

    def _cancel(self, done: Deferred[Any]) -> None:
        self.cancelled += 1

    @procedure("slow.stubborn", role="guest")
    async def stubborn(self, call: Call) -> float:
        """Waits twice, whatever happens to the first time."""
        try:
            await self.wait(call)
        except Exception:
            found: int = await self.wait(call)
        return 1 / found

    @procedure("slow.blocking", role="guest", blocking=True)
    def blocking(self, a: int) -> int:
        """Runs in a thread."""
        return a + 1

    @procedure("slow.thread", role="guest", blocking=True)
    def thread(self, call: Call, what: str) -> Any:
        """Does in a thread what is for the reactor's."""
        return getattr(call, what)(*(["slow.bug"] if what == "run" else []))

    @procedure("slow.bug", role="guest")
    def bug(self) -> None:
        """Raises what it should not."""
        raise RuntimeError("the secret is 42")

    @procedure("slow.object", role="guest")
    def object(self) -> Any:
        """Returns what is no JSON."""
        return object()

    @procedure("slow.big", role="guest")
    def big(self) -> str:
        """Returns much."""
        return "x" * 900

    @procedure("slow.count", role="guest")
    def count(self, step: int, room: str = "lobby") -> int:
        """Counts its calls, or fails."""
        if self.fault is not None:
            raise self.fault
        self.counted += step
        return self.counted

    @procedure("slow.outer", role="guest")
    async def outer(self, call: Call, method: str, params: list[Any]) -> list[Any]:
        """Calls another one."""
        started = call.clock.seconds()
        return [await call.run(method, *params), call.clock.seconds() - started]

    @procedure("slow.secret", role="admin")
    def secret(self) -> int:
        """Not for guests."""
        return 42

    @procedure("slow.dear", role="guest", cost=60)
    def dear(self) -> int:
        """Costs much."""
        return 1


class Guest:
    """A caller without a connection."""

    identity: Identity | None = GUEST
    peer = "192.0.2.1"
    connection = None

    def __init__(self, key: str | None = None) -> None:
        self.budget = Budgets(LimitsSettings(burst=100.0), lambda: 0.0).of(None, "192.0.2.1")
        self.key = key


class DispatchTests(TestCase):
    """Each test sends messages and reads the answers."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.slow = Slow()
        registry = Registry()
        registry.add(self.slow)
        self.threaded: list[Any] = []
        self.store = MemoryStore(self.clock)
        self.answers = Answers(self.store, self.clock, keep=100.0, longest=60.0)
        settings = RpcSettings(deadline=10.0, deadline_max=60.0, batch=5, batch_reply=2048)
        self.dispatcher = Dispatcher(registry, self.clock, settings, self.answers, self.in_thread, 256)
        self.caller = Guest()

    def in_thread(self, function: Any, *arguments: Any) -> "Deferred[Any]":
        """A thread that runs when it is told to."""
        done: Deferred[Any] = Deferred()
        self.threaded.append((done, function, arguments))
        return done

    def send(self, method: str, params: Any = None, identifier: Any = 1, **members: Any) -> Any:
        """Send one call."""
        message = {"jsonrpc": "2.0", "method": method, "id": identifier, **members}
        if params is not None:
            message["params"] = params
        return self.dispatcher.handle(json.dumps(message), self.caller)

    def test_later(self) -> None:
        """A Deferred's result is the answer when it is there."""
        answer = self.send("slow.wait")
        self.assertNoResult(answer)
        self.slow.waiting[0].callback([1])
        self.assertEqual(json.loads(self.successResultOf(answer)), {"jsonrpc": "2.0", "id": 1, "result": [1]})
        self.clock.advance(10.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_there_already(self) -> None:
        """A Deferred that has its result needs no deadline."""
        self.slow.wait = lambda call: 0  # type: ignore[assignment,method-assign]
        done: Deferred[Any] = Deferred()
        done.callback(7)
        procedure = self.dispatcher.registry.find("slow.wait")
        procedure.function = lambda call: done
        self.assertEqual(json.loads(self.send("slow.wait")), {"jsonrpc": "2.0", "id": 1, "result": 7})

    def test_failing_later(self) -> None:
        """A Deferred's failure is the error's code."""
        answer = self.send("slow.wait", identifier="x")
        self.slow.waiting[0].errback(Conflict("taken", by="bob"))
        self.assertEqual(
            json.loads(self.successResultOf(answer)),
            {"jsonrpc": "2.0", "id": "x", "error": {"code": -32004, "message": "conflict", "data": {"detail": "taken", "by": "bob"}}},
        )

    def test_deadline(self) -> None:
        """After its deadline a call is cancelled and answered: the caller's, the transport's, or the default, at most the maximum."""
        no, short, long, endless = ({}, *({"deadline": seconds} for seconds in (2, 30, 1000)))
        for members, deadline, seconds in ((no, None, 10), (short, 30.0, 2), (long, 2.0, 2), (no, 3.0, 3), (endless, None, 60)):
            message = json.dumps({"jsonrpc": "2.0", "method": "slow.wait", "id": 1, **members})
            answer = self.dispatcher.handle(message, self.caller, deadline)
            self.clock.advance(seconds - 0.1)
            self.assertNoResult(answer)  # type: ignore[arg-type]
            self.clock.pump([0.1] * 4)
            self.assertEqual(json.loads(self.successResultOf(answer))["error"]["code"], -32007)  # type: ignore[arg-type]
        self.assertEqual(self.slow.cancelled, 5)

    def test_no_time_left(self) -> None:
        """A caller that passes on what is left of its own time may have none: its call is not begun."""
        for deadline in (0, -3.5):
            self.assertEqual(self.send("slow.wait", deadline=deadline).code, -32007)
        self.assertEqual(self.slow.waiting, [])

    def test_a_coroutine_that_goes_on(self) -> None:
        """One that takes its cancellation for any other exception is not waited for; if it fails later, that is logged."""
        answer = self.send("slow.stubborn", identifier=7)
        self.clock.advance(10.0)
        error = json.loads(self.successResultOf(answer))["error"]
        self.assertEqual(error["code"], -32007)
        self.slow.waiting[1].callback(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        answer = self.send("slow.stubborn", identifier=7)
        self.slow.waiting[2].errback(RuntimeError())
        self.slow.waiting[3].callback(1)
        self.assertEqual(json.loads(self.successResultOf(answer))["result"], 1.0)

    def test_cancelled_by_the_transport(self) -> None:
        """A caller that has gone away cancels the call."""
        answer = self.send("slow.wait")
        answer.cancel()
        self.assertEqual(self.slow.cancelled, 1)
        self.assertEqual(json.loads(self.successResultOf(answer))["error"]["data"], {"detail": "cancelled"})
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_blocking(self) -> None:
        """A blocking procedure runs in a thread; when too many wait, the caller is told."""
        answer = self.send("slow.blocking", [4])
        done, function, arguments = self.threaded[0]
        done.callback(function(*arguments))
        self.assertEqual(json.loads(self.successResultOf(answer))["result"], 5)

        def refuse(*_: Any) -> Any:
            raise Overloaded("too many at once", retry_after=2)

        self.dispatcher._run_blocking = refuse
        failed = self.send("slow.blocking", [4])
        self.assertEqual((failed.code, failed.retry_after), (-32008, 2))

    def test_blocking_alone(self) -> None:
        """In a thread there is nothing that has to do with connections: to try is a bug, which is found at once."""
        for what in ("progress", "caught_up", "run"):
            self.send("slow.thread", [what])
            _, function, arguments = self.threaded[-1]
            self.assertIn("runs in a thread", str(self.assertRaises(RuntimeError, function, *arguments)))

    def test_a_bug_is_logged_and_not_shown(self) -> None:
        """The client gets a request id, the log the traceback under the same id."""
        answer = self.send("slow.bug")
        self.assertNotIn(b"42", answer)
        error = json.loads(answer)["error"]
        self.assertEqual(error["code"], -32603)
        self.assertTrue(error["data"]["request_id"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.send("slow.object").code, -32603)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_a_bug_in_a_notification(self) -> None:
        """Nothing is answered, all is logged."""
        self.assertIsNone(self.dispatcher.handle('{"jsonrpc":"2.0","method":"slow.bug"}', self.caller))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_notification_that_answers_later(self) -> None:
        """It has a Deferred, so that a connection can count it, and no answer."""
        answer = self.dispatcher.handle('{"jsonrpc":"2.0","method":"slow.wait"}', self.caller)
        self.slow.waiting[0].callback(1)
        self.assertIsNone(self.successResultOf(answer))  # type: ignore[arg-type]

    def test_ids(self) -> None:
        """An id comes back as it was sent, byte for byte; an object, an array or a boolean is none."""
        for identifier in ("1", '"a"', "null", "-1.50", "1e3", "12345678901234567890123", '"\\u00e9"'):
            answer = self.dispatcher.handle('{"jsonrpc":"2.0","method":"slow.big","id":%s}' % identifier, self.caller)  # noqa: UP031
            self.assertIn(b'"id":' + identifier.encode() + b",", answer)  # type: ignore[arg-type]
        for identifier in ("{}", "[]", "true"):
            answer = self.dispatcher.handle('{"jsonrpc":"2.0","method":"slow.big","id":%s}' % identifier, self.caller)  # noqa: UP031
            self.assertEqual(json.loads(answer)["error"]["code"], -32600)  # type: ignore[arg-type]

    def test_what_is_no_request(self) -> None:
        """Each fault has its code and says what is wrong."""
        for message, code, words in (
            ("", -32700, ""),
            ("nope", -32700, "malformed"),
            ("[" * 100_000, -32700, "nested too deeply"),
            ('{"jsonrpc":"2.0","method":"slow.big","params":' + "[" * 100_000 + "]" * 100_000 + "}", -32700, "nested too deeply"),
            ("3", -32600, "a request is a JSON object"),
            ('{"jsonrpc":"2.0","id":4}', -32600, '"method" is missing'),
            ('{"jsonrpc":"1.0","method":"slow.big","id":4}', -32600, '"jsonrpc" must be "2.0"'),
            ('{"method":"slow.big","id":4}', -32600, '"jsonrpc" must be "2.0"'),
            ('{"jsonrpc":"2.0","method":"slow.big","id":4,"params":"x"}', -32600, '"params" must be an object or an array'),
            ('{"jsonrpc":"2.0","method":"slow.big","id":4,"deadline":"x"}', -32600, '"deadline" must be a number'),
            ('{"jsonrpc":"2.0","method":"slow.big","id":4,"key":""}', -32600, '"key" must be a string of 1 to 200 characters'),
            ('{"jsonrpc":"2.0","method":"slow.big","id":4,"key":5}', -32600, '"key" must be a string of 1 to 200 characters'),
            ('{"jsonrpc":"2.0","method":"slow.blocking","id":4,"params":{"a":NaN}}', -32700, ""),
        ):
            answer = self.dispatcher.handle(message, self.caller)
            assert isinstance(answer, bytes), message[:80]
            error = json.loads(answer)["error"]
            self.assertEqual(error["code"], code, message[:80])
            self.assertIn(words, error["data"]["detail"])
        self.assertEqual(json.loads(self.dispatcher.not_utf8(self.caller))["error"]["code"], -32700)

    def test_batch_in_order_of_its_calls(self) -> None:
        """Whatever answers first."""
        answer = self.dispatcher.handle(
            '[{"jsonrpc":"2.0","method":"slow.wait","id":1},{"jsonrpc":"2.0","method":"slow.wait","id":2},'
            '{"jsonrpc":"2.0","method":"slow.nothing","id":3},{"jsonrpc":"2.0","method":"slow.wait"}]',
            self.caller,
        )
        first, second, third = self.slow.waiting
        third.callback(0)
        second.callback("b")
        self.assertNoResult(answer)  # type: ignore[arg-type]
        first.callback("a")
        results = json.loads(self.successResultOf(answer))  # type: ignore[arg-type]
        self.assertEqual([each["id"] for each in results], [1, 2, 3])
        self.assertEqual([each.get("result") for each in results], ["a", "b", None])

    def test_batch_with_the_key_of_a_header(self) -> None:
        """It is refused as a whole, at the cost of what is no call, and told where its keys belong: one key cannot be that of several calls."""
        caller = Guest("the key")
        left = caller.budget.remaining
        answer = self.dispatcher.handle('[{"jsonrpc":"2.0","method":"slow.count","id":1,"params":[1],"key":"its own"}]', caller)
        assert isinstance(answer, Failed)
        self.assertEqual((answer.code, self.slow.counted, left - caller.budget.remaining), (-32600, 0, 1))
        self.assertIn('each call has its own member "key"', json.loads(answer)["error"]["data"]["detail"])

    def test_batch_is_bounded(self) -> None:
        """In calls, and in bytes of the answers: what is over is an error in its place."""
        call = '{"jsonrpc":"2.0","method":"slow.big","id":%d}'
        answer = self.dispatcher.handle("[" + ",".join(call % number for number in range(6)) + "]", self.caller)
        self.assertEqual(answer.code, -32006)  # type: ignore[union-attr]
        answer = self.dispatcher.handle("[" + ",".join(call % number for number in range(4)) + "]", self.caller)
        results = json.loads(answer)  # type: ignore[arg-type]
        self.assertEqual([each.get("error", {}).get("code") for each in results], [None, None, -32006, -32006])
        self.assertEqual([each["id"] for each in results], [0, 1, 2, 3])

    def test_batch_pays_for_each_call(self) -> None:
        """A batch is no way around the budget."""
        call = '{"jsonrpc":"2.0","method":"slow.dear","id":%d}'
        results = json.loads(self.dispatcher.handle("[" + ",".join(call % number for number in range(3)) + "]", self.caller))  # type: ignore[arg-type]
        self.assertEqual([each.get("error", {}).get("code") for each in results], [None, -32005, -32005])
        self.assertGreater(results[1]["error"]["data"]["retry_after"], 0)

    def test_whatever_is_wrong_costs(self) -> None:
        """What is no call, a procedure that does not exist, and one that may not be called cost as calls do; then they are refused as too many."""
        budget = self.caller.budget
        left = budget.remaining
        for message, code in (
            ("nope", -32700),
            ("[]", -32600),
            ('{"jsonrpc":"2.0","id":1}', -32600),
            ('{"jsonrpc":"2.0","method":"no.such","id":1}', -32601),
            ('{"jsonrpc":"2.0","method":"slow.count","params":{"x":1},"id":1}', -32602),
            ('{"jsonrpc":"2.0","method":"slow.secret","id":1}', -32002),
            ('{"jsonrpc":"2.0","method":"slow.count","deadline":0,"id":1}', -32007),
            ("[" + ",".join(["1"] * 6) + "]", -32006),
        ):
            answer = self.dispatcher.handle(message, self.caller)
            assert isinstance(answer, Failed)
            self.assertEqual(answer.code, code, message)
            left -= 1
            self.assertEqual(budget.remaining, left, message)
        self.assertEqual(self.dispatcher.not_utf8(self.caller).code, -32700)
        self.dispatcher.handle("[1, 2]", self.caller)
        self.assertEqual(budget.remaining, left - 3)
        budget.charge(left - 3)
        for message in ("nope", '{"jsonrpc":"2.0","method":"no.such","id":1}', '{"jsonrpc":"2.0","method":"slow.secret","id":1}'):
            answer = self.dispatcher.handle(message, self.caller)
            assert isinstance(answer, Failed)
            self.assertEqual(answer.code, -32005, message)
        data = json.loads(answer)["error"]["data"]
        self.assertEqual((data["quota"], data["window"], data["remaining"], data["retry_after"]), (100, 2, 0, 0.02))

    def test_batch_cancelled(self) -> None:
        """A caller that has gone away waits for no batch, and the calls in it that are under way are cancelled."""
        answer = self.dispatcher.handle('[{"jsonrpc":"2.0","method":"slow.wait","id":1},{"jsonrpc":"2.0","method":"slow.wait","id":2}]', self.caller)
        self.slow.waiting[0].callback(1)
        answer.cancel()  # type: ignore[union-attr]
        self.assertIsNone(self.successResultOf(answer))  # type: ignore[arg-type]
        self.assertTrue(self.slow.waiting[1].called)

    def test_key(self) -> None:
        """A key gives the stored answer, in flight and later; a failure is not stored; other params are a conflict; it expires."""
        keyed = Guest("k")

        def send(params: Any = None) -> Any:
            message = {"jsonrpc": "2.0", "method": "slow.count", "id": 1, "params": params or {"step": 1}}
            answer = self.dispatcher.handle(json.dumps(message), keyed)
            return json.loads(self.successResultOf(answer) if isinstance(answer, Deferred) else answer)  # type: ignore[arg-type]

        self.slow.fault = Conflict("not yet")
        self.assertEqual(send()["error"]["code"], -32004)
        self.slow.fault = None
        self.assertEqual(send()["result"], 1)
        self.assertEqual(send()["result"], 1)
        self.assertEqual(send({"step": 2})["error"]["data"]["detail"].partition(":")[0], "this idempotency key was used with other params")
        keyed = Guest("k2")
        self.assertEqual(send()["result"], 2)
        self.clock.advance(101)
        self.assertEqual(send()["result"], 3)

    def test_key_in_the_message(self) -> None:
        """A message may bring its key itself, each element of a batch its own."""
        one, other = ('{"jsonrpc":"2.0","method":"slow.count","id":1,"params":[1],"key":"KEY"}'.replace("KEY", key) for key in "ab")
        for message, results in ((one, 1), (one, 1), (f"[{one},{other},{one}]", [1, 2, 1]), (other, 2)):
            answer = self.dispatcher.handle(message, self.caller)
            found = json.loads(self.successResultOf(answer) if isinstance(answer, Deferred) else answer)  # type: ignore[arg-type]
            self.assertEqual([each["result"] for each in found] if isinstance(found, list) else found["result"], results)
        self.assertEqual(self.dispatcher.handle(one.replace('"a"', "null"), self.caller), b'{"jsonrpc":"2.0","id":1,"result":3}')
        self.dispatcher.handle('{"jsonrpc":"2.0","method":"slow.wait","id":1,"key":"c"}', Guest("the header's"))
        self.assertEqual(self.slow.keys, ["c"])

    def test_key_in_flight(self) -> None:
        """Who repeats a call that is under way waits for its answer, or its failure."""
        message = '{"jsonrpc":"2.0","method":"slow.wait","id":1}'
        for outcome in (7, Conflict("taken")):
            keyed = Guest(str(outcome))
            first, second = self.dispatcher.handle(message, keyed), self.dispatcher.handle(message, keyed)
            other = self.dispatcher.handle('{"jsonrpc":"2.0","method":"slow.blocking","id":1,"params":[1]}', keyed)
            (waiting,) = self.slow.waiting
            self.slow.waiting.clear()
            if isinstance(outcome, int):
                waiting.callback(outcome)
            else:
                waiting.errback(outcome)
            self.assertEqual(self.successResultOf(first), self.successResultOf(second))  # type: ignore[arg-type]
            done, function, arguments = self.threaded.pop()
            done.callback(function(*arguments))
            self.assertEqual(json.loads(self.successResultOf(other))["result"], 2, "another procedure is another scope")  # type: ignore[arg-type]

    def test_key_outlives_its_caller(self) -> None:
        """A caller that leaves, or has no patience, cancels only its own wait: the call goes on, and the repeat gets its answer."""
        message = '{"jsonrpc":"2.0","method":"slow.wait","id":1}'
        keyed = Guest("k")
        gone = self.dispatcher.handle(message, keyed)
        hasty = self.dispatcher.handle(message, keyed, 1.0)
        repeat = self.dispatcher.handle(message, keyed)
        gone.cancel()  # type: ignore[union-attr]
        self.clock.pump([0.1] * 13)
        self.assertEqual(json.loads(self.successResultOf(hasty))["error"]["code"], -32007)  # type: ignore[arg-type]
        self.assertEqual((len(self.slow.waiting), self.slow.cancelled), (1, 0))
        self.slow.waiting[0].callback(7)
        again = self.dispatcher.handle(message, keyed)
        self.assertEqual(json.loads(self.successResultOf(repeat))["result"], 7)  # type: ignore[arg-type]
        self.assertEqual(again, b'{"jsonrpc":"2.0","id":1,"result":7}')

    def test_key_of_a_call_that_nobody_waits_for(self) -> None:
        """It is cancelled after the longest time that any call may take, its key is free again, and a bug of it is logged."""
        message = '{"jsonrpc":"2.0","method":"slow.wait","id":1}'
        self.dispatcher.handle(message, Guest("k")).cancel()  # type: ignore[union-attr]
        self.clock.advance(59.9)
        late = self.dispatcher.handle(message, Guest("k"))
        self.clock.advance(0.1)
        self.assertEqual(json.loads(self.successResultOf(late))["error"]["code"], -32007)  # type: ignore[arg-type]
        self.assertEqual((self.slow.cancelled, self.answers._under_way), (1, {}))
        self.dispatcher.handle(message, Guest("k")).cancel()  # type: ignore[union-attr]
        self.slow.waiting[1].errback(RuntimeError("a bug"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_key_in_flight_with_other_params(self) -> None:
        """A conflict at once."""
        keyed = Guest("k")
        messages = ['{"jsonrpc":"2.0","method":"slow.blocking","id":1,"params":[%d]}' % number for number in (1, 2)]  # noqa: UP031
        self.dispatcher.handle(messages[0], keyed)
        answer = self.dispatcher.handle(messages[1], keyed)
        self.assertEqual(json.loads(self.successResultOf(answer))["error"]["code"], -32004)  # type: ignore[arg-type]

    def outer(self, method: str, *params: Any, **members: Any) -> Any:
        """What is answered when a procedure calls another one."""
        answer = self.send("slow.outer", [method, params], **members)
        self.clock.pump([0.5] * 8)
        return json.loads(self.successResultOf(answer) if isinstance(answer, Deferred) else answer)

    def test_calls_within_calls(self) -> None:
        """A procedure calls another as its caller: at its cost, with its permissions and errors, and within its time."""
        left = self.caller.budget.remaining
        self.assertEqual(self.outer("slow.count", 2, "lobby")["result"], [2, 0.0])
        self.assertEqual(left - self.caller.budget.remaining, 2)
        self.assertEqual(self.outer("slow.secret")["error"]["code"], -32002)
        self.assertEqual(self.outer("slow.count", "x")["error"]["code"], -32602)
        self.assertEqual(self.outer("no.such")["error"]["code"], -32601)
        self.assertEqual(self.outer("slow.bug")["error"]["code"], -32603)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.outer("slow.wait", deadline=3)["error"]["code"], -32007)

    def test_before_login(self) -> None:
        """Without an identity only a login is possible."""
        self.caller.identity = None
        self.assertEqual(self.send("slow.big").code, -32001)
