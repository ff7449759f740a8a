"""Coming in when everybody comes at once: at what pace, and who shall come again when."""

from collections.abc import Iterator
from math import exp
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from netsvc.core.settings import LimitsSettings
from netsvc.errors import Overloaded

__all__ = ["LONGEST", "Arrivals"]

LONGEST = 300.0
"""Seconds after which anybody is told to come again at the latest."""

_SOONEST = 0.5
"""Seconds before which nobody is."""

_LOOK = 0.1
"""Seconds between two looks at how far the reactor is behind, while clients come in."""

_ASSUMED = 500.0
"""Clients a second that can surely come in, as long as nothing else was measured."""

_ROUNDING = 1e-6

_LEAST = 10.0
"""The pace that is reckoned with at the least, in clients a second."""


class Arrivals:
    """Lets clients come in, WebSockets and followers of rooms, as long as the server keeps up with it.

    Whoever is refused is given a time of its own to come again. These times are as far apart as clients come in at present, so that
    they come no faster than they can be let in, and none is told to come at the same time as another.

    :param settings: [limits].
    :param clock: measures how far the reactor is behind: by how much later than asked it makes a call.
    :param random: of the jitter.
    :ivar refused: how many were refused so far.
    """

    def __init__(self, settings: LimitsSettings, clock: IReactorTime, random: Random | None = None) -> None:
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - nobody gains by guessing it
        self._interval = 1 / settings.arrivals if settings.arrivals else 0.0
        self._lag = settings.arrivals_lag
        self._within = settings.return_within
        self._full_at = 0.0  # of the set pace, as in a Budget that holds a second's worth
        self._slot = 0.0  # the last time that anybody was told to come again
        self._due = 0.0  # the look that is awaited, 0 for none
        self._awaited: IDelayedCall | None = None
        self._behind = False
        self._since = 0.0
        self._admitted = 0
        self._measured = 0.0
        self.pace = settings.arrivals or _ASSUMED
        """Clients a second that come in under load: as was measured when some had to be refused."""
        self.refused = 0

    def admit(self) -> None:
        """Let one come in.

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
            raise self._refusal(now, "too many come in at once")
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
        """The clock was set back: what is awaited shall not wait until it is as late again."""
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
        """A time of its own for each of so many who are sent away together, in seconds from now, in no order.

        They are spread over ``[limits] return_within``, or over as long as so many need to come in if that is more.
        """
        window = min(max(self._within, count / self.pace), LONGEST)
        places = list(range(count))
        self._random.shuffle(places)
        return ((place + self._random.random()) * window / count for place in places)
