"""``/healthz`` and ``/readyz`` over HTTP."""

from twisted.internet.defer import Deferred

from netsvc.http.messages import Answer, Request, Response
from netsvc.ops.health import Health

__all__ = ["HealthUrls"]


class HealthUrls:
    """The handlers of the two URLs."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def live(self, request: Request) -> Answer:
        """``GET /healthz``: the reactor turns."""
        status, state = self._health.live()
        # Without a validator or an age no cache keeps it (RFC 9111 section 4.2.2): no header is needed for that.
        return Response.json(state, status)

    def ready(self, request: Request) -> "Deferred[Answer]":
        """``GET /readyz``: every listener is up and the store can write."""
        return self._health.ready().addCallback(lambda outcome: Response.json(outcome[1], outcome[0]))
