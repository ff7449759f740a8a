"""A brake on guessing passwords."""

from collections.abc import Callable

from netsvc.core.addresses import network_of
from netsvc.core.recent import Recent
from netsvc.core.settings import AuthSettings
from netsvc.errors import RateLimited

__all__ = ["FailedLogins"]


class _Allowance:
    """Up to `failures` at once for each key, one more every `recovery` seconds. One float for each key: when all is forgiven."""

    def __init__(self, seconds: Callable[[], float], failures: int, recovery: float, most: int) -> None:
        self._seconds = seconds
        self._recovery = recovery
        self._span = failures * recovery
        self._forgiven_at: Recent[str, float] = Recent(most)

    def take(self, key: str) -> None:
        now = self._seconds()
        forgiven_at = max(self._known(key, now), now) + self._recovery
        wait = forgiven_at - now - self._span
        if wait > 1e-6:  # less is rounding
            raise RateLimited("too many failed logins: try again later", retry_after=round(wait, 3))
        self._forgiven_at.put(key, forgiven_at)

    def spent(self, key: str) -> bool:
        now = self._seconds()
        return self._known(key, now) + self._recovery - now - self._span > 1e-6

    def _known(self, key: str, now: float) -> float:
        forgiven_at = self._forgiven_at.get(key) or 0.0
        # Nobody can owe more than a whole allowance: if it looks so, the clock was set back, and nobody is kept out for that.
        return forgiven_at if forgiven_at <= now + self._span + 1e-6 else 0.0

    def give_back(self, key: str) -> None:
        forgiven_at = self._forgiven_at.get(key)
        if forgiven_at is not None:
            self._forgiven_at.put(key, forgiven_at - self._recovery)


class FailedLogins:
    """Failed passwords, counted for each user's name and for each address.

    An attempt is paid for before it is made and paid back if it succeeds, so a thousand at once get no further than a thousand
    in turn. A name that is under attack from everywhere is thus closed to its owner's password too; tokens and sessions still work.

    :param settings: [auth].
    :param seconds: the clock's time, seconds.
    """

    def __init__(self, settings: AuthSettings, seconds: Callable[[], float]) -> None:
        recovery, most = settings.failures_recovery, settings.failures_remembered
        self._names = _Allowance(seconds, settings.failures, recovery, most)
        self._addresses = _Allowance(seconds, settings.failures_per_address, recovery, most)

    def take(self, name: str, address: str) -> None:
        """Pay for an attempt.

        :param name: folded; empty if no user can have the name.
        :param address: IP address as text; anything else ("unix") is not counted, since all clients behind a proxy would be one.
        :raises RateLimited: there were too many failures; nothing is charged.
        """
        network = network_of(address)
        if network:
            self._addresses.take(network)
        if name:
            try:
                self._names.take(name)
            except RateLimited:
                self._addresses.give_back(network)
                raise

    def closed(self, name: str) -> bool:
        """Whether the next attempt as this user would be refused without looking at the password."""
        return bool(name) and self._names.spent(name)

    def give_back(self, name: str, address: str) -> None:
        """The attempt was not made after all, or it succeeded."""
        self._addresses.give_back(network_of(address))
        self._names.give_back(name)
