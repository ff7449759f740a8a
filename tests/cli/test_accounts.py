"""Tests for netsvc.cli.accounts."""

import re
import time
import warnings
from getpass import GetPassWarning
from unittest.mock import patch

from netsvc.core.credentials import digest_of
from netsvc.core.passwords import PasswordHashes
from netsvc.store.sqlite import open_accounts
from tests.cli.commandline import CommandCase
from tests.core.accounts import CHEAP

PASSWORD = "correct horse\n"


class AccountsCase(CommandCase):
    """alice is an admin."""

    def setUp(self) -> None:
        """Add alice, as the README says."""
        super().setUp()
        self.add("alice", "--role", "admin")

    def add(self, name: str, *options: str) -> None:
        """Add a user, whose password comes by standard input."""
        self.good("user", "add", name, "--config", str(self.config), "--password-stdin", *options, input=PASSWORD)

    def rows(self, *command: str) -> list[list[str]]:
        """The table that a command prints, without its head."""
        return [re.split(" {2,}", line) for line in self.good(*command, "--config", str(self.config)).splitlines()[1:]]


class Users(AccountsCase):
    """netsvc user."""

    def test_add(self) -> None:
        """A user is added with the role and a hash of the password, in a directory for the owner alone."""
        with open_accounts(self.state) as accounts:
            record = accounts.find_user("alice")
        assert record is not None
        self.assertEqual(record.role, "admin")
        self.assertTrue(PasswordHashes(CHEAP).compare(record.password, "correct horse").right)
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o700)

    def test_state_option(self) -> None:
        """--state goes before the file's, wherever it stands; without either it is $STATE_DIRECTORY."""
        other, third = self.folder / "other", self.folder / "third"
        self.good("user", "add", "bob", "--config", str(self.config), "--no-password", "--state", str(other))
        self.good("user", "add", "eve", "--state", str(other), "--no-password", "--config", str(self.config))
        self.assertIn("bob", self.good("user", "list", "--state", str(other)))
        self.good("user", "add", "bob", "--no-password", STATE_DIRECTORY=str(third))
        self.assertTrue((third / "netsvc.db").exists())
        self.assertEqual([row[0] for row in self.rows("user", "list")], ["alice"])

    def test_prompt(self) -> None:
        """Without --password-stdin the password is asked for twice, on stderr, and not shown."""
        result = self.run_netsvc("user", "add", "bob", "--config", str(self.config), input=PASSWORD * 2)
        self.assertEqual((result.exit_code, result.stdout), (0, ""))
        self.assertIn("Repeat for confirmation", result.stderr)
        self.assertNotIn("horse", result.output)

    def test_no_terminal(self) -> None:
        """Where a password cannot be typed unseen it is not asked for, and no user is added."""
        with patch("netsvc.cli.accounts.click.prompt", side_effect=lambda *rest, **options: warnings.warn("seen", GetPassWarning, stacklevel=1)):
            self.assertIn("--password-stdin", self.bad(2, "user", "add", "bob", "--config", str(self.config)))
        self.assertEqual([row[0] for row in self.rows("user", "list")], ["alice"])

    def test_list(self) -> None:
        """Users are listed by name, with role and whether there is a password."""
        self.good("user", "add", "Bot", "--no-password", "--config", str(self.config))
        rows = self.rows("user", "list")
        self.assertEqual([row[:3] for row in rows], [["alice", "admin", "yes"], ["bot", "member", "no"]])
        self.assertRegex(rows[0][3], r"^\d{4}-\d\d-\d\d \d\d:\d\dZ$")

    def test_passwd(self) -> None:
        """A new password replaces the old one; a carriage return before the newline is not part of it."""
        self.good("user", "passwd", "ALICE", "--config", str(self.config), "--password-stdin", input="another horse\r\n")
        with open_accounts(self.state) as accounts:
            record = accounts.find_user("alice")
        assert record is not None
        self.assertTrue(PasswordHashes(CHEAP).compare(record.password, "another horse").right)

    def test_role_and_remove(self) -> None:
        """A role is changed, a user removed; both raise the revision that a daemon watches."""
        numbers = []
        for command in (("role", "alice", "member"), ("remove", "alice")):
            self.good("user", *command, "--config", str(self.config))
            with open_accounts(self.state) as accounts:
                numbers.append(accounts.revision())
                record = accounts.find_user("alice")
            self.assertEqual(record and record.role, "member" if command[0] == "role" else None)
        self.assertLess(*numbers)

    def test_refused(self) -> None:
        """What cannot be done is one line on stderr and status 1; what was asked wrongly is status 2."""
        config = ("--config", str(self.config))
        self.assertEqual(self.bad(1, "user", "add", "alice", "--no-password", *config), "netsvc: there is a user 'alice' already\n")
        for command in (("remove", "bob"), ("role", "bob", "admin")):
            self.assertIn("bob", self.bad(1, "user", *command, *config))
        self.assertIn("a letter", self.bad(1, "user", "add", "a b", "--no-password", *config))
        self.assertIn("at least 8", self.bad(1, "user", "add", "bob", "--password-stdin", *config, input="short\n"))
        self.assertIn("UTF-8", self.bad(1, "user", "passwd", "alice", "--password-stdin", *config, input=b"\xff\xff\xff\xff\xff\xff\xff\xff\n"))
        self.assertIn("together", self.bad(2, "user", "add", "bob", "--no-password", "--password-stdin", *config))
        self.bad(2, "user", "add", "bob", "--role", "king", *config)

    def test_bad_settings(self) -> None:
        """A wrong INI file is said like netsvc check says it."""
        self.config.write_text("[auth]\nnonsense = 1\n")
        self.assertTrue(self.bad(78, "user", "list", "--config", str(self.config)).startswith(f"{self.config}:2: [auth] nonsense"))


class Tokens(AccountsCase):
    """netsvc token."""

    def issue(self, *options: str) -> str:
        """Issue a token for alice; the secret."""
        return self.good("token", "issue", "Alice", "--config", str(self.config), *options).removesuffix("\n")

    def test_issue(self) -> None:
        """The secret is all that is on stdout; what is kept is its digest."""
        secret = self.issue("--label", "backup of the wiki")
        self.assertRegex(secret, r"\Anst_[A-Za-z0-9_-]{43}\Z")
        with open_accounts(self.state) as accounts:
            record = accounts.find_token(digest_of(secret))
        assert record is not None
        self.assertEqual((record.user, record.role, record.label, record.expires), ("alice", "admin", "backup of the wiki", 0))
        self.assertNotIn(secret.encode(), b"".join(path.read_bytes() for path in self.state.iterdir()))

    def test_expires(self) -> None:
        """A token may expire, after a time written as in the INI file."""
        before = time.time()
        secret = self.issue("--expires", "30d")
        with open_accounts(self.state) as accounts:
            record = accounts.find_token(digest_of(secret))
        assert record is not None
        self.assertEqual(record.expires - record.created, 30 * 86_400_000)
        self.assertGreaterEqual(record.created, int(before * 1000))

    def test_list(self) -> None:
        """Tokens are listed with id, user, role, times and label, never with the secret; those of one user if asked."""
        secret = self.issue("--label", "one", "--expires", "1h")
        self.add("bob")
        self.good("token", "issue", "bob", "--config", str(self.config))
        rows = self.rows("token", "list")
        self.assertEqual([row[1:3] for row in rows], [["alice", "admin"], ["bob", "member"]])
        self.assertTrue(rows[0][4].startswith("until "))
        self.assertEqual((rows[0][5], rows[1][4]), ("one", "never expires"))
        self.assertNotIn(secret, str(rows))
        self.assertEqual([row[1] for row in self.rows("token", "list", "BOB")], ["bob"])
        with patch("netsvc.cli.accounts.time.time", lambda: 1e11):
            self.assertTrue(self.rows("token", "list")[0][4].startswith("expired "))

    def test_revoke(self) -> None:
        """A token is revoked by its id."""
        self.issue()
        id = self.rows("token", "list")[0][0]
        self.good("token", "revoke", id.upper(), "--config", str(self.config))
        self.assertEqual(self.rows("token", "list"), [])

    def test_refused(self) -> None:
        """Unknown users and ids, a secret given as an id, bad labels and durations are refused."""
        config = ("--config", str(self.config))
        self.assertIn("bob", self.bad(1, "token", "issue", "bob", *config))
        self.assertIn("bob", self.bad(1, "token", "list", "bob", *config))
        self.assertIn("no token", self.bad(1, "token", "revoke", "abc", *config))
        self.assertIn("not its secret", self.bad(1, "token", "revoke", "nst_abc", *config))
        for label in ("a\nb", "not UTF-8: \udcff"):
            self.assertIn("label", self.bad(1, "token", "issue", "alice", "--label", label, *config))
        self.assertIn("30s", self.bad(2, "token", "issue", "alice", "--expires", "soon", *config))
        for useless in ("0", "999ms", "36501d", "999999999999999d"):
            self.assertIn("36500d", self.bad(2, "token", "issue", "alice", "--expires", useless, *config))
