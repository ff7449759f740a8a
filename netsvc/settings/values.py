"""How the values of each type are written in a file, and read back."""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from netsvc.settings.endpoints import check_endpoint
from netsvc.settings.faults import nearest, quoted

__all__ = ["FORMS", "Duration", "Endpoints", "Form", "Help", "Lines", "Size", "choice", "items"]


class Help(str):
    """One line of documentation of a key: ``port: Annotated[int, Help("Where to listen")] = 80``."""

    __slots__ = ()


class Form(msgspec.Struct, frozen=True):
    """The form in which the values of a type are written; a marker in ``Annotated`` for types that are not written like their base type.

    :ivar words: what to write, for documentation and for faults: "a number of bytes: 512, 16KiB, 10MB".
    :ivar read: one line of text to the value; of a list, to a tuple of items. ValueError says what is wrong with it.
    :ivar write: the value to text that reads back as the same; of a list, one line for each item if one line does not suffice.
    :ivar listed: the value is a tuple, its text may have any number of lines.
    """

    words: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    listed: bool = False


_BOOLEANS: Final = {"yes": True, "no": False, "on": True, "off": False, "true": True, "false": False}


def _read_boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError(f"write yes or no, not {quoted(text)}{nearest(text, _BOOLEANS)}") from None


def _write_boolean(value: bool) -> str:
    return "yes" if value else "no"


# The digits are limited, so that no text takes long to convert, and must be ASCII.
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


def _read_integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise ValueError(f"write a whole number, not {quoted(text)}")
    return int(text)


def _read_number(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else float("nan")
    if not isfinite(value):
        raise ValueError(f"write a number like 10 or 0.5, not {quoted(text)}")
    return value


def _write_number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,30})?) ?([A-Za-z]*)", re.ASCII)

# In milliseconds, so that a text like 250ms is the float nearest to it.
_DURATIONS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def _read_duration(text: str) -> float:
    found = _QUANTITY.fullmatch(text)
    unit = _DURATIONS.get(found[2] or "s") if found else None
    if found is None or unit is None:
        raise ValueError(f"not a duration: {quoted(text)}; write it like 250ms, 30s, 5m, 2h or 7d")
    # Dividing a whole number is exact where multiplying by 0.001 is not.
    return float(found[1]) / 1000 if unit == 1 else float(found[1]) * (unit // 1000)


def _write_duration(value: float) -> str:
    milliseconds = round(value * 1000)
    for unit, factor in _DURATIONS.items():
        if milliseconds and milliseconds % factor == 0 and milliseconds / 1000 == value:
            return f"{milliseconds // factor}{unit}"
    return f"{Decimal(_write_number(value)):f}s"


_SIZES: Final = {"GiB": 1 << 30, "GB": 10**9, "MiB": 1 << 20, "MB": 10**6, "KiB": 1 << 10, "KB": 1000, "B": 1}
_SIZES_FOLDED: Final = {unit.lower(): factor for unit, factor in _SIZES.items()}


def _read_size(text: str) -> int:
    found = _QUANTITY.fullmatch(text)
    factor = _SIZES_FOLDED.get((found[2] or "B").lower()) if found else None
    if found is None or factor is None or "." in found[1]:
        raise ValueError(f"not a size: {quoted(text)}; write it like 512 (bytes), 16KiB, 1MiB or 10MB")
    return int(found[1]) * factor


def _write_size(value: int) -> str:
    for unit, factor in _SIZES.items():
        if value and factor > 1 and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _read_path(text: str) -> Path:
    if not text:
        raise ValueError("empty; write a path")
    if text[0] in "\"'":
        raise ValueError(f"write the path without quotes, not {text}")
    if text[0] == "~":
        raise ValueError(f"~ is not expanded; write the whole path, not {quoted(text)}")
    if " #" in text or " ;" in text:
        raise ValueError(f"a comment needs a line of its own, it would be part of the path {quoted(text)}")
    return Path(text)


def _one_word(text: str) -> bool:
    return len(text.split()) == 1 and "," not in text


def _read_lines(text: str) -> tuple[str, ...]:
    parts = tuple(part for part in map(str.strip, text.split(",")) if part)
    return parts if all(map(_one_word, parts)) else (text,)


def _write_lines(value: Iterable[str]) -> str:
    items = list(value)
    row = ", ".join(items)
    return row if all(map(_one_word, items)) and len(row) <= 100 else "\n".join(items)


def _read_endpoints(text: str) -> tuple[str, ...]:
    check_endpoint(text)
    return (text,)


def choice(values: Iterable[Any]) -> Form:
    """The form of a ``Literal``: one of its values, as ``str`` writes it."""
    known = {str(value): value for value in values}
    words = "one of " + ", ".join(known)

    def read(text: str) -> Any:
        try:
            return known[text]
        except KeyError:
            raise ValueError(f"write {words}, not {quoted(text)}{nearest(text, known)}") from None

    return Form(words, read, str)


_LINES: Final = Form("a list: one item per line, or single words separated by commas", _read_lines, _write_lines, listed=True)


def items(check: Callable[[str], object]) -> Form:
    """The form of `Lines` whose items are checked one by one.

    :param check: raises ValueError with what is wrong with an item.
    """

    def read(text: str) -> tuple[str, ...]:
        parts = _read_lines(text)
        for part in parts:
            check(part)
        return parts

    return Form(_LINES.words, read, _write_lines, listed=True)


FORMS: Final[dict[Any, Form]] = {
    bool: Form("yes or no", _read_boolean, _write_boolean),
    int: Form("a whole number", _read_integer, str),
    float: Form("a number", _read_number, _write_number),
    str: Form("text", str, str),
    Path: Form("a path; a relative one starts from the daemon's working directory", _read_path, str),
    tuple[str, ...]: _LINES,
}
"""The forms of base types."""

Duration = Annotated[float, Form("a duration: 250ms, 30s, 5m, 2h, 7d", _read_duration, _write_duration)]
"""Seconds. In a file with a unit (ms, s, m, h, d); a bare number is seconds."""

Size = Annotated[int, Form("a size: 512 (bytes), 16KiB, 1MiB, 10MB", _read_size, _write_size)]
"""Bytes. In a file with a unit, KiB MiB GiB (of 1024) or KB MB GB (of 1000), in upper or lower case; a bare number is bytes."""

Lines = Annotated[tuple[str, ...], _LINES]
"""Items, one per line. A line of single words separated by commas is several items."""

Endpoints = Annotated[tuple[str, ...], Form("Twisted endpoints, one per line", _read_endpoints, "\n".join, listed=True)]
"""Twisted server endpoint strings, one per line, each of a known type and with the arguments of that type."""
