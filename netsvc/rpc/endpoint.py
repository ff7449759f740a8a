"""``POST /rpc`` and ``GET /openrpc.json``: JSON-RPC over plain HTTP."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import isfinite

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netsvc.core.calls import Listener
from netsvc.core.identity import Identity
from netsvc.core.limits import Budget
from netsvc.errors import DeadlinePassed, InvalidRequest, NetsvcError, NotAuthenticated
from netsvc.http.bodies import Stream
from netsvc.http.errors import CHALLENGE, retry_after, status_of_class
from netsvc.http.messages import JSON, Answer, Request, Response, Upgrade
from netsvc.rpc.answer_lines import AnswerLines, lines_type
from netsvc.rpc.connection import RpcService
from netsvc.rpc.dispatch import NO_TIME
from netsvc.rpc.openrpc import document
from netsvc.rpc.websocket import RpcSocket
from netsvc.wire.jsonrpc import ABSENT, CODES, INTERNAL_ERROR, KEY_LENGTH, Failed, failure, parse
from netsvc.wire.jsonrpc import Request as Message

__all__ = ["HTTP_STATUS", "HttpCaller", "RpcEndpoint"]

HTTP_STATUS = {INTERNAL_ERROR: 500} | {code: status_of_class(kind) for kind, (code, _) in CODES.items()}
"""The status of the answer to a single call that failed, by code."""

PROVIDERS_OWN = 422
"""The status for error codes that providers define themselves."""

_NOT_AUTHENTICATED = CODES[NotAuthenticated][0]

_OURS = frozenset((b"x-deadline", b"idempotency-key", b"accept"))

UPGRADE_COST = 1.0
"""What opening a WebSocket takes from a rate budget."""


class HttpCaller:
    """A request, as the dispatcher's caller.

    :ivar deadline: the seconds of its X-Deadline, None if it has none.
    :ivar lines: the media type in which it wants its answer as lines of JSON, None if it wants it in one piece.
    :raises InvalidRequest: a header is malformed.
    :raises DeadlinePassed: there is no time left.
    """

    __slots__ = ("budget", "deadline", "identity", "key", "lines", "listener", "peer")

    connection = None

    def __init__(self, request: Request, identity: Identity | None, budget: Budget) -> None:
        self.identity = identity
        self.peer = request.peer
        self.budget = budget
        self.key: str | None = None
        self.deadline: float | None = None
        self.lines: bytes | None = None
        self.listener: Listener | None = None
        for name, value in request.headers:
            if name in _OURS:
                _heed(name, value, self)

    def after_answer(self, then: Callable[[], None]) -> None:
        """See Caller: there is no connection on which anything could follow."""


class RpcEndpoint:
    """The HTTP handlers of the procedures.

    :param authenticate: finds out who sends a request; the routes for calls are public, since their errors are given in JSON-RPC.
    """

    def __init__(self, service: RpcService, authenticate: "Callable[[Request], Identity | Deferred[Identity]]", title: str, version: str) -> None:
        self._service = service
        self._authenticate = authenticate
        self._title = title
        self._version = version
        self._handle = service.dispatcher.handle
        self._budget_of = service.budgets.of
        self._limited = service.budgets.limited

    def post(self, request: Request) -> "Answer | Deferred[Answer]":
        """``POST /rpc``, a public route: a call, a notification (204) or a batch. All errors are given in JSON-RPC."""
        try:
            identity = self._authenticate(request)
        except NetsvcError as error:
            return _refusal(error, request)
        if isinstance(identity, Deferred):
            later: Deferred[Answer] = identity.addCallbacks(self._call, _refused, callbackArgs=(request,), errbackArgs=(request,))
            return later
        return self._call(identity, request)

    def _call(self, identity: Identity, request: Request) -> "Answer | Deferred[Answer]":
        request.identity = identity
        budget = self._budget_of(identity, request.peer)
        if self._limited:
            request.charged(budget)
        try:
            caller = HttpCaller(request, identity, budget)
        except NetsvcError as error:
            return _refusal(error, request)
        if caller.lines is not None:
            return self._call_by_lines(caller.lines, caller, request)
        try:
            message = request.body.decode()
        except UnicodeDecodeError:
            return _response(self._service.dispatcher.not_utf8(caller))
        answer = self._handle(message, caller, caller.deadline)
        if type(answer) is bytes:
            return Response(200, answer, JSON)
        if isinstance(answer, Deferred):
            later: Deferred[Answer] = answer.addCallback(_response)
            return later
        return _response(answer)

    def _call_by_lines(self, media_type: bytes, caller: HttpCaller, request: Request) -> "Answer | Deferred[Answer]":
        """The same for a client that takes what the call reports while it runs."""
        lines = AnswerLines(media_type, self._service.progress)
        caller.listener = lines
        respond = partial(_response, lines=lines)
        try:
            answer = self._handle(request.body.decode(), caller, caller.deadline)
        except UnicodeDecodeError:
            return respond(self._service.dispatcher.not_utf8(caller))
        if not isinstance(answer, Deferred):
            return respond(answer)
        later = lines.outcome(answer)
        return later.addCallback(respond) if isinstance(later, Deferred) else later

    async def websocket(self, request: Request) -> Answer:
        """``GET /ws``, a public route: become a WebSocket that acts as the owner of the request's credentials.

        Without credentials, and where guests are not allowed, it acts as nobody until auth.login.

        :raises NotAuthenticated: there are credentials, and they are wrong.
        :raises RateLimited: the caller's budget is spent.
        :raises Overloaded: too many clients connect at once.
        """
        identity: Identity | None = None
        try:
            found = self._authenticate(request)
            identity = await found if isinstance(found, Deferred) else found
        except NotAuthenticated:
            if request.header(b"authorization") is not None:
                raise
        budget = self._budget_of(identity, request.peer)
        request.charged(budget)
        budget.charge(UPGRADE_COST)
        budget.admit()
        return Upgrade(RpcSocket(self._service, identity, request.peer))

    def openrpc(self, request: Request) -> Answer:
        """``GET /openrpc.json``: the same as rpc.discover, and at the same cost.

        :raises RateLimited: the caller's budget is spent.
        """
        budget = self._budget_of(request.identity, request.peer)
        request.charged(budget)
        budget.charge(self._service.dispatcher.registry.find("rpc.discover").cost)
        return Response.json(document(self._service.dispatcher.registry, self._title, self._version))


def _heed(name: bytes, value: bytes, caller: HttpCaller) -> None:
    """Take the deadline, the key, or the form in which the answer is wanted, from a header.

    :raises InvalidRequest: the header is malformed.
    :raises DeadlinePassed: there is no time left; a client that passes on what is left of its own time may have none.
    """
    if name == b"accept":
        caller.lines = lines_type(value) or caller.lines
        return
    if name == b"idempotency-key":
        # draft-ietf-httpapi-idempotency-key-header: a quoted string; a bare one is common.
        caller.key = value.decode("latin-1").strip('"')
        if not 0 < len(caller.key) <= KEY_LENGTH:
            raise InvalidRequest(f"Idempotency-Key: expected 1 to {KEY_LENGTH} characters")
        return
    try:
        deadline = float(value)
    except ValueError:
        deadline = float("nan")
    if not isfinite(deadline):
        raise InvalidRequest("X-Deadline: expected a number of seconds, like 2.5")
    if deadline <= 0:
        raise DeadlinePassed(NO_TIME)
    caller.deadline = deadline


def _refused(reason: Failure, request: Request) -> Answer:
    reason.trap(NetsvcError)
    return _refusal(reason.value, request)  # type: ignore[arg-type]  # trapped


def _refusal(error: NetsvcError, request: Request) -> Answer:
    """The answer to a request that is not carried out, with the id of the call if it has one."""
    identifier = b"null"
    with suppress(UnicodeDecodeError):
        parsed = parse(request.body.decode())
        if isinstance(parsed, Message) and parsed.id is not ABSENT:
            identifier = bytes(parsed.id)
    return _response(failure(error, identifier))


def _response(answer: bytes | Stream | None, lines: AnswerLines | None = None) -> Answer:
    """The answer to a request: `answer`, or the lines that end with it."""
    if isinstance(answer, Stream):
        return answer
    if answer is None:
        return Response(204)
    body, media_type = (answer, JSON) if lines is None else (lines.whole(answer), lines.media_type)
    if type(answer) is bytes or len(body) > len(answer) + 1:  # a failure came too late for the status
        return Response(200, body, media_type)
    assert isinstance(answer, Failed)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if answer.retry_after is not None:
        headers = (retry_after(answer.retry_after),)
    elif answer.code == _NOT_AUTHENTICATED:
        headers = (CHALLENGE,)
    return Response(HTTP_STATUS.get(answer.code, PROVIDERS_OWN), bytes(body), media_type, headers)
