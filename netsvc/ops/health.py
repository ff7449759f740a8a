"""Whether the daemon is alive and whether it is ready for clients."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from netsvc.errors import NetsvcError

__all__ = ["Health"]

MAX_AGE = 1.0
"""For how many seconds a probe's outcome is reused (docs/protocol.md: at most a second old)."""

PROBE_DEADLINE = 5.0
"""How many seconds the store has to answer a probe."""


class Health:
    """Answers ``/healthz`` and ``/readyz`` and the watchdog, as (HTTP status, JSON object).

    However many clients ask at once, the store gets one probe at a time and at most one a second.

    :param clock: for age and deadline.
    :param probe: proves that a write would succeed now (IStore.probe).
    """

    def __init__(self, clock: IReactorTime, probe: "Callable[[], Deferred[None]]", deadline: float = PROBE_DEADLINE) -> None:
        self._clock = clock
        self._probe = probe
        self._deadline = deadline
        self._started = clock.seconds()
        self._waiting: list[Deferred[None]] | None = None
        self._probed: float | None = None
        self._fault = ""
        self._answered = False
        self._serving = False
        self._reason = "starting"

    def serving(self) -> None:
        """Every listener is up."""
        self._serving = True

    def draining(self) -> None:
        """The orderly stop has begun: send no more clients here."""
        self._serving = False
        self._reason = "draining"

    def uptime(self) -> float:
        """Seconds since the start."""
        return self._clock.seconds() - self._started

    def live(self) -> tuple[int, dict[str, Any]]:
        """Liveness. An answer shows that the reactor turns; nothing else is asked. Uptime is in seconds."""
        return 200, {"status": "ok", "uptime": round(self.uptime(), 3)}

    def ready(self) -> "Deferred[tuple[int, dict[str, Any]]]":
        """Readiness: 200 if every listener is up and the store answered a write probe at most a second old, else 503 with the reason."""
        if not self._serving:
            return succeed((503, {"status": self._reason}))
        return self._fresh().addCallback(lambda _: self._readiness())

    def answers(self) -> "Deferred[bool]":
        """True if the store answered in time, even with an error; the watchdog's question."""
        return self._fresh().addCallback(lambda _: self._answered)

    def _readiness(self) -> tuple[int, dict[str, Any]]:
        if not self._serving:  # the stop began while the store was being asked
            return 503, {"status": self._reason}
        if self._fault:
            return 503, {"status": "store unavailable", "detail": self._fault}
        return 200, {"status": "ready"}

    def _fresh(self) -> "Deferred[None]":
        if self._probed is not None and 0 <= self._clock.seconds() - self._probed <= MAX_AGE:  # negative: the clock was set back
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        if self._waiting is not None:
            self._waiting.append(waiter)
            return waiter
        self._waiting = [waiter]
        try:
            probe = self._probe()
        except Exception:
            self._finish(Failure())
        else:
            probe.addTimeout(self._deadline, self._clock).addBoth(self._finish)
        return waiter

    def _finish(self, outcome: object) -> None:
        # The age counts from the answer: while a probe is under way everyone waits for it.
        self._probed = self._clock.seconds()
        self._answered = True
        self._fault = ""
        if isinstance(outcome, Failure):
            self._fault, self._answered = self._worded(outcome)
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            waiter.callback(None)

    def _worded(self, failure: Failure) -> tuple[str, bool]:
        if isinstance(failure.value, TimeoutError | CancelledError):
            return f"the store did not answer within {self._deadline:g} s", False
        if isinstance(failure.value, NetsvcError):
            return failure.value.detail, True
        return failure.type.__name__ if failure.type else "unknown", True
