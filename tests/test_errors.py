"""What errors say by themselves."""

from twisted.trial.unittest import SynchronousTestCase as TestCase

from netsvc.errors import Malformed


class MalformedJsonTests(TestCase):
    """Malformed.json."""

    def detail(self, text: str) -> str:
        """What is said of a text of which the decoder says that it is wrong."""
        return Malformed.json(text, ValueError("wrong")).detail

    def test_half_a_surrogate_pair(self) -> None:
        """It is shown, either half of it, wherever it is."""
        for text, half in (
            (r'"\ud800"', r"\ud800"),
            (r'"\uDFFF"', r"\uDFFF"),
            (r'["\\\ud83d", 1]', r"\ud83d"),
            (r'"\ud83d\ud83d\ude00"', r"\ud83d"),
            (r'"\ud83d\ude00\ude00"', r"\ude00"),
            (r'{"a\n\ud83d": "\u0041"}', r"\ud83d"),
            ('"' + r"\\ \n \ud83d\ude00 x" * 20_000 + r"\udead", r"\udead"),
        ):
            self.assertEqual(self.detail(text), f"not valid Unicode text: {half} is half of a surrogate pair, and the other half is missing")

    def test_anything_else(self) -> None:
        """The decoder's words: also of whole pairs, backslashes that are escaped themselves, and escapes that are none."""
        for text in ("", '"', r'"\ud83d\ude00', r'"\\ud800', r'"\ud8', r'"\u00e9', "\\", r"\\" * 100_000):
            self.assertEqual(self.detail(text), "wrong")
        self.assertEqual(Malformed.json("[[", RecursionError()).detail, "nested too deeply")
