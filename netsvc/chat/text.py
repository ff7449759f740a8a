"""``/chat/<room>/`` as a WebSocket of plain text: `wscat` and a browser console are enough to chat."""

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.core.identity import Identity
from netsvc.core.limits import Budget
from netsvc.core.logins import Logins
from netsvc.core.rooms import Member, Membership, Rooms
from netsvc.errors import Forbidden, NetsvcError, NotFound, RateLimited
from netsvc.interfaces import IFormat, IWebSocketApplication
from netsvc.rpc.connection import Framing
from netsvc.rpc.pace import Bounds, PacedConnection

__all__ = ["TextRoom"]

BINARY_REFUSED = 1003
INTERNAL = 1011
TRY_LATER = 1013
REVOKED = 4401
SHUT_OUT = 4403
ABSENT = 4404

_CODES = {Forbidden: SHUT_OUT, NotFound: ABSENT, NetsvcError: TRY_LATER}


@implementer(IWebSocketApplication)
class TextRoom(PacedConnection):
    """One WebSocket in one room: a welcome, then ``<name> text`` for every message; what it sends is posted.

    :param formats: how it gets messages, by the framing that was agreed on.
    :param room: the room's name, folded.
    :param after: a cursor to read on from, None for only what comes from now on.
    :param welcome: the first line, with {name}, {room} and {cursor}.
    :param bounds: limits on the posts under way.
    """

    __slots__ = ("_after", "_budget", "_formats", "_logins", "_member", "_room", "_rooms", "_welcome", "identity")

    log = Logger()

    def __init__(
        self,
        rooms: Rooms,
        formats: Mapping[Framing, IFormat],
        logins: Logins,
        budget: Budget,
        identity: Identity,
        room: str,
        after: str | None,
        welcome: str,
        bounds: Bounds,
    ) -> None:
        PacedConnection.__init__(self, bounds)
        self._rooms = rooms
        self._formats = formats
        self._logins = logins
        self._budget = budget
        self.identity = identity
        self._room = room
        self._after = after
        self._welcome = welcome
        self._member: Member | None = None

    def connected(self, connection: Any) -> None:
        """The handshake is done: join, and read nothing before the welcome."""
        self._transport = connection
        connection.watch(self)
        self._logins.watch(self.identity, self._revoked)
        self.read_no_further()
        try:
            joining = self._rooms.join(self.identity, self._room, self._after, 0, self._formats[connection.text_frame], connection)
        except NetsvcError:
            self._not_joined(Failure())
            return
        joining.addCallback(self._joined).addErrback(self._not_joined)

    def _joined(self, membership: Membership) -> None:
        if self._transport is None:
            membership.member.leave()
            return
        self._member = membership.member
        self._member.lost = self._lost
        fields = {"{name}": self.identity.name, "{room}": self._room, "{cursor}": membership.joined.cursor}
        welcome = self._welcome
        for field, value in fields.items():
            welcome = welcome.replace(field, value)
        self._transport.send_text(welcome.encode())
        if not membership.joined.recovered:
            self._say("some messages since then are no longer kept; what follows is new")
        membership.member.start()
        self.read_on()

    def _not_joined(self, failure: Failure) -> None:
        if failure.check(NetsvcError) is None:
            self.log.failure("{identity} cannot enter {room}", failure, room=self._room, identity=self.identity.name)
        if self._transport is not None:
            kind = failure.check(Forbidden, NotFound, NetsvcError)
            self._transport.close(_CODES.get(kind, INTERNAL), self._words(failure))

    def _lost(self, member: Member, room: str, why: str) -> None:
        if self._transport is not None:
            self._transport.close(SHUT_OUT, f"you have lost this room: {why}")

    def text(self, message: str) -> None:
        """Post what was sent, except for empty lines."""
        text = message.rstrip("\r\n")
        try:
            # An empty line too, since each has to be read.
            self._budget.charge(1.0)
            if not text:
                return
            posting = self._rooms.post(self.identity, self._room, text)
        except NetsvcError as error:
            self._refuse(error)
            return
        self._began()
        posting.addErrback(self._not_posted).addCallback(self._posted)

    def _posted(self, _: object) -> None:
        self._ended()

    def _not_posted(self, failure: Failure) -> None:
        if failure.check(NetsvcError) is None:
            self.log.failure("a post to {room} failed", failure, room=self._room, identity=self.identity.name)
        self._say(f"not sent: {self._words(failure)}")

    def _refuse(self, error: NetsvcError) -> None:
        if isinstance(error, RateLimited):
            self._say(f"not sent: too fast, try again in {error.retry_after:g} s")
            pause = self._budget.pause
            if pause:
                self.pause_for(pause, self._rooms.delivery.clock)
        else:
            self._say(f"not sent: {error.detail}")

    def _words(self, failure: Failure) -> str:
        error = failure.value
        return error.detail[:100] if isinstance(error, NetsvcError) else "internal error"

    def _say(self, words: str) -> None:
        """A line from the server itself: messages start with ``<``, so none looks like it."""
        transport = self._transport
        if transport is not None and not transport.full:
            transport.send_text(f"-- {words} --".encode())

    def binary(self, data: bytes) -> None:
        """Refused: only text is accepted here."""
        self._transport.close(BINARY_REFUSED, "only text is accepted here")

    def draining(self, return_after: float, close: Callable[[], None]) -> None:
        """The server sends its clients away: store what was sent, take no further line, and close."""
        transport = self._transport
        if transport is not None:
            transport.write(transport.text_frame(b"-- the server is going away: come back in %d s --" % ceil(return_after)))
            self.finish(close)

    def disconnected(self, code: int, reason: str) -> None:
        """The connection is over."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.unwatch(self)
        self._logins.unwatch(self.identity, self._revoked)
        if self._member is not None:
            self._member.leave()
            self._member = None

    def _revoked(self, reason: str) -> None:
        if self._transport is not None:
            self._transport.close(REVOKED, reason)
