"""Tests for netsvc.core.identity."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.identity import Identity, IIdentity


class Ranks(SynchronousTestCase):
    """What a role is worth."""

    def test_rank(self) -> None:
        """The highest granted role counts; an unknown one and none are worth a guest's."""
        for roles, rank in ((("guest",), 0), (("member",), 1), (("member", "admin"), 2), (("king",), 0), ((), 0)):
            self.assertEqual(Identity("a", roles).rank, rank)

    def test_immutable(self) -> None:
        """Nobody can change who he is."""
        with self.assertRaises(AttributeError):
            Identity("a", ("member",)).name = "b"  # type: ignore[misc]

    def test_interface(self) -> None:
        """It is what the portal is asked for."""
        self.assertTrue(IIdentity.providedBy(Identity("a", ())))
