"""Tests for netsvc.core.portal."""

from typing import Any
from unittest.mock import patch

from msgspec.structs import replace
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface
from zope.interface.verify import verifyObject

from netsvc.core.credentials import Guest, KnownUser, Password, Session, Token
from netsvc.core.identity import Identity, IIdentity
from netsvc.core.passwords import PasswordHashes, Passwords
from netsvc.core.portal import IdentityRealm, build_portal
from netsvc.errors import Conflict, InvalidParams, StoreUnavailable
from netsvc.interfaces import IAccounts
from tests.core.accounts import CHEAP, AtOnce, ScriptedAccounts, cheap_passwords

SECRET = "nst_secret"
PASSWORD = "correct horse"


class PortalCase(SynchronousTestCase):
    """alice is an admin with password, token and session; bot has neither password nor session."""

    guests = True

    def setUp(self) -> None:
        """A portal on accounts in memory."""
        self.accounts = ScriptedAccounts()
        self.accounts.add("alice", PASSWORD, "admin")
        self.accounts.add("bot")
        self.accounts.issue(SECRET, "bot")
        self.accounts.local.add_session(Session(SECRET).digest, "alice", 0, 5000)
        self.clock = Clock()
        self.threads = AtOnce()
        self.portal = build_portal(self.accounts, cheap_passwords(self.threads), self.clock.seconds, self.guests)

    def login(self, credentials: Any) -> Identity:
        """What the portal says at once."""
        interface, identity, logout = self.successResultOf(self.portal.login(credentials, None, IIdentity))
        self.assertIs(interface, IIdentity)
        logout()
        return identity

    def refused(self, credentials: Any) -> None:
        """The portal says no, and no more than that."""
        failure = self.failureResultOf(self.portal.login(credentials, None, IIdentity), UnauthorizedLogin)
        self.assertEqual(str(failure.value), "")


class Portals(PortalCase):
    """What each kind of credentials proves."""

    def test_interfaces(self) -> None:
        """The parts are what cred says they are; so are the accounts."""
        self.assertTrue(verifyObject(IRealm, self.portal.realm))
        for checker in self.portal.checkers.values():
            self.assertTrue(verifyObject(ICredentialsChecker, checker))
        self.assertTrue(verifyObject(IAccounts, self.accounts))

    def test_identities_only(self) -> None:
        """The realm has nothing but identities."""
        self.assertRaises(NotImplementedError, IdentityRealm().requestAvatar, None, None, Interface)

    def test_token(self) -> None:
        """A token is its user, with the user's present role."""
        identity = self.login(Token(SECRET))
        self.assertEqual(identity, Identity("bot", ("member",), credential=Token(SECRET).id))
        self.accounts.local.set_role("bot", "admin")
        self.assertEqual(self.login(Token(SECRET)).roles, ("admin",))

    def test_since(self) -> None:
        """Whatever proves a user says since when there is this user: one of the same name who was removed was another."""
        self.accounts.local.remove_user("alice")
        self.accounts.now = 2.5
        self.accounts.add("alice", PASSWORD)
        self.accounts.issue("nst_new", "alice")
        self.accounts.local.add_session(Session("new").digest, "alice", 3000, 5000)
        by_password = self.login(Password("alice", PASSWORD))
        known = KnownUser(*by_password.credential.split(":")[1:])
        for credentials in (known, Token("nst_new"), Session("new")):
            self.assertEqual(self.login(credentials).since, 2500)
        self.assertEqual((by_password.since, self.login(Token(SECRET)).since, self.login(Guest("ann")).since), (2500, 0, 0))

    def test_session(self) -> None:
        """So is a session, until it expires."""
        identity = self.login(Session(SECRET))
        self.assertEqual(identity, Identity("alice", ("admin",), credential=Session(SECRET).id, expires=5000))
        self.clock.advance(4.999)
        self.login(Session(SECRET))
        self.clock.advance(0.001)
        self.refused(Session(SECRET))

    def test_unknown_secrets(self) -> None:
        """Other secrets are refused, as are those of users who are gone, and one kind's as another's."""
        self.refused(Token("nst_other"))
        self.refused(Session("other"))
        self.accounts.local.remove_session(Session(SECRET).digest)
        self.refused(Session(SECRET))
        self.accounts.local.remove_user("bot")
        self.refused(Token(SECRET))

    def test_digest_is_compared(self) -> None:
        """A store that finds the wrong record lets nobody in."""
        record = self.accounts.local.find_token(Token(SECRET).digest)
        with patch.object(self.accounts, "find_token", lambda digest: succeed(record)):
            self.portal = build_portal(self.accounts, cheap_passwords(), self.clock.seconds, True)
        self.login(Token(SECRET))
        self.refused(Token("other"))

    def test_password(self) -> None:
        """A name, however written, and its password are the user; the credential recalls it without password."""
        identity = self.login(Password("ALICE", PASSWORD))
        self.assertEqual((identity.name, identity.roles, identity.guest), ("alice", ("admin",), False))
        known = KnownUser(*identity.credential.split(":")[1:])
        self.assertEqual(self.login(known), identity)

    def test_wrong_passwords(self) -> None:
        """Wrong password, unknown user, user without password, impossible name: one answer, at one cost."""
        for number, (name, password) in enumerate((("alice", "wrong"), ("nobody", PASSWORD), ("bot", ""), ("not a name", PASSWORD)), 1):
            self.refused(Password(name, password))
            self.assertEqual(self.threads.calls, number)

    def test_known_user_until_change(self) -> None:
        """A login by password is recalled until the password changes or the user is gone; a new role shows."""
        known = KnownUser.of("alice", self.accounts.kept("alice"))
        self.accounts.local.set_role("alice", "member")
        self.assertEqual(self.login(known).roles, ("member",))
        self.accounts.local.set_password("alice", PasswordHashes(CHEAP).make(PASSWORD))
        self.refused(known)
        self.accounts.local.remove_user("alice")
        self.refused(known)

    def test_store_failure(self) -> None:
        """A store that cannot be read is not a refusal."""
        self.accounts.error = StoreUnavailable("disk")
        for credentials in (Token(SECRET), Session(SECRET), Password("alice", PASSWORD), Guest("bob")):
            self.failureResultOf(self.portal.login(credentials, None, IIdentity), StoreUnavailable)


class Renewing(PortalCase):
    """Passwords hashed at other costs than today's."""

    def setUp(self) -> None:
        """Today's cost is higher than when alice's password was set."""
        super().setUp()
        hashes = PasswordHashes(replace(CHEAP, hash_passes=2))
        self.portal = build_portal(self.accounts, Passwords(hashes, self.threads), self.clock.seconds, True)
        self.old = self.accounts.kept("alice")

    def test_renewed(self) -> None:
        """The login keeps a new hash; those who came by the old one stay in, and are out when the password changes."""
        earlier = KnownUser.of("alice", self.old)
        identity = self.login(Password("alice", PASSWORD))
        kept = self.accounts.kept("alice")
        self.assertIn("t=2", kept)
        self.assertEqual(identity.credential, KnownUser.of("alice", kept).id)
        self.assertEqual(self.login(earlier).credential, earlier.id)
        self.accounts.local.set_password("alice", PasswordHashes(CHEAP).make("another horse"))
        self.refused(earlier)

    def test_changed_meanwhile(self) -> None:
        """A password that another process sets while the old one is hashed anew is not overwritten."""
        local = self.accounts.local
        for change in (lambda: local.set_password("alice", "$new"), lambda: local.remove_user("alice")):
            hashed: Deferred[Any] = Deferred()
            compared: list[Any] = []
            with patch.object(self.threads, "run", lambda function, *args, into=compared, result=hashed: into.append(function(*args)) or result):
                login = self.portal.login(Password("alice", PASSWORD), None, IIdentity)
            change()
            hashed.callback(compared[0])
            identity = self.successResultOf(login)[1]
            self.assertEqual(identity.credential, KnownUser.of("alice", self.old).id)
            user = local.find_user("alice")
            if user is not None:
                self.assertEqual(user.password, "$new")
                local.set_password("alice", self.old)

    def test_not_kept(self) -> None:
        """A store that cannot write keeps nobody out."""
        with patch.object(self.accounts, "renew_password", side_effect=StoreUnavailable("disk full")):
            identity = self.login(Password("alice", PASSWORD))
        self.assertEqual(identity.credential, KnownUser.of("alice", self.old).id)


class Guests(PortalCase):
    """Nobody in particular."""

    def test_generated(self) -> None:
        """Without a name a guest is given one of its own, without asking the store."""
        first, second = self.login(Guest()), self.login(Guest())
        self.assertRegex(first.name, "^guest-[a-z2-7]{6}$")
        self.assertNotEqual(first.name, second.name)
        self.assertEqual((first.roles, first.guest, first.credential), (("guest",), True, ""))
        self.assertEqual(self.accounts.asked, [])

    def test_named(self) -> None:
        """A name that is free is given, tidied."""
        self.assertEqual(self.login(Guest("Jose\u0301")), Identity("José", ("guest",), guest=True))
        self.assertEqual(self.login(Guest("bob")).name, "bob")

    def test_taken(self) -> None:
        """A user's name is a user's, in whatever case."""
        for name in ("alice", "Alice", "\uff21lice"):
            self.failureResultOf(self.portal.login(Guest(name), None, IIdentity), Conflict)

    def test_bad_names(self) -> None:
        """What is no name is an invalid parameter."""
        for name in ("", "<b>", "a b"):
            self.failureResultOf(self.portal.login(Guest(name), None, IIdentity), InvalidParams)


class NoGuests(PortalCase):
    """Guests that are not allowed."""

    guests = False

    def test_refused(self) -> None:
        """Nobody comes in, with a name or without."""
        self.refused(Guest())
        self.refused(Guest("bob"))
