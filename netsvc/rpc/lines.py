"""``[lines]``: JSON-RPC 2.0 in both directions, one message or batch per line."""

import re
from typing import Any

from netsvc.errors import NetsvcError
from netsvc.rpc.streams import StreamRpc
from netsvc.wire.lines import line_frame

__all__ = ["LineConnection"]

_HTTP = re.compile(r"[A-Za-z]+ .* HTTP/[0-9.]+\s*", re.DOTALL)
"""A request line (RFC 9112, section 3): what a browser sends first, whatever a page makes it send after that."""


class LineConnection(StreamRpc):
    """An RPC connection whose messages are lines."""

    __slots__ = ()

    framing = staticmethod(line_frame)
    frame = staticmethod(line_frame)

    def received(self, message: Any) -> None:
        """A line. One of HTTP ends the connection; otherwise any web page could make a browser post calls to this port."""
        if _HTTP.fullmatch(message):
            self._transport.close(1002, "this is not an HTTP server")
        else:
            self.text(message)

    def unreadable(self, error: NetsvcError) -> None:
        """An error that belongs to no call; the client pays as for any fault."""
        self.refuse(error)
