"""Tests for netsvc.cli.output."""

import json

from click.testing import CliRunner
from hypothesis import given
from hypothesis.strategies import text
from twisted.trial.unittest import SynchronousTestCase

from netsvc.cli.output import day, table, visible


class Output(SynchronousTestCase):
    """What reaches a terminal."""

    @given(text())
    def test_visible(self, value: str) -> None:
        """JSON stays the same JSON, and nothing in it can move a cursor."""
        shown = visible(json.dumps(value, ensure_ascii=False))
        self.assertEqual(json.loads(shown), value)
        self.assertTrue(shown.isprintable())

    def test_lines_stay(self) -> None:
        """Newlines are kept, letters too."""
        self.assertEqual(visible("ä\n\x1b\u202e\U000e0001"), "ä\n\\u001b\\u202e\\udb40\\udc01")

    def test_table(self) -> None:
        """Columns are as wide as they need to be; no line ends in blanks."""
        with CliRunner().isolation() as (stdout, _, _):
            table(("A", "LONG"), [("aaa", "b"), ("", "c\x1b")])
            self.assertEqual(stdout.getvalue(), b"A    LONG\naaa  b\n     c\\u001b\n")

    def test_day(self) -> None:
        """Times are in UTC."""
        self.assertEqual(day(1_700_000_000_000), "2023-11-14 22:13Z")
