"""``POST /RPC2``, ``system.multicall`` and ``system.getCapabilities``."""

import json
import xmlrpc.client
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.procedures import Call, Registry, procedure
from netsvc.core.settings import LimitsSettings
from netsvc.errors import NotAuthenticated, Overloaded, RateLimited
from netsvc.examples import arithmetic
from netsvc.http.messages import Request, Response
from netsvc.rpc.connection import RpcService
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.endpoint import RpcEndpoint
from netsvc.rpc.procedures import AuthProcedures, ConventionProcedures, ServerProcedures, SystemProcedures
from netsvc.rpc.settings import RpcSettings
from netsvc.rpc.xmlrpc import XmlRpcEndpoint
from netsvc.store.memory import MemoryStore

GUEST = Identity("guest-1", ("guest",), guest=True)
NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


class Colour(Enum):
    """A choice."""

    RED = "red"


class Thing(msgspec.Struct):
    """A result of many types."""

    at: datetime
    data: bytes
    colour: Colour
    by_number: dict[int, tuple[int, float]]
    big: int = 2**40
    nothing: None = None


class Odd:
    """Procedures with something to see."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.calls: list[Call] = []
        self.cancelled: list[Deferred[Any]] = []

    @procedure("odd.wait", role="guest")
    def wait(self, call: Call) -> Deferred[Any]:
        """Answers later."""
        self.calls.append(call)
        self.waiting.append(Deferred(self.cancelled.append))
        return self.waiting[-1]

    @procedure("odd.await", role="guest")
    async def await_(self, call: Call) -> Any:
        """Answers later, as a coroutine."""
        return await self.wait(call)

    @procedure("odd.echo", role="guest")
    def echo(self, value: Any) -> Any:
        """The same."""
        return value

    @procedure("odd.thing", role="guest")
    def thing(self, at: datetime, data: bytes) -> Thing:
        """Of many types."""
        return Thing(at, data, Colour.RED, {1: (2, 3.0)})

    @procedure("odd.object", role="guest")
    def object(self) -> Any:
        """What no codec knows."""
        return object()

    @procedure("odd.infinite", role="guest")
    def infinite(self) -> float:
        """What JSON has no number for."""
        return float("inf")

    @procedure("odd.bug", role="guest", cost=3)
    def bug(self) -> None:
        """A bug."""
        raise KeyError("secret")

    @procedure("odd.limited", role="guest")
    def limited(self) -> None:
        """Always too much."""
        raise RateLimited("too much", retry_after=2.2)

    @procedure("odd.block", role="guest", blocking=True)
    def block(self, a: int) -> int:
        """In a thread."""
        return a


class Case(TestCase):
    """Tests of the endpoint, without a network."""

    settings = RpcSettings(batch=5, batch_reply=1024, deadline=30.0, deadline_max=60.0)
    limits = LimitsSettings(rate=True, calls_per_second=1.0, burst=20)

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.odd = Odd()
        registry = Registry()
        self.blocked: list[Any] = []
        dispatcher = Dispatcher(registry, self.clock, self.settings, Answers(MemoryStore(), self.clock, 60.0, 60.0), self.run_blocking, 256)  # type: ignore[arg-type]
        system = SystemProcedures(registry, "title")
        server = ServerProcedures(lambda: 1.0, lambda: {})
        convention = ConventionProcedures(dispatcher, self.settings)
        for source in (arithmetic, self.odd, system, server, convention, AuthProcedures(None)):  # type: ignore[arg-type]  # nobody logs in
            registry.add(source)
        self.budgets = Budgets(self.limits, self.clock.seconds)
        service = RpcService(dispatcher, self.budgets, None, None, 4, 256 * 1024, 30.0)  # type: ignore[arg-type]
        self.identity: Any = GUEST
        self.endpoint = XmlRpcEndpoint(service, lambda request: self.authenticate(), self.settings)
        self.json = RpcEndpoint(service, lambda request: self.authenticate(), "title", "1.0")

    def authenticate(self) -> Any:
        """Whoever a test says."""
        if isinstance(self.identity, Exception):
            raise self.identity
        return self.identity

    def run_blocking(self, function: Any, *arguments: Any) -> Deferred[Any]:
        """Runs it now, and notes it."""
        self.blocked.append(arguments)
        if len(self.blocked) > 1:
            raise Overloaded("too many", retry_after=1)
        return succeed(function(*arguments))

    def post(self, body: bytes, *headers: tuple[bytes, bytes]) -> Deferred[Any]:
        """POST /RPC2."""
        return Deferred.fromCoroutine(self.endpoint.post(Request("POST", b"/RPC2", list(headers), "192.0.2.1", body=body)))

    def start(self, method: str, *params: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Deferred[Any]:
        """A call."""
        return self.post(xmlrpc.client.dumps(params, method, allow_none=True).encode(), *headers)

    def read(self, answer: Deferred[Any]) -> Any:
        """The result that is there, or xmlrpc.client.Fault."""
        response = self.successResultOf(answer)
        self.assertIsInstance(response, Response)
        self.assertEqual((response.status, response.media_type), (200, b"text/xml; charset=utf-8"))
        return xmlrpc.client.loads(response.body, use_builtin_types=True)[0][0]

    def result(self, method: str, *params: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Any:
        """A call's result."""
        return self.read(self.start(method, *params, headers=headers))

    def fault(self, method: str, *params: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[int, str]:
        """A call's fault."""
        fault = self.assertRaises(xmlrpc.client.Fault, self.result, method, *params, headers=headers)
        return fault.faultCode, fault.faultString

    def json_call(self, method: str, params: Any) -> Any:
        """The same over JSON-RPC; the response."""
        return json.loads(self.json_post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).body)

    def json_post(self, message: Any) -> Any:
        """What POST /rpc answers."""
        answer = self.json.post(Request("POST", b"/rpc", [], "192.0.2.1", body=json.dumps(message).encode()))
        return self.successResultOf(answer) if isinstance(answer, Deferred) else answer


class EndpointTests(Case):
    """One call."""

    def test_types(self) -> None:
        """Values go in by their XML-RPC types and come out by them: times and bytes are none of JSON's texts."""
        self.assertEqual(self.result("math.add", 2, 3), 5)
        self.assertEqual(self.result("math.divide", 3, 2), 1.5)
        thing = {"at": NOON.replace(tzinfo=None), "data": b"\x00", "colour": "red", "by_number": {"1": [2, 3.0]}, "big": 2**40, "nothing": None}
        self.assertEqual(self.result("odd.thing", NOON.replace(tzinfo=None), b"\x00"), thing)
        self.assertEqual(self.result("odd.thing", "2026-01-31T12:00:00Z", "AA=="), thing)
        value = {"a": [1, None, True, "x", 1.5, {"b": b"c"}]}
        self.assertEqual(self.result("odd.echo", value), value)

    def test_faults_are_those_of_json(self) -> None:
        """The same mistake has the same code and the same words."""
        for method, params in (
            ("nothing", []),
            ("math.add", []),
            ("math.add", [1]),
            ("math.add", [1, 2, 3]),
            ("math.add", [1, "2"]),
            ("math.add", [1, None]),
            ("math.add", [1, 1.5]),
            ("math.divide", [1, 0]),
            ("odd.wait", [1]),
            ("server.status", []),
            ("odd.limited", []),
            ("auth.login", ["bob"]),
        ):
            error = self.json_call(method, params)["error"]
            self.assertEqual(self.fault(method, *params), (error["code"], f"{error['message']}: {error['data']['detail']}"), method)

    def test_what_is_no_call(self) -> None:
        """Each kind of bad document has its code."""
        for body, code in (
            (b"nope", -32700),
            (b"<!DOCTYPE a><methodCall/>", -32700),
            (b"<html/>", -32600),
            (b"<methodCall><methodName>a</methodName><params><param><value><int>x</int></value></param></params></methodCall>", -32602),
        ):
            fault = self.assertRaises(xmlrpc.client.Fault, self.read, self.post(body))
            self.assertEqual(fault.faultCode, code)

    def test_charset(self) -> None:
        """That of the Content-Type is heeded, with and without quotes; no Content-Type is needed."""
        body = xmlrpc.client.dumps(("é",), "odd.echo", encoding="iso-8859-1").partition("?>")[2].encode("latin-1")
        for content_type in (b"text/xml; charset=ISO-8859-1", b'text/xml; x=y;Charset="iso-8859-1"'):
            self.assertEqual(self.read(self.post(body, (b"content-type", content_type))), "é")
        for content_type in (b"text/xml", b"text/xml; charset="):
            fault = self.assertRaises(xmlrpc.client.Fault, self.read, self.post(body, (b"content-type", content_type)))
            self.assertEqual(fault.faultCode, -32700)

    def test_credentials(self) -> None:
        """Found at once or later; those missing or wrong are a fault with HTTP's own status and challenge."""
        self.identity = succeed(GUEST)
        self.assertEqual(self.result("auth.whoami")["name"], "guest-1")
        for refused in (NotAuthenticated("no"), fail(NotAuthenticated("no"))):
            self.identity = refused
            response = self.successResultOf(self.start("math.add", 1, 2))
            self.assertEqual((response.status, response.headers[0][0]), (401, b"WWW-Authenticate"))
            fault = self.assertRaises(xmlrpc.client.Fault, xmlrpc.client.loads, response.body)
            self.assertEqual((fault.faultCode, fault.faultString), (-32001, "not authenticated: no"))

    def test_when_to_try_again(self) -> None:
        """Retry-After goes with a fault that asks to wait: a fault has no members for it."""
        response = self.successResultOf(self.start("odd.limited"))
        self.assertEqual((response.status, response.headers), (200, ((b"Retry-After", b"3"),)))

    def test_cost(self) -> None:
        """A call costs what it costs over JSON-RPC."""
        self.result("math.add", 1, 2)
        self.assertEqual(self.budgets.of(GUEST, "192.0.2.1").remaining, 19)
        for _ in range(19):
            self.result("math.add", 1, 2)
        self.assertEqual(self.fault("math.add", 1, 2)[0], -32005)

    def test_what_is_no_call_costs(self) -> None:
        """As much as a call."""
        left = self.budgets.of(GUEST, "192.0.2.1").remaining
        self.successResultOf(Deferred.fromCoroutine(self.endpoint.post(Request("POST", b"/RPC2", [], "192.0.2.1", body=b"<no"))))
        self.assertEqual(self.budgets.of(GUEST, "192.0.2.1").remaining, left - 1)

    def test_deadline(self) -> None:
        """The header's, else the default; a bad one is a fault."""
        late = self.start("odd.wait", headers=((b"x-deadline", b"2.5"),))
        default = self.start("odd.wait")
        self.clock.pump([0.1] * 24)
        self.assertNoResult(late)
        self.clock.pump([0.1] * 4)
        self.assertEqual(self.assertRaises(xmlrpc.client.Fault, self.read, late).faultCode, -32007)
        self.clock.advance(30)
        self.assertEqual(self.assertRaises(xmlrpc.client.Fault, self.read, default).faultCode, -32007)
        self.assertEqual(self.fault("math.add", 1, 2, headers=((b"x-deadline", b"soon"),))[0], -32600)
        self.assertEqual(self.fault("math.add", 1, 2, headers=((b"x-deadline", b"0"),))[0], -32007)

    def test_key(self) -> None:
        """With a key a call takes effect once, its answer keeps its types, and other params are a conflict."""
        key = ((b"idempotency-key", b'"k"'),)
        first = self.start("odd.wait", headers=key)
        second = self.start("odd.wait", headers=key)
        self.odd.waiting[0].callback([1])
        self.assertEqual((self.read(first), self.read(second), len(self.odd.waiting)), ([1], [1], 1))
        for _ in range(2):
            self.assertEqual(self.result("odd.thing", NOON, b"x", headers=key)["at"], NOON.replace(tzinfo=None))
        self.assertEqual(self.fault("odd.thing", NOON, b"y", headers=key)[0], -32004)
        self.assertEqual(self.result("math.add", 1, 2, headers=key), 3)

    def test_stored_answers_that_do_not_fit_the_type(self) -> None:
        """They are given as they are: a procedure may return what its annotation does not say."""

        class Liar:
            @procedure("liar.int", role="guest")
            def lie(self) -> int:
                """No int."""
                return "x"  # type: ignore[return-value]

        self.endpoint._run.__self__.registry.add(Liar())  # type: ignore[attr-defined]
        self.assertEqual(self.result("liar.int", headers=((b"idempotency-key", b"k"),)), "x")

    def test_blocking(self) -> None:
        """They run where they do for JSON-RPC; an overload is a fault."""
        self.assertEqual(self.result("odd.block", 7), 7)
        self.assertEqual(self.fault("odd.block", 7)[0], -32008)

    def test_bugs(self) -> None:
        """A bug, at once or later, and a result that nobody can encode: logged, and the caller is told no more than where."""
        later = self.start("odd.wait")
        self.odd.waiting[0].errback(KeyError("secret"))
        unfit = self.start("odd.wait")
        self.odd.waiting[1].callback(object())
        faults = [self.fault("odd.bug"), self.fault("odd.object")]
        for answer in (later, unfit):
            fault = self.assertRaises(xmlrpc.client.Fault, self.read, answer)
            faults.append((fault.faultCode, fault.faultString))
        self.assertEqual(sorted(text for _, text in faults), [f"internal error: the server's log has more under call-{number}" for number in range(1, 5)])
        self.assertEqual({code for code, _ in faults}, {-32603})
        self.assertEqual((len(self.flushLoggedErrors(KeyError)), len(self.flushLoggedErrors(TypeError))), (2, 2))

    def test_caller_is_gone(self) -> None:
        """The call is cancelled with the request."""
        answer = self.start("odd.wait")
        answer.addErrback(lambda _: None)
        cancelled: list[Any] = []
        self.odd.waiting[0].addErrback(cancelled.append)
        answer.cancel()
        self.assertEqual(self.assertRaises(xmlrpc.client.Fault, self.read, answer).faultCode, -32007)
        self.clock.advance(100)


class BareTests(Case):
    """Without nil and i8."""

    settings = RpcSettings(xmlrpc_nil=False, xmlrpc_i8=False, xmlrpc_depth=1, xmlrpc_values=2)

    def test_extensions_are_off(self) -> None:
        """Neither goes in or out, whatever else would be right; other settings are heeded, too."""
        self.assertEqual(self.fault("odd.echo", None), (-32602, "invalid params: <nil> is turned off: [rpc] xmlrpc_nil"))
        self.assertIn("xmlrpc_nil", self.fault("odd.infinite")[1])
        self.assertEqual(self.fault("math.add", 2**31 - 1, 1)[0], -32603)
        self.assertEqual(self.fault("odd.echo", [[1]])[0], -32700)
        self.assertEqual(self.fault("odd.echo", [1, 2])[0], -32006)
        self.assertNotIn("nil", self.result("system.getCapabilities"))
        self.assertNotIn("i8", self.result("system.getCapabilities"))


class MulticallTests(Case):
    """system.multicall."""

    def test_results_and_faults(self) -> None:
        """In order, results in arrays of one, each fault a struct; the same over JSON-RPC, for the same price."""
        calls = [
            {"methodName": "math.add", "params": [1, 2]},
            {"methodName": "nothing", "params": []},
            {"methodName": "odd.bug", "params": []},
            {"methodName": "odd.object"},
            {"methodName": "system.multicall", "params": [[]]},
        ]
        found = self.result("system.multicall", calls)
        self.assertEqual(self.budgets.of(GUEST, "192.0.2.1").remaining, 20 - 1 - 1 - 3 - 1 - 1 - 1)
        self.assertEqual(found[0], [3])
        self.assertEqual([each["faultCode"] for each in found[1:]], [-32601, -32603, -32603, -32600])
        self.assertEqual(found[1]["faultString"], "method not found: no procedure 'nothing'; system.listMethods lists them all")
        again = self.json_call("system.multicall", [calls])["result"]
        self.assertEqual([again[0], again[1]], [[3], found[1]])
        self.assertEqual((len(self.flushLoggedErrors(KeyError)), len(self.flushLoggedErrors(TypeError))), (2, 2))
        self.assertEqual(self.result("system.multicall", []), [])

    def test_types_pass_through(self) -> None:
        """Times and bytes do not become text on the way."""
        found = self.result("system.multicall", [{"methodName": "odd.thing", "params": [NOON, b"x"]}])
        self.assertEqual((found[0][0]["at"], found[0][0]["data"]), (NOON.replace(tzinfo=None), b"x"))

    def test_later(self) -> None:
        """They run side by side, and all have to be there."""
        answer = self.start("system.multicall", [{"methodName": "odd.wait"}, {"methodName": "odd.wait"}])
        self.odd.waiting[1].callback("b")
        self.assertNoResult(answer)
        self.odd.waiting[0].callback("a")
        self.assertEqual(self.read(answer), [["a"], ["b"]])

    def test_deadline(self) -> None:
        """That of the call is that of all in it, longer than the default too; what is done by then is kept."""
        answer = self.start("system.multicall", [{"methodName": "odd.wait"}, {"methodName": "math.add", "params": [1, 2]}], headers=((b"x-deadline", b"50"),))
        self.clock.pump([1.0] * 45)
        self.assertNoResult(answer)
        self.clock.pump([1.0] * 10)
        found = self.read(answer)
        self.assertEqual((found[0]["faultCode"], found[1]), (-32007, [3]))

    def test_caller_that_leaves(self) -> None:
        """The calls inside that are under way are cancelled, and no others; so they are in a multicall over JSON-RPC."""
        calls = [{"methodName": "odd.wait"}, {"methodName": "odd.await"}, {"methodName": "odd.wait"}]
        message = {"jsonrpc": "2.0", "id": 1, "method": "system.multicall", "params": [calls]}
        request = Request("POST", b"/rpc", [], "192.0.2.1", body=json.dumps(message).encode())
        for start in (lambda: self.start("system.multicall", calls), lambda: self.json.post(request)):
            answer: Any = start()
            self.odd.waiting[0].callback("done")
            answer.cancel()
            self.successResultOf(answer)
            self.assertEqual(self.odd.cancelled, self.odd.waiting[1:])
            del self.odd.waiting[:], self.odd.cancelled[:]

    def test_bounds(self) -> None:
        """As many calls as a batch may have, and results as large as the answers of a batch; no key, which is for one call."""
        add = {"methodName": "math.add", "params": [1, 2]}
        self.assertEqual(self.fault("system.multicall", [add] * 6), (-32006, "too large: 6 calls: [rpc] batch allows 5"))
        large = self.result("system.multicall", [{"methodName": "odd.echo", "params": ["x" * 600]}] * 2)
        self.assertEqual((large[0], large[1]["faultCode"]), (["x" * 600], -32006))
        self.assertEqual(self.fault("system.multicall", [add], headers=((b"idempotency-key", b"k"),))[0], -32600)

    def test_not_in_a_batch(self) -> None:
        """A batch of multicalls would have many times the calls that a batch may have."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "system.multicall", "params": [[]]}
        (answer,) = json.loads(self.json_post([call]).body)
        self.assertEqual(answer["error"]["code"], -32600)

    def test_permissions(self) -> None:
        """Each needs what it needs alone; a budget that ends in between ends it for the rest."""
        found = self.result("system.multicall", [{"methodName": "server.status"}])
        self.assertEqual(found[0]["faultCode"], -32002)
        bug = {"methodName": "odd.bug"}
        codes = [each["faultCode"] for _ in range(2) for each in self.result("system.multicall", [bug] * 5)]
        self.assertEqual((codes[0], codes[-1]), (-32603, -32005))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), codes.count(-32603))

    def test_what_is_no_list_of_calls(self) -> None:
        """The parameter is named."""
        for params, words in (
            ([1], "calls: expected array, got int"),
            ([[{}]], "methodName"),
            ([[{"methodName": 1}]], "calls[0].methodName: expected str, got int"),
        ):
            code, text = self.fault("system.multicall", *params)
            self.assertEqual(code, -32602)
            self.assertIn(words, text)

    def test_capabilities(self) -> None:
        """What is implemented, each with a URL and a version, on every protocol."""
        found = self.result("system.getCapabilities")
        self.assertEqual(set(found), {"xmlrpc", "introspection", "system.multicall", "faults_interop", "json-rpc", "nil", "i8"})
        for each in found.values():
            self.assertEqual({name: type(value) for name, value in each.items()}, {"specUrl": str, "specVersion": int})
        self.assertEqual(self.json_call("system.getCapabilities", [])["result"], found)
        self.assertEqual(self.result("system.methodSignature", "system.multicall"), [["array", "array"]])
