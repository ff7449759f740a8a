"""``[lines]``: JSON-RPC 2.0 in both directions, one message or batch in each line."""

from typing import Any

from netsvc.errors import NetsvcError
from netsvc.rpc.streams import StreamRpc
from netsvc.wire.lines import line_frame

__all__ = ["LineConnection"]


class LineConnection(StreamRpc):
    """An RPC connection whose messages are lines."""

    __slots__ = ()

    framing = staticmethod(line_frame)
    frame = staticmethod(line_frame)

    def received(self, message: Any) -> None:
        """A line."""
        self.text(message)

    def unreadable(self, error: NetsvcError) -> None:
        """An error that belongs to no call; it costs what any does."""
        self.refuse(error)
