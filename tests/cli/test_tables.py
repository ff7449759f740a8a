"""Tests for netsvc.cli.tables."""

from typing import Any

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from netsvc.cli.tables import as_table


class TableTests(SynchronousTestCase):
    """JSON values for people."""

    def shown(self, value: Any) -> list[list[str]]:
        """The words of each line that has some."""
        console = Console(width=100, color_system=None, highlight=False, markup=False, emoji=False)
        with console.capture() as captured:
            for part in as_table(value):
                console.print(part)
        return [line.split() for line in captured.get().splitlines() if line.strip(" ─")]

    def test_rows(self) -> None:
        """A list of objects has a row for each; what one of them lacks is empty."""
        value = [{"name": "lobby", "count": 2}, {"name": "[red]garden", "more": True}]
        self.assertEqual(self.shown(value), [["name", "count", "more"], ["lobby", "2"], ["[red]garden", "true"]])

    def test_object(self) -> None:
        """An object has a row for each leaf; lists of objects inside come behind."""
        value = {"rooms": [{"name": "lobby"}], "more": False, "a": {"b": {}}}
        self.assertEqual(self.shown(value), [["more", "false"], ["a.b", "{}"], ["rooms"], ["name"], ["lobby"]])
        self.assertEqual(self.shown({"rooms": [{"name": "lobby"}]})[0], ["rooms"])

    def test_others(self) -> None:
        """Lists have a line for each value, everything else is itself."""
        self.assertEqual(self.shown(["math.add", 5, None]), [["math.add"], ["5"], ["null"]])
        self.assertEqual((self.shown("text"), self.shown(None), self.shown({})), ([["text"]], [["null"]], []))

    def test_orders_to_terminals(self) -> None:
        """There are none left, in keys neither."""
        shown = str(self.shown([{"\x1b[2J": "a\x9bb\u202e"}, {"k": {"\x1b]0;x": 1}}]) + self.shown({"\x1bk": [{"a": 1}], "\x07": "x"}))
        for character in "\x1b\x9b\u202e\x07":
            self.assertNotIn(character, shown)
