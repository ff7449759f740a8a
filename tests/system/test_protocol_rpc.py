"""JSON-RPC over the wire: the specification's examples, bad input, batches, deadlines, keys, discovery."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tests.system.clients import Answer, RpcError, RpcSocket, post_rpc, request
from tests.system.raw import abandon, exchange, head
from tests.system.served import ServedCase, call

PARSE_ERROR = {"jsonrpc": "2.0", "error": {"code": -32700}, "id": None}
INVALID = {"jsonrpc": "2.0", "error": {"code": -32600}, "id": None}

# Section 7 of the specification, in its order: what is sent, what comes back.
EXAMPLES: list[tuple[str, Any]] = [
    ('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', {"jsonrpc": "2.0", "result": 19, "id": 1}),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}', {"jsonrpc": "2.0", "result": -19, "id": 2}),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}', {"jsonrpc": "2.0", "result": 19, "id": 3}),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}', {"jsonrpc": "2.0", "result": 19, "id": 4}),
    ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', {"jsonrpc": "2.0", "error": {"code": -32601}, "id": "1"}),
    ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', PARSE_ERROR),
    ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', INVALID),
    ('[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]', PARSE_ERROR),
    ("[]", INVALID),
    ("[1]", [INVALID]),
    ("[1,2,3]", [INVALID, INVALID, INVALID]),
    (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}, '
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"}, {"foo": "boo"}, '
        '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"}, {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
        [
            {"jsonrpc": "2.0", "result": 7, "id": "1"},
            {"jsonrpc": "2.0", "result": 19, "id": "2"},
            INVALID,
            {"jsonrpc": "2.0", "error": {"code": -32601}, "id": "5"},
            {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"},
        ],
    ),
    ('[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]', None),
]

LONG = 20.0
"""Seconds that a procedure would take which is not let to its end."""
SETTINGS = """
[rpc]
modules = netsvc.examples.arithmetic, wire_procedures
batch_reply = 20KiB
[limits]
rate = off
"""


def bare(answer: Any) -> Any:
    """An answer without the words of its errors."""
    if isinstance(answer, list):
        return [bare(each) for each in answer]
    return {**answer, "error": {"code": answer["error"]["code"]}} if "error" in answer else answer


def nested(depth: int) -> Iterator[str]:
    """Calls that are nested deeply in every place where that is possible."""
    deep = "[" * depth + "]" * depth
    yield deep
    yield "[" * depth
    yield '{"a":' * depth
    for template in (
        '{"jsonrpc":"2.0","id":1,"method":"math.add","params":%s}',
        '{"jsonrpc":"2.0","id":1,"method":"no.such","params":%s}',
        '{"jsonrpc":"2.0","id":%s,"method":"math.add"}',
        '{"jsonrpc":"2.0","id":1,"method":"auth.whoami","unknown":%s}',
        '[{"jsonrpc":"2.0","id":1,"method":"auth.whoami","params":%s}]',
    ):
        yield template % deep


class ExampleTests(ServedCase):
    """The examples, byte for byte in meaning."""

    settings = SETTINGS

    def test_over_http(self) -> None:
        """Notifications are 204 without a body."""
        for sent, expected in EXAMPLES:
            answer = self.post(sent)
            if expected is None:
                self.assertEqual((answer.status, answer.body), (204, b""), sent)
            else:
                self.assertEqual(bare(answer.json()), expected, sent)
                self.assertEqual(answer.headers["content-type"], "application/json")

    def test_over_websocket(self) -> None:
        """Notifications are answered by nothing: the next frame is the next call's answer."""
        with RpcSocket(self.daemon.websocket_url) as client:
            for sent, expected in EXAMPLES:
                client.connection.send(sent)
                if expected is not None:
                    self.assertEqual(bare(json.loads(client.connection.recv(5))), expected, sent)
            self.assertEqual(client.call("sum", a=1, b=2, c=3), 6)


class ErrorTests(ServedCase):
    """Each way to be wrong has its code and, over HTTP, its status."""

    settings = SETTINGS

    def test_no_json(self) -> None:
        """-32700: what is no JSON, no UTF-8, or nested too deeply, anywhere in the message."""
        utf8 = b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b,"unknown":%b}'
        for body in (
            b"", b" ", b"{", b"nope", b"{} {}", b"\xef\xbb\xbf{}", b'{"jsonrpc":"2.0","id":1,"method":"math.divide","params":[NaN,1]}',
            b"\xff", '{"jsonrpc":"2.0","id":1,"method":"auth.whoami"}'.encode("utf-16"),
            utf8 % (b'"\xff"', b"auth.whoami", b"{}", b"1"), utf8 % (b"1", b"auth.\xff", b"{}", b"1"),
            utf8 % (b"1", b"chat.post", b'["a","\xed\xa0\x80"]', b"1"), utf8 % (b"1", b"auth.whoami", b"{}", b'"\xc0\xaf"'),
            utf8 % (b"1", b"chat.post", b'["a","\\ud800"]', b"1"),
            *(text.encode() for text in nested(100_000)),
        ):  # fmt: skip
            self.check_error(self.post(body), 400, -32700, None)
        with RpcSocket(self.daemon.websocket_url) as client:
            for text in nested(100_000):
                client.connection.send(text)
                self.assertEqual(json.loads(client.connection.recv(5))["error"]["code"], -32700)

    def test_no_request(self) -> None:
        """-32600, with the id where it can be seen."""
        for body, id in (
            ("3", None),
            ('"x"', None),
            ("null", None),
            ("{}", None),
            ('{"jsonrpc":"2.0","id":7}', 7),
            ('{"jsonrpc":"2.0","id":7,"method":null}', 7),
            ('{"jsonrpc":"1.0","id":"a","method":"auth.whoami"}', "a"),
            ('{"jsonrpc":2.0,"id":7,"method":"auth.whoami"}', 7),
            ('{"id":7,"method":"auth.whoami"}', 7),
            ('{"jsonrpc":"2.0","id":{},"method":"auth.whoami"}', None),
            ('{"jsonrpc":"2.0","id":[1],"method":"auth.whoami"}', None),
            ('{"jsonrpc":"2.0","id":true,"method":"auth.whoami"}', None),
            ('{"jsonrpc":"2.0","id":7,"method":"auth.whoami","params":"x"}', 7),
            ('{"jsonrpc":"2.0","id":7,"method":"auth.whoami","params":3}', 7),
            ('{"jsonrpc":"2.0","id":7,"method":"auth.whoami","deadline":"soon"}', 7),
        ):
            self.check_error(self.post(body), 400, -32600, id)

    def test_ids(self) -> None:
        """They come back as they were sent."""
        for id in ("1", "-1", "0", '"a"', '""', "null", "1.5", "1e2", "123456789012345678901234567890", '"\u00e4\\u0041\\n"'):
            answer = self.post('{"jsonrpc":"2.0","id":%s,"method":"auth.whoami"}' % id)  # noqa: UP031 - braces
            self.assertIn(f'"id":{id},'.encode(), answer.body)

    def test_params(self) -> None:
        """-32602 names the parameter and the type that it should have."""
        for method, params, parameter, words in (
            ("math.add", {"a": 1}, "b", "missing"),
            ("math.add", [1], "b", "missing"),
            ("math.add", {"a": "1", "b": 2}, "a", "int"),
            ("math.add", [1, 2.5], "b", "int"),
            ("math.add", [True, 2], "a", "int"),
            ("math.add", [None, 2], "a", "int"),
            ("math.add", {"a": 1, "b": 2, "c": 3}, "c", "unknown"),
            ("math.divide", ["x", 1], "a", "float"),
            ("math.divide", [1, 0], "b", "0"),
            ("chat.post", {"room": "lobby"}, "text", "missing"),
            ("chat.post", {"room": "lobby", "text": 1}, "text", "str"),
            ("chat.post", {"room": "Bad Name", "text": "x"}, "room", "letters"),
            ("chat.post", {"room": "lobby", "text": ""}, "text", "empty"),
            ("chat.post", {"room": "lobby", "text": "x", "key": ""}, "key", "characters"),
            ("chat.post", {"room": "lobby", "text": "x", "reply_to": 0}, "reply_to", "seq"),
            ("chat.history", {"room": "lobby", "limit": 201}, "limit", "200"),
            ("chat.history", {"room": "lobby", "limit": -1}, "limit", "0"),
            ("chat.history", {"room": "lobby", "after": "nonsense"}, "after", "cursor"),
            ("chat.history", {"room": "lobby", "after": 3}, "after", "str"),
        ):
            error = self.check_error(self.post(call(method, params)), 400, -32602)
            self.assertEqual(error["data"]["parameter"], parameter, error)
            self.assertIn(words, error["data"]["detail"])
        self.check_error(self.post(call("math.add", [1, 2, 3])), 400, -32602)
        for text in ("x" * 16_385, "\u00e4" * 8193):
            error = self.check_error(self.post(call("chat.post", {"room": "lobby", "text": text})), 413, -32006)
            self.assertEqual(error["data"]["parameter"], "text")
            self.assertIn("16384", error["data"]["detail"])

    def test_codes(self) -> None:
        """The protocol's own codes, with Retry-After where it makes sense."""
        for kind, status, code in (("missing", 404, -32003), ("conflict", 409, -32004), ("large", 413, -32006), ("gone", 502, -32009)):
            self.check_error(self.post(call("fail.raise", [kind])), status, code)
        overloaded = self.post(call("fail.raise", ["overloaded"]))
        self.assertEqual(self.check_error(overloaded, 503, -32008)["data"]["retry_after"], 7)
        self.assertEqual(overloaded.headers["retry-after"], "7")
        self.check_error(self.post(call("no.such")), 404, -32601)
        self.check_error(self.post(call("plain.member")), 403, -32002)
        self.check_error(self.post(call("server.status")), 403, -32002)
        self.check_error(self.post(call("chat.join", ["lobby"])), 400, -32600)
        self.check_error(self.post(call("auth.whoami"), Authorization="Bearer nonsense"), 401, -32001)

    def test_a_bug(self) -> None:
        """-32603 tells its request id and nothing else; the log tells the rest."""
        self.may_log_tracebacks = True
        answer = self.post(call("fail.raise", ["no such kind"]))
        error = self.check_error(answer, 500, -32603)
        self.assertEqual(set(error["data"]), {"request_id"})
        self.assertIn(error["data"]["request_id"], self.daemon.output())
        self.assertIn("KeyError", self.daemon.output())

    def test_too_large(self) -> None:
        """A body over the limit is 413 before it is read; a text over the limit of frames is a matter of WebSockets."""
        answers, closed = exchange(self.daemon.port, head("/rpc", "POST", "Content-Length: 1048577"))
        self.assertEqual(([answer.status for answer in answers], closed), ([413], True))
        padded = json.dumps(call("auth.whoami")).encode()
        self.assertEqual(self.post(padded + b" " * (1048576 - len(padded))).status, 200)


class BatchTests(ServedCase):
    """Several calls in one message."""

    settings = SETTINGS

    def test_order(self) -> None:
        """The answers are in the order of the calls, whichever is ready first; calls run together."""
        batch = [call("slow.coroutine", [1]), call("auth.whoami"), call("slow.deferred", [0.9]), call("slow.blocking", [0.8])]
        answers = self.post(batch).json()
        self.assertEqual(post_rpc(self.url, "slow.most"), 3)
        self.assertEqual([answers[index]["result"] for index in (0, 2, 3)], ["coroutine", "deferred", "blocking"])

    def test_bounds(self) -> None:
        """Too many calls are refused as a whole; what is over the bytes of the answer is an error in its place."""
        self.assertEqual(len(self.post([call("auth.whoami")] * 100).json()), 100)
        self.check_error(self.post([call("auth.whoami")] * 101), 413, -32006, None)
        answers = self.post([call("count.big", [8000], id=number) for number in range(4)]).json()
        self.assertEqual([answer.get("error", {}).get("code") for answer in answers], [None, None, -32006, -32006])
        self.assertEqual([answer["id"] for answer in answers], [0, 1, 2, 3])

    def test_the_header_key_is_not_for_batches(self) -> None:
        """It is refused with them, and nothing is done: one key would give each call the answer of another. A call's own key is for that."""
        before = post_rpc(self.url, "count.up", [0])
        self.check_error(self.post([call("count.up", [1]), call("count.up", [1])], Idempotency_Key="batch"), 400, -32600, None)
        batch = [call("count.up", [1], key=str(uuid.uuid4())) for _ in range(2)]
        first, second = ([answer["result"] - before for answer in self.post(batch).json()] for _ in range(2))
        self.assertEqual((sorted(first), second), ([1, 2], first))

    def test_posts(self) -> None:
        """Posts of a batch are appended in its order."""
        answers = self.post([call("chat.post", ["batch", str(number)]) for number in range(100)]).json()
        self.assertEqual([answer["result"]["seq"] for answer in answers], list(range(1, 101)))
        texts = [event["text"] for event in post_rpc(self.url, "chat.history", {"room": "batch", "limit": 200})["events"]]
        self.assertEqual(texts, [str(number) for number in range(100)])


class DeadlineTests(ServedCase):
    """X-Deadline, and the member of messages."""

    settings = SETTINGS.replace("[rpc]", "[rpc]\ndeadline_max = 2s")

    def check_ended(self, body: Any, **headers: str) -> None:
        """It ends with -32007 long before the procedure would."""
        began = time.monotonic()
        self.check_error(self.post(body, **headers), 504, -32007)
        self.assertLess(time.monotonic() - began, LONG / 2)

    def test_each_kind(self) -> None:
        """Whatever kind of procedure: -32007 at the deadline; an answer before it."""
        for kind, seconds in (("deferred", LONG), ("coroutine", LONG), ("blocking", 1.0)):
            self.check_ended(call(f"slow.{kind}", [seconds]), X_Deadline="0.2")
            self.check_ended(call(f"slow.{kind}", [seconds], deadline=0.2))
            self.assertEqual(self.post(call(f"slow.{kind}", [0.1]), X_Deadline="5").json()["result"], kind)

    def test_bounds(self) -> None:
        """At most the maximum; the shorter of header and member; none left is passed; what is no number is refused."""
        for headers, members in (({"X_Deadline": "1000"}, {}), ({}, {"deadline": 1000}), ({"X_Deadline": "0.2"}, {"deadline": 9})):
            self.check_ended(call("slow.coroutine", [LONG], **members), **headers)
        for value in ("0", "-1"):
            self.check_error(self.post(call("count.up"), X_Deadline=value), 504, -32007)
            self.check_error(self.post(call("count.up", deadline=int(value))), 504, -32007)
        for value in ("soon", "inf", "nan", ""):
            self.check_error(self.post(call("count.up"), X_Deadline=value), 400, -32600)

    def test_on_a_websocket(self) -> None:
        """The call ends, the connection goes on; ids in flight may repeat; answers come as they are ready."""
        with RpcSocket(self.daemon.websocket_url) as client:
            client.connection.send(json.dumps(call("slow.coroutine", [0.9], deadline=0.2)))
            client.connection.send(json.dumps(call("slow.coroutine", [0.1])))
            client.connection.send(json.dumps(call("auth.whoami")))
            answers = [json.loads(client.connection.recv(5)) for _ in range(3)]
            self.assertEqual([answer["id"] for answer in answers], [1, 1, 1])
            self.assertTrue(answers[0]["result"]["guest"])
            self.assertEqual((answers[1]["result"], answers[2]["error"]["code"]), ("coroutine", -32007))


class KeyTests(ServedCase):
    """Idempotency-Key."""

    settings = SETTINGS

    def up(self, key: str, step: int = 1, seconds: float = 0.0, **headers: str) -> Answer:
        """A call with an effect, and a key."""
        return self.post(call("count.up", {"step": step, "seconds": seconds}), Idempotency_Key=key, **headers)

    def test_once(self) -> None:
        """The stored answer comes back, with the id of the repeat; also when the key is quoted, and after the daemon was killed."""
        key = str(uuid.uuid4())
        first = self.up(key).json()["result"]
        self.assertEqual(self.up(f'"{key}"').json()["result"], first)
        other = self.post(call("count.up", {"step": 1, "seconds": 0.0}, id="other"), Idempotency_Key=key)
        self.assertEqual(other.json(), {"jsonrpc": "2.0", "id": "other", "result": first})
        self.check_error(self.up(key, 2), 409, -32004)
        self.assertNotEqual(self.up(str(uuid.uuid4())).json()["result"], first)
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.up(key).json()["result"], first)

    def test_in_flight(self) -> None:
        """Repeats wait for the first one's answer; other params are a conflict at once."""
        key = str(uuid.uuid4())
        answers: list[Answer] = []
        threads = [threading.Thread(target=lambda: answers.append(self.up(key, seconds=0.5))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        self.assertEqual(len({answer.body for answer in answers}), 1)
        self.assertEqual(len(answers), 5)

    def test_a_caller_who_leaves(self) -> None:
        """The call goes on without it; the repeat gets its answer, and the effect is there once."""
        key, before = str(uuid.uuid4()), post_rpc(self.url, "count.up", [0])
        body = json.dumps(call("count.up", {"step": 1, "seconds": 0.5})).encode()
        abandon(self.daemon.port, head("/rpc", "POST", f"Idempotency-Key: {key}", f"Content-Length: {len(body)}") + body)
        self.assertEqual(self.up(key, seconds=0.5).json()["result"], before + 1)
        self.check_error(self.up(str(uuid.uuid4()), seconds=0.5, X_Deadline="0.1"), 504, -32007)
        self.assertEqual(post_rpc(self.url, "count.up", [0]), before + 2)

    def test_failures_are_not_stored(self) -> None:
        """A call that failed may be tried again."""
        for _ in range(2):
            self.check_error(self.post(call("fail.raise", ["conflict"]), Idempotency_Key="failing"), 409, -32004)

    def test_what_is_no_key(self) -> None:
        """Empty, or endless."""
        for key in ("", '""', "k" * 300):
            self.check_error(self.up(key), 400, -32600)

    def test_posts(self) -> None:
        """The header is the param: for a room and for all guests together."""
        first = self.post(call("chat.post", ["keys", "hello"]), Idempotency_Key="shared").json()["result"]
        with RpcSocket(self.daemon.websocket_url) as other:
            self.assertEqual(other.call("chat.post", room="KEYS", text="hello", key="shared"), first)
            for params in ({"text": "other"}, {"text": "hello", "reply_to": 1}):
                with self.assertRaises(RpcError) as conflict:
                    other.call("chat.post", room="keys", key="shared", **params)
                self.assertEqual(conflict.exception.code, -32004)
            self.assertEqual(other.call("chat.post", room="elsewhere", text="hello", key="shared")["seq"], 1)
        self.netsvc("user", "add", "ann", "--password-stdin", text="correct horse\n")
        token = self.netsvc("token", "issue", "ann")
        again = self.post(call("chat.post", ["keys", "hello"]), Idempotency_Key="shared", Authorization=f"Bearer {token}").json()["result"]
        self.assertEqual(again["seq"], first["seq"] + 1)


class DiscoveryTests(ServedCase):
    """What the daemon says about its procedures."""

    settings = SETTINGS

    def test_openrpc(self) -> None:
        """The URL and rpc.discover give the same document; the example's types are in it."""
        answer = request(f"{self.url}/openrpc.json")
        document = answer.json()
        self.assertEqual(document, post_rpc(self.url, "rpc.discover"))
        methods = {method["name"]: method for method in document["methods"]}
        self.assertEqual(sorted(methods), post_rpc(self.url, "system.listMethods"))
        self.assertEqual([param["schema"]["type"] for param in methods["math.divide"]["params"]], ["number", "number"])
        self.assertRegex(document["openrpc"], r"^1\.")
        for name in ("auth.login", "auth.whoami", "chat.join", "chat.leave", "chat.post", "chat.history", "chat.rooms", "chat.who"):
            self.assertIn(name, methods)

    def test_introspection(self) -> None:
        """Help, and signatures with the result first."""
        self.assertEqual(post_rpc(self.url, "system.methodSignature", ["math.add"]), [["int", "int", "int"]])
        self.assertEqual(post_rpc(self.url, "system.methodSignature", ["math.divide"]), [["double", "double", "double"]])
        self.assertTrue(post_rpc(self.url, "system.methodHelp", ["math.add"]))
        self.check_error(self.post(call("system.methodHelp", ["no.such"])), 404, -32601)

    def test_the_example(self) -> None:
        """Integers of any size; a float stays one."""
        self.assertEqual(post_rpc(self.url, "math.add", [10**30, 1]), 10**30 + 1)
        self.assertEqual(post_rpc(self.url, "math.divide", {"a": 1, "b": 4}), 0.25)
