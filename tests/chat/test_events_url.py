"""``/rooms/<room>/events``: which answer a client wants, and what is refused."""

from netsvc.chat.events_url import preferred
from netsvc.core.arrivals import Arrivals
from netsvc.core.settings import LimitsSettings
from netsvc.http.errors import HttpError
from tests.chat.events_case import SSE, EventsUrlCase
from tests.http.channels import Client, request


class RefusalTests(EventsUrlCase):
    """What is refused."""

    limits = LimitsSettings(calls_per_second=1.0, burst=30.0)

    def test_too_many_at_once(self) -> None:
        """While too many come in, a stream is told when to begin; polls go on, since they do so all the time."""
        self.budgets.arrivals = Arrivals(LimitsSettings(arrivals=1.0), self.clock)
        self.budgets.arrivals.admit()
        refused = self.get("", SSE)
        self.assertEqual((refused.status, refused.fields["retry-after"]), (503, "2"))
        self.post("a")
        self.assertEqual(self.get("?after=e:0&wait=5").status, 200)

    def test_bad_params(self) -> None:
        """Each says which parameter and what is expected; JSON and event stream alike."""
        bad_limits = ["?limit=201", "?limit=-1", "?limit=x", "?limit=", "?limit=%D9%A1", "?limit=" + "9" * 5000]
        for query in bad_limits:
            for lines in ((), (SSE,)):
                self.assertEqual((self.get(query, *lines).status, query), (400, query))
            self.clock.advance(5)
        for query in ("?after=x", "?after=", "?after=%ff"):
            for lines in ((), (SSE,)):
                self.assertEqual((self.get(query, *lines).status, query), (400, query))
            self.clock.advance(5)
        for query in ("?wait=61", "?wait=-1", "?wait=x", "?wait=nan", "?wait=inf"):
            answer = self.get(query)
            self.assertEqual((answer.status, answer.json()["error"]["message"]), (400, "wait: expected 0 to 60 seconds"))
            self.clock.advance(5)
        for header in ("Last-Event-ID: 7", "Last-Event-ID: \udcff"):
            client = Client(self.factory)
            client.send(request("/rooms/lobby/events", SSE, "X").replace(b"X", header.encode("utf-8", "surrogateescape")))
            self.assertEqual(client.answer().status, 400)
        self.assertEqual(self.get("", room="-").status, 400)
        self.assertEqual(self.rooms._states, {})

    def test_rate(self) -> None:
        """Each request costs of the caller's budget."""
        self.post("a")
        statuses = [self.get().status for _ in range(16)]
        self.assertEqual(statuses, [200] * 15 + [429])

    def test_accept(self) -> None:
        """JSON unless an event stream is wanted more, or as much and named more exactly; neither is 406."""
        json_type, stream = b"application/json", b"text/event-stream"
        for accept, expected in (
            (None, json_type),
            (b"", json_type),
            (b"*/*", json_type),
            (b"application/*", json_type),
            (b"application/json", json_type),
            (b"application/json, text/event-stream", json_type),
            (b"application/json;q=0.5, text/event-stream;q=0.4", json_type),
            (b"text/event-stream;q=0, */*", json_type),
            (b"text/event-stream", stream),
            (b"Text/Event-Stream ; charset=utf-8", stream),
            (b"text/*", stream),
            (b"text/event-stream, */*", stream),
            (b"application/json;q=0.9,text/event-stream", stream),
            (b"application/json;q=0, */*;q=0.1", stream),
            (b"application/json; q=x, text/event-stream; q=7", stream),
        ):
            self.assertEqual(preferred(accept), expected, accept)
        for accept in (b"text/html", b"application/json;q=0", b"text/event-stream;q=0.0, image/*"):
            with self.assertRaises(HttpError) as refused:
                preferred(accept)
            self.assertEqual(refused.exception.status, 406)
        self.assertEqual(self.get("", "Accept: image/png").status, 406)
