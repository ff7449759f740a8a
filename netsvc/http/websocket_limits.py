"""The limits of a WebSocket."""

import msgspec

__all__ = ["WebSocketLimits"]


class WebSocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a WebSocket; times in seconds.

    :ivar max_message: the longest message from a client, in bytes over all its fragments; a longer one is refused with 1009.
    :ivar ping_interval: a client that has been silent for this long is pinged.
    :ivar pong_timeout: a pinged client that stays silent this long counts as gone; so does one that reads none of the bytes waiting for it.
    :ivar close_timeout: the closing handshake may take this long, then the connection is aborted.
    :ivar message_timeout: a message from a client must be complete after this time; this is checked every `ping_interval`.
    :ivar overhead: control frames, tiny fragments and the like (see FrameReader) per second; a client that sends more is closed with 1008.
    :ivar overhead_burst: how much of that may come at once.
    """

    max_message: int
    ping_interval: float
    pong_timeout: float
    close_timeout: float
    message_timeout: float
    overhead: float
    overhead_burst: int
