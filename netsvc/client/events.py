"""What a client is told: a room's events and what is missing between them, the progress of a call."""

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.logger import Logger

__all__ = ["Event", "Gap", "Position", "Progress", "parse_cursor", "tell"]

Progress = Callable[[dict[str, Any]], None]
"""Is called with the members of each ``rpc.progress`` of a call, except `id`."""

_log = Logger()


def tell(listener: Callable[[Any], None], method: str, params: Any) -> None:
    """Call a listener to a notification; what it raises is logged and affects nothing else."""
    try:
        listener(params)
    except Exception:
        _log.failure("a listener to {method} failed", method=method)


class Position(NamedTuple):
    """A position in a log, as named by a cursor.

    :ivar epoch: of the store.
    :ivar seq: of the last event seen; all before it have been seen, too.
    """

    epoch: str
    seq: int

    @property
    def cursor(self) -> str:
        """``epoch:seq``."""
        return f"{self.epoch}:{self.seq}"


def parse_cursor(cursor: str) -> Position:
    """The position that a cursor names.

    :raises ValueError: it is not a cursor.
    """
    epoch, colon, seq = cursor.rpartition(":")
    if not colon or not seq.isascii() or not seq.isdigit():
        raise ValueError(f"not a cursor: {cursor!r}; one looks like k3v9:42")
    return Position(epoch, int(seq))


class Event:
    """An event of a room's log, of a type known or unknown.

    :param data: as received; it also has the members that are not attributes here.
    """

    __slots__ = ("data",)

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @property
    def type(self) -> str:
        """``message``, ``edit``, ``delete``, ``reaction``, ``topic`` …; later servers have more."""
        return str(self.data.get("type", ""))

    @property
    def room(self) -> str:
        """The room's name."""
        return str(self.data["room"])

    @property
    def seq(self) -> int:
        """The position in the room's log, from 1 on, without gaps."""
        return int(self.data["seq"])

    @property
    def cursor(self) -> str:
        """The cursor to continue from after this event."""
        return str(self.data["cursor"])

    @property
    def sender(self) -> str:
        """Who did it: the member ``from``."""
        return str(self.data.get("from", ""))

    @property
    def at(self) -> str:
        """When: RFC 3339, UTC, with milliseconds."""
        return str(self.data.get("at", ""))

    @property
    def text(self) -> str:
        """The text, "" for types that have none."""
        return str(self.data.get("text") or "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # it contains a dictionary

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.data!r}>"


class Gap(NamedTuple):
    """Events that cannot be delivered, reported in their place.

    :ivar room: the room's name.
    :ivar first: the seq of the first missing one.
    :ivar last: the seq of the last; less than `first` if none is known to be missing.
    :ivar replaced: the log is not the same as before (a backup was restored): what has been seen may come again, or be gone.
    """

    room: str
    first: int
    last: int
    replaced: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """As a JSON object, with ``"type": "gap"``."""
        members = {"type": "gap", "room": self.room, "from": self.first, "to": self.last}
        return {**members, "replaced": True} if self.replaced else members
