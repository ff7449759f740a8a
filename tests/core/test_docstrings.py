"""Taking docstrings apart."""

from twisted.trial.unittest import SynchronousTestCase as TestCase

from netsvc.core.docstrings import CallExample, read_docstring

FULL = '''
    Divide one number
    by another.

    More about it,
    in two lines.

    And a further paragraph.

    :param a: what is divided,
        in two lines.
    :param b: not 0.
    :returns: the quotient.
    :raises InvalidParams: `b` is 0.
    :raises NotFound: never.

    >>> math.divide(7.0, b=2.0)
    3.5

    >>> math.divide(1.0, 1.0)
    '''


class DocstringTests(TestCase):
    """`read_docstring`."""

    def test_parts(self) -> None:
        """Words, fields and examples come apart; fields may have several lines, an example without a result gives null."""
        said = read_docstring("math.divide", FULL)
        self.assertEqual(said.summary, "Divide one number by another.")
        self.assertEqual(said.description, "More about it,\nin two lines.\n\nAnd a further paragraph.")
        self.assertEqual(said.params, {"a": "what is divided, in two lines.", "b": "not 0."})
        self.assertEqual(said.returns, "the quotient.")
        self.assertEqual(said.raises, {"InvalidParams": "`b` is 0.", "NotFound": "never."})
        self.assertEqual(said.examples, (CallExample([7.0], {"b": 2.0}, 3.5), CallExample([1.0, 1.0], {}, None)))

    def test_nothing(self) -> None:
        """No docstring, no words."""
        said = read_docstring("x", "")
        self.assertEqual((said.summary, said.description, said.params, said.returns, said.raises, said.examples), ("", "", {}, "", {}, ()))

    def test_bad_examples(self) -> None:
        """An example is a call of the procedure with literals, and has a literal as its result."""
        for example in ("y(1)\n1", "1 + 1\n2", "x(y)\n1", "x(1)\ny", "import x", "x(**{})\n1"):
            error = self.assertRaises(ValueError, read_docstring, "x", f">>> {example}")
            self.assertIn("must be a call x(…) with literals", str(error), example)
