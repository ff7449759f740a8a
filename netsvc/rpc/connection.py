"""A connection that speaks JSON-RPC 2.0 both ways, whatever carries its messages."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.appender import Appender
from netsvc.core.calls import fallen_behind
from netsvc.core.identity import Identity
from netsvc.core.limits import Budget, Budgets
from netsvc.core.logins import Logins
from netsvc.core.procedures import Procedure
from netsvc.errors import InvalidRequest, NetsvcError
from netsvc.interfaces import ISink
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.pace import Bounds, PacedConnection
from netsvc.wire.jsonrpc import ABSENT, Failed, Incoming, Request, parse_incoming

__all__ = ["Belonging", "CallUnderWay", "Framing", "RpcConnection", "RpcService", "Serving"]

UNAUTHENTICATED = 4401

DRAINING = b'{"jsonrpc":"2.0","method":"server.draining","params":{"return_after":%.3f}}'

_NO_CALL = (-32600, -32005)
"""The codes of the errors that a response gets where a call is expected."""

Framing = Callable[[bytes], bytes]
"""Makes the wire bytes of a JSON-RPC message."""


class Belonging(Protocol):
    """What a procedure leaves with a connection: it ends with the connection, and is told when the identity changes."""

    def leave(self) -> None:
        """The connection is over, or has let it go."""

    def act_as(self, identity: Identity) -> None:
        """The connection now acts as somebody else."""


class CallUnderWay(Protocol):
    """A call on a connection that is not answered at once."""

    procedure: Procedure | None

    @property
    def identifier(self) -> msgspec.Raw:
        """The JSON text of its id, ABSENT if it is a notification."""

    def cancel(self) -> None:
        """Its caller no longer wants it."""


class Serving(Protocol):
    """The serving side of a connection that provides procedures to others."""

    @property
    def busy(self) -> bool:
        """It serves something, or owes an answer."""

    def received(self, message: Incoming) -> bool:
        """A message that may be about a call that was sent; False if it is not."""

    def ready(self) -> None:
        """The connection takes bytes again."""

    def login(self, identity: Identity) -> None:
        """It now acts as somebody else."""

    def retire(self, then: Callable[[], None]) -> None:
        """Take no further call, and call `then` once those that it has are answered, perhaps at once."""

    def lost(self) -> None:
        """It is over."""


class RpcService:
    """What all RPC connections share.

    :param in_flight: how many calls of one connection may be under way before netsvc stops reading from it.
    :param appender: while it is full, netsvc does not read from connections that post.
    :param progress: how many bytes of rpc.progress with data may wait for a client that does not keep up.
    :param login_timeout: how many seconds a WebSocket may go without a login where guests are not allowed.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        budgets: Budgets,
        logins: Logins,
        appender: Appender,
        in_flight: int,
        progress: int,
        login_timeout: float,
    ) -> None:
        self.dispatcher = dispatcher
        self.budgets = budgets
        self.logins = logins
        self.bounds = Bounds(in_flight, appender)
        self.progress = progress
        self.login_timeout = login_timeout


class RpcConnection(PacedConnection):
    """One connection: the dispatcher's caller, and what procedures know as ``call.connection``.

    It is carried by the object given to `connected`: an ISink with ``pause``, ``resume``, ``cork`` (see DirectTransport), ``gathers`` (see
    WebSocketConnection) and ``close(code, reason)``, the code as in RFC 6455, section 7.4.

    :ivar frame: makes the wire bytes of a message to this client; `framing` makes those of a notification, and is the same object for all
        connections of a kind, since rooms encode once for all that share it.
    :ivar identity: whom it acts as, None before a login.
    """

    @staticmethod
    def frame(message: bytes, /) -> bytes:
        """See above."""
        raise NotImplementedError

    framing = frame

    __slots__ = ("_after", "_behind", "_belongings", "_calls", "_catching_up", "_service", "budget", "identity", "peer", "serving")

    log = Logger()
    key: str | None = None
    """See Caller: each message has its own, or none."""

    def __init__(self, service: RpcService, identity: Identity | None, peer: str) -> None:
        PacedConnection.__init__(self, service.bounds)
        self._service = service
        self.identity = identity
        self.peer = peer
        self.budget: Budget = service.budgets.of(identity, peer)
        self._after: list[Callable[[], None]] | None = None
        self._belongings: dict[Hashable, Belonging] | None = None
        self._calls: dict[CallUnderWay, None] | None = None
        self._behind = 0  # bytes of progress that were written while others waited
        self._catching_up: list[Deferred[None]] | None = None  # those that wait for the client to take them
        self.serving: Serving | None = None

    # What the dispatcher and procedures use

    @property
    def connection(self) -> "RpcConnection":
        """Itself: this caller can be sent notifications."""
        return self

    @property
    def sink(self) -> ISink:
        """Where followers of rooms send."""
        sink: ISink = self._transport
        return sink

    def notify(self, payload: bytes) -> None:
        """Send a notification, the text of one JSON-RPC message; dropped if the client does not keep up or is gone."""
        transport = self._transport
        if transport is not None and not transport.full:
            transport.write(self.frame(payload))

    def send(self, message: bytes) -> None:
        """Send one JSON-RPC message whether or not the client keeps up; dropped if it is gone."""
        transport = self._transport
        if transport is not None:
            transport.write(self.frame(message))

    @property
    def full(self) -> bool:
        """Bytes wait to be sent, or the connection is over."""
        return self._transport is None or self._transport.full

    @property
    def listener(self) -> "RpcConnection":
        """Itself: this caller can be told of progress."""
        return self

    @property
    def gone(self) -> bool:
        """See Listener."""
        return self._transport is None

    def send_progress(self, message: bytes, essential: bool) -> None:
        """See Listener."""
        if not essential or not self.full:
            self.notify(message)
            return
        if self._behind + len(message) > self._service.progress:
            raise fallen_behind()
        self._behind += len(message)
        self.send(message)

    def caught_up(self) -> "Deferred[None]":
        """See Listener."""
        if self._transport is None:
            return fail(ConnectionDone())
        if not self._transport.full:
            return succeed(None)
        if self._catching_up is None:
            self._catching_up = []
        waiting: Deferred[None] = Deferred(self._catching_up.remove)
        self._catching_up.append(waiting)
        return waiting

    def began(self, call: CallUnderWay) -> None:
        """A call on this connection is not answered at once; `ended` follows."""
        if self._calls is None:
            self._calls = {}
        self._calls[call] = None

    def ended(self, call: CallUnderWay) -> None:
        """It is done."""
        if self._calls is not None:
            self._calls.pop(call, None)

    def cancel(self, identifier: str | int | float) -> int:
        """Cancel the calls under way that have this id; returns how many there were."""
        calls = [call for call in self._calls or () if call.identifier and _is_id(call.identifier, identifier)]
        for call in calls:
            call.cancel()
        return len(calls)

    def after_answer(self, then: Callable[[], None]) -> None:
        """Call `then` once the next answer is written; procedures use `after_answer` of their call instead, which knows about batches."""
        if self._after is None:
            self._after = []
        self._after.append(then)

    def keep(self, key: Hashable, belonging: Belonging) -> None:
        """Keep something until the connection ends; whatever had the same key ends now."""
        former = self.exchange(key, belonging)
        if former is not None:
            former.leave()

    def exchange(self, key: Hashable, belonging: Belonging | None) -> Belonging | None:
        """Keep something, or nothing, in place of whatever has this key; that is returned, not ended."""
        former = self._belongings.pop(key, None) if self._belongings else None
        if belonging is not None:
            if self._transport is None:
                belonging.leave()
            elif self._belongings is None:
                self._belongings = {key: belonging}
            else:
                self._belongings[key] = belonging
        return former

    def release(self, key: Hashable) -> bool:
        """End what was kept under a key; False if nothing was."""
        belonging = self._belongings.pop(key, None) if self._belongings else None
        if belonging is not None:
            belonging.leave()
        return belonging is not None

    def belonging(self, key: Hashable) -> Belonging | None:
        """What is kept under a key, None if nothing is."""
        return self._belongings.get(key) if self._belongings else None

    def kept(self, key: Hashable = None) -> int:
        """How many things are kept besides that under `key`."""
        belongings = self._belongings
        return len(belongings) - (key in belongings) if belongings else 0

    def keys(self) -> list[Hashable]:
        """The keys of everything that is kept."""
        return list(self._belongings or ())

    def serve(self, serving: Serving) -> None:
        """This connection provides procedures. Each call is sent to it at once, since it can begin while its other answers are still being read."""
        self.serving = serving
        if self._transport is not None:
            self._transport.gathers = False

    def login(self, identity: Identity) -> None:
        """Act as `identity` from now on."""
        service = self._service
        if self.identity is not None:
            service.logins.unwatch(self.identity, self._revoked)
        self.identity = identity
        self.budget = service.budgets.of(identity, self.peer)
        if self._transport is not None:
            service.logins.watch(identity, self._revoked)
        for belonging in list(self._belongings.values()) if self._belongings else ():
            belonging.act_as(identity)
        if self.serving is not None:
            self.serving.login(identity)

    # What the transport uses

    def draining(self, return_after: float, close: Callable[[], None]) -> None:
        """The server is sending its clients away: answer what is under way, take no further call, and close."""
        transport = self._transport
        if transport is not None:
            # Even if bytes wait: only answers follow.
            transport.write(self.frame(DRAINING % return_after))
            if self.serving is None:
                self.finish(close)
            else:
                self.serving.retire(partial(self.finish, close))

    def connected(self, connection: Any) -> None:
        """Messages may come and go from now on."""
        self._transport = connection
        connection.watch(self)
        if self.identity is not None:
            self._service.logins.watch(self.identity, self._revoked)

    def text(self, message: str) -> None:
        """A JSON-RPC message."""
        if self.serving is not None:
            incoming = parse_incoming(message)
            if incoming is not None and self.serving.received(incoming):
                return
        answer = self._service.dispatcher.handle(message, self)
        if type(answer) is bytes:  # here, since most calls end up here
            self._send(answer)
        else:
            self._settle(answer, message)

    def request(self, request: Request) -> None:
        """A call or notification from a transport that does not carry it as JSON."""
        if self.serving is not None and request.id is ABSENT and self.serving.received(Incoming("2.0", request.method, request.params)):
            return
        self._settle(self._service.dispatcher.carry_out(request, self))

    def response(self, message: Incoming) -> None:
        """A response from such a transport; one that nobody waits for is dropped."""
        if self.serving is None or not self.serving.received(message):
            self._service.dispatcher.refuse(InvalidRequest(), self)
            self._log_stray(message)

    def refuse(self, error: NetsvcError, identifier: bytes = b"null") -> None:
        """Answer something that is not a message, under the JSON of its id if it has one; the client pays as for any fault."""
        self._send(self._service.dispatcher.refuse(error, self, identifier))

    def _settle(self, answer: "bytes | Deferred[bytes | None] | None", message: str = "") -> None:
        if type(answer) is bytes:
            self._send(answer)
        elif isinstance(answer, Deferred):
            self._began()
            answer.addCallback(self._answered)
        elif answer is not None:
            self._refuse(answer, message)
        elif self._after is not None:
            self._run_after()

    def sink_drained(self) -> None:
        """See ISinkWatcher."""
        self._behind = 0
        PacedConnection.sink_drained(self)
        self._catch_up(None)
        if self.serving is not None:
            self.serving.ready()

    def _refuse(self, answer: bytes, message: str) -> None:
        incoming = parse_incoming(message) if isinstance(answer, Failed) and answer.code in _NO_CALL else None
        if incoming is not None and incoming.is_response:
            self._log_stray(incoming)
            return
        self._send(answer)

    def _log_stray(self, response: Incoming) -> None:
        self.log.debug("{peer} answered a call that it was not given, or had answered already: {id}", peer=self.peer, id=bytes(response.id)[:40])

    def disconnected(self, code: int, reason: str) -> None:
        """The connection is over."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.unwatch(self)
        if self.identity is not None:
            self._service.logins.unwatch(self.identity, self._revoked)
        if self.serving is not None:
            self.serving.lost()
        for call in list(self._calls) if self._calls else ():
            if call.procedure is not None and call.procedure.remote:
                call.cancel()
        belongings, self._belongings = self._belongings, None
        for belonging in belongings.values() if belongings else ():
            belonging.leave()
        self._catch_up(Failure(ConnectionDone()))

    def _catch_up(self, outcome: Failure | None) -> None:
        """Release those that wait for the client to take more."""
        waiting, self._catching_up = self._catching_up, None
        for each in waiting or ():
            each.callback(outcome)

    def _answered(self, answer: bytes | None) -> None:
        if self._in_flight > 1 and self._bounds.appender.giving_back and self._transport is not None:
            # More answers are likely to follow at once: of the other posts that share the commit.
            self._transport.cork()
        if answer is not None:
            self._send(answer)
        elif self._after is not None:
            self._run_after()
        self._ended()

    def _send(self, answer: bytes) -> None:
        transport = self._transport
        if transport is not None:
            transport.write(self.frame(answer))
        if self._after is not None:
            self._run_after()

    def _run_after(self) -> None:
        after, self._after = self._after, None
        for then in after or ():
            then()

    def _revoked(self, reason: str) -> None:
        if self._transport is not None:
            self._transport.close(UNAUTHENTICATED, reason)


def _is_id(text: bytes, identifier: str | int | float) -> bool:
    """Whether the JSON of an id means this one; JSON can write numbers that nobody can read."""
    try:
        return bool(msgspec.json.decode(text) == identifier)
    except (msgspec.DecodeError, ValueError):
        return False
