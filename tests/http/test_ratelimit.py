"""Tests for netsvc.http.ratelimit, and where its fields are seen."""

from twisted.internet.defer import succeed

from netsvc.core.limits import REFUSALS, Budget, Budgets
from netsvc.core.settings import LimitsSettings
from netsvc.http.bodies import Stream
from netsvc.http.messages import Answer, Request, Response
from netsvc.http.ratelimit import rate_fields
from tests.http.channels import ChannelCase, Client, request


class FieldsTests(ChannelCase):
    """The fields of answers."""

    def budget(self, rate: bool = True) -> Budget:
        """A budget of five calls, one each ten seconds."""
        return Budgets(LimitsSettings(rate=rate, calls_per_second=0.1, burst=5.0), self.clock.seconds).of(None, "192.0.2.1")

    def test_words(self) -> None:
        """As the draft's section 3 and 4 have them; a full budget has no time at which it is more."""
        budget = self.budget()
        self.assertEqual(rate_fields(budget), ((b"RateLimit-Policy", b'"calls";q=5;w=50'), (b"RateLimit", b'"calls";r=5')))
        budget.charge(2.0)
        self.assertEqual(rate_fields(budget)[1], (b"RateLimit", b'"calls";r=3;t=10'))

    def test_answers(self) -> None:
        """Every answer to a request that was charged has them: at once, later, streamed, refused; others have not."""
        budget = self.budget()

        def charge(request: Request) -> None:
            request.charged(budget)
            budget.charge(1.0)

        def at_once(request: Request) -> Answer:
            charge(request)
            return Response.text("a")

        def streamed(request: Request) -> Answer:
            charge(request)
            return Stream(Stream.finish)

        self.routes.add("GET", "/now", at_once, public=True)
        self.routes.add("GET", "/later", lambda request: succeed(at_once(request)), public=True)
        self.routes.add("GET", "/stream", streamed, public=True)
        self.routes.add("GET", "/free", lambda _: Response.text("a"), public=True)
        client = Client(self.factory)
        seen = []
        for path in ("/now", "/later", "/stream", "/free", "/now", "/now", "/now"):
            client.send(request(path))
            answer = client.answer()
            seen.append((answer.status, answer.fields.get("ratelimit")))
            self.assertEqual("ratelimit-policy" in answer.fields, path != "/free")
        rest = [(200, f'"calls";r={remaining};t=10') for remaining in (4, 3, 2, 1, 0)]
        self.assertEqual(seen, [*rest[:3], (200, None), *rest[3:], (429, '"calls";r=0;t=10')])
        self.assertEqual(answer.fields["retry-after"], "10")

    def test_who_takes_no_heed(self) -> None:
        """After many refusals in a second the next has to be waited for, and nothing is read meanwhile; whoever leaves is not waited for."""
        budget = self.budget()
        budget.charge(5.0)

        def charge(request: Request) -> Answer:
            request.charged(budget)
            budget.charge(1.0)
            raise AssertionError

        self.routes.add("GET", "/", charge, public=True)
        client = Client(self.factory)
        client.send(request("/") * (REFUSALS + 2))
        self.assertEqual(len(client.answers()), REFUSALS)
        client.send(request("/"))
        self.assertFalse(client.reading)
        self.clock.pump([0.005] * 6)
        self.assertEqual([answer.status for answer in client.answers()], [429] * 3)
        self.assertTrue(client.reading)
        calls = len(self.clock.getDelayedCalls())
        client.send(request("/") * 9)
        self.assertEqual(len(self.clock.getDelayedCalls()), calls + 1)
        client.lose()
        self.assertEqual(len(self.clock.getDelayedCalls()), calls)

    def test_endless(self) -> None:
        """Where budgets are endless there is nothing to tell."""
        asked = Request("GET", b"/", [])
        asked.charged(self.budget(rate=False))
        self.assertEqual(asked.flags, 0)
