"""The client's bounds, and how long it waits before it tries again."""

from collections.abc import Callable

import msgspec

__all__ = ["Limits", "backoff"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers that a client keeps to; times in seconds.

    :ivar deadline: for a call that brings none, all its attempts included.
    :ivar connect: for making a connection, with TLS, proxy and handshake.
    :ivar attempts: of a call that may be repeated, the first included. Those that the server puts off (rate limited, overloaded) do not
        count: for them there is the deadline.
    :ivar first: the shortest wait before trying again; it doubles with each attempt.
    :ivar longest: the longest wait.
    :ivar return_longest: the longest that a server may tell us to stay away.
    :ivar steady: a connection that lived this long clears the count of failures.
    :ivar silence: without a byte from the server, after which it is pinged.
    :ivar pong: for its answer to that.
    :ivar close: for the closing handshake.
    :ivar in_flight: calls under way at the most; further ones wait.
    :ivar max_message: bytes of an answer or a notification at the most.
    :ivar buffer: events of a room waiting for their reader at the most; beyond, the room is left and joined again when they have been read.
    """

    deadline: float = 30.0
    connect: float = 10.0
    attempts: int = 5
    first: float = 0.25
    longest: float = 30.0
    return_longest: float = 300.0
    steady: float = 10.0
    silence: float = 30.0
    pong: float = 10.0
    close: float = 5.0
    in_flight: int = 64
    max_message: int = 16 * 1024 * 1024
    buffer: int = 1000


def backoff(failures: int, limits: Limits, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row (from 0): doubling, half of it left to chance, so that many clients spread out.

    :param random: gives numbers in [0, 1).
    """
    return min(limits.longest, limits.first * 2.0 ** min(failures, 30)) * (0.5 + random() / 2)
