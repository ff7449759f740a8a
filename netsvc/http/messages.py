"""What goes into a handler and what comes out of it: requests, responses, upgrades."""

from collections.abc import Callable, Coroutine
from itertools import count
from secrets import token_hex
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from twisted.internet.defer import Deferred

from netsvc.core.identity import Identity
from netsvc.core.limits import Budget
from netsvc.errors import InvalidRequest, NotFound
from netsvc.http.bodies import RequestBody, Stream
from netsvc.interfaces import IWebSocketApplication

__all__ = [
    "BUDGETED",
    "HTML",
    "JSON",
    "NO_ROUTE",
    "NO_VARIABLES",
    "TEXT",
    "WAITED",
    "Answer",
    "Handler",
    "Headers",
    "Request",
    "Response",
    "Route",
    "Upgrade",
    "parse_form",
]

Headers = tuple[tuple[bytes, bytes], ...]
"""Header fields to send, in order: names as they are to look on the wire, values without CR and LF."""

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"

BUDGETED = 1 << 9
"""A flag beside those of netsvc.wire.http1 and netsvc.http.intake: the answer says what is left of `Request.budget`."""

WAITED = 1 << 10
"""Another one: the answer has been held back long enough."""

_MAX_PARAMETERS = 100
"""Fields in one query string (or form)."""

# Request ids: unlike those of any other process, then a count; made only on demand.
_PROCESS = token_hex(4)
_numbers = count(1)

NO_VARIABLES: dict[str, str] = {}
"""The variables of a route without any. Never changed."""

_encode_json = msgspec.json.Encoder().encode


class Request:
    """A request whose head is valid, and whose body is complete unless its route asked for a stream.

    :ivar method: in upper case, for instance ``GET``.
    :ivar target: path and query as they were sent, always starting with ``/`` (an absolute-form target has lost its scheme and authority).
    :ivar headers: the fields in order, names in lower case, values without surrounding white space, as bytes.
    :ivar peer: the IP address of the other end as text, ``unix`` on a UNIX socket.
    :ivar secure: it came over TLS.
    :ivar started: when its head was complete, in seconds of the factory's clock.
    :ivar body: the body; empty while `stream` is used.
    :ivar stream: the body as it arrives, for routes with ``streaming=True``, else None.
    :ivar identity: who sent it; None on public routes.
    :ivar budget: the budget whose rest the answer reports; set by `charged`.
    :ivar variables: the route's variables, percent-decoded. Do not change it.
    :ivar flags: what netsvc.wire.http1 found unusual; for the channel.
    :ivar route: what is done with it; for the channel.
    """

    __slots__ = (
        "_id",
        "_parameters",
        "body",
        "budget",
        "flags",
        "headers",
        "identity",
        "method",
        "peer",
        "route",
        "secure",
        "started",
        "stream",
        "target",
        "variables",
    )

    budget: Budget

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        peer: str = "",
        secure: bool = False,
        started: float = 0.0,
        body: bytes = b"",
        flags: int = 0,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.peer = peer
        self.secure = secure
        self.started = started
        self.body = body
        self.flags = flags
        self.route = NO_ROUTE
        self.stream: RequestBody | None = None
        self.identity: Identity | None = None
        self.variables = NO_VARIABLES
        self._id = ""
        self._parameters: dict[str, str] | None = None

    @property
    def id(self) -> str:
        """A short id, unique across restarts; nothing that the client sent goes into it."""
        if not self._id:
            self._id = f"{_PROCESS}-{next(_numbers):x}"
        return self._id

    def charged(self, budget: Budget) -> None:
        """Have the answer say what is left of a budget, if the budget is bounded."""
        if budget.limited:
            self.budget = budget
            self.flags |= BUDGETED

    @property
    def raw_path(self) -> bytes:
        """The path as it was sent, percent-encoded."""
        return self.target.partition(b"?")[0]

    @property
    def path(self) -> str:
        """The path, percent-decoded. The router has made sure that it is UTF-8."""
        return unquote_to_bytes(self.target.partition(b"?")[0]).decode()

    @property
    def query(self) -> str:
        """What follows the first question mark, undecoded."""
        return self.target.partition(b"?")[2].decode("ascii")

    def header(self, name: bytes) -> bytes | None:
        """The first field of this name (lower case), None if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def wants_websocket(self) -> bool:
        """Whether it asks for a WebSocket. Some programs offer another protocol (h2c) with each request."""
        return (self.header(b"upgrade") or b"").lower() == b"websocket"

    def parameter(self, name: str) -> str | None:
        """The first query parameter of this name, None if there is none. InvalidRequest if the query is not UTF-8 or has too many."""
        if self._parameters is None:
            self._parameters = parse_form(self.query)
        return self._parameters.get(name)

    def form(self) -> dict[str, str]:
        """The body as ``application/x-www-form-urlencoded``, the first value of each name. InvalidRequest if it is not that."""
        media_type = (self.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if media_type != b"application/x-www-form-urlencoded":
            raise InvalidRequest("the body must be application/x-www-form-urlencoded")
        try:
            return parse_form(self.body.decode("ascii"))
        except UnicodeDecodeError as error:
            raise InvalidRequest("the form is not percent-encoded") from error


def parse_form(text: str) -> dict[str, str]:
    """The first value of each name in a query string. InvalidRequest if one is not UTF-8 or there are more than 100."""
    values: dict[str, str] = {}
    try:
        for name, value in parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS):
            values.setdefault(name, value)
    except UnicodeDecodeError as error:
        raise InvalidRequest("a query parameter is not UTF-8") from error
    except ValueError as error:
        raise InvalidRequest(f"more than {_MAX_PARAMETERS} query parameters") from error
    return values


class Response:
    """A whole answer. The channel adds Content-Length, Date, Server and Connection.

    :param status: 200 to 599.
    :param body: empty for 204 and 304.
    :param media_type: the Content-Type, empty for none.
    :param headers: further fields.
    """

    __slots__ = ("body", "headers", "media_type", "status")

    def __init__(self, status: int = 200, body: bytes = b"", media_type: bytes = b"", headers: Headers = ()) -> None:
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = headers

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Headers = ()) -> "Response":
        """A value as JSON."""
        return cls(status, _encode_json(value), JSON, headers)

    @classmethod
    def text(cls, text: str, status: int = 200, headers: Headers = ()) -> "Response":
        """Plain text in UTF-8."""
        return cls(status, text.encode(), TEXT, headers)


class Upgrade:
    """Answer by speaking WebSocket (RFC 6455): the channel does the handshake and gives the connection to `application`.

    If the request does not ask for a WebSocket correctly, the channel answers 426 or 400 and the application never hears of it.
    """

    __slots__ = ("application",)

    def __init__(self, application: IWebSocketApplication) -> None:
        self.application = application


Answer = Response | Stream | Upgrade
"""What a handler returns."""

Handler = Callable[[Request], Answer | Deferred[Answer] | Coroutine[Any, Any, Answer]]
"""A plain function, a coroutine function or one that returns a Deferred. It may raise any of netsvc.errors."""


class Route:
    """What is done with a request.

    :ivar body_limit: the most bytes that a body may have, None for the server's own limit.
    :ivar public: no credentials are needed.
    :ivar streaming: the handler is called at the end of the head and reads the body from ``request.stream``.
    :ivar waiting: the handler waits for something to happen, which is of no use to a client that has left: it is cancelled as soon
        as the client stops sending. Others finish what they have begun.
    :ivar own_deadline: the handler itself makes sure that it answers in time: `answer_timeout` does not apply.
    """

    __slots__ = ("body_limit", "handler", "own_deadline", "public", "streaming", "waiting")

    def __init__(
        self,
        handler: Handler,
        body_limit: int | None = None,
        public: bool = False,
        streaming: bool = False,
        waiting: bool = False,
        own_deadline: bool = False,
    ) -> None:
        self.handler = handler
        self.body_limit = body_limit
        self.public = public
        self.streaming = streaming
        self.waiting = waiting
        self.own_deadline = own_deadline


def _nothing(request: Request) -> NoReturn:
    raise NotFound("there is nothing at this URL")


NO_ROUTE = Route(_nothing, public=True)
"""The route of URLs where there is nothing."""
