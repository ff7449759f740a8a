"""Tests for netsvc.client.http: treq on a connection in memory."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.addresses import Address, Credentials
from netsvc.client.connecting import Way
from netsvc.client.errors import BadAnswer, ConnectionLost, DeadlinePassed, InvalidParams, NotAuthenticated, Overloaded, RateLimited
from netsvc.client.http import HttpCalls
from netsvc.client.limits import Limits
from tests.client.memory import Connection, MemoryGround


class HttpCase(SynchronousTestCase):
    """Calls by HTTP, and the server's end."""

    def setUp(self) -> None:
        """Nothing is connected yet."""
        self.ground = MemoryGround()
        address = Address.parse("http://h:8080/x")
        limits = Limits(max_message=1000)
        self.http = HttpCalls(self.ground.clock, Way(self.ground, address, None, None, 5.0), address, Credentials("t"), limits)

    @property
    def server(self) -> Connection:
        """The other end."""
        return self.ground.last

    def call(self, key: str | None = None) -> "Deferred[Any]":
        """Call something."""
        return self.http.call("math.add", [2, 3], 5.0, key)


class Calls(HttpCase):
    """A call and its answer."""

    def test_result(self) -> None:
        """A JSON-RPC call with credentials and deadline; the connection is kept for the next."""
        call = self.call()
        headers, body = self.server.request()
        self.assertTrue(self.server.head.startswith(b"POST /x/rpc HTTP/1.1\r\n"))
        self.assertEqual(body, {"jsonrpc": "2.0", "id": 1, "method": "math.add", "params": [2, 3]})
        self.assertEqual((headers["authorization"], headers["x-deadline"], headers["host"]), ("Bearer t", "5.000", "h:8080"))
        self.assertNotIn("idempotency-key", headers)
        self.server.respond({"jsonrpc": "2.0", "id": 1, "result": None})
        self.assertIsNone(self.successResultOf(call))
        again = self.call("k-1")
        self.assertEqual(self.server.request()[0]["idempotency-key"], '"k-1"')
        self.server.respond({"jsonrpc": "2.0", "id": 1, "result": 5})
        self.assertEqual(self.successResultOf(again), 5)
        self.assertEqual(len(self.ground.connections), 1)

    def test_ipv6(self) -> None:
        """An address of IPv6 is called like any other."""
        address = Address.parse("http://[::1]:8080")
        http = HttpCalls(self.ground.clock, Way(self.ground, address, None, None, 5.0), address, Credentials(), Limits())
        call = http.call("math.add", [2, 3], 5.0, None)
        self.assertEqual((self.server.to, self.server.request()[0]["host"]), (("::1", 8080), "[::1]:8080"))
        self.assertEqual(self.server.head.count(b"ost: "), 1)
        self.server.respond({"result": 5})
        self.assertEqual(self.successResultOf(call), 5)

    def test_no_params(self) -> None:
        """None are sent where there are none; what is no UTF-8 cannot be."""
        self.http.call("auth.whoami", None, 5.0, None).addErrback(lambda _: None)
        self.assertNotIn("params", self.server.request()[1])
        self.assertRaises(ValueError, self.http.call, "a", ["\ud800"], 5.0, None)

    def test_progress(self) -> None:
        """What the call gives on the way comes in lines, in pieces of any length; the last line is the answer, and the bound is for each."""
        told: list[Any] = []
        lines = [
            b'{"jsonrpc":"2.0","method":"rpc.progress","params":{"id":1,"data":"%b"}}\n' % (b"x" * 400),
            b'{"jsonrpc":"2.0","method":"rpc.progress","params":{"id":1,"done":1}}\n' * 10,
            b'{"jsonrpc":"2.0","method":"other","params":[]}\n{"method":"rpc.progress","params":[]}\n',
            b'{"jsonrpc":"2.0","id":1,"result":"end"}\n\n',
        ]
        body = b"".join(lines)
        for size in (1, 7, len(body)):
            told.clear()
            call = self.http.call("a", None, 5.0, None, told.append)
            self.assertEqual(self.server.request()[0]["accept"], "application/jsonl, application/json")
            self.server.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            for start in range(0, len(body), size):
                self.server.receive(body[start : start + size])
            self.assertEqual(self.successResultOf(call), "end")
            self.assertEqual(told, [{"data": "x" * 400}, *[{"done": 1}] * 10])

    def test_progress_unlike_it(self) -> None:
        """A listener that fails harms nobody; an answer without lines is an answer; what is no JSON is a BadAnswer; a long line, too."""
        call = self.http.call("a", None, 5.0, None, lambda _: 1 / 0)
        self.server.respond(b'{"method":"rpc.progress","params":{"done":1}}\n{"result":5}')
        self.assertEqual((self.successResultOf(call), len(self.flushLoggedErrors(ZeroDivisionError))), (5, 1))
        for body in (b"no\njson\n" * 20, b"x" * 1500, b'{"method":"rpc.progress","params":{"data":"%b"}}\n' % (b"x" * 1500)):
            call = self.http.call("a", None, 5.0, None, lambda _: self.fail("that was no progress"))
            self.server.respond(body)
            self.failureResultOf(call, BadAnswer)

    def test_close(self) -> None:
        """Idle connections are closed; none is kept open by that."""
        call = self.call()
        self.server.respond({"result": 1})
        self.successResultOf(call)
        closing = self.http.close()
        self.assertTrue(self.server.over)
        self.ground.clock.advance(5)
        self.successResultOf(closing)
        self.successResultOf(self.http.close())
        self.assertEqual([timer for timer in self.ground.clock.getDelayedCalls() if timer.active()], [])


class Errors(HttpCase):
    """Calls that fail."""

    def failing(self, body: Any, status: int, kind: type[Exception], headers: str = "") -> Any:
        """The error that an answer becomes."""
        call = self.call()
        self.server.respond(body, status, headers)
        return self.failureResultOf(call, kind).value

    def test_answered(self) -> None:
        """A JSON-RPC error is raised as its class."""
        error = self.failing({"error": {"code": -32602, "message": "invalid params", "data": {"detail": "b: missing"}}}, 400, InvalidParams)
        self.assertEqual(error.detail, "b: missing")

    def test_retry_after(self) -> None:
        """When to come again is in the error, else in the header."""
        self.assertEqual(self.failing({"error": {"code": -32005, "message": "no", "data": {"retry_after": 0.5}}}, 429, RateLimited).retry_after, 0.5)
        self.assertEqual(self.failing(b"<html>", 503, Overloaded, "Retry-After: 3\r\n").retry_after, 3.0)

    def test_below_json_rpc(self) -> None:
        """What the HTTP server refuses has the class of its status."""
        self.assertEqual(str(self.failing({"error": {"status": 401, "message": "log in"}}, 401, NotAuthenticated)), "log in")

    def test_not_ours(self) -> None:
        """Whatever else answers is a BadAnswer; a redirection is not followed, so that no token goes astray."""
        for body in (b"", b"<html>", b"[]", b"{}", b"\xff", b'{"error":5}', b'{"result":1,"error":{"message":"both"}}'):
            self.failing(body, 200, BadAnswer)
        self.assertEqual(self.failing(b"", 307, BadAnswer, "Location: http://evil/\r\n").status, 307)

    def test_too_large(self) -> None:
        """An answer over the bound is not read to its end."""
        call = self.call()
        self.server.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1200)
        self.assertIn("1000", str(self.failureResultOf(call, BadAnswer).value))
        self.assertTrue(self.server.over)

    def test_cancelled(self) -> None:
        """Cancelling is told as such, before the answer and within it; the connection is cut, so that the server notices."""
        for some in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"):
            call = self.call()
            self.server.receive(some)
            call.cancel()
            self.failureResultOf(call, CancelledError)
            self.assertTrue(self.server.over)
            self.assertTrue(self.server.transport.aborted)
            self.assertEqual([timer for timer in self.ground.clock.getDelayedCalls() if timer.active()], [])

    def test_closed(self) -> None:
        """A client that is closed has no calls under way any more."""
        call = self.call()
        self.http.close()
        self.failureResultOf(call, ConnectionLost)
        self.assertTrue(self.server.over)

    def test_cancelled_when_another_is_closed(self) -> None:
        """Who hears that one call has failed may cancel another: all end."""
        first, second, third = (self.call() for _ in range(3))
        first.addErrback(lambda _: second.cancel())
        self.http.close()
        self.failureResultOf(second, CancelledError)
        self.failureResultOf(third, ConnectionLost)

    def test_unreachable(self) -> None:
        """No connection, and one that breaks before or within the answer."""
        self.ground.refuse = ConnectionRefusedError("refused")
        self.assertIn("refused", str(self.failureResultOf(self.call(), ConnectionLost).value))
        self.ground.refuse = None
        for some in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"):
            call = self.call()
            self.server.receive(some)
            self.server.lose()
            self.failureResultOf(call, ConnectionLost)

    def test_no_answer(self) -> None:
        """A server that does not answer, or not to the end, is waited for until the deadline."""
        for some in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"):
            call = self.call()
            self.server.receive(some)
            self.ground.clock.advance(5)
            self.failureResultOf(call, DeadlinePassed)
            self.assertTrue(self.server.over)
