"""What users, guests and rooms may be called."""

import re
from base64 import b32encode
from functools import lru_cache
from unicodedata import category, normalize
from unicodedata import name as name_of_character

from netsvc.errors import InvalidParams

__all__ = ["GUEST_PREFIX", "fold_room_name", "fold_user_name", "generated_guest_name", "registered_form", "tidy_guest_name"]

GUEST_PREFIX = "guest-"
"""The start of every generated guest name and of no user's, so generated names never need a look-up."""

LONGEST_NAME = 32
"""Characters of a user's or a guest's name."""

_ROOM = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
_USER = re.compile(rf"(?!{GUEST_PREFIX})[a-z0-9][a-z0-9_.-]{{0,{LONGEST_NAME - 1}}}", re.ASCII)

# Invisible letters and marks (Default_Ignorable_Code_Point of UAX 44), which would make two names look the same.
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0" + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)

# Scripts with many similar letters: a name may have letters of one of them, else Cyrillic
# U+0430 passes for a.
_ALIKE = frozenset(("ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK", "LATIN"))

# As many marks on one letter as some languages write (Vietnamese has none left after NFKC, Hebrew has two); more of them deface other lines.
_MOST_MARKS = 2


@lru_cache(maxsize=1024)  # each post and join asks, mostly for the same few
def fold_room_name(room: str) -> str:
    """A room's name in lower case.

    :raises InvalidParams: it is not ``[a-z0-9][a-z0-9_.-]{0,63}``.
    """
    if _ROOM.fullmatch(room):
        return room
    # Beyond ASCII lower() has surprises: the Kelvin sign becomes k.
    folded = room.lower() if room.isascii() else ""
    if _ROOM.fullmatch(folded):
        return folded
    raise InvalidParams("room: 1 to 64 letters a-z, digits, dots, dashes and underscores; the first is a letter or a digit", parameter="room")


def fold_user_name(name: str) -> str:
    """A user's name in lower case: 1 to 32 of a-z, digits, ``.``, ``-`` and ``_``, the first a letter or a digit.

    :raises InvalidParams: it is not such a name, or begins like a generated guest name.
    """
    folded = name.lower() if name.isascii() else ""
    if _USER.fullmatch(folded):
        return folded
    if folded.startswith(GUEST_PREFIX):
        raise InvalidParams(f"name: names that begin with {GUEST_PREFIX} are for guests", parameter="name")
    raise InvalidParams(f"name: 1 to {LONGEST_NAME} letters a-z, digits, dots, dashes and underscores; the first is a letter or a digit", parameter="name")


def tidy_guest_name(name: str) -> str:
    """A name that a guest asks for, in Unicode's form NFKC: 1 to 32 letters and digits of any language, ``.``, ``-`` and ``_``.

    It has no blank, no ``<`` or ``>``, nothing invisible and nothing that changes the writing direction, so a line that begins with a
    name cannot be taken for somebody else's. Letters of scripts that look alike (Latin, Cyrillic, Greek …) are not mixed.

    :raises InvalidParams: the name is not like this.
    """
    # NFKC can turn one character into 18: cut first, so that folding is never slow.
    tidy = normalize("NFKC", name) if len(name) <= 2 * LONGEST_NAME else ""
    if not 1 <= len(tidy) <= LONGEST_NAME:
        raise InvalidParams(f"name: 1 to {LONGEST_NAME} characters", parameter="name")
    if category(tidy[0])[0] != "L" and category(tidy[0]) != "Nd":
        raise InvalidParams("name: begins with a letter or a digit", parameter="name")
    marks = 0
    for character in tidy:
        kind = category(character)
        marks = marks + 1 if kind[0] == "M" else 0
        allowed = kind[0] in "LM" or kind == "Nd" or character in "._-"
        if not allowed or marks > _MOST_MARKS or character in _INVISIBLE:
            raise InvalidParams("name: letters, digits, dots, dashes and underscores only", parameter="name")
    if len(_scripts(tidy) & _ALIKE) > 1:
        raise InvalidParams("name: letters of scripts that look alike cannot be mixed", parameter="name")
    return tidy


def _scripts(text: str) -> set[str]:
    """The first words of the letters' names, which are those of their scripts."""
    return {name_of_character(character, "").partition(" ")[0] for character in text if category(character)[0] == "L"}


def registered_form(guest: str) -> str | None:
    """The user's name for which this (tidy) guest name could be mistaken, None if no user can have such a name."""
    folded = guest.casefold()
    return folded if _USER.fullmatch(folded) else None


def generated_guest_name(seed: bytes) -> str:
    """``guest-`` and 6 base32 characters from the first 4 bytes of `seed`, which should look random."""
    return GUEST_PREFIX + b32encode(seed[:4]).decode("ascii")[:6].lower()
