"""Echoes WebSocket messages on every path: ``python tests/system/echo_server.py PORT`` on 127.0.0.1, for conformance suites.

Channel, codec and transports are netsvc's. Text comes back as text, binary as binary.
"""

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor

from netsvc.core.identity import Identity
from netsvc.errors import NotAuthenticated
from netsvc.http.messages import Request, Upgrade
from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.routing import Routes
from netsvc.http.server import HttpFactory
from netsvc.http.settings import HttpSettings
from netsvc.http.websocket import WebSocketConnection
from netsvc.net.listeners import Listeners
from netsvc.net.outbound import Outbound

# Suites send up to 16 MiB, in fragments as tiny as they like, and are silent for as long as they like.
SETTINGS = HttpSettings(websocket_message=32 << 20, websocket_overhead=1e9, websocket_compression_longest=32 << 20, ping_interval=3600.0)


class Echo:
    """An IWebSocketApplication that sends back what it is told."""

    __slots__ = ("_connection",)

    def connected(self, connection: WebSocketConnection) -> None:
        """See IWebSocketApplication."""
        self._connection = connection

    def draining(self, return_after: float, close: Callable[[], None]) -> None:
        """See IWebSocketApplication."""
        close()

    def text(self, message: str) -> None:
        """See IWebSocketApplication."""
        self._connection.send_text(message.encode())

    def binary(self, data: bytes) -> None:
        """See IWebSocketApplication."""
        self._connection.send_binary(data)

    def disconnected(self, code: int, reason: str) -> None:
        """See IWebSocketApplication."""


def echo(request: Request) -> Upgrade:
    """The handler of every path."""
    return Upgrade(Echo())


def authenticate(request: Request) -> Identity:
    """Nobody has to say who they are: all routes are public."""
    raise NotAuthenticated


def main(port: int, reactor: Any) -> None:
    """Serve until a signal comes; exit status 1 if the port is taken."""
    routes = Routes()
    routes.add("GET", "/", echo, public=True)
    routes.add("GET", "/{path...}", echo, public=True)
    factory = HttpFactory(routes, SETTINGS, reactor, authenticate, OpenWebSockets(), deflate=SETTINGS.permessage_deflate())
    refusals: list[str] = []

    def refused(failure: Any) -> None:
        refusals.append(failure.getErrorMessage())
        reactor.callWhenRunning(reactor.stop)

    Listeners(reactor, [f"tcp:{port}:interface=127.0.0.1"], factory, Outbound(reactor, 0)).startService().addErrback(refused)
    reactor.run()
    for refusal in refusals:
        sys.exit(refusal)


if __name__ == "__main__":
    main(int(sys.argv[1]), reactor)
