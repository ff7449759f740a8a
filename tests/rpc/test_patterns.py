"""The regular expressions of a JSON Schema."""

import contextlib
import re
import warnings

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase as TestCase

from netsvc.rpc.patterns import check_pattern


class PatternTests(TestCase):
    """What is let through, and what is said of the rest."""

    def test_right(self) -> None:
        """All that ECMA-262 has, with the flags u and v and without, and what Python has besides."""
        for pattern in (
            "",
            r"^[a-z][a-z0-9_]{0,31}$",
            r"^(\d{4})-(0[1-9]|1[0-2])(?:T.*)?$",
            r"^\p{Lu}[\p{L}\s\-']+\u{1F600}?$",
            r"(?<year>\d+)(?<=19.+)\k<year>",
            r"(?=a)*(?!b)(?<!c)\b\B",
            r"[]|[^]|[\]\[]|[^\w-z]|[-a]|[a-]|[a\-z-]",
            r"[\ud83d\ude00-\ud83d\ude4f][\x00-\x1f\u0400-\u04ff\n-\r]",
            "[\U0001f600-\U0001f64f]",
            r"\cA\c\0\1\9\/\-\#",
            "a{}b{,2}c{d}]}{",
            "a{2}?b{2,}c{2,2}d{0002,10}?",
            r"(?i)(?m)(?P<name>a++)(?P=name)(?>b|c)(?-i:d)(?#no end of)e(?(1)f|g)",
        ):
            check_pattern(pattern)

    def test_wrong(self) -> None:
        """What is wrong by any reading, where it is, and how it begins."""
        for pattern, problem in (
            ("a(b|(c)", 'no end to "(" at character 2'),
            ("a)", 'no beginning to ")" at character 2'),
            ("a[b", 'no end to "[" at character 2'),
            (r"[\]", 'no end to "[" at character 1'),
            ("a\\", 'no end to "\\" at character 2'),
            ("*", 'nothing to repeat before "*" at character 1'),
            ("a|+?", 'nothing to repeat before "+?" at character 3'),
            ("(?:{2})", 'nothing to repeat before "{2}" at character 4'),
            ("a**", 'nothing to repeat before "*" at character 3'),
            (r"\b{1}", 'nothing to repeat before "{1}" at character 3'),
            ("^?", 'nothing to repeat before "?" at character 2'),
            ("(?i)*", 'nothing to repeat before "*" at character 5'),
            ("(?<=", 'no end to "(?<=" at character 1'),
            ("(?", 'nothing to repeat before "?" at character 2'),
            ("a{2,1}", 'the maximum is less than the minimum in "{2,1}" at character 2'),
            ("a{10,9}", 'the maximum is less than the minimum in "{10,9}" at character 2'),
            ("[b-a]", '"b-a" is the wrong way round in "[b-a]" at character 1'),
            (r"x[a-c-eg-f\u{62}]", '"g-f" is the wrong way round in "[a-c-eg-f\\u{62}]" at character 2'),
            (r"[\x41-\-]", '"\\x41-\\-" is the wrong way round in "[\\x41-\\-]" at character 1'),
        ):
            error = self.assertRaises(ValueError, check_pattern, pattern)
            self.assertEqual(str(error), problem)

    def test_long(self) -> None:
        """However many of whatever there are, and however many digits a bound has, it takes no time."""
        for piece in ("[", "(", "(?", "(?#", r"\p{", r"\u{1", "{1", "a{1,2}", "[a-b]", "[a-", "\\", "(?i)"):
            with contextlib.suppress(ValueError):
                check_pattern(piece * 4000)
        self.assertRaises(ValueError, check_pattern, f"a{{{'9' * 10_000},1}}")

    @given(st.text(alphabet=r"ab-[]()|*+?{}12,^$\.dwb:=!<>P", max_size=12))
    def test_all_that_python_takes(self, pattern: str) -> None:
        """Nothing is refused that can be compiled. A set that begins with its own end is two things in the two languages: there it is ECMA's."""
        pattern = re.sub(r"\[\^?\]", "x", pattern)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what may be two sets in a later release
                re.compile(pattern)
        except (re.error, OverflowError):
            return
        check_pattern(pattern)
