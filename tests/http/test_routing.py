"""The table of routes."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import InvalidRequest, NotFound
from netsvc.http.errors import HttpError
from netsvc.http.messages import NO_ROUTE, Request, Response
from netsvc.http.routing import Routes
from netsvc.wire.http1 import BadMessage


class RoutesTests(SynchronousTestCase):
    """Which handler answers."""

    def setUp(self) -> None:
        """Patterns of all kinds; a handler gives its pattern."""
        self.routes = Routes()
        for method, pattern in (
            ("GET", "/"),
            ("POST", "/rpc"),
            ("GET", "/chat/{room}/"),
            ("GET", "/chat/lobby/"),
            ("GET", "/chat/{room}/events"),
            ("GET", "/web/{path...}"),
            ("GET", "/web/special"),
            ("PUT", "/files/{name}"),
            ("GET", "/files/{name}"),
        ):
            self.routes.add(method, pattern, lambda _, pattern=pattern: Response.text(pattern))

    def found(self, target: str, method: str = "GET") -> tuple[str, dict[str, str]]:
        """The pattern and the variables for a target."""
        route, variables = self.routes.find(method, target.encode())
        answer: Any = route.handler(Request(method, target.encode(), []))
        return answer.body.decode(), variables

    def answer(self, target: str, method: str = "GET") -> Response:
        """What answers where there is no route."""
        route, _ = self.routes.find(method, target.encode())
        self.assertTrue(route.public)
        answer: Any = route.handler(Request(method, target.encode(), []))
        assert isinstance(answer, Response)
        return answer

    def test_exact(self) -> None:
        """A path without variables is found with and without a query, and however it is percent-encoded."""
        self.assertEqual(self.found("/rpc", "POST"), ("/rpc", {}))
        self.assertEqual(self.found("/rpc?a=/b", "POST"), ("/rpc", {}))
        self.assertEqual(self.found("/%72pc", "POST"), ("/rpc", {}))
        self.assertEqual(self.found("/?x"), ("/", {}))

    def test_variables(self) -> None:
        """Variables take one segment, decoded by itself: an encoded slash is part of it."""
        self.assertEqual(self.found("/chat/r%C3%A9/"), ("/chat/{room}/", {"room": "ré"}))
        self.assertEqual(self.found("/files/a%2Fb"), ("/files/{name}", {"name": "a/b"}))
        self.assertEqual(self.found("/chat/a/events?after=1"), ("/chat/{room}/events", {"room": "a"}))

    def test_tail(self) -> None:
        """The rest of a path may be empty."""
        self.assertEqual(self.found("/web/a/b.css"), ("/web/{path...}", {"path": "a/b.css"}))
        self.assertEqual(self.found("/web/"), ("/web/{path...}", {"path": ""}))

    def test_precedence(self) -> None:
        """A literal goes before a variable, a variable before a rest; if it leads nowhere, the next is tried."""
        self.assertEqual(self.found("/chat/lobby/"), ("/chat/lobby/", {}))
        self.assertEqual(self.found("/chat/lobby/events"), ("/chat/{room}/events", {"room": "lobby"}))
        self.assertEqual(self.found("/web/special"), ("/web/special", {}))
        self.assertEqual(self.found("/web/special/more"), ("/web/{path...}", {"path": "special/more"}))

    def test_head(self) -> None:
        """HEAD follows GET, unless it has a route of its own."""
        self.assertEqual(self.found("/", "HEAD"), ("/", {}))
        self.routes.add("HEAD", "/", lambda _: Response.text("own"))
        self.assertEqual(self.found("/", "HEAD"), ("own", {}))
        other = Routes()
        other.add("HEAD", "/", lambda _: Response.text("head"))
        other.add("GET", "/", lambda _: Response.text("get"))
        self.routes = other
        self.assertEqual(self.found("/", "HEAD"), ("head", {}))

    def test_not_found(self) -> None:
        """An unknown path, an empty variable, a pattern's beginning: nothing is there."""
        for target in ("/nothing", "/chat//", "/chat", "/chat/a/b/c", "//", "/rpc/x", "/files/a/b"):
            self.assertRaises(NotFound, self.answer, target)

    def test_other_method(self) -> None:
        """A known path with another method says which there are."""
        error = self.assertRaises(HttpError, self.answer, "/files/x", "POST")
        self.assertEqual((error.status, error.headers), (405, ((b"Allow", b"GET, HEAD, OPTIONS, PUT"),)))
        error = self.assertRaises(HttpError, self.answer, "/rpc", "GET")
        self.assertEqual(error.headers, ((b"Allow", b"OPTIONS, POST"),))
        self.assertEqual(error.detail, "GET is not allowed for this URL; allowed are OPTIONS, POST")

    def test_options(self) -> None:
        """So does OPTIONS, unless it has a route; for * it speaks for the server."""
        answer = self.answer("/files/x", "OPTIONS")
        self.assertEqual((answer.status, answer.headers), (204, ((b"Allow", b"GET, HEAD, OPTIONS, PUT"),)))
        self.assertEqual(self.answer("*", "OPTIONS").status, 204)
        self.routes.add("OPTIONS", "/rpc", lambda _: Response.text("own"))
        self.assertEqual(self.found("/rpc", "OPTIONS"), ("own", {}))

    def test_asterisk(self) -> None:
        """No other method goes with it."""
        self.assertRaises(InvalidRequest, self.answer, "*", "GET")

    def test_slash(self) -> None:
        """If only a trailing slash is missing or too much, the client is sent there, with its query."""
        for target, location in (("/chat/a?name=b", b"/chat/a/?name=b"), ("/rpc/", b"/rpc"), ("/chat/a/events/", b"/chat/a/events"), ("/web", b"/web/")):
            answer = self.answer(target, "POST" if "rpc" in target else "GET")
            self.assertEqual((answer.status, answer.headers), (308, ((b"Location", location),)))

    def test_no_redirects(self) -> None:
        """A client that follows no redirect gets what it would be sent to; what is not there is still not there."""
        for target in ("/chat/a?name=b", "/chat/a/?name=b"):
            route, variables = self.routes.find("GET", target.encode(), redirects=False)
            self.assertEqual((self.routes.find("GET", b"/chat/a/")[0], variables), (route, {"room": "a"}))
        self.assertIs(self.routes.find("GET", b"/nowhere", redirects=False)[0], NO_ROUTE)
        self.assertIs(self.routes.find("GET", b"/", redirects=False)[0], self.routes.find("GET", b"/")[0])

    def test_no_open_redirect(self) -> None:
        """No client is sent to another host that way."""
        routes = Routes()
        routes.add("GET", "/{a}/", lambda _: Response(204))
        routes.add("GET", "/{a}/{b}/", lambda _: Response(204))
        self.routes = routes
        for target in ("//evil.example", "/\\evil.example", "/\\evil.example/x"):
            self.assertRaises(NotFound, self.answer, target)

    def test_not_utf8(self) -> None:
        """A path that is not UTF-8 is malformed."""
        self.assertRaises(BadMessage, self.routes.find, "GET", b"/%ff")

    def test_bad_patterns(self) -> None:
        """A programmer's mistake is an error at the start."""
        for pattern in ("", "x", "/{", "/{a", "/{a b}", "/{}", "/{a...}/b", "/chat/{other}/", "/web/{other...}", "/rpc"):
            self.assertRaises(ValueError, self.routes.add, "POST", pattern, lambda _: Response(204))
        self.assertRaises(ValueError, self.routes.add, "GET", "/", lambda _: Response(204))
