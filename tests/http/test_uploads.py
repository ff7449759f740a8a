"""Bodies that are read as they arrive."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import Conflict, TooLarge
from netsvc.http.bodies import STREAM_WINDOW, RequestBody, Stream
from netsvc.http.messages import Request, Response
from netsvc.http.settings import HttpSettings
from netsvc.wire.http1 import BadMessage
from tests.http.channels import ChannelCase, request


class RequestBodyTests(SynchronousTestCase):
    """The reading end of a request that comes in pieces."""

    def setUp(self) -> None:
        """A body, and what it asks of its transport."""
        self.asked: list[str] = []
        self.body = RequestBody(lambda: self.asked.append("pause"), lambda: self.asked.append("resume"))

    def test_pieces(self) -> None:
        """Pieces come in order, whether they are there before they are asked for or not; then there is an empty one."""
        self.body.received(b"a")
        self.assertEqual(self.successResultOf(self.body.read()), b"a")
        second = self.body.read()
        self.assertNoResult(second)
        self.body.received(b"b")
        self.assertEqual(self.successResultOf(second), b"b")
        third = self.body.read()
        self.body.ended()
        self.assertEqual(self.successResultOf(third), b"")
        self.assertEqual(self.successResultOf(self.body.read()), b"")

    def test_iteration(self) -> None:
        """It can be iterated over."""

        async def collect() -> list[bytes]:
            return [piece async for piece in self.body]

        collecting = Deferred.fromCoroutine(collect())
        for piece in (b"a", b"b"):
            self.body.received(piece)
        self.body.ended()
        self.assertEqual(self.successResultOf(collecting), [b"a", b"b"])

    def test_backpressure(self) -> None:
        """When enough waits to be read, no more is asked of the client until it has been."""
        self.body.received(b"a" * (STREAM_WINDOW - 1))
        self.assertEqual(self.asked, [])
        self.body.received(b"b")
        self.body.received(b"c")
        self.assertEqual(self.asked, ["pause"])
        for _ in range(3):
            self.successResultOf(self.body.read())
        self.assertEqual(self.asked, ["pause", "resume"])

    def test_failure(self) -> None:
        """If the rest does not come, reading fails after what has come, also for who waits already."""
        self.body.received(b"a")
        from_now = [Conflict("x"), Conflict("y")]
        self.body.failed(self.failure(from_now[0]))
        self.body.failed(self.failure(from_now[1]))
        self.assertEqual(self.successResultOf(self.body.read()), b"a")
        self.assertIs(self.failureResultOf(self.body.read()).value, from_now[0])
        other = RequestBody(lambda: None, lambda: None)
        waiting = other.read()
        other.failed(self.failure(from_now[0]))
        self.failureResultOf(waiting, Conflict)

    def test_failure_after_the_end(self) -> None:
        """What happens after the end does not matter."""
        self.body.ended()
        self.body.failed(self.failure(Conflict()))
        self.assertEqual(self.successResultOf(self.body.read()), b"")

    def test_cancelled(self) -> None:
        """Who stops waiting misses nothing."""
        waiting = self.body.read()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.body.received(b"a")
        self.assertEqual(self.successResultOf(self.body.read()), b"a")

    def failure(self, error: Exception) -> Any:
        """A Failure with an error."""
        return self.failureResultOf(fail(error))


class UploadTests(ChannelCase):
    """Routes that read the body themselves."""

    settings = HttpSettings(body_timeout=20, answer_timeout=40, max_body=1000)

    def setUp(self) -> None:
        """Routes that count, that answer before the body, and that wait."""
        super().setUp()
        self.routes.add("PUT", "/count", self.count, streaming=True, body_limit=1_000_000)
        self.routes.add("PUT", "/never", lambda _: Response(403), streaming=True)
        self.routes.add("PUT", "/wait", self.ask, streaming=True, body_limit=1_000_000)
        self.routes.add("GET", "/", lambda _: Response.text("next"), public=True)
        self.routes.add("GET", "/slow", self.ask, public=True)

    async def count(self, request: Request) -> Response:
        """Count the bytes of a body."""
        assert request.stream is not None
        return Response.text(str(sum([len(piece) async for piece in request.stream])))

    def test_counted(self) -> None:
        """A handler reads while the body arrives, larger than the server's limit if its own allows; the next request follows."""
        data = request("/count", method="PUT", body=b"x" * 5000) + request()
        self.client.send(data[:100], data[100:3000], data[3000:])
        self.assertEqual([answer.body for answer in self.client.answers()], [b"5000", b"next"])

    def test_chunked(self) -> None:
        """The same for a chunked body."""
        self.client.send(request("/count", "Transfer-Encoding: chunked", method="PUT"), b"3\r\nabc\r\n", b"0\r\n\r\n" + request())
        self.assertEqual([answer.body for answer in self.client.answers()], [b"3", b"next"])

    def test_in_one_piece(self) -> None:
        """The same if everything is there at once, or if there is no body."""
        self.client.send(request("/count", method="PUT", body=b"abc") + request("/count", method="PUT") + request())
        self.assertEqual([answer.body for answer in self.client.answers()], [b"3", b"0", b"next"])

    def test_in_turn(self) -> None:
        """It waits for its turn; meanwhile no more is read than one piece."""
        data = request("/count", method="PUT", body=b"x" * 500)
        self.client.send(request("/slow") + data[:100], data[100:300])
        self.assertFalse(self.client.reading)
        self.asked[0][1].callback(Response(204))
        self.client.send(data[300:])
        self.assertEqual([answer.body for answer in self.client.answers()], [b"", b"500"])

    def test_backpressure(self) -> None:
        """A handler that does not read stops the client; one that reads lets it go on."""
        self.client.send(request("/wait", f"Content-Length: {STREAM_WINDOW * 2}", method="PUT"), b"x" * STREAM_WINDOW)
        self.assertFalse(self.client.reading)
        asked, answer = self.asked[0]
        assert asked.stream is not None
        self.successResultOf(asked.stream.read())
        self.assertTrue(self.client.reading)
        self.client.send(b"x" * STREAM_WINDOW)
        self.successResultOf(asked.stream.read())
        self.assertEqual(self.successResultOf(asked.stream.read()), b"")
        answer.callback(Response(204))
        self.assertEqual((self.client.answer().status, self.client.ended), (204, ""))

    def test_answered_early(self) -> None:
        """An answer before the body is there ends the connection, since the body is not wanted."""
        self.client.send(request("/never", "Content-Length: 1000", method="PUT"), b"x" * 10, b"x" * 990 + request())
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.fields["connection"], self.client.ended), (403, "close", "half closed"))

    def test_answered_early_in_one_piece(self) -> None:
        """The same if the body and another request are there already: they are not looked at."""
        self.client.send(request("/never", method="PUT", body=b"x" * 10) + request())
        self.assertEqual((self.client.answer().status, self.client.ended), (403, "half closed"))

    def test_answered_early_by_a_stream(self) -> None:
        """The same if the answer is a stream."""
        made = Stream(lambda stream: None)
        self.routes.add("PUT", "/stream", lambda _: made, streaming=True)
        self.client.send(request("/stream", "Content-Length: 1000", method="PUT"), b"x" * 10)
        made.send(b"no")
        made.finish()
        self.assertEqual((self.client.answer().body, self.client.ended), (b"no", "half closed"))

    def test_invited(self) -> None:
        """A client that waits to be asked for its body is asked when the handler has begun."""
        self.client.send(request("/count", "Expect: 100-continue", "Content-Length: 2", method="PUT"))
        self.assertEqual(self.client.answer().status, 100)
        self.client.send(b"ab")
        self.assertEqual(self.client.answer().body, b"2")

    def test_not_invited(self) -> None:
        """Who has an answer already is not asked for the body."""
        self.client.send(request("/never", "Expect: 100-continue", "Content-Length: 2", method="PUT"))
        self.assertEqual(self.client.answer().status, 403)

    def test_too_large(self) -> None:
        """A body that is too large by its length is refused before the handler has got any of it."""
        self.client.send(request("/count", "Content-Length: 1000001", method="PUT"))
        self.assertEqual((self.client.answer().status, self.client.ended), (413, "half closed"))

    def test_grows_too_large(self) -> None:
        """One that grows too large fails under the handler, whose answer is the last."""
        self.routes.add("PUT", "/small", self.count, streaming=True, body_limit=5)
        self.client.send(request("/small", "Transfer-Encoding: chunked", method="PUT"), b"3\r\nabc\r\n", b"3\r\nabc\r\n")
        self.assertEqual((self.client.answer().status, self.client.ended), (413, "half closed"))

    def test_malformed(self) -> None:
        """So does one with broken chunks, if the handler has nothing else to say."""
        self.client.send(request("/wait", "Transfer-Encoding: chunked", method="PUT"), b"rubbish\r\n")
        asked, answer = self.asked[0]
        assert asked.stream is not None
        self.failureResultOf(asked.stream.read(), BadMessage)
        answer.errback(TooLarge("enough"))
        self.assertEqual((self.client.answer().status, self.client.ended), (413, "half closed"))

    def test_client_leaves(self) -> None:
        """A client that leaves in the midst cancels the handler, and its reading fails."""
        self.client.send(request("/wait", "Content-Length: 10", method="PUT"), b"x")
        asked, answer = self.asked[0]
        answer.addErrback(lambda failure: failure.trap(CancelledError))
        self.client.lose()
        assert asked.stream is not None
        self.assertEqual(self.successResultOf(asked.stream.read()), b"x")
        self.failureResultOf(asked.stream.read(), ConnectionDone)

    def test_client_leaves_in_the_queue(self) -> None:
        """The same for a body whose turn had not come."""
        self.client.send(request("/slow") + request("/wait", "Content-Length: 10", method="PUT"))
        self.client.lose()
        self.assertEqual(len(self.asked), 1)

    def test_silence(self) -> None:
        """A body in which nothing comes for too long fails; one that comes slowly does not."""
        self.client.send(request("/count", "Content-Length: 100", method="PUT"))
        for _ in range(5):
            self.client.send(b"x")
            self.advance(15)
        self.assertEqual(self.client.ended, "")
        self.advance(8)
        self.assertEqual((self.client.answer().status, self.client.ended), (408, "half closed"))

    def test_slow_handler(self) -> None:
        """While the handler does not read, the time is not the client's."""
        self.client.send(request("/wait", "Content-Length: 100000", method="PUT"), b"x" * STREAM_WINDOW)
        self.advance(35)
        self.assertEqual(self.client.ended, "")
        self.asked[0][1].callback(Response(204))
        self.assertEqual(self.client.answer().status, 204)
