"""[http]: the section of the HTTP server."""

from math import ceil
from typing import Annotated

import msgspec
from msgspec import Meta

from netsvc.http.hosts import check_host, check_origin
from netsvc.http.websocket_limits import WebSocketLimits
from netsvc.settings import Duration, Endpoints, Help, Size, items
from netsvc.wire.deflate import PermessageDeflate
from netsvc.wire.http1 import RequestLimits

__all__ = ["HttpSettings"]

OVERHEAD_BURST = 5.0
"""How many seconds' worth of a WebSocket's allowed overhead may come at once."""


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[http]: where to listen, whom to answer, and the bounds of a connection."""

    listen: Annotated[Endpoints, Help("Twisted endpoint strings, one a line: tcp:, tcp6:, unix:, systemd:, ssl:, tls:")] = ("tcp:8080:interface=127.0.0.1",)
    access_log: Annotated[bool, Help("One log line for each request")] = False
    hosts: Annotated[tuple[str, ...], items(check_host), Help("Names under which clients may reach the server; IP addresses and localhost always may")] = ()
    origins: Annotated[
        tuple[str, ...], items(check_origin), Help("Other origins (https://example.org) whose pages may open WebSockets and make changes")
    ] = ()
    max_line: Annotated[Size, Meta(ge=256, le=1 << 20), Help("Longest request target (path and query)")] = 8 * 1024
    max_head: Annotated[Size, Meta(ge=1024, le=1 << 24), Help("Largest head of a request, all fields together")] = 32 * 1024
    max_headers: Annotated[int, Meta(ge=8, le=10_000), Help("Most header fields in a request")] = 100
    max_body: Annotated[Size, Meta(ge=0), Help("Largest body of a request where the URL sets no limit of its own")] = 1024 * 1024
    head_timeout: Annotated[Duration, Meta(gt=0), Help("Time for a request's head to arrive in full, and for a new connection to send anything")] = 15.0
    body_timeout: Annotated[Duration, Meta(gt=0), Help("Time for a request's body to arrive in full; for a streamed one, the longest pause in it")] = 60.0
    idle_timeout: Annotated[Duration, Meta(gt=0), Help("How long a connection may stay open between two requests")] = 75.0
    answer_timeout: Annotated[Duration, Meta(gt=0), Help("Time for a request to be answered, then 504; procedure calls have deadlines of their own")] = 120.0
    write_timeout: Annotated[Duration, Meta(gt=0), Help("How long a client may leave all the data waiting for it unread")] = 60.0
    half_closed_timeout: Annotated[
        Duration, Meta(gt=0), Help("How long the server works on an answer after the client has stopped sending; then the client counts as gone")
    ] = 2.0
    linger_timeout: Annotated[Duration, Meta(gt=0), Help("How long the server keeps reading from a refused client, so that it can see the answer")] = 2.0
    drain_timeout: Annotated[
        Duration, Meta(gt=0), Help("Time for requests and calls under way to finish when the server stops; less if [netsvc] stop_timeout requires it")
    ] = 10.0
    websocket_message: Annotated[Size, Meta(ge=125, le=1 << 30), Help("Longest WebSocket message from a client")] = 1024 * 1024
    websocket_compression: Annotated[bool, Help("permessage-deflate for WebSocket clients that offer it")] = True
    websocket_compression_level: Annotated[int, Meta(ge=1, le=9), Help("1 is fast, 9 is small; a message to a whole room is compressed once")] = 3
    websocket_compression_shortest: Annotated[Size, Help("Messages to clients shorter than this are not compressed")] = 160
    websocket_compression_longest: Annotated[Size, Help("Nor are longer ones: while a long message is compressed, nobody else is served")] = 64 * 1024
    websocket_message_timeout: Annotated[Duration, Meta(gt=0), Help("Time for a WebSocket message to arrive in full; checked every ping_interval")] = 60.0
    websocket_overhead: Annotated[float, Meta(gt=0), Help("Pings and tiny fragments a WebSocket may send per second; above that, it is closed (1008)")] = 100.0
    ping_interval: Annotated[Duration, Meta(gt=0), Help("Silence after which a WebSocket is pinged")] = 30.0
    pong_timeout: Annotated[Duration, Meta(gt=0), Help("Silence after a ping before a WebSocket is disconnected")] = 20.0
    close_timeout: Annotated[Duration, Meta(gt=0), Help("Time for the closing handshake of a WebSocket")] = 5.0

    def request_limits(self) -> RequestLimits:
        """The bounds of a request's head."""
        return RequestLimits(self.max_line, self.max_head, self.max_headers)

    def times(self) -> tuple[float, ...]:
        """What each thing that a connection waits for may take, in seconds, in the order of `netsvc.http.deadline`."""
        return (
            self.idle_timeout,
            self.head_timeout,
            self.body_timeout,
            self.head_timeout,
            self.answer_timeout,
            self.write_timeout,
            self.linger_timeout,
            self.idle_timeout,
            self.half_closed_timeout,
        )

    def websocket_limits(self) -> WebSocketLimits:
        """The limits of each WebSocket."""
        return WebSocketLimits(
            max_message=self.websocket_message,
            ping_interval=self.ping_interval,
            pong_timeout=self.pong_timeout,
            close_timeout=self.close_timeout,
            message_timeout=self.websocket_message_timeout,
            overhead=self.websocket_overhead,
            overhead_burst=ceil(self.websocket_overhead * OVERHEAD_BURST),
        )

    def permessage_deflate(self) -> PermessageDeflate | None:
        """What negotiates compression with WebSocket clients, None if there is none."""
        if not self.websocket_compression:
            return None
        return PermessageDeflate(self.websocket_compression_level, self.websocket_compression_shortest, self.websocket_compression_longest)
