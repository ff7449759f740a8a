"""How answers that stay open end when the daemon stops."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.chat.open_answers import SLICE, OpenAnswers


class OpenAnswersTests(SynchronousTestCase):
    """Ending what is open."""

    def test_slices(self) -> None:
        """Many answers are ended over several turns."""
        clock = Clock()
        answers = OpenAnswers(clock)
        ended: list[int] = []
        for number in range(2 * SLICE):
            answers.add(lambda number=number: ended.append(number))  # type: ignore[misc]
        answers.remove(print)
        answers.drain()
        self.assertEqual((len(ended), len(answers)), (SLICE, SLICE))
        clock.advance(0)
        self.assertEqual((len(ended), len(answers), clock.getDelayedCalls()), (2 * SLICE, 0, []))
