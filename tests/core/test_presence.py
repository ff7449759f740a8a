"""Who is in a room."""

from twisted.trial.unittest import TestCase

from netsvc.core.presence import NAMES, PACE, Presence


class PresenceTests(TestCase):
    """Counts, names and deltas."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.presence = Presence(10.0)

    def test_coming_shows_at_the_next_sweep(self) -> None:
        """One delta for all who came since the last."""
        self.presence.came("alice")
        self.presence.came("bob")
        self.assertEqual(self.presence.sweep(0.0), (("alice", "bob"), (), 2))
        self.assertIsNone(self.presence.sweep(1.0))

    def test_leaving_shows_after_the_grace(self) -> None:
        """Not before ten seconds of absence."""
        self.presence.came("alice")
        self.presence.sweep(0.0)
        self.presence.went("alice", 5.0)
        self.assertIsNone(self.presence.sweep(14.9))
        self.assertEqual(self.presence.names(), ["alice"])
        self.assertEqual(self.presence.sweep(15.0), ((), ("alice",), 0))
        self.assertFalse(self.presence.pending)

    def test_clock_set_back(self) -> None:
        """Who has left does not stay for as long as the clock was set back, nor are the others told of nothing for so long."""
        for number in range(5 * PACE):
            self.presence.came(f"u{number}")
        self.assertIsNotNone(self.presence.sweep(9000.0))
        self.presence.went("u0", 9000.0)
        self.presence.came("alice")
        delta = self.presence.sweep(5000.0)
        assert delta is not None
        self.assertEqual(delta[:2], (("alice",), ("u0",)))
        self.presence.went("alice", 5001.0)
        self.assertIsNone(self.presence.sweep(5010.0))
        self.assertIsNotNone(self.presence.sweep(5011.0))

    def test_a_short_absence_does_not_show(self) -> None:
        """Who is back within the grace has never been away."""
        self.presence.came("alice")
        self.presence.sweep(0.0)
        self.presence.went("alice", 1.0)
        self.presence.came("alice")
        self.assertIsNone(self.presence.sweep(20.0))
        self.assertEqual(len(self.presence), 1)

    def test_several_connections_of_one_name(self) -> None:
        """A name is there once, until its last connection is gone."""
        self.presence.came("alice")
        self.presence.came("alice")
        self.presence.sweep(0.0)
        self.presence.went("alice", 1.0)
        self.assertIsNone(self.presence.sweep(100.0))
        self.presence.went("alice", 100.0)
        self.assertEqual(self.presence.sweep(110.0), ((), ("alice",), 0))

    def test_who_came_and_went_between_two_sweeps_is_not_told_of(self) -> None:
        """Nobody is told of one who was never seen."""
        presence = Presence(0.0)
        presence.came("alice")
        presence.went("alice", 1.0)
        self.assertTrue(presence.pending)
        self.assertIsNone(presence.sweep(1.0))
        self.assertFalse(presence.pending)

    def test_names_are_capped_and_counts_are_not(self) -> None:
        """At most NAMES names, whatever the size of the room."""
        for number in range(NAMES + 50):
            self.presence.came(f"guest-{number}")
        delta = self.presence.sweep(0.0)
        assert delta is not None
        self.assertEqual((len(delta.joined), delta.present), (NAMES, NAMES + 50))
        self.assertEqual(len(self.presence.names()), NAMES)

    def test_a_big_room_is_told_less_often(self) -> None:
        """The more are there, the longer changes are collected, so that the deltas of one room stay at a number in a second; counts are exact at once."""
        for number in range(3 * PACE):
            self.presence.came(f"guest-{number}")
        self.assertIsNotNone(self.presence.sweep(0.0))
        told = 0
        for second in range(1, 61):
            for number in range(50):
                self.presence.came(f"new-{second}-{number}")
            delta = self.presence.sweep(float(second))
            self.assertEqual(len(self.presence), 3 * PACE + 50 * second)
            self.assertTrue(self.presence.pending or delta is not None)
            if delta is not None:
                told += delta.present
                self.assertEqual(delta.present, len(self.presence))
        self.assertLess(told / 60, PACE * 1.2)

    def test_churn_costs_what_changes(self) -> None:
        """One who comes and goes in a big room is one name in a delta, and neither is looked for among the others."""
        for number in range(2 * PACE):
            self.presence.came(f"guest-{number}")
        self.presence.sweep(0.0)
        for second in range(100):
            self.presence.came("ann")
            self.presence.went("ann", float(second))
        self.assertEqual(self.presence.sweep(100.0), (("ann",), (), 2 * PACE + 1))
        self.assertEqual(self.presence.sweep(110.0), ((), ("ann",), 2 * PACE))

    def test_renamed(self) -> None:
        """Another name is told of as one that has come and one that has left, at once; not one that was never told of."""
        self.presence.came("guest-1")
        self.presence.renamed("guest-1", "ann")
        self.assertEqual(self.presence.sweep(0), (("ann",), (), 1))
        self.presence.came("ann")
        self.presence.renamed("ann", "bob")
        self.assertEqual((self.presence.names(), self.presence.sweep(10)), (["ann", "bob"], (("bob",), (), 2)))
        self.presence.renamed("ann", "bob")
        self.assertEqual((self.presence.names(), self.presence.sweep(20)), (["bob"], ((), ("ann",), 1)))
        self.assertFalse(self.presence.pending)
