"""The interfaces between the packages."""

# Interface methods have no self and no body.
# ruff: noqa: N805

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

if TYPE_CHECKING:  # the records belong to the core, which is above this module
    from collections.abc import Callable, Mapping, Sequence

    from netsvc.core.access import RoomAccess
    from netsvc.core.events import Event
    from netsvc.core.places import Place
    from netsvc.core.query import Query, SearchPage
    from netsvc.core.records import Draft, Outline, RoomInfo, Row, SessionRecord, StoredAnswer, TokenRecord, UserRecord

__all__ = ["IAccounts", "IFormat", "IRoomAccesses", "ISink", "ISinkWatcher", "IStore", "IWebSocketApplication"]


class IStore(Interface):
    """The log of every room.

    Every Deferred fires on the reactor's thread; a failure is StoreUnavailable.
    """

    epoch: str = Attribute("The identity of this log: survives restarts, changes when a backup is restored. Known after start().")
    durable: str = Attribute('"fsync" if an append is on disk when its Deferred fires, else "memory".')
    accesses: "IRoomAccesses" = Attribute("What is stored about rooms besides their logs.")

    def start() -> "Deferred[None]":
        """Open, creating what is missing. StartError: corrupt, of a newer schema, not writable; the detail says what to do."""

    def stop() -> "Deferred[None]":
        """Finish what was asked for, then close."""

    def append(drafts: "list[Draft]") -> "Deferred[None]":
        """Append drafts in order, in one transaction, and fill in their outcomes.

        Each room's seq is given inside the transaction, without gaps. A failed transaction is tried again draft by draft, so that one
        bad draft fails alone. The Deferred never fails: errors are in the drafts. The caller has one append under way at a time.
        """

    def room(name: str) -> "Deferred[RoomInfo | None]":
        """The bounds of a room, None if it has no event."""

    def rooms(after: str, limit: int) -> "Deferred[list[RoomInfo]]":
        """Up to `limit` rooms whose names sort after `after`, by name."""

    def read_after(room: str, after: int, limit: int, upto: int | None = None) -> "Deferred[list[Row]]":
        """Up to `limit` events with seq > after (and seq <= upto), ascending. An absent room has none. O(limit)."""

    def read_before(room: str, before: int, limit: int) -> "Deferred[list[Row]]":
        """The last `limit` events with seq < before, ascending. O(limit)."""

    def search(query: "Query", before: "tuple[str, int] | None", limit: int, hidden: "frozenset[str]") -> "Deferred[SearchPage]":
        """Messages that match a query, newest first, as they are now; none from hidden rooms. About O(limit).

        :param before: the position to continue after, from a SearchPage; for one room also epoch and seq. InvalidParams if it is no longer valid.
        """

    def recall(scope: str, key: str, now: int) -> "Deferred[StoredAnswer | None]":
        """The stored answer of an idempotency key that has not expired at `now` (ms)."""

    def remember(scope: str, key: str, digest: bytes, answer: bytes, expires: int) -> "Deferred[None]":
        """Store the answer of a key until `expires` (ms)."""

    def mark_read(name: str, room: str, seq: int, at: int, most: int) -> "Deferred[int]":
        """Note that a user has read a room up to `seq`, unless the mark is further already; gives where the mark is then.

        :param at: the time (ms). If a user has more than `most` marks, the oldest are dropped.
        """

    def read_marks(name: str) -> "Deferred[dict[str, int]]":
        """A user's marks, by room. They are removed with the user."""

    def outlines(after: "Mapping[str, int]", limit: int) -> "Deferred[dict[str, Outline]]":
        """For each of these rooms that exists: its head, and the newest `limit` events after the seq given, without texts.

        All of that is one read: ask for a few rooms at a time.
        """

    def prune(now: int, max_age: int | None, max_events: int | None) -> "Deferred[list[RoomInfo]]":
        """Remove events older than `max_age` ms and beyond the newest `max_events` of a room, and expired keys, sessions and bans.

        A room with a retention of its own keeps to that.
        Works in small transactions between which appends get their turn. Returns the rooms whose `first` has moved.
        """

    def probe() -> "Deferred[None]":
        """Prove that a write would succeed now: commit a small one. StoreUnavailable if not."""


class IRoomAccesses(Interface):
    """What is stored about rooms besides their logs: settings and places. It is changed by drafts (``change``, ``founds``).

    Every Deferred fires on the reactor's thread; a failure is StoreUnavailable.
    """

    def restricted() -> "Deferred[dict[str, str]]":
        """The rooms in which somebody may not read or write: not public, or somebody is muted or banned; each with its access."""

    def access(room: str) -> "Deferred[RoomAccess]":
        """Everything that is stored about a room; empty if nothing is."""

    def places(key: str, network: str, rooms: "list[str] | None") -> "Deferred[dict[str, Place]]":
        """The places of whoever has this key, in these rooms (None: in all); ``banned`` also where their network is (empty: none)."""


class IAccounts(Interface):
    """Users, tokens and sessions, as the daemon uses them. Every Deferred fires on the reactor's thread."""

    def find_user(name: str) -> "Deferred[UserRecord | None]":
        """A user by name (already folded)."""

    def find_token(digest: bytes) -> "Deferred[TokenRecord | None]":
        """A token by the SHA-256 of its secret; None also if it or its user is gone. The caller checks the expiry."""

    def find_session(digest: bytes) -> "Deferred[SessionRecord | None]":
        """A session by the SHA-256 of its cookie; None also if its user is gone. The caller checks the expiry."""

    def add_session(digest: bytes, user: str, created: int, expires: int) -> "Deferred[None]":
        """Open a session."""

    def remove_session(digest: bytes) -> "Deferred[int | None]":
        """End a session. Raises the revision by one, and gives what it is then; None if there is no such session."""

    def renew_password(name: str, old: str, new: str) -> "Deferred[bool]":
        """Replace a user's argon2id string by another of the same password (a rehash with newer parameters); True if that was done.

        Nothing is done if the string is no longer the old one, or the user is gone. Does not raise the revision.
        """

    def revision() -> "Deferred[int]":
        """A number that grows with every removal or change of a user, password, role, token or session, by this or any other process."""


class ISinkWatcher(Interface):
    """Something that wants to know when a sink fills up and drains: a follower of a room."""

    def sink_full() -> None:
        """Bytes wait in the sink: write no more until `sink_drained`."""

    def sink_drained() -> None:
        """Nothing waits in the sink any more."""


class ISink(Interface):
    """Where the bytes of a connection go.

    The fan-out of a room calls `raw_send` of every level follower in one tight loop, so it is the bare bound method of a socket
    where there is one. Everything else about a slow client is here: `rest` keeps what the kernel did not take, by reference.
    """

    full: bool = Attribute("True while bytes wait in the sink; raw_send must not be called then.")
    raw_send: Any = Attribute(
        "Callable: bytes -> int, the count taken. Like socket.send it may take less than all, or raise BlockingIOError (none taken) or another OSError"
        " (the connection is broken: call rest(data, 0), the transport reports the loss itself)."
    )

    def write(data: bytes) -> None:
        """Send at once what the kernel takes and keep the rest; order is kept. The plain way for answers and single frames."""

    def rest(data: bytes, offset: int) -> None:
        """Take over data[offset:] after raw_send took less than all. No copy is made: the bytes object is shared by everything that holds it.

        Becomes full; every watcher's sink_full is called, later sink_drained.
        """

    def watch(watcher: ISinkWatcher) -> None:
        """Call the watcher's sink_full and sink_drained from now on. If full already, sink_full is not called: look at `full`."""

    def unwatch(watcher: ISinkWatcher) -> None:
        """Stop calling it; no error if it was not watching."""


class IWebSocketApplication(Interface):
    """What runs on one WebSocket, above its handshake, frames and pings."""

    def connected(connection: Any) -> None:
        """The handshake is done; `connection` is the netsvc.http.websocket.WebSocketConnection to answer on."""

    def text(message: str) -> None:
        """A whole text message."""

    def binary(data: bytes) -> None:
        """A whole binary message."""

    def draining(return_after: float, close: "Callable[[], None]") -> None:
        """The server is sending its clients away: tell this one to come back after so many seconds; once it has all its answers, call `close`.

        Without that it is closed a little later all the same.
        """

    def disconnected(code: int, reason: str) -> None:
        """The connection is over; `code` as in RFC 6455 section 7.4 (1006 if the transport just broke). Called exactly once."""


class IFormat(Interface):
    """How one kind of client sees a room: ready wire bytes for each thing that happens in it. Empty bytes mean: not shown."""

    def event(event: "Event") -> bytes:
        """An event of the log."""

    def gap(room: str, first: int, last: int) -> bytes:
        """The events first..last can no longer be delivered."""

    def presence(room: str, joined: "Sequence[str]", left: "Sequence[str]", count: int) -> bytes:
        """Who came and went since the last time, and how many are there now."""

    def typing(room: str, name: str) -> bytes:
        """Somebody is writing."""
