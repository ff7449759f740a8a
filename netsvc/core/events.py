"""An event as clients see it, made from a row of the log."""

from functools import lru_cache
from time import gmtime, strftime
from typing import Any, Final

import msgspec

from netsvc.core.records import Row

__all__ = ["GUEST", "Event", "Extra", "cursor_of", "decode_extra", "encode_extra", "event_of", "parse_cursor", "timestamp"]


GUEST = '{"guest":true}'
"""What the row of a plain message by a guest contains. Clients are not told."""


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False, rename={"sender": "from"}):
    """One event of a room's log. Members that a type does not have are left out of the JSON.

    :ivar room: the room's name.
    :ivar seq: 1 or more, without gaps.
    :ivar cursor: ``epoch:seq``.
    :ivar type: message, edit, delete, reaction, topic, moderation or file.
    :ivar sender: the name of who did it; the member is called ``from``.
    :ivar at: RFC 3339, UTC, milliseconds.
    :ivar mentions: who is named in the text: casefolded names, ``@room`` for everybody.
    :ivar reactions: of a message: for each emoji the names of those who reacted with it.
    """

    room: str
    seq: int
    cursor: str
    type: str
    sender: str
    at: str
    text: str | None = None
    reply_to: int | None = None
    mentions: list[str] | None = None
    target: int | None = None
    emoji: str | None = None
    on: bool | None = None
    name: str | None = None
    size: int | None = None
    media_type: str | None = None
    url: str | None = None
    action: str | None = None
    value: str | None = None
    until: str | None = None
    edited: bool = False
    deleted: bool = False
    reactions: dict[str, list[str]] | None = None


class Extra(msgspec.Struct, omit_defaults=True, gc=False):
    """The members of an event that a row keeps as JSON, and what netsvc.core.amending keeps beside them, which is not for clients."""

    guest: bool = False
    reply_to: int | None = None
    mentions: list[str] | None = None
    target: int | None = None
    previous: int | None = None
    emoji: str | None = None
    on: bool | None = None
    name: str | None = None
    size: int | None = None
    media_type: str | None = None
    url: str | None = None
    action: str | None = None
    value: str | None = None
    until: str | None = None
    edited: bool = False
    edits: int = 0
    last_edit: int | None = None
    deleted: bool = False
    deletion: int | None = None
    reactions: dict[str, dict[str, int]] | None = None


_MEMBERS: Final = tuple(name for name in Extra.__struct_fields__ if name in Event.__struct_fields__)
decode_extra = msgspec.json.Decoder(Extra).decode
_encode = msgspec.json.Encoder().encode


def encode_extra(extra: Extra) -> str:
    """The JSON that is stored."""
    return _encode(extra).decode()


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


@lru_cache(maxsize=64)  # under load, several posts come in one millisecond, each with an event and an answer
def timestamp(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds, from milliseconds since the Unix epoch."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


def cursor_of(epoch: str, seq: int) -> str:
    """The cursor after event `seq`; 0 is before the first."""
    return f"{epoch}:{seq}"


_DIGITS = 18
_FAR = 10**_DIGITS


def parse_cursor(cursor: str) -> tuple[str, int]:
    """Epoch and seq of a cursor.

    An integer of more than 18 digits is far beyond every event; it is cut, since neither a store nor `int` takes arbitrary lengths.

    :raises ValueError: not of the form ``text:integer``.
    """
    epoch, colon, seq = cursor.rpartition(":")
    digits = seq.removeprefix("-")
    if not colon or not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{cursor[:80]!r} is not a cursor: give it exactly as you got it, like 'x7k2:41'")
    number = int(digits) if len(digits) <= _DIGITS else _FAR
    return epoch, -number if seq.startswith("-") else number


def event_of(epoch: str, room: str, row: Row) -> Event:
    """The event of a row in `room`'s log."""
    seq, at, type_, sender, text, extra = row
    event = Event(room=room, seq=seq, cursor=f"{epoch}:{seq}", type=type_, sender=sender, at=timestamp(at), text=text)
    if extra is not None and extra != GUEST:
        members = decode_extra(extra)
        for name in _MEMBERS:
            value = getattr(members, name)
            if (value is not None and value is not False) or (name == "on" and value is False):
                setattr(event, name, value if name != "reactions" else _standing(value))
    return event


def _standing(reactions: Any) -> dict[str, list[str]] | None:
    """A row's reactions without those that were taken back."""
    standing = {emoji: [name for name, seq in words.items() if seq > 0] for emoji, words in reactions.items()}
    return {emoji: names for emoji, names in standing.items() if names} or None
