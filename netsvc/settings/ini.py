"""The lines of an INI file: which keys it gives, and where.

A line is a comment (``#`` or ``;`` first), a header (``[section]``), ``key = value``, or, if it is indented deeper than the key
above it, a further line of that key's value. Everything after the first ``=`` is the value, without the blanks around it: percent
signs, further ``=``, quotes, ``#`` and ``;`` are part of it, so a comment needs a line of its own. A section may be opened again; a key
may be given only once in a file.

``configparser`` is not used: it keeps no line numbers, takes ``:`` as well as ``=`` (endpoints are full of colons), and stops at some
faults even if there are others.
"""

import re
from codecs import BOM_UTF8
from typing import NamedTuple

import msgspec

from netsvc.settings.faults import Fault, Place, quoted

__all__ = ["Entry", "Header", "IniFile", "Line", "parse_ini", "unreadable"]

_HEADER = re.compile(r"\[([^\[\]]*)\]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


class Line(NamedTuple):
    """One line of a value, without the blanks around it."""

    place: Place
    text: str


class Header(NamedTuple):
    """One ``[section]`` line."""

    place: Place
    section: str


class Entry(msgspec.Struct):
    """One key as it was given: the lines of its value that are not empty."""

    place: Place
    section: str
    key: str
    lines: list[Line]


class IniFile(msgspec.Struct):
    """What a file says, and which parts of it cannot be read."""

    headers: list[Header]
    entries: list[Entry]
    faults: list[Fault]


def unreadable(text: str) -> str:
    """Why a line of text cannot be part of a setting; empty if it can."""
    found = _CONTROL.search(text)
    if found is None:
        return ""
    # Bytes of the command line that are not UTF-8 arrive as lone surrogates (PEP 383).
    if found[0] >= "\ud800":
        return "not UTF-8"
    return f"a control character (U+{ord(found[0]):04X}) at column {found.start() + 1}"


class _Reader:
    """Reads line after line.

    `section` is "" before the first header and None after a faulty one, whose keys belong nowhere. `entry` is the key that a deeper
    line continues, and `indent` its depth; after a faulty line it is an entry that is dropped, so that one mistake is one fault.
    """

    def __init__(self) -> None:
        self.file = IniFile([], [], [])
        self.section: str | None = ""
        self.entry: Entry | None = None
        self.indent = 0
        self.first: dict[tuple[str, str], Entry] = {}

    def line(self, place: Place, line: str) -> None:
        text = line.strip()
        if not text or text[0] in "#;":
            return
        problem = unreadable(text)
        if problem:
            self._fault(place, "", problem)
            return
        indent = len(line) - len(line.lstrip())
        if self.entry is not None and indent > self.indent:
            self.entry.lines.append(Line(place, text))
            return
        self.indent = indent
        if text[0] == "[":
            self._header(place, text)
        else:
            self._key(place, text)

    def _fault(self, place: Place, key: str, problem: str) -> None:
        self.file.faults.append(Fault(place, self.section or "", key, problem))

    def _header(self, place: Place, text: str) -> None:
        self.entry = None
        found = _HEADER.match(text)
        if found is None or found.end() != len(text):
            self.section = None
            self._fault(place, "", f"a section's header is [name] on a line of its own, not {quoted(text)}")
            return
        self.section = found[1].strip()
        self.file.headers.append(Header(place, self.section))

    def _key(self, place: Place, text: str) -> None:
        key, equals, value = (part.strip() for part in text.partition("="))
        self.entry = Entry(place, self.section or "", key, [Line(place, value)] if value else [])
        if self.section is None:
            return
        if not equals:
            name, colon, rest = (part.strip() for part in text.partition(":"))
            better = f' (did you mean "{name} = {rest}"?)' if colon and len(text) < 60 else ""
            self._fault(place, "", f"not of the form key = value: {quoted(text)}{better}")
        elif not key:
            self._fault(place, "", f"no key before the =: {quoted(text)}")
        elif not self.section:
            self._fault(place, key, "comes before the first [section] header")
        elif (first := self.first.setdefault((self.section, key), self.entry)) is not self.entry:
            self._fault(place, key, f"given twice, first on line {first.place.line}")
        else:
            self.file.entries.append(self.entry)


def parse_ini(source: str, data: bytes) -> IniFile:
    """Read the bytes of a file, UTF-8 with or without a byte order mark.

    :param source: the file's name, for the places. Never raises: what is wrong is in the result.
    """
    reader = _Reader()
    if b"\0" in data:
        # One fault says more than a fault for each line of a UTF-16 or binary file.
        place = Place(source, data.count(b"\n", 0, data.index(b"\0")) + 1)
        reader.file.faults.append(Fault(place, "", "", "not a text file in UTF-8 (it has zero bytes: is it UTF-16?)"))
        return reader.file
    for number, raw in enumerate(data.removeprefix(BOM_UTF8).split(b"\n"), 1):
        place = Place(source, number)
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            problem = f"not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}; save the file as UTF-8"
            reader.file.faults.append(Fault(place, "", "", problem))
        else:
            reader.line(place, line)
    return reader.file
