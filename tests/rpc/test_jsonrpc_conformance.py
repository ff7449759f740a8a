"""Every sentence with MUST of the JSON-RPC 2.0 specification (https://www.jsonrpc.org/specification), one test each; docs/conformance.md lists them."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase as TestCase

from netsvc.core.idempotency import Answers
from netsvc.core.procedures import Registry, procedure
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.settings import RpcSettings
from netsvc.store.memory import MemoryStore
from tests.rpc.test_jsonrpc_examples import ExampleCaller

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["jsonrpc", "method", "params", "id", "a", "deadline"]), inner, max_size=4),
    max_leaves=8,
)


class Procedures:
    """What the tests call."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @procedure("pair", role="guest")
    def pair(self, first: Any, second: Any = None) -> list[Any]:
        """Its params."""
        self.seen.append([first, second])
        return [first, second]

    @procedure("square", role="guest")
    def square(self, number: int) -> int:
        """Its square."""
        return number * number

    @procedure("later", role="guest")
    def later(self) -> Deferred[int]:
        """Never, as far as a test is concerned."""
        return Deferred()

    @procedure("broken", role="guest")
    def broken(self) -> None:
        """A bug."""
        raise RuntimeError


class ConformanceTests(TestCase):
    """In the order of the specification's sections."""

    def setUp(self) -> None:
        """A dispatcher with a few procedures."""
        self.clock = Clock()
        self.procedures = Procedures()
        registry = Registry()
        registry.add(self.procedures)
        self.settings = RpcSettings()
        answers = Answers(MemoryStore(), self.clock, 60.0, 300.0)
        self.dispatcher = Dispatcher(registry, self.clock, self.settings, answers, lambda *_: self.fail("nothing blocks"), 256)  # type: ignore[arg-type,return-value]

    def text(self, message: Any) -> str | None:
        """What is answered to a message, as text; None for nothing."""
        text = message if isinstance(message, str) else json.dumps(message)
        answer = self.dispatcher.handle(text, ExampleCaller())
        if isinstance(answer, Deferred):
            self.clock.advance(self.settings.deadline + 1)
            answer = self.successResultOf(answer)
        return None if answer is None else answer.decode()

    def call(self, message: Any) -> Any:
        """The same, decoded."""
        text = self.text(message)
        return None if text is None else json.loads(text)

    def code(self, message: Any) -> int:
        """The code of the error that is the answer."""
        return int(self.call(message)["error"]["code"])

    def request(self, **members: Any) -> dict[str, Any]:
        """A call of `pair`."""
        return {"jsonrpc": "2.0", "method": "pair", "params": [1], "id": 1} | members

    def test_version_of_requests(self) -> None:
        """4: "jsonrpc" is exactly "2.0"."""
        for version in ("1.0", "2", 2.0, 2, None, ["2.0"], "2.0 "):
            self.assertEqual(self.code(self.request(jsonrpc=version)), -32600, version)
        self.assertEqual(self.code({"method": "pair", "params": [1], "id": 1}), -32600)

    def test_case(self) -> None:
        """2: member names are matched case-sensitively."""
        self.assertEqual(self.code({"jsonrpc": "2.0", "METHOD": "pair", "id": 1}), -32600)
        self.assertIsNone(self.call({"jsonrpc": "2.0", "method": "pair", "params": [1], "ID": 1}))

    def test_types_of_ids(self) -> None:
        """4: an id is a string, a number or null."""
        for identifier in (True, False, [], [1], {}, {"a": 1}):
            self.assertEqual(self.call(self.request(id=identifier))["error"]["code"], -32600, identifier)
        self.assertEqual(self.procedures.seen, [])
        for identifier in ("", "x", 0, -1, 1.5, None, 10**40):
            self.assertEqual(self.call(self.request(id=identifier))["result"], [1, None])

    def test_same_id(self) -> None:
        """4, 5: the response has the id of the request, as it was written."""
        for identifier in ("1", "1.0", "1e2", "-0", '"1"', '"\\u00e9"', '"é"', "null", "123456789012345678901234567890", "0.10"):
            text = self.text('{"jsonrpc":"2.0","method":"pair","params":[1],"id":%s}' % identifier)  # noqa: UP031
            self.assertEqual(text, '{"jsonrpc":"2.0","id":%s,"result":[1,null]}' % identifier)  # noqa: UP031

    def test_notifications(self) -> None:
        """4.1: a notification is not answered, whatever comes of it, in a batch or not."""
        notification = {"jsonrpc": "2.0", "method": "pair", "params": [1]}
        bad = [{"jsonrpc": "2.0", "method": "no.such"}, {"jsonrpc": "2.0", "method": "pair", "params": {"third": 1}}, {"jsonrpc": "2.0", "method": "broken"}]
        for message in (notification, *bad):
            self.assertIsNone(self.call(message))
        answers = self.call([notification, *bad, self.request(id=7)])
        self.assertEqual([answer["id"] for answer in answers], [7])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_structured_params(self) -> None:
        """4.2: params are an array or an object."""
        for params in (1, "x", None, True, 1.5):
            self.assertEqual(self.code(self.request(params=params)), -32600, params)
        self.assertEqual(self.code({"jsonrpc": "2.0", "method": "pair", "id": 1}), -32602)  # left out: none are given

    def test_params_by_position(self) -> None:
        """4.2: an array has them in the server's order."""
        self.assertEqual(self.call(self.request(params=[1, 2]))["result"], [1, 2])
        self.assertEqual(self.code(self.request(params=[1, 2, 3])), -32602)
        self.assertEqual(self.code(self.request(params=[])), -32602)

    def test_params_by_name(self) -> None:
        """4.2: an object has them by name, matched exactly, case included."""
        self.assertEqual(self.call(self.request(params={"second": 2, "first": 1}))["result"], [1, 2])
        for params in ({"First": 1}, {"FIRST": 1}, {"first": 1, "Second": 2}, {"first": 1, "third": 3}, {"second": 2}):
            self.assertEqual(self.code(self.request(params=params)), -32602, params)

    def test_every_call_is_answered(self) -> None:
        """5: a call is answered, also one that never ends by itself."""
        self.assertEqual(self.code({"jsonrpc": "2.0", "method": "later", "id": 1}), -32007)

    @given(ANYTHING)
    def test_responses(self, message: Any) -> None:
        """5, 5.1: "jsonrpc" is "2.0"; either result or error, never both; id; an error has an integer code and a message."""
        answer = self.call(message)
        if isinstance(message, list) and message:
            for each in answer or []:
                self.check_response(each)
        elif answer is not None:
            self.check_response(answer)

    def check_response(self, response: Any) -> None:
        """A response object."""
        self.assertEqual(response["jsonrpc"], "2.0")
        self.assertIn("id", response)
        self.assertEqual(len({"result", "error"} & set(response)), 1)
        self.assertEqual(set(response) - {"jsonrpc", "id", "result", "error"}, set())
        if "error" in response:
            error = response["error"]
            self.assertIs(type(error["code"]), int)
            self.assertIs(type(error["message"]), str)
            self.assertEqual(set(error) - {"code", "message", "data"}, set())

    def test_id_that_cannot_be_seen(self) -> None:
        """5: it is null then."""
        for message in ("", "{", "[", '{"jsonrpc":"2.0","id":1,', "1", "null", '"x"', '{"id":[1]}', '{"id":{}}', '{"id":true}', "[]"):
            self.assertEqual(self.call(message)["id"], None, message)

    def test_codes_of_the_specification(self) -> None:
        """5.1: each error that the specification defines has its code."""
        self.assertEqual(self.code("{"), -32700)
        self.assertEqual(self.code({}), -32600)
        self.assertEqual(self.code(self.request(method="no.such")), -32601)
        self.assertEqual(self.code(self.request(params={})), -32602)
        self.assertEqual(self.code(self.request(method="broken", params=[])), -32603)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_what_is_no_batch(self) -> None:
        """6: for what is no JSON, or an empty array, the answer is a single response object."""
        for message, code in (("[", -32700), ("[1,", -32700), ("[]", -32600), (" [ ] ", -32600)):
            answer = self.call(message)
            self.assertIsInstance(answer, dict)
            self.assertEqual(answer["error"]["code"], code)

    def test_batch(self) -> None:
        """6: a response for each call, none for a notification; they tell each other apart by id."""
        answers = self.call([self.request(id="a"), {"jsonrpc": "2.0", "method": "pair", "params": [2]}, 1, self.request(id="b", params=[3])])
        self.assertEqual([answer["id"] for answer in answers], ["a", None, "b"])
        self.assertEqual(answers[1]["error"]["code"], -32600)

    def test_batch_without_responses(self) -> None:
        """6: never an empty array, but nothing at all."""
        self.assertIsNone(self.call([{"jsonrpc": "2.0", "method": "pair", "params": [1]}] * 3))

    # What the specification leaves open

    def test_strange_json(self) -> None:
        """NaN and Infinity are no JSON; of a member that is there twice the last counts, as JSON parsers have it; integers have any size."""
        for number in ("NaN", "Infinity", "-Infinity", "01", "1.", "+1", "0x1"):
            self.assertEqual(self.code('{"jsonrpc":"2.0","method":"pair","params":[%s],"id":1}' % number), -32700, number)  # noqa: UP031
        twice = '{"jsonrpc":"2.0","method":"no.such","method":"pair","params":[1],"id":1,"id":2}'
        self.assertEqual(self.call(twice), {"jsonrpc": "2.0", "result": [1, None], "id": 2})
        self.assertEqual(self.call(self.request(params=[10**400]))["result"], [10**400, None])
        self.assertIn(self.code('{"jsonrpc":"2.0","method":"pair","params":[%s],"id":1}' % ("9" * 10_000)), (-32700, -32602))
        self.assertEqual(self.code('{"jsonrpc":"2.0","method":"square","params":[%s],"id":1}' % ("9" * 4000)), -32006)

    def test_half_a_surrogate_pair(self) -> None:
        """It is no text, wherever it is; half an emoji is named."""
        good = {"jsonrpc": "2.0", "method": "pair", "params": [1], "id": 1, "key": "k"}
        for changed in ({"params": ["\ud83d"]}, {"params": {"\ud83d": 1}}, {"method": "\ud83d"}, {"id": "\ud83d"}, {"key": "\ud83d"}, {"other\ud83d": 1}):
            for message in ({**good, **changed}, [good, {**good, **changed}]):
                answer = self.call(json.dumps(message))
                self.assertEqual((answer["error"]["code"], answer["id"]), (-32700, None))
                self.assertIn(r"not valid Unicode text: \ud83d", answer["error"]["data"]["detail"])
        self.assertEqual(self.procedures.seen, [])

    def test_depth(self) -> None:
        """Nested too deeply is a parse error, wherever it is."""
        deep = "[" * 100_000 + "]" * 100_000
        self.assertEqual(self.code(deep), -32700)
        self.assertEqual(self.code('{"jsonrpc":"2.0","method":"pair","params":[%s],"id":1}' % deep), -32700)  # noqa: UP031
        self.assertEqual(self.code('{"jsonrpc":"2.0","method":"pair","params":[1],"id":%s}' % deep), -32700)  # noqa: UP031

    def test_batch_of_100_000(self) -> None:
        """It is refused as a whole, and nothing of it is done."""
        self.assertEqual(self.code("[" + ",".join(['{"jsonrpc":"2.0","method":"pair","params":[1],"id":1}'] * 100_000) + "]"), -32006)
        self.assertEqual(self.procedures.seen, [])

    def test_notification_storms_pay(self) -> None:
        """What is not answered is not free: a caller's budget ends."""
        caller = ExampleCaller()
        for _ in range(100_000):
            self.dispatcher.handle('{"jsonrpc":"2.0","method":"pair","params":[1]}', caller)
        self.assertLess(len(self.procedures.seen), 1000)

    @given(st.text(max_size=40) | st.text(alphabet='{}[]":,0123456789.eE+-truefalsnjocpmd \\u', max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever is sent, the answer is a response, a list of them, or nothing; never an exception."""
        answer = self.call(text)
        for each in answer if isinstance(answer, list) else [answer]:
            if each is not None:
                self.check_response(each)
