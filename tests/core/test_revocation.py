"""Live connections: closed when what proved them is revoked, expires or changes."""

from typing import Any
from unittest.mock import patch

from twisted.logger import globalLogPublisher

from netsvc.core.credentials import Guest, Password, Session, Token
from netsvc.core.passwords import PasswordHashes
from netsvc.errors import StoreUnavailable
from tests.core.accounts import CHEAP
from tests.core.logins_case import EPOCH, PASSWORD, LoginsCase


class Watching(LoginsCase):
    """Live connections end with what let them in."""

    def test_revoked_token(self) -> None:
        """A revocation closes every connection of the token within 5 s, once, and no other."""
        self.accounts.issue("nst_other", "bot")
        self.watched(Token("nst_bot"))
        self.watched(Token("nst_other"))
        second: list[str] = []
        self.logins.watch(self.login(Token("nst_bot")), second.append)
        self.accounts.local.revoke_token("nst_bot")
        self.clock.pump([1] * 5)
        self.assertEqual(self.closed, ["this token is unknown, expired or revoked"])
        self.assertEqual(second, self.closed)

    def test_who_wants_to_know(self) -> None:
        """Whoever remembers something of the accounts is told when they have changed, once for each change."""
        told: list[bool] = []
        self.logins.changed = lambda: told.append(True)
        self.clock.advance(4)
        self.assertEqual(told, [])
        self.accounts.local.remove_user("bot")
        self.clock.advance(4)
        self.assertEqual(told, [True])

    def test_removed_user(self) -> None:
        """Removing a user closes connections by token, session and password."""
        identity = self.watched(Password("alice", PASSWORD))
        secret = self.successResultOf(self.logins.open_session(identity))
        self.watched(Session(secret))
        self.accounts.issue("nst_alice", "alice")
        self.watched(Token("nst_alice"))
        self.accounts.local.remove_user("alice")
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.closed), 3)

    def test_changed_password(self) -> None:
        """A new password closes connections that came by the old one."""
        self.watched(Password("alice", PASSWORD))
        self.accounts.local.set_password("alice", PasswordHashes(CHEAP).make(PASSWORD))
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.closed), 1)

    def test_roles(self) -> None:
        """A lesser role closes, a greater one does not."""
        self.watched(Token("nst_bot"))
        self.accounts.local.set_role("bot", "admin")
        self.clock.pump([1] * 5)
        self.assertEqual(self.closed, [])
        self.watched(Password("alice", PASSWORD))
        self.accounts.local.set_role("alice", "member")
        self.clock.pump([1] * 5)
        self.assertEqual(self.closed, ["your role has changed: log in again"])

    def test_unwatched(self) -> None:
        """A connection that is gone is not closed; one that was never there is no error."""
        identity = self.watched(Token("nst_bot"))
        self.logins.watch(identity, print)
        self.logins.unwatch(identity, self.closed.append)
        self.logins.unwatch(identity, self.closed.append)
        self.logins.unwatch(identity, print)
        self.logins.unwatch(identity, print)
        self.accounts.local.revoke_token("nst_bot")
        self.clock.pump([1] * 5)
        self.assertEqual(self.closed, [])

    def test_guests(self) -> None:
        """A guest has nothing that could be revoked but the name: when somebody registers it, the guest has to go."""
        for name in (None, "名前", "Bob", "eve"):
            self.watched(Guest(name))
        self.clock.advance(2)
        self.accounts.asked.clear()
        self.accounts.touch()
        self.clock.advance(2)
        self.assertEqual((self.accounts.asked, self.closed), (["revision", "find_user", "find_user"], []))
        self.accounts.add("bob")
        self.clock.pump([1] * 4)
        self.assertEqual(self.closed, ["the name bob belongs to a user: choose another, or log in"])

    def test_quiet(self) -> None:
        """While nothing changes, looking costs one question every 2 s, whatever is watched; another one's change costs one more, once."""
        self.watched(Token("nst_bot"))
        self.accounts.asked.clear()
        self.clock.pump([1] * 10)
        self.assertEqual(self.accounts.asked, ["revision"] * 5)
        self.accounts.touch()
        self.clock.pump([1] * 4)
        self.assertEqual(self.accounts.asked[5:], ["revision", "find_token", "revision"])

    def test_change_between_login_and_watch(self) -> None:
        """A revocation that is seen after the login and before the connection is watched closes it as well."""
        identity = self.login(Token("nst_bot"))
        self.accounts.local.revoke_token("nst_bot")
        self.clock.advance(2)
        self.logins.watch(identity, self.closed.append)
        self.clock.advance(2)
        self.assertEqual(len(self.closed), 1)

    def test_unwatched_in_time(self) -> None:
        """A connection that ends before it would be proved again costs no question."""
        identity = self.login(Token("nst_bot"))
        self.accounts.touch()
        self.clock.advance(2)
        self.logins.watch(identity, self.closed.append)
        self.logins.unwatch(identity, self.closed.append)
        self.accounts.asked.clear()
        self.clock.advance(2)
        self.assertEqual(self.accounts.asked, ["revision"])

    def test_expiry(self) -> None:
        """Each connection is closed when its own credential expires, to the next look."""
        self.accounts.issue("nst_1", "bot", int(EPOCH * 1000) + 3000)
        self.accounts.issue("nst_2", "bot", int(EPOCH * 1000) + 7000)
        for secret in ("nst_2", "nst_1", "nst_bot"):
            self.watched(Token(secret))
        counts = []
        for _ in range(5):
            self.clock.advance(2)
            counts.append(len(self.closed))
        self.assertEqual(counts, [0, 1, 1, 2, 2])

    def test_failing_store(self) -> None:
        """While the store fails nobody is closed, that is said once, and looking goes on."""
        lines: list[str] = []
        self.watch_log(lines)
        self.watched(Token("nst_bot"))
        self.accounts.local.revoke_token("nst_bot")
        self.accounts.error = StoreUnavailable("disk")
        self.clock.pump([1] * 8)
        self.assertEqual((self.closed, len(lines)), ([], 1))
        self.accounts.error = None
        self.clock.pump([1] * 4)
        self.assertEqual(len(self.closed), 1)

    def test_failing_look_up(self) -> None:
        """A credential that cannot be proved just now is proved again at the next look; that is said once."""
        lines: list[str] = []
        self.watch_log(lines)
        self.watched(Token("nst_bot"))
        self.accounts.touch()
        checker = self.logins.portal.checkers
        with patch.dict(checker, clear=True):
            self.clock.pump([1] * 6)
        self.assertEqual(len(lines), 1)
        self.assertEqual(self.closed, [])
        self.accounts.local.revoke_token("nst_bot")
        self.clock.pump([1] * 4)
        self.assertEqual(len(self.closed), 1)
        self.flushLoggedErrors()

    def test_hanging_store(self) -> None:
        """A look that is not answered is given up after the timeout, and looking goes on."""
        self.watched(Token("nst_bot"))
        self.accounts.held = []
        self.clock.advance(2)
        self.accounts.held = None
        self.accounts.local.revoke_token("nst_bot")
        self.clock.pump([CHEAP.timeout, 2, 2])
        self.assertEqual(len(self.closed), 1)

    def test_failing_close(self) -> None:
        """A connection that cannot be closed is logged and keeps no other open."""
        identity = self.login(Token("nst_bot"))
        self.logins.watch(identity, lambda reason: 1 / 0)  # type: ignore[arg-type, return-value]
        self.watched(Token("nst_bot"))
        self.accounts.local.revoke_token("nst_bot")
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.closed), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_many(self) -> None:
        """However many credentials are watched, few are looked up at once, and all are."""
        for number in range(100):
            self.accounts.issue(f"nst_{number}", "bot")
            self.watched(Token(f"nst_{number}"))
        self.accounts.touch()
        most, count = 0, 0
        self.accounts.held = []
        self.clock.advance(2)
        while self.accounts.held:
            held, self.accounts.held = self.accounts.held, []
            most, count = max(most, len(held)), count + len(held)
            for deferred, answer in held:
                deferred.callback(answer)
        self.assertEqual((most, count), (16, 101))

    def test_stop(self) -> None:
        """After stopping nothing is looked for; to stop twice is no error."""
        self.logins.stop()
        self.logins.stop()
        self.accounts.asked.clear()
        self.clock.pump([1] * 5)
        self.assertEqual((self.accounts.asked, self.clock.getDelayedCalls()), ([], []))

    def watch_log(self, lines: list[str]) -> None:
        """Collect what this module logs."""

        def observe(event: Any) -> None:
            if event.get("log_namespace") == "netsvc.core.logins.Logins":
                lines.append(event["log_format"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
