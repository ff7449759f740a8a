"""How answers that stay open end when the daemon stops."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.chat.open_answers import SLICE, OpenAnswers


class OpenAnswersTests(SynchronousTestCase):
    """Ending what is open."""

    def test_slices(self) -> None:
        """Many answers are ended over several turns, each with its own time to come back."""
        clock = Clock()
        answers = OpenAnswers(clock, lambda count: iter(range(count)))
        ended: list[tuple[int, float]] = []
        for number in range(2 * SLICE):
            answers.add(lambda return_after, number=number: ended.append((number, return_after)))  # type: ignore[misc]
        answers.remove(print)
        self.assertEqual(answers.return_after(), 0)
        answers.drain()
        self.assertEqual((len(ended), len(answers)), (SLICE, SLICE))
        clock.advance(0)
        self.assertEqual((len(answers), clock.getDelayedCalls()), (0, []))
        self.assertEqual(ended, [(number, number) for number in range(2 * SLICE)])
