"""Users, tokens and sessions over a connection: for the account commands, and for the daemon's threads."""

import time
from collections.abc import Callable
from sqlite3 import Connection, IntegrityError
from types import TracebackType
from typing import Self, TypeVar

from netsvc.core.records import SessionRecord, TokenRecord, UserRecord
from netsvc.errors import Conflict, NotFound
from netsvc.store.sqlite.transactions import Value, availability, rows_of, transaction, value_of

__all__ = ["Accounts"]

R = TypeVar("R")

_USER = "SELECT name, role, password, created FROM users"
_TOKEN = "SELECT tokens.id, digest, user, role, label, tokens.created, expires, users.created FROM tokens JOIN users ON users.name = user"  # noqa: S105 - not a secret
_SESSION = "SELECT digest, user, role, sessions.created, expires, users.created FROM sessions JOIN users ON users.name = user"


class Accounts:
    """The accounts of a state directory; synchronous, without a reactor.

    The caller folds names, and checks roles and passwords and hashes them. Nothing here keeps an installation from losing its last
    admin: anybody who can open the state directory can add another at any time.

    Every method raises StoreUnavailable if the database cannot be read or written.

    :param connection: used by one thread at a time; closed by `close`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seconds = time.time

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    # Users

    def users(self) -> list[UserRecord]:
        """All users, by name."""
        return self._records(UserRecord, f"{_USER} ORDER BY name")

    def find_user(self, name: str) -> UserRecord | None:
        """A user, None if there is none of that name."""
        return self._record(UserRecord, f"{_USER} WHERE name = ?", name)

    def add_user(self, name: str, role: str, password: str = "") -> None:
        """Add a user, who gets nothing of a removed user of the same name.

        Raises the revision: a guest may have that name at the moment.

        :param password: an argon2id string; empty if the user is to log in by token only.
        :raises Conflict: the name is taken.
        """
        created = int(self._seconds() * 1000)
        with availability("write"):
            try:
                with transaction(self._connection):
                    self._connection.execute("INSERT INTO users (name, role, password, created) VALUES (?, ?, ?, ?)", (name, role, password, created))
                    # Triggers remove what belongs to a user; but a connection of the former one may have lived on for a moment.
                    self._connection.execute("DELETE FROM read_marks WHERE name = ?", (name,))
                    self._raise_revision()
            except IntegrityError as error:
                raise Conflict(f"there is a user {name!r} already") from error

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password, or none (empty), and end the sessions opened with the old one. Tokens stay.

        :param password: an argon2id string.
        :raises NotFound: no such user.
        """
        with availability("write"), transaction(self._connection):
            self._change_user("UPDATE users SET password = ? WHERE name = ?", password, name)
            self._connection.execute("DELETE FROM sessions WHERE user = ?", (name,))
            self._raise_revision()

    def renew_password(self, name: str, old: str, new: str) -> bool:
        """Store the same password as another argon2id string. Nothing is revoked, the revision stays.

        :returns: False if the string is no longer `old`, or the user is gone: then nothing is done.
        """
        with availability("write"), transaction(self._connection):
            return bool(self._connection.execute("UPDATE users SET password = ? WHERE name = ? AND password = ?", (new, name, old)).rowcount)

    def set_role(self, name: str, role: str) -> None:
        """Give a user another role; it holds for the tokens and sessions too. NotFound: no such user."""
        with availability("write"), transaction(self._connection):
            self._change_user("UPDATE users SET role = ? WHERE name = ?", role, name)
            self._raise_revision()

    def remove_user(self, name: str) -> None:
        """Remove a user with all tokens, sessions, places in rooms and read marks. Posts stay. NotFound: no such user."""
        with availability("write"), transaction(self._connection):
            self._change_user("DELETE FROM users WHERE name = ?", name)
            self._raise_revision()

    # Tokens

    def tokens(self, user: str | None = None) -> list[TokenRecord]:
        """All tokens, or those of one user, the oldest first, including expired ones.

        :raises NotFound: no such user.
        """
        if user is None:
            return self._records(TokenRecord, f"{_TOKEN} ORDER BY tokens.created, id")
        if self.find_user(user) is None:
            raise _no_user(user)
        return self._records(TokenRecord, f"{_TOKEN} WHERE user = ? ORDER BY tokens.created, id", user)

    def find_token(self, digest: bytes) -> TokenRecord | None:
        """A token by the SHA-256 of its secret, None if there is none."""
        return self._record(TokenRecord, f"{_TOKEN} WHERE digest = ?", digest)

    def issue_token(self, id: str, digest: bytes, user: str, label: str, created: int, expires: int) -> None:
        """Add a token.

        :param id: its public name.
        :param digest: SHA-256 of its secret.
        :param created: milliseconds since the Unix epoch; also `expires`, for which 0 is never.
        :raises NotFound: no such user.
        :raises Conflict: the id or the digest is in use.
        """
        with availability("write"):
            try:
                with transaction(self._connection):
                    self._need_user(user)
                    self._connection.execute(
                        "INSERT INTO tokens (id, digest, user, label, created, expires) VALUES (?, ?, ?, ?, ?, ?)", (id, digest, user, label, created, expires)
                    )
            except IntegrityError as error:
                raise Conflict(f"there is a token {id!r} already") from error

    def revoke_token(self, id: str) -> None:
        """Remove a token. NotFound: no such token."""
        with availability("write"), transaction(self._connection):
            if not self._connection.execute("DELETE FROM tokens WHERE id = ?", (id,)).rowcount:
                raise NotFound(f"there is no token {id!r}")
            self._raise_revision()

    # Sessions

    def find_session(self, digest: bytes) -> SessionRecord | None:
        """A session by the SHA-256 of its cookie, None if there is none."""
        return self._record(SessionRecord, f"{_SESSION} WHERE digest = ?", digest)

    def add_session(self, digest: bytes, user: str, created: int, expires: int) -> None:
        """Open a session; times in milliseconds since the Unix epoch.

        :raises NotFound: no such user.
        """
        with availability("write"), transaction(self._connection):
            self._need_user(user)
            self._connection.execute("INSERT INTO sessions (digest, user, created, expires) VALUES (?, ?, ?, ?)", (digest, user, created, expires))

    def remove_session(self, digest: bytes) -> int | None:
        """End a session; returns the new revision, which is one more than before. None, and no new revision, if there is no such session."""
        with availability("write"), transaction(self._connection):
            if not self._connection.execute("DELETE FROM sessions WHERE digest = ?", (digest,)).rowcount:
                return None
            self._raise_revision()
            return self.revision()

    def remove_expired_sessions(self, now: int, most: int = 1000) -> int:
        """Remove up to `most` sessions that have expired at `now` (ms); returns how many. Takes no right from anybody."""
        with availability("write"), transaction(self._connection):
            digests = rows_of(self._connection, "SELECT digest FROM sessions WHERE expires > 0 AND expires <= ? LIMIT ?", (now, most))
            self._connection.executemany("DELETE FROM sessions WHERE digest = ?", digests)
        return len(digests)

    def revision(self) -> int:
        """A number that grows with every change that may take a right from somebody."""
        with availability("read"):
            return int(value_of(self._connection, "SELECT value FROM meta WHERE name = 'revision'"))

    def _raise_revision(self) -> None:
        self._connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'revision'")

    def _change_user(self, statement: str, *parameters: str) -> None:
        """Run a statement whose last parameter is the user's name."""
        if not self._connection.execute(statement, parameters).rowcount:
            raise _no_user(parameters[-1])

    def _need_user(self, name: str) -> None:
        if value_of(self._connection, "SELECT 1 FROM users WHERE name = ?", (name,)) is None:
            raise _no_user(name)

    def _records(self, make: Callable[..., R], query: str, *parameters: Value) -> list[R]:
        with availability("read"):
            rows = rows_of(self._connection, query, parameters)
        return [make(*row) for row in rows]

    def _record(self, make: Callable[..., R], query: str, parameter: Value) -> R | None:
        records = self._records(make, query, parameter)
        return records[0] if records else None


def _no_user(name: str) -> NotFound:
    return NotFound(f"there is no user {name!r}")
