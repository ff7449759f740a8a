"""Group commit whose bad members fail alone."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from netsvc.errors import StoreUnavailable
from netsvc.store.sqlite.transactions import unavailable

__all__ = ["commit_all"]

T = TypeVar("T")

_GIVE_UP: Final = 3
"""How many members in a row may fail through no fault of their own before the rest are no longer tried."""


def commit_all(members: Sequence[T], commit: Callable[[Sequence[T]], None], refuse: Callable[[T, StoreUnavailable], None]) -> StoreUnavailable | None:
    """Commit members together; if that fails, in halves down to each alone, always in their order.

    Halving finds one bad member of a thousand in 20 transactions instead of a thousand. When the disk is full or breaks, all would
    fail: then the rest are refused untried.

    :param commit: commits a part in one transaction, or raises and leaves no trace.
    :param refuse: told of each member that is not committed, and why.
    :returns: the error of the database or the disk with the last part, None if that was committed or was itself at fault.
    """
    parts = [members]
    failures = 0
    trouble: StoreUnavailable | None = None
    while parts:
        part = parts.pop()
        if trouble is not None and failures >= _GIVE_UP:
            _refuse_all(part, trouble, refuse)
            continue
        try:
            commit(part)
        except Exception as error:
            if _is_busy(error):  # it has waited long enough already
                failures = _GIVE_UP
            elif len(part) > 1:
                middle = len(part) // 2
                parts += (part[middle:], part[:middle])
                continue
            why = unavailable("write", error)
            _refuse_all(part, why, refuse)
            if _is_environment(error):
                trouble = why
                failures += 1
            continue
        failures = 0
        trouble = None
    return trouble


def _refuse_all(part: Sequence[T], why: StoreUnavailable, refuse: Callable[[T, StoreUnavailable], None]) -> None:
    for member in part:
        refuse(member, why)


def _is_environment(error: Exception) -> bool:
    """Whether the database or the disk is at fault, and not what was to be stored: text that is not UTF-8, a number too large."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
