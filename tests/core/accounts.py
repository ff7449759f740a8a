"""Accounts in memory for tests of logins: what commands of another process would change can be changed at once."""

from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from netsvc.core.credentials import digest_of
from netsvc.core.passwords import PasswordHashes, Passwords
from netsvc.core.settings import AuthSettings
from netsvc.errors import NetsvcError
from netsvc.store.sqlite.deferred_accounts import DeferredAccounts
from netsvc.store.sqlite.opening import memory_accounts

CHEAP = AuthSettings(hash_memory=64 * 1024, hash_passes=1)
"""Settings with which a password costs no time."""


class AtOnce:
    """BoundedThreads that does the work on the spot."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Call it."""
        self.calls += 1
        return succeed(function(*args, **kwargs))


def cheap_passwords(threads: Any = None) -> Passwords:
    """Passwords that cost no time, compared on the spot."""
    return Passwords(PasswordHashes(CHEAP), threads or AtOnce())


class ScriptedAccounts(DeferredAccounts):
    """The real accounts, in memory, whose answers a test can hold back or make fail.

    :ivar now: the time at which users are added, in seconds since the Unix epoch.
    :ivar local: what the commands of another process work on.
    :ivar held: while it is a list, the answers are put there, together with their Deferreds, instead of given.
    :ivar error: while set, everything fails with it.
    :ivar asked: the names of the methods called.
    """

    def __init__(self) -> None:
        super().__init__(self._run, self._run)
        self.now = 0.0
        self.local = memory_accounts()
        self.local._seconds = lambda: self.now
        self.held: list[tuple[Deferred[Any], Any]] | None = None
        self.error: Exception | None = None
        self.asked: list[str] = []
        self._opened: list[bytes] = []
        self._others = count()

    def _run(self, ask: Callable[[Any], Any]) -> Deferred[Any]:
        self.asked.append(ask.__qualname__.split(".")[1])
        if self.error is not None:
            return fail(self.error)
        try:
            answer = ask(self.local)
        except NetsvcError as error:
            return fail(error)
        if self.held is None:
            return succeed(answer)
        deferred: Deferred[Any] = Deferred()
        self.held.append((deferred, answer))
        return deferred

    def give(self) -> None:
        """Give the answers that were held."""
        held, self.held = self.held or [], None
        for deferred, answer in held:
            deferred.callback(answer)

    def add(self, name: str, password: str = "", role: str = "member") -> None:
        """Register a user."""
        self.local.add_user(name, role, PasswordHashes(CHEAP).make(password) if password else "")

    def kept(self, name: str) -> str:
        """A user's argon2id string."""
        user = self.local.find_user(name)
        assert user is not None
        return user.password

    def issue(self, secret: str, user: str, expires: int = 0) -> None:
        """Give a user a token, whose id is its secret."""
        self.local.issue_token(secret, digest_of(secret), user, "", 0, expires)

    def touch(self) -> None:
        """Change something that concerns nobody who is logged in."""
        self.local.add_user(f"other{next(self._others)}", "member")

    def add_session(self, digest: bytes, user: str, created: int, expires: int) -> Deferred[None]:
        """See IAccounts."""
        self._opened.append(digest)
        return super().add_session(digest, user, created, expires)

    def sessions(self) -> list[bytes]:
        """The digests of the sessions that are open."""
        return [digest for digest in self._opened if self.local.find_session(digest) is not None]
