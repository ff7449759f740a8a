"""The accounts as the daemon asks for them: the operations of `Accounts`, each on a thread that has a connection."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.core.records import SessionRecord, TokenRecord, UserRecord
from netsvc.interfaces import IAccounts
from netsvc.store.sqlite.accounts import Accounts

__all__ = ["DeferredAccounts", "RunOnAccounts"]

R = TypeVar("R")


class RunOnAccounts(Protocol):
    """Calls a function with the Accounts to ask; the Deferred has what it returns or raises."""

    def __call__(self, ask: Callable[[Accounts], R], /) -> "Deferred[R]":
        """Run it."""


@implementer(IAccounts)
class DeferredAccounts:
    """IAccounts over Accounts.

    :param read: runs what reads.
    :param write: runs what writes.
    """

    def __init__(self, read: RunOnAccounts, write: RunOnAccounts) -> None:
        self._read = read
        self._write = write

    def find_user(self, name: str) -> "Deferred[UserRecord | None]":
        """A user by name (already folded)."""
        return self._read(lambda accounts: accounts.find_user(name))

    def find_token(self, digest: bytes) -> "Deferred[TokenRecord | None]":
        """A token by the SHA-256 of its secret; None also if its user is gone."""
        return self._read(lambda accounts: accounts.find_token(digest))

    def find_session(self, digest: bytes) -> "Deferred[SessionRecord | None]":
        """A session by the SHA-256 of its cookie; None also if its user is gone."""
        return self._read(lambda accounts: accounts.find_session(digest))

    def add_session(self, digest: bytes, user: str, created: int, expires: int) -> "Deferred[None]":
        """Open a session. NotFound: the user is gone."""
        return self._write(lambda accounts: accounts.add_session(digest, user, created, expires))

    def remove_session(self, digest: bytes) -> "Deferred[int | None]":
        """End a session; the new revision, None if there is no such session."""
        return self._write(lambda accounts: accounts.remove_session(digest))

    def renew_password(self, name: str, old: str, new: str) -> "Deferred[bool]":
        """Replace a user's argon2id string by another of the same password; revokes nothing. False if it is no longer the old one."""
        return self._write(lambda accounts: accounts.renew_password(name, old, new))

    def revision(self) -> "Deferred[int]":
        """A number that grows with every change that may take a right from somebody."""
        return self._read(lambda accounts: accounts.revision())
