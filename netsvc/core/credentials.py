"""What proves who a caller is: passwords, tokens, sessions, or none of them.

A secret is turned into its SHA-256 digest as soon as it arrives; 32 random bytes need no slower hash.
"""

from base64 import urlsafe_b64encode
from hashlib import blake2b, sha256
from os import urandom
from typing import ClassVar, Self

from twisted.cred.credentials import ICredentials
from zope.interface import Attribute, implementer

from netsvc.core.names import fold_user_name
from netsvc.errors import InvalidParams

__all__ = [
    "Credentials",
    "Guest",
    "IGuest",
    "IKnownUser",
    "IPassword",
    "ISession",
    "IToken",
    "KnownUser",
    "Password",
    "Session",
    "Token",
    "digest_of",
    "new_session_secret",
    "new_token_secret",
    "recalled",
]

_SECRET_BYTES = 32


def _random_text() -> str:
    return urlsafe_b64encode(urandom(_SECRET_BYTES)).rstrip(b"=").decode("ascii")


def new_token_secret() -> str:
    """A secret for a new token: ``nst_``, by which scanners for leaked secrets recognise it, and 32 random bytes in base64url."""
    return "nst_" + _random_text()


def new_session_secret() -> str:
    """The value of a new session's cookie: 32 random bytes in base64url."""
    return _random_text()


def digest_of(secret: str) -> bytes:
    """The SHA-256 digest under which a token or session is stored and found."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class IPassword(ICredentials):
    """A user's name and password."""

    name: str = Attribute("The user's name, folded; empty if no user can have this name.")
    password: str = Attribute("The password as it was typed.")


class IKnownUser(ICredentials):
    """A user who has logged in by password before."""

    name: str = Attribute("The user's name, folded.")
    fingerprint: str = Attribute("The fingerprint of the argon2id string that the password was compared with.")


class IToken(ICredentials):
    """The bearer of a token."""

    digest: bytes = Attribute("SHA-256 of the secret.")


class ISession(ICredentials):
    """A browser with a session cookie."""

    digest: bytes = Attribute("SHA-256 of the cookie's value.")


class IGuest(ICredentials):
    """Nobody in particular."""

    name: str | None = Attribute("The name asked for, None for any.")


@implementer(IPassword)
class Password:
    """A user's name, in upper or lower case, and password."""

    __slots__ = ("name", "password")
    refusal: ClassVar[str] = "wrong name or password"

    def __init__(self, name: str, password: str) -> None:
        try:
            self.name = fold_user_name(name)
        except InvalidParams:
            # Answered like any other unknown name.
            self.name = ""
        self.password = password

    def mark(self, key: bytes) -> str:
        """Identifies this pair without containing it; `key` is a secret of the process."""
        text = f"{self.name}\0{self.password}"
        return blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=32).hexdigest()


@implementer(IKnownUser)
class KnownUser:
    """A user who has logged in by password before. Valid until the password changes.

    :ivar id: the id of this credential, as Identity.credential has it.
    """

    __slots__ = ("id",)
    refusal: ClassVar[str] = "the password has changed, or the user is gone: log in again"

    def __init__(self, name: str, fingerprint: str) -> None:
        self.id = f"user:{name}:{fingerprint}"

    @classmethod
    def of(cls, name: str, kept: str) -> Self:
        """The user whose password matched the argon2id string `kept`."""
        return cls(name, blake2b(kept.encode(), digest_size=16).hexdigest())

    @property
    def name(self) -> str:
        """The user's name, folded."""
        return self.id.split(":")[1]

    @property
    def fingerprint(self) -> str:
        """Identifies the argon2id string."""
        return self.id.split(":")[2]


class _Secret:
    __slots__ = ("id",)
    kind: ClassVar[str]

    def __init__(self, secret: str) -> None:
        self.id = self.kind + sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def of_digest(cls, digest: bytes) -> Self:
        """The credential whose secret has this digest."""
        made = cls.__new__(cls)
        made.id = cls.kind + digest.hex()
        return made

    @property
    def digest(self) -> bytes:
        """SHA-256 of the secret."""
        return bytes.fromhex(self.id[len(self.kind) :])


@implementer(IToken)
class Token(_Secret):
    """A token's secret; only its digest is kept.

    :ivar id: the id of this credential, as Identity.credential has it.
    """

    __slots__ = ()
    kind = "token:"
    refusal: ClassVar[str] = "this token is unknown, expired or revoked"


@implementer(ISession)
class Session(_Secret):
    """The value of a session cookie; only its digest is kept.

    :ivar id: the id of this credential, as Identity.credential has it.
    """

    __slots__ = ()
    kind = "session:"
    refusal: ClassVar[str] = "this session has ended: log in again"


@implementer(IGuest)
class Guest:
    """Somebody without credentials.

    :param name: the name asked for; None for a generated one that nobody else has.
    """

    __slots__ = ("name",)
    refusal: ClassVar[str] = "guests are not allowed here: log in"

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    @property
    def id(self) -> str:
        """From this `recalled` makes the same guest; not an Identity.credential, since it proves nothing."""
        return f"guest:{self.name}"


Credentials = Password | KnownUser | Token | Session | Guest


def recalled(id: str) -> KnownUser | Token | Session | Guest:
    """The credentials with this id, as in Identity.credential."""
    kind, _, rest = id.partition(":")
    if kind == "user":
        return KnownUser(*rest.split(":"))
    if kind == "guest":
        return Guest(rest)
    return (Token if kind == "token" else Session).of_digest(bytes.fromhex(rest))
