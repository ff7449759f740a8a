"""Counts of connections."""

from twisted.trial.unittest import TestCase

from netsvc.core.admission import Admission


class AdmissionTests(TestCase):
    """Admission."""

    def test_in_all(self) -> None:
        """So many in all; who leaves makes room."""
        admission = Admission(2)
        self.assertEqual([admission.admit(peer) for peer in ("192.0.2.1", "unix", "192.0.2.2")], [True, True, False])
        admission.left("unix")
        self.assertTrue(admission.admit("192.0.2.2"))
        self.assertEqual(len(admission), 2)

    def test_per_address(self) -> None:
        """So many from one address, or one /64 network; UNIX sockets have none."""
        admission = Admission(0, 1)
        peers = ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "unix", "unix")
        self.assertEqual([admission.admit(peer) for peer in peers], [True, False, True, True, False, True, True, True])
        admission.left("2001:db8::1")
        self.assertTrue(admission.admit("2001:db8::2"))

    def test_no_caps(self) -> None:
        """0 is none."""
        admission = Admission()
        self.assertTrue(all(admission.admit("192.0.2.1") for _ in range(1000)))
