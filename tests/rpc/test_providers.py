"""Procedures that are served by other programs: names, calls and answers, sharing of the load."""

from typing import Any

from twisted.internet.defer import maybeDeferred

from netsvc.core.identity import Identity
from netsvc.rpc.openrpc import document
from netsvc.rpc.settings import RpcSettings
from tests.rpc.provider_case import ProviderTestCase, member

GUEST = Identity("guest-1", ("guest",), guest=True)


class NameTests(ProviderTestCase):
    """Who may provide what."""

    def code(self, name: Any, schema: Any = None, identity: Identity | None = None) -> int:
        """The code with which rpc.provide is refused."""
        params = {"name": name} if schema is None else {"name": name, "schema": schema}
        return int(self.program(identity).call("rpc.provide", params)["code"])

    def test_bad_names(self) -> None:
        """Words joined by dots, of no more than 128 characters."""
        for name in ("", "a b", "a..b", "1a", ".a", "a" * 129, 5, None):
            self.assertEqual(self.code(name), -32602, name)

    def test_names_of_ours(self) -> None:
        """Neither those that are there, nor those that begin like ours."""
        for name in ("local.plain", "rpc.x", "system.listMethods", "system.new", "auth.x", "chat.x", "room.x", "server.x"):
            self.assertEqual(self.code(name), -32004, name)

    def test_role(self) -> None:
        """The least role is that of [rpc] provide, to provide and to call."""
        self.assertEqual(self.code("a.b", identity=GUEST), -32002)
        self.provider("a.b")
        self.assertEqual(self.program(GUEST).call("a.b")["code"], -32002)

    def test_bad_schemas(self) -> None:
        """What is no JSON Schema, refers to elsewhere, or is too large."""
        for schema in (
            {"params": {"type": 5}},
            {"params": {"type": "array"}},
            {"params": []},
            {"result": {"$ref": "#/components/schemas/History"}},
            {"result": {"items": {"$id": "x"}}},
            {"result": "string"},
            {"params": {"properties": {"": {}}}},
            {"result": {"enum": []}},
            {"result": {"enum": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}},
            {"result": {"type": ["string", "string"]}},
            {"result": {"required": ["a", "a"]}},
            {"result": {"dependencies": {"a": ["b", "b"]}}},
            {"result": {"not": {"anyOf": []}}},
            {"result": {"multipleOf": 0}},
            {"result": {"$schema": "x y"}},
            {"result": {"examples": 1}},
            {"unknown": 1},
            {"idempotent": "yes"},
            "x",
        ):
            self.assertEqual(self.code("a.b", schema), -32602, schema)
        self.assertEqual(self.code("a.b", {"description": "x" * 600}), -32006)

    def test_bad_patterns(self) -> None:
        """What is no regular expression, wherever it is, would make the document of all procedures invalid; it is said which and where."""
        for schema, where in (
            ({"params": {"properties": {"a": {"pattern": "("}}}}, "schema.params: not a JSON Schema: the pattern"),
            ({"result": {"pattern": "("}}, "schema.result: not a JSON Schema: the pattern"),
            ({"result": {"patternProperties": {"a": {}, "(": {}}}}, "schema.result"),
            ({"result": {"items": [{"not": {"anyOf": [{"propertyNames": {"pattern": "("}}]}}]}}, "at $.items[0].not.anyOf[0].propertyNames"),
        ):
            error = self.program().call("rpc.provide", {"name": "a.b", "schema": schema})
            self.assertEqual((error["code"], error["data"]["parameter"]), (-32602, "schema"))
            self.assertIn(where, error["data"]["detail"])
            self.assertIn('the pattern "(" is not a regular expression: no end to "(" at character 1', error["data"]["detail"])
        self.provider("a.b", schema={"result": {"pattern": r"^\d+$", "patternProperties": {r"^\p{L}": {}}}})

    def test_bounds(self) -> None:
        """So many names of one connection, and so many providers of one name; to say it again is no further one."""
        provider = self.provider("a.a", "a.b", "a.c")
        self.assertEqual(provider.call("rpc.provide", ["a.d"])["code"], -32006)
        self.assertEqual(provider.call("rpc.provide", ["a.a"]), {"name": "a.a", "providers": 1})
        self.provider("a.a")
        self.assertEqual(self.program().call("rpc.provide", ["a.a"]), {"name": "a.a", "providers": 3})
        self.assertEqual(self.code("a.a"), -32006)

    def test_over_http(self) -> None:
        """It needs a connection."""
        self.assertIn("needs a connection", str(self.failureResultOf(self.dispatcher.run("rpc.provide", ["a.b"], _Http(self), None, bytes)).value))

    def test_withdraw(self) -> None:
        """The name is gone with its last provider; who does not provide cannot withdraw."""
        one, other = self.provider("a.b"), self.provider("a.b")
        self.assertEqual(self.program().call("rpc.withdraw", ["a.b"])["code"], -32003)
        self.assertEqual(one.call("rpc.withdraw", ["a.b"]), {"name": "a.b"})
        self.assertEqual(one.call("rpc.withdraw", ["a.b"])["code"], -32003)
        self.assertIn("a.b", self.program().call("system.listMethods"))
        other.leave()
        self.assertEqual(self.program().call("a.b")["code"], -32601)
        self.assertEqual(self.providers.counts(), {"names": 0, "providers": 0, "calls": 0, "waiting": 0})

    def test_login_as_somebody_lesser(self) -> None:
        """Who is not of the role any more does not provide any more."""
        provider = self.provider("a.b")
        provider.socket.login(member("max"))
        self.assertIn("a.b", self.registry)
        provider.socket.login(GUEST)
        self.assertNotIn("a.b", self.registry)


class _Http:
    """A caller over plain HTTP."""

    connection = None
    key = None
    peer = "192.0.2.1"

    def __init__(self, case: ProviderTestCase, identity: Identity | None = None) -> None:
        self.identity = identity or member("ann")
        self.budget = case.budgets.of(self.identity, self.peer)

    def after_answer(self, then: Any) -> None:
        """Never."""


class OwnedNameTests(ProviderTestCase):
    """[rpc] provide_only."""

    settings = RpcSettings(provide="guest", provide_only=("bank.*=ann", "bank.rates=bob", "tea=tom"))

    def test_kept_names(self) -> None:
        """The longest pattern that fits says for whom a name is kept, also after a further login."""
        ann, bob, guest = self.program(member("ann")), self.program(member("bob")), self.program(Identity("ann", ("guest",), guest=True))
        for program, name, code in (
            (ann, "bank.pay", None),
            (ann, "bank.rates", -32002),
            (bob, "bank.rates", None),
            (bob, "bank.pay", -32002),
            (guest, "bank.pay", -32002),
            (guest, "bank", None),
            (guest, "tea", -32002),
            (guest, "tea.green", None),
        ):
            self.assertEqual(program.call("rpc.provide", [name]).get("code"), code, name)
        bob.socket.login(member("tim"))
        self.assertNotIn("bank.rates", self.registry)


class CallTests(ProviderTestCase):
    """Calls and their answers."""

    def test_call(self) -> None:
        """The provider gets a request with an id of ours, the params as they were and the time that is left; the caller its answer."""
        provider, caller = self.provider(), self.program()
        caller.begin("test.work", {"a": [1, "ü"]}, "mine", deadline=5)
        provider.hear()
        asked = provider.asked[0]
        self.assertEqual({**asked, "id": 0}, {"jsonrpc": "2.0", "id": 0, "method": "test.work", "params": {"a": [1, "ü"]}, "deadline": 5.0})
        self.assertIsInstance(asked["id"], int)
        provider.answer({"b": None})
        self.assertEqual(caller.outcome("mine"), {"b": None})
        caller.begin("test.work", deadline=5)
        provider.hear()
        self.assertNotIn("params", provider.asked[0])

    def test_no_call_before_the_answer(self) -> None:
        """A provider gets the answer to rpc.provide first, also in a batch."""
        first = self.provider()
        caller = self.program()
        for number in range(4):
            caller.begin("test.work", identifier=number)
        self.assertEqual(first.waiting(), 3)
        second = self.program(member("pat"))
        second.say([{"jsonrpc": "2.0", "id": 1, "method": "rpc.provide", "params": ["test.work"]}, {"jsonrpc": "2.0", "id": 2, "method": "local.plain"}])
        batch, call = second.connection.messages()
        self.assertEqual((len(batch), call["method"]), (2, "test.work"))

    def test_strange_params(self) -> None:
        """They are looked at before anybody is bothered."""
        provider, caller = self.provider(), self.program()
        for params, code in (("5", -32600), ('{"a":"\\ud800x"}', -32700), ("[1e999]", -32700), ("[" * 20000 + "]" * 20000, -32700)):
            caller.say(f'{{"jsonrpc":"2.0","id":1,"method":"test.work","params":{params}}}')
            caller.hear()
            found = [answer for answers in caller._answers.values() for answer in answers]
            caller._answers.clear()
            self.assertEqual([answer["error"]["code"] for answer in found], [code], params[:20])
        self.assertEqual(provider.waiting(), 0)

    def test_notification(self) -> None:
        """Is carried out, and answered to nobody."""
        provider, caller = self.provider(), self.program()
        caller.begin("test.work", identifier=None)
        provider.answer(1)
        self.assertEqual(caller.connection.messages(), [])

    def test_batch_multicall_and_key(self) -> None:
        """It is a procedure as any other."""
        provider, caller = self.provider(), self.program()
        caller.say([{"jsonrpc": "2.0", "id": 1, "method": "test.work"}, {"jsonrpc": "2.0", "id": 2, "method": "local.plain"}])
        provider.answer("x")
        (batch,) = caller.connection.messages()
        self.assertEqual([answer["result"] for answer in batch], ["x", 1])
        caller.begin("system.multicall", [[{"methodName": "test.work", "params": [1]}, {"methodName": "test.work", "params": []}]], deadline=4)
        provider.hear()
        self.assertEqual([(asked["params"], asked["deadline"]) for asked in provider.asked], [([1], 4.0), ([], 4.0)])
        provider.answer({"x": 1}, 0)
        provider.refuse({"code": 7, "message": "no"})
        self.assertEqual(caller.outcome(), [[{"x": 1}], {"faultCode": 7, "faultString": "no"}])
        http = _Http(self)
        http.key = "k"  # type: ignore[assignment]
        first = self.dispatcher.handle('{"jsonrpc":"2.0","id":1,"method":"test.work","params":[1]}', http)
        self.clock.pump([0, 0, 0])
        provider.answer(5)
        self.clock.pump([0, 0, 0])
        second = self.dispatcher.handle('{"jsonrpc":"2.0","id":2,"method":"test.work","params":[1]}', http)
        self.clock.pump([0, 0, 0])
        for outcome in (first, second):
            self.assertIn(b'"result":5', self.successResultOf(maybeDeferred(lambda outcome=outcome: outcome)) or b"")
        self.assertEqual(provider.waiting(), 0)

    def test_errors(self) -> None:
        """Codes of applications are passed on, and those of ours that a provider can mean; with others it would pretend to be the server."""
        provider, caller = self.provider(), self.program()
        for given, expected in (
            ({"code": 42, "message": "no\n tea", "data": [1]}, {"code": 42, "message": "no tea", "data": [1]}),
            ({"code": -1}, {"code": -1, "message": "error"}),
            ({"code": -32602, "message": "a: missing"}, {"code": -32602, "message": "invalid params", "data": {"detail": "a: missing"}}),
            (
                {"code": -32003, "message": "x", "data": {"detail": "no such tea", "name": "green", "retry_after": 5}},
                {"code": -32003, "message": "not found", "data": {"detail": "no such tea", "name": "green"}},
            ),
            (
                {"code": -32008, "message": "busy", "data": {"retry_after": 5}},
                {"code": -32008, "message": "overloaded", "data": {"detail": "busy", "retry_after": 5}},
            ),
            (
                {"code": -32008, "message": "busy", "data": "x"},
                {"code": -32008, "message": "overloaded", "data": {"detail": "busy", "retry_after": 1.0, "data": "x"}},
            ),
            ({"code": -32007, "message": "too late"}, {"code": -32007, "message": "deadline passed", "data": {"detail": "too late"}}),
            ({"code": -32001, "message": "who?"}, {"code": -32603, "message": "internal error", "data": {"detail": "who?", "provider_code": -32001}}),
            ({"code": 1 << 40, "message": "x"}, {"code": -32603, "message": "internal error", "data": {"detail": "x", "provider_code": 1 << 40}}),
        ):
            caller.begin("test.work")
            provider.refuse(given)
            self.assertEqual(caller.outcome(), expected)
        for strange in ("x", {"message": "x"}, {"code": "x"}, []):
            caller.begin("test.work")
            provider.refuse(strange)
            self.assertEqual(caller.outcome()["code"], -32603)

    def test_strange_answers(self) -> None:
        """Each has an outcome for the caller, and none harms."""
        provider, caller = self.provider(), self.program()
        for answer, code in (
            ('"result":"' + "x" * 1100 + '"', -32006),
            ('"error":{"code":1,"message":"' + "x" * 1100 + '"}', -32006),
            ('"result":[1e999]', -32603),
            ('"what":"JavaScript makes of a result that is undefined"', -32603),
        ):
            caller.begin("test.work")
            provider.hear()
            provider.say(f'{{"jsonrpc":"2.0","id":{provider.asked.pop()["id"]},{answer}}}')
            self.assertEqual(caller.outcome()["code"], code, answer[:20])
        caller.begin("test.work")
        provider.hear()
        provider.say({"jsonrpc": "2.0", "id": provider.asked.pop()["id"], "result": 1, "error": None})
        self.assertEqual(caller.outcome(), 1)

    def test_responses_to_nothing(self) -> None:
        """What matches no call is dropped, from providers and others; it is not answered."""
        provider = self.provider()
        for program in (provider, self.program()):
            for identifier in (5, "x", None, 1.5, {}):
                program.say({"jsonrpc": "2.0", "id": identifier, "result": 1})
                program.say({"jsonrpc": "2.0", "id": identifier, "error": {"code": 1, "message": "x"}})
            self.assertEqual(program.connection.messages(), [])
            program.say({"jsonrpc": "2.0", "id": 1})
            self.assertEqual([message["error"]["code"] for message in program.connection.messages()], [-32600])

    def test_calls_of_a_provider(self) -> None:
        """It calls as anybody does, itself too."""
        provider = self.provider()
        self.assertEqual(provider.call("local.plain"), 1)
        provider.begin("test.work", identifier="own")
        provider.answer(3)
        self.assertEqual(provider.outcome("own"), 3)
        provider.say("nonsense")
        self.assertEqual(provider.outcome(None)["code"], -32700)

    def test_described(self) -> None:
        """Its description joins the document, system.methodHelp and system.methodSignature; the latest holds."""
        params = {"type": "object", "properties": {"day": {"type": "string"}, "n": {"type": "integer"}}, "required": ["day"]}
        older = self.provider("a.b", summary="Old")
        newer = self.provider("a.b", summary="The weather", description="Of one day.", params=params, result={"type": "number"}, idempotent=True)
        method = next(each for each in document(self.registry, "t", "1")["methods"] if each["name"] == "a.b")
        self.assertEqual((method["summary"], method["description"], method["x-providers"]), ("The weather", "Of one day.", 2))
        self.assertEqual([(each["name"], each["required"]) for each in method["params"]], [("day", True), ("n", False)])
        caller = self.program()
        self.assertEqual(caller.call("system.methodHelp", ["a.b"]), "The weather\n\nOf one day.")
        self.assertEqual(caller.call("system.methodSignature", ["a.b"]), [["double", "string"], ["double", "string", "int"]])
        newer.leave()
        self.assertEqual(caller.call("system.methodHelp", ["a.b"]), "Old")
        self.assertEqual(caller.call("system.methodSignature", ["a.b"]), [["struct"]])
        older.leave()
        self.assertEqual(caller.call("system.methodHelp", ["a.b"])["code"], -32601)


class LoadTests(ProviderTestCase):
    """Who is given a call."""

    def test_ties_in_turn(self) -> None:
        """Providers with as many calls as others have theirs in turn."""
        providers = [self.provider() for _ in range(3)]
        caller = self.program()
        for _ in range(2):
            for _ in range(3):
                caller.begin("test.work", identifier=None)
            self.assertEqual([provider.waiting() for provider in providers], [1, 1, 1])
            for provider in providers:
                provider.answer(None)

    def test_least_outstanding(self) -> None:
        """Who is slower gets fewer."""
        slow, fast = self.provider(), self.provider()
        caller = self.program()
        for _ in range(2):
            caller.begin("test.work", identifier=None)
        for _ in range(4):
            fast.answer(None)
            caller.begin("test.work", identifier=None)
        self.assertEqual((slow.waiting(), fast.waiting()), (1, 1))

    def test_bound_and_queue(self) -> None:
        """A provider has so many calls, then so many wait; more are told to come again. One answer makes room for one."""
        provider, caller = self.provider(), self.program()
        for number in range(7):
            caller.begin("test.work", identifier=number)
        self.assertEqual(provider.waiting(), 3)
        other = self.program(member("bob"))
        other.begin("test.work")
        self.assertEqual(other.outcome()["code"], -32008)
        provider.answer(None, 0)
        self.assertEqual(provider.waiting(), 3)
        self.assertEqual(self.providers.counts(), {"names": 1, "providers": 1, "calls": 3, "waiting": 3})

    def test_fairness(self) -> None:
        """Who waits gets its turn by caller, not by call."""
        provider, greedy, modest = self.provider(), self.program(), self.program(member("bob"))
        for number in range(6):
            greedy.begin("test.work", [number], number)
        modest.begin("test.work", ["modest"])
        provider.hear()
        done = []
        for _ in range(7):
            done.append(provider.asked[0]["params"][0])
            provider.answer(None, 0)
            provider.hear()
        self.assertEqual(done, [0, 1, 2, 3, "modest", 4, 5])

    def test_a_provider_that_does_not_read(self) -> None:
        """Is given no more calls than it takes; they go to others, or wait for it."""
        slow, caller = self.provider(), self.program()
        slow.connection.window = 10
        caller.begin("test.work", identifier=None)
        caller.begin("test.work", [2], 2)
        self.assertEqual(self.providers.counts()["waiting"], 1)
        slow.connection.read()
        self.assertEqual(slow.waiting(), 2)

    def test_slow_calls_of_one_caller(self) -> None:
        """So many of one identity are under way, over all its connections; others are not concerned."""
        for name in ("a", "b", "c"):
            self.provider(name)
        caller, again = self.program(), self.program()
        for number in range(8):
            caller.begin("abc"[number % 3], identifier=number)
        caller.begin("local.long", identifier=None)
        again.begin("a")
        self.assertEqual(again.outcome()["code"], -32008)
        again.begin("local.long", identifier=2)
        self.assertIsNone(again.outcome(2), "a coroutine takes up nothing")
        self.assertEqual(again.call("local.plain"), 1)
        caller.leave()
        again.begin("a", identifier=3)
        self.assertIsNone(again.outcome(3))

    def test_slow_calls_with_keys(self) -> None:
        """A call with a key goes on when nobody waits for it any more, and counts for as long; repetitions of it count for nothing."""
        providers = [self.provider(name) for name in ("a", "b", "c")]
        caller, again = self.program(), self.program()
        for number in range(7):
            caller.begin("abc"[number % 3], identifier=number, key=f"k{number}", deadline=1)
            again.begin("abc"[number % 3], identifier=number, key=f"k{number}", deadline=1)
        caller.leave()
        self.clock.pump([0.1] * 12)
        self.assertEqual(again.outcome(6)["code"], -32007)
        again.begin("b", identifier="eighth")
        again.begin("b", identifier="ninth")
        self.assertIsNone(again.outcome("eighth"))
        self.assertIn("slow_calls", again.outcome("ninth")["data"]["detail"])
        providers[0].answer(1)
        again.begin("b", identifier="ninth")
        self.assertIsNone(again.outcome("ninth"))
