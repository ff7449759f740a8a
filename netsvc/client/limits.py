"""The client's limits, and how long it waits before it tries again."""

from collections.abc import Callable

import msgspec

__all__ = ["Limits", "backoff"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a client; times in seconds.

    :ivar deadline: for a call that has none of its own, all its attempts included.
    :ivar connect: for making a connection, with TLS, proxy and handshake.
    :ivar attempts: of a call that may be repeated, the first included. Attempts that the server puts off (rate limited, overloaded) do
        not count: only the deadline bounds them.
    :ivar first: the shortest wait before trying again; it doubles with each attempt.
    :ivar longest: the longest wait.
    :ivar return_longest: the longest time that a server may tell us to stay away.
    :ivar steady: a connection that lived this long clears the count of failures.
    :ivar silence: how long nothing may come from the server before it is pinged.
    :ivar pong: for its answer to a ping.
    :ivar close: for the closing handshake.
    :ivar in_flight: the most calls under way; further ones wait.
    :ivar max_message: the most bytes of an answer or a notification.
    :ivar buffer: the most events of a room waiting for their reader; beyond that, the room is left, and joined again when they have been read.
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
    """Seconds to wait after so many failures in a row (from 0): doubling, half of it random, so that many clients spread out.

    :param random: gives numbers in [0, 1).
    """
    return min(limits.longest, limits.first * 2.0 ** min(failures, 30)) * (0.5 + random() / 2)
