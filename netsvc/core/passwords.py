"""Passwords: kept as argon2id strings, compared in threads, at the same cost whether or not the user exists."""

from base64 import b64encode
from collections.abc import Callable
from os import urandom
from typing import NamedTuple, ParamSpec, Protocol, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from netsvc.core.settings import AuthSettings
from netsvc.errors import InvalidParams

__all__ = ["PasswordHashes", "Passwords", "Verdict"]

P = ParamSpec("P")
R = TypeVar("R")

_SALT_BYTES = 16
_HASH_BYTES = 32


class Verdict(NamedTuple):
    """The outcome of a comparison.

    :ivar right: the password is correct.
    :ivar renewed: the string to keep from now on, because the old one was made with other costs; empty if it is fine.
    """

    right: bool
    renewed: str = ""


class PasswordHashes:
    """Makes and compares argon2id strings. Everything here blocks, for as long as the settings make it take.

    Memory and passes are those of RFC 9106 section 4, second recommended option, unless set otherwise; with one lane, since a thread
    does the work of one login. A password is compared in Unicode's form NFC (RFC 8265 section 4.2): keyboards differ in how they
    compose a letter.

    :param settings: [auth].
    """

    _log = Logger()

    def __init__(self, settings: AuthSettings) -> None:
        memory = settings.hash_memory // 1024
        self._shortest = settings.password_shortest
        self._longest = settings.password_longest
        self._hasher = PasswordHasher(settings.hash_passes, memory, 1, hash_len=_HASH_BYTES, salt_len=_SALT_BYTES)
        # A string that no password matches, as costly as a real one, for those who have none.
        salt, digest = (b64encode(urandom(size)).rstrip(b"=").decode("ascii") for size in (_SALT_BYTES, _HASH_BYTES))
        self._nobody = f"$argon2id$v=19$m={memory},t={settings.hash_passes},p=1${salt}${digest}"

    def make(self, password: str) -> str:
        """The string to keep for a new password.

        :raises InvalidParams: it is too short or too long.
        """
        data = _encoded(password)
        if len(password) < self._shortest:
            raise InvalidParams(f"password: at least {self._shortest} characters", parameter="password")
        if len(data) > self._longest:
            raise InvalidParams(f"password: at most {self._longest} bytes", parameter="password")
        return self._hasher.hash(data)

    def compare(self, kept: str, password: str) -> Verdict:
        """Whether this is the password behind a kept string; never for an empty one (a user without a password, or no such user).

        That answer takes as long as any other: the time does not reveal who is registered.
        """
        data = _encoded(password)
        if len(data) > self._longest:
            return Verdict(False)
        try:
            self._hasher.verify(kept or self._nobody, data)
        except VerificationError:
            return Verdict(False)
        except InvalidHashError:
            self._log.error("a user's password is stored in a form that is not argon2; set it again with netsvc user passwd")
            return Verdict(False)
        return Verdict(True, self._hasher.hash(data) if self._hasher.check_needs_rehash(kept) else "")


def _encoded(password: str) -> bytes:
    # A lone surrogate (from a JSON escape) is not a character, but no reason to fail either: it is nobody's password.
    return normalize("NFC", password).encode("utf-8", "surrogatepass")


class Threads(Protocol):
    """Where the work is done: netsvc.core.threads.BoundedThreads, or at once in tests."""

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Deferred[R]":
        """Call the function there. Overloaded: too many are waiting."""


class Passwords:
    """PasswordHashes for the reactor's thread.

    :param hashes: what to run.
    :param threads: where to run it.
    """

    def __init__(self, hashes: PasswordHashes, threads: Threads) -> None:
        self._hashes = hashes
        self._threads = threads

    def make(self, password: str) -> "Deferred[str]":
        """As PasswordHashes.make. Overloaded: too many are waiting."""
        return self._threads.run(self._hashes.make, password)

    def compare(self, kept: str, password: str) -> "Deferred[Verdict]":
        """As PasswordHashes.compare. Overloaded: too many are waiting."""
        return self._threads.run(self._hashes.compare, kept, password)
