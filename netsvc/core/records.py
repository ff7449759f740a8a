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
    :ivar type: the event's type, for example ``message``.
    :ivar sender: the name of the identity that posts.
    :ivar at: milliseconds since the Unix epoch; for a repeated key the store sets it to the time of the first post.
    :ivar text: the text, None for types without one.
    :ivar extra: further members of the event as a JSON object, None if there are none.
    :ivar key: the idempotency key, None if there is none.
    :ivar founds: the sender is a user, who becomes the room's owner if this is its first event.
    :ivar change: what it changes in the room's stored state besides the log, in the same transaction; None for most.
    :ivar amend: checks, and may change, earlier events in the same transaction (see Amendment); None for most.
    :ivar target: with `amend`, the seq of the event that it is about; otherwise not set.
    :ivar seq: the position in the room, 1 or more, set by the store; 0 before.
    :ivar repeated: set by the store: this was posted before, nothing was appended, and ``seq`` and ``at`` are those of the first time.
    :ivar error: set by the store: why this draft was not appended (Conflict, StoreUnavailable, what `amend` raised).
    :ivar changed: set by the store if `amend` was: the older events that it changed, in their new form.
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
        """For the core: what to do with the outcome. A store does not touch it."""


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
"""What a draft does to earlier events. Called within the transaction, in the order of the drafts, and again if the transaction is retried.

It is given the draft, whose ``seq`` is the one it would get and whose ``extra`` and ``text`` it may set; the target, None if there is no
such event; and a way to load other events. It returns older events in their new form, or the seq of an older event that already says what
the draft says: then nothing is appended. Any NetsvcError that it raises becomes the draft's error. A room without events is not created.
"""


class RoomInfo(NamedTuple):
    """A room's bounds.

    :ivar first: the oldest seq that retention left; ``head + 1`` if it left none.
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
    :ivar rows: the events after a position, the newest first, without their texts.
    """

    head: int
    rows: list[Row]


class StoredAnswer(NamedTuple):
    """The stored answer of an idempotency key: the digest of the params it was given for, and the answer's JSON."""

    digest: bytes
    answer: bytes


class UserRecord(msgspec.Struct, frozen=True):
    """A registered user. ``password`` is an argon2id string, or empty if the user logs in by token only. ``created`` in ms since the epoch."""

    name: str
    role: str
    password: str
    created: int


class TokenRecord(msgspec.Struct, frozen=True):
    """A token: ``id`` is public, ``digest`` is SHA-256 of the secret. Times in ms since the epoch; ``expires`` 0 is never.

    ``role`` is the user's role at the time of the look-up, not limited by anything else; ``since`` is when the user was added.
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
