"""Tests for netsvc.core.names."""

import re
from unicodedata import category, is_normalized

from hypothesis import example, given
from hypothesis.strategies import binary, text
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.names import fold_room_name, fold_user_name, generated_guest_name, registered_form, tidy_guest_name
from netsvc.errors import InvalidParams

KELVIN = "\u212a"
"""Its lower case is an ASCII k."""


def accepted(rule: object, name: str) -> str | None:
    """What a rule makes of a name, None if it refuses it."""
    try:
        return rule(name)  # type: ignore[operator,no-any-return]
    except InvalidParams:
        return None


class RoomNames(SynchronousTestCase):
    """`[a-z0-9][a-z0-9_.-]{0,63}`, folded to lower case."""

    def test_taken(self) -> None:
        """Names of the form are taken as they are, 1 to 64 characters long."""
        for name in ("a", "0", "lobby", "a_b.c-d", "a" * 64):
            self.assertEqual(fold_room_name(name), name)

    def test_folded(self) -> None:
        """Upper case is folded."""
        self.assertEqual(fold_room_name("Lobby-2"), "lobby-2")

    def test_refused(self) -> None:
        """Everything else is refused, and the error names the parameter."""
        for name in ("", "-a", ".a", "_a", "a b", "a/b", "a" * 65, "café", "lobby\n", KELVIN, "l" + KELVIN, "٣"):
            with self.assertRaises(InvalidParams) as caught:
                fold_room_name(name)
            self.assertEqual(caught.exception.data, {"parameter": "room"})

    @given(text(max_size=70))
    @example("A" * 64)
    def test_form(self, name: str) -> None:
        """Whatever is taken has the form, and is taken again unchanged."""
        folded = accepted(fold_room_name, name)
        if folded is not None:
            self.assertTrue(re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", folded))
            self.assertEqual(fold_room_name(folded), folded)


class UserNames(SynchronousTestCase):
    """Names that users can have."""

    def test_folded(self) -> None:
        """ASCII names are folded to lower case."""
        self.assertEqual(fold_user_name("Alice.B-2_x"), "alice.b-2_x")
        self.assertEqual(fold_user_name("a" * 32), "a" * 32)

    def test_refused(self) -> None:
        """Other characters, beginnings and lengths are refused."""
        for name in ("", "a" * 33, "-a", "a b", "ärger", KELVIN + "im", "a:b", "a\n"):
            self.assertIsNone(accepted(fold_user_name, name), name)

    def test_guests_names_are_theirs(self) -> None:
        """No user can be called like a generated guest; the error says why."""
        with self.assertRaises(InvalidParams) as caught:
            fold_user_name("Guest-abc")
        self.assertIn("for guests", caught.exception.detail)

    @given(text(max_size=40))
    def test_guests_cannot_slip_by(self, name: str) -> None:
        """A guest name that is a user's name in other letters is known to be that user's."""
        folded = accepted(fold_user_name, name)
        if folded is not None:
            self.assertEqual(registered_form(tidy_guest_name(name)), folded)


class GuestNames(SynchronousTestCase):
    """Names that guests ask for."""

    def test_languages(self) -> None:
        """Letters, digits and needed marks of any language are taken."""
        for name in ("Bob", "José", "Ярослав", "名前", "สมชาย", "अमित", "Χρήστος", "x._-9", "9lives", "שָׁלוֹם"):
            self.assertEqual(len(tidy_guest_name(name)), len(tidy_guest_name(tidy_guest_name(name))), name)

    def test_composed(self) -> None:
        """What looks the same becomes the same: form NFKC."""
        self.assertEqual(tidy_guest_name("Jose\u0301"), "José")
        self.assertEqual(tidy_guest_name("\uff22ob"), "Bob")

    def test_refused(self) -> None:
        """Blanks, brackets, controls, invisible and direction-changing characters, piles of marks, emptiness, length are refused."""
        for name in (
            *("", "a" * 33, "a" * 1000, "a b", "<bob>", "a>b", "bob\n", "\x00", "a\u200bb", "\u202ebob", "a\u2066b", "\u3164", "a\ufe0f"),
            *("\u0301a", "x\u0337\u0338\u0335", "-bob", ".", "_", "a\u00a0b", "🙂", "a\u034f", "\ufdfa", "\u2028"),
        ):
            self.assertIsNone(accepted(tidy_guest_name, name), repr(name))

    def test_look_alikes(self) -> None:
        """Latin, Cyrillic and Greek letters are not mixed, since some look the same; digits and others go with all."""
        self.assertIsNone(accepted(tidy_guest_name, "\u0430lice"))
        self.assertIsNone(accepted(tidy_guest_name, "\u03bfla"))
        self.assertEqual(tidy_guest_name("Ян-7"), "Ян-7")
        self.assertEqual(tidy_guest_name("bob名"), "bob名")

    @given(text(max_size=70))
    @example("a\u0345\u0345")
    def test_harmless(self, name: str) -> None:
        """Whatever is taken is short, has no blank, bracket, control or format character, and stays in its normal form."""
        tidy = accepted(tidy_guest_name, name)
        if tidy is not None:
            self.assertTrue(1 <= len(tidy) <= 32)
            self.assertTrue(is_normalized("NFKC", tidy))
            self.assertEqual({category(character)[0] for character in tidy} - {"L", "M", "N", "P"}, set())
            self.assertEqual({character for character in tidy if category(character)[0] == "P"} - set("._-"), set())
            self.assertEqual(tidy_guest_name(tidy), tidy)

    @given(binary(min_size=4, max_size=8))
    def test_generated(self, seed: bytes) -> None:
        """A generated name is a valid one, no user's, and depends on the seed alone."""
        name = generated_guest_name(seed)
        self.assertTrue(re.fullmatch(r"guest-[a-z2-7]{6}", name))
        self.assertEqual(tidy_guest_name(name), name)
        self.assertIsNone(registered_form(name))
        self.assertEqual(generated_guest_name(seed), name)
        self.assertIsNone(accepted(fold_user_name, name))
