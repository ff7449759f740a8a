"""Long-poll: an answer that waits for the next event of a room."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from netsvc.chat.open_answers import OpenAnswers
from netsvc.core.events import Event
from netsvc.core.history import History
from netsvc.core.identity import Identity
from netsvc.core.logins import Logins
from netsvc.core.rooms import Member, Rooms
from netsvc.errors import NotAuthenticated, Overloaded
from netsvc.interfaces import IFormat, ISink, ISinkWatcher

__all__ = ["Bell", "LongPolls", "Ringing"]


@implementer(IFormat)
class Ringing:
    """Turns each event into the same byte: those who wait read the room when they get it."""

    def event(self, event: Event) -> bytes:
        """See IFormat."""
        return b"\a"

    def gap(self, room: str, first: int, last: int) -> bytes:
        """See IFormat."""
        return b"\a"

    def presence(self, room: str, joined: Sequence[str], left: Sequence[str], count: int) -> bytes:
        """See IFormat."""
        return b""

    def typing(self, room: str, name: str) -> bytes:
        """See IFormat."""
        return b""


@implementer(ISink)
class Bell:
    """A sink for one delivery: it signals that something came, and keeps nothing of it.

    :ivar rung: True when something was delivered, False if nobody waits for that any more.
    """

    __slots__ = ("full", "rung")

    def __init__(self) -> None:
        self.full = False
        self.rung: Deferred[bool] = Deferred()

    def write(self, data: bytes) -> None:
        """See ISink."""
        if data and not self.rung.called:
            self.rung.callback(True)

    def raw_send(self, data: bytes) -> int:
        """See ISink."""
        self.write(data)
        return len(data)

    def rest(self, data: bytes, offset: int) -> None:
        """See ISink. Everything has been taken."""

    def watch(self, watcher: ISinkWatcher) -> None:
        """See ISink. It is never full."""

    def unwatch(self, watcher: ISinkWatcher) -> None:
        """See ISink."""

    def lost(self, member: Member, room: str, why: str) -> None:
        """The client may no longer be in the room: it is told so when it reads the room."""
        self.write(b"\a")

    def give_up(self) -> None:
        """Stop waiting."""
        if not self.rung.called:
            self.rung.callback(False)

    def send_away(self, return_after: float) -> None:
        """The server stops."""
        if not self.rung.called:
            self.rung.errback(_going_away(return_after))

    def revoked(self, reason: str) -> None:
        """The client's credential was revoked."""
        if not self.rung.called:
            self.rung.errback(NotAuthenticated(reason))


def _going_away(return_after: float) -> Overloaded:
    return Overloaded("the server is going away", retry_after=round(return_after, 3))


class LongPolls:
    """Answers with events after a cursor, and waits if there are none.

    :param clock: times the waiting.
    :param open: lists those who wait.
    """

    __slots__ = ("_clock", "_format", "_logins", "_open", "_rooms")

    def __init__(self, rooms: Rooms, logins: Logins, open: OpenAnswers, clock: IReactorTime) -> None:
        self._rooms = rooms
        self._logins = logins
        self._open = open
        self._clock: Any = clock
        self._format = Ringing()

    async def history(self, identity: Identity, room: str, after: str | None, limit: int, wait: float) -> History:
        """As Rooms.history, but waits up to `wait` seconds if there is nothing yet, also in a room without any event.

        A client that waits is present in the room.

        :raises InvalidParams: a bad room name, cursor or limit.
        :raises NotAuthenticated: the credential was revoked meanwhile.
        :raises Overloaded: the server stops; the error says when to ask again.
        :raises NotFound: the room is secret and not for them, or has become so meanwhile.
        :raises Forbidden: they may not, or no longer, read it.
        """
        bell = Bell()
        joined, member = await self._rooms.join(identity, room, after, limit, self._format, bell)
        try:
            if joined.events or joined.more or not joined.recovered:
                return History(joined.events, joined.cursor, joined.more, joined.recovered)
            if self._open.draining:
                raise _going_away(self._open.return_after())
            member.lost = bell.lost
            member.start()
            if await self._rings(bell, identity, wait):
                return await self._rooms.history(identity, room, None, joined.cursor, limit)
            return History([], joined.cursor, False, True)
        finally:
            member.leave()

    async def _rings(self, bell: Bell, identity: Identity, wait: float) -> bool:
        """Whether something is delivered within `wait` seconds."""
        late = self._clock.callLater(wait, bell.give_up)
        self._logins.watch(identity, bell.revoked)
        self._open.add(bell.send_away)
        try:
            return await bell.rung
        finally:
            if late.active():
                late.cancel()
            self._logins.unwatch(identity, bell.revoked)
            self._open.remove(bell.send_away)
