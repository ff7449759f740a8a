"""Delivery while everything breaks: a short run of tests.system.faults, and that it would notice."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.faults import Options, compare, run
from tests.system.faults_clients import Client, World
from tests.system.faults_proxy import plan_of

SECONDS = 7.0
CLIENTS = 18
SEED = 32
ROOM = "room0"


class FaultTests(SynchronousTestCase):
    """The real daemon behind a proxy that breaks connections."""

    timeout = 200

    def test_short_run(self) -> None:
        """Clients of every transport lose nothing, see nothing twice and everything in order, while the daemon dies and their connections do."""
        report = run(Options(SECONDS, CLIENTS, SEED, pause=0.3, calm=(0.5, 1.5)))
        self.assertEqual(report.wrong, [])
        self.assertGreater(report.figures["posts acknowledged"], CLIENTS)
        self.assertGreater(report.figures["posts sent again"], 0)
        self.assertIn("kill -9", report.figures["faults of the daemon"])

    def test_seed(self) -> None:
        """The same seed draws the same fates, another one others."""
        fates = [[plan_of(seed, number) for number in range(100)] for seed in ("1", "1", "2")]
        self.assertEqual(fates[0], fates[1])
        self.assertNotEqual(fates[0], fates[2])


class ComparisonTests(SynchronousTestCase):
    """What is compared in the end: each kind of breach is found."""

    def setUp(self) -> None:
        """Two acknowledged posts that everybody has seen."""
        self.world = World(0, "1", 1.0)
        self.client = Client(self.world, 1, ROOM)
        self.client.epoch = "e"
        self.log: list[dict[str, Any]] = [{"seq": 1, "text": "a"}, {"seq": 2, "text": "b"}]
        self.client.acked = [("a", 1), ("b", 2)]
        self.client.made = 2
        self.world.logs = {ROOM: {1: "a", 2: "b"}}

    def found(self) -> str:
        """What is wrong, in words."""
        compare({ROOM: self.log}, self.world, [self.client])
        return "; ".join(self.world.wrong)

    def test_nothing(self) -> None:
        """All is well."""
        self.assertEqual(self.found(), "")

    def test_lost(self) -> None:
        """An acknowledged post that is not stored."""
        del self.log[1]
        self.assertIn("acknowledged at 2 and not there", self.found())

    def test_moved(self) -> None:
        """An acknowledged post that is stored elsewhere."""
        self.log[:] = [{"seq": 1, "text": "b"}, {"seq": 2, "text": "a"}]
        self.assertIn("acknowledged at 1 and not there: 'a', which is at [2]", self.found())

    def test_doubled(self) -> None:
        """A post that is stored twice."""
        self.log.append({"seq": 3, "text": "b"})
        self.assertIn("stored more than once, at [2, 3]", self.found())

    def test_out_of_order(self) -> None:
        """Posts of one client that are stored in another order than made."""
        self.client.acked.reverse()
        self.assertIn("out of order", self.found())

    def test_gap(self) -> None:
        """A log with a gap."""
        self.log[1]["seq"] = 3
        self.assertIn("gaps", self.found())

    def test_seen_otherwise(self) -> None:
        """Clients that have seen something else."""
        self.world.logs[ROOM][2] = "c"
        self.assertIn("what clients have seen is not what is stored", self.found())

    def test_never_acknowledged(self) -> None:
        """A post that never got its answer."""
        self.client.made = 3
        self.assertIn("1 posts were never acknowledged", self.found())

    def test_seen_twice_or_not_at_all(self) -> None:
        """A client that is shown an event again, or not the next one, or one that others saw otherwise."""
        for seq in (1, 1, 3):
            self.client.see(seq, {1: "a", 3: "z"}[seq])
        self.client.see_event({"type": "message", "room": ROOM, "seq": 4, "cursor": "other:4", "text": "y"})
        self.world.saw(ROOM, 1, "another")
        for what in ("behind 1: saw 1", "behind 1: saw 3", "odd event", "room0:1 is"):
            self.assertIn(what, self.found())
