"""Answers that are sent in pieces, requests that are read in pieces."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netsvc.errors import Conflict
from netsvc.http.bodies import Stream
from netsvc.http.messages import Response
from netsvc.http.settings import HttpSettings
from netsvc.interfaces import ISink, ISinkWatcher
from tests.http.channels import ChannelCase, request


@implementer(ISinkWatcher)
class Watcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def sink_full(self) -> None:
        """See ISinkWatcher."""
        self.told.append("full")

    def sink_drained(self) -> None:
        """See ISinkWatcher."""
        self.told.append("drained")


class StreamCase(ChannelCase):
    """A route that streams.

    :ivar streams: those that were started.
    :ivar stopped: those that are over.
    """

    settings = HttpSettings(access_log=False)

    def setUp(self) -> None:
        """Add the route."""
        super().setUp()
        self.streams: list[Stream] = []
        self.stopped: list[Stream] = []
        self.routes.add("GET", "/plain", lambda _: Response.text("plain"), public=True)

    def stream(self, *lines: str, method: str = "GET", version: str = "1.1", start: Any = None, **options: Any) -> Stream:
        """Ask for a stream and give it."""
        made = Stream(start or self.streams.append, self.stopped.append, media_type=b"text/plain", **options)
        self.routes.add("GET", "/stream", lambda _: made, public=True)
        self.client.send(request("/stream", *lines, method=method, version=version))
        return made


class StreamTests(StreamCase):
    """Streamed answers."""

    def test_chunked(self) -> None:
        """Without a length a stream is sent in chunks, at once; the connection goes on after it."""
        stream = self.stream()
        self.assertIn(b"Transfer-Encoding: chunked\r\n", self.client.sent())
        stream.send(b"hello")
        self.assertEqual(self.client.sent(), b"5\r\nhello\r\n")
        stream.send(b"")
        stream.finish()
        self.assertEqual((self.client.sent(), self.stopped, stream.over), (b"0\r\n\r\n", [stream], True))
        self.client.send(request("/plain"))
        self.assertEqual(self.client.answer().body, b"plain")

    def test_length(self) -> None:
        """With a length it is sent as it is."""
        stream = self.stream(length=10)
        stream.send(b"hello")
        stream.send(b"world")
        stream.finish()
        answer = self.client.answer()
        self.assertEqual((answer.fields["content-length"], answer.body, self.client.ended), ("10", b"helloworld", ""))

    def test_until_close(self) -> None:
        """It may end with the connection; then what is sent is what is on the wire."""
        stream = self.stream(until_close=True)
        stream.send(b"hello")
        stream.finish()
        answer = self.client.answer()
        self.assertEqual((answer.fields["connection"], answer.body, self.client.ended), ("close", b"hello", "closed"))

    def test_1_0(self) -> None:
        """HTTP/1.0 knows no chunks."""
        stream = self.stream("Connection: keep-alive", version="1.0")
        stream.send(b"hello")
        stream.finish()
        answer = self.client.answer()
        self.assertEqual((answer.fields["connection"], answer.body, self.client.ended), ("close", b"hello", "closed"))

    def test_head(self) -> None:
        """HEAD gets the head, and the stream is not started, only stopped."""
        self.stream(method="HEAD")
        (answer,) = self.client.answers(head_only=True)
        self.assertEqual((answer.fields["transfer-encoding"], self.streams, len(self.stopped)), ("chunked", [], 1))
        self.client.send(request("/plain"))
        self.assertEqual(self.client.answer().body, b"plain")

    def test_other_requests_wait(self) -> None:
        """Nothing is sent into a stream; the next answer comes after its end."""
        stream = self.stream()
        self.client.send(request("/plain"))
        self.client.sent()
        stream.finish()
        self.assertTrue(self.client.sent().startswith(b"0\r\n\r\nHTTP/1.1 200 OK\r\n"))

    def test_no_deadline(self) -> None:
        """A stream may last, whether or not anything is sent."""
        stream = self.stream()
        self.advance(1000)
        self.assertEqual((self.client.ended, stream.over), ("", False))

    def test_client_leaves(self) -> None:
        """A client that leaves ends the stream; what is sent then goes nowhere."""
        stream = self.stream()
        self.client.lose()
        self.assertEqual((self.stopped, stream.over), ([stream], True))
        stream.send(b"x")
        stream.write(b"x")
        stream.rest(b"x", 0)
        stream.finish()
        stream.break_off()
        self.assertTrue(stream.full)
        self.assertEqual(self.stopped, [stream])

    def test_half_closed_client(self) -> None:
        """A client that sends no more gets the whole of a stream that has an end; another stream is over."""
        for ending in ({"length": 4}, {"ends": True}):
            self.setUp()
            stream = self.stream(**ending)
            self.client.channel.readConnectionLost()
            stream.send(b"four")
            stream.finish()
            self.assertEqual((self.client.answer().body, self.client.ended), (b"four", ""))
            self.client.channel.readConnectionLost()
            self.assertEqual(self.client.ended, "closed")
        for options in ({}, {"until_close": True}):
            self.setUp()
            self.stream(**options)
            self.client.channel.readConnectionLost()
            self.assertEqual(self.client.ended, "closed")

    def test_the_last(self) -> None:
        """Where the server has begun to stop meanwhile, a stream's end is the connection's, in good order, with what it takes to get there."""
        for full in (False, True):
            self.setUp()
            stream = self.stream()
            done = self.factory.drain()
            stream.send(b"hello")
            if full:
                self.client.fill()
            self.assertEqual(self.client.ended, "")
            stream.finish()
            self.assertEqual((self.client.answer().body, self.client.ended), (b"hello", "closed"))
            self.client.lose()
            self.successResultOf(done)

    def test_the_last_but_one(self) -> None:
        """What was asked behind such a stream is still answered, and that is the last."""
        stream = self.stream()
        self.client.send(request("/plain"))
        self.factory.drain()
        stream.finish()
        streamed, plain = self.client.answers()
        self.assertEqual((streamed.body, plain.body, plain.fields["connection"], self.client.ended), (b"", b"plain", "close", "half closed"))

    def test_head_that_cannot_be_written(self) -> None:
        """A stream whose head would be broken is not begun, whether it was there at once or not: the client gets 500, and the next answer."""
        for later in (False, True):
            self.setUp()
            made = Stream(self.streams.append, self.stopped.append, headers=((b"X", b"a\r\nb"),))
            answer: Deferred[Any] = Deferred()
            self.routes.add("GET", "/broken", lambda _, made=made, answer=answer, later=later: answer if later else made, public=True)
            self.client.send(request("/broken"))
            if later:
                answer.callback(made)
            self.assertEqual((self.client.answer().status, self.streams, self.stopped), (500, [], [made]))
            self.client.send(request("/plain"))
            self.assertEqual(self.client.answer().body, b"plain")
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stream_without_a_body(self) -> None:
        """A status without a body cannot be streamed: chunks behind it would be taken for the next answer (RFC 9112 section 6.3)."""
        for status in (204, 304):
            self.setUp()
            self.stream(status=status)
            self.assertEqual((self.client.answer().status, len(self.flushLoggedErrors(ValueError))), (500, 1))

    def test_break_off(self) -> None:
        """A stream that cannot be completed cuts the connection: the client must not take a part for the whole."""
        self.stream().break_off()
        self.assertEqual((self.client.ended, len(self.stopped)), ("aborted", 1))

    def test_too_short(self) -> None:
        """So does one that is shorter than was said."""
        stream = self.stream(length=10)
        stream.send(b"hello")
        stream.finish()
        self.assertEqual(self.client.ended, "aborted")

    def test_too_long(self) -> None:
        """And one that is longer, which is a bug of its filler."""
        stream = self.stream(length=3)
        self.assertRaises(ValueError, stream.send, b"hello")
        self.assertEqual((self.client.ended, b"hello" in self.client.sent()), ("aborted", False))

    def test_filled_by_a_deferred(self) -> None:
        """A stream ends with the Deferred that fills it."""
        filling: Deferred[None] = Deferred()
        stream = self.stream(start=lambda _: filling)
        stream.send(b"x")
        filling.callback(None)
        self.assertEqual(self.client.answer().body, b"x")

    def test_filled_by_a_coroutine(self) -> None:
        """Or with the coroutine, which can await that there is room."""

        async def fill(stream: Stream) -> None:
            for piece in (b"a", b"b", b"c"):
                stream.send(piece)
                self.client.fill()
                await stream.writable()

        self.stream(start=fill)
        self.assertTrue(self.client.sent().endswith(b"1\r\na\r\n"))
        self.client.drain()
        self.assertEqual(self.client.sent(), b"1\r\nb\r\n")
        self.client.drain()
        self.client.drain()
        self.assertEqual(self.client.sent(), b"1\r\nc\r\n0\r\n\r\n")

    def test_filler_is_cancelled(self) -> None:
        """A filler that waits for room is cancelled when the client leaves, silently."""
        ends: list[type] = []

        async def fill(stream: Stream) -> None:
            self.client.fill()
            try:
                await stream.writable()
            except (CancelledError, ConnectionDone) as error:
                ends.append(type(error))
                raise

        self.stream(start=fill)
        self.client.lose()
        self.assertEqual(len(ends), 1)

    def test_filler_fails(self) -> None:
        """A filler that fails cuts the connection, and is logged if it did not mean to."""

        def broken(stream: Stream) -> None:
            raise KeyError("bug")

        self.stream(start=broken)
        self.assertEqual((self.client.ended, len(self.flushLoggedErrors(KeyError))), ("aborted", 1))

    def test_filler_fails_later(self) -> None:
        """The same for one that takes its time."""
        filling: Deferred[None] = Deferred()
        self.stream(start=lambda _: filling)
        filling.errback(Conflict("on purpose"))
        self.assertEqual(self.client.ended, "aborted")

    def test_finished_twice(self) -> None:
        """A filler that finishes the stream by itself as well does no harm."""

        async def fill(stream: Stream) -> None:
            stream.finish()
            stream.finish()

        self.stream(start=fill)
        self.assertEqual((self.client.answer().body, len(self.stopped)), (b"", 1))

    def test_too_late(self) -> None:
        """Nobody waits for room in a stream that is over."""
        stream = self.stream()
        stream.finish()
        self.failureResultOf(stream.writable(), ConnectionDone)

    def test_not_begun(self) -> None:
        """A stream that was not given as an answer yet takes nothing."""
        stream = Stream(self.streams.append)
        stream.send(b"x")
        stream.finish()
        self.assertEqual((stream.full, stream.over), (True, False))
        stream.break_off()
        self.assertTrue(stream.over)


class SinkTests(StreamCase):
    """A stream as a place for a room's bytes."""

    def test_interface(self) -> None:
        """It is an ISink."""
        self.assertTrue(verifyObject(ISink, self.stream(until_close=True)))

    def test_bytes(self) -> None:
        """Ready bytes go out as they are, by every way."""
        stream = self.stream(until_close=True)
        self.client.sent()
        self.assertEqual(stream.raw_send(b"abc"), 3)
        stream.write(b"def")
        stream.rest(b"ghi", 1)
        self.assertEqual(self.client.sent(), b"abcdefhi")

    def test_watchers(self) -> None:
        """Watchers hear when it is full and when it has drained, until they stop watching."""
        stream = self.stream(until_close=True)
        watcher, other = Watcher(), Watcher()
        stream.watch(watcher)
        stream.watch(other)
        self.client.fill()
        self.assertTrue(stream.full)
        stream.unwatch(other)
        stream.unwatch(other)
        self.client.drain()
        self.assertEqual((watcher.told, other.told, stream.full), (["full", "drained"], ["full"], False))

    def test_waiting_for_room(self) -> None:
        """All who wait for room are told; one that does not want to wait any more is not."""
        stream = self.stream()
        self.assertIsNone(self.successResultOf(stream.writable()))
        self.client.fill()
        first, second = stream.writable(), stream.writable()
        second.addErrback(lambda failure: failure.trap(CancelledError))
        first.addCallback(lambda _: second.cancel())
        self.client.drain()
        self.assertIsNone(self.successResultOf(first))
        self.client.fill()
        third = stream.writable()
        third.cancel()
        self.failureResultOf(third, CancelledError)
        fourth, fifth = stream.writable(), stream.writable()
        fourth.addErrback(lambda failure: fifth.cancel())
        fifth.addErrback(lambda failure: failure.trap(CancelledError))
        self.client.lose()
