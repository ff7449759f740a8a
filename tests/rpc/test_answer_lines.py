"""``POST /rpc`` with an answer in lines: what a call gives on the way, over plain HTTP."""

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.procedures import Call, Registry, procedure
from netsvc.core.settings import LimitsSettings
from netsvc.errors import Conflict, Overloaded
from netsvc.rpc.answer_lines import AnswerLines, lines_type
from netsvc.rpc.connection import RpcService
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.endpoint import RpcEndpoint
from netsvc.rpc.settings import RpcSettings
from netsvc.store.memory import MemoryStore
from tests.http.channels import ChannelCase, Client, request

GUEST = Identity("guest-1", ("guest",), guest=True)
LINES = "Accept: application/jsonl"


class Works:
    """Procedures that take their time; `calls` are those under way, `done` ends each."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.done: list[Deferred[Any]] = []

    @procedure("work.do", role="guest")
    async def do(self, call: Call, first: str | None = None) -> Any:
        """Do it."""
        if first is not None:
            call.progress(first)
        self.calls.append(call)
        self.done.append(Deferred())
        return await self.done[-1]

    @procedure("work.burst", role="guest")
    def burst(self, call: Call, count: int, size: int) -> str:
        """Give parts at once."""
        for _ in range(count):
            call.progress("x" * size)
        return "end"

    @procedure("work.catch_up", role="guest")
    async def catch_up(self, call: Call) -> str:
        """Give two parts."""
        for part in (1, 2):
            call.progress(part)
            await call.caught_up()
        return "end"

    @procedure("work.quick", role="guest")
    def quick(self, call: Call, fails: bool = False) -> str:
        """Done at once."""
        call.progress("part")
        if fails:
            raise Conflict("no")
        return "all"


class LinesTests(ChannelCase):
    """The lines."""

    def setUp(self) -> None:
        """What each test starts with."""
        super().setUp()
        self.works = Works()
        registry = Registry()
        registry.add(self.works)
        settings = RpcSettings(progress_backlog=200)
        dispatcher = Dispatcher(registry, self.clock, settings, Answers(MemoryStore(), self.clock, 60.0, 300.0), lambda *_: self.fail("nothing blocks"), 256)  # type: ignore[arg-type,return-value]
        service = RpcService(dispatcher, Budgets(LimitsSettings(), self.clock.seconds), None, None, 4, settings.progress_backlog, settings.login_timeout)  # type: ignore[arg-type]
        self.routes.add("POST", "/rpc", RpcEndpoint(service, lambda _: GUEST, "title", "1.0").post, public=True)

    def call(self, method: str, params: Any = None, *lines: str, id: Any = 1, version: str = "1.1") -> None:
        """Send a call."""
        message = {"jsonrpc": "2.0", "method": method, "id": id, "params": params or []}
        self.client.send(request("/rpc", *(lines or (LINES,)), method="POST", version=version, body=json.dumps(message).encode()))

    def told(self, body: bytes) -> list[Any]:
        """The lines of a body: what notifications say, and the last, the response, as its result or error."""
        *parts, answer = [json.loads(line) for line in body.splitlines()]
        self.assertTrue(body.endswith(b"\n"))
        self.assertEqual({each["method"] for each in parts} - {"rpc.progress"}, set())
        return [*(each["params"] for each in parts), answer.get("result", answer.get("error", {}).get("code"))]

    def test_parts(self) -> None:
        """Parts are sent as they come, each with the id of the call; the last line is the response, and the connection goes on."""
        self.call("work.do", id="x")
        self.assertEqual(self.client.sent(), b"")
        self.works.calls[0].progress([1, 2])
        sent = self.client.sent()
        head, _, body = sent.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Type: application/jsonl\r\n", head)
        self.assertIn(b"X-Accel-Buffering: no", head)
        self.assertEqual(body, b'4b\r\n{"jsonrpc":"2.0","method":"rpc.progress","params":{"data":[1,2],"id":"x"}}\n\r\n')
        self.works.calls[0].progress(done=1, total=2)
        self.assertIn(b'"done":1', self.client.sent())
        self.works.done[0].callback("end")
        self.assertIn(b'{"jsonrpc":"2.0","id":"x","result":"end"}\n\r\n0\r\n\r\n', self.client.sent())
        self.call("work.quick")
        self.assertEqual(self.told(self.client.answer().body), [{"data": "part", "id": 1}, "all"])

    def test_nothing_on_the_way(self) -> None:
        """A call that gives nothing on the way has the status of what comes of it."""
        self.call("work.do")
        self.call("work.do", id=2)
        self.works.done[0].callback("end")
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.fields["content-type"], self.told(answer.body)), (200, "application/jsonl", ["end"]))
        self.works.done[1].errback(Overloaded("later", retry_after=2.0))
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.fields["retry-after"], self.told(answer.body)), (503, "2", [-32008]))
        self.client.send(request("/rpc", LINES, method="POST", body=b"\xff"))
        answer = self.client.answer()
        self.assertEqual((answer.status, self.told(answer.body)), (400, [-32700]))
        self.client.send(request("/rpc", LINES, method="POST", body=b'{"jsonrpc":"2.0","method":"work.quick"}'))
        self.assertEqual(self.client.answer().status, 204)

    def test_fails_on_the_way(self) -> None:
        """Once something has been sent the status is 200, and the last line says what is wrong."""
        self.call("work.do", ["first"])
        self.works.done[0].errback(Conflict("no"))
        self.call("work.quick", {"fails": True})
        for answer in self.client.answers():
            self.assertEqual((answer.status, self.told(answer.body)[-1]), (200, -32004))

    def test_unasked(self) -> None:
        """Who does not ask for lines gets one answer, and no progress."""
        for accept in ("Accept: */*", "Accept: application/json", "Accept: application/jsonl;q=0.0", "Accept: text/html", "X: y"):
            self.call("work.quick", None, accept)
            answer = self.client.answer()
            self.assertEqual((answer.fields["content-type"], json.loads(answer.body)["result"]), ("application/json", "all"), accept)

    def test_media_types(self) -> None:
        """Both names of JSON Lines are known; the answer has the one that was asked for."""
        for accept, expected in (
            (b"application/x-ndjson", b"application/x-ndjson"),
            (b"application/json;q=0.5, Application/JSONL ; q=0.5", b"application/jsonl"),
            (b"application/json, application/jsonl;q=0.5", None),
            (b"application/jsonl;q=0.5, */*;q=0.1", b"application/jsonl"),
            (b"application/*", None),
            (b"application/jsonl; q=0, application/x-ndjson", b"application/x-ndjson"),
            (b"application/jsonl-more", None),
        ):
            self.assertEqual(lines_type(accept), expected, accept)

    def test_batch(self) -> None:
        """The calls of a batch each have their own parts; its answer is one line, as it would be without them."""
        calls = [{"jsonrpc": "2.0", "method": "work.do", "params": [f"part {id}"], "id": id} for id in (1, 2)]
        self.client.send(request("/rpc", LINES, method="POST", body=json.dumps(calls).encode()))
        for index in (1, 0):
            self.works.done[index].callback(index)
        *parts, last = [json.loads(line) for line in self.client.answer().body.splitlines()]
        self.assertEqual([each["params"] for each in parts], [{"data": "part 1", "id": 1}, {"data": "part 2", "id": 2}])
        self.assertEqual([each["result"] for each in last], [0, 1])

    def test_slow_reader(self) -> None:
        """Parts wait up to the bound for a client that takes none, then its call fails; mere progress is dropped meanwhile."""
        self.call("work.do", ["x"])
        self.client.fill()
        call = self.works.calls[0]
        call.progress(done=1)
        call.progress("y" * 20)
        self.assertRaises(Overloaded, call.progress, "z" * 50)
        self.client.drain()
        call.progress(done=2)
        self.works.done[0].callback("end")
        self.assertEqual(
            self.told(self.client.answer().body),
            [{"data": "x", "id": 1}, {"data": "y" * 20, "id": 1}, {"done": 2, "id": 1}, "end"],
        )

    def test_caught_up(self) -> None:
        """Who waits until the client has caught up can send any amount: before the answer has begun, and behind it."""
        self.call("work.do", ["x"])
        call = self.works.calls[0]
        waiting = call.caught_up()
        self.assertNoResult(waiting)  # others have their turn first
        self.clock.advance(0)
        self.successResultOf(waiting)
        self.client.fill()
        for _ in range(10):
            call.progress("y" * 100)
            waiting, given_up = call.caught_up(), call.caught_up()
            self.clock.advance(0)
            given_up.cancel()
            self.failureResultOf(given_up, CancelledError)
            self.assertNoResult(waiting)
            self.client.drain()
            self.successResultOf(waiting)
            self.client.fill()
        self.client.lose()
        waiting = call.caught_up()
        self.clock.advance(0)
        self.failureResultOf(waiting, CancelledError)

    def test_caught_up_before_the_beginning(self) -> None:
        """What is given before anything else happens has begun to be sent when the wait for it is over."""
        self.call("work.catch_up")
        self.advance(2)
        self.assertEqual(self.told(self.client.answer().body), [{"data": 1, "id": 1}, {"data": 2, "id": 1}, "end"])
        self.call("work.catch_up", None, "Accept: */*")
        self.advance(2)
        self.assertEqual(json.loads(self.client.answer().body)["result"], "end")

    def test_too_much_at_once(self) -> None:
        """The bound holds also before the answer has begun, but not for the first part; the error names no time to call again, for it had an effect."""
        self.call("work.burst", [2, 300])
        answer = self.client.answer()
        self.assertEqual((answer.status, self.told(answer.body)), (200, [{"data": "x" * 300, "id": 1}, -32008]))
        self.assertNotIn(b"retry_after", answer.body)
        self.call("work.burst", [1, 300])
        self.assertEqual(self.told(self.client.answer().body), [{"data": "x" * 300, "id": 1}, "end"])

    def test_lines_of_others(self) -> None:
        """What comes from a provider in several lines is one line."""
        lines = AnswerLines(b"application/jsonl", 100)
        lines.send_progress(b'{\n"a":1}', True)
        lines.send_progress(b'{"b"\n:1}', True)
        self.assertEqual(lines.whole(b"{\r\n}"), b'{ "a":1}\n{"b" :1}\n{\r }\n')

    def test_stored(self) -> None:
        """A call whose answer is stored goes on when its caller has gone, whether or not it waits for that: the same key gets what it gave."""
        for number, start in enumerate(([], ["part"])):
            keyed = (LINES, f"Idempotency-Key: k{number}")
            self.call("work.do", start, *keyed)
            call = self.works.calls[-1]
            call.progress("x")
            self.client.fill()
            call.progress("x" * 100)
            waiting = call.caught_up()
            self.clock.advance(0)
            self.client.lose()
            self.successResultOf(waiting)
            for _ in range(10):
                call.progress("x" * 100)
            waiting = call.caught_up()
            self.clock.advance(0)
            self.successResultOf(waiting)
            self.client = Client(self.factory)
            self.works.done[-1].callback("end")
            self.call("work.do", start, *keyed)
            self.assertEqual((self.told(self.client.answer().body), len(self.works.calls)), (["end"], number + 1))

    def test_client_leaves(self) -> None:
        """A call whose caller has gone is cancelled, before its first part and behind it; what it gives then goes nowhere."""
        for params in ([], ["part"]):
            self.call("work.do", params)
            self.client.lose()
            self.assertTrue(self.works.done[-1].called)
            self.works.calls[-1].progress(done=1)
            self.client = Client(self.factory)

    def test_client_sends_no_more(self) -> None:
        """A client that has closed its direction still gets all of it."""
        self.call("work.do", ["part"])
        self.client.channel.readConnectionLost()
        self.works.done[0].callback("end")
        self.assertEqual(self.told(self.client.answer().body), [{"data": "part", "id": 1}, "end"])

    def test_deadline(self) -> None:
        """The deadline holds also for a call that has given parts."""
        self.call("work.do", ["part"], LINES, "X-Deadline: 2")
        self.advance(3)
        self.assertEqual(self.told(self.client.answer().body), [{"data": "part", "id": 1}, -32007])

    def test_1_0(self) -> None:
        """HTTP/1.0 has no chunks: the answer ends with the connection."""
        self.call("work.do", ["part"], version="1.0")
        self.works.done[0].callback("end")
        answer = self.client.answer()
        self.assertEqual((self.told(answer.body), self.client.ended), ([{"data": "part", "id": 1}, "end"], "closed"))
