"""Tests for netsvc.core.logins."""

from unittest.mock import patch

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from netsvc.core.credentials import Guest, Password, Session, Token
from netsvc.core.identity import Identity
from netsvc.core.logins import Logins
from netsvc.core.passwords import PasswordHashes
from netsvc.errors import Conflict, DeadlinePassed, Forbidden, InvalidParams, NotAuthenticated, Overloaded, RateLimited, StoreUnavailable
from tests.core.accounts import CHEAP, cheap_passwords
from tests.core.logins_case import EPOCH, PASSWORD, PEER, LoginsCase


class Remembering(LoginsCase):
    """The way without the portal."""

    def test_token(self) -> None:
        """A token is looked up once, then answered from memory with the very same identity."""
        first = self.login(Token("nst_bot"))
        self.assertEqual(first, Identity("bot", ("member",), credential=Token("nst_bot").id))
        self.assertIs(self.login(Token("nst_bot")), first)
        self.assertEqual(self.accounts.asked, ["find_token"])

    def test_password(self) -> None:
        """A password is hashed once; after a change elsewhere the user is looked up, and nothing hashed."""
        first = self.login(Password("alice", PASSWORD))
        self.assertIs(self.login(Password("Alice", PASSWORD)), first)
        self.accounts.touch()
        self.clock.advance(2)
        self.assertEqual(self.login(Password("alice", PASSWORD)), first)
        self.assertEqual(self.threads.calls, 1)

    def test_changed_password(self) -> None:
        """After a change of the password the old one is worth nothing, the new one is."""
        self.login(Password("alice", PASSWORD))
        self.accounts.local.set_password("alice", PasswordHashes(CHEAP).make("another horse"))
        self.clock.advance(2)
        self.assertRaises(NotAuthenticated, self.login, Password("alice", PASSWORD))
        self.assertRaises(NotAuthenticated, self.login, Password("alice", PASSWORD))
        self.assertEqual(self.login(Password("alice", "another horse")).name, "alice")

    def test_revoked(self) -> None:
        """A revoked token is remembered no longer than the next look."""
        self.login(Token("nst_bot"))
        self.accounts.local.revoke_token("nst_bot")
        self.clock.advance(2)
        self.assertRaises(NotAuthenticated, self.login, Token("nst_bot"))

    def test_expired(self) -> None:
        """A token expires to the millisecond, remembered or not."""
        self.accounts.issue("nst_short", "bot", int(EPOCH * 1000) + 1500)
        self.login(Token("nst_short"))
        self.clock.advance(1.499)
        self.login(Token("nst_short"))
        self.clock.advance(0.001)
        self.assertRaises(NotAuthenticated, self.login, Token("nst_short"))

    def test_bounded(self) -> None:
        """No more logins and addresses are remembered than the setting says."""
        self.logins = Logins(self.accounts, cheap_passwords(), self.clock, replace(CHEAP, remembered=100), True)
        for number in range(150):
            self.accounts.issue(f"nst_{number}", "bot")
            self.login(Token(f"nst_{number}"))
        self.accounts.asked.clear()
        self.login(Token("nst_149"))
        self.login(Token("nst_50"))
        self.assertEqual(self.accounts.asked, [])
        self.login(Token("nst_49"))
        self.assertEqual(self.accounts.asked, ["find_token"])

    def test_change_while_looking_up(self) -> None:
        """What was looked up before a change is not remembered after it."""
        self.accounts.held = []
        found = self.logins.login(Token("nst_bot"), PEER)
        held, self.accounts.held = self.accounts.held, None
        self.accounts.local.revoke_token("nst_bot")
        self.clock.advance(2)
        held[0][0].callback(held[0][1])
        self.successResultOf(found)
        self.assertRaises(NotAuthenticated, self.login, Token("nst_bot"))


class Proving(LoginsCase):
    """The way through the portal."""

    def test_refusals(self) -> None:
        """Every refusal is NotAuthenticated with words that do not say what was wrong."""
        details = set()
        for credentials in (Password("alice", "wrong"), Password("nobody", PASSWORD), Password("bot", "x"), Password("b b", "x")):
            with self.assertRaises(NotAuthenticated) as caught:
                self.login(credentials)
            details.add(caught.exception.detail)
        self.assertEqual(details, {"wrong name or password"})
        for credentials in (Token("nst_no"), Session("no")):
            self.assertRaises(NotAuthenticated, self.login, credentials)

    def test_later(self) -> None:
        """While the store is looking, the answer is a Deferred, and those who ask the same wait for one look-up."""
        self.accounts.held = []
        waiting = [self.logins.login(Token("nst_bot"), PEER) for _ in range(3)]
        self.assertEqual(self.accounts.asked, ["find_token"])
        for deferred in waiting:
            self.assertNoResult(deferred)
        self.accounts.give()
        self.assertEqual({self.successResultOf(deferred).name for deferred in waiting}, {"bot"})

    def test_refused_later(self) -> None:
        """All who wait for one look-up are refused by it, and the next asks anew."""
        self.accounts.held = []
        waiting = [self.logins.login(Token("nst_no"), PEER) for _ in range(3)]
        self.accounts.give()
        for deferred in waiting:
            self.failureResultOf(deferred, NotAuthenticated)
        self.accounts.issue("nst_no", "bot")
        self.login(Token("nst_no"))

    def test_one_gives_up(self) -> None:
        """One who no longer waits does not take the others with him."""
        self.accounts.held = []
        first, second = self.logins.login(Token("nst_bot"), PEER), self.logins.login(Token("nst_bot"), PEER)
        assert isinstance(first, Deferred)
        first.addErrback(lambda failure: None)
        first.cancel()
        self.accounts.give()
        self.assertEqual(self.successResultOf(second).name, "bot")

    def test_deadline(self) -> None:
        """A store that does not answer is waited for no longer than the timeout."""
        self.accounts.held = []
        waiting = self.logins.login(Token("nst_bot"), PEER)
        self.clock.advance(CHEAP.timeout)
        self.failureResultOf(waiting, DeadlinePassed)

    def test_store_failure(self) -> None:
        """A store that cannot be read is no refusal."""
        self.accounts.error = StoreUnavailable("disk")
        self.assertRaises(StoreUnavailable, self.login, Token("nst_bot"))
        self.assertRaises(StoreUnavailable, self.login, Password("alice", PASSWORD))

    def test_guests(self) -> None:
        """A guest who comes to stay has a name of its own; one who asks for a name gets it unless it is bad or a user's."""
        self.assertNotEqual(self.login(Guest()).name, self.login(Guest()).name)
        self.assertEqual(self.login(Guest("Bob")).name, "Bob")
        self.assertRaises(Conflict, self.login, Guest("Alice"))
        self.assertRaises(InvalidParams, self.login, Guest("<b>"))

    def test_networks_of_guests(self) -> None:
        """A guest has the network it comes from, unless that is this host; a user has none."""
        networks = {peer: self.login(Guest("ann"), peer).network for peer in (PEER, "2001:db8::1:2", "127.0.0.1", "::1", "unix")}
        self.assertEqual(networks, {PEER: PEER, "2001:db8::1:2": "2001:db8::/64", "127.0.0.1": "", "::1": "", "unix": ""})
        visitor = self.logins.visitor(PEER)
        self.assertEqual((visitor.network, self.logins.networks_of_visitor(visitor.name), self.logins.networks_of_visitor("ann")), (PEER, [PEER], []))
        self.assertEqual(self.logins.networks_of_visitor(self.logins.visitor("127.0.0.1").name), [])
        self.assertEqual(self.login(Token("nst_bot")).network, "")

    def test_guests_later(self) -> None:
        """While the store is asked whether a name is a user's, the answer is a Deferred."""
        self.accounts.held = []
        free, taken = self.logins.login(Guest("Bob"), PEER), self.logins.login(Guest("Alice"), PEER)
        self.accounts.give()
        self.assertEqual(self.successResultOf(free).name, "Bob")
        self.failureResultOf(taken, Conflict)

    def test_visitors(self) -> None:
        """Requests from one address have one guest's name, without a look-up; another process gives other names."""
        first = self.logins.visitor(PEER)
        self.assertRegex(first.name, "^guest-[a-z2-7]{6}$")
        self.assertIs(self.logins.visitor(PEER), first)
        self.assertNotEqual(self.logins.visitor("192.0.2.2").name, first.name)
        self.assertEqual(self.accounts.asked, [])
        other = Logins(self.accounts, cheap_passwords(), self.clock, CHEAP, True)
        self.assertNotEqual(other.visitor(PEER).name, first.name)


class NoGuests(LoginsCase):
    """Guests that are not allowed."""

    guests = False

    def test_refused(self) -> None:
        """Neither visitors nor guests come in."""
        self.assertRaises(NotAuthenticated, self.logins.visitor, PEER)
        self.assertRaises(NotAuthenticated, self.login, Guest())
        self.assertRaises(NotAuthenticated, self.login, Guest("bob"))


class Guessing(LoginsCase):
    """Wrong passwords slow their sender down."""

    settings = replace(CHEAP, failures=3, failures_per_address=5)

    def test_name(self) -> None:
        """After the set number of wrong passwords even the right one has to wait; sessions and tokens do not."""
        for number in range(3):
            self.assertRaises(NotAuthenticated, self.login, Password("alice", "wrong"), f"192.0.2.{number}")
        with self.assertRaises(RateLimited) as caught:
            self.login(Password("alice", PASSWORD))
        self.assertGreater(caught.exception.retry_after, 0)
        self.assertEqual(self.threads.calls, 3)
        self.login(Token("nst_bot"))
        self.clock.advance(caught.exception.retry_after)
        self.login(Password("alice", PASSWORD))

    def test_said(self) -> None:
        """Each failure is a line with the address, and who is closed to guesses another; a first try is never named, it may be a password."""
        with capturedLogs() as logged:
            for password in ("wrong", "worse", "worst"):
                self.assertRaises(NotAuthenticated, self.login, Password("Alice", password), "192.0.2.7")
            self.assertRaises(RateLimited, self.login, Password("alice", PASSWORD), "192.0.2.7")
            self.assertRaises(NotAuthenticated, self.login, Password("no user's name", "wrong"), "192.0.2.7")
        failed, closed = "a login failed: wrong name or password", "passwords are refused for a while: too many were wrong"
        said = [(event["log_format"], event.get("identity"), event["peer"]) for event in logged]
        self.assertEqual(said, [(failed, None, "192.0.2.7")] * 3 + [(closed, "alice", "192.0.2.7"), (failed, None, "192.0.2.7")])

    def test_address(self) -> None:
        """An address that tries many names is stopped too."""
        for number in range(5):
            self.assertRaises(NotAuthenticated, self.login, Password(f"user{number}", "wrong"))
        self.assertRaises(RateLimited, self.login, Password("alice", PASSWORD))

    def test_remembered_logins_are_free(self) -> None:
        """Who is known already is not held up by others' guesses."""
        self.login(Password("alice", PASSWORD))
        for number in range(9):
            self.assertRaises((NotAuthenticated, RateLimited), self.login, Password("alice", f"wrong{number}"))
        self.login(Password("alice", PASSWORD))

    def test_only_wrong_passwords_count(self) -> None:
        """An overloaded server or a store that fails costs nobody an attempt."""
        with patch.object(self.threads, "run", side_effect=Overloaded("busy")):
            for _ in range(9):
                self.assertRaises(Overloaded, self.login, Password("alice", PASSWORD))
        self.login(Password("alice", PASSWORD))

    def test_all_at_once(self) -> None:
        """Attempts are counted when they begin: many at once are no more than the set number."""
        self.accounts.held = []
        refused = 0
        for number in range(20):
            try:
                attempt = self.logins.login(Password("alice", f"wrong{number}"), PEER)
            except RateLimited:
                refused += 1
            else:
                assert isinstance(attempt, Deferred)
                attempt.addErrback(lambda failure: failure.trap(NotAuthenticated))
        self.assertEqual((refused, len(self.accounts.held)), (17, 3))
        self.accounts.give()


class Sessions(LoginsCase):
    """Browsers that stay signed in."""

    def test_open_and_close(self) -> None:
        """A session's secret logs in until it is closed; the store has its digest only."""
        secret = self.successResultOf(self.logins.open_session(self.login(Password("alice", PASSWORD))))
        self.assertEqual(self.accounts.sessions(), [Session(secret).digest])
        identity = self.watched(Session(secret))
        self.assertEqual((identity.name, identity.roles), ("alice", ("admin",)))
        self.successResultOf(self.logins.close_session(secret))
        self.assertEqual(self.closed, ["logged out"])
        self.assertRaises(NotAuthenticated, self.login, Session(secret))

    def test_lifetime(self) -> None:
        """It ends by itself after the set time, also for a live connection."""
        secret = self.successResultOf(self.logins.open_session(self.login(Password("alice", PASSWORD))))
        self.watched(Session(secret))
        self.clock.pump([1_000_000, CHEAP.session - 1_000_000 - 3])
        self.assertEqual(self.closed, [])
        self.login(Session(secret))
        self.clock.pump([2] * 3)
        self.assertEqual(self.closed, ["the login has expired"])
        self.assertRaises(NotAuthenticated, self.login, Session(secret))

    def test_who_stays_is_not_proved_again(self) -> None:
        """That somebody logs out costs nothing for all others who are connected, unless something else has changed with it."""
        secrets = [self.successResultOf(self.logins.open_session(self.login(Password("alice", PASSWORD)))) for _ in range(3)]
        self.watched(Token("nst_bot"))
        self.clock.pump([2.0] * 3)
        self.accounts.asked.clear()
        for secret in secrets[:2]:
            self.successResultOf(self.logins.close_session(secret))
        self.successResultOf(self.logins.close_session(secrets[0]))
        self.clock.pump([2.0] * 3)
        self.assertNotIn("find_token", self.accounts.asked)
        self.accounts.local.revoke_token("nst_bot")
        self.successResultOf(self.logins.close_session(secrets[2]))
        self.assertEqual(self.closed, [])
        self.clock.pump([2.0] * 3)
        self.assertEqual(self.closed, ["this token is unknown, expired or revoked"])

    def test_not_for_guests(self) -> None:
        """A guest has no session."""
        self.assertRaises(Forbidden, self.logins.open_session, self.login(Guest()))

    def test_closing_while_looking_up(self) -> None:
        """A login that began before its session was closed is not remembered after it."""
        secret = self.successResultOf(self.logins.open_session(self.login(Password("alice", PASSWORD))))
        self.accounts.held = []
        found = self.logins.login(Session(secret), PEER)
        held, self.accounts.held = self.accounts.held, None
        self.successResultOf(self.logins.close_session(secret))
        held[0][0].callback(held[0][1])
        self.successResultOf(found)
        self.assertRaises(NotAuthenticated, self.login, Session(secret))
