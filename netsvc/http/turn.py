"""The answer to one request that is not ready at once: first a Deferred, then perhaps a stream."""

from collections.abc import Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netsvc.http.answers import error_answer, log_unexpected
from netsvc.http.bodies import Stream
from netsvc.http.messages import Request
from netsvc.net.transport import DirectTransport

__all__ = ["Turn", "TurnOwner"]


class TurnOwner(Protocol):
    """The channel, as a turn sees it."""

    def answered(self, request: Request, result: Any) -> None:
        """The handler's outcome is ready."""

    def streamed(self, request: Request, stream: Stream, complete: bool) -> None:
        """The stream's filler has ended it, with its body complete or not."""


class Turn:
    """A handler, then a stream, working for a client.

    :ivar request: the request being answered.
    :ivar stream: the answer's body while it is sent, None before.
    """

    __slots__ = ("_owner", "_pending", "request", "stream")

    def __init__(self, owner: TurnOwner, request: Request) -> None:
        self._owner: TurnOwner | None = owner
        self._pending: Deferred[Any] | None = None
        self.request = request
        self.stream: Stream | None = None

    def wait(self, answer: "Deferred[Any]") -> None:
        """Answer with what the Deferred gives."""
        self._pending = answer
        answer.addCallbacks(self._answered, self._failed)

    def _answered(self, result: Any) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.answered(self.request, result)

    def _failed(self, failure: Failure) -> None:
        if self._owner is None:
            log_unexpected(self.request, failure)
        else:
            self._answered(error_answer(self.request, failure.value or failure, failure))

    def pour(self, stream: Stream, transport: DirectTransport) -> None:
        """Have a stream filled whose head is sent."""
        self.stream = stream
        stream.begin(transport, self._poured)
        try:
            filling = stream.start(stream)
        except Exception as error:
            self._spilled(Failure(error))
            return
        if isinstance(filling, Coroutine):
            filling = Deferred.fromCoroutine(filling)
        if isinstance(filling, Deferred):
            self._pending = filling
            filling.addCallbacks(lambda _: stream.finish(), self._spilled)

    def _spilled(self, failure: Failure) -> None:
        """The filler failed."""
        log_unexpected(self.request, failure)
        if self.stream is not None:
            self.stream.break_off()

    def _poured(self, complete: bool) -> None:
        owner, self._owner = self._owner, None
        if owner is not None and self.stream is not None:
            owner.streamed(self.request, self.stream, complete)

    def cancel(self) -> None:
        """The client is gone, or has waited too long."""
        self._owner = None
        pending, self._pending = self._pending, None
        if self.stream is not None:
            self.stream.lost()
        if pending is not None:
            pending.cancel()
