"""The keys of a section, as its struct declares them."""

import operator
import re
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from netsvc.settings.faults import Fault, Place, SettingsError
from netsvc.settings.ini import Entry
from netsvc.settings.values import FORMS, Form, Help, choice

__all__ = ["Bound", "Key", "keys_of"]


class Bound(NamedTuple):
    """What a value must be besides having its type: ``at least 1s``."""

    words: str
    holds: Callable[[Any], object]


class Key(msgspec.Struct, frozen=True):
    """One key of a section.

    :ivar optional: an empty value means None.
    :ivar help: one line of documentation; empty if the struct has none.
    """

    section: str
    name: str
    form: Form
    bounds: tuple[Bound, ...]
    optional: bool
    default: Any
    help: str

    @property
    def words(self) -> str:
        """What to write, in words, with the bounds."""
        return ", ".join([self.form.words, *(bound.words for bound in self.bounds), *(["or empty"] if self.optional else [])])

    def write(self, value: Any) -> str:
        """The text of a value of this key; several lines with newlines between."""
        return "" if value is None else self.form.write(value)

    def read(self, entry: Entry) -> Any:
        """The value that an entry gives. SettingsError: one fault for each line that is wrong."""
        if not entry.lines and self.optional:
            return None
        value = self._read_items(entry) if self.form.listed else self._read_one(entry)
        if not all(bound.holds(value) for bound in self.bounds):
            place = entry.lines[0].place if entry.lines else entry.place
            raise self._error(place, f"must be {' and '.join(bound.words for bound in self.bounds)}")
        return value

    def _error(self, place: Place, problem: str) -> SettingsError:
        return SettingsError([Fault(place, self.section, self.name, problem)])

    def _read_one(self, entry: Entry) -> Any:
        if len(entry.lines) > 1:
            raise self._error(entry.lines[1].place, "takes one value; this line is indented, so it would be a second one")
        place, text = entry.lines[0] if entry.lines else (entry.place, "")
        try:
            return self.form.read(text)
        except ValueError as error:
            raise self._error(place, _with_hint(error, text)) from None

    def _read_items(self, entry: Entry) -> tuple[Any, ...]:
        items: list[Any] = []
        faults: list[Fault] = []
        for place, text in entry.lines:
            try:
                items.extend(self.form.read(text))
            except ValueError as error:
                faults.append(Fault(place, self.section, self.name, _with_hint(error, text)))
        if faults:
            raise SettingsError(faults)
        return tuple(items)


_COMMENT: Final = "a comment needs a line of its own"


def _with_hint(error: ValueError, text: str) -> str:
    """What is wrong with a text, and a likely reason: what looks like a comment after it is part of it."""
    problem = str(error)
    return f"{problem}; {_COMMENT}" if (" #" in text or " ;" in text) and _COMMENT not in problem else problem


_COMPARISONS: Final = (
    ("ge", "at least", operator.ge),
    ("gt", "more than", operator.gt),
    ("le", "at most", operator.le),
    ("lt", "less than", operator.lt),
)


def _limit(words: str, compare: Callable[[Any, Any], bool], limit: float, write: Callable[[Any], str]) -> Bound:
    return Bound(f"{words} {write(limit)}", lambda value: compare(value, limit))


def _length(words: str, compare: Callable[[Any, Any], bool], length: int, unit: str) -> Bound:
    return Bound(f"{words} {length} {unit}{'' if length == 1 else 's'} long", lambda value: compare(len(value), length))


def _bounds(meta: msgspec.Meta, form: Form) -> Iterator[Bound]:
    """The bounds of a Meta, its numbers in the form that the operator writes."""
    for name, words, compare in _COMPARISONS:
        limit = getattr(meta, name)
        if limit is not None:
            yield _limit(words, compare, limit, form.write)
    unit = "item" if form.listed else "character"
    if meta.min_length is not None:
        yield _length("at least", operator.ge, meta.min_length, unit)
    if meta.max_length is not None:
        yield _length("at most", operator.le, meta.max_length, unit)
    if meta.multiple_of is not None:
        yield _limit("a multiple of", lambda value, factor: value % factor == 0, meta.multiple_of, form.write)
    if meta.pattern is not None:
        shown = f"like {' or '.join(map(str, meta.examples))}" if meta.examples else f"text that matches {meta.pattern}"
        yield Bound(shown, re.compile(meta.pattern).search)  # searched for, as msgspec does


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """A type without its wrapping, the metadata of all its Annotated, and whether None is allowed."""
    metadata: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        metadata = tuple(rest)
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        if len(members) == 1:
            base, inner, _ = _unwrapped(members[0])
            return base, inner + metadata, True
    return hint, metadata, False


def _form(base: Any, metadata: tuple[Any, ...]) -> Form:
    for marker in metadata:
        if isinstance(marker, Form):
            return marker
    return choice(get_args(base)) if get_origin(base) is Literal else FORMS[base]


def keys_of(section: str, struct: type[msgspec.Struct]) -> dict[str, Key]:
    """The keys that a struct declares, by name, in its order.

    TypeError, a mistake in the code: a field has no default, or a type that has no form.
    """
    hints = get_type_hints(struct, include_extras=True)
    keys = {}
    for field in msgspec.structs.fields(struct):
        base, metadata, optional = _unwrapped(hints[field.name])
        try:
            form = _form(base, metadata)
        except (KeyError, TypeError):  # not among them; not hashable
            raise TypeError(f"[{section}] {field.name}: no form to write {base!r} in") from None
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if default is msgspec.NODEFAULT:
            raise TypeError(f"[{section}] {field.name}: has no default")
        bounds = tuple(bound for meta in metadata if isinstance(meta, msgspec.Meta) for bound in _bounds(meta, form))
        text = next((marker for marker in metadata if isinstance(marker, Help)), "")
        keys[field.name] = Key(section, field.name, form, bounds, optional, default, str(text))
    return keys
