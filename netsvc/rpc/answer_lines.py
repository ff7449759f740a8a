"""The answer to a call over plain HTTP while it grows: progress and parts of the result, then the response, each a line of JSON."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from zope.interface import implementer

from netsvc.errors import Overloaded
from netsvc.http.bodies import UNBUFFERED, Stream
from netsvc.interfaces import ISinkWatcher

__all__ = ["AnswerLines", "lines_type"]

_MEDIA_TYPES = (b"application/jsonl", b"application/x-ndjson")
"""What JSON Lines are called; the second is the older name."""


def lines_type(accept: bytes) -> bytes | None:
    """The media type in which a request's Accept asks for lines; None if it does not, for nobody gets them unasked."""
    if b"json" not in accept:
        return None
    for part in accept.lower().split(b","):
        media_type, *parameters = (piece.strip() for piece in part.split(b";"))
        if media_type in _MEDIA_TYPES and not any(_is_refusal(each) for each in parameters):
            return media_type
    return None


def _is_refusal(parameter: bytes) -> bool:
    """Whether a parameter says ``q=0``: anything but that (RFC 9110 section 12.4.2)."""
    name, _, value = parameter.partition(b"=")
    return name.strip() == b"q" and not value.strip().strip(b"0.")


@implementer(ISinkWatcher)
class AnswerLines:
    """Sends what a call gives on the way to a client over HTTP, as the first lines of the answer.

    The head of the answer waits for the first line. So a call that fails without any has the status of its error, and one that gives
    nothing on the way an answer in one piece.

    :param media_type: of the answer.
    :param bound: bytes of progress with data that may wait for a client that does not keep up.
    """

    __slots__ = ("_answer", "_behind", "_bound", "_catching_up", "_first", "_started", "_stream", "media_type")

    def __init__(self, media_type: bytes, bound: int) -> None:
        self.media_type = media_type
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
        if stream is not None and not stream.full:
            stream.send(message + b"\n")
        elif essential or not (stream or self._first):
            # What is merely news is not kept while other lines wait.
            self._behind += len(message)
            if self._behind > self._bound:
                raise Overloaded("the caller does not keep up with what the call gives; [rpc] progress_backlog sets the bound")
            if stream is not None:
                stream.send(message + b"\n")
                return
            self._first += message + b"\n"
            if self._started is not None:
                self._started.callback(self._lines())

    def caught_up(self) -> "Deferred[None]":
        """See Listener. Who waits for a client that leaves is cancelled as its call is."""
        stream = self._stream
        if stream is not None and stream.over:
            return fail(CancelledError())
        if not (self._first if stream is None else stream.full):
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._catching_up.append(waiting)
        return waiting

    def whole(self, answer: bytes | None) -> bytes:
        """The answer, or what of it has not been sent, once it is there: b"" if the call gives none."""
        first, self._first = self._first, b""
        return first + answer + b"\n" if answer is not None else first

    def outcome(self, answer: "Deferred[Any]") -> "Stream | Deferred[Any]":
        """What answers the request: a stream as soon as there is something to send, or what `answer` gives if that comes first.

        :param answer: fires with what `whole` takes; never fails.
        :return: a Stream, a Deferred of one, or a Deferred of what `answer` has given.
        """
        self._answer = answer
        if self._first:
            return self._lines()
        started: Deferred[Any] = Deferred(lambda _: answer.cancel())
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
        return Stream(self._start, media_type=self.media_type, headers=UNBUFFERED, ends=True)

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
        waiting, self._catching_up = self._catching_up, []
        for each in waiting:
            if not each.called:  # cancelled, as its call was
                each.callback(None)
