"""What is appended to rooms: every rule about it is here."""

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from netsvc.core.access import EVERYWHERE, Right
from netsvc.core.appender import Appender
from netsvc.core.delivery import Delivery
from netsvc.core.events import Event, event_of, timestamp
from netsvc.core.idempotency import digest_of, scope_of
from netsvc.core.identity import RANKS, Identity
from netsvc.core.names import fold_room_name
from netsvc.core.records import Draft, Key, Row
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.core.states import RoomStates
from netsvc.errors import Forbidden, InvalidParams, TooLarge
from netsvc.interfaces import IStore

__all__ = ["Check", "Posted", "Posting", "open_to_all"]

KEY_LENGTH = 200
"""Characters of an idempotency key at the most."""

LAST_SEQ = 2**53 - 1
"""No seq is higher: the highest integer that every JSON parser reads as it is written (RFC 8259 section 6)."""

FLUSH_DEFERRALS = 2
"""Commits for which a flush may be held while a further one is under way (measured: a third more throughput, PERFORMANCE)."""

FLUSH_HOLD = 0.005
"""Seconds for which it may be held at the most: a disk may take long for the next commit."""

Check = Callable[[Identity, str, Right], "Deferred[None] | None"]
"""Asked whether somebody may do something in a room (its folded name): None or a Deferred of None if so, else it raises, at once or by way
of the Deferred. Those who ask about the same room are answered in the order in which they asked."""


def open_to_all(identity: Identity, room: str, right: Right) -> None:
    """A Check for rooms without owners: everybody reads and writes, admins do the rest."""
    if right > Right.WRITE and identity.rank < EVERYWHERE:
        raise Forbidden("that takes an admin")


class Posted(msgspec.Struct, gc=False):
    """The answer to a post: where it stands, and ``durable``, "fsync" or "memory"."""

    room: str
    seq: int
    cursor: str
    at: str
    durable: str


class Posting:
    """Takes what is to be appended, and gives what was appended to those who answer and deliver.

    :param store: the log.
    :param clock: time and later calls.
    :param rooms: [rooms]; `limits`: [limits].
    :param states: the rooms in memory.
    :param delivery: is told what was appended to them.
    :param create: the least role that may start a room.
    :ivar check: asked before anything is appended (see Check).
    :ivar appender: the way into the store.
    """

    def __init__(
        self, store: IStore, clock: IReactorTime, rooms: RoomsSettings, limits: LimitsSettings, states: RoomStates, delivery: Delivery, create: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = rooms
        self._states = states
        self._delivery = delivery
        self._create = RANKS[create]
        self._deferred = 0
        self._held = False
        self._keys = int(rooms.keys * 1000)
        self.check: Check = open_to_all
        self.appender = Appender(store, clock, self._committed, limits.append_batch, limits.append_queue)

    def post(self, identity: Identity, room: str, text: str, key: str | None = None, reply_to: int | None = None) -> "Deferred[Posted]":
        """Append a message; the Deferred fires after its commit, and before it is delivered to anybody.

        :raises InvalidParams: by way of the Deferred or at once: a bad room name, text or key.
        :raises TooLarge: the text is longer than ``[rooms] text``.
        :raises Forbidden: the room has no event yet and the identity may not start one.
        :raises Conflict: the key was used with other params.
        :raises StoreUnavailable: it could not be stored; nothing was.
        """
        name = fold_room_name(room)
        if not text:
            raise InvalidParams("text: must not be empty", parameter="text")
        # A character is at most four bytes: most texts need no encoding to be known as short enough.
        if len(text) * 4 > self._settings.text and len(text.encode()) > self._settings.text:
            raise TooLarge(f"text: {len(text.encode())} bytes are more than the {self._settings.text} that [rooms] text allows", parameter="text")
        if reply_to is not None and not 1 <= reply_to <= LAST_SEQ:
            raise InvalidParams("reply_to: expected the seq of a message, 1 or more", parameter="reply_to")
        draft = Draft(name, "message", identity.name, int(self._clock.seconds() * 1000), text)
        if reply_to is not None:
            draft.extra = f'{{"reply_to":{reply_to}}}'
        if key is not None:
            draft.key = self._key(identity, draft, key)
        return self.append(identity, draft)

    def append(self, identity: Identity, draft: Draft, right: Right = Right.WRITE) -> "Deferred[Posted]":
        """Append a draft if its sender may do that in its room. Everything that is appended passes here.

        :param draft: its ``room`` is folded; its ``context`` is set here.
        :param right: what its sender must be allowed.
        :raises NetsvcError: at once or by way of the Deferred: what `check` has against it; Forbidden: it may not start the room.
        """
        done: Deferred[Posted] = Deferred()
        draft.context = done
        draft.founds = not identity.guest
        waiting = self.check(identity, draft.room, right)
        if waiting is not None:
            return waiting.addCallback(self._allowed, identity, draft, done)
        if identity.rank >= self._create:
            self.appender.append(draft)
            return done
        return self._allowed(None, identity, draft, done)

    def _allowed(self, _: None, identity: Identity, draft: Draft, done: "Deferred[Posted]") -> "Deferred[Posted]":
        if identity.rank < self._create:
            return self._states.exists(draft.room).addCallback(self._append_if, draft, done)
        self.appender.append(draft)
        return done

    def _key(self, identity: Identity, draft: Draft, key: str) -> Key:
        if not key or len(key) > KEY_LENGTH:
            raise InvalidParams(f"key: expected 1 to {KEY_LENGTH} characters, a UUID for one", parameter="key")
        digest = digest_of(f"{draft.extra or ''}\0{draft.text}".encode())
        return Key(scope_of("chat.post", draft.room, identity), key, digest, draft.at + self._keys)

    def _append_if(self, exists: bool, draft: Draft, done: "Deferred[Posted]") -> "Deferred[Posted]":
        if not exists:
            raise Forbidden(f"there is no room {draft.room!r} yet, and you may not start one")
        self.appender.append(draft)
        return done

    def _committed(self, batch: list[Draft]) -> None:
        epoch, durable, states = self._store.epoch, self._store.durable, self._states
        for draft in batch:
            done = draft.context
            assert isinstance(done, Deferred)
            if draft.error is not None:
                done.errback(draft.error)
                continue
            name, seq = draft.room, draft.seq
            cursor, at = f"{epoch}:{seq}", timestamp(draft.at)
            state = states.get(name)
            if state is not None and not draft.repeated:
                if draft.extra is None:
                    event = Event(room=name, seq=seq, cursor=cursor, type=draft.type, sender=draft.sender, at=at, text=draft.text)
                else:
                    event = event_of(epoch, name, Row(seq, draft.at, draft.type, draft.sender, draft.text, draft.extra))
                self._delivery.append(state.room, event)
            # In the room before its answer, so that who has that can read it there; delivered behind it, by the flush.
            done.callback(Posted(name, seq, cursor, at, durable))
        if self.appender.busy and self._deferred < FLUSH_DEFERRALS:
            self._deferred += 1
            if not self._held:
                self._held = True
                self._clock.callLater(FLUSH_HOLD, self._flush_held)
        else:
            self._deferred = 0
            self._delivery.flush()

    def _flush_held(self) -> None:
        self._held = False
        self._delivery.flush()
