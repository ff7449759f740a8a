"""Accounts in memory for tests of logins: what commands of another process would change can be changed at once."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from netsvc.core.passwords import PasswordHashes, Passwords
from netsvc.core.records import SessionRecord, TokenRecord, UserRecord
from netsvc.core.settings import AuthSettings
from netsvc.interfaces import IAccounts

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


@implementer(IAccounts)
class FakeAccounts:
    """IAccounts on dictionaries.

    :ivar held: while it is a list, the answers are put there, together with their Deferreds, instead of given.
    :ivar error: while set, every look-up fails with it.
    :ivar asked: the names of the methods called.
    """

    def __init__(self) -> None:
        self.users: dict[str, UserRecord] = {}
        self.tokens: dict[bytes, TokenRecord] = {}
        self.sessions: dict[bytes, SessionRecord] = {}
        self.number = 1
        self.held: list[tuple[Deferred[Any], Any]] | None = None
        self.error: Exception | None = None
        self.asked: list[str] = []

    def add(self, name: str, password: str = "", role: str = "member") -> None:
        """Register a user."""
        kept = PasswordHashes(CHEAP).make(password) if password else ""
        self.users[name] = UserRecord(name, role, kept, 0)

    def change(self, name: str, **fields: Any) -> None:
        """Change a user as a command would, to be seen by the revision."""
        old = self.users[name]
        self.users[name] = UserRecord(name, fields.get("role", old.role), fields.get("password", old.password), 0)
        self.number += 1

    def remove(self, name: str) -> None:
        """Remove a user with all tokens and sessions."""
        del self.users[name]
        self.number += 1

    def give(self) -> None:
        """Give the answers that were held."""
        held, self.held = self.held or [], None
        for deferred, answer in held:
            deferred.callback(answer)

    def _answer(self, name: str, answer: Any) -> Deferred[Any]:
        self.asked.append(name)
        if self.error is not None:
            return fail(self.error)
        if self.held is None:
            return succeed(answer)
        deferred: Deferred[Any] = Deferred()
        self.held.append((deferred, answer))
        return deferred

    def _with_role(self, record: Any) -> Any:
        if record is None or record.user not in self.users:
            return None
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        return type(record)(**(fields | {"role": self.users[record.user].role}))

    def find_user(self, name: str) -> Deferred[UserRecord | None]:
        """See IAccounts."""
        return self._answer("find_user", self.users.get(name))

    def find_token(self, digest: bytes) -> Deferred[TokenRecord | None]:
        """See IAccounts."""
        return self._answer("find_token", self._with_role(self.tokens.get(digest)))

    def find_session(self, digest: bytes) -> Deferred[SessionRecord | None]:
        """See IAccounts."""
        return self._answer("find_session", self._with_role(self.sessions.get(digest)))

    def add_session(self, digest: bytes, user: str, created: int, expires: int) -> Deferred[None]:
        """See IAccounts."""
        self.sessions[digest] = SessionRecord(digest, user, "", created, expires)
        return self._answer("add_session", None)

    def remove_session(self, digest: bytes) -> Deferred[None]:
        """See IAccounts."""
        if self.sessions.pop(digest, None) is not None:
            self.number += 1
        return self._answer("remove_session", None)

    def set_password(self, name: str, password: str) -> Deferred[None]:
        """See IAccounts."""
        user = self.users[name]
        self.users[name] = UserRecord(name, user.role, password, user.created)
        return self._answer("set_password", None)

    def revision(self) -> Deferred[int]:
        """See IAccounts."""
        return self._answer("revision", self.number)
