"""What a room's events look like in a terminal."""

from collections.abc import Iterator
from datetime import datetime
from zlib import crc32

from rich.text import Text

from netsvc.client import Event, Gap, State

__all__ = ["ChatLines", "clean", "clean_name"]

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_yellow", "bright_blue")

_JOINERS = "\u200c\u200d"
"""Invisible characters that nevertheless belong in texts: in the words of some languages, and in emoji."""

LONGEST_NAME = 64
"""How many characters of a name are shown."""


def clean(text: str) -> str:
    """A text without anything that could control a terminal: control characters become pictures, those that turn the writing direction U+FFFD.

    Line breaks of every kind become ``\\n``.
    """
    return "\n".join("".join(map(_shown, line)) for line in text.expandtabs(4).splitlines())


def clean_name(name: str) -> str:
    """A name on one line, made safe in the same way. Joiners are not part of names: two would look the same."""
    shown = "".join("\ufffd" if character in _JOINERS else _shown(character) for character in name[:LONGEST_NAME])
    return shown if len(name) <= LONGEST_NAME else f"{shown}…"


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


class ChatLines:
    """Turns events into lines, with a line that gives the day before the first event of each day.

    :param own: the reader's own name; mentions of it stand out.
    """

    def __init__(self, own: str = "") -> None:
        self.own = own
        self._day = ""

    def lines(self, item: Event | Gap) -> Iterator[Text]:
        """The lines of an event or a gap."""
        if isinstance(item, Gap):
            yield _gap(item)
            return
        at = _local(item.at)
        if at is not None and (day := at.strftime("%A, %d %B %Y")) != self._day:
            self._day = day
            yield _aside(day)
        time = at.strftime("%H:%M") if at is not None else "--:--"
        yield Text.assemble((f"{time} ", "dim"), self._message(item) if item.type == "message" else _other(item))

    def _message(self, event: Event) -> Text:
        name = clean_name(event.sender)
        # Further lines are indented, so that none can pass for somebody else's message.
        body = Text("(deleted)", "dim") if event.data.get("deleted") else Text(clean(event.text).replace("\n", "\n      "))
        if self.own and event.sender != self.own:
            body.highlight_words([f"@{clean_name(self.own)}"], "bold reverse")
        if event.data.get("reply_to"):
            body = Text.assemble((f"(to #{event.data['reply_to']}) ", "dim"), body)
        if event.data.get("edited") and not event.data.get("deleted"):
            body.append(" (edited)", "dim")
        return Text.assemble("<", (name, _colour(event.sender)), "> ", body)

    def presence(self, params: dict[str, object]) -> Iterator[Text]:
        """The lines of a chat.presence notification; the reader is left out."""
        for member, words in (("joined", "is here"), ("left", "has left")):
            told = params.get(member)
            names = [name for name in told if name != self.own] if isinstance(told, list) else []
            if names:
                shown = ", ".join(clean_name(str(name)) for name in names[:5])
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                yield _aside(f"{shown}{more} {words if len(names) == 1 else words.replace('is', 'are').replace('has', 'have')}")

    @staticmethod
    def state(state: State, before: str) -> Text | None:
        """The line for a change of the connection, None for changes that are not news.

        :param before: the name of the last state that was told.
        """
        reason = clean(state.reason)
        if state.name == "waiting" and before != "waiting":
            return _aside(f"no connection ({reason}); trying again", "yellow")
        if state.name == "online" and before == "waiting":
            return _aside("connected again", "green")
        if state.name == "refused":
            return _aside(f"the server refuses the connection: {reason}", "red")
        return None


def _aside(text: str, style: str = "dim") -> Text:
    """A line that no sender can imitate: a message starts with a time and ``<``."""
    return Text(f"-- {text} --", style)


def _gap(gap: Gap) -> Text:
    if gap.replaced:
        return _aside("the server's log is not the same as before", "yellow")
    return _aside(f"messages {gap.first} to {gap.last} are no longer kept", "yellow")


def _other(event: Event) -> Text:
    """An event that is not a message."""
    name, data = clean_name(event.sender), event.data
    target = f"#{data['target']}" if isinstance(data.get("target"), int) else "a message"
    text = clean(event.text).replace("\n", "\n      ")
    words = {
        "edit": f"changes {target}: {text}",
        "delete": f"deletes {target}",
        "reaction": f"{'reacts with' if data.get('on', True) else 'no longer reacts with'} {clean_name(str(data.get('emoji', '')))} to {target}",
        "topic": f"sets the topic: {text}" if text else "removes the topic",
        "file": f"shares {clean_name(str(data.get('name', 'a file')))}",
        "moderation": " ".join(clean_name(str(data[member])) for member in ("action", "name", "value") if data.get(member) is not None)
        + (f" ({text})" if text else ""),
    }.get(event.type, f"({clean_name(event.type)}) {text}".rstrip())
    return Text.assemble("* ", (name, _colour(event.sender)), (f" {words}", "dim"))


def _colour(name: str) -> str:
    """Each name has its own colour, the same everywhere."""
    return f"bold {_COLOURS[crc32(name.encode('utf-8', 'replace')) % len(_COLOURS)]}"


def _local(at: str) -> datetime | None:
    """A time in the local time zone, None if it is not a time."""
    try:
        return datetime.fromisoformat(at).astimezone()
    except (ValueError, OverflowError):
        return None
