"""The lines of an INI file."""

from twisted.trial.unittest import TestCase

from netsvc.settings.ini import parse_ini


class IniTests(TestCase):
    """What parse_ini makes of text."""

    def entries(self, text: str | bytes) -> list[tuple[str, str, list[tuple[int, str]]]]:
        """Section, key and lines of each entry of a file without a fault."""
        read = parse_ini("f", text if isinstance(text, bytes) else text.encode())
        self.assertEqual(read.faults, [])
        return [(entry.section, entry.key, [(place.line, line) for place, line in entry.lines]) for entry in read.entries]

    def faults(self, text: str | bytes) -> list[str]:
        """The faults of a file, in words."""
        return [str(fault) for fault in parse_ini("f", text if isinstance(text, bytes) else text.encode()).faults]

    def test_literal_values(self) -> None:
        """All after the first = is the value: nothing in it is special, blanks around it are not part of it."""
        self.assertEqual(
            self.entries("[a]\nx =  50% of %(y)s = ${z} # ; \"q\" \\n \n"), [("a", "x", [(2, '50% of %(y)s = ${z} # ; "q" \\n')])]
        )

    def test_continuation(self) -> None:
        """Deeper lines continue a value, past comments and empty lines; each keeps its line number."""
        self.assertEqual(
            self.entries("[a]\nx =\n    one\n\n  # no\n    two\n;no\n\tthree\ny = 1\n"),
            [("a", "x", [(3, "one"), (6, "two"), (8, "three")]), ("a", "y", [(9, "1")])],
        )

    def test_indented_sections(self) -> None:
        """Keys that are all indented alike are keys, not continuations."""
        self.assertEqual(
            self.entries("[a]\n  x = 1\n  y = 2\n    3\n  [b]\n  z = 4"),
            [("a", "x", [(2, "1")]), ("a", "y", [(3, "2"), (4, "3")]), ("b", "z", [(6, "4")])],
        )

    def test_reopened_section(self) -> None:
        """A section may be opened again."""
        self.assertEqual(self.entries("[a]\nx=1\n[b]\n[ a ]\ny=2"), [("a", "x", [(2, "1")]), ("a", "y", [(5, "2")])])

    def test_windows(self) -> None:
        """A byte order mark and CRLF are as good as none; other files' lines are not confused by odd separators in values."""
        self.assertEqual(
            self.entries("\ufeff[a]\r\nx = 1\r\n\r\ny = \u2028é\u0085z\r\n".encode()), [("a", "x", [(2, "1")]), ("a", "y", [(4, "é\x85z")])]
        )

    def test_empty(self) -> None:
        """A key without a value has no lines."""
        self.assertEqual(self.entries("[a]\nx =\ny="), [("a", "x", []), ("a", "y", [])])

    def test_duplicate(self) -> None:
        """A key given twice in one file is a fault at the second place."""
        self.assertEqual(self.faults("[a]\nx = 1\n[b]\nx = 1\n[a]\nx = 2\n"), ["f:6: [a] x: given twice, first on line 2"])

    def test_not_a_key(self) -> None:
        """A line that is none of the known is one fault, with its continuation."""
        self.assertEqual(
            self.faults("[a]\nlisten: tcp:80\n   more\nfoo\n= 3\n"),
            [
                'f:2: [a]: not of the form key = value: "listen: tcp:80" (did you mean "listen = tcp:80"?)',
                'f:4: [a]: not of the form key = value: "foo"',
                'f:5: [a]: no key before the =: "= 3"',
            ],
        )

    def test_outside(self) -> None:
        """A key before the first header belongs nowhere."""
        self.assertEqual(self.faults("x = 1\n[a]\n"), ["f:1: x: comes before the first [section] header"])

    def test_bad_header(self) -> None:
        """A faulty header is one fault: the keys below it are not blamed."""
        self.assertEqual(
            self.faults("[a\nx = 1\nx = 2\n[b] # here\ny = 1\n[c]\n"),
            [
                'f:1: a section\'s header is [name] on a line of its own, not "[a"',
                'f:4: a section\'s header is [name] on a line of its own, not "[b] # here"',
            ],
        )

    def test_encodings(self) -> None:
        """What is not UTF-8 is said with line and byte; a UTF-16 or binary file is one fault."""
        self.assertEqual(
            self.faults("[a]\nx = für\n".encode("latin-1")), ["f:2: not UTF-8: byte 0xfc at column 6; save the file as UTF-8"]
        )
        self.assertEqual(self.faults("[a]\nx = 1\n".encode("utf-16")), ["f:1: not a text file in UTF-8 (it has zero bytes: is it UTF-16?)"])

    def test_control_characters(self) -> None:
        """A control character is a fault in what is used, and none in a comment."""
        self.assertEqual(self.faults("# \x0c page\n[a]\nx = a\x1bb\n"), ["f:3: [a]: a control character (U+001B) at column 6"])

    def test_long_lines(self) -> None:
        """A fault quotes no more of a line than can be read."""
        (fault,) = self.faults("[a]\n" + "y" * 10_000)
        self.assertLess(len(fault), 120)
