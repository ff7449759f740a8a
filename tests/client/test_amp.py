"""Tests for netsvc.client.amp: its commands between two of Twisted's own AMP protocols."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.protocols.amp import AMP, UnknownRemoteError
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.amp import Call, Json, Notify, RpcError


class Answering(AMP):
    """The other end: answers as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.result: Any = None
        self.error: Exception | None = None
        self.calls: list[dict[str, Any]] = []
        self.notices: list[tuple[str, Any]] = []

    @Call.responder
    def called(self, **arguments: Any) -> dict[str, Any]:
        """A call."""
        self.calls.append(arguments)
        if self.error is not None:
            raise self.error
        return {"result": self.result}

    @Notify.responder
    def notified(self, method: str, params: Any) -> dict[str, Any]:
        """A notification."""
        self.notices.append((method, params))
        return {}


class Commands(SynchronousTestCase):
    """Calls and notifications."""

    def setUp(self) -> None:
        """Two ends, and the bytes between them."""
        self.near, self.far = AMP(), Answering()
        self.ends = [(self.near, StringTransport()), (self.far, StringTransport())]
        for protocol, transport in self.ends:
            protocol.makeConnection(transport)

    def carry(self) -> int:
        """Carry what each end has sent to the other; gives how many bytes came back."""
        (near, sent), (far, returned) = self.ends
        far.dataReceived(sent.value())
        sent.clear()
        answer = returned.value()
        returned.clear()
        near.dataReceived(answer)
        return len(answer)

    def call(self, **arguments: Any) -> "Deferred[dict[str, Any]]":
        """Call the other end, and have its answer."""
        outcome: Deferred[dict[str, Any]] = Deferred()
        # Before there is an answer: AMP logs an error that nobody waits for.
        self.near.callRemote(Call, **arguments).addCallbacks(outcome.callback, outcome.errback)
        self.carry()
        return outcome

    def test_result(self) -> None:
        """Any JSON value is a result, null too; params that are left out are None, as what else is optional."""
        for result in (5, None, [1.5, "é\u2028", {"a": None}], ""):
            self.far.result = result
            self.assertEqual(self.successResultOf(self.call(method="math.add")), {"result": result})
        self.assertEqual(self.far.calls[0], {"method": "math.add", "params": None, "deadline": None, "key": None, "id": None})

    def test_arguments(self) -> None:
        """All arguments arrive as what they were."""
        arguments = {"method": "math.add", "params": {"a": 2, "b": [3]}, "deadline": 2.5, "key": "k", "id": "one"}
        self.successResultOf(self.call(**arguments))
        self.assertEqual(self.far.calls, [arguments])

    def test_long_values(self) -> None:
        """What does not fit under one key of a box goes on under further ones, in both directions, up to and beyond their edges."""
        for length in (65_533, 65_534, 131_068, 131_069, 200_000):
            self.far.result = "r" * length
            self.assertEqual(self.successResultOf(self.call(method="m", params=["p" * length, "é"])), {"result": "r" * length})
            self.assertEqual(self.far.calls[-1]["params"], ["p" * length, "é"])

    def test_error(self) -> None:
        """An error comes with its three parts; its data may be missing."""
        for parts in ((-32602, "invalid params", {"detail": "b: missing"}), (7, "own", None)):
            self.far.error = RpcError(*parts)
            error = self.failureResultOf(self.call(method="m"), RpcError).value
            self.assertEqual((error.code, error.message, error.data), parts)

    def test_error_without_data(self) -> None:
        """As netsvc describes one that has none."""
        error = RpcError('{"code":-32601,"message":"method not found"}')
        self.assertEqual((error.code, error.message, error.data), (-32601, "method not found", None))
        self.assertEqual(json.loads(str(error)), {"code": -32601, "message": "method not found", "data": None})

    def test_unforeseen_errors(self) -> None:
        """Of any other exception nothing is told."""
        self.far.error = ZeroDivisionError("secret")
        error = self.failureResultOf(self.call(method="m"), UnknownRemoteError).value
        self.assertNotIn("secret", str(error))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_notification(self) -> None:
        """Arrives, and is not answered."""
        self.assertIsNone(self.near.callRemote(Notify, method="rpc.progress", params={"done": 1}))
        self.assertIsNone(self.near.callRemote(Notify, method="bare"))
        self.assertEqual(self.carry(), 0)
        self.assertEqual(self.far.notices, [("rpc.progress", {"done": 1}), ("bare", None)])

    def test_what_is_no_json(self) -> None:
        """Is refused where it is said: NaN and infinities, and objects."""
        for value in (float("nan"), float("inf")):
            self.assertRaises(ValueError, self.call, method="m", params=[value])
        self.assertRaises(TypeError, self.call, method="m", params=[object()])
        self.assertEqual(self.far.calls, [])


class JsonArguments(SynchronousTestCase):
    """Json by itself."""

    def test_missing(self) -> None:
        """What has to be there and is not is missing; a piece without a beginning is none."""
        self.assertRaises(KeyError, Json().fromBox, b"result", {b"result.2": b"1"}, {}, None)
        objects: dict[str, Any] = {}
        Json(optional=True).fromBox(b"params", {}, objects, None)
        self.assertEqual(objects, {"params": None})

    def test_pieces(self) -> None:
        """They are joined in order, as far as they go on."""
        strings = {b"r.3": b"3]", b"r": b"[1", b"r.2": b",2", b"r.5": b"x"}
        objects: dict[str, Any] = {}
        Json().fromBox(b"r", strings, objects, None)
        self.assertEqual((objects, strings), ({"r": [1, 23]}, {b"r.5": b"x"}))
