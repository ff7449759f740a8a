"""Positions of searches: they lead back to their numbers, and to nobody else's."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import InvalidParams
from netsvc.store.search_positions import Positions, new_position_key

KEY = bytes(range(32))


class PositionsTests(SynchronousTestCase):
    """Positions of one key."""

    def setUp(self) -> None:
        """Make them."""
        self.positions = Positions(KEY)

    @given(st.integers(0, 2**64 - 1))
    def test_any_number(self, number: int) -> None:
        """A position has its number, for who has the key."""
        self.assertEqual(self.positions.number(self.positions.of(number)), number)
        self.assertRaises(InvalidParams, Positions(new_position_key()).number, self.positions.of(number))

    def test_the_same_as_ever(self) -> None:
        """What was given away holds after an upgrade."""
        self.assertEqual(self.positions.of(5), ("search-9pBlvLSCWRxP61DHv1iAZqflRMLDZKGI", 0))

    def test_nothing_in_common(self) -> None:
        """Neighbours look as different as any two."""
        texts = [self.positions.of(number)[0].removeprefix("search-") for number in range(1000)]
        self.assertEqual({len(text) for text in texts}, {32})
        for column in zip(*texts, strict=True):
            self.assertGreater(len(set(column)), 50)

    def test_made_by_others(self) -> None:
        """What was changed by a bit, cut, made longer, or is something else altogether is refused, and it is said what to do."""
        text, _ = self.positions.of(5)
        changed = [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(len(text))]
        for wrong in (*changed, text[:-4], text[:-1], text + "AAAA", text + "=", text + "!", "", "search-", "k3v9qa", "search-0a1b2c3d", "\u00e4", "\ud800"):
            error = self.assertRaises(InvalidParams, self.positions.number, (wrong, 0))
            self.assertIn("search again without it", error.detail)
        self.assertRaises(InvalidParams, self.positions.number, (text, 1))
