"""Requests and their answers on one connection: order, forms of handlers, keep-alive, errors."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import Conflict, Forbidden, NotAuthenticated, RateLimited
from netsvc.http.messages import Request, Response
from netsvc.net.buffered_transport import BufferedTransport
from tests.http.channels import ALICE, ChannelCase, Client, echo, request


class AnswerTests(ChannelCase):
    """One request, one answer."""

    def setUp(self) -> None:
        """Routes with handlers of every kind."""
        super().setUp()
        for method in ("GET", "POST"):
            self.routes.add(method, "/echo", echo, public=True)
        self.routes.add("GET", "/later", self.ask, public=True)

    def get(self, handler: Any, *lines: str, method: str = "GET") -> Any:
        """The answer of a handler."""
        self.routes.add("GET", "/this", handler, public=True)
        self.client.send(request("/this", *lines, method=method))
        return self.client.answer()

    def test_plain(self) -> None:
        """A plain function's answer is sent at once, with Date, Server, type and length, and the connection stays."""
        self.client.send(request("/echo?x=y"))
        self.assertEqual(
            self.client.sent(),
            b"HTTP/1.1 200 OK\r\nServer: netsvc\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/json\r\n"
            b'Content-Length: 41\r\n\r\n{"method":"GET","path":"/echo","body":""}',
        )
        self.assertEqual(self.client.ended, "")

    def test_date(self) -> None:
        """Date follows the time, and the clock has nothing to do once the connections are gone."""
        self.advance(10)
        self.client.send(request("/echo"))
        self.assertIn(self.client.answer().fields["date"], ("Sun, 06 Nov 1994 08:49:46 GMT", "Sun, 06 Nov 1994 08:49:47 GMT"))
        self.client.lose()
        self.advance(3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_body(self) -> None:
        """A body is complete when the handler is called."""
        data = request("/echo", method="POST", body=b"hello")
        self.client.send(data[:-3], data[-3:])
        self.assertEqual(self.client.answer().json()["body"], "hello")

    def test_large_body_out(self) -> None:
        """A large answer is sent whole."""
        self.assertEqual(self.get(lambda _: Response(200, b"x" * 100_000)).body, b"x" * 100_000)

    def test_headers(self) -> None:
        """Fields of the handler's are sent."""
        self.assertEqual(self.get(lambda _: Response(201, b"", b"", ((b"X-A", b"b"),))).fields["x-a"], "b")

    def test_subclass(self) -> None:
        """A subclass of Response is a Response."""

        class Special(Response):
            pass

        self.assertEqual(self.get(lambda _: Special(202)).status, 202)

    def test_deferred(self) -> None:
        """A Deferred's result is the answer, whether it is there already or not."""
        self.assertEqual(self.get(lambda _: succeed(Response(202))).status, 202)
        self.client.send(request("/later"))
        self.assertEqual(self.client.sent(), b"")
        self.asked[0][1].callback(Response(203))
        self.assertEqual(self.client.answer().status, 203)

    def test_coroutine(self) -> None:
        """So is a coroutine's."""

        async def handler(request: Request) -> Response:
            return await self.ask(request)

        self.routes.add("GET", "/this", handler, public=True)
        self.client.send(request("/this"))
        self.asked[0][1].callback(Response(203))
        self.assertEqual(self.client.answer().status, 203)

    def test_deferred_coroutine(self) -> None:
        """A Deferred that fires with another kind of answer is followed."""

        async def answer() -> Response:
            return Response(205)

        self.assertEqual(self.get(lambda _: succeed(answer())).status, 205)

    def test_head(self) -> None:
        """HEAD has the head of GET and no body."""
        self.client.send(request("/echo", method="HEAD"), request("/echo"))
        head, got = self.client.sent().split(b"\r\n\r\n", 1)
        self.assertIn(b"Content-Length: 42", head)
        self.assertTrue(got.startswith(b"HTTP/1.1 200"))

    def test_no_content(self) -> None:
        """204 and 304 have no body and no length."""
        for status in (204, 304):
            client = Client(self.factory)
            self.routes.add("GET", f"/{status}", lambda _, status=status: Response(status), public=True)
            client.send(request(f"/{status}"))
            self.assertNotIn("content-length", client.answer().fields)

    def test_1_0(self) -> None:
        """An HTTP/1.0 client is told that the connection stays, if it asked for that, or sees its end."""
        self.client.send(request("/echo", "Connection: keep-alive", version="1.0"))
        self.assertEqual((self.client.answer().fields["connection"], self.client.ended), ("keep-alive", ""))
        self.client.send(request("/echo", version="1.0", host=None))
        self.assertEqual((self.client.answer().fields["connection"], self.client.ended), ("close", "closed"))

    def test_close(self) -> None:
        """The connection ends after the answer if the client says so."""
        self.client.send(request("/echo", "Connection: close"))
        self.assertEqual((self.client.answer().fields["connection"], self.client.ended), ("close", "closed"))

    def test_not_found(self) -> None:
        """Where nothing is, 404 as JSON, or as HTML for who asks for that; the request's id is in both, the connection stays."""
        self.client.send(request("/nothing"))
        answer = self.client.answer()
        error = answer.json()["error"]
        self.assertEqual((answer.status, error["status"], error["request_id"]), (404, 404, answer.fields["x-request-id"]))
        self.client.send(request("/nothing", "Accept: text/html,*/*"))
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.fields["content-type"]), (404, "text/html; charset=utf-8"))
        self.assertIn(answer.fields["x-request-id"].encode(), answer.body)
        self.assertEqual(self.client.ended, "")

    def test_errors_on_purpose(self) -> None:
        """netsvc's errors become their statuses, however they are raised."""

        def conflict(request: Request) -> Response:
            raise Conflict("taken")

        async def forbidden(request: Request) -> Response:
            raise Forbidden("not you")

        self.assertEqual(self.get(conflict).json()["error"]["message"], "taken")
        for path, handler, status in (("/a", forbidden, 403), ("/b", lambda _: fail(RateLimited("slow down", 2.5)), 429)):
            self.routes.add("GET", path, handler, public=True)
            self.client.send(request(path))
            answer = self.client.answer()
            self.assertEqual(answer.status, status)
        self.assertEqual(answer.fields["retry-after"], "3")

    def test_bugs(self) -> None:
        """Anything else is 500 with the request's id and nothing more; the log has the traceback under the same id."""

        def broken(request: Request) -> Response:
            raise KeyError("secret")

        async def broken_later(request: Request) -> Response:
            raise KeyError("secret")

        for path, handler in (("/a", broken), ("/b", broken_later), ("/c", lambda _: fail(KeyError("secret")))):
            self.routes.add("GET", path, handler, public=True)
            self.client.send(request(path))
            answer = self.client.answer()
            self.assertEqual(answer.status, 500)
            self.assertNotIn(b"secret", answer.body)
            (failure,) = self.flushLoggedErrors(KeyError)
            self.assertEqual(failure.value.args, ("secret",))
        self.client.send(request("/echo"))
        self.assertEqual(self.client.answer().status, 200)

    def test_no_answer(self) -> None:
        """A handler that gives something else has a bug."""
        self.assertEqual(self.get(lambda _: None).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_answer_that_cannot_be_written(self) -> None:
        """Nor may a handler split the answer, or send a body where there is none."""
        self.assertEqual(self.get(lambda _: Response(200, b"", b"", ((b"X", b"a\r\nb"),))).status, 500)
        for path, headers in (("/that", ()), ("/other", ((b"X", b"a"),))):
            self.routes.add("GET", path, lambda _, headers=headers: Response(204, b"body", headers=headers), public=True)
            self.client.send(request(path))
            self.assertEqual(self.client.answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)

    def test_client_leaves(self) -> None:
        """Whatever was done for a client that leaves is cancelled, silently."""
        cancelled: list[Any] = []
        self.routes.add("GET", "/slow", lambda _: Deferred(cancelled.append), public=True)
        self.client.send(request("/slow"))
        self.client.lose()
        self.assertEqual(len(cancelled), 1)
        self.assertTrue(self.is_gone(self.client.channel))

    def test_late_failure(self) -> None:
        """A handler that fails with a bug after the client has left is logged; on purpose, it is not."""
        for error in (KeyError("late"), Conflict("late")):
            answer: Deferred[Any] = Deferred()
            answer.addErrback(lambda _, error=error: fail(error))
            self.routes.add("GET", f"/{type(error).__name__}", lambda _, answer=answer: answer, public=True)
            client = Client(self.factory)
            client.send(request(f"/{type(error).__name__}"))
            client.lose()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_reader_bug(self) -> None:
        """A bug in the server itself reaches the transport, which cuts the connection."""
        self.patch(self.factory, "route", lambda request, host: {}["bug"])
        self.assertRaises(KeyError, self.client.send, request("/"))


class OrderTests(ChannelCase):
    """Many requests on one connection."""

    def setUp(self) -> None:
        """A quick and a slow route."""
        super().setUp()
        self.routes.add("GET", "/{name}", lambda request: Response.text(request.variables["name"]), public=True)
        self.routes.add("GET", "/slow/{name}", self.ask, public=True)
        self.routes.add("GET", "/large", lambda _: Response(200, b"x" * 20_000), public=True)

    def bodies(self) -> list[str]:
        """The bodies of the answers since this was asked last."""
        return [answer.body.decode() for answer in self.client.answers()]

    def test_one_after_another(self) -> None:
        """The connection serves any number of requests."""
        for number in range(200):
            self.client.send(request(f"/{number}"))
        self.assertEqual(self.bodies(), [str(number) for number in range(200)])

    def test_pipelined(self) -> None:
        """Requests that arrive together are answered in order, by few writes."""
        self.client.send(b"".join(request(f"/{number}") for number in range(100)))
        self.assertEqual(self.client.writes, 2)
        self.assertEqual(self.bodies(), [str(number) for number in range(100)])

    def test_large_among_small(self) -> None:
        """A large answer keeps its place among small ones."""
        self.client.send(request("/a") + request("/large") + request("/b"))
        self.assertEqual([len(answer.body) for answer in self.client.answers()], [1, 20_000, 1])

    def test_slow_among_quick(self) -> None:
        """While a handler is at work nothing overtakes it, in one piece or in many."""
        self.client.send(request("/a") + request("/slow/b") + request("/c") + request("/slow/d") + request("/e"))
        self.assertEqual(self.bodies(), ["a"])
        self.asked[0][1].callback(Response.text("b"))
        self.assertEqual(self.bodies(), ["b", "c"])
        self.client.send(request("/f"))
        self.assertEqual(self.bodies(), [])
        self.asked[1][1].callback(Response.text("d"))
        self.assertEqual(self.bodies(), ["d", "e", "f"])

    def test_reading_stops(self) -> None:
        """While a handler is at work one more piece is kept, then nothing is read; reading goes on with the answer."""
        self.client.send(request("/slow/a"))
        self.assertTrue(self.client.reading)
        self.client.send(request("/b")[:10])
        self.assertFalse(self.client.reading)
        self.client.send(request("/b")[10:])
        self.asked[0][1].callback(Response.text("a"))
        self.assertEqual(self.bodies(), ["a", "b"])
        self.assertTrue(self.client.reading)

    def test_slow_client(self) -> None:
        """A client that takes no answers gets no more of them made, and is not read from."""
        self.client.fill()
        self.client.send(request("/a"), request("/b"))
        self.assertEqual((self.bodies(), self.client.reading), ([], False))
        self.client.drain()
        self.assertEqual((self.bodies(), self.client.reading), (["a", "b"], True))

    def test_full_in_the_midst(self) -> None:
        """The same if its transport fills up between two requests of one piece."""
        self.routes.add("GET", "/fill", lambda _: self.client.fill() or Response.text("fill"), public=True)
        self.client.send(request("/fill") + request("/a"))
        self.assertEqual(self.bodies(), ["fill"])
        self.client.drain()
        self.assertEqual(self.bodies(), ["a"])

    def test_malformed_behind_slow(self) -> None:
        """A malformed request is refused after the answers to those before it, and the connection ends."""
        self.client.send(request("/slow/a") + b"rubbish\r\n\r\n" + request("/b"))
        self.client.send(request("/c"))
        self.asked[0][1].callback(Response.text("a"))
        first, second = self.client.answers()
        self.assertEqual((first.body, second.status, second.fields["connection"]), (b"a", 400, "close"))
        self.assertEqual(self.client.ended, "half closed")

    def test_nothing_behind_close(self) -> None:
        """What follows a request with close is not answered."""
        self.client.send(request("/a", "Connection: close") + request("/b"))
        self.assertEqual(self.bodies(), ["a"])
        self.assertEqual(self.client.ended, "closed")

    def test_half_closed_client(self) -> None:
        """A client that closes its direction still gets what waits for it."""
        self.client.send(request("/a"))
        self.client.channel.readConnectionLost()
        self.assertEqual((self.bodies(), self.client.ended), (["a"], "closed"))

    def test_half_closed_while_answering(self) -> None:
        """What it has asked is answered in full before the connection ends, also what waits for its turn."""
        self.client.send(request("/slow/a") + request("/slow/b"))
        self.client.channel.readConnectionLost()
        self.assertEqual((self.client.ended, self.client.reading), ("", False))
        self.asked[0][1].callback(Response.text("a"))
        self.assertEqual((self.bodies(), self.client.ended, self.client.reading), (["a"], "", False))
        self.asked[1][1].callback(Response.text("b"))
        self.assertEqual((self.bodies(), self.client.reading), (["b"], True))
        self.client.channel.readConnectionLost()  # which is what reading on gives
        self.assertEqual(self.client.ended, "closed")

    def test_half_closed_and_full(self) -> None:
        """A client that takes its answers slowly gets all of them."""
        self.routes.add("GET", "/fill", lambda _: self.client.fill() or Response.text("fill"), public=True)
        self.client.send(request("/fill") + request("/a"))
        self.client.channel.readConnectionLost()
        self.client.drain()
        self.assertEqual((self.bodies(), self.client.ended), (["fill", "a"], ""))

    def test_half_closed_in_the_midst(self) -> None:
        """A request that will not be complete has no answer."""
        self.client.send(request("/a")[:-2])
        self.client.channel.readConnectionLost()
        self.assertEqual((self.bodies(), self.client.ended), ([], "closed"))

    def test_half_closed_while_waiting(self) -> None:
        """Where a handler waits for something to happen, such a client is taken to have left."""
        self.routes.add("GET", "/wait", lambda _: Deferred(), public=True, waiting=True)
        self.client.send(request("/wait"))
        self.client.channel.readConnectionLost()
        self.assertEqual(self.client.ended, "closed")

    def test_other_direction(self) -> None:
        """That our direction is closed is nothing new to the channel."""
        self.client.channel.writeConnectionLost()
        self.assertEqual(self.client.ended, "")


class IdentityTests(ChannelCase):
    """Who acts."""

    def setUp(self) -> None:
        """A route for those who are known, and a public one."""
        super().setUp()
        self.routes.add("GET", "/me", lambda request: Response.text(request.identity.name if request.identity else "-"))
        self.routes.add("GET", "/all", lambda request: Response.text(str(request.identity)), public=True)

    def test_known(self) -> None:
        """A route is called with the identity."""
        self.client.send(request("/me"))
        self.assertEqual(self.client.answer().body, b"alice")

    def test_public(self) -> None:
        """On public routes nobody is asked for."""
        self.authenticate = lambda request: {}["asked"]
        self.client.send(request("/all"))
        self.assertEqual(self.client.answer().body, b"None")

    def test_unknown(self) -> None:
        """Who is not known gets 401 and is told how to be."""

        def refuse(request: Request) -> Any:
            raise NotAuthenticated("who are you?")

        self.authenticate = refuse
        self.client.send(request("/me"))
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.fields["www-authenticate"]), (401, 'Bearer realm="netsvc"'))

    def test_known_later(self) -> None:
        """The answer to who acts may take time, and the handler's too."""
        asked: Deferred[Any] = Deferred()
        self.authenticate = lambda request: asked
        self.routes.add("GET", "/slow", self.ask)
        self.client.send(request("/me") + request("/slow"))
        self.assertEqual(self.client.sent(), b"")
        asked.callback(ALICE)
        self.assertEqual(self.client.answer().body, b"alice")
        self.authenticate = lambda request: succeed(ALICE)
        self.asked[0][1].callback(Response(204))
        self.assertEqual(self.client.answer().status, 204)

    def test_refused_later(self) -> None:
        """So may the refusal."""
        self.authenticate = lambda request: fail(NotAuthenticated())
        self.client.send(request("/me"))
        self.assertEqual(self.client.answer().status, 401)


class RequestFieldsTests(ChannelCase):
    """What a handler is told of a request."""

    def test_fields(self) -> None:
        """Everything is where it belongs."""
        seen: list[Request] = []
        self.routes.add("POST", "/a/{b}", lambda request: seen.append(request) or Response(204))
        self.clock.advance(5)
        Client(self.factory, "::ffff:192.0.2.7").send(request("/a/%C3%A9?q=1&q=2&e=%20", "X-Y: z", method="POST", body=b"x"))
        (found,) = seen
        self.assertEqual((found.method, found.path, found.raw_path, found.query), ("POST", "/a/é", b"/a/%C3%A9", "q=1&q=2&e=%20"))
        self.assertEqual((found.header(b"x-y"), found.header(b"x-z"), found.parameter("q"), found.parameter("e")), (b"z", None, "1", " "))
        self.assertEqual((found.peer, found.secure, found.identity, found.started), ("192.0.2.7", False, ALICE, 5.0))
        self.assertEqual((found.variables, found.body, found.stream), ({"b": "é"}, b"x", None))


class DirectTests(SynchronousTestCase):
    """How a channel comes to its transport."""

    def test_wrapped(self) -> None:
        """Any Twisted transport will do; see test_transport for the direct ones."""
        case = ChannelCase()
        case.setUp()
        channel: Any = case.factory.buildProtocol(case.client.inner.getPeer())
        inner = Client(case.factory).inner
        inner.unregisterProducer()
        channel.makeConnection(inner)
        self.assertIsInstance(channel._transport, BufferedTransport)
