"""What is wrong with the settings, and where it was written."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from netsvc.errors import StartError

__all__ = ["EX_CONFIG", "Fault", "Place", "SettingsError", "nearest", "printable", "quoted"]

EX_CONFIG = 78
"""The exit status of sysexits.h for a configuration error; systemd units stop restarting on it."""

_LONGEST_QUOTE = 60


def printable(text: str) -> str:
    """The text with every character that could move a terminal's cursor, or cannot be encoded, written as an escape."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode("ascii") for character in text)


def quoted(text: str) -> str:
    """A piece of the operator's text in quotes, cut short if it is longer than a line can show."""
    return f'"{text}"' if len(text) <= _LONGEST_QUOTE else f'"{text[:_LONGEST_QUOTE]}..."'


def nearest(name: str, candidates: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` for the candidate most like a name, empty if none is."""
    # The comparison is quadratic, so a name longer than any of ours is cut first.
    folded = name[:_LONGEST_QUOTE].casefold().replace("-", "_")
    matches = get_close_matches(folded, candidates, n=1)
    return f' (did you mean "{matches[0]}"?)' if matches else ""


class Place(NamedTuple):
    """Where something was written.

    :ivar source: the file, as the operator named it, or ``--set section.key``.
    :ivar line: counted from 1; 0 if the source has no lines.
    """

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Fault(NamedTuple):
    """One thing that is wrong.

    :ivar place: where it was written; None if it is a default that does not work here.
    :ivar section: empty if it is not about one.
    :ivar key: empty if it is about the section, or the file.
    :ivar problem: what is wrong and what would be right.
    """

    place: Place | None
    section: str
    key: str
    problem: str

    def __str__(self) -> str:
        """``FILE:LINE: [section] key: problem`` or ``--set section.key: problem``, always one printable line."""
        parts = [] if self.place is None else [str(self.place)]
        # An override's place already names its section and key.
        if self.place is None or not self.place.source.startswith("--set"):
            section = f"[{self.section[:_LONGEST_QUOTE]}]" if self.section else ""
            parts.append(f"{section} {self.key[:_LONGEST_QUOTE]}".strip())
        return printable(": ".join(part for part in (*parts, self.problem) if part))


class SettingsError(StartError):
    """The settings are wrong. Its detail is one line for each fault; the exit status is 78 (EX_CONFIG).

    :param faults: every fault that was found, in the order of files and lines.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)), EX_CONFIG)
        self.faults = tuple(faults)
