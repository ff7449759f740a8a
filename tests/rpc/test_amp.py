"""RPC over AMP: Twisted's own client at the other end, and boxes of our own making."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure

from netsvc.client.amp import Call, Notify, RpcError
from netsvc.core.procedures import procedure
from netsvc.errors import RateLimited
from netsvc.rpc.amp import AmpConnection
from netsvc.rpc.stream_settings import AmpSettings
from netsvc.rpc.streams import StreamFactory
from netsvc.wire.amp import BoxReader, box_bytes
from tests.rpc.provider_case import member
from tests.rpc.test_streams import StreamCase


class Peer(amp.AMP):  # type: ignore[misc]  # amp has no types
    """A client of Twisted's, on a transport that the test carries.

    :ivar told: the notifications; `asked`: the calls, with the Deferreds of their answers.
    """

    def __init__(self) -> None:
        amp.AMP.__init__(self)
        self.told: list[tuple[str, Any]] = []
        self.asked: list[tuple[dict[str, Any], Deferred[Any]]] = []

    @Notify.responder
    def notified(self, method: str, params: Any) -> dict[str, Any]:
        """A notification."""
        self.told.append((method, params))
        return {}

    @Call.responder
    def called(self, **arguments: Any) -> Deferred[Any]:
        """A call."""
        answer: Deferred[Any] = Deferred()
        self.asked.append((arguments, answer))
        return answer


class Size:
    """A procedure whose result is as long as one likes."""

    @procedure("test.repeat", role="guest")
    def repeat(self, text: str, count: int) -> str:
        """A long text."""
        return text * count


class Spent:
    """A budget that is."""

    pause = 0.0

    def charge(self, cost: float) -> None:
        """Never enough."""
        raise RateLimited("no")


class AmpTests(StreamCase):
    """Calls, errors, notifications, providers."""

    def setUp(self) -> None:
        """What each test starts with."""
        StreamCase.setUp(self)
        self.registry.add(Size())
        self.protocol, self.transport = self.connect()
        self.peer = Peer()
        self.wire = StringTransport()
        self.peer.makeConnection(self.wire)

    def make_factory(self) -> StreamFactory:
        """See StreamCase."""
        settings = AmpSettings(message=300_000, idle_timeout=100, message_timeout=40)
        return StreamFactory(settings, self.service, self.admission, self.clock, BoxReader, AmpConnection)

    def flow(self) -> None:
        """Carry all bytes both ways."""
        while self.wire.value() or self.transport.value():
            data = self.wire.value()
            self.wire.clear()
            self.protocol.dataReceived(data)
            data = self.transport.value()
            self.transport.clear()
            self.peer.dataReceived(data)

    def remote(self, **arguments: Any) -> Deferred[Any]:
        """Begin a call. AMP logs what nobody has asked for by the time that the answer is there."""
        outcome: Deferred[Any] = Deferred()
        self.peer.callRemote(Call, **arguments).addCallbacks(outcome.callback, outcome.errback)
        return outcome

    def outcome(self, answer: Deferred[Any]) -> Any:
        """What callRemote gives."""
        self.flow()
        return self.successResultOf(answer)

    def error(self, answer: Deferred[Any]) -> RpcError:
        """The error that it fails with."""
        self.flow()
        error = self.failureResultOf(answer, RpcError).value
        assert isinstance(error, RpcError)
        return error

    def test_calls(self) -> None:
        """With params by name or position, or none, and many at once."""
        answers = [self.remote(method="test.repeat", params=params) for params in (["ab", 2], {"text": "ü", "count": 1})]
        answers.append(self.remote(method="local.plain"))
        self.assertEqual([self.outcome(answer)["result"] for answer in answers], ["abab", "ü", 1])

    def test_long_values(self) -> None:
        """Params and results beyond 64 KiB."""
        answer = self.remote(method="test.repeat", params={"text": "x" * 100_000, "count": 2})
        self.assertEqual(self.outcome(answer)["result"], "x" * 200_000)

    def test_errors(self) -> None:
        """They have code, message and data."""
        error = self.error(self.remote(method="test.repeat", params=["x", "y"]))
        self.assertEqual((error.code, error.data["parameter"]), (-32602, "count"))
        for arguments, code in (
            ({"method": "no.such"}, -32601),
            ({"method": "local.plain", "deadline": 0.0}, -32007),
            ({"method": "local.plain", "deadline": float("inf")}, -32600),
            ({"method": "local.plain", "key": ""}, -32600),
            ({"method": "local.plain", "id": "#1"}, -32600),
            ({"method": "rpc.provide", "params": ["a.b"]}, -32002),
        ):
            self.assertEqual(self.error(self.remote(**arguments)).code, code, arguments)

    def test_long_error(self) -> None:
        """Its data is left out if it would not fit."""
        self.protocol._application.login(member("ann"))
        provider, call = self.provider(), self.remote(method="test.work")
        self.flow()
        provider.hear()
        provider.refuse({"code": 5, "message": "no", "data": "x" * 900})
        self.assertEqual(self.error(call).data, "x" * 900)
        message = b'{"jsonrpc":"2.0","id":"#1","error":{"code":5,"message":"no","data":"%b"}}' % (b"x" * 70_000)
        self.assertNotIn(b"xxx", self.protocol._application.frame(message))

    def test_key(self) -> None:
        """The same key gives the same answer, and the next call has none."""
        answers = []
        for _ in range(2):
            answers.append(self.remote(method="test.repeat", params=["a", 1], key="k"))
            self.flow()
            self.clock.pump([0] * 5)
        self.assertEqual([self.outcome(answer)["result"] for answer in answers], ["a", "a"])
        self.assertEqual(self.error(self.remote(method="test.repeat", params=["b", 1], key="k")).code, -32004)
        self.assertIsNone(self.protocol._application.key)

    def test_ids_and_progress(self) -> None:
        """A call with an id can be cancelled, and tells of its progress; two at a time cannot have the same."""
        call = self.remote(method="local.long", id="mine")
        again = self.remote(method="local.long", id="mine")
        self.assertEqual(self.error(again).code, -32600)
        self.local.running[0][0].progress(done=1)
        self.flow()
        self.assertEqual(self.peer.told, [("rpc.progress", {"done": 1, "id": "mine"})])
        self.peer.callRemote(Notify, method="rpc.cancel", params={"id": "mine"})
        self.assertEqual(self.error(call).code, -32007)
        call = self.remote(method="local.long", id="mine")
        self.flow()
        self.local.running[1][1].callback("again")
        self.assertEqual(self.outcome(call), {"result": "again"})

    def test_provider(self) -> None:
        """It is called by the same command, with an id and the seconds that are left, and told when to give up."""
        self.protocol._application.login(member("ann"))
        self.outcome(self.remote(method="rpc.provide", params={"name": "test.work"}))
        caller = self.program()
        caller.begin("test.work", {"a": 1}, 1, deadline=5)
        caller.begin("test.work", None, 2)
        caller.begin("test.work", None, 3)
        self.flow()
        (first, answer), (second, refusal), (_, bug) = self.peer.asked
        self.assertEqual((first["method"], first["params"], first["deadline"], second["params"]), ("test.work", {"a": 1}, 5.0, None))
        self.peer.callRemote(Notify, method="rpc.progress", params={"id": int(first["id"]), "data": "part"})
        self.flow()
        answer.callback({"result": "y" * 100_000})
        refusal.errback(RpcError(7, "no tea", {"kind": "green"}))
        bug.errback(ZeroDivisionError())
        self.flow()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(caller.outcome(1)["code"], -32006, "larger than [rpc] provider_answer")
        self.assertEqual(caller.outcome(2), {"code": 7, "message": "no tea", "data": {"kind": "green"}})
        self.assertEqual(caller.outcome(3)["code"], -32603)
        self.assertEqual(caller.told[0]["params"], {"id": 1, "data": "part"})
        caller.begin("test.work", None, 4, deadline=1)
        self.flow()
        self.clock.pump([0.1] * 13)
        self.flow()
        self.assertEqual(self.peer.told, [("rpc.cancel", {"id": int(self.peer.asked[3][0]["id"])})])

    def test_answers_that_are_no_text(self) -> None:
        """What a provider answers that is no UTF-8, in whatever place, is no answer; its caller hears that at once."""
        self.protocol._application.login(member("ann"))
        self.boxes({b"_ask": b"1", b"_command": b"Call", b"method": b"rpc.provide", b"params": b'["test.work"]'})
        caller = self.program()
        for place in (
            {b"_answer": b"", b"result": b'"\xff"'},
            {b"_answer": b"", b"result": b'{"\xff": 1}'},
            {b"_error": b"", b"_error_code": b"RPC", b"_error_description": b'{"code": 1, "message": "\xff"}'},
            {b"_error": b"", b"_error_code": b"RPC", b"_error_description": b'{"code": 1, "data": {"\xff": 1}}'},
        ):
            caller.begin("test.work")
            (call,) = self.sent()
            self.boxes({key: value or call[b"_ask"] for key, value in place.items()})
            self.assertEqual(caller.outcome()["code"], -32603, place)

    def boxes(self, *boxes: dict[bytes, bytes]) -> list[dict[bytes, bytes]]:
        """What is answered to these boxes."""
        for box in boxes:
            self.protocol.dataReceived(box_bytes(box.items()))
        return self.sent()

    def sent(self) -> list[Any]:
        """The boxes that the client has got; they are forgotten."""
        reader = BoxReader(1 << 20)
        reader.feed(self.transport.value())
        self.transport.clear()
        return list(iter(reader.next, None))

    def test_strange_boxes(self) -> None:
        """Each has a defined answer."""
        (answer,) = self.boxes({b"_command": b"Other", b"_ask": b"1"})
        self.assertEqual((answer[b"_error"], answer[b"_error_code"]), (b"1", b"UNHANDLED"))
        for box in (
            {b"_command": b"Call"},
            {b"_command": b"Other"},
            {b"x": b"y"},
            {b"_answer": b"1", b"result": b"5"},
            {b"_answer": b"x"},
            {b"_error": b"2", b"_error_code": b"RPC"},
            {b"_command": b"Call", b"method": b"local.plain", b"params": b"{"},
        ):
            self.assertEqual(self.boxes(box), [], box)
        for box in (
            {b"_command": b"Call"},
            {b"_command": b"Call", b"method": b"\xff"},
            {b"_command": b"Call", b"method": b"local.plain", b"deadline": b"soon"},
            {b"_command": b"Call", b"method": b"local.plain", b"params": b"5"},
        ):
            (answer,) = self.boxes({**box, b"_ask": b"\xfe7"})
            self.assertEqual((answer[b"_error"], answer[b"_error_code"]), (b"\xfe7", b"RPC"), box)
            self.assertIn(b"-32600", answer[b"_error_description"])

    def test_no_amp(self) -> None:
        """Something else than AMP ends the connection, with the reason."""
        self.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        (last,) = self.sent()
        self.assertEqual((last[b"_command"], last[b"method"]), (b"Notify", b"server.closing"))
        self.protocol.connectionLost(Failure(ConnectionError()))

    def test_spent(self) -> None:
        """A call that is no right one is answered also when the budget is spent."""
        budget: Any = Spent()
        self.protocol._application.budget = budget
        for command in (b"Call", b"Other"):
            (answer,) = self.boxes({b"_command": command, b"_ask": b"1"})
            self.assertIn(b"-32005", answer[b"_error_description"])

    def test_a_box_that_does_not_end(self) -> None:
        """Its connection goes, whether it stops in a length, in a key, behind one or in a value; others stay."""
        whole = b"\0\x08_command\0\x04Call\0\0"
        for count in (0, 1, 4, 10, 13, 16):
            protocol, transport = self.connect()
            protocol.dataReceived(whole + whole[:count])
            for _ in range(90):
                self.clock.advance(1.0)
                protocol.dataReceived(b"")
            self.assertEqual(transport.disconnecting or transport.half, count > 0, count)
