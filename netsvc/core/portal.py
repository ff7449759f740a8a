"""The one twisted.cred portal through which every protocol logs in.

Checkers find out who it is and what proves it; the realm makes that an Identity. Whatever is wrong with credentials raises UnauthorizedLogin
without details: which part was wrong is nobody's business.
"""

from collections.abc import Callable
from hmac import compare_digest
from os import urandom
from typing import Any, NamedTuple

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from netsvc.core.credentials import Guest, IGuest, IKnownUser, IPassword, ISession, IToken, KnownUser, Password, Session, Token
from netsvc.core.identity import Identity, IIdentity
from netsvc.core.names import generated_guest_name, registered_form, tidy_guest_name
from netsvc.core.passwords import Passwords
from netsvc.core.records import SessionRecord, TokenRecord
from netsvc.errors import Conflict, NetsvcError
from netsvc.interfaces import IAccounts

__all__ = ["IdentityRealm", "Proof", "build_portal"]


class Proof(NamedTuple):
    """What a checker found out: cred's avatar id. The fields are those of Identity."""

    name: str
    role: str
    guest: bool = False
    credential: str = ""
    expires: int = 0
    since: int = 0


@implementer(IRealm)
class IdentityRealm:
    """Gives each avatar id, which is a Proof, its Identity."""

    def requestAvatar(  # noqa: N802 - cred's name
        self,
        avatarId: Any,  # noqa: N803 - cred's name
        mind: object,
        *interfaces: type[Interface],
    ) -> tuple[type[Interface], object, Callable[[], None]]:
        """The Identity for the interface IIdentity; logout does nothing.

        :raises NotImplementedError: another interface was asked for.
        """
        if IIdentity not in interfaces:
            raise NotImplementedError("the realm has identities only")
        identity = Identity(avatarId.name, (avatarId.role,), avatarId.guest, avatarId.credential, avatarId.expires, since=avatarId.since)
        return IIdentity, identity, _nothing


def _nothing() -> None:
    """Logging out does nothing."""


@implementer(ICredentialsChecker)
class SecretChecker:
    """Tokens and sessions: found by the digest of their secret, and valid until they expire or are removed.

    :param interface: IToken or ISession.
    :param find: digest to record, or None.
    :param seconds: the clock's time, seconds since the Unix epoch.
    """

    def __init__(
        self,
        interface: type[Interface],
        find: "Callable[[bytes], Deferred[TokenRecord | None] | Deferred[SessionRecord | None]]",
        seconds: Callable[[], float],
    ) -> None:
        self.credentialInterfaces = (interface,)
        self._find = find
        self._seconds = seconds

    def requestAvatarId(self, credentials: Token | Session) -> "Deferred[Any]":  # noqa: N802 - cred's name
        """UnauthorizedLogin: unknown, expired, or its user is gone."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Token | Session) -> Proof:
        digest = credentials.digest
        record = await self._find(digest)
        if record is None or not compare_digest(record.digest, digest):
            raise UnauthorizedLogin
        if record.expires and record.expires <= self._seconds() * 1000:
            raise UnauthorizedLogin
        return Proof(record.user, record.role, credential=credentials.id, expires=record.expires, since=record.since)


@implementer(ICredentialsChecker)
class UserChecker:
    """Users by password, and users who logged in by password before."""

    credentialInterfaces = (IPassword, IKnownUser)  # noqa: N815 - cred's name

    _log = Logger()

    def __init__(self, accounts: IAccounts, passwords: Passwords) -> None:
        self._accounts = accounts
        self._passwords = passwords
        # Fingerprint before a rehash to that after it, so that earlier logins stay valid. At most one for each user and start.
        self._renewed: dict[str, str] = {}

    def requestAvatarId(self, credentials: Password | KnownUser) -> "Deferred[Any]":  # noqa: N802 - cred's name
        """UnauthorizedLogin: no such user, another password, a changed password. Overloaded: too many passwords at once."""
        check = self._compare(credentials) if isinstance(credentials, Password) else self._recall(credentials)
        return Deferred.fromCoroutine(check)

    async def _compare(self, credentials: Password) -> Proof:
        user = await self._accounts.find_user(credentials.name) if credentials.name else None
        kept = user.password if user is not None else ""
        verdict = await self._passwords.compare(kept, credentials.password)
        if user is None or not verdict.right:
            raise UnauthorizedLogin
        if verdict.renewed and await self._renew(user.name, kept, verdict.renewed):
            kept = verdict.renewed
        return Proof(user.name, user.role, credential=KnownUser.of(user.name, kept).id, since=user.created)

    async def _renew(self, name: str, old: str, new: str) -> bool:
        """Store the same password hashed at today's cost. A failure is no reason to refuse the login."""
        try:
            # Hashing took a while: another process may have set another password meanwhile.
            if not await self._accounts.renew_password(name, old, new):
                return False
        except NetsvcError as error:
            self._log.warn("could not keep the renewed hash of the password of {name}: {detail}", name=name, detail=error.detail)
            return False
        self._renewed[KnownUser.of(name, old).fingerprint] = KnownUser.of(name, new).fingerprint
        return True

    async def _recall(self, credentials: KnownUser) -> Proof:
        user = await self._accounts.find_user(credentials.name)
        if user is None:
            raise UnauthorizedLogin
        fingerprint = self._renewed.get(credentials.fingerprint, credentials.fingerprint)
        if KnownUser.of(user.name, user.password).fingerprint != fingerprint:
            raise UnauthorizedLogin
        return Proof(user.name, user.role, credential=credentials.id, since=user.created)


@implementer(ICredentialsChecker)
class GuestChecker:
    """Guests, if they are allowed.

    :param accounts: for the names that are taken.
    :param allowed: whether anybody may come in without credentials.
    """

    credentialInterfaces = (IGuest,)  # noqa: N815 - cred's name

    def __init__(self, accounts: IAccounts, allowed: bool) -> None:
        self._accounts = accounts
        self._allowed = allowed

    def requestAvatarId(self, credentials: Guest) -> "Deferred[Any]":  # noqa: N802 - cred's name
        """UnauthorizedLogin: guests are not allowed. InvalidParams: not a valid name for a guest. Conflict: a user has this name."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Guest) -> Proof:
        if not self._allowed:
            raise UnauthorizedLogin
        if credentials.name is None:
            return Proof(generated_guest_name(urandom(4)), "guest", guest=True)
        name = tidy_guest_name(credentials.name)
        registered = registered_form(name)
        if registered is not None and await self._accounts.find_user(registered) is not None:
            raise Conflict(f"the name {name} belongs to a user: choose another, or log in")
        return Proof(name, "guest", guest=True)


def build_portal(accounts: IAccounts, passwords: Passwords, seconds: Callable[[], float], guests: bool) -> Portal:
    """The portal that takes every kind of credentials.

    :param accounts: where users, tokens and sessions are.
    :param passwords: compares them.
    :param seconds: the clock's time, seconds since the Unix epoch.
    :param guests: whether guests are allowed.
    """
    checkers: list[ICredentialsChecker] = [
        SecretChecker(IToken, accounts.find_token, seconds),
        SecretChecker(ISession, accounts.find_session, seconds),
        UserChecker(accounts, passwords),
        GuestChecker(accounts, guests),
    ]
    return Portal(IdentityRealm(), checkers)
