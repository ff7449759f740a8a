"""Searching the memory store, by looking at everything."""

from collections.abc import Iterable

from netsvc.core.query import Query, SearchPage, matches, searchable, spans
from netsvc.core.records import Row
from netsvc.store.search_positions import Positions

__all__ = ["search_everything"]

_PER_MILLISECOND = 10_000
"""A place in the log of all rooms is a time, and a number among the messages of that millisecond."""


def search_everything(
    epoch: str,
    positions: Positions,
    messages: Iterable[tuple[str, Row]],
    query: Query,
    before: tuple[str, int] | None,
    limit: int,
    hidden: frozenset[str],
) -> SearchPage:
    """IStore.search on rooms and rows in any order.

    :raises InvalidParams: `before` comes from another store.
    """
    places: list[tuple[int, str, Row]] = []
    counts: dict[int, int] = {}
    for room, row in sorted(messages, key=lambda one: (one[1].at, one[0], one[1].seq)):
        counts[row.at] = number = counts.get(row.at, -1) + 1
        places.append((row.at * _PER_MILLISECOND + number, room, row))
    one_room = len(query.rooms) == 1
    of_event = one_room and before is not None and before[0] == epoch
    bound = None if before is None else before[1] if of_event else positions.number(before)
    found = []
    for place, room, row in reversed(places):
        position = (epoch, row.seq) if one_room else positions.of(place)
        if bound is not None and (row.seq if of_event else place) >= bound:
            continue
        if room not in hidden and row.type == "message" and row.text and matches(query, room, row.sender, row.at, searchable(row.text)):
            found.append((position, room, row))
    hits = found[:limit]
    position = hits[-1][0] if hits else before or (epoch, 0)
    highlights = [spans(query, row.text or "") for _, _, row in hits]
    return SearchPage([(room, row) for _, room, row in hits], highlights, position, len(found) > limit)
