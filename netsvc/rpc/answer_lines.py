"""The answer to a call over plain HTTP, sent as it grows: progress and parts of the result, then the response, each as a line of JSON."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.core.calls import fallen_behind
from netsvc.http.bodies import UNBUFFERED, Stream
from netsvc.http.messages import JSON
from netsvc.http.preferences import wanted
from netsvc.interfaces import ISinkWatcher
from netsvc.wire.lines import line_frame

__all__ = ["AnswerLines", "lines_type"]

_MEDIA_TYPES = (b"application/jsonl", b"application/x-ndjson")
"""The media types of JSON Lines; the second is the older name."""

_BY_NAME = 2
"""The exactness that `wanted` gives for a media type that was named in full."""


def lines_type(accept: bytes) -> bytes | None:
    """The media type of lines that a request's Accept names; None if it names none, or prefers JSON in one piece."""
    for media_type in _MEDIA_TYPES:
        quality, exactness = wanted(accept, media_type)
        if exactness == _BY_NAME and quality and quality >= wanted(accept, JSON)[0]:
            return media_type
    return None


@implementer(ISinkWatcher)
class AnswerLines:
    """Sends a client over HTTP what a call reports while it runs, as the first lines of the answer.

    The head of the answer waits for the first line. So a call that fails before any line is answered with the status of its error, and
    one that reports nothing is answered in one piece.

    :param media_type: of the answer.
    :param bound: how many bytes of progress with data may wait for a client that does not keep up.
    """

    __slots__ = ("_answer", "_behind", "_bound", "_catching_up", "_first", "_started", "_stream", "gone", "media_type")

    def __init__(self, media_type: bytes, bound: int) -> None:
        self.media_type = media_type
        self.gone = False
        self._bound = bound
        self._first = b""
        self._behind = 0
        self._answer: Deferred[Any] | None = None
        self._started: Deferred[Any] | None = None
        self._stream: Stream | None = None
        self._catching_up: list[Deferred[None]] = []

    def send_progress(self, message: bytes, essential: bool) -> None:
        """See Listener."""
        stream = self._stream
        line = line_frame(message)
        if stream is not None and not stream.full:
            stream.send(line)
        elif stream is None and not self._first:
            # Nothing waits yet, so it may have any length.
            self._first = line
            if self._started is not None:
                self._started.callback(self._lines())
        elif essential:  # mere news is not kept while other lines wait
            if self._behind + len(line) > self._bound:
                raise fallen_behind()
            self._behind += len(line)
            if stream is None:
                self._first += line
            else:
                stream.send(line)

    def caught_up(self) -> "Deferred[None]":
        """See Listener."""
        if self.gone:
            return fail(ConnectionDone())
        if not (self._first if self._stream is None else self._stream.full):
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._catching_up.remove)
        self._catching_up.append(waiting)
        return waiting

    def whole(self, answer: bytes | None) -> bytes:
        """The answer, or the part of it that has not been sent; b"" if the call gives none."""
        first, self._first = self._first, b""
        return first + line_frame(answer) if answer is not None else first

    def outcome(self, answer: "Deferred[Any]") -> "Stream | Deferred[Any]":
        """What answers the request: a stream as soon as there is something to send, or what `answer` gives if that comes first.

        :param answer: fires with what `whole` takes; never fails.
        :return: a Stream, a Deferred of one, or a Deferred of what `answer` has given.
        """
        self._answer = answer
        if self._first:
            return self._lines()

        def leave(_: object) -> None:
            self._over(None)
            answer.cancel()

        started: Deferred[Any] = Deferred(leave)
        self._started = started
        answer.addCallback(self._answered)
        return started

    def _answered(self, answer: Any) -> Any:
        started, self._started = self._started, None
        if started is not None and not started.called:
            started.callback(answer)
        return answer

    def _lines(self) -> Stream:
        self._started = None
        return Stream(self._start, self._over, media_type=self.media_type, headers=UNBUFFERED, ends=True)

    def _over(self, _: Stream | None) -> None:
        """The client is gone, or has been sent everything."""
        self.gone = True
        self._catch_up(Failure(ConnectionDone()))

    def _start(self, stream: Stream) -> "Deferred[None]":
        assert self._answer is not None
        self._stream = stream
        stream.watch(self)
        stream.send(self.whole(None))
        if not stream.full:
            self.sink_drained()
        return self._answer.addCallback(lambda answer: stream.send(self.whole(answer)))

    def sink_full(self) -> None:
        """See ISinkWatcher."""

    def sink_drained(self) -> None:
        """See ISinkWatcher."""
        self._behind = 0
        self._catch_up(None)

    def _catch_up(self, outcome: Failure | None) -> None:
        """Release those that wait for the client to take more."""
        waiting, self._catching_up = self._catching_up, []
        for each in waiting:
            each.callback(outcome)
