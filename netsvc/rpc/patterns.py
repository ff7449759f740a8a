r"""The ``pattern`` of a JSON Schema: whether a text can be a regular expression.

JSON Schema means those of ECMA-262 (draft 7 of its validation, section 4.3). Which edition, with which flag, or even which other language
is up to whoever reads a schema: ajv compiles them with the flag ``u``, Python's jsonschema with ``re``. So a text passes if one of these
accepts it: ECMA-262 (22.2.1, and B.1.2 for what browsers accept besides), or Python's ``re`` with its flags and ``(?P<name>)``. What is
refused is wrong in all of them: groups and sets without an end, quantifiers of nothing, bounds and ranges that end before they begin. A
text that is wrong only because it mixes two languages passes.

Nothing is compiled: that takes seconds for some texts that a stranger may send. One pass looks at each character once.
"""

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["check_pattern"]

_TOKEN: Final = re.compile(
    r"""
      (?P<edge> [\^$] | \\[bB] )
    | (?P<escape> \\ (?: u\{[0-9a-fA-F]+\} | [pP]\{[^{}]*\} | k<[^<>]*> | . ) | \(\?P=\w+\) )
    | (?P<set> \[ \^? (?P<members> (?: [^\]\\] | \\. )* ) \] )
    | (?P<aside> \A (?: \(\?[aiLmsux]+\) )+ | \(\?\#[^)]*\) )
    | (?P<group> \( (?: \? (?: [:=!>] | <[=!] | P?<[^<>]+> | [a-z]*(?:-[a-z]+)?: | \(\w+\) ) )? )
    | (?P<end> \) )
    | (?P<quantifier> (?: [*+?] | \{ (?P<least>[0-9]+) (?: , (?P<most>[0-9]+)? )? \} ) [?+]? )
    | (?P<bar> \| )
    | (?P<unfinished> [\[\\] )
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_MEMBER: Final = r"""
    \\ (?: u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2} | u\{[0-9a-fA-F]+\} | u[0-9a-fA-F]{4} | x[0-9a-fA-F]{2} | [pP]\{[^{}]*\} | . ) | [^\\]
"""
_RANGE: Final = re.compile(rf"(?P<first>{_MEMBER}) - (?P<last>{_MEMBER}) | {_MEMBER}", re.VERBOSE | re.DOTALL)
_BY_NUMBER: Final = re.compile(r"\\[ux]\{?([0-9a-fA-F]+)\}?")


def check_pattern(pattern: str) -> None:
    """Raise ValueError, saying what is wrong, if the text is not a regular expression in any of these languages."""
    groups: list[re.Match[str]] = []
    repeatable = False
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup
        if kind == "unfinished":
            raise _wrong("no end to", token)
        if kind == "group":
            groups.append(token)
        elif kind == "end":
            if not groups:
                raise _wrong("no beginning to", token)
            groups.pop()
        elif kind == "set":
            _check_ranges(token)
        elif kind == "quantifier":
            if not repeatable:
                raise _wrong("nothing to repeat before", token)
            _check_bounds(token)
        if kind != "aside":
            repeatable = kind not in ("edge", "group", "quantifier", "bar")
    if groups:
        raise _wrong("no end to", groups[-1])


def _wrong(what: str, token: re.Match[str]) -> ValueError:
    return ValueError(f'{what} "{token[0][:20]}" at character {token.start() + 1}')


def _check_bounds(token: re.Match[str]) -> None:
    least, most = token["least"], token["most"]
    # As text: there may be more digits than Python turns into a number.
    if most and least.zfill(len(most)) > most.zfill(len(least)):
        raise _wrong("the maximum is less than the minimum in", token)


def _check_ranges(token: re.Match[str]) -> None:
    for found in _RANGE.finditer(token["members"]):
        if found["first"] is not None and any(first > last for first in _codes(found["first"]) for last in _codes(found["last"])):
            raise _wrong(f'"{found[0][:20]}" is the wrong way round in', token)


def _codes(member: str) -> Iterator[int]:
    """The code point of a member of a set, if it is known."""
    by_number = _BY_NUMBER.fullmatch(member)
    if by_number:
        yield int(by_number[1], 16)
    elif len(member) == 1 or (len(member) == 2 and not member[1].isalnum()):
        yield ord(member[-1])
