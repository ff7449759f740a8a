"""Everybody comes back at once. With 5,000 clients: ``python -m tests.system.storm``."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.storm import Storm, raise_file_limit

CLIENTS = 150
WINDOW = 1.5
DEADLINE = 30.0


class StormTests(SynchronousTestCase):
    """A restart with clients that follow a room."""

    def play(self, kill: bool, more: str = "") -> dict[str, Any]:
        """Nothing is lost, doubled or out of order, everybody resumes, and readiness stays."""
        self.assertTrue(raise_file_limit(CLIENTS + 200))
        storm = Storm(CLIENTS, WINDOW, more)
        figures = storm.run(DEADLINE, kill)
        self.assertEqual([figures[name] for name in ("wrong", "unrecovered", "not ready")], [0, 0, 0], figures)
        self.assertGreater(figures["probes"], 2)
        self.assertNotIn("Traceback", storm.output)
        return figures

    def test_stopped(self) -> None:
        """Each client comes back at the time it was told, within the set window, and nobody is refused."""
        figures = self.play(kill=False)
        self.assertEqual((figures["told when"], figures["refused"]), (CLIENTS, 0), figures)

    def test_killed(self) -> None:
        """Nobody was told anything, and all come within a second."""
        self.assertEqual(self.play(kill=True)["told when"], 0)

    def test_paced(self) -> None:
        """Where fewer may come in at a time, those refused come in when they were told to."""
        figures = self.play(kill=True, more=f"arrivals = {CLIENTS}")
        self.assertGreater(figures["refused"], 0)
