"""``/chat/<room>/`` as a WebSocket of plain text: `wscat` and a browser console are enough to talk."""

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.core.identity import Identity
from netsvc.core.limits import Budget
from netsvc.core.logins import Logins
from netsvc.core.rooms import Member, Membership, Rooms
from netsvc.errors import NetsvcError, RateLimited
from netsvc.interfaces import IFormat, ISinkWatcher, IWebSocketApplication
from netsvc.wire.websocket import text_frame

__all__ = ["TextRoom"]

BINARY_REFUSED = 1003
INTERNAL = 1011
TRY_LATER = 1013
REVOKED = 4401


@implementer(IWebSocketApplication, ISinkWatcher)
class TextRoom:
    """One WebSocket in one room: a welcome, then ``<name> text`` for every message; what it sends is posted.

    :param room: the room's name, folded.
    :param after: a cursor to read on from, None for what comes from now on.
    :param welcome: the first line, with {name}, {room} and {cursor}.
    :param in_flight: posts under way at which netsvc reads no further.
    """

    __slots__ = (
        "_after",
        "_budget",
        "_format",
        "_in_flight",
        "_logins",
        "_member",
        "_most",
        "_reading",
        "_room",
        "_rooms",
        "_transport",
        "_welcome",
        "identity",
    )

    log = Logger()

    def __init__(
        self,
        rooms: Rooms,
        format: IFormat,
        logins: Logins,
        budget: Budget,
        identity: Identity,
        room: str,
        after: str | None,
        welcome: str,
        in_flight: int,
    ) -> None:
        self._rooms = rooms
        self._format = format
        self._logins = logins
        self._budget = budget
        self.identity = identity
        self._room = room
        self._after = after
        self._welcome = welcome
        self._most = in_flight
        self._in_flight = 0
        self._reading = True
        self._member: Member | None = None
        self._transport: Any = None

    def connected(self, connection: Any) -> None:
        """The handshake is done: join, and read nothing before the welcome."""
        self._transport = connection
        connection.watch(self)
        self._logins.watch(self.identity, self._revoked)
        self._reading = False
        connection.pause()
        try:
            joining = self._rooms.join(self.identity, self._room, self._after, 0, self._format, connection)
        except NetsvcError:
            self._not_joined(Failure())
            return
        joining.addCallbacks(self._joined, self._not_joined)

    def _joined(self, membership: Membership) -> None:
        if self._transport is None:
            membership.member.leave()
            return
        self._member = membership.member
        fields = {"{name}": self.identity.name, "{room}": self._room, "{cursor}": membership.joined.cursor}
        welcome = self._welcome
        for field, value in fields.items():
            welcome = welcome.replace(field, value)
        self._transport.write(text_frame(welcome.encode()))
        if not membership.joined.recovered:
            self._say("some messages are no longer kept; these are the newest")
        membership.member.start()
        self._pace()

    def _not_joined(self, failure: Failure) -> None:
        if self._transport is not None:
            self._transport.close(TRY_LATER if failure.check(NetsvcError) else INTERNAL, self._words(failure))

    def text(self, message: str) -> None:
        """Post what was sent; empty lines are not."""
        text = message.rstrip("\r\n")
        if not text:
            return
        try:
            self._budget.charge(1.0)
            posting = self._rooms.post(self.identity, self._room, text)
        except NetsvcError as error:
            self._refuse(error)
            return
        self._in_flight += 1
        posting.addCallbacks(self._posted, self._not_posted)
        if self._rooms.appender.full and self._reading:
            self._reading = False
            self._transport.pause()
            self._rooms.appender.when_room(self._pace)
        else:
            self._pace()

    def _posted(self, _: object) -> None:
        self._in_flight -= 1
        if not self._rooms.appender.full:
            self._pace()

    def _not_posted(self, failure: Failure) -> None:
        self._posted(None)
        if failure.check(NetsvcError) is None:
            self.log.failure("a post to {room} failed", failure, room=self._room, identity=self.identity.name)
        self._say(f"not sent: {self._words(failure)}")

    def _refuse(self, error: NetsvcError) -> None:
        if isinstance(error, RateLimited):
            self._say(f"not sent: too fast, try again in {error.retry_after:g} s")
        else:
            self._say(f"not sent: {error.detail}")

    def _words(self, failure: Failure) -> str:
        error = failure.value
        return error.detail[:100] if isinstance(error, NetsvcError) else "internal error"

    def _say(self, words: str) -> None:
        """A line of the server's own: messages start with ``<``, so nobody's message looks like it."""
        transport = self._transport
        if transport is not None and not transport.full:
            transport.write(text_frame(f"-- {words} --".encode()))

    def binary(self, data: bytes) -> None:
        """Refused: text is spoken here."""
        self._transport.close(BINARY_REFUSED, "text is spoken here")

    def disconnected(self, code: int, reason: str) -> None:
        """The connection is over."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.unwatch(self)
        self._logins.unwatch(self.identity, self._revoked)
        if self._member is not None:
            self._member.leave()
            self._member = None

    def sink_full(self) -> None:
        """Stop reading from one who does not read."""
        self._pace()

    def sink_drained(self) -> None:
        """Read on."""
        self._pace()

    def _pace(self) -> None:
        transport = self._transport
        if transport is None:
            return
        reading = self._member is not None and not transport.full and self._in_flight < self._most
        if reading != self._reading:
            self._reading = reading
            if reading:
                transport.resume()
            else:
                transport.pause()

    def _revoked(self, reason: str) -> None:
        if self._transport is not None:
            self._transport.close(REVOKED, reason)
