"""Requests and responses."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import InvalidRequest, NotFound
from netsvc.http.messages import HTML, JSON, TEXT, Request, Response


def get(target: bytes) -> Request:
    """A request for a target."""
    return Request("GET", target, [])


class RequestTests(SynchronousTestCase):
    """What a handler can ask a request."""

    def test_id(self) -> None:
        """An id is made when asked for, stays, and is another for each request."""
        first, second = get(b"/"), get(b"/")
        self.assertEqual(first.id, first.id)
        self.assertNotEqual(first.id, second.id)
        self.assertLess(len(first.id), 30)

    def test_parameters(self) -> None:
        """Query parameters are decoded, the first of a name counts, empty ones are there."""
        asked = get(b"/?a=1&a=2&b=&c=%C3%A9+x&d")
        self.assertEqual([asked.parameter(name) for name in "abcde"], ["1", "", "é x", "", None])

    def test_bad_parameters(self) -> None:
        """A query that is not UTF-8 or has too many fields is the client's mistake."""
        self.assertRaises(InvalidRequest, get(b"/?a=%ff").parameter, "a")
        self.assertRaises(InvalidRequest, get(b"/?" + b"a=1&" * 101).parameter, "a")

    def test_form(self) -> None:
        """A form is read like a query; nothing else is taken for one."""
        form = b"application/x-www-form-urlencoded"
        asked = Request("POST", b"/", [(b"content-type", form + b"; charset=UTF-8")], body=b"name=al%C3%AFce&password=x")
        self.assertEqual(asked.form(), {"name": "alïce", "password": "x"})
        for headers, body in (([], b"a=b"), ([(b"content-type", b"text/plain")], b"a=b"), ([(b"content-type", form)], b"\xff")):
            self.assertRaises(InvalidRequest, Request("POST", b"/", headers, body=body).form)

    def test_no_route(self) -> None:
        """Until it is routed, nothing is there."""
        asked = get(b"/")
        self.assertRaises(NotFound, asked.route.handler, asked)


class ResponseTests(SynchronousTestCase):
    """What a handler can answer."""

    def test_json(self) -> None:
        """A value as JSON."""
        answer = Response.json({"a": [1, None]}, 201, ((b"X", b"y"),))
        self.assertEqual((answer.status, answer.body, answer.media_type, answer.headers), (201, b'{"a":[1,null]}', JSON, ((b"X", b"y"),)))

    def test_text(self) -> None:
        """Text as UTF-8."""
        answer = Response.text("é")
        self.assertEqual((answer.status, answer.body, answer.media_type), (200, "é".encode(), TEXT))
        self.assertIn(b"charset", HTML)
