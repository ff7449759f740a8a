"""JSON values as tables for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from netsvc.cli.output import visible

__all__ = ["as_table", "leaves", "show_table"]


def show_table(value: Any) -> None:
    """Print a value as a table, as wide as the terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    for part in as_table(value):
        console.print(part)


def as_table(value: Any) -> Iterator[RenderableType]:
    """A list of objects has a row for each, an object a row for each member; lists of objects inside it have tables of their own.

    Nothing in it can control a terminal.
    """
    if _is_rows(value):
        yield _rows(value)
    elif isinstance(value, Mapping):
        inner = {key: member for key, member in value.items() if _is_rows(member)}
        rest = {key: member for key, member in value.items() if key not in inner}
        if rest:
            table = _grid()
            for path, text in leaves("", rest):
                table.add_row(_cell(path), _cell(text))
            yield table
        for key, member in inner.items():
            yield Text(visible(key), style="bold")
            yield _rows(member)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        table = _grid()
        for member in value:
            table.add_row(_cell(_words(member)))
        yield table
    else:
        yield _cell(_words(value))


def leaves(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """The leaves of a JSON value, each with its path."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(f"{prefix}.{key}" if prefix else key, inner)
    else:
        yield prefix, _words(value)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _rows(rows: list[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(_cell(column), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(_words(row[column])) if column in row else "" for column in columns))
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    return table


def _words(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _cell(text: str) -> Text:
    # Text, not str: rich would take brackets as its markup.
    return Text(visible(text))
