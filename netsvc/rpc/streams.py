"""RPC connections on plain streams, TCP or UNIX sockets: what is read, what is written, when they end. `netsvc.http.websocket` does the same for WebSockets."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.core.admission import Admission
from netsvc.core.credentials import Guest
from netsvc.core.identity import Identity
from netsvc.errors import NetsvcError, NotAuthenticated, Overloaded
from netsvc.interfaces import ISink
from netsvc.net.buffered_transport import direct
from netsvc.net.keepalive import keep_alive
from netsvc.net.transport import DirectTransport
from netsvc.net.wheel import TimingWheel
from netsvc.rpc.connection import RpcConnection, RpcService
from netsvc.rpc.stream_settings import StreamSettings
from netsvc.rpc.watchers import Watchers
from netsvc.wire.jsonrpc import notification

__all__ = ["Reader", "StreamConnection", "StreamFactory", "StreamRpc"]

_log = Logger()

# The states of a connection, in order. It never goes back.
_OPEN = 0
_LAST = 1  # the client sends no more; the connection ends once what is under way is answered
_ENDING = 2  # nothing is accepted or sent any more
_FLUSHING = 3  # the same, while what was written is on its way
_LOST = 4

_LINGER = 2.0
"""How many seconds a closed connection is still read from, so that the other end can see the last words."""

CONNECTION_COST = 1.0
"""What connecting takes from a rate budget."""

_PER_TURN = 200
"""How many connections are told to end in one reactor turn."""


def closing(code: int, reason: str | NetsvcError) -> bytes:
    """The last words to a client, as a JSON-RPC message. The codes are those of WebSockets (RFC 6455, section 7.4)."""
    words = {"reason": reason.detail, **reason.data} if isinstance(reason, NetsvcError) else {"reason": reason}
    return notification("server.closing", msgspec.json.encode({"code": code, **words}))


class Reader(Protocol):
    """Takes bytes, and gives the messages in them one by one, as they are asked for.

    :ivar over: nothing further is read.
    """

    @property
    def over(self) -> bool:
        """See above."""

    @property
    def begun(self) -> bool:
        """There is a message that is not whole yet. Valid after `next` has given None."""

    def feed(self, data: bytes) -> None:
        """Take what has come."""

    def end(self) -> None:
        """The other end has stopped sending."""

    def next(self) -> Any:
        """The next message, a NetsvcError for something that is not one, or None if there is none yet."""


class StreamRpc(RpcConnection):
    """An RPC connection on a stream."""

    __slots__ = ()

    def received(self, message: Any) -> None:
        """Act on a message from the reader."""
        raise NotImplementedError

    def unreadable(self, error: NetsvcError) -> None:
        """Say what is wrong with something that was not a message."""
        raise NotImplementedError

    @property
    def under_way(self) -> int:
        """How many calls are not answered yet."""
        return self._in_flight

    @property
    def at_rest(self) -> bool:
        """It may be closed without loss: it waits for nothing, follows nothing and serves nothing."""
        return not (self._in_flight or self._waits or self.kept() or (self.serving is not None and self.serving.busy))

    def _ended(self) -> None:
        RpcConnection._ended(self)
        if not self._in_flight and self._transport is not None:
            self._transport.settled()


@implementer(IProtocol, IHalfCloseableProtocol, ISink)
class StreamConnection:
    """One stream: the protocol and owner of its transport, and what carries a StreamRpc.

    :param factory: has the settings.
    :param reader: finds the messages in what comes in.
    :ivar gathers: see WebSocketConnection.
    """

    __slots__ = (
        "_application",
        "_begun",
        "_delivering",
        "_factory",
        "_heard",
        "_paused",
        "_reader",
        "_stalled",
        "_state",
        "_transport",
        "_watchers",
        "gathers",
        "wheel_slot",
    )

    def __init__(self, factory: "StreamFactory", reader: Reader) -> None:
        self._factory = factory
        self._reader = reader
        self._transport: DirectTransport
        self._application: StreamRpc | None = None
        self._watchers = Watchers()
        self._state = _OPEN
        self._paused = False
        self._delivering = False
        self._stalled = False
        self._heard = factory.seconds()
        self._begun: float | None = None  # when the message that is not whole yet began
        self.wheel_slot: int | None = None
        self.gathers = True

    # IProtocol

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """See IProtocol."""
        self._transport = direct(transport)
        self._transport.owner = self
        if self.peer != "unix":
            keep_alive(transport)
        self.connectionMade()

    def connectionMade(self) -> None:  # noqa: N802
        """See IProtocol."""
        factory = self._factory
        try:
            application = factory.begin(self)
        except NetsvcError as error:
            self._state = _ENDING
            self._transport.write(factory.framed(closing(1013, error)))
            self._transport.loseConnection()
            return
        self._application = application
        factory.wheel.add(self, factory.settings.login_timeout if application.identity is None else factory.interval)
        application.connected(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """See IProtocol."""
        if self._state == _OPEN:
            self._heard = self._factory.seconds()
            self._reader.feed(data)
            self._deliver()

    def readConnectionLost(self) -> None:  # noqa: N802
        """See IHalfCloseableProtocol: the client sends no more. It still gets its answers."""
        if self._state == _OPEN:
            self._state = _LAST
            self._reader.end()
            self._deliver()
            self.settled()
        elif self._state == _ENDING:
            self._transport.loseConnection()

    def writeConnectionLost(self) -> None:  # noqa: N802
        """See IHalfCloseableProtocol: our own doing."""

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """See IProtocol."""
        self._over(1006, "the connection broke")
        self._state = _LOST
        self._factory.wheel.cancel(self)
        self._factory.remove(self)

    # What comes in

    def _deliver(self) -> None:
        """Act on what was read, in order, until the application pauses; whatever follows stays in the reader, as bytes."""
        if self._delivering:
            return
        self._delivering = True
        first = True
        while self._application is not None and not self._paused and (message := self._reader.next()) is not None:
            if self.gathers and not first:
                self._transport.cork()
            self._begun, first = None, False
            try:
                if isinstance(message, NetsvcError):
                    self._application.unreadable(message)
                    if self._reader.over:
                        self.close(1009, message.detail)
                else:
                    self._application.received(message)
            except Exception:
                _log.failure("An RPC connection failed; peer {peer}", peer=self.peer)
                self.close(1011, "internal error")
        self._delivering = False
        self._transport.uncork()
        if self._paused or self._state != _OPEN or not self._reader.begun:
            self._begun = None
        elif self._begun is None:
            self._begun = self._heard

    def pause(self) -> None:
        """Stop reading. No further message is delivered until `resume`, not even those already read."""
        if not self._paused:
            self._paused = True
            if self._state < _ENDING:
                self._transport.pause_reading()

    def resume(self) -> None:
        """Deliver what was read before the pause, then read on."""
        if not self._paused:
            return
        self._paused = False
        self._heard = self._factory.seconds()  # the silence was ours
        self._deliver()
        if not self._paused and self._state == _OPEN:
            self._transport.resume_reading()
        self.settled()

    def settled(self) -> None:
        """Nothing is under way any more; if nothing can follow, the connection ends."""
        application = self._application
        if self._state == _LAST and not self._paused and not self._delivering and application is not None and not application.under_way:
            self._over(1000, "")
            self._end(_FLUSHING, self._factory.settings.write_timeout)
            self._transport.loseConnection()

    # ISink

    @property
    def peer(self) -> str:
        """The client's IP address as text, or ``unix``."""
        return self._transport.peer

    @property
    def full(self) -> bool:
        """Bytes wait, or nothing can be sent any more."""
        return self._state >= _ENDING or self._transport.full

    @property
    def raw_send(self) -> Any:
        """The transport's own; see ISink."""
        return self._transport.raw_send

    def write(self, data: bytes) -> None:
        """Send wire bytes; they are dropped once the connection is ending."""
        if self._state < _ENDING:
            self._transport.write(data)

    def cork(self) -> None:
        """See DirectTransport."""
        self._transport.cork()

    def rest(self, data: bytes, offset: int) -> None:
        """Take over data[offset:] after raw_send took less than all."""
        self._transport.rest(data, offset)

    def watch(self, watcher: Any) -> None:
        """Call the watcher's sink_full and sink_drained from now on."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: Any) -> None:
        """Stop calling it; no error if it was not watching."""
        self._watchers.remove(watcher)

    # TransportOwner

    def transport_full(self) -> None:
        """See TransportOwner."""
        self._watchers.full()

    def transport_drained(self) -> None:
        """See TransportOwner."""
        if self._state < _ENDING:
            self._watchers.drained(self)

    def transport_shed(self) -> None:
        """See TransportOwner: whatever waits would precede any last words, so there are none."""
        self.abort("too much is waiting for it")

    # The end

    def close(self, code: int, reason: str = "") -> None:
        """Say why, and end. The codes are those of WebSockets (RFC 6455, section 7.4)."""
        if self._state >= _ENDING:
            return
        application = self._application
        if application is not None:
            application.send(closing(code, reason))
        self._transport.uncork()  # or it could not be told whether the client takes it
        self._over(code, reason)
        self._end(_ENDING, _LINGER if not self._transport.full else self._factory.settings.write_timeout)
        # Closing both directions with unread bytes in the kernel would reset the connection, and the last words would be lost.
        self._transport.lose_write_connection()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def send_away(self, return_after: float) -> None:
        """The server is stopping: tell the client when to come back, take no further message, and end once what is under way is answered."""
        if self._application is not None:
            self._application.draining(return_after, partial(self.close, 1001, "the server is stopping"))

    def abort(self, why: str) -> None:
        """End now."""
        self._over(1006, why)
        self._state = max(self._state, _ENDING)
        self._transport.abortConnection()

    def _end(self, state: int, seconds: float) -> None:
        self._state = state
        self._factory.wheel.add(self, seconds)

    def _over(self, code: int, reason: str) -> None:
        """Tell the application, once."""
        application, self._application = self._application, None
        if application is not None:
            if self._state < _ENDING:
                self._state = _ENDING
            application.disconnected(code, reason)
            self._watchers.clear()

    def expired(self) -> None:
        """See WheelEntry: time to check on it."""
        factory = self._factory
        application = self._application
        if application is None:
            if self._state == _FLUSHING and not self._transport.stalled():
                factory.wheel.add(self, factory.settings.write_timeout)
            else:
                self._transport.abortConnection()
            return
        if self._transport.full:
            if self._transport.stalled() and self._stalled:
                self.abort("reads nothing")
                return
            self._stalled = True
            factory.wheel.add(self, factory.settings.write_timeout)
            return
        self._stalled = False
        now, settings = factory.seconds(), factory.settings
        if application.identity is None and not application.under_way:
            self.close(1008, "nobody has logged in")
        elif self._begun is not None and now - self._begun >= settings.message_timeout:
            self.close(1008, "a message took too long to arrive")
        elif application.at_rest and not self._paused and now - self._heard >= settings.idle_timeout:
            self.close(1000, "idle for too long")
        else:
            factory.wheel.add(self, factory.interval)


@implementer(IProtocolFactory)
class StreamFactory:
    """Makes the connections of any number of listeners of one kind.

    :param settings: [lines] or [amp].
    :param service: what all RPC connections share.
    :param admission: counts connections of all protocols.
    :param clock: the reactor, or a Clock in tests.
    :param reader: makes a reader, given how many bytes a message may have.
    :param application: what runs on a connection.
    :ivar draining: the server is stopping.
    """

    def __init__(
        self,
        settings: StreamSettings,
        service: RpcService,
        admission: Admission,
        clock: IReactorTime,
        reader: Callable[[int], Reader],
        application: type[StreamRpc],
    ) -> None:
        self.settings = settings
        self.seconds = clock.seconds
        self.draining = False
        self.interval = min(settings.idle_timeout, settings.write_timeout, settings.message_timeout)
        """Seconds between two checks of a connection."""
        self.wheel = TimingWheel(clock, min(1.0, self.interval / 2, settings.login_timeout / 2))
        self._service = service
        self._admission = admission
        self._clock = clock
        self._reader = reader
        self._application = application
        self.framed = application.framing
        self._connections: set[StreamConnection] = set()
        self._gone: Deferred[None] = Deferred()
        self._cut: IDelayedCall | None = None

    def __len__(self) -> int:
        """The connections that are open."""
        return len(self._connections)

    def doStart(self) -> None:  # noqa: N802
        """See IProtocolFactory."""

    def doStop(self) -> None:  # noqa: N802
        """See IProtocolFactory."""

    def buildProtocol(self, addr: IAddress) -> IProtocol:  # noqa: N802
        """See IProtocolFactory."""
        return StreamConnection(self, self._reader(self.settings.message))

    def begin(self, connection: StreamConnection) -> StreamRpc:
        """What runs on a new connection: it acts as a guest, or as nobody where guests are not allowed.

        :raises Overloaded: there are too many connections, or too many clients connect at once.
        :raises RateLimited: the guest's budget is spent.
        """
        if self.draining or not self._admission.admit(connection.peer):
            raise Overloaded("too many connections, in all or from your address: see [limits]", retry_after=next(self._service.budgets.return_times(1)))
        self._connections.add(connection)
        application = self._application(self._service, self._visitor(connection.peer), connection.peer)
        application.budget.charge(CONNECTION_COST)
        application.budget.admit()
        return application

    def _visitor(self, peer: str) -> Identity | None:
        try:
            found = self._service.logins.login(Guest(), peer)
        except NotAuthenticated:
            return None
        assert isinstance(found, Identity), "a guest without a name needs nothing looked up"
        return found

    def remove(self, connection: StreamConnection) -> None:
        """Its transport is gone."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._admission.left(connection.peer)
            self._look_whether_gone()

    def drain(self, seconds: float) -> "Deferred[None]":
        """Send every client away: each is told when to come back, gets its outstanding answers, and is closed, or cut off after `seconds`.

        To be called once.

        :returns: fires when none is left.
        """
        self.draining = True
        self._cut = self._clock.callLater(seconds, self._cut_all)
        connections = list(self._connections)
        self._tell(connections, self._service.budgets.return_times(len(connections)))
        self._look_whether_gone()
        return self._gone

    def _tell(self, connections: list[StreamConnection], times: Iterator[float]) -> None:
        for connection, return_after in zip(connections[-_PER_TURN:], times, strict=False):
            connection.send_away(return_after)
        del connections[-_PER_TURN:]
        if connections:
            self._clock.callLater(0, self._tell, connections, times)

    def _cut_all(self) -> None:
        self._cut = None
        for connection in tuple(self._connections):
            connection.abort("the server is stopping")

    def _look_whether_gone(self) -> None:
        if self.draining and not self._connections and not self._gone.called:
            if self._cut is not None:
                self._cut.cancel()
                self._cut = None
            self._gone.callback(None)
