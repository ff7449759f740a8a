"""What the tests of logins share."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.identity import Identity
from netsvc.core.logins import Logins
from tests.core.accounts import CHEAP, AtOnce, ScriptedAccounts, cheap_passwords

PASSWORD = "correct horse"
PEER = "192.0.2.1"
EPOCH = 1_700_000_000.0


class LoginsCase(SynchronousTestCase):
    """alice has a password; bot has the token nst_bot; the clock starts in 2023."""

    guests = True
    settings = CHEAP

    def setUp(self) -> None:
        """Logins that look for revocations every 2 s."""
        self.accounts = ScriptedAccounts()
        self.accounts.add("alice", PASSWORD, "admin")
        self.accounts.add("bot")
        self.accounts.issue("nst_bot", "bot")
        self.clock = Clock()
        self.clock.advance(EPOCH)
        self.threads = AtOnce()
        self.logins = Logins(self.accounts, cheap_passwords(self.threads), self.clock, self.settings, self.guests)
        self.logins.start()
        self.addCleanup(self.logins.stop)
        self.closed: list[str] = []
        self.accounts.asked.clear()

    def login(self, credentials: Any, peer: str = PEER) -> Identity:
        """A login that is answered at once."""
        identity = self.logins.login(credentials, peer)
        assert isinstance(identity, Identity)
        return identity

    def watched(self, credentials: Any) -> Identity:
        """Log in on a connection that writes down why it is closed."""
        identity = self.login(credentials)
        self.logins.watch(identity, self.closed.append)
        return identity
