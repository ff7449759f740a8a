"""Clients that send no more: they have left, or wait for the answer to what they sent last."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from netsvc.http import requestlog
from netsvc.http.bodies import Stream
from netsvc.http.messages import Request, Response
from netsvc.http.settings import HttpSettings
from tests.http.channels import ChannelCase, request

WAIT = 5


class HalfClosedTests(ChannelCase):
    """[http] half_closed_timeout.

    :ivar cancelled: the handlers and streams that were given up, by their paths.
    """

    settings = HttpSettings(half_closed_timeout=WAIT, write_timeout=50, linger_timeout=20, answer_timeout=1000, access_log=True)

    def setUp(self) -> None:
        """Slow routes, and a watch on the access log."""
        super().setUp()
        self.cancelled: list[str] = []
        self.streams: list[Stream] = []
        self.logged: list[tuple[str, int, int]] = []
        self.patch(requestlog._log, "observer", lambda event: self.logged.append((event["path"], event["status"], event["size"])))
        self.routes.add("GET", "/slow/{name}", self.slow, public=True)
        self.routes.add("GET", "/quick", lambda _: Response.text("quick"), public=True)
        self.routes.add("GET", "/stream", lambda _: Stream(self.fill_slowly, ends=True), public=True)
        self.routes.add("GET", "/endless", lambda _: Stream(self.streams.append), public=True)
        self.routes.add("GET", "/wait", self.slow, public=True, waiting=True)

    def slow(self, request: Request) -> "Deferred[Any]":
        """A handler that waits, and tells of its cancellation."""
        return self.ask(request).addErrback(self.given_up, request.path)

    def fill_slowly(self, stream: Stream) -> "Deferred[None]":
        """Likewise a stream's filler."""
        self.streams.append(stream)
        filling: Deferred[None] = Deferred()
        return filling.addErrback(self.given_up, "/stream")

    def given_up(self, failure: Any, path: str) -> None:
        """Note it."""
        failure.trap(CancelledError)
        self.cancelled.append(path)

    def half_close(self, *targets: str) -> None:
        """Ask for these, and say no more."""
        self.client.send(b"".join(request(target) for target in targets))
        self.client.channel.readConnectionLost()

    def lives_on(self, seconds: int = WAIT) -> None:
        """Assert that nothing is given up for some time."""
        self.advance(seconds)
        self.assertEqual((self.client.ended, self.cancelled), ("", []))

    def test_left(self) -> None:
        """What takes longer is not for anybody: it is cancelled, and logged as for any client that left."""
        self.half_close("/slow/a")
        self.lives_on()
        self.advance(3)
        self.assertEqual((self.client.sent(), self.client.ended), (b"", "closed"))
        self.client.lose()
        self.assertEqual((self.cancelled, self.logged), (["/slow/a"], [("/slow/a", 499, 0)]))

    def test_own_deadline(self) -> None:
        """A handler with a deadline of its own is given up as soon."""
        self.routes.add("GET", "/call", self.slow, public=True, own_deadline=True)
        self.half_close("/call")
        self.lives_on()
        self.advance(3)
        self.client.lose()
        self.assertEqual(self.cancelled, ["/call"])

    def test_answered_in_time(self) -> None:
        """What is ready in time is sent whole, then the connection ends."""
        self.half_close("/slow/a")
        self.lives_on()
        self.asked[0][1].callback(Response.text("a"))
        self.assertEqual((self.client.answer().body, self.client.reading), (b"a", True))
        self.client.channel.readConnectionLost()  # which is what reading on gives
        self.assertEqual((self.client.ended, self.cancelled), ("closed", []))

    def test_answers_in_turn(self) -> None:
        """Of requests sent together each has its time; the answers that were in time arrive even if a later one is not."""
        self.half_close("/slow/a", "/quick", "/slow/b", "/quick")
        self.lives_on()
        self.asked[0][1].callback(Response.text("a"))
        self.assertEqual([answer.body for answer in self.client.answers()], [b"a", b"quick"])
        self.lives_on()
        self.advance(3)
        self.assertEqual((self.client.sent(), self.client.ended), (b"", "closed"))
        self.client.lose()
        self.assertEqual((self.cancelled, self.logged[-1]), (["/slow/b"], ("/slow/b", 499, 0)))

    def test_before_its_turn(self) -> None:
        """A client may have said its last before its request is begun: it is waited for as long; for a long-poll and an endless stream too."""
        for target in ("/slow/a", "/wait", "/endless"):
            self.setUp()
            self.client.send(request("/quick"))
            self.client.fill()
            self.half_close(target)
            self.advance(10)
            self.client.drain()
            self.lives_on()
            self.advance(3)
            self.assertEqual(self.client.ended, "aborted" if target == "/endless" else "closed")

    def test_stream_left(self) -> None:
        """A stream that is not at its end in time is cut, so that nobody takes it for whole, and its filler is cancelled."""
        self.half_close("/stream")
        self.streams[0].send(b"12345")
        self.lives_on()
        self.advance(3)
        self.assertEqual(self.client.ended, "aborted")
        self.client.lose()
        self.assertEqual((self.cancelled, self.logged), (["/stream"], [("/stream", 200, 5)]))

    def test_stream_in_time(self) -> None:
        """One that is at its end in time is sent whole."""
        self.half_close("/stream")
        self.streams[0].send(b"12345")
        self.lives_on()
        self.streams[0].finish()
        self.assertEqual((self.client.answer().body, self.client.ended), (b"12345", ""))

    def test_takes_its_time(self) -> None:
        """A client that has yet to take what it was sent has the time for that, and is there: what is left to do has its time afterwards."""
        self.half_close("/stream")
        self.client.moving = True
        self.client.fill()
        self.lives_on(100)
        self.client.drain()
        self.lives_on()
        self.advance(3)
        self.assertEqual(self.client.ended, "aborted")

    def test_unfinished_upload(self) -> None:
        """A request whose body will not be complete is not worked on: its handler hears of it at once."""
        self.routes.add("POST", "/upload", self.slow, public=True, streaming=True)
        self.client.send(request("/upload", "Content-Length: 10", method="POST") + b"12345")
        self.client.channel.readConnectionLost()
        self.assertEqual(self.client.ended, "closed")
        self.client.lose()
        self.assertEqual(self.cancelled, ["/upload"])

    def test_does_not_go(self) -> None:
        """A connection that was closed and does not go away is cut."""
        self.half_close("/slow/a")
        self.advance(WAIT + 3)
        self.assertEqual(self.client.ended, "closed")
        self.advance(23)
        self.assertEqual(self.client.ended, "aborted")
