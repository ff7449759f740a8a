"""What passes between the core and a store: drafts of events going in, rows coming out, accounts."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from netsvc.core.places import AccessChange
from netsvc.errors import NetsvcError

__all__ = ["Amendment", "Draft", "Key", "Load", "Outline", "RoomInfo", "Row", "SessionRecord", "StoredAnswer", "TokenRecord", "UserRecord"]


class Key(NamedTuple):
    """An idempotency key.

    :ivar scope: what it is unique within: procedure, room and identity, joined by the core into one string.
    :ivar key: the client's key.
    :ivar digest: a digest of the params; the same key with another digest is a conflict.
    :ivar expires: when it may be forgotten, milliseconds since the Unix epoch.
    """

    scope: str
    key: str
    digest: bytes
    expires: int


class Draft:
    """An event on its way into a room's log. The store fills in the outcome: ``seq`` and ``at``, or ``error``.

    :ivar room: the room's name; the store creates the room with its first event.
    :ivar type: the event's type, ``message`` for one.
    :ivar sender: the name of the identity that posts.
    :ivar at: milliseconds since the Unix epoch; for a repeated key the store sets it to that of the first time.
    :ivar text: the text, None for types without one.
    :ivar extra: further members of the event as a JSON object, None if there are none.
    :ivar key: the idempotency key, None if there is none.
    :ivar founds: whoever sends it is a user, who owns the room if this is its first event.
    :ivar change: what it changes of what is stored of the room besides the log, in the same transaction; None for most.
    :ivar amend: judges, and may change, what is there already, in the same transaction (see Amendment); None for most.
    :ivar target: with `amend`, the seq of the event that it is about; else not set.
    :ivar seq: the position in the room, 1 or more, set by the store; 0 before.
    :ivar repeated: set by the store: it was said before, nothing was appended, ``seq`` and ``at`` are those of the first time.
    :ivar error: set by the store: why this draft was not appended (Conflict, StoreUnavailable, what `amend` raised).
    :ivar changed: set by the store if `amend` was: the older events that it has changed, as they are now.
    """

    __slots__ = (
        "amend",
        "at",
        "change",
        "changed",
        "context",
        "error",
        "extra",
        "founds",
        "key",
        "repeated",
        "room",
        "sender",
        "seq",
        "target",
        "text",
        "type",
    )

    target: int
    changed: "Sequence[Row]"

    def __init__(self, room: str, type: str, sender: str, at: int, text: str | None = None, extra: str | None = None, key: Key | None = None) -> None:
        self.room = room
        self.type = type
        self.sender = sender
        self.at = at
        self.text = text
        self.extra = extra
        self.key = key
        self.founds = False
        self.change: AccessChange | None = None
        self.amend: Amendment | None = None
        self.seq = 0
        self.repeated = False
        self.error: NetsvcError | None = None
        self.context: object = None
        """The core's own: what to do with the outcome. A store leaves it alone."""


class Row(NamedTuple):
    """An event as the store keeps it; the fields are those of Draft."""

    seq: int
    at: int
    type: str
    sender: str
    text: str | None
    extra: str | None


Load = Callable[[int], Row | None]
"""An event of a draft's room by its seq; None if there is none."""

Amendment = Callable[[Draft, Row | None, Load], Sequence[Row] | int]
"""What a draft does to what is there already. Called within the transaction, in the order of the drafts, and again if that is tried again.

It is given the draft, whose ``seq`` is what it would get and whose ``extra`` and ``text`` it may set, the target, None if there is no such
event, and how to get at further events. It returns older events as they shall be now, or the seq of an older event that says already what
the draft says: then nothing is appended. Any NetsvcError that it raises becomes the draft's error. A room without events is not created.
"""


class RoomInfo(NamedTuple):
    """A room's bounds.

    :ivar first: the oldest seq that retention has left; ``head + 1`` if it left none.
    :ivar head: the newest seq.
    :ivar at: when the newest event was appended, milliseconds since the Unix epoch.
    """

    name: str
    first: int
    head: int
    at: int


class Outline(NamedTuple):
    """What is new in a room.

    :ivar head: its newest seq.
    :ivar rows: events behind a position, the newest first, without their texts.
    """

    head: int
    rows: list[Row]


class StoredAnswer(NamedTuple):
    """The stored answer of an idempotency key: the digest of the params it was given for, and the answer's JSON."""

    digest: bytes
    answer: bytes


class UserRecord(msgspec.Struct, frozen=True):
    """A registered user. ``password`` is an argon2id string, or empty if only tokens log in. ``created`` in ms since the epoch."""

    name: str
    role: str
    password: str
    created: int


class TokenRecord(msgspec.Struct, frozen=True):
    """A token: ``id`` is public, ``digest`` is SHA-256 of the secret. Times in ms since the epoch; ``expires`` 0 is never.

    ``role`` is the user's role as of the look-up, capped by nothing else; ``since`` is when the user was added.
    """

    id: str
    digest: bytes
    user: str
    role: str
    label: str
    created: int
    expires: int
    since: int


class SessionRecord(msgspec.Struct, frozen=True):
    """A browser session: ``digest`` is SHA-256 of the cookie's value. Times in ms since the epoch; ``since`` is when the user was added."""

    digest: bytes
    user: str
    role: str
    created: int
    expires: int
    since: int
