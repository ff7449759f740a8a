"""What the tests of ``/rooms/<room>/events`` share: a server with rooms in memory, asked through real channels."""

from itertools import repeat
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.chat.events_url import EventsUrl
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.rooms import Rooms
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.routing import Routes
from netsvc.http.server import HttpFactory
from netsvc.http.settings import HttpSettings
from netsvc.store.memory import MemoryStore
from tests.http.channels import Answer, Client, request

__all__ = ["BOB", "SSE", "EventsUrlCase"]

BOB = Identity("bob", ("member",), credential="token 1")
SSE = "Accept: text/event-stream"


class EventsUrlCase(SynchronousTestCase):
    """A server with rooms in memory."""

    limits = LimitsSettings()

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.store = MemoryStore(self.clock, epoch="e")
        self.rooms = Rooms(self.store, self.clock, RoomsSettings(ring_events=16), self.limits, "guest")
        self.logins: Any = mock.Mock()
        self.budgets = Budgets(self.limits, self.clock.seconds)
        self.budgets.return_times = lambda count: repeat(2.5, count)  # type: ignore[method-assign]
        self.url = EventsUrl(self.rooms, self.logins, self.budgets, self.clock, heartbeat=15.0, longest_wait=40.0)
        routes = Routes()
        routes.add("GET", "/rooms/{room}/events", self.url)
        self.factory = HttpFactory(routes, HttpSettings(), self.clock, lambda _: BOB, OpenWebSockets(), wall_clock=lambda: 784111777.0)
        self.client = Client(self.factory)

    def turn(self) -> None:
        """Let the reactor turn."""
        self.clock.pump([0.0] * 10)

    def post(self, *texts: str) -> None:
        """Post to the lobby."""
        for text in texts:
            posted = self.rooms.post(BOB, "lobby", text)
            self.turn()
            self.successResultOf(posted)

    def ask(self, query: str = "", *lines: str, client: Client | None = None, room: str = "lobby", method: str = "GET") -> None:
        """Send a request."""
        (client or self.client).send(request(f"/rooms/{room}/events{query}", *lines, method=method))
        self.turn()

    def get(self, query: str = "", *lines: str, room: str = "lobby") -> Answer:
        """Ask on a connection of its own, and take the one answer."""
        client = Client(self.factory)
        self.ask(query, *lines, client=client, room=room)
        return client.answer()

    def assert_nothing_left(self) -> None:
        """Nobody is in a room, watched or timed, once presence has had its time; what was watched is not any more."""
        self.clock.pump([1.0] * 15)
        self.assertEqual((len(self.url.open), self.rooms._states), (0, {}))
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() > self.clock.seconds() + 2], [])
        watched = [call.args for call in self.logins.watch.call_args_list]
        unwatched = [call.args for call in self.logins.unwatch.call_args_list]
        self.assertEqual([each for each in watched if each not in unwatched], [])
