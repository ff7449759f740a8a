"""How the values of each type are written, and read back."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from netsvc.settings.sections import keys_of
from netsvc.settings.values import FORMS, Form
from tests.settings.sample import LimitsSample, WebSample

_BODY = keys_of("limits", LimitsSample)["body"].form
_IDLE = keys_of("limits", LimitsSample)["idle"].form
_LEVEL = keys_of("web", WebSample)["level"].form
_LINES = FORMS[tuple[str, ...]]


class FormTests(TestCase):
    """Each form by example."""

    def assert_reads(self, form: Form, **values: Any) -> None:
        """Each text, here as a keyword, reads as its value."""
        for text, value in values.items():
            self.assertEqual(form.read(text), value)

    def assert_refuses(self, form: Form, texts: list[str], words: str) -> None:
        """Each text is refused with an error that says these words."""
        for text in texts:
            self.assertIn(words, str(self.assertRaises(ValueError, form.read, text)), text)

    def test_booleans(self) -> None:
        """Three pairs of words, in any case."""
        self.assert_reads(FORMS[bool], yes=True, on=True, TRUE=True, no=False, Off=False, false=False)
        self.assert_refuses(FORMS[bool], ["", "1", "y", "enabled"], "write yes or no")
        self.assertEqual([FORMS[bool].write(value) for value in (True, False)], ["yes", "no"])

    def test_integers(self) -> None:
        """ASCII digits with a sign, few enough to be meant."""
        self.assert_reads(FORMS[int], **{"0": 0, "-5": -5, "+007": 7})
        self.assert_refuses(FORMS[int], ["", "1.0", "1_000", "0x10", "ten", "٣", "9" * 5000], "write a whole number")

    def test_numbers(self) -> None:
        """Decimals and exponents; nothing that is not finite."""
        self.assert_reads(FORMS[float], **{"10": 10.0, "0.5": 0.5, "-1e-3": -0.001})
        self.assert_refuses(FORMS[float], ["", "nan", "inf", "1e999", "1,5", "½"], "write a number")
        self.assertEqual([FORMS[float].write(value) for value in (50.0, 0.25)], ["50", "0.25"])

    def test_durations(self) -> None:
        """Seconds, whatever the unit."""
        values = {"250ms": 0.25, "30s": 30.0, "30 s": 30.0, "1.5m": 90.0, "2h": 7200.0, "7d": 604800.0, "12": 12.0, "0": 0.0}
        self.assert_reads(_IDLE, **values)
        self.assert_refuses(_IDLE, ["", "30 sec", "-1s", "5M", "1h30m", "inf", "s", "1e3", "9" * 400], "write it like 250ms, 30s, 5m")
        self.assertEqual(
            [_IDLE.write(value) for value in (0.0, 0.25, 90, 300.0, 7200.0, 86400.0, 1e-7)], ["0s", "250ms", "90s", "5m", "2h", "1d", "0.0000001s"]
        )

    def test_sizes(self) -> None:
        """Bytes, whatever the unit; units of 1024 and of 1000 are told apart."""
        self.assert_reads(_BODY, **{"16KiB": 16384, "1mib": 1048576, "10MB": 10_000_000, "2 GiB": 2 << 30, "512": 512, "1kB": 1000, "7B": 7})
        self.assert_refuses(_BODY, ["", "1M", "64k", "1.5MiB", "-1", "MiB", "9" * 400], "write it like 512 (bytes), 16KiB")
        self.assertEqual(
            [_BODY.write(value) for value in (0, 512, 16384, 1 << 20, 10_000_000, 3 << 30)], ["0", "512", "16KiB", "1MiB", "10MB", "3GiB"]
        )

    def test_lines(self) -> None:
        """Single words may stand in a row; a sentence with a comma is one item."""
        self.assert_reads(_LINES, **{"a, b,c,": ("a", "b", "c"), "a b": ("a b",), "Dear all, be quiet": ("Dear all, be quiet",), ",": ()})
        self.assertEqual(_LINES.write(("a", "b")), "a, b")
        self.assertEqual(_LINES.write(("a b", "c")), "a b\nc")
        self.assertEqual(_LINES.write(("word" * 20, "word" * 20)).count("\n"), 1)
        self.assertEqual(_LINES.write(()), "")

    def test_paths(self) -> None:
        """A path is taken as it is; what a shell would have changed is pointed out."""
        self.assert_reads(FORMS[Path], **{"/var/lib/a b": Path("/var/lib/a b"), "state": Path("state")})
        self.assert_refuses(FORMS[Path], [""], "empty")
        self.assert_refuses(FORMS[Path], ['"/var"', "'/var'"], "without quotes")
        self.assert_refuses(FORMS[Path], ["~/state"], "~ is not expanded")
        self.assert_refuses(FORMS[Path], ["/var # here", "/var ; here"], "a comment needs a line of its own")

    def test_choices(self) -> None:
        """A Literal is one of its values; the fault lists them and names the nearest."""
        self.assert_reads(_LEVEL, debug="debug", info="info")
        self.assert_refuses(_LEVEL, ["inof"], 'write one of debug, info, warn, not "inof" (did you mean "info"?)')

    @given(st.integers(0, 10**15 - 1))
    def test_sizes_come_back(self, value: int) -> None:
        """Every size is written so that it reads as itself."""
        self.assertEqual(_BODY.read(_BODY.write(value)), value)

    @given(st.floats(1e-9, 1e12) | st.integers(0, 10**12).map(lambda value: value / 1000))
    def test_durations_come_back(self, value: float) -> None:
        """Every duration that can be waited for is written so that it reads as itself, a billionth of a second included."""
        self.assertEqual(_IDLE.read(_IDLE.write(value)), value)

    @given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
    def test_numbers_come_back(self, value: float) -> None:
        """Every number is written so that it reads as itself."""
        self.assertEqual(FORMS[float].read(FORMS[float].write(value)), value)
