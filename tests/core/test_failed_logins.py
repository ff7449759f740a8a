"""Tests for netsvc.core.failed_logins."""

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.failed_logins import FailedLogins
from netsvc.core.settings import AuthSettings
from netsvc.errors import RateLimited

SETTINGS = AuthSettings(failures=3, failures_per_address=5, failures_recovery=20.0)


class Guessing(SynchronousTestCase):
    """Failures are counted by name and by address, and forgiven with time."""

    def setUp(self) -> None:
        """Three for a name, five for an address."""
        self.clock = Clock()
        self.clock.advance(1_700_000_000.0)
        self.failures = FailedLogins(SETTINGS, self.clock.seconds)

    def left(self, name: str, address: str) -> int:
        """How many attempts are allowed now."""
        for count in range(100):
            try:
                self.failures.take(name, address)
            except RateLimited:
                return count
        return 100

    def test_name(self) -> None:
        """From many addresses, a name has its own number; others are not touched."""
        self.assertEqual([self.left("alice", f"192.0.2.{number}") for number in range(1, 5)], [3, 0, 0, 0])
        self.assertEqual(self.left("bob", "192.0.2.9"), 3)

    def test_address(self) -> None:
        """With many names, an address has its own number."""
        self.assertEqual([self.left(name, "192.0.2.1") for name in ("a", "b", "c")], [3, 2, 0])

    def test_clock_set_back(self) -> None:
        """Who has failed once, or too often, need not wait until it is again as late as it was."""
        self.failures.take("alice", "192.0.2.1")
        self.left("bob", "192.0.2.2")
        self.assertTrue(self.failures.closed("bob"))
        self.clock.rightNow -= 3600.0
        self.assertFalse(self.failures.closed("bob"))
        self.assertEqual((self.left("alice", "192.0.2.1"), self.left("bob", "192.0.2.2")), (3, 3))

    def test_recovery(self) -> None:
        """One is forgiven after each recovery time; the error says how long to wait."""
        self.left("alice", "192.0.2.1")
        self.clock.advance(15)
        with self.assertRaises(RateLimited) as caught:
            self.failures.take("alice", "192.0.2.1")
        self.assertAlmostEqual(caught.exception.retry_after, 5.0, places=3)
        self.clock.advance(5)
        self.assertEqual(self.left("alice", "192.0.2.1"), 1)
        self.clock.advance(1000)
        self.assertEqual(self.left("alice", "192.0.2.1"), 3)

    def test_success(self) -> None:
        """A success costs nothing, however often; without an attempt nothing is given."""
        for _ in range(50):
            self.failures.take("alice", "192.0.2.1")
            self.failures.give_back("alice", "192.0.2.1")
        self.failures.give_back("bob", "192.0.2.2")
        self.assertEqual(self.left("alice", "192.0.2.1"), 3)
        self.assertEqual(self.left("bob", "192.0.2.2"), 3)

    def test_refused_is_free(self) -> None:
        """What was refused for its name does not count for its address."""
        self.left("alice", "192.0.2.1")
        for _ in range(10):
            self.assertRaises(RateLimited, self.failures.take, "alice", "192.0.2.1")
        self.assertEqual(self.left("bob", "192.0.2.1"), 2)

    def test_networks(self) -> None:
        """IPv6 addresses of one /64 are one, and mapped IPv4 addresses are IPv4."""
        self.assertEqual([self.left(f"a{n}", f"2001:db8::{n}") for n in range(1, 4)], [3, 2, 0])
        self.assertEqual(self.left("b", "2001:db8:0:1::1"), 3)
        self.assertEqual(self.left("c", "fe80::1%eth0"), 3)
        self.assertEqual([self.left(f"d{n}", "::ffff:192.0.2.7") for n in range(2)] + [self.left("e", "192.0.2.7")], [3, 2, 0])

    def test_unknown_places(self) -> None:
        """A UNIX socket has no address and an impossible name no user: they are not counted."""
        self.assertEqual([self.left(name, "unix") for name in "abc"], [3, 3, 3])
        self.assertEqual(self.left("", "192.0.2.1"), 5)
        self.assertEqual(self.left("", "unix"), 100)

    def test_bounded(self) -> None:
        """However many names and addresses are tried, so many are remembered, the latest."""
        self.failures = FailedLogins(replace(SETTINGS, failures_remembered=100), self.clock.seconds)
        self.left("alice", "192.0.2.1")
        for number in range(98):
            self.left(f"user{number}", f"10.0.0.{number}")
        self.assertEqual(self.left("alice", "unix"), 0)
        for number in range(100):
            self.left(f"user{number}", f"10.0.1.{number}")
        self.assertEqual(self.left("alice", "unix"), 3)
