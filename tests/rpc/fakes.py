"""A WebSocket connection without a network."""

import json
from typing import Any

from netsvc.rpc.connection import Framing
from netsvc.wire.websocket import TEXT, text_frame
from tests.core.fakes import FakeSink

__all__ = ["FakeConnection", "texts"]


def texts(data: bytes) -> list[str]:
    """The texts of unmasked frames."""
    found = []
    while data:
        assert data[0] == 0x80 | TEXT, data[:2]
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        found.append(data[start : start + size].decode())
        data = data[start + size :]
    return found


class FakeConnection(FakeSink):
    """What an application knows of its WebSocketConnection.

    :ivar reading: whether the application wants to be given more.
    :ivar closed: code and reason it closed with.
    :ivar text_frame: makes its text frames.
    :ivar corks: how often it was corked.
    :ivar gathers: see WebSocketConnection.
    """

    def __init__(self, window: int | None = None) -> None:
        super().__init__(window)
        self.reading = True
        self.closed: tuple[int, str] | None = None
        self.text_frame: Framing = text_frame
        self.corks = 0
        self.gathers = True

    def send_text(self, payload: bytes) -> None:
        """Send a text message."""
        self.write(self.text_frame(payload))

    def cork(self) -> None:
        """See DirectTransport; what is written counts at once all the same."""
        self.corks += 1

    def pause(self) -> None:
        """Read no more."""
        assert self.reading
        self.reading = False

    def resume(self) -> None:
        """Read on."""
        assert not self.reading
        self.reading = True

    def close(self, code: int, reason: str = "") -> None:
        """Close."""
        self.closed = (code, reason)

    def texts(self) -> list[str]:
        """The text messages that the client has got."""
        return texts(self.received)

    def messages(self) -> list[Any]:
        """The JSON messages that the client has got; they are forgotten."""
        found = [json.loads(text) for text in self.texts()]
        self.received = b""
        return found
