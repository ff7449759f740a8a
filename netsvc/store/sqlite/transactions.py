"""The few ways in which this package uses a connection."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from sqlite3 import Connection, Error
from typing import Any

from netsvc.errors import StoreUnavailable

__all__ = ["Value", "availability", "end", "rows_of", "transaction", "unavailable", "value_of"]

Value = int | float | str | bytes | None
"""What SQLite keeps in a column."""


def rows_of(connection: Connection, query: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query, which is complete when this returns.

    A half-read query would hold its snapshot of the database, and no checkpoint could get past it: the write-ahead log would grow.
    """
    return connection.execute(query, parameters).fetchall()


def value_of(connection: Connection, query: str, parameters: Sequence[Value] = ()) -> Any:
    """The first column of the first row; None if there is no row."""
    rows = rows_of(connection, query, parameters)
    return rows[0][0] if rows else None


def end(connection: Connection) -> None:
    """Roll back an open transaction. Errors are ignored here: SQLite itself rolls back after the worst ones, which have been raised already."""
    if connection.in_transaction:
        with suppress(Error):
            connection.execute("ROLLBACK")


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction that takes the write lock at its beginning, so it never fails half-way because another has written meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        end(connection)
        raise


def unavailable(verb: str, error: Exception) -> StoreUnavailable:
    """The error that a client may see: what could not be done, and what SQLite says about it.

    :param verb: "read" or "write".
    """
    return StoreUnavailable(f"the store could not {verb}: {error}")


@contextmanager
def availability(verb: str) -> Iterator[None]:
    """Turn SQLite's errors into StoreUnavailable."""
    try:
        yield
    except Error as error:
        raise unavailable(verb, error) from error
