"""``/chat/<room>/``: a plain-text WebSocket, or the chat page for a browser that only looks."""

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from netsvc.chat.settings import ChatSettings
from netsvc.chat.text import TextRoom
from netsvc.core.credentials import Guest
from netsvc.core.events import parse_cursor
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.logins import Logins
from netsvc.core.names import fold_room_name
from netsvc.core.rooms import Rooms
from netsvc.errors import InvalidParams
from netsvc.http.messages import Answer, Handler, Request, Upgrade
from netsvc.interfaces import IFormat
from netsvc.rpc.connection import Framing
from netsvc.rpc.pace import Bounds

__all__ = ["RoomUrl"]


UPGRADE_COST = 1.0
"""What opening a WebSocket costs from a rate budget."""


class RoomUrl:
    """The handler of ``GET /chat/{room}/``.

    :param formats: how a connection gets its messages, by its framing.
    :param page: the handler of the chat page.
    :param bounds: limits on one connection's posts under way.
    """

    def __init__(
        self,
        rooms: Rooms,
        formats: Mapping[Framing, IFormat],
        logins: Logins,
        budgets: Budgets,
        settings: ChatSettings,
        page: Handler,
        bounds: Bounds,
    ) -> None:
        self._rooms = rooms
        self._formats = formats
        self._logins = logins
        self._budgets = budgets
        self._settings = settings
        self._page = page
        self._bounds = bounds

    def __call__(self, request: Request) -> "Answer | Deferred[Answer]":
        """``?name=N`` asks for a guest name, ``?after=CURSOR`` reads on from a cursor.

        :raises InvalidParams: a bad room name, guest name or cursor.
        :raises Conflict: a user has that name.
        :raises RateLimited: the caller's budget is spent.
        :raises Overloaded: too many clients at once.
        """
        room = fold_room_name(request.variables["room"])
        if not request.wants_websocket():
            return self._page(request)  # type: ignore[return-value]  # a page is never a coroutine
        return Deferred.fromCoroutine(self._talk(request, room))

    async def _talk(self, request: Request, room: str) -> Answer:
        identity = request.identity
        assert isinstance(identity, Identity)
        # The name does not matter: all guests of one address share a budget.
        budget = self._budgets.of(identity, request.peer)
        request.charged(budget)
        budget.charge(UPGRADE_COST)
        budget.admit()
        after = request.parameter("after")
        if after is not None:
            try:
                parse_cursor(after)
            except ValueError as error:
                raise InvalidParams(f"after: {error}", parameter="after") from None
        name = request.parameter("name")
        if identity.guest and name is not None:
            found = self._logins.login(Guest(name), request.peer)
            identity = await found if isinstance(found, Deferred) else found
        application = TextRoom(self._rooms, self._formats, self._logins, budget, identity, room, after, self._settings.welcome, self._bounds)
        return Upgrade(application)
