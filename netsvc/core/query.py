"""Search queries: the text of a query parsed into terms and filters, and matched against messages."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import Final, NamedTuple
from unicodedata import normalize

from netsvc.core.names import fold_room_name
from netsvc.core.records import Row
from netsvc.errors import InvalidParams

__all__ = [
    "LONGEST_QUERY",
    "MOST_SPANS",
    "MOST_TERMS",
    "WORDS_LOOKED_AT",
    "Query",
    "SearchPage",
    "Term",
    "fold_name",
    "matches",
    "parse_query",
    "searchable",
    "spans",
]

LONGEST_QUERY: Final = 500
"""Characters of a query."""

MOST_TERMS: Final = 20
"""Words, phrases and filters of a query."""

MOST_SPANS: Final = 100
"""Words that are highlighted in one message."""

WORDS_LOOKED_AT: Final = 3000
"""How many words of a message are searched for them."""

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and Han: written without blanks between words, so each character counts as a word."""

_ONE_CJK = re.compile(f"[{_CJK}]")
_WORD = re.compile(f"[{_CJK}]|(?:(?![{_CJK}])[^\\W_][\u0300-\u036f]*)+")
_PART = re.compile(r'(?P<minus>-?)(?:"(?P<phrase>[^"]*)"(?P<star>\*?)|(?P<word>[^\s"]+))|(?P<quote>")')
_FILTER = re.compile(r"(from|in|before|after):(.*)", re.IGNORECASE | re.DOTALL)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EXAMPLES = {"from": "from:ann", "in": "in:lobby", "before": "before:2026-11-01", "after": "after:2026-11-01"}


class Term(NamedTuple):
    """Consecutive words.

    :ivar words: folded, at least one.
    :ivar prefix: the last word may be the beginning of a longer one.
    """

    words: tuple[str, ...]
    prefix: bool


class Query(NamedTuple):
    """What a message must have, and what it must not.

    :ivar terms: all of them; `without`: none of them.
    :ivar senders: one of these folded names, if there are any; `not_senders`: none of these.
    :ivar rooms: one of these, if there are any.
    :ivar before: only messages older than this, milliseconds since the Unix epoch; `after`: only newer ones or of that moment.
    """

    terms: tuple[Term, ...] = ()
    without: tuple[Term, ...] = ()
    senders: tuple[str, ...] = ()
    not_senders: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    not_rooms: tuple[str, ...] = ()
    before: int | None = None
    after: int | None = None


class SearchPage(NamedTuple):
    """What a store found.

    :ivar hits: rooms and present rows, newest first.
    :ivar highlights: the `spans` of each: finding them takes a while, so the reactor's thread should not do it.
    :ivar position: where the next page starts, as the two parts of a cursor. One of the log if one room was searched, else of the store's own kind.
    :ivar more: there may be more hits.
    :ivar behind: some of the newest events have not been indexed yet.
    """

    hits: list[tuple[str, Row]]
    highlights: list[list[tuple[int, int]]]
    position: tuple[str, int]
    more: bool
    behind: bool = False


def searchable(text: str) -> str:
    """A text as it is indexed: in Unicode's form NFKC, a blank around each character of scripts that are written without blanks."""
    if text.isascii():
        return text
    return _ONE_CJK.sub(r" \g<0> ", normalize("NFKC", text))


def fold_name(name: str) -> str:
    """A sender's name in the form in which it is compared."""
    return normalize("NFKC", name).casefold()


def parse_query(text: str) -> Query:
    """Read a query.

    Words, ``pre*``, ``"phrases"`` and the filters ``from:``, ``in:``, ``before:`` and ``after:`` (a day, in UTC); ``-`` before a word,
    a phrase, ``from:`` or ``in:`` excludes. Anything without letters or digits is ignored.

    :raises InvalidParams: it is not a query; the detail says what is wrong.
    """
    if len(text) > LONGEST_QUERY:
        raise _wrong(f"at most {LONGEST_QUERY} characters")
    reading = _Reading()
    for found in _PART.finditer(text):
        if found["quote"]:
            raise _wrong('a quotation mark is missing: phrases are written "like this"')
        excluding = bool(found["minus"])
        if found["word"] is None:
            reading.term(found["phrase"], bool(found["star"]), excluding)
        elif named := _FILTER.fullmatch(found["word"]):
            reading.filter(named[1].lower(), named[2], excluding)
        else:
            reading.word(found["word"], excluding)
    return reading.query()


class _Reading:
    """A query while it is read."""

    def __init__(self) -> None:
        self._terms: dict[bool, list[Term]] = {False: [], True: []}
        self._names: dict[tuple[str, bool], list[str]] = {(name, excluding): [] for name in ("from", "in") for excluding in (False, True)}
        self._days: dict[str, int] = {}
        self._count = 0

    def word(self, text: str, excluding: bool) -> None:
        """A word, which may end with a star."""
        stem = text.rstrip("*")
        if "*" in stem or (not stem and text):
            raise _wrong(f"a * is only allowed at the end of a word, as in dep*, not in {text!r}")
        self.term(stem, stem != text, excluding)

    def term(self, text: str, prefix: bool, excluding: bool) -> None:
        """A word or a phrase."""
        words = tuple(folded for folded, _, _ in _words(normalize("NFKC", text)))
        if words:
            self._add()
            self._terms[excluding].append(Term(words, prefix))

    def filter(self, name: str, value: str, excluding: bool) -> None:
        """A filter with its value."""
        self._add()
        if not value:
            raise _wrong(f"{name}: needs a value, as in {_EXAMPLES[name]}")
        if name == "from":
            self._names[name, excluding].append(fold_name(value))
        elif name == "in":
            try:
                self._names[name, excluding].append(fold_room_name(value))
            except InvalidParams:
                raise _wrong(f"{value!r} is not a room's name") from None
        elif excluding:
            raise _wrong(f"{name}: cannot be excluded; use before: or after:")
        else:
            bound = _day(name, value)
            earlier = self._days.get(name, bound)
            self._days[name] = min(bound, earlier) if name == "before" else max(bound, earlier)

    def _add(self) -> None:
        self._count += 1
        if self._count > MOST_TERMS:
            raise _wrong(f"at most {MOST_TERMS} words, phrases and filters")

    def query(self) -> Query:
        """The whole query."""
        if not self._count:
            raise _wrong("nothing to search for: write a word, or a filter such as from:ann")
        names = {key: tuple(value) for key, value in self._names.items()}
        return Query(
            tuple(self._terms[False]),
            tuple(self._terms[True]),
            names["from", False],
            names["from", True],
            names["in", False],
            names["in", True],
            self._days.get("before"),
            self._days.get("after"),
        )


def _day(name: str, value: str) -> int:
    """When a day begins in UTC, in milliseconds since the Unix epoch."""
    try:
        if not _DATE.fullmatch(value):
            raise ValueError
        day = date.fromisoformat(value)
    except ValueError:
        raise _wrong(f"{value!r} is not a day: write {_EXAMPLES[name]}") from None
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _wrong(what: str) -> InvalidParams:
    return InvalidParams(f"query: {what}", parameter="query")


def _words(text: str) -> list[tuple[str, int, int]]:
    """The words of a text, folded, and their positions."""
    return [(_fold(found[0]), found.start(), found.end()) for found in _WORD.finditer(text)]


def _fold(word: str) -> str:
    """Lower case without diacritics on Latin letters; the same as SQLite's unicode61 tokenizer with remove_diacritics, except in rare cases."""
    if word.isascii():
        return word.lower()
    return "".join(map(_fold_character, normalize("NFKC", word))).lower()


def _fold_character(character: str) -> str:
    if "\u0300" <= character <= "\u036f":
        return ""
    base = normalize("NFD", character)[0]
    return base if base.isascii() else character


def _places(term: Term, words: Sequence[tuple[str, int, int]]) -> list[int]:
    """The words of a text at which a term is found."""
    return [place for place in range(len(words) - len(term.words) + 1) if _is_at(term, words, place)]


def _is_at(term: Term, words: Sequence[tuple[str, int, int]], place: int) -> bool:
    """Whether a term begins at this word of a text."""
    *first, last = term.words
    end = words[place + len(first)][0]
    return (end.startswith(last) if term.prefix else end == last) and all(words[place + index][0] == word for index, word in enumerate(first))


def matches(query: Query, room: str, sender: str, at: int, text: str) -> bool:
    """Whether a message matches a query."""
    if (query.rooms and room not in query.rooms) or room in query.not_rooms:
        return False
    name = fold_name(sender)
    if (query.senders and name not in query.senders) or name in query.not_senders:
        return False
    if (query.before is not None and at >= query.before) or (query.after is not None and at < query.after):
        return False
    words = _words(text)
    return all(_places(term, words) for term in query.terms) and not any(_places(term, words) for term in query.without)


def spans(query: Query, text: str) -> list[tuple[int, int]]:
    """Where in a text the words of a query are: start and end in characters, ascending, without overlaps.

    At most MOST_SPANS, among the first WORDS_LOOKED_AT words: a long text has thousands of words, and takes milliseconds.
    """
    exact = {term.words[0] for term in query.terms if len(term.words) == 1 and not term.prefix}
    prefixes = tuple(term.words[0] for term in query.terms if len(term.words) == 1 and term.prefix)
    phrases = [term for term in query.terms if len(term.words) > 1]
    enough = MOST_SPANS + max((len(term.words) for term in phrases), default=0)
    words: list[tuple[str, int, int]] = []
    found: set[int] = set()
    for number, match in enumerate(islice(_WORD.finditer(text), WORDS_LOOKED_AT if query.terms else 0)):
        word = _fold(match[0])
        words.append((word, match.start(), match.end()))
        if word in exact or word.startswith(prefixes):
            found.add(number)
        for term in phrases:
            first = number + 1 - len(term.words)
            if first >= 0 and _is_at(term, words, first):
                found.update(range(first, number + 1))
        # The margin is for those that a longer phrase may still find among the first.
        if len(found) >= enough:
            break
    return [words[index][1:] for index in sorted(found)[:MOST_SPANS]]
