"""From a struct's annotations to keys."""

from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import msgspec
from msgspec import Meta
from twisted.trial.unittest import TestCase

from netsvc.settings import Duration, Endpoints, Form, Lines, Place, SettingsError
from netsvc.settings.ini import Entry, Line
from netsvc.settings.sections import keys_of


class Odd(msgspec.Struct, frozen=True, kw_only=True):
    """Keys that the sample sections do not have."""

    small: Literal[1, 2] = 1
    upper: Annotated[str, Form("text in capitals", str.upper, str.lower)] = "A"
    even: Annotated[int, Meta(multiple_of=2, lt=10)] = 2
    name: Annotated[str, Meta(pattern="^[a-z]+$", min_length=1)] = "a"
    role: Annotated[str, Meta(pattern="^[a-z]+$", examples=["guest", "member"])] = "guest"
    pair: Annotated[Lines, Meta(min_length=1, max_length=2)] = ("a",)
    bare: tuple[str, ...] = msgspec.field(default_factory=tuple)
    places: Endpoints = ()
    folder: Path = Path("x")
    wait: Optional[Annotated[Duration, Meta(ge=1)]] = None  # noqa: UP045 - the older spelling is declared, too


class KeyTests(TestCase):
    """Reading entries by keys."""

    def setUp(self) -> None:
        """The keys of the odd section."""
        self.keys = keys_of("odd", Odd)

    def read(self, key: str, *lines: str) -> Any:
        """The value that these lines give a key whose own line is 1."""
        entry = Entry(Place("f", 1), "odd", key, [Line(Place("f", number), text) for number, text in enumerate(lines, 1)])
        return self.keys[key].read(entry)

    def fault(self, key: str, *lines: str) -> str:
        """What is said of these lines."""
        return str(self.assertRaises(SettingsError, self.read, key, *lines))

    def test_values(self) -> None:
        """Literals of numbers, forms of a package's own, bare tuples, both spellings of None."""
        self.assertEqual(self.read("small", "2"), 2)
        self.assertEqual(self.read("upper", "abc"), "ABC")
        self.assertEqual(self.read("bare", "a", "b c"), ("a", "b c"))
        self.assertEqual(self.read("wait", "5m"), 300.0)
        self.assertIsNone(self.read("wait"))
        self.assertEqual(self.read("upper"), "")

    def test_bounds(self) -> None:
        """A bound that is broken is told with all others of the key, in the words of the file."""
        self.assertEqual(self.fault("even", "3"), "f:1: [odd] even: must be less than 10 and a multiple of 2")
        self.assertEqual(self.fault("name", "A"), "f:1: [odd] name: must be at least 1 character long and text that matches ^[a-z]+$")
        self.assertEqual(self.fault("role", "A"), "f:1: [odd] role: must be like guest or member")
        self.assertEqual(self.fault("pair", "a, b", "c"), "f:1: [odd] pair: must be at least 1 item long and at most 2 items long")
        self.assertEqual(self.fault("pair"), "f:1: [odd] pair: must be at least 1 item long and at most 2 items long")
        self.assertEqual(self.fault("wait", "1ms"), "f:1: [odd] wait: must be at least 1s")

    def test_one_value(self) -> None:
        """Where one value is wanted, a second line is a fault at that line."""
        self.assertEqual(
            self.fault("even", "2", "4"), "f:2: [odd] even: takes one value; this line is indented, so it would be a second one"
        )

    def test_comment_in_a_value(self) -> None:
        """A comment behind a value is recognised where the value is wrong by it."""
        self.assertEqual(
            self.fault("even", "2 # two"), 'f:1: [odd] even: write a whole number, not "2 # two"; a comment needs a line of its own'
        )
        self.assertTrue(self.fault("places", "tcp:1", "tcp:2 ; two").endswith("; a comment needs a line of its own"))
        self.assertEqual(self.fault("folder", "/var # here").count("a comment needs"), 1)

    def test_words(self) -> None:
        """A key's documentation says its type, its bounds and whether it may be empty."""
        self.assertEqual(self.keys["even"].words, "a whole number, less than 10, a multiple of 2")
        self.assertEqual(self.keys["wait"].words, "a duration: 250ms, 30s, 5m, 2h, 7d, at least 1s, or empty")

    def test_mistakes_of_the_author(self) -> None:
        """A field without a default, or of a type that has no form, is a TypeError that names it."""

        class NoDefault(msgspec.Struct):
            path: Path

        class NoForm(msgspec.Struct):
            many: dict[str, int] = {}

        class TwoForms(msgspec.Struct):
            many: int | str = 0

        self.assertIn("[x] path: has no default", str(self.assertRaises(TypeError, keys_of, "x", NoDefault)))
        self.assertIn("[x] many: no form", str(self.assertRaises(TypeError, keys_of, "x", NoForm)))
        self.assertIn("[x] many: no form", str(self.assertRaises(TypeError, keys_of, "x", TwoForms)))
