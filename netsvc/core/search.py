"""Searching the messages of the rooms that somebody may read."""

from collections.abc import Callable, Hashable, Mapping

import msgspec
from twisted.internet.defer import Deferred, succeed

from netsvc.core.access import absent
from netsvc.core.events import Event, cursor_of, event_of
from netsvc.core.fairness import Turns
from netsvc.core.history import check_limit, position
from netsvc.core.identity import Identity
from netsvc.core.names import fold_room_name
from netsvc.core.query import SearchPage, parse_query
from netsvc.core.records import RoomInfo
from netsvc.errors import Forbidden, InvalidParams
from netsvc.interfaces import IStore

__all__ = ["Found", "Searches", "nothing_hidden"]


class Found(msgspec.Struct):
    """Messages, newest first.

    :ivar highlights: for each event, where the first 100 words found are in its text, as pairs of start and end in characters (code points).
    :ivar cursor: where the next page starts; give it as ``before``.
    :ivar more: there may be more messages.
    :ivar behind: some of the newest events, in rooms that the caller may read or in others, are not indexed yet: the server cannot keep up.
    """

    events: list[Event]
    highlights: list[list[tuple[int, int]]]
    cursor: str
    more: bool
    behind: bool


def nothing_hidden(identity: Identity, rooms: list[str] | None) -> "Deferred[dict[str, str]]":
    """For when every room is public."""
    return succeed({})


class Searches:
    """Finds messages, one search at a time, as a store can do no more; callers take turns, so nobody waits for somebody else's many.

    :param store: the log.
    :param hidden: which of some rooms (None: of all) somebody may not read, each with its access.
    """

    def __init__(self, store: IStore, hidden: "Callable[[Identity, list[str] | None], Deferred[dict[str, str]]]" = nothing_hidden) -> None:
        self._store = store
        self._hidden = hidden
        self._turns = Turns(1)

    def search(self, identity: Identity, text: str, room: str | None, before: str | None, limit: int, owner: Hashable = None) -> "Deferred[Found]":
        """Messages that match, newest first, from rooms that the identity may read.

        :param owner: one owner's searches wait for one another while others want to search too.
        :param text: the query (see parse_query).
        :param before: the cursor of an earlier answer; with one room also that of an event in it.
        :raises InvalidParams: a bad query, room name, cursor or limit; by way of the Deferred if `before` is of a search index that is gone.
        :raises NotFound: a room that the query names does not exist, as far as this identity may know.
        :raises Forbidden: the identity may not read a room that the query names.
        """
        query = parse_query(text)
        if room is not None:
            if query.rooms:
                raise InvalidParams("query: give in: or the param room, not both", parameter="query")
            query = query._replace(rooms=(fold_room_name(room),))
        check_limit(limit, 1)
        behind = position("before", before)
        end = (self._store.epoch, 0)  # the cursor of an answer without messages
        if behind is not None and behind != end and behind[0] == self._store.epoch and len(query.rooms) != 1:
            raise InvalidParams("before: the cursor of an event only works in one room; give the cursor of the last answer", parameter="before")

        def allowed(hidden: Mapping[str, str]) -> "Deferred[SearchPage]":
            if behind == end:
                return self._exist(list(query.rooms), hidden).addCallback(lambda _: SearchPage([], [], end, False))
            found = self._exist(list(query.rooms), hidden).addCallback(lambda _: self._store.search(query, behind, limit, frozenset(hidden)))
            return found.addCallback(visible)

        def visible(page: SearchPage) -> "SearchPage | Deferred[SearchPage]":
            # Somebody may also have been shut out during the search, which first takes up what has just been said.
            return self._hidden(identity, list({room for room, _ in page.hits})).addCallback(shown, page) if page.hits else page

        def shown(hidden: Mapping[str, str], page: SearchPage) -> "SearchPage | Deferred[SearchPage]":
            kept = [index for index, (room, _) in enumerate(page.hits) if room not in hidden]
            if len(kept) == len(page.hits):
                return page
            left = page._replace(hits=[page.hits[index] for index in kept], highlights=[page.highlights[index] for index in kept])
            return self._exist(list(query.rooms), hidden).addCallback(lambda _: left)

        # What is hidden is looked up when it is their turn: somebody may have been shut out while they waited.
        searching = self._turns.take(owner, lambda: self._hidden(identity, list(query.rooms) or None).addCallback(allowed))
        return searching.addCallback(self._found, before)

    def _exist(self, names: list[str], hidden: Mapping[str, str]) -> "Deferred[None]":
        """NotFound if one of these rooms does not exist, or is secret; Forbidden if it may not be read for another reason."""
        if not names:
            return succeed(None)
        name = names.pop()

        def known(info: RoomInfo | None) -> "Deferred[None]":
            if info is None or hidden.get(name) == "secret":
                raise absent(name)
            if name in hidden:
                raise Forbidden(f"you may not read {name}")
            return self._exist(names, hidden)

        return self._store.room(name).addCallback(known)

    def _found(self, page: SearchPage, before: str | None) -> Found:
        epoch = self._store.epoch
        events = [event_of(epoch, room, row) for room, row in page.hits]
        cursor = cursor_of(*page.position) if page.more or events else before or cursor_of(epoch, 0)
        return Found(events, page.highlights, cursor, page.more, page.behind)
