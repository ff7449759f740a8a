"""The examples of the JSON-RPC 2.0 specification (section 7), in meaning byte for byte."""

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.procedures import Registry, procedure
from netsvc.core.settings import LimitsSettings
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.settings import RpcSettings
from netsvc.store.memory import MemoryStore


class SpecificationProcedures:
    """What the examples call."""

    def __init__(self) -> None:
        self.updated: list[Any] = []

    @procedure("subtract", role="guest")
    def subtract(self, minuend: int, subtrahend: int) -> int:
        """The difference."""
        return minuend - subtrahend

    @procedure("update", role="guest")
    def update(self, a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0) -> None:
        """A notification's procedure."""
        self.updated.append((a, b, c, d, e))

    @procedure("notify_hello", role="guest")
    def notify_hello(self, number: int) -> None:
        """Another."""
        self.updated.append(number)

    @procedure("notify_sum", role="guest")
    def notify_sum(self, a: int, b: int, c: int) -> None:
        """A third."""
        self.updated.append(a + b + c)

    @procedure("sum", role="guest")
    def sum(self, a: int, b: int, c: int) -> int:
        """The sum."""
        return a + b + c

    @procedure("get_data", role="guest")
    def get_data(self) -> list[str | int]:
        """Data."""
        return ["hello", 5]


class ExampleCaller:
    """A guest over HTTP."""

    identity = Identity("guest", ("guest",), guest=True)
    peer = "127.0.0.1"
    connection = None
    key = None

    def __init__(self) -> None:
        self.budget = Budgets(LimitsSettings(), lambda: 0.0).of(None, "192.0.2.1")


def without_details(answer: Any) -> Any:
    """The answer without what the specification leaves open: the error's message and data."""
    if isinstance(answer, list):
        return [without_details(each) for each in answer]
    if isinstance(answer, dict) and "error" in answer:
        return answer | {"error": answer["error"]["code"]}
    return answer


class SpecificationExamples(TestCase):
    """Each exchange as the specification prints it; messages of errors are ours."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.procedures = SpecificationProcedures()
        registry = Registry()
        registry.add(self.procedures)
        self.dispatcher = Dispatcher(registry, Clock(), RpcSettings(), Answers(MemoryStore(), Clock(), 60, 300), lambda *_: self.fail("nothing blocks"), 256)  # type: ignore[arg-type,return-value]

    def exchange(self, message: str) -> Any:
        """What the server answers, None for nothing."""
        answer = self.dispatcher.handle(message, ExampleCaller())
        assert answer is None or isinstance(answer, bytes)
        return None if answer is None else without_details(json.loads(answer))

    def test_positional_parameters(self) -> None:
        """rpc call with positional parameters."""
        self.assertEqual(
            self.exchange('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}'), {"jsonrpc": "2.0", "result": 19, "id": 1}
        )
        self.assertEqual(
            self.exchange('{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}'), {"jsonrpc": "2.0", "result": -19, "id": 2}
        )

    def test_named_parameters(self) -> None:
        """rpc call with named parameters."""
        for params, identifier in (('{"subtrahend": 23, "minuend": 42}', 3), ('{"minuend": 42, "subtrahend": 23}', 4)):
            self.assertEqual(
                self.exchange('{"jsonrpc": "2.0", "method": "subtract", "params": %s, "id": %d}' % (params, identifier)),  # noqa: UP031
                {"jsonrpc": "2.0", "result": 19, "id": identifier},
            )

    def test_notification(self) -> None:
        """A notification, known or not, has no answer."""
        self.assertIsNone(self.exchange('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}'))
        self.assertIsNone(self.exchange('{"jsonrpc": "2.0", "method": "foobar"}'))
        self.assertEqual(self.procedures.updated, [(1, 2, 3, 4, 5)])

    def test_unknown_method(self) -> None:
        """rpc call of non-existent method."""
        self.assertEqual(self.exchange('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}'), {"jsonrpc": "2.0", "error": -32601, "id": "1"})

    def test_invalid_json(self) -> None:
        """rpc call with invalid JSON."""
        self.assertEqual(
            self.exchange('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]'), {"jsonrpc": "2.0", "error": -32700, "id": None}
        )

    def test_invalid_request(self) -> None:
        """rpc call with invalid Request object."""
        self.assertEqual(self.exchange('{"jsonrpc": "2.0", "method": 1, "params": "bar"}'), {"jsonrpc": "2.0", "error": -32600, "id": None})

    def test_batch_invalid_json(self) -> None:
        """rpc call Batch, invalid JSON."""
        message = '[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method" ]'
        self.assertEqual(self.exchange(message), {"jsonrpc": "2.0", "error": -32700, "id": None})

    def test_empty_array(self) -> None:
        """rpc call with an empty Array."""
        self.assertEqual(self.exchange("[]"), {"jsonrpc": "2.0", "error": -32600, "id": None})

    def test_invalid_batch(self) -> None:
        """rpc call with an invalid Batch, empty or not."""
        invalid = {"jsonrpc": "2.0", "error": -32600, "id": None}
        self.assertEqual(self.exchange("[1]"), [invalid])
        self.assertEqual(self.exchange("[1,2,3]"), [invalid] * 3)

    def test_batch(self) -> None:
        """rpc call Batch."""
        message = """[
            {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
            {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
            {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
            {"foo": "boo"},
            {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
            {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]"""
        self.assertEqual(
            self.exchange(message),
            [
                {"jsonrpc": "2.0", "result": 7, "id": "1"},
                {"jsonrpc": "2.0", "result": 19, "id": "2"},
                {"jsonrpc": "2.0", "error": -32600, "id": None},
                {"jsonrpc": "2.0", "error": -32601, "id": "5"},
                {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"},
            ],
        )
        self.assertEqual(self.procedures.updated, [7])

    def test_batch_of_notifications(self) -> None:
        """rpc call Batch (all notifications): nothing is returned."""
        message = '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]'
        self.assertIsNone(self.exchange(message))
        self.assertEqual(self.procedures.updated, [7, 7])
