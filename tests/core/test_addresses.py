"""Whose an address is."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.addresses import is_this_host, network_of


class AddressesTests(SynchronousTestCase):
    """`network_of`, `is_this_host`."""

    def test_networks(self) -> None:
        """An IPv4 address is itself, an IPv6 address its /64; a mapped one is IPv4; what is no address is nothing."""
        for address, network in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("unix", ""),
        ):
            self.assertEqual(network_of(address), network)

    def test_this_host(self) -> None:
        """Loopback is this host, in IPv4, IPv6 and mapped; nothing else is."""
        for address, here in (("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.1", False), ("unix", False)):
            self.assertEqual(is_this_host(address), here, address)
