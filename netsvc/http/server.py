"""The factory of HTTP connections: what they share, how many there may be, and how they are closed."""

import time
from collections.abc import Callable
from math import ceil
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from netsvc.core.admission import Admission
from netsvc.core.identity import Identity
from netsvc.errors import Forbidden
from netsvc.http.channel import HttpChannel
from netsvc.http.errors import HttpError
from netsvc.http.hosts import HostRule
from netsvc.http.messages import Request, Response
from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.routing import Routes, refusal
from netsvc.http.settings import HttpSettings
from netsvc.http.websocket import WebSocketConnection
from netsvc.net.wheel import TimingWheel
from netsvc.wire.deflate import PermessageDeflate
from netsvc.wire.http1 import UPGRADE
from netsvc.wire.http1_response import Heads
from netsvc.wire.websocket import CloseReason

__all__ = ["HttpFactory"]

_SAFE = frozenset(("GET", "HEAD"))
"""The methods that any web page may let a browser send here."""

_REFUSED = 256
"""How many connections above the cap are told so at a time; further ones are just closed."""


_MISDIRECTED = refusal(lambda: HttpError(421, "this Host is not a name of this server; its names are listed in [http] hosts"))
_FOREIGN = refusal(lambda: Forbidden("this Origin is not allowed to do that here; allowed origins are listed in [http] origins"))


class _CountedWebSockets:
    """A register of WebSockets that also tells the factory when a connection that it admitted is gone."""

    def __init__(self, register: OpenWebSockets, gone: Callable[[str], None]) -> None:
        self._register = register
        self._gone = gone
        self.add = register.add

    @property
    def draining(self) -> CloseReason | None:
        return self._register.draining

    def return_after(self) -> float:
        return self._register.return_after()

    def remove(self, connection: WebSocketConnection) -> None:
        self._register.remove(connection)
        self._gone(connection.peer)


@implementer(IProtocolFactory, IProtocolNegotiationFactory)
class HttpFactory:
    """Makes the channels of any number of listeners.

    :param routes: which handler answers what.
    :param settings: the section [http].
    :param clock: the reactor, or a Clock in tests.
    :param authenticate: says who sent a request, for each request to a route that is not public. Raises NotAuthenticated.
    :param websockets: the register of WebSockets; they are not drained here.
    :param admission: counts the connections, WebSockets included, and perhaps those of other protocols; None means no cap.
    :param deflate: agrees with WebSocket clients on compression, None for none.
    :param wall_clock: seconds since the Unix epoch, for Date.
    :ivar wheel: times all connections; its tick is a second, or less where a setting is short.
    """

    def __init__(
        self,
        routes: Routes,
        settings: HttpSettings,
        clock: IReactorTime,
        authenticate: Callable[[Request], "Identity | Deferred[Identity]"],
        websockets: OpenWebSockets,
        *,
        admission: Admission | None = None,
        deflate: PermessageDeflate | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.authenticate = authenticate
        self.seconds = clock.seconds
        self.request_limits = settings.request_limits()
        self.websocket_limits = settings.websocket_limits()
        self.deflate = deflate
        self.websockets = cast(OpenWebSockets, _CountedWebSockets(websockets, self._forget_address))
        self.max_body = settings.max_body
        self.access_log = settings.access_log
        self.draining = False
        self.wheel_slot: int | None = None
        times = settings.times()
        shortest = min(*times, settings.ping_interval, settings.pong_timeout, settings.close_timeout)
        self.wheel = TimingWheel(clock, min(1.0, shortest / 2))
        self.times = tuple(1 + ceil(seconds / self.wheel.tick) for seconds in times)
        self._routes = routes
        self._hosts = HostRule(settings.hosts, settings.origins)
        self._clock = clock
        self._wall_clock = wall_clock
        self.heads = Heads(wall_clock())
        self._admission = Admission() if admission is None else admission
        self._channels: set[HttpChannel] = set()
        self._refused: set[HttpChannel] = set()
        self._open = 0
        self._drained: Deferred[None] | None = None
        self._cut: IDelayedCall | None = None

    def __len__(self) -> int:
        """The connections that are open, WebSockets included."""
        return self._open

    # IProtocolFactory

    def doStart(self) -> None:  # noqa: N802
        """See IProtocolFactory."""

    def doStop(self) -> None:  # noqa: N802
        """See IProtocolFactory."""

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802
        """See IProtocolNegotiationFactory. Without it Twisted refuses whoever offers protocols (ALPN, RFC 7301), as browsers and curl do."""
        return [b"http/1.1", b"http/1.0"]

    def buildProtocol(self, addr: IAddress) -> IProtocol:  # noqa: N802
        """See IProtocolFactory."""
        return HttpChannel(self)

    # For the channels

    def expired(self) -> None:
        """See WheelEntry: renew the Date of the heads, with each tick for as long as there are connections."""
        self.heads.set_date(self._wall_clock())
        self.wheel.add(self, 0)

    def later(self, seconds: float, response: Response) -> "Deferred[Response]":
        """An answer that is not ready before some time has passed."""
        return deferLater(self._clock, seconds, lambda: response)

    def admit(self, channel: HttpChannel, peer: str) -> bool:
        """Count a new connection; False if the most allowed are already open."""
        if self.wheel_slot is None:
            self.expired()
        if not self._admission.admit(peer):
            return False
        self._open += 1
        self._channels.add(channel)
        return True

    def refuse(self, channel: HttpChannel) -> bool:
        """Whether a connection that was not admitted is told so."""
        if len(self._refused) >= _REFUSED:
            return False
        self._refused.add(channel)
        return True

    def left(self, channel: HttpChannel, peer: str) -> None:
        """A channel's connection is gone."""
        if channel in self._channels:
            self._channels.remove(channel)
            self._forget_address(peer)
        else:
            self._refused.discard(channel)
            self._look_whether_empty()
        self._look_whether_drained()

    def handed_over(self, channel: HttpChannel) -> None:
        """A channel's connection is a WebSocket's now. It still counts."""
        self._channels.discard(channel)
        self._look_whether_drained()

    def route(self, request: Request, host: bytes | None) -> None:
        """Decide what is done with a request: fill in `route` and `variables`.

        :raises BadMessage: Host or the path are malformed.
        """
        hosts = self._hosts
        if host is not None and not (hosts.known.get(host) or hosts.reachable_as(host)):
            request.route = _MISDIRECTED
        elif (request.method not in _SAFE or request.flags & UPGRADE) and self._is_foreign(request, host):
            request.route = _FOREIGN
        else:
            redirects = not (request.flags & UPGRADE and request.wants_websocket())
            request.route, request.variables = self._routes.find(request.method, request.target, redirects=redirects)

    def _is_foreign(self, request: Request, host: bytes | None) -> bool:
        # All of them: no browser sends two, but other programs may go by the second.
        return not all(self._hosts.same_site(value, host, request.secure) for name, value in request.headers if name == b"origin")

    def _forget_address(self, peer: str) -> None:
        self._open -= 1
        self._admission.left(peer)
        self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if not self._open and not self._refused:
            self.wheel.cancel(self)

    # The end

    def drain(self, patience: float | None = None) -> "Deferred[None]":
        """Finish: idle connections are closed, others end with the answer they wait for, or with 503 after `drain_timeout`.

        Draining WebSockets is up to their register. New connections are still served, one request each.

        :param patience: seconds to use instead of `drain_timeout`, if less.
        :returns: fires when no connection is left.
        """
        if self._drained is None:
            self._drained = Deferred()
            self.draining = True
            self._cut = self._clock.callLater(min(self.settings.drain_timeout, patience or self.settings.drain_timeout), self._cut_all)
            for channel in tuple(self._channels):
                channel.drain()
            self._look_whether_drained()
        waiting: Deferred[None] = Deferred()
        self._drained.chainDeferred(waiting)
        return waiting

    def _cut_all(self) -> None:
        self._cut = None
        for channel in (*self._channels, *self._refused):
            channel.cut()

    def _look_whether_drained(self) -> None:
        if self._drained is not None and not self._drained.called and not self._channels and not self._refused:
            if self._cut is not None:
                self._cut.cancel()
                self._cut = None
            self._drained.callback(None)
