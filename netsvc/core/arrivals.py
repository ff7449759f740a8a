"""Admission when many clients arrive at once: how fast they are let in, and when the others should retry."""

from collections.abc import Iterator
from math import exp
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from netsvc.core.settings import LimitsSettings
from netsvc.errors import Overloaded

__all__ = ["LONGEST", "Arrivals"]

LONGEST = 300.0
"""The longest that anybody is told to wait before retrying, seconds."""

_SOONEST = 0.5
"""The shortest, seconds."""

_LOOK = 0.1
"""Seconds between two looks at how far the reactor is behind, while clients come in."""

_ASSUMED = 500.0
"""Clients a second that are assumed to be manageable until something else has been measured."""

_ROUNDING = 1e-6

_LEAST = 10.0
"""The lowest pace that is assumed, in clients a second."""


class Arrivals:
    """Lets clients come in, WebSockets and followers of rooms, as long as the server keeps up.

    Each client that is refused is given its own time to retry. These times are spaced at the pace at which clients come in at present:
    they come back no faster than they can be let in, and no two at the same time.

    :param settings: [limits].
    :param clock: measures how far the reactor is behind: by how much its delayed calls are late.
    :param random: the source of the jitter.
    :ivar refused: how many were refused so far.
    """

    def __init__(self, settings: LimitsSettings, clock: IReactorTime, random: Random | None = None) -> None:
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - nobody gains by guessing it
        self._interval = 1 / settings.arrivals if settings.arrivals else 0.0
        self._lag = settings.arrivals_lag
        self._within = settings.return_within
        self._full_at = 0.0  # for the set pace, as in a Budget that holds a second's worth
        self._slot = 0.0  # the latest retry time given to anybody
        self._due = 0.0  # when the next look is due, 0 for none
        self._awaited: IDelayedCall | None = None
        self._behind = False
        self._since = 0.0
        self._admitted = 0
        self._measured = 0.0
        self.pace = settings.arrivals or _ASSUMED
        """Clients a second that come in under load, as measured when some had to be refused."""
        self.refused = 0

    def admit(self) -> None:
        """Let one client in.

        :raises Overloaded: not now; ``retry_after`` is when.
        """
        now = self._clock.seconds()
        if not self._due:
            self._since = now
            self._look_later(now)
        elif self._due - now > _LOOK + _ROUNDING:
            self._set_back(now)
        elif now - self._due > self._lag:
            self._behind = True
        if self._behind:
            raise self._refusal(now, "the server is behind")
        # No more than a second is ever owed, unless the clock has been set back.
        self._full_at = min(self._full_at, now + 1.0)
        full_at = max(self._full_at, now) + self._interval
        if full_at - now > 1.0 + _ROUNDING:
            raise self._refusal(now, "too many clients at once")
        self._full_at = full_at
        self._admitted += 1

    def _refusal(self, now: float, why: str) -> Overloaded:
        self.refused += 1
        self._slot = min(max(self._slot, now + _SOONEST) + 1 / self.pace, now + LONGEST)
        wait = round(self._slot - now, 3)
        return Overloaded(f"{why}: try again in {wait:g} s", retry_after=wait)

    def _look_later(self, now: float) -> None:
        self._due = now + _LOOK
        self._awaited = self._clock.callLater(_LOOK, self._look)

    def _set_back(self, now: float) -> None:
        """The clock was set back: the next look must not wait until the old time comes round again."""
        assert self._awaited is not None
        self._awaited.reset(_LOOK)
        self._due, self._since = now + _LOOK, now
        self._behind = False

    def _look(self) -> None:
        """See how late this call is, and how many have come in."""
        now = self._clock.seconds()
        elapsed = max(now - self._since, _LOOK)
        admitted, self._admitted, self._since = self._admitted, 0, now
        self._measured += (admitted / elapsed - self._measured) * (1 - exp(-elapsed))
        was_behind, self._behind = self._behind, now - self._due > self._lag
        if self._behind or was_behind or self._full_at - now > 1.0 - _LOOK:
            self.pace = max(self._measured, _LEAST)
        if admitted or self._behind:
            self._look_later(now)
        else:
            self._due = 0.0

    def return_times(self, count: int) -> Iterator[float]:
        """A separate time to return for each of `count` clients sent away together, in seconds from now, in random order.

        They are spread over ``[limits] return_within``, or over as long as that many need to come in if that is longer.
        """
        window = min(max(self._within, count / self.pace), LONGEST)
        places = list(range(count))
        self._random.shuffle(places)
        return ((place + self._random.random()) * window / count for place in places)
