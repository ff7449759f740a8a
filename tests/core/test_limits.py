"""Rate budgets."""

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.identity import Identity
from netsvc.core.limits import REFUSALS, Budgets
from netsvc.core.settings import LimitsSettings
from netsvc.errors import RateLimited

ALICE = Identity("alice", ("member",))
BOB = Identity("bob", ("member",))
GUEST = Identity("guest-1", ("guest",), guest=True)


class BudgetTests(TestCase):
    """One caller's budget."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        self.budgets = Budgets(LimitsSettings(calls_per_second=10.0, burst=5.0), self.clock.seconds)

    def test_a_burst_then_the_steady_rate(self) -> None:
        """A rested caller may spend the burst at once, then as much as time earns."""
        budget = self.budgets.of(ALICE, "192.0.2.1")
        for _ in range(5):
            budget.charge(1.0)
        self.assertRaises(RateLimited, budget.charge, 1.0)
        self.clock.advance(0.1)
        budget.charge(1.0)
        self.assertRaises(RateLimited, budget.charge, 1.0)

    def test_it_says_when_to_try_again(self) -> None:
        """retry_after is the time after which the same call is let through, and no sooner."""
        budget = self.budgets.of(ALICE, "192.0.2.1")
        budget.charge(5.0)
        error = self.assertRaises(RateLimited, budget.charge, 2.0)
        self.assertAlmostEqual(error.retry_after, 0.2, places=2)
        self.clock.advance(error.retry_after)
        budget.charge(2.0)

    def test_a_refused_call_costs_nothing(self) -> None:
        """Whoever keeps asking does not wait longer for it."""
        budget = self.budgets.of(ALICE, "192.0.2.1")
        budget.charge(5.0)
        for _ in range(100):
            self.assertRaises(RateLimited, budget.charge, 1.0)
        self.clock.advance(0.1)
        budget.charge(1.0)

    def test_a_call_dearer_than_the_burst(self) -> None:
        """It is let through when the budget is full, and is paid off before the next; retry_after says when that is."""
        budget = self.budgets.of(ALICE, "192.0.2.1")
        budget.charge(7.0)
        error = self.assertRaises(RateLimited, budget.charge, 7.0)
        self.assertAlmostEqual(error.retry_after, 0.7, places=2)
        self.assertAlmostEqual(self.assertRaises(RateLimited, budget.charge, 1.0).retry_after, 0.3, places=2)
        self.clock.advance(0.7)
        budget.charge(7.0)

    def test_a_full_budget_buys_a_burst(self) -> None:
        """Whatever the numbers: no rounding makes a rested caller wait."""
        for rate in range(1, 50):
            for burst in range(1, 20):
                Budgets(LimitsSettings(calls_per_second=float(rate), burst=float(burst)), self.clock.seconds).of(ALICE, "").charge(float(burst))

    def test_what_is_left(self) -> None:
        """`remaining` is what could be spent now."""
        budget = self.budgets.of(ALICE, "192.0.2.1")
        self.assertEqual(budget.remaining, 5)
        budget.charge(2.0)
        self.assertEqual(budget.remaining, 3)
        self.clock.advance(100)
        self.assertEqual(budget.remaining, 5)

    def test_what_clients_are_told(self) -> None:
        """Quota, window, what remains and when it is more, in whole numbers; the data of a refusal has them, too."""
        budget = self.budgets.of(ALICE, "192.0.2.1")
        self.assertEqual((budget.quota, budget.window, budget.rest()), (5, 1, (5, 0)))
        budget.charge(1.0)
        self.assertEqual(budget.rest(), (4, 1))
        budget.charge(4.0)
        data = self.assertRaises(RateLimited, budget.charge, 1.0).data
        self.assertEqual(data, {"retry_after": 0.1, "quota": 5, "window": 1, "remaining": 0})
        slow = Budgets(LimitsSettings(calls_per_second=0.1, burst=2.0), self.clock.seconds).of(ALICE, "")
        slow.charge(2.0)
        self.assertEqual((slow.window, slow.rest()), (20, (0, 10)))
        self.clock.advance(3)
        self.assertEqual(slow.rest(), (0, 7))

    def test_who_takes_no_heed(self) -> None:
        """Some hundred refusals are told at once; whoever goes on is to be read from no faster than they are forgotten."""
        budget = self.budgets.of(ALICE, "192.0.2.1")
        budget.charge(5.0)
        for _ in range(REFUSALS):
            self.assertRaises(RateLimited, budget.charge, 1.0)
        self.assertAlmostEqual(budget.pause, 0.0)
        for _ in range(REFUSALS):
            self.assertRaises(RateLimited, budget.charge, 5.0)
        self.assertAlmostEqual(budget.pause, 1.0)
        self.clock.advance(2.0)
        self.assertEqual(budget.pause, 0.0)

    def test_callers_are_apart(self) -> None:
        """One caller's spending is not another's; the same key is the same budget."""
        self.budgets.of(ALICE, "192.0.2.1").charge(5.0)
        self.budgets.of(BOB, "192.0.2.1").charge(5.0)
        self.assertRaises(RateLimited, self.budgets.of(ALICE, "192.0.2.1").charge, 1.0)

    def test_off_is_endless(self) -> None:
        """With rate = off the check stays and never refuses."""
        budget = Budgets(LimitsSettings(rate=False), self.clock.seconds).of(ALICE, "192.0.2.1")
        for _ in range(100_000):
            budget.charge(10.0)
        self.assertEqual(budget.remaining, LimitsSettings().burst)

    def test_whose_it_is(self) -> None:
        """A user's is the user's wherever from; guests, and those who have not logged in, share their address's."""
        of = self.budgets.of
        self.assertIs(of(ALICE, "192.0.2.1"), of(ALICE, "192.0.2.2"))
        self.assertIs(of(GUEST, "192.0.2.1"), of(None, "192.0.2.1"))
        self.assertIsNot(of(GUEST, "192.0.2.1"), of(GUEST, "192.0.2.2"))
        self.assertIsNot(of(Identity("192.0.2.1", ("member",)), "192.0.2.1"), of(GUEST, "192.0.2.1"))

    def test_whose_an_ipv6_address_is(self) -> None:
        """A guest who has a network to choose addresses from has one budget in it."""
        of = self.budgets.of
        self.assertIs(of(GUEST, "2001:db8::1"), of(None, "2001:db8::ffff:2"))
        self.assertIsNot(of(GUEST, "2001:db8::1"), of(GUEST, "2001:db8:0:1::1"))
        self.assertIs(of(GUEST, "unix"), of(GUEST, "unix"))

    def test_the_number_remembered_is_bounded(self) -> None:
        """Beyond the bound those at rest are forgotten first; if none of the oldest is, the oldest."""
        budgets = Budgets(LimitsSettings(budgets=100), self.clock.seconds)
        spent = budgets.of(None, "0")
        spent.charge(10.0)
        for number in range(1, 101):
            budgets.of(None, str(number))
        self.assertLessEqual(len(budgets), 100)
        self.assertIs(budgets.of(None, "0"), spent)
        for number in range(1000, 1200):
            budgets.of(None, str(number)).charge(10.0)
        self.assertLessEqual(len(budgets), 100)
        self.assertIsNot(budgets.of(None, "0"), spent)
