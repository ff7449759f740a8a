"""Searching the memory store, by looking at everything."""

from collections.abc import Iterable

from netsvc.core.query import Query, SearchPage, matches, searchable
from netsvc.core.records import Row
from netsvc.errors import InvalidParams

__all__ = ["search_everything", "stale_position"]

_PER_MILLISECOND = 10_000
"""A place in the log of all rooms is a time, and a number among the messages of that millisecond."""

_MARK = "all"


def stale_position() -> InvalidParams:
    """The error for a position that says nothing any more."""
    return InvalidParams("before: there is no such place any more; search again without it", parameter="before")


def search_everything(
    epoch: str, messages: Iterable[tuple[str, Row]], query: Query, before: tuple[str, int] | None, limit: int, hidden: frozenset[str]
) -> SearchPage:
    """IStore.search on rooms and rows in any order.

    :raises InvalidParams: `before` is of another store.
    """
    places: list[tuple[int, str, Row]] = []
    counts: dict[int, int] = {}
    for room, row in sorted(messages, key=lambda one: (one[1].at, one[0], one[1].seq)):
        counts[row.at] = number = counts.get(row.at, -1) + 1
        places.append((row.at * _PER_MILLISECOND + number, room, row))
    one_room = len(query.rooms) == 1
    if before is not None and before[0] not in ((epoch, _MARK) if one_room else (_MARK,)):
        raise stale_position()
    found = []
    for place, room, row in reversed(places):
        position = (epoch, row.seq) if one_room else (_MARK, place)
        if before is not None and (row.seq if before[0] == epoch else place) >= before[1]:
            continue
        if room not in hidden and row.type == "message" and row.text and matches(query, room, row.sender, row.at, searchable(row.text)):
            found.append((position, room, row))
    hits = found[:limit]
    position = hits[-1][0] if hits else before or (epoch, 0)
    return SearchPage([(room, row) for _, room, row in hits], position, len(found) > limit)
