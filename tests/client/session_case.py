"""A session with the server in memory."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.addresses import Address, Credentials
from netsvc.client.connecting import Way
from netsvc.client.limits import Limits
from netsvc.client.session import Session
from tests.client.memory import Connection, MemoryGround, middle

__all__ = ["SessionCase"]


class SessionCase(SynchronousTestCase):
    """A session that has not been used yet.

    :cvar limits: it keeps to these.
    """

    limits = Limits(first=1.0, longest=8.0, buffer=4)

    def setUp(self) -> None:
        """Make it."""
        self.ground = MemoryGround()
        self.clock = self.ground.clock
        self.session = self.make_session(Credentials("t"))

    def make_session(self, credentials: Credentials) -> Session:
        """A session as somebody."""
        address = Address.parse("ws://h:1")
        way = Way(self.ground, address, None, None, self.limits.connect)
        return Session(self.clock, way, address, credentials, self.limits, middle)

    @property
    def server(self) -> Connection:
        """The other end of the newest connection."""
        return self.ground.last

    def go_online(self) -> Connection:
        """Connect; gives the server's end."""
        online = self.session.online()
        self.server.accept()
        self.successResultOf(online)
        return self.server

    def called(self, expected: Any, deferred: "Deferred[Any]") -> None:
        """A call has had this result."""
        self.assertEqual(self.successResultOf(deferred), expected)
