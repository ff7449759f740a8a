"""``/ws``: JSON-RPC 2.0 in both directions, one message or batch in each text frame."""

from zope.interface import implementer

from netsvc.interfaces import IWebSocketApplication
from netsvc.rpc.connection import RpcConnection
from netsvc.wire.websocket import text_frame

__all__ = ["RpcSocket"]

BINARY_REFUSED = 1003


@implementer(IWebSocketApplication)
class RpcSocket(RpcConnection):
    """An RPC connection that is a WebSocket's application."""

    __slots__ = ()

    framing = staticmethod(text_frame)
    frame = staticmethod(text_frame)

    def binary(self, data: bytes) -> None:
        """Refused: this is a text protocol."""
        self._transport.close(BINARY_REFUSED, "JSON-RPC goes in text frames")
