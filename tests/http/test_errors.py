"""Errors as answers."""

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from netsvc import errors
from netsvc.http.errors import HttpError, error_response, status_of
from netsvc.http.messages import Response
from netsvc.wire.http1 import BadMessage
from netsvc.wire.websocket import BadHandshake


def fields(answer: Response) -> dict[bytes, bytes]:
    """The fields of an answer."""
    return dict(answer.headers)


class StatusTests(SynchronousTestCase):
    """The table."""

    def test_table(self) -> None:
        """Each error has its status; docs/protocol.md gives them."""
        for error, status in (
            (errors.Malformed(), 400),
            (errors.InvalidRequest(), 400),
            (errors.InvalidParams(), 400),
            (errors.NotAuthenticated(), 401),
            (errors.Forbidden(), 403),
            (errors.NotFound(), 404),
            (errors.UnknownProcedure(), 404),
            (errors.Conflict(), 409),
            (errors.TooLarge(), 413),
            (errors.RateLimited(), 429),
            (errors.ProviderGone(), 502),
            (errors.Overloaded(), 503),
            (errors.StoreUnavailable(), 503),
            (errors.DeadlinePassed(), 504),
            (errors.NetsvcError(), 500),
            (BadMessage("x", 431), 431),
            (BadHandshake("x", 426), 426),
            (HttpError(421), 421),
        ):
            self.assertEqual(status_of(error), status, error)


class AnswerTests(SynchronousTestCase):
    """The answer."""

    def test_json(self) -> None:
        """Status, words and request id, as JSON; not to be stored."""
        answer = error_response(errors.Conflict("taken"), b"*/*", "id-1")
        content: Any = msgspec.json.decode(answer.body)
        self.assertEqual(content, {"error": {"status": 409, "message": "taken", "request_id": "id-1"}})
        self.assertEqual((fields(answer)[b"X-Request-Id"], fields(answer)[b"Cache-Control"]), (b"id-1", b"no-store"))

    def test_html(self) -> None:
        """A page for browsers; nothing in it is markup, and it may load nothing."""
        answer = error_response(errors.NotFound("<script>alert(1)</script>"), b"text/html,*/*;q=0.8", "id-1")
        self.assertNotIn(b"<script", answer.body)
        self.assertIn(b"id-1", answer.body)
        self.assertIn(b"default-src 'none'", fields(answer)[b"Content-Security-Policy"])

    def test_preferences(self) -> None:
        """A page is for those who ask for HTML by name and want JSON no more than that (RFC 9110 section 12.5.1)."""
        asked = {
            b"text/html": True,
            b"TEXT/HTML;q=0.9, application/json;q=0.5, */*": True,
            b"text/html, application/xhtml+xml, */*;q=0.8": True,
            b"application/json, text/html;q=0.1": False,
            b"text/html;q=0, application/json": False,
            b"text/*": False,
            b"*/*": False,
        }
        for accept, page in asked.items():
            self.assertEqual(error_response(errors.NotFound("no"), accept, "x").media_type.startswith(b"text/html"), page, accept)

    def test_without_words(self) -> None:
        """An error without words has those of its status."""
        content: Any = msgspec.json.decode(error_response(errors.Forbidden(), None, "x").body)
        self.assertEqual(content["error"]["message"], "Forbidden")

    def test_retry(self) -> None:
        """Who shall come again is told when, in whole seconds, at least one."""
        for error, seconds in ((errors.RateLimited("", 2.1), b"3"), (errors.Overloaded("", 0.0), b"1"), (errors.StoreUnavailable("", 5), b"5")):
            answer = error_response(error, None, "x")
            self.assertEqual(fields(answer)[b"Retry-After"], seconds)
            self.assertEqual(msgspec.json.decode(answer.body)["error"]["retry_after"], error.retry_after)

    def test_a_way_in(self) -> None:
        """Who has to sign in first is shown where; nobody else is."""
        self.assertIn(b'<a href="/">', error_response(errors.NotAuthenticated("log in"), b"text/html", "x").body)
        self.assertNotIn(b"<a", error_response(errors.Forbidden("no"), b"text/html", "x").body)

    def test_further_fields(self) -> None:
        """A challenge at 401, the version at a bad handshake, whatever an HttpError brings."""
        self.assertEqual(fields(error_response(errors.NotAuthenticated(), None, "x"))[b"WWW-Authenticate"], b'Bearer realm="netsvc"')
        self.assertEqual(fields(error_response(BadHandshake("x"), None, "x"))[b"Sec-WebSocket-Version"], b"13")
        self.assertEqual(fields(error_response(HttpError(405, "", ((b"Allow", b"GET"),)), None, "x"))[b"Allow"], b"GET")
