"""Users, tokens and sessions: the same on disk and in memory, for commands and for the daemon."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.core.records import SessionRecord, TokenRecord, UserRecord
from netsvc.errors import Conflict, NotFound, StoreUnavailable
from netsvc.interfaces import IAccounts
from netsvc.store.memory import MemoryStore
from netsvc.store.sqlite import Accounts, open_accounts
from tests.store.harness import NOW, now, open_store

R = TypeVar("R")

ARGON = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"


class AccountsContract:
    """The promises of Accounts, on which the commands work, and of IAccounts, which the daemon asks."""

    store: Any
    local: Accounts
    accounts: Any

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result of a Deferred; raises its error."""
        raise NotImplementedError

    def raised(self, change: Callable[[], object]) -> bool:
        """Whether a change raises the revision, for both to see."""
        before = self.local.revision()
        change()
        after = self.outcome(self.accounts.revision())
        self.assertEqual(after, self.local.revision())
        self.assertGreaterEqual(after, before)
        return bool(after > before)

    def issue(self, id: str = "t1", digest: bytes = b"digest", user: str = "ada") -> None:
        """Issue a token."""
        self.local.issue_token(id, digest, user, "laptop", NOW, 0)

    def created(self, name: str) -> int:
        """When a user was added."""
        user = self.local.find_user(name)
        assert user is not None
        return user.created

    def test_interface(self) -> None:
        """It provides IAccounts."""
        verifyObject(IAccounts, self.accounts)

    def test_users(self) -> None:
        """Users are added, listed by name and found."""
        self.assertEqual(self.local.users(), [])
        self.assertTrue(self.raised(lambda: self.local.add_user("bob", "member")))
        self.local.add_user("ada", "admin", ARGON)
        ada = self.local.find_user("ada")
        assert ada is not None
        self.assertEqual(ada, UserRecord("ada", "admin", ARGON, ada.created))
        self.assertGreater(ada.created, NOW)
        self.assertEqual([user.name for user in self.local.users()], ["ada", "bob"])
        self.assertEqual(self.outcome(self.accounts.find_user("ada")), ada)
        self.assertIsNone(self.outcome(self.accounts.find_user("eve")))

    def test_user_twice(self) -> None:
        """A name is taken once; the user who has it stays as it is."""
        self.local.add_user("ada", "admin", ARGON)
        self.assertFalse(self.raised(lambda: self.assertRaises(Conflict, self.local.add_user, "ada", "member")))
        self.assertEqual([user.role for user in self.local.users()], ["admin"])

    def test_no_such_user(self) -> None:
        """What is done to an absent user is refused, and changes nothing."""
        local = self.local
        for change in (
            lambda: local.set_password("eve", ARGON),
            lambda: local.set_role("eve", "admin"),
            lambda: local.remove_user("eve"),
            lambda: self.issue(user="eve"),
            lambda: local.tokens("eve"),
            lambda: local.add_session(b"d", "eve", NOW, NOW + 1),
        ):
            error: list[NotFound] = []
            self.assertFalse(self.raised(lambda change=change, error=error: error.append(self.assertRaises(NotFound, change))))
            self.assertEqual(error[0].detail, "there is no user 'eve'")
        self.assertRaises(NotFound, self.outcome, self.accounts.add_session(b"d", "eve", NOW, NOW + 1))

    def test_password(self) -> None:
        """Another password ends the sessions, which may be a thief's, and leaves the tokens."""
        self.local.add_user("ada", "member", "old")
        self.local.add_user("bob", "member", "old")
        self.issue()
        for user in ("ada", "bob"):
            self.local.add_session(user.encode(), user, NOW, NOW + 1)
        self.assertTrue(self.raised(lambda: self.local.set_password("ada", ARGON)))
        self.assertEqual([user.password for user in self.local.users()], [ARGON, "old"])
        self.assertEqual([self.local.find_session(user) is None for user in (b"ada", b"bob")], [True, False])
        self.assertIsNotNone(self.local.find_token(b"digest"))

    def test_rehash(self) -> None:
        """The same password in a new string revokes nothing; for a user who is gone nothing is done."""
        self.local.add_user("ada", "member", "old")
        self.local.add_session(b"d", "ada", NOW, NOW + 1)
        self.assertFalse(self.raised(lambda: self.assertTrue(self.outcome(self.accounts.renew_password("ada", "old", ARGON)))))
        self.assertEqual([user.password for user in self.local.users()], [ARGON])
        self.assertIsNotNone(self.local.find_session(b"d"))
        self.assertFalse(self.outcome(self.accounts.renew_password("eve", "old", ARGON)))

    def test_rehash_too_late(self) -> None:
        """A password that was set meanwhile is not overwritten by the one before it."""
        self.local.add_user("ada", "member", "other")
        self.assertFalse(self.outcome(self.accounts.renew_password("ada", "old", ARGON)))
        self.assertEqual([user.password for user in self.local.users()], ["other"])

    def test_role(self) -> None:
        """A role holds at once for what the user's tokens and sessions may do; the last admin may be demoted."""
        self.local.add_user("ada", "admin")
        self.issue()
        self.local.add_session(b"d", "ada", NOW, NOW + 1)
        self.assertTrue(self.raised(lambda: self.local.set_role("ada", "member")))
        found = [self.local.find_user("ada"), self.outcome(self.accounts.find_token(b"digest")), self.outcome(self.accounts.find_session(b"d"))]
        self.assertEqual([record.role for record in found if record], ["member"] * 3)

    def test_remove_user(self) -> None:
        """With a user go the tokens and sessions, and nobody else's."""
        for user in ("ada", "bob"):
            self.local.add_user(user, "member")
            self.issue(user, user.encode(), user)
            self.local.add_session(user.encode(), user, NOW, NOW + 1)
        self.assertTrue(self.raised(lambda: self.local.remove_user("ada")))
        self.assertEqual([user.name for user in self.local.users()], ["bob"])
        self.assertEqual([token.id for token in self.local.tokens()], ["bob"])
        self.assertEqual([self.local.find_session(user) is None for user in (b"ada", b"bob")], [True, False])
        self.local.add_user("ada", "member")
        self.assertEqual(self.local.tokens("ada"), [])

    def test_read_marks_of_a_former_user(self) -> None:
        """With a user go the read marks, and who is added under the name does not get the one that a last connection left behind."""
        self.local.add_user("ada", "member")
        for gone in (False, True):
            self.outcome(self.store.mark_read("ada", "r", 5, NOW, 10))
            if not gone:
                self.local.remove_user("ada")
                self.assertEqual(self.outcome(self.store.read_marks("ada")), {})
        self.local.add_user("ada", "member")
        self.assertEqual(self.outcome(self.store.read_marks("ada")), {})

    def test_tokens(self) -> None:
        """A token is found by its digest, and listed the oldest first."""
        self.local.add_user("ada", "member")
        self.local.add_user("bob", "admin")
        self.assertFalse(self.raised(lambda: self.local.issue_token("t2", b"two", "ada", "laptop", NOW, NOW + 5)))
        self.local.issue_token("t1", b"one", "bob", "", NOW, 0)
        self.local.issue_token("t0", b"zero", "ada", "", NOW + 1, 0)
        token = TokenRecord("t2", b"two", "ada", "member", "laptop", NOW, NOW + 5, self.created("ada"))
        self.assertEqual(self.outcome(self.accounts.find_token(b"two")), token)
        self.assertIsNone(self.outcome(self.accounts.find_token(b"three")))
        self.assertEqual([token.id for token in self.local.tokens()], ["t1", "t2", "t0"])
        self.assertEqual([token.id for token in self.local.tokens("ada")], ["t2", "t0"])

    def test_token_twice(self) -> None:
        """Ids and digests are used once."""
        self.local.add_user("ada", "member")
        self.issue("t1", b"one")
        self.assertRaises(Conflict, self.issue, "t1", b"two")
        self.assertRaises(Conflict, self.issue, "t2", b"one")
        self.assertEqual(len(self.local.tokens()), 1)

    def test_revoke(self) -> None:
        """A revoked token is gone; one that is not there cannot be revoked."""
        self.local.add_user("ada", "member")
        self.issue()
        self.assertTrue(self.raised(lambda: self.local.revoke_token("t1")))
        self.assertIsNone(self.local.find_token(b"digest"))
        self.assertFalse(self.raised(lambda: self.assertRaises(NotFound, self.local.revoke_token, "t1")))

    def test_sessions(self) -> None:
        """A session is opened, found and ended; ending it again is no error and no change."""
        self.local.add_user("ada", "member")
        self.assertFalse(self.raised(lambda: self.outcome(self.accounts.add_session(b"d", "ada", NOW, NOW + 5))))
        self.assertEqual(self.outcome(self.accounts.find_session(b"d")), SessionRecord(b"d", "ada", "member", NOW, NOW + 5, self.created("ada")))
        before = self.local.revision()
        self.assertEqual(self.outcome(self.accounts.remove_session(b"d")), before + 1)
        self.assertEqual(self.local.revision(), before + 1)
        self.assertIsNone(self.outcome(self.accounts.find_session(b"d")))
        self.assertFalse(self.raised(lambda: self.assertIsNone(self.outcome(self.accounts.remove_session(b"d")))))

    def test_expired_sessions(self) -> None:
        """Sessions that have expired are removed, no more at once than told, and not those without an end."""
        self.local.add_user("ada", "member")
        for number, expires in enumerate((NOW, NOW + 1, NOW + 2, 0)):
            self.local.add_session(b"%d" % number, "ada", NOW, expires)
        self.assertEqual([self.local.remove_expired_sessions(NOW + 1, most) for most in (1, 5, 5)], [1, 1, 0])
        self.assertIsNotNone(self.local.find_session(b"2"))
        self.assertIsNotNone(self.local.find_session(b"3"))


class MemoryAccountsTests(AccountsContract, SynchronousTestCase):
    """Accounts in memory."""

    def setUp(self) -> None:
        """Those of a memory store."""
        self.store = MemoryStore()
        self.local, self.accounts = self.store.local_accounts, self.store.accounts

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result; raises its error."""
        return now(deferred)


class SqliteAccountsTests(AccountsContract, SynchronousTestCase):
    """Accounts on disk: a command at work while the daemon runs."""

    def setUp(self) -> None:
        """A daemon's store, and a command beside it."""
        self.directory = Path(self.mktemp())
        self.reactor, self.store = open_store(self.directory)
        self.addCleanup(lambda: self.reactor.wait(self.store.stop()))
        self.accounts = self.store.accounts
        self.local = open_accounts(self.directory)
        self.addCleanup(self.local.close)

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result; raises its error."""
        return self.reactor.wait(deferred)

    def test_first_command(self) -> None:
        """A command may come before the first start, and what it did is there then."""
        directory = Path(self.mktemp())
        with open_accounts(directory) as accounts:
            accounts.add_user("ada", "admin", ARGON)
        reactor, store = open_store(directory)
        self.assertIsNotNone(reactor.wait(store.accounts.find_user("ada")))
        reactor.wait(store.stop())

    def test_unavailable(self) -> None:
        """What SQLite does not do is StoreUnavailable, for reading and for writing."""
        self.local.close()
        closed = "Cannot operate on a closed database."
        self.assertEqual(self.assertRaises(StoreUnavailable, self.local.users).detail, f"the store could not read: {closed}")
        self.assertEqual(self.assertRaises(StoreUnavailable, self.local.add_user, "ada", "admin").detail, f"the store could not write: {closed}")
