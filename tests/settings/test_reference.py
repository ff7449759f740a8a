"""The generated file and the list of keys."""

from pathlib import Path
from typing import Annotated

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from netsvc.settings import Duration, Endpoints, Help, Lines, Size, describe, load, render
from tests.settings.sample import SECTIONS, LimitsSample, WebSample

_WORD = st.text("abcdefghijklmnopqrstuvwxyzäß0123456789._%=-", min_size=1, max_size=8)
_TEXT = st.lists(_WORD | st.sampled_from(["#", ";", '"', "[x]"]), max_size=4).map(" ".join)


class ReferenceTests(TestCase):
    """What describe and render give."""

    def test_describe(self) -> None:
        """Every key of every section, in order, in the words of a file."""
        references = describe(SECTIONS)
        self.assertEqual(
            [(reference.section, reference.key) for reference in references],
            [("web", name) for name in WebSample.__struct_fields__] + [("limits", name) for name in LimitsSample.__struct_fields__],
        )
        self.assertEqual(
            tuple(describe({"limits": LimitsSample})[3]),
            ("limits", "idle", "a duration: 250ms, 30s, 5m, 2h, 7d, at least 1s, at most 1h", "1m", "Longest silence"),
        )

    def test_render(self) -> None:
        """After the rules of the format, every key stands commented out under its help, its type and its section's title."""
        text = render({"limits": LimitsSample})
        self.assertTrue(text.startswith("# Every key with its default."))
        self.assertIn("\n\n[limits]\n# How much of it.\n\n# Connections in all\n# (a whole number, at least 0)\n#connections = 1000\n", text)
        self.assertIn("\n#grace =\n", text)
        self.assertNotIn("\nidle", text)

    def test_lists(self) -> None:
        """Items that do not fit in a row stand on lines of their own."""

        class Section(msgspec.Struct):
            """Without a name in front."""

            listen: Annotated[Endpoints, Help("x " * 100)] = ("tcp:1", "tcp:2")

        text = render({"s": Section}, active=True)
        self.assertIn("# Without a name in front.\n", text)
        self.assertIn("\nlisten =\n    tcp:1\n    tcp:2\n", text)
        self.assertLess(max(map(len, text.split("\n"))), 120)

    def test_comes_back(self) -> None:
        """The whole file, commented out or active, loads as the defaults."""
        for active in (False, True):
            path = Path(self.mktemp())
            path.write_text(render(SECTIONS, active=active), encoding="utf-8")
            loaded = load(SECTIONS, path, [])
            self.assertEqual((loaded.section(WebSample), loaded.section(LimitsSample)), (WebSample(), LimitsSample()))
            self.assertEqual(loaded.origin("web", "listen") != "default", active)

    @settings(max_examples=40)
    @given(
        st.booleans(),
        st.integers(-(10**17), 10**17),
        st.floats(-1e15, 1e15),
        _TEXT,
        st.integers(0, 10**12),
        st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
        st.lists(_TEXT.filter(lambda text: text and text[0] not in "#;"), max_size=4).map(tuple),
    )
    def test_any_default_comes_back(
        self, flag: bool, count: int, share: float, text: str, size: int, wait: float, items: tuple[str, ...]
    ) -> None:
        """Whatever the defaults are, a file of them loads as them."""
        given_flag, given_count, given_share, given_text, given_size, given_wait, given_items = flag, count, share, text, size, wait, items

        class Section(msgspec.Struct):
            flag: bool = given_flag
            count: int = given_count
            share: float = given_share
            text: str = given_text
            size: Size = given_size
            wait: Duration = given_wait
            items: Lines = given_items
            maybe: bool | None = None

        path = Path(self.mktemp())
        path.write_text(render({"s": Section}, active=True), encoding="utf-8")
        self.assertEqual(load({"s": Section}, path, []).section(Section), Section())
