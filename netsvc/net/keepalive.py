"""TCP keep-alive, for protocols without pings of their own."""

import socket as _socket
from socket import IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, socket
from typing import Any

__all__ = ["keep_alive"]

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""There are no pings, so the kernel has to find out that the other end is gone; it takes a minute."""


def keep_alive(transport: Any) -> None:
    """Have the kernel find out that the other end is gone."""
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below  # TLS runs on top of it
    handle = getattr(transport, "getHandle", lambda: None)()
    if isinstance(handle, socket):
        handle.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if (option := getattr(_socket, name, None)) is not None:
                handle.setsockopt(IPPROTO_TCP, option, value)
