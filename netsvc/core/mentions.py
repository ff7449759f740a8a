"""Who is named in a text: ``@name``."""

import re
from unicodedata import normalize

__all__ = ["EVERYBODY", "mentions_of"]

EVERYBODY = "@room"
"""Stands for everybody in the room; no name contains an ``@``."""

# Not after a letter or another @: that is an address. The marks are those used in writing some names (see netsvc.core.names).
_MENTION = re.compile(r"(?<![\w@])@(\w[\w.\-\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff\u0e31-\u0e4e]*)")

_LONGEST = 32
"""Characters of a name."""


def mentions_of(text: str, most: int) -> list[str]:
    """The names that a text mentions, casefolded, each once, the first `most` of them; ``@room`` as EVERYBODY.

    Whether anybody has the name is not checked. A dot or a dash at the end belongs to the sentence.
    """
    found: dict[str, None] = {}
    for match in _MENTION.finditer(text):
        # In the form used for names: some keyboards produce letters and their accents separately.
        name = normalize("NFKC", match[1].rstrip(".-")).casefold()
        if len(name) <= _LONGEST:
            found[EVERYBODY if name == EVERYBODY[1:] else name] = None
            if len(found) > most:
                found.popitem()
                break
    return list(found)
