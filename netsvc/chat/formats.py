"""How clients see a room: the ready wire bytes for each thing that happens in it."""

import re
from collections.abc import Sequence

import msgspec
from zope.interface import implementer

from netsvc.core.events import Event
from netsvc.interfaces import IFormat
from netsvc.rpc.connection import Framing
from netsvc.wire.jsonrpc import notification

__all__ = ["EventStreamFormat", "NotificationFormat", "TextFormat", "line"]


class _Gap(msgspec.Struct, rename={"first": "from", "last": "to"}):
    room: str
    first: int
    last: int


class _Presence(msgspec.Struct):
    room: str
    joined: Sequence[str]
    left: Sequence[str]
    count: int


class _Typing(msgspec.Struct, rename={"name": "from"}):
    room: str
    name: str


@implementer(IFormat)
class NotificationFormat:
    """JSON-RPC notifications: chat.event, chat.gap, chat.presence, chat.typing.

    :param frame: makes the wire bytes of a message.
    """

    def __init__(self, frame: Framing) -> None:
        self._frame = frame
        self._encode = msgspec.json.Encoder().encode

    def event(self, event: Event) -> bytes:
        """An event of the log as chat.event."""
        return self._frame(b'{"jsonrpc":"2.0","method":"chat.event","params":%b}' % self._encode(event))

    def gap(self, room: str, first: int, last: int) -> bytes:
        """Lost events as chat.gap."""
        return self._frame(notification("chat.gap", self._encode(_Gap(room, first, last))))

    def presence(self, room: str, joined: Sequence[str], left: Sequence[str], count: int) -> bytes:
        """Coming and going as chat.presence."""
        return self._frame(notification("chat.presence", self._encode(_Presence(room, joined, left, count))))

    def typing(self, room: str, name: str) -> bytes:
        """Somebody who is writing as chat.typing."""
        return self._frame(notification("chat.typing", self._encode(_Typing(room, name))))


# Everything that moves a terminal's cursor or controls it, except the tab.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _shown(found: "re.Match[str]") -> str:
    """A control character as its picture (Unicode's Control Pictures); C1 controls have none."""
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def line(sender: str, text: str) -> str:
    """A message as plain text: ``<sender> text``; no text can look like another's message.

    Further lines are indented. Control characters are shown as pictures, since in a terminal they could return to the beginning of the line.
    """
    # Everything that any terminal may treat as a line break counts as one.
    lines = text.splitlines() or [""]
    return f"<{sender}> " + _CONTROLS.sub(_shown, "\n  ".join(lines))


@implementer(IFormat)
class TextFormat:
    """Plain text: messages, and gaps in words. Presence and other events are not shown.

    :param frame: makes the wire bytes of a message.
    """

    def __init__(self, frame: Framing) -> None:
        self._frame = frame

    def event(self, event: Event) -> bytes:
        """A message as ``<name> text``."""
        if event.type != "message" or event.deleted:
            return b""
        return self._frame(line(event.sender, event.text or "").encode())

    def gap(self, room: str, first: int, last: int) -> bytes:
        """Lost events, in words that no sender can imitate: a message starts with ``<``."""
        return self._frame(f"-- messages {first} to {last} of {room} are no longer kept --".encode())

    def presence(self, room: str, joined: Sequence[str], left: Sequence[str], count: int) -> bytes:
        """Not shown."""
        return b""

    def typing(self, room: str, name: str) -> bytes:
        """Not shown."""
        return b""


@implementer(IFormat)
class EventStreamFormat:
    """Server-sent events (HTML standard, section 9.2): an event's ``id`` is its cursor. Presence is not shown.

    :param frame: makes the wire bytes of a part of the stream: a chunk, or unchanged for HTTP/1.0.
    """

    def __init__(self, frame: Framing) -> None:
        self._frame = frame
        self._encode = msgspec.json.Encoder().encode

    def event(self, event: Event) -> bytes:
        """An event of the log. JSON has no line breaks, so one ``data`` line is enough."""
        return self._frame(b"id: %b\ndata: %b\n\n" % (event.cursor.encode(), self._encode(event)))

    def gap(self, room: str, first: int, last: int) -> bytes:
        """Lost events as an event of type ``gap``. It has no id: a client that comes back without any later event is told again."""
        return self._frame(b"event: gap\ndata: %b\n\n" % self._encode(_Gap(room, first, last)))

    def presence(self, room: str, joined: Sequence[str], left: Sequence[str], count: int) -> bytes:
        """Not shown."""
        return b""

    def typing(self, room: str, name: str) -> bytes:
        """Not shown."""
        return b""

    def position(self, cursor: str) -> bytes:
        """A cursor alone. No browser shows it as an event, but one that reconnects before the first event comes back with it."""
        return self._frame(b"id: %b\n\n" % cursor.encode())
