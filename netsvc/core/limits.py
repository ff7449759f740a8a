"""Rate budgets: one for each identity (guests: each address), whatever protocol its calls come by."""

from collections import OrderedDict
from collections.abc import Callable

from netsvc.core.settings import LimitsSettings
from netsvc.errors import RateLimited

__all__ = ["Budget", "Budgets"]


class Budget:
    """What one caller may still spend, as a virtual scheduling time (GCRA): one float, no timer.

    :ivar full_at: when the budget is full again, seconds of the clock.
    """

    __slots__ = ("_budgets", "full_at")

    def __init__(self, budgets: "Budgets") -> None:
        self._budgets = budgets
        self.full_at = 0.0

    def charge(self, cost: float) -> None:
        """Spend `cost`.

        :raises RateLimited: it is not there; ``retry_after`` says when it will be. Nothing is spent then.
        """
        budgets = self._budgets
        now = budgets.seconds()
        start = self.full_at if self.full_at > now else now
        full_at = start + cost * budgets.interval
        if full_at - now > budgets.span:
            wait = round(full_at - now - budgets.span, 3)
            raise RateLimited(f"too many calls: try again in {wait:g} s", retry_after=wait)
        self.full_at = full_at

    @property
    def left(self) -> float:
        """What could be spent now."""
        budgets = self._budgets
        if not budgets.interval:
            return budgets.burst
        return max(0.0, (budgets.span - max(0.0, self.full_at - budgets.seconds())) / budgets.interval)


class Budgets:
    """Every caller's budget, found by a key.

    :param settings: [limits].
    :param seconds: the clock's time, seconds.
    """

    def __init__(self, settings: LimitsSettings, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.burst = settings.burst
        self.interval = 1 / settings.calls_per_second if settings.rate else 0.0
        """Seconds that earn a cost of 1; 0 where budgets are endless."""
        self.span = settings.burst / settings.calls_per_second
        """Seconds that fill an empty budget."""
        self._most = settings.budgets
        self._budgets: OrderedDict[str, Budget] = OrderedDict()

    def __len__(self) -> int:
        return len(self._budgets)

    def of(self, key: str) -> Budget:
        """The budget of a caller; hold on to it as long as the caller is connected.

        Beyond the set number the one asked for longest ago is forgotten: a caller that still holds it keeps it.
        """
        budget = self._budgets.get(key)
        if budget is None:
            budget = self._budgets[key] = Budget(self)
            if len(self._budgets) > self._most:
                self._budgets.popitem(last=False)
        else:
            self._budgets.move_to_end(key)
        return budget
