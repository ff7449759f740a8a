"""The tables, as numbered steps from an empty file to the present schema."""

from secrets import choice
from sqlite3 import Connection
from string import ascii_lowercase, digits
from typing import Final

from netsvc.store.sqlite.transactions import transaction, value_of

__all__ = ["APPLICATION_ID", "STEPS", "Steps", "new_epoch", "upgrade", "version_of"]

APPLICATION_ID: Final = 0x6E737663
"""Marks the file as netsvc's (``PRAGMA application_id``): "nsvc"."""

Steps = tuple[tuple[str, ...], ...]
"""The statements of each step."""

STEPS: Final[Steps] = (
    (
        # epoch, revision, probe, witness
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        "INSERT INTO meta (name, value) VALUES ('revision', 1), ('probe', 0), ('witness', '')",
        "CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first INTEGER NOT NULL, head INTEGER NOT NULL, at INTEGER NOT NULL)",
        "CREATE TABLE events (room_id INTEGER NOT NULL REFERENCES rooms (id), seq INTEGER NOT NULL, at INTEGER NOT NULL, type TEXT NOT NULL,"
        " sender TEXT NOT NULL, text TEXT, extra TEXT, PRIMARY KEY (room_id, seq)) WITHOUT ROWID",
        "CREATE TABLE answers (scope TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, answer BLOB NOT NULL, expires INTEGER NOT NULL,"
        " PRIMARY KEY (scope, key)) WITHOUT ROWID",
        "CREATE INDEX answers_expires ON answers (expires)",
        "CREATE TABLE users (name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE tokens (id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,"
        " label TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX tokens_user ON tokens (user)",
        "CREATE TABLE sessions (digest BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,"
        " created INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX sessions_user ON sessions (user)",
        "CREATE INDEX sessions_expires ON sessions (expires)",
    ),
    (
        # Rooms by name: these tables have nothing about most rooms, and may have something about a room before it has an event.
        "CREATE TABLE room_settings (room TEXT PRIMARY KEY, access TEXT NOT NULL, topic TEXT NOT NULL, retention_age INTEGER, retention_events INTEGER)"
        " WITHOUT ROWID",
        "CREATE INDEX room_settings_access ON room_settings (room) WHERE access != 'public'",
        # who: a user's name, or ? and a guest's; muted and banned: until when
        "CREATE TABLE room_places (room TEXT NOT NULL, who TEXT NOT NULL, role TEXT NOT NULL, muted INTEGER NOT NULL, banned INTEGER NOT NULL,"
        " networks TEXT NOT NULL, PRIMARY KEY (room, who)) WITHOUT ROWID",
        "CREATE INDEX room_places_who ON room_places (who)",
        "CREATE INDEX room_places_bound ON room_places (room) WHERE muted > 0 OR banned > 0",
        "CREATE INDEX room_places_networks ON room_places (room) WHERE networks != ''",
        "CREATE TRIGGER users_places AFTER DELETE ON users BEGIN DELETE FROM room_places WHERE who = old.name; END",
    ),
    (
        # at: when it was made, for the oldest to go when there are too many
        "CREATE TABLE read_marks (name TEXT NOT NULL, room TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (name, room)) WITHOUT ROWID",
        "CREATE TRIGGER users_read_marks AFTER DELETE ON users BEGIN DELETE FROM read_marks WHERE name = old.name; END",
    ),
)
"""Step n leads from version n - 1 to version n. A released step is never changed: a change is a new step."""

_EPOCH_LENGTH = 10


def new_epoch() -> str:
    """A name for a log that no other log has."""
    return "".join(choice(ascii_lowercase + digits) for _ in range(_EPOCH_LENGTH))


def version_of(connection: Connection) -> int:
    """How many steps the database has had; 0 if it is empty."""
    return int(value_of(connection, "PRAGMA user_version"))


def upgrade(connection: Connection, steps: Steps = STEPS) -> None:
    """Take the steps that are missing, in one transaction: all of them or none. Two programs may try at once.

    A new database gets its epoch.
    """
    with transaction(connection):
        present = version_of(connection)
        for step in steps[present:]:
            for statement in step:
                connection.execute(statement)
        if not present:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("INSERT INTO meta (name, value) VALUES ('epoch', ?)", (new_epoch(),))
        # PRAGMA takes no parameters.
        connection.execute(f"PRAGMA user_version = {len(steps)}")
