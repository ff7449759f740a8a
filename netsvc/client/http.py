"""Calls over ``POST /rpc``, with treq. The progress of a call arrives as lines of JSON before its answer."""

# Twisted's names are in camelCase.
# ruff: noqa: N802

from io import BytesIO
from typing import Any

import msgspec
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from netsvc.client.addresses import USER_AGENT, Address, Credentials
from netsvc.client.connecting import Way
from netsvc.client.errors import BadAnswer, ClientError, ConnectionLost, DeadlinePassed, answered_error, lost, refusal
from netsvc.client.events import Progress, tell
from netsvc.client.limits import Limits
from netsvc.client.websocket import retry_seconds

__all__ = ["HttpCalls"]

IDLE = 30.0
"""For how many seconds a connection is kept for the next call: less than servers and proxies keep it, so that no call meets a closing one."""


class _Error(msgspec.Struct):
    """An error of JSON-RPC, or of the HTTP server below it, which has no code."""

    code: int | None = None
    message: str = ""
    data: Any = None


class _Answer(msgspec.Struct):
    result: Any = msgspec.UNSET
    error: _Error | None = None


class _Line(_Answer):
    """A line of an answer: the response, or a notification on the way to it."""

    method: str | None = None
    params: Any = None


class HttpCalls:
    """Calls a server's procedures over HTTP.

    :param way: makes the connections.
    """

    def __init__(self, clock: IReactorTime, way: Way, address: Address, credentials: Credentials, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        # hyperlink, with which treq reads URLs, takes IPv6 addresses for invalid names. Where to connect is up to the way anyway.
        self._url = address._replace(host="ipv6.invalid").url("/rpc") if ":" in address.host else address.url("/rpc")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": USER_AGENT}
        if ":" in address.host:
            self._headers["Host"] = address.authority
        if credentials.authorization is not None:
            self._headers["Authorization"] = credentials.authorization
        self._pool = HTTPConnectionPool(clock)
        self._pool.maxPersistentPerHost = limits.in_flight
        self._pool.cachedConnectionTimeout = IDLE  # type: ignore[assignment]  # a float works as well
        # A POST is not sent again without being asked; `Remote` knows when that is right.
        self._pool.retryAutomatically = False
        self._under_way: dict[Deferred[Any], Deferred[Any]] = {}
        """By the outcomes of calls, the Deferreds of treq."""
        self._http = HTTPClient(Agent.usingEndpointFactory(clock, _Endpoints(way), self._pool))

    def call(self, method: str, params: Any, deadline: float, key: str | None, progress: Progress | None = None) -> "Deferred[Any]":
        """Call a procedure once; see `Remote.call`.

        :param key: an idempotency key, None to send none.
        """
        headers = {**self._headers, "X-Deadline": f"{deadline:.3f}"}
        if progress is not None:
            headers["Accept"] = "application/jsonl, application/json"
        if key is not None:
            headers["Idempotency-Key"] = f'"{key}"'
        message = {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params})}
        try:
            body = msgspec.json.encode(message)
        except UnicodeEncodeError:
            raise ValueError("the params are not UTF-8") from None

        # A redirect would take the credentials elsewhere. The clock is given since the default is the global reactor.
        asking: Deferred[Any] = self._http.post(self._url, data=_Sent(body), headers=headers, allow_redirects=False, unbuffered=True, reactor=self._clock)  # type: ignore[arg-type]
        return self._bounded(asking.addCallback(self._read, progress), method, deadline)

    def _bounded(self, asking: "Deferred[Any]", method: str, deadline: float) -> "Deferred[Any]":
        """A call's outcome: also if it is cancelled, takes too long, or the client is closed, which the HTTP client would tell as one error or other."""

        def cancel(_: object) -> None:
            self._under_way.pop(outcome, None)
            asking.cancel()

        def failed(failure: Failure) -> None:
            if self._under_way.pop(outcome, None) is not None:
                error = failure.value
                outcome.errback(error if isinstance(error, ClientError) else lost(failure))

        def answered(result: Any) -> None:
            if self._under_way.pop(outcome, None) is not None:
                outcome.callback(result)

        def late(_: object, seconds: float) -> Any:
            raise DeadlinePassed(f"{method} was not answered within {round(deadline, 2):g} s")

        outcome: Deferred[Any] = Deferred(cancel)
        self._under_way[outcome] = asking
        asking.addCallbacks(answered, failed)
        return outcome.addTimeout(deadline, self._clock, onTimeoutCancel=late)

    def close(self) -> "Deferred[None]":
        """Close the connections, except those that take long; calls under way fail."""
        under_way, self._under_way = self._under_way, {}
        for outcome, asking in under_way.items():
            asking.cancel()
            if not outcome.called:  # cancelled by who has heard of another one's end
                outcome.errback(ConnectionLost("the client is closed"))
        closed: Deferred[None] = Deferred()
        timer = self._clock.callLater(self._limits.close, closed.callback, None)

        def done(_: object) -> None:
            if timer.active():
                timer.cancel()
                closed.callback(None)

        self._pool.closeCachedConnections().addBoth(done)
        return closed

    def _read(self, response: Any, progress: Progress | None) -> "Deferred[Any]":
        reading: Deferred[bytes] = Deferred(lambda _: body.abort())
        body = _Body(self._limits.max_message, reading) if progress is None else _Lines(self._limits.max_message, reading, progress)
        response.deliverBody(body)
        return reading.addCallback(_result, response)


def _result(content: bytes, response: Any) -> Any:
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _Answer()
    hint = retry_seconds(next(iter(response.headers.getRawHeaders("Retry-After") or ()), None))
    error = answer.error
    if error is not None and error.code is not None:
        raise answered_error(error.code, error.message, error.data, hint)
    if error is None and response.code == 200 and answer.result is not msgspec.UNSET:
        return answer.result
    raise refusal(response.code, error.message if error is not None else "", hint)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """The agent asks for an endpoint for each URL; there is only one server."""

    def __init__(self, way: Way) -> None:
        self._way = way

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        """The agent's hook."""
        return self._way.endpoint()


@implementer(IBodyProducer)
class _Sent:
    """A request's body, written at once: treq's own asks the global reactor for turns."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """Twisted's hook."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Twisted's hook: it is all written."""

    def resumeProducing(self) -> None:
        """Twisted's hook: it is all written."""

    def stopProducing(self) -> None:
        """Twisted's hook: it is all written."""


class _Body(Protocol):
    """Reads an answer's body, up to a bound."""

    def __init__(self, limit: int, done: "Deferred[bytes]") -> None:
        self._limit = limit
        self._done = done
        self._read = BytesIO()

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        self._read.write(data)
        if self._read.tell() > self._limit and not self._done.called:
            self._done.errback(BadAnswer(f"an answer of more than {self._limit} bytes"))
            self.abort()

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008 - Twisted's signature
        """Twisted's hook."""
        if self._done.called:
            return
        if reason.check(ResponseDone):
            self._done.callback(self._read.getvalue())
        else:
            self._done.errback(reason)

    def abort(self) -> None:
        """Stop reading, so that the server notices: if the connection were only closed, the server would keep answering, as for a half-closed one."""
        # A response's transport cannot abort, but the one that it wraps can; None when the answer has been read.
        connection: Any = getattr(self.transport, "_producer", None)
        if connection is not None:
            connection.abortConnection()


class _Lines(_Body):
    """Reads an answer in lines; the bound applies to each."""

    def __init__(self, limit: int, done: "Deferred[bytes]", progress: Progress) -> None:
        super().__init__(limit, done)
        self._progress: Progress | None = progress  # None once the answer begins

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            super().dataReceived(line)
            if self._progress is not None and self._is_progress(self._read.getvalue(), self._progress):
                self._read = BytesIO()
            else:
                self._progress = None
        super().dataReceived(rest)

    def _is_progress(self, line: bytes, progress: Progress) -> bool:
        """Whether a line is progress; if so, it is passed on."""
        try:
            known = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if known.method == "rpc.progress" and isinstance(known.params, dict) and not self._done.called:
            known.params.pop("id", None)
            tell(progress, known.method, known.params)
        return known.method is not None
