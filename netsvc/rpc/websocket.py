"""``/ws``: JSON-RPC 2.0 in both directions, one message or batch in each text frame."""

from typing import Any

from zope.interface import implementer

from netsvc.interfaces import IWebSocketApplication
from netsvc.rpc.connection import Framing, RpcConnection

__all__ = ["RpcSocket"]

BINARY_REFUSED = 1003


@implementer(IWebSocketApplication)
class RpcSocket(RpcConnection):
    """An RPC connection that is a WebSocket's application."""

    __slots__ = ("frame", "framing")

    # Functions of the class in the base, here the connection's: it may have been agreed to compress.
    frame: Framing
    framing: Framing

    def connected(self, connection: Any) -> None:
        """See IWebSocketApplication."""
        self.frame = self.framing = connection.text_frame
        RpcConnection.connected(self, connection)

    def binary(self, data: bytes) -> None:
        """Refused: this is a text protocol."""
        self._transport.close(BINARY_REFUSED, "JSON-RPC goes in text frames")
