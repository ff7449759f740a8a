"""``POST /rpc``, ``GET /ws``, ``GET /openrpc.json``; introspection."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.procedures import Call, Registry, procedure
from netsvc.core.settings import LimitsSettings
from netsvc.errors import NotAuthenticated, RateLimited
from netsvc.examples import arithmetic
from netsvc.http.messages import BUDGETED, Request, Response, Upgrade
from netsvc.rpc.connection import RpcService
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.endpoint import HTTP_STATUS, RpcEndpoint
from netsvc.rpc.procedures import AuthProcedures, ServerProcedures, SystemProcedures
from netsvc.rpc.settings import RpcSettings
from netsvc.rpc.websocket import RpcSocket
from netsvc.store.memory import MemoryStore
from netsvc.wire.jsonrpc import CODES

GUEST = Identity("guest-1", ("guest",), guest=True)


@dataclass
class Item:
    """A struct."""

    name: str
    tags: list[str]


class Odd:
    """Procedures with something to see."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.calls: list[Call] = []

    @procedure("odd.wait", role="guest")
    def wait(self, call: Call) -> Deferred[int]:
        """Answers later."""
        self.calls.append(call)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    @procedure("odd.limited", role="guest")
    def limited(self) -> None:
        """Always too much."""
        raise RateLimited("too much", retry_after=2.2)

    @procedure("odd.types", role="guest")
    def types(
        self, a: int, b: float, c: str | None, d: bool, e: list[int], f: Item, g: datetime, h: bytes, i: Literal["x"], j: Literal[1], k: Any = None
    ) -> None:
        """Everything.

        And more of it.
        """


class EndpointTests(TestCase):
    """The HTTP side."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.odd = Odd()
        self.registry = Registry()
        system = SystemProcedures(self.registry, "title")
        self.counts = {"connections": {"http": 1}}
        server = ServerProcedures(lambda: 12.3456, lambda: self.counts)
        for source in (arithmetic, self.odd, system, server, AuthProcedures(None)):  # type: ignore[arg-type]  # nobody logs in
            self.registry.add(source)
        dispatcher = Dispatcher(self.registry, self.clock, RpcSettings(), Answers(MemoryStore(), Clock(), 60, 300), lambda *_: self.fail("nothing blocks"), 256)  # type: ignore[arg-type,return-value]
        service = RpcService(dispatcher, Budgets(LimitsSettings(), self.clock.seconds), None, None, 4, 256 * 1024, 30.0)  # type: ignore[arg-type]
        self.identity: Any = GUEST
        self.endpoint = RpcEndpoint(service, self.authenticate, "title", "1.0")

    def authenticate(self, request: Request) -> Any:
        """Whoever a test says."""
        if isinstance(self.identity, Exception):
            raise self.identity
        return self.identity

    def post(self, body: bytes, *headers: tuple[bytes, bytes], identity: Any = GUEST) -> Any:
        """POST /rpc."""
        self.identity = identity
        return self.endpoint.post(Request("POST", b"/rpc", list(headers), "192.0.2.1", body=body))

    def result(self, method: str, params: Any = None, identity: Identity = GUEST) -> Any:
        """A call's result."""
        message = {"jsonrpc": "2.0", "method": method, "id": 1, "params": params or []}
        answer = self.post(json.dumps(message).encode(), identity=identity)
        answer = self.successResultOf(answer) if isinstance(answer, Deferred) else answer
        return json.loads(answer.body)["result"]

    def test_answers(self) -> None:
        """200 with JSON, at once or later; 204 for a notification."""
        answer = self.post(b'{"jsonrpc":"2.0","method":"math.add","params":[2,3],"id":1}')
        self.assertEqual((answer.status, answer.media_type, answer.body), (200, b"application/json", b'{"jsonrpc":"2.0","id":1,"result":5}'))
        later = self.post(b'{"jsonrpc":"2.0","method":"odd.wait","id":1}')
        self.odd.waiting[0].callback(1)
        self.assertEqual(self.successResultOf(later).status, 200)
        self.assertEqual(self.post(b'{"jsonrpc":"2.0","method":"math.add","params":[2,3]}').status, 204)
        self.assertEqual(self.post(b'[{"jsonrpc":"2.0","method":"nothing","id":1}]').status, 200)

    def test_what_is_left_of_the_budget(self) -> None:
        """Is told to every caller whose budget has a bound, refused or not; a WebSocket and the document of all procedures cost, too."""
        asked = Request("POST", b"/rpc", [], "192.0.2.1", body=b'{"jsonrpc":"2.0","method":"math.add","params":[2,3],"id":1}')
        self.endpoint.post(asked)
        self.assertEqual((asked.flags & BUDGETED, asked.budget.remaining), (BUDGETED, 199))
        self.websocket()
        self.assertEqual(asked.budget.remaining, 198)
        self.endpoint.openrpc(Request("GET", b"/openrpc.json", [], "192.0.2.1"))
        self.assertEqual(asked.budget.remaining, 193)
        asked.budget.charge(193)
        self.assertEqual(self.post(b"nope").status, 429)
        self.assertRaises(RateLimited, self.endpoint.openrpc, asked)
        self.failureResultOf(Deferred.fromCoroutine(self.endpoint.websocket(asked)), RateLimited)

    def test_statuses(self) -> None:
        """Each code of an error has its status; those that ask to wait say for how long."""
        self.assertEqual(set(HTTP_STATUS), {code for code, _ in CODES.values()} | {-32603})
        for body, status in (
            (b"\xff", 400),
            (b"nope", 400),
            (b"[]", 400),
            (b'{"jsonrpc":"2.0","method":"nothing","id":1}', 404),
            (b'{"jsonrpc":"2.0","method":"math.add","id":1}', 400),
            (b'{"jsonrpc":"2.0","method":"server.status","id":1}', 403),
        ):
            self.assertEqual(self.post(body).status, status, body)
        limited = self.post(b'{"jsonrpc":"2.0","method":"odd.limited","id":1}')
        self.assertEqual((limited.status, limited.headers), (429, ((b"Retry-After", b"3"),)))

    def test_headers(self) -> None:
        """The deadline and the key; what is neither is refused."""
        body = b'{"jsonrpc":"2.0","method":"odd.wait","id":1}'
        late = self.post(body, (b"x-deadline", b"2.5"), (b"idempotency-key", b'"k 1"'), (b"other", b"x"))
        self.assertEqual(self.odd.calls[0].key, "k 1")
        self.clock.pump([0.1] * 24)
        self.assertNoResult(late)
        self.clock.pump([0.1] * 4)
        self.assertEqual(self.successResultOf(late).status, 504)
        for deadline, status, code in ((b"soon", 400, -32600), (b"inf", 400, -32600), (b"nan", 400, -32600), (b"0", 504, -32007), (b"-1.5", 504, -32007)):
            self.check_refusal(self.post(body, (b"x-deadline", deadline)), status, code, 1)
        for key in (b'""', b"x" * 201):
            self.check_refusal(self.post(body, (b"idempotency-key", key)), 400, -32600, 1)
        self.check_refusal(self.post(b"[%b]" % body, (b"idempotency-key", b"k")), 400, -32600, None)
        self.assertEqual(len(self.odd.calls), 1)

    def check_refusal(self, answer: Any, status: int, code: int, identifier: Any) -> None:
        """The answer is a JSON-RPC error."""
        error = json.loads(answer.body)
        self.assertEqual((answer.status, error["error"]["code"], error["id"]), (status, code, identifier))

    def test_credentials(self) -> None:
        """They are proved at once or later; what is wrong with them is a JSON-RPC error with the id of the call, if there is one."""
        body = b'{"jsonrpc":"2.0","method":"math.add","params":[2,3],"id":"a"}'
        self.assertEqual(self.successResultOf(self.post(body, identity=succeed(GUEST))).status, 200)
        refused = self.post(body, identity=NotAuthenticated("no"))
        self.check_refusal(refused, 401, -32001, "a")
        self.assertEqual(refused.headers, ((b"WWW-Authenticate", b'Bearer realm="netsvc"'),))
        self.check_refusal(self.successResultOf(self.post(body, identity=fail(NotAuthenticated("no")))), 401, -32001, "a")
        limited = self.post(body, identity=RateLimited("later", retry_after=7.0))
        self.check_refusal(limited, 429, -32005, "a")
        self.assertEqual(limited.headers, ((b"Retry-After", b"7"),))
        for other in (b"nope", b"\xff", b"[" + body + b"]", b'{"jsonrpc":"2.0","method":"math.add"}', b""):
            self.check_refusal(self.post(other, identity=NotAuthenticated("no")), 401, -32001, None)
        self.failureResultOf(self.post(body, identity=fail(RuntimeError("a bug"))), RuntimeError)

    def websocket(self, *headers: tuple[bytes, bytes]) -> RpcSocket:
        """GET /ws."""
        answer = self.successResultOf(Deferred.fromCoroutine(self.endpoint.websocket(Request("GET", b"/ws", list(headers), "192.0.2.1"))))
        assert isinstance(answer, Upgrade)
        assert isinstance(answer.application, RpcSocket)
        return answer.application

    def test_websocket(self) -> None:
        """As who one is; as nobody where guests are not allowed; wrong credentials are refused."""
        self.assertEqual(self.websocket().identity, GUEST)
        self.identity = succeed(GUEST)
        self.assertEqual(self.websocket().identity, GUEST)
        self.identity = NotAuthenticated("no")
        self.assertIsNone(self.websocket().identity)
        self.assertRaises(NotAuthenticated, self.failing, (b"authorization", b"Bearer x"))
        self.identity = fail(NotAuthenticated("no"))
        self.assertIsNone(self.websocket().identity)

    def failing(self, *headers: tuple[bytes, bytes]) -> None:
        """GET /ws that is refused."""
        request = Request("GET", b"/ws", list(headers), "192.0.2.1")
        raise self.failureResultOf(Deferred.fromCoroutine(self.endpoint.websocket(request)), NotAuthenticated).value

    def test_openrpc(self) -> None:
        """The URL and rpc.discover give the same document, with every procedure, its params and its result."""
        answer = self.endpoint.openrpc(Request("GET", b"/openrpc.json", []))
        assert isinstance(answer, Response)
        document = json.loads(answer.body)
        discovered = self.result("rpc.discover")
        self.assertEqual(document["methods"], discovered["methods"])
        methods = {method["name"]: method for method in document["methods"]}
        self.assertEqual(sorted(methods), self.result("system.listMethods"))
        add = methods["math.add"]
        self.assertEqual(add["params"], [{"name": name, "required": True, "schema": {"type": "integer"}} for name in "ab"])
        self.assertEqual((add["result"]["schema"], add["summary"]), ({"type": "integer"}, "The sum of two integers."))
        types = methods["odd.types"]
        self.assertEqual(types["description"], "And more of it.")
        self.assertEqual(types["params"][10], {"name": "k", "required": False, "schema": {"default": None}})
        self.assertIn("Item", document["components"]["schemas"])

    def test_introspection(self) -> None:
        """system.methodHelp and system.methodSignature."""
        self.assertEqual(self.result("system.methodHelp", ["math.add"]), "The sum of two integers.\n\n>>> math.add(2, 3)\n5")
        self.assertEqual(self.result("system.methodSignature", ["math.divide"]), [["double", "double", "double"]])
        long, longer = self.result("system.methodSignature", ["odd.types"])
        self.assertEqual(long, ["nil", "int", "double", "string", "boolean", "array", "struct", "dateTime.iso8601", "base64", "string", "int"])
        self.assertEqual(longer, [*long, "struct"])

    def test_status(self) -> None:
        """server.status tells admins of versions, uptime and counts."""
        status = self.result("server.status", identity=Identity("root", ("admin",)))
        self.assertEqual(set(status["versions"]), {"netsvc", "python", "twisted"})
        self.assertEqual((status["uptime"], status["connections"]), (12.346, {"http": 1}))

    def test_login_needs_a_websocket(self) -> None:
        """Over HTTP, auth.login says how credentials are sent instead."""
        answer = self.successResultOf(self.post(b'{"jsonrpc":"2.0","method":"auth.login","params":{"name":"bob"},"id":1}'))
        self.assertEqual(answer.status, 400)
        self.assertIn("Authorization: Bearer", json.loads(answer.body)["error"]["data"]["detail"])
