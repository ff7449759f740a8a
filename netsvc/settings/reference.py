"""Every key in words: what etc/netsvc.ini and the documentation are made from."""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Final, NamedTuple

import msgspec

from netsvc.settings.sections import Key, keys_of

__all__ = ["KeyReference", "describe", "render"]

_WIDTH: Final = 110
_INDENT: Final = "    "
_PREFACE: Final = """\
# Every key with its default. Lines that begin with # or ; are comments, and a comment needs a line of its own:
# everything after the first = is the value, even # and %. A value of several lines continues on lines that are
# indented deeper than its key. The files FILE.d/*.ini are read after FILE, in the order of their names; the value
# given last applies, and replaces a list as a whole.
"""


class KeyReference(NamedTuple):
    """One key.

    :ivar words: what to write, with its bounds: "a duration: 250ms, 30s, 5m, 2h, 7d, at least 1s".
    :ivar default: as written in a file; a list's items may have a line each.
    """

    section: str
    key: str
    words: str
    default: str
    help: str


def _reference(key: Key) -> KeyReference:
    return KeyReference(key.section, key.name, key.words, key.write(key.default), key.help)


def describe(sections: Mapping[str, type[msgspec.Struct]]) -> list[KeyReference]:
    """Every key of every section, in the order of their declaration."""
    return [_reference(key) for section, struct in sections.items() for key in keys_of(section, struct).values()]


def _comment(text: str) -> Iterator[str]:
    for line in wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def _assignment(reference: KeyReference) -> Iterator[str]:
    first, *rest = reference.default.split("\n")
    if not rest:
        yield f"{reference.key} = {first}".rstrip()
        return
    yield f"{reference.key} ="
    for line in (first, *rest):
        yield f"{_INDENT}{line}"


def _key_lines(reference: KeyReference, active: bool) -> Iterator[str]:
    yield ""
    yield from _comment(reference.help)
    yield from _comment(f"({reference.words})")
    for line in _assignment(reference):
        yield line if active else f"#{line}"


def render(sections: Mapping[str, type[msgspec.Struct]], *, active: bool = False) -> str:
    """A whole INI file: every section with the first line of its docstring, every key with its help and its default.

    :param active: write the keys as they are. Otherwise each is commented out, ``#key = default``, so that a copy of this file
        does not pin the defaults of its day.
    """
    lines = [_PREFACE.rstrip()]
    for section, struct in sections.items():
        title = (struct.__doc__ or "").strip().partition("\n")[0].removeprefix(f"[{section}]").lstrip(": ")
        lines += ["", f"[{section}]", *_comment(title[:1].upper() + title[1:])]
        for key in keys_of(section, struct).values():
            lines += _key_lines(_reference(key), active)
    return "\n".join(lines) + "\n"
