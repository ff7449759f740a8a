"""What the commands print."""

import json
from collections.abc import Iterable, Sequence
from time import gmtime, strftime

import click

__all__ = ["day", "note", "table", "visible"]


def visible(text: str) -> str:
    r"""The text with everything that could move a terminal's cursor escaped as in JSON (``\u001b``), except newlines."""
    return "".join(character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in text)


def note(text: str) -> None:
    """Say something that is not the result: on stderr, so that the result can be piped."""
    click.echo(f"netsvc: {visible(text)}", err=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under a head, in columns that are as wide as they need to be."""
    lines = [tuple(head), *(tuple(map(visible, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def day(milliseconds: int) -> str:
    """A time since the Unix epoch as text, in UTC to the minute."""
    return strftime("%Y-%m-%d %H:%MZ", gmtime(milliseconds / 1000))
