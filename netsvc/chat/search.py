"""The procedure ``chat.search``."""

from typing import Annotated

from msgspec import Meta
from twisted.internet.defer import Deferred

from netsvc.core.history import MOST
from netsvc.core.procedures import Call, procedure
from netsvc.core.query import LONGEST_QUERY
from netsvc.core.search import Found, Searches

__all__ = ["SearchProcedures"]

Limit = Annotated[int, Meta(ge=1, le=MOST, description="most messages in the answer")]
Text = Annotated[str, Meta(max_length=LONGEST_QUERY, description='words, pre*, "phrases", from:ann, in:lobby, before:2026-11-01, after:…; - excludes')]


class SearchProcedures:
    """``chat.search``.

    :param searches: finds messages.
    """

    def __init__(self, searches: Searches) -> None:
        self._searches = searches

    @procedure("chat.search", role="guest", cost=5, reads=True)
    def search(self, call: Call, query: Text, room: str | None = None, limit: Limit = 50, before: str | None = None) -> Deferred[Found]:
        """Messages with these words, newest first, in one room or in all that the caller may read.

        For the next page, give the answer's cursor as `before`.
        """
        return self._searches.search(call.caller, query, room, before, limit, call.budget)
