"""Rate budgets: one for each identity (guests: each address), whichever protocol its calls use."""

from collections.abc import Callable, Iterator
from itertools import islice, repeat
from math import ceil

from netsvc.core.addresses import network_of
from netsvc.core.arrivals import Arrivals
from netsvc.core.identity import Identity
from netsvc.core.settings import LimitsSettings
from netsvc.errors import RateLimited

__all__ = ["FAULT_COST", "REFUSALS", "Budget", "Budgets"]

FAULT_COST = 1.0
"""The cost of a message that calls no known procedure; a call costs what its procedure declares, whatever the outcome."""

REFUSALS = 200
"""Refusals a second that one caller is told of; a caller that continues regardless is read from no faster than that."""

_LOOKED_AT = 64
"""Budgets looked at when there are too many."""

_ROUNDING = 1e-6


class Budget:
    """What one caller may still spend, as a virtual scheduling time (GCRA): one float, no timer.

    :ivar full_at: when the budget is full again, seconds of the clock.
    :ivar slow_calls: how many of the caller's calls under way occupy a thread or a provider.
    """

    __slots__ = ("_budgets", "_patient_at", "full_at", "slow_calls")

    def __init__(self, budgets: "Budgets") -> None:
        self._budgets = budgets
        self.full_at = 0.0
        self.slow_calls = 0
        self._patient_at = 0.0  # the same for refusals, which cost the server something too

    def charge(self, cost: float) -> None:
        """Spend `cost`; a cost beyond what the budget can hold is allowed once it is full, and the rest is owed.

        :raises RateLimited: there is not enough; ``retry_after`` says when there will be, and the data how much there is. Nothing is spent.
        """
        budgets = self._budgets
        now = budgets.seconds()
        start = self.full_at if self.full_at > now else now
        full_at = start + cost * budgets.interval
        if full_at - now > budgets.span:
            wait = round(min(full_at - budgets.span, start) - now, 3)
            if wait > 0:
                raise self._refusal(wait, now)
        self.full_at = full_at

    def _refusal(self, wait: float, now: float) -> RateLimited:
        self._patient_at = max(self._patient_at, now) + 1 / REFUSALS
        known = {"quota": self.quota, "window": self.window, "remaining": self.remaining}
        return RateLimited(f"too many calls: try again in {wait:g} s", retry_after=wait, **known)

    def admit(self) -> None:
        """Let the caller in: open a WebSocket, join a room.

        :raises Overloaded: too many come at once; ``retry_after`` says when to retry.
        """
        arrivals = self._budgets.arrivals
        if arrivals is not None:
            arrivals.admit()

    @property
    def pause(self) -> float:
        """Seconds for which the caller should not be read from; 0 unless the caller ignores refusals."""
        pause = self._patient_at - self._budgets.seconds() - 1.0
        return pause if pause > _ROUNDING else 0.0

    @property
    def limited(self) -> bool:
        """Whether it is limited at all."""
        return self._budgets.limited

    @property
    def quota(self) -> int:
        """What it holds when full, in plain calls."""
        return self._budgets.quota

    @property
    def window(self) -> int:
        """Seconds that fill it when it is empty, rounded up."""
        return self._budgets.window

    @property
    def remaining(self) -> int:
        """The plain calls that could be made now."""
        return self.rest()[0]

    def rest(self) -> tuple[int, int]:
        """`remaining`, and the seconds until there is more, rounded up; 0 if the budget is full."""
        budgets = self._budgets
        interval = budgets.interval
        left = (budgets.span - self.full_at + budgets.seconds()) / interval if interval else budgets.burst
        remaining = max(0, int(left + _ROUNDING))
        if remaining >= budgets.quota:
            return budgets.quota, 0
        return remaining, ceil((remaining + 1 - left) * interval - _ROUNDING)


class Budgets:
    """Every caller's budget.

    :param settings: [limits].
    :param seconds: the clock's time, seconds.
    :param arrivals: decides whether callers may come in; None lets all in.
    """

    def __init__(self, settings: LimitsSettings, seconds: Callable[[], float], arrivals: Arrivals | None = None) -> None:
        self.seconds = seconds
        self.arrivals = arrivals
        self.burst = settings.burst
        self.interval = 1 / settings.calls_per_second if settings.rate else 0.0
        """Seconds in which a cost of 1 is earned; 0 if budgets are unlimited."""
        self.span = settings.burst / settings.calls_per_second
        """Seconds that fill an empty budget."""
        self.limited = settings.rate
        """Whether budgets are limited."""
        self.quota = int(settings.burst)
        self.window = max(1, ceil(self.span - _ROUNDING))
        """`burst` and `span` in the whole numbers that clients are told."""
        self._most = settings.budgets
        self._users: dict[str, Budget] = {}
        self._addresses: dict[str, Budget] = {}

    def __len__(self) -> int:
        return len(self._users) + len(self._addresses)

    def of(self, identity: Identity | None, address: str) -> Budget:
        """The budget of a caller: a user's by name, a guest's by address (IPv6: by /64 network). Hold on to it while the caller is connected.

        Above the limit, idle budgets are dropped, the oldest first, since a full budget is the same as a new one.
        """
        if identity is not None and not identity.guest:
            budgets, key = self._users, identity.name
        else:
            budgets, key = self._addresses, network_of(address) if ":" in address else address
        budget = budgets.get(key)
        if budget is None:
            budget = budgets[key] = Budget(self)
            if len(budgets) > self._most:
                self._forget(budgets)
        return budget

    def return_times(self, count: int) -> Iterator[float]:
        """See Arrivals."""
        return repeat(0.0, count) if self.arrivals is None else self.arrivals.return_times(count)

    def _forget(self, budgets: dict[str, Budget]) -> None:
        """Make room: drop idle ones among the oldest, at least one."""
        now = self.seconds()
        oldest = list(islice(budgets, _LOOKED_AT))
        resting = [key for key in oldest if budgets[key].full_at <= now]
        for key in resting or oldest[:1]:
            del budgets[key]
