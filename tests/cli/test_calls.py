"""Tests for netsvc.cli.calls."""

import json
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis.strategies import booleans as boolean_values
from hypothesis.strategies import dictionaries, from_regex, lists, none, recursive, text
from hypothesis.strategies import integers as integer_values
from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.resource import Resource

from netsvc.cli import calls
from netsvc.cli.calls import params_of
from tests.cli.commandline import CommandCase


class Params(SynchronousTestCase):
    """From arguments to params."""

    def test_positional(self) -> None:
        """JSON is JSON, everything else a string."""
        for arguments, params in (
            ((), None),
            (("2", "-3.5"), [2, -3.5]),
            (("lobby", "Hello, world"), ["lobby", "Hello, world"]),
            (('"2"', "true", "null", '{"a":[1]}'), ["2", True, None, {"a": [1]}]),
            (("NaN", "", "{", "01", "\udcff"), ["NaN", "", "{", "01", "\udcff"]),
            (("lobby", "a=b"), ["lobby", "a=b"]),
            (('"a=b"',), ["a=b"]),
            (("[" * 100_000,), ["[" * 100_000]),
        ):
            self.assertEqual(params_of(arguments), params)

    def test_named(self) -> None:
        """If every argument is name=value, the params are named."""
        self.assertEqual(params_of(("room=lobby", "text=a=b\nc", "limit=5", "reply_to=")), {"room": "lobby", "text": "a=b\nc", "limit": 5, "reply_to": ""})

    @given(lists(recursive(none() | boolean_values() | integer_values(-(2**53), 2**53) | text(), lambda inner: lists(inner) | dictionaries(text(), inner))))
    def test_json(self, values: list[Any]) -> None:
        """Whatever is written as JSON arrives as it is."""
        self.assertEqual(params_of([json.dumps(value) for value in values]), values or None)

    @given(dictionaries(from_regex(r"\A[a-z_][a-z0-9_]{0,9}\Z"), text(), min_size=1))
    def test_names(self, values: dict[str, str]) -> None:
        """So do named ones."""
        self.assertEqual(params_of([f"{name}={json.dumps(value)}" for name, value in values.items()]), values)


class Server(Resource):
    """Answers every request with what the test says, and keeps the request."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.body = b'{"jsonrpc":"2.0","id":1,"result":5}'
        self.headers: dict[bytes, bytes] = {}
        self.requests: list[tuple[str, dict[str, str], Any]] = []

    def render_POST(self, request: Any) -> bytes:
        """Twisted's hook."""
        headers = {name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
        url = f"{'https' if request.isSecure() else 'http'}://{headers['host']}{request.uri.decode()}"
        self.requests.append((url, headers, json.loads(request.content.read())))
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body


class CallCase(CommandCase):
    """The commands with a server in memory instead of sockets, and a clock instead of a reactor."""

    def setUp(self) -> None:
        """Put both in place."""
        super().setUp()
        self.server = Server()
        self.clock = Clock()
        self.connecting: Deferred[Any] | None = None
        self.patch(calls, "react", self.react)
        self.patch(calls, "HTTPClient", lambda agent: StubTreq(self.server) if self.connecting is None else self)

    def post(self, *args: Any, **kwargs: Any) -> "Deferred[Any]":
        """What the HTTP client does when there is no server."""
        assert self.connecting is not None
        return self.connecting

    def react(self, main: Any) -> None:
        """Like task.react, until the clock has gone far."""
        done = main(self.clock)
        self.clock.pump([1] * 4000 if not done.called else [])
        outcome: list[Any] = []
        done.addBoth(outcome.append)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()

    def failing(self, status: int, code: int, message: str, **data: Any) -> str:
        """What is said when the server fails a call; the exit status is checked."""
        self.server.status = status
        self.server.body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message, "data": data}}).encode()
        return self.bad(calls._EXIT.get(status, 1), "call", "math.add", "2")


class Calling(CallCase):
    """netsvc call."""

    def test_result(self) -> None:
        """The result is printed as JSON, in one line where no terminal is; what was sent is a JSON-RPC call."""
        self.assertEqual(self.good("call", "math.add", "2", "-3"), "5\n")
        url, headers, body = self.server.requests[0]
        self.assertEqual((url, body), ("http://127.0.0.1:8080/rpc", {"jsonrpc": "2.0", "id": 1, "method": "math.add", "params": [2, -3]}))
        self.assertEqual((headers["content-type"], headers["x-deadline"]), ("application/json", "30"))
        self.assertNotIn("authorization", headers)
        self.server.body = b'{"id":1,"result":{"text":"a\xc2\x9b\xc3\xa4","list":[1, 2]},"jsonrpc":"2.0"}'
        self.assertEqual(self.good("call", "chat.rooms"), '{"text":"a\\u009bä","list":[1,2]}\n')
        self.assertNotIn("params", self.server.requests[1][2])
        self.server.body = b'{"jsonrpc":"2.0","id":1,"result":null}'
        self.assertEqual(self.good("call", "chat.rooms"), "null\n")

    def test_terminal(self) -> None:
        """On a terminal it is indented."""
        self.server.body = b'{"jsonrpc":"2.0","id":1,"result":{"a":[1]}}'
        with patch.object(calls, "sys") as system:
            system.stdout.isatty.return_value = True
            self.assertEqual(self.good("call", "chat.rooms"), '{\n  "a": [\n    1\n  ]\n}\n')

    def test_options(self) -> None:
        """Another server, a deadline, and a token from a file, an environment variable or standard input; trailing blanks are cut."""
        token = self.folder / "token"
        token.write_text("nst_x\n")
        self.good("call", "m", "--url", "https://chat.example/", "--timeout", "2.5", "--token-file", str(token))
        self.good("call", "m", NETSVC_TOKEN_FILE=str(token))
        self.good("call", "--token-file", "-", "m", input="nst_x")
        self.assertEqual(self.server.requests[0][0], "https://chat.example/rpc")
        self.assertEqual(self.server.requests[0][1]["x-deadline"], "2.5")
        self.assertEqual({request[1]["authorization"] for request in self.server.requests}, {"Bearer nst_x"})

    def test_usage(self) -> None:
        """Bad URLs, deadlines and token files are status 2, before anything is sent."""
        for url in ("ftp://x", "127.0.0.1:8080", "http://", "http://x:99999", "http://x?y", "http://u@x", "http://[::1", "http://ä"):
            self.assertIn("--url", self.bad(2, "call", "m", "--url", url))
        self.bad(2, "call", "m", "--timeout", "0")
        self.bad(2, "call", "m", "--token-file", str(self.folder / "none"))
        for content in ("", " \n", "a b", "\xff"):
            self.assertIn("no token", self.bad(2, "call", "m", "--token-file", "-", input=content))
        self.assertIn("UTF-8", self.bad(2, "call", "m", "\udcff"))
        self.bad(2, "call")
        self.assertEqual(self.server.requests, [])

    def test_errors(self) -> None:
        """An error is one line on stderr; the exit status tells its kind."""
        self.assertEqual(self.failing(400, -32602, "invalid params", detail="a: missing"), "netsvc: invalid params: a: missing\n")
        for status, code in ((401, -32001), (403, -32002), (404, -32003), (409, -32004), (413, -32006), (504, -32007), (500, -32603)):
            self.assertEqual(self.failing(status, code, "no"), "netsvc: no\n")
        self.assertEqual(self.failing(429, -32005, "rate limited", retry_after=1.5), "netsvc: rate limited; try again in 1.5 s\n")
        self.server.body = b'{"error":{"message":"no","data":"text"}}'
        self.assertEqual(self.bad(6, "call", "m"), "netsvc: no\n")

    def test_not_ours(self) -> None:
        """Whatever else answers is said with its HTTP status; a redirection is not followed, so no token goes astray."""
        self.server.status, self.server.headers = 307, {b"Location": b"http://evil/"}
        self.assertIn("307", self.bad(1, "call", "m"))
        self.assertEqual(len(self.server.requests), 1)
        self.server.status, self.server.headers = 200, {}
        for body in (b"", b"<html>", b"[]", b"{}", b"\xff", b'{"error":5}', b'{"result":1,"error":{"message":"both"}}'):
            self.server.body = body
            self.assertTrue(self.bad(1, "call", "m").startswith("netsvc: "))
        self.server.status, self.server.body = 401, b'{"error":{"status":401,"message":"log in","request_id":"x"}}'
        self.assertEqual(self.bad(3, "call", "m"), "netsvc: log in\n")

    def test_unreachable(self) -> None:
        """No server, no such host, a connection that breaks: status 7 and the reason."""
        for error, reason in (
            (ConnectionRefusedError("refused"), "refused"),
            (DNSLookupError("no such host"), "no such host"),
            (ResponseNeverReceived([Failure(ConnectionRefusedError("broken"))]), "broken"),
            (ResponseNeverReceived([]), "cannot reach"),
        ):
            self.connecting = fail(error)
            self.assertIn(reason, self.bad(7, "call", "m"))

    def test_no_answer(self) -> None:
        """A server that does not answer is waited for until the deadline."""
        self.connecting = Deferred(lambda deferred: deferred.errback(ResponseNeverReceived([Failure(CancelledError())])))
        self.assertEqual(self.bad(7, "call", "m", "--timeout", "3"), "netsvc: no answer from http://127.0.0.1:8080 within 3 s\n")

    def test_bugs(self) -> None:
        """An error that nobody thought of is not disguised."""
        self.connecting = fail(ZeroDivisionError())
        self.assertRaises(ZeroDivisionError, self.run_netsvc, "call", "m")

    def test_help(self) -> None:
        """The exit statuses are documented where one looks."""
        self.assertIn("  3  not authenticated", self.good("call", "--help"))


class Status(CallCase):
    """netsvc status."""

    def test_table(self) -> None:
        """What server.status gives, one line for each value."""
        self.server.body = b'{"jsonrpc":"2.0","id":1,"result":{"uptime":1.5,"versions":{"netsvc":"0.1"},"rooms":{"followed":[1,2]}}}'
        lines = self.good("status").splitlines()
        self.assertEqual([line.split() for line in lines], [["KEY", "VALUE"], ["uptime", "1.5"], ["versions.netsvc", "0.1"], ["rooms.followed", "[1,2]"]])
        self.assertEqual(self.server.requests[0][2]["method"], "server.status")

    def test_refused(self) -> None:
        """Errors are those of netsvc call."""
        self.server.status, self.server.body = 403, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"forbidden"}}'
        self.assertEqual(self.bad(3, "status"), "netsvc: forbidden\n")
