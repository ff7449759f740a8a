"""How far somebody has read in each room, and what is new since then."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from netsvc.core.access import Right, absent
from netsvc.core.events import GUEST
from netsvc.core.fairness import Turns
from netsvc.core.identity import Identity
from netsvc.core.mentions import EVERYBODY
from netsvc.core.names import fold_room_name
from netsvc.core.posting import LAST_SEQ, Check
from netsvc.core.recent import Recent
from netsvc.core.records import Outline, RoomInfo, Row
from netsvc.core.settings import RoomsSettings
from netsvc.errors import InvalidParams, NotFound
from netsvc.interfaces import IStore

__all__ = ["Marked", "ReadMarks", "Unread", "UnreadList"]


ROOMS = 50
"""Rooms counted at once: this limits what is read for one count; other work gets its turn in between."""

AT_ONCE = 2
"""Counts under way at once: each may be long, and they must not occupy all readers of the store."""


class Marked(msgspec.Struct):
    """How far somebody has read in a room."""

    room: str
    seq: int


class Unread(msgspec.Struct):
    """What is new for somebody in a room.

    :ivar read: how far they have read, 0 if never marked; `head`: the newest seq.
    :ivar unread: messages of others since then; `mentions`: those that mention them.
    :ivar more: only the newest events were counted, so there may be more of both.
    """

    room: str
    read: int
    head: int
    unread: int
    mentions: int
    more: bool


class UnreadList(msgspec.Struct):
    """The rooms, by name."""

    rooms: list[Unread]


class _Notes(msgspec.Struct):
    """The parts of a row's ``extra`` that matter here."""

    mentions: list[str] = []
    deleted: bool = False


_decode_notes = msgspec.json.Decoder(_Notes).decode
_PLAIN = _Notes()


class ReadMarks:
    """Everybody's marks: those of users are stored; those of guests, whose names belong to nobody, are kept in memory for a while.

    :param store: the log.
    :param check: says who may read.
    :param unreadable: which of some rooms somebody may not read.
    :param clock: time.
    :param settings: [rooms].
    """

    def __init__(
        self,
        store: IStore,
        check: Check,
        unreadable: "Callable[[Identity, list[str] | None], Deferred[dict[str, str]]]",
        clock: IReactorTime,
        settings: RoomsSettings,
    ) -> None:
        self._store = store
        self._check = check
        self._unreadable = unreadable
        self._clock = clock
        self._most = settings.read_marks
        self._counted = settings.unread
        self._guests: Recent[tuple[str, str], int] = Recent(settings.guests_marks)
        self._turns = Turns(AT_ONCE)

    def mark(self, identity: Identity, room: str, seq: int) -> "Deferred[Marked]":
        """Record that somebody has read a room up to an event; a mark further back than before changes nothing.

        :raises InvalidParams: at once: a bad room name or seq.
        :raises NotFound: at once or by way of the Deferred, like all below: no such room, or no such event yet.
        :raises Forbidden: they may not read there.
        """
        name = fold_room_name(room)
        if not 0 <= seq <= LAST_SEQ:
            raise InvalidParams("seq: expected the seq of an event, or 0", parameter="seq")
        checking = self._check(identity, name, Right.READ) or succeed(None)

        def found(info: RoomInfo | None) -> "Deferred[int]":
            if info is None:
                raise absent(name)
            if seq > info.head:
                raise NotFound(f"seq: {name} has no event {seq} yet", parameter="seq")
            if not identity.guest:
                now = int(self._clock.seconds() * 1000)
                return self._store.mark_read(identity.name, name, seq, now, self._most)
            return succeed(self._mark_guest(identity.name, name, seq))

        marking: Deferred[Any] = checking.addCallback(lambda _: self._store.room(name)).addCallback(found)
        return marking.addCallback(lambda mark: Marked(name, mark))

    def _mark_guest(self, guest: str, room: str, seq: int) -> int:
        mark = max(seq, self._guests.get((guest, room)) or 0)
        self._guests.put((guest, room), mark)
        return mark

    def unread(self, identity: Identity, rooms: Iterable[str], owner: Hashable = None) -> "Deferred[UnreadList]":
        """What is new in the rooms where somebody has a mark, and in `rooms`, as far as they may read them.

        :param rooms: folded names.
        :param owner: one owner's counts wait for one another while others want theirs too.
        """
        return self._turns.take(owner, lambda: Deferred.fromCoroutine(self._unread(identity, rooms)))

    async def _unread(self, identity: Identity, rooms: Iterable[str]) -> UnreadList:
        marks: dict[str, int] = dict.fromkeys(rooms, 0)
        marks.update(self._of_guest(identity.name) if identity.guest else await self._store.read_marks(identity.name))
        for room in await self._unreadable(identity, list(marks)):
            marks.pop(room, None)
        found: list[Unread] = []
        names = sorted(marks)
        for start in range(0, len(names), ROOMS):
            some = {room: marks[room] for room in names[start : start + ROOMS]}
            outlines: Mapping[str, Outline] = await self._store.outlines(some, self._counted)
            found += [self._count(identity.name, room, marks[room], outline) for room, outline in sorted(outlines.items())]
        return UnreadList(found)

    def _of_guest(self, name: str) -> dict[str, int]:
        marks = [(room, seq) for (guest, room), seq in self._guests.items() if guest == name]
        return dict(marks[-self._most :])

    def _count(self, name: str, room: str, read: int, outline: Outline) -> Unread:
        # A restored backup has other events.
        read = min(read, outline.head)
        unread = mentions = 0
        mentioned = {name.casefold(), EVERYBODY}
        for row in outline.rows:
            if row.type == "message" and row.sender != name:
                notes = _notes(row)
                unread += not notes.deleted
                mentions += not mentioned.isdisjoint(notes.mentions)
        return Unread(room, read, outline.head, unread, mentions, outline.head - read > self._counted)


def _notes(row: Row) -> _Notes:
    return _PLAIN if row.extra is None or row.extra == GUEST else _decode_notes(row.extra)
