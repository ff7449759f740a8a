"""``/ws``: JSON-RPC 2.0 in both directions, one message or batch per text frame."""

from typing import Any

from zope.interface import implementer

from netsvc.core.identity import Identity
from netsvc.interfaces import IWebSocketApplication
from netsvc.net.wheel import TimingWheel
from netsvc.rpc.connection import Framing, RpcConnection

__all__ = ["RpcSocket"]

BINARY_REFUSED = 1003

_LOGIN = "login"
"""The key under which a connection keeps its deadline for a login."""

_LOOK_AGAIN = 1.0
"""Seconds between checks whether a login that is under way is done."""


class _LoginDeadline:
    """The time in which a WebSocket has to log in; it ends with the first login, or with the WebSocket."""

    __slots__ = ("_socket", "_wheel", "wheel_slot")

    def __init__(self, socket: "RpcSocket", wheel: TimingWheel, seconds: float) -> None:
        self._socket = socket
        self._wheel = wheel
        self.wheel_slot: int | None = None
        wheel.add(self, seconds)

    def leave(self) -> None:
        """See Belonging."""
        self._wheel.cancel(self)

    def act_as(self, identity: Identity) -> None:
        """See Belonging."""
        self._socket.release(_LOGIN)

    def expired(self) -> None:
        """See WheelEntry."""
        if self._socket.busy:
            self._wheel.add(self, _LOOK_AGAIN)
        else:
            self._socket.shut_out()


@implementer(IWebSocketApplication)
class RpcSocket(RpcConnection):
    """An RPC connection that is a WebSocket's application."""

    __slots__ = ("frame", "framing")

    # In the base these are functions of the class, here of the connection: compression may have been agreed on.
    frame: Framing
    framing: Framing

    def connected(self, connection: Any) -> None:
        """See IWebSocketApplication."""
        self.frame = self.framing = connection.text_frame
        RpcConnection.connected(self, connection)
        if self.identity is None:
            self.keep(_LOGIN, _LoginDeadline(self, self._service.dispatcher.deadlines, self._service.login_timeout))

    @property
    def busy(self) -> bool:
        """A call is under way; before a login it can only be auth.login."""
        return self._in_flight > 0

    def shut_out(self) -> None:
        """There was no login in time."""
        seconds = self._service.login_timeout
        self._revoked(f"nobody has logged in within {seconds:g} s: connect again with credentials, or call auth.login first")

    def binary(self, data: bytes) -> None:
        """Refused: this is a text protocol."""
        self._transport.close(BINARY_REFUSED, "JSON-RPC goes in text frames")
