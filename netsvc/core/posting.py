"""Appending to rooms: the rules for posts and for the other events."""

from collections.abc import Callable
from unicodedata import category

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from netsvc.core.access import EVERYWHERE, Right
from netsvc.core.amending import Limits, deletion, edit, first, reaction, reply
from netsvc.core.appender import Appender
from netsvc.core.delivery import Delivery
from netsvc.core.events import GUEST, Event, Extra, encode_extra, event_of, timestamp
from netsvc.core.fairness import OneByOne
from netsvc.core.idempotency import digest_of, scope_of
from netsvc.core.identity import RANKS, Identity
from netsvc.core.mentions import EVERYBODY, mentions_of
from netsvc.core.names import fold_room_name
from netsvc.core.records import Draft, Key, Row
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.core.states import RoomStates
from netsvc.errors import Forbidden, InvalidParams, TooLarge
from netsvc.interfaces import IStore

__all__ = ["Check", "Posted", "Posting", "open_to_all"]

KEY_LENGTH = 200
"""Characters of an idempotency key, at most."""

LAST_SEQ = 2**53 - 1
"""No seq is higher: the highest integer that every JSON parser reads exactly (RFC 8259 section 6)."""

FLUSH_DEFERRALS = 2
"""Commits for which a flush may be delayed while another one is under way (measured: a third more throughput, docs/performance.md)."""

FLUSH_HOLD = 0.005
"""Seconds for which it may be delayed, at most: a disk may be slow with the next commit."""

_NO_EMOJI = frozenset(("Cc", "Cf", "Cs", "Zs", "Zl", "Zp"))
"""Unicode's categories for what moves a terminal's cursor, changes the writing direction or is invisible."""

_MARKS = frozenset(("Mn", "Me"))
"""The categories for marks on another character, which an emoji may contain (Unicode Technical Standard 51)."""

_JOINS = frozenset(map(chr, (0x200D, *range(0xE0020, 0xE0080))))
"""Invisible characters within emoji: the joiner, and the tags in flags of regions (same standard)."""

_WRITE = Right.WRITE  # every post uses it, and enum member access is slow

Check = Callable[[Identity, str, Right], "Deferred[None] | None"]
"""Asked whether somebody may do something in a room (its folded name): None or a Deferred of None if they may, else it raises, at once or by way
of the Deferred. Those who ask about the same room are answered in the order in which they asked."""


def open_to_all(identity: Identity, room: str, right: Right) -> None:
    """A Check for rooms without owners: everybody reads and writes, admins do the rest."""
    if right > _WRITE and identity.rank < EVERYWHERE:
        raise Forbidden("only an admin may do that")


class Posted(msgspec.Struct, gc=False):
    """The answer to a post: its position, and ``durable``, "fsync" or "memory"."""

    room: str
    seq: int
    cursor: str
    at: str
    durable: str


class Posting:
    """Takes what is to be appended, and passes on what was appended to be answered and delivered.

    :param store: the log.
    :param clock: time and later calls.
    :param rooms: [rooms]; `limits`: [limits].
    :param states: the rooms in memory.
    :param delivery: is told what was appended to them.
    :param create: the lowest role that may start a room.
    :ivar check: asked before anything is appended (see Check).
    :ivar founded: told of rooms that got their first event.
    :ivar appender: the way into the store.
    """

    log = Logger()

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
        self._bounds = Limits(rooms.edits, rooms.reactions, rooms.reactions_per_message, int(rooms.guest_edits * 1000))
        self._gates = OneByOne()
        self.check: Check = open_to_all
        self.founded: Callable[[str], object] = len
        self.appender = Appender(store, clock, self._committed, limits.append_batch, limits.append_queue)

    def post(self, identity: Identity, room: str, text: str, key: str | None = None, reply_to: int | None = None) -> "Deferred[Posted]":
        """Append a message; the Deferred fires after its commit, and before it is delivered to anybody.

        :raises InvalidParams: by way of the Deferred or at once, like all below: a bad room name, text or key.
        :raises TooLarge: the text is longer than ``[rooms] text``.
        :raises Forbidden: the room has no event yet and the identity may not start one, or it may not write in it.
        :raises NotFound: there is no message `reply_to` in this room, or the room is secret.
        :raises Conflict: the key was used with other params.
        :raises StoreUnavailable: it could not be stored; nothing was.
        """
        name = fold_room_name(room)
        # A character is at most four bytes: most texts are known to be short enough without encoding them.
        if not text or len(text) * 4 > self._settings.text:
            self._check_text(text)
        draft = Draft(name, "message", identity.name, int(self._clock.seconds() * 1000), text)
        if identity.guest:
            draft.extra = GUEST
        if key is not None:
            draft.key = self._key(identity, draft, key, reply_to)
        if reply_to is None and "@" not in text:
            return self.append(identity, draft)
        return self._post_about(identity, draft, text, reply_to)

    def _check_text(self, text: str) -> None:
        if not text:
            raise InvalidParams("text: must not be empty", parameter="text")
        size = len(text.encode())
        if size > self._settings.text:
            raise TooLarge(f"text: {size} bytes are more than the {self._settings.text} that [rooms] text allows", parameter="text")

    def _key(self, identity: Identity, draft: Draft, key: str, reply_to: int | None) -> Key:
        if not key or len(key) > KEY_LENGTH:
            raise InvalidParams(f"key: expected 1 to {KEY_LENGTH} characters, for example a UUID", parameter="key")
        digest = digest_of(f"{'' if reply_to is None else reply_to}\0{draft.text}".encode())
        return Key(scope_of("chat.post", draft.room, identity), key, digest, draft.at + self._keys)

    def _post_about(self, identity: Identity, draft: Draft, text: str, reply_to: int | None) -> "Deferred[Posted]":
        """Append a message that answers another, or mentions somebody."""
        if reply_to is not None:
            _check_seq(reply_to, "reply_to")
            draft.target, draft.amend = reply_to, reply

        def write(mentions: list[str]) -> None:
            if mentions or reply_to is not None:
                draft.extra = encode_extra(Extra(guest=identity.guest, reply_to=reply_to, mentions=mentions or None))

        return self._mentioning(identity, draft, text, write)

    def _mentioning(self, identity: Identity, draft: Draft, text: str, write: Callable[[list[str]], None]) -> "Deferred[Posted]":
        """Append a draft once `write` has been told whom its text mentions. Only moderators can mention everybody in a room."""
        mentions = mentions_of(text, self._settings.mentions)
        if EVERYBODY not in mentions:
            write(mentions)
            return self.append(identity, draft)
        others = [name for name in mentions if name != EVERYBODY]
        return self._append_after(identity, draft, Right.WRITE, None, lambda moderates: write(mentions if moderates else others))

    def edit(self, identity: Identity, room: str, seq: int, text: str) -> "Deferred[Posted]":
        """Change the text of one's own message. The answer is that of the edit event; the same text again appends none.

        :raises InvalidParams: by way of the Deferred or at once, like all below and those of the next two methods: a bad room name, seq or text.
        :raises TooLarge: the text is longer than ``[rooms] text``.
        :raises NotFound: there is no such message, or the room is secret.
        :raises Forbidden: it is somebody else's, or the identity may not write in the room.
        :raises Conflict: it is deleted, or was edited as often as it can be.
        :raises StoreUnavailable: it could not be stored; nothing was.
        """
        draft = self._about(identity, "edit", room, seq)
        self._check_text(text)
        draft.text = text

        def write(mentions: list[str]) -> None:
            draft.amend = edit(identity, self._bounds, mentions)

        return self._mentioning(identity, draft, text, write)

    def delete(self, identity: Identity, room: str, seq: int) -> "Deferred[Posted]":
        """Remove the text of one's own message for good, or as a moderator of any message. Repeating it is no error: the answer is the same.

        Forbidden: it is somebody else's.
        """
        draft = self._about(identity, "delete", room, seq)

        def decide(moderates: bool) -> None:
            draft.amend = deletion(identity, self._bounds, moderates)

        def done(posted: Posted) -> Posted:
            about = "" if draft.repeated else draft.changed[0].sender
            if about and about != identity.name:
                who = {"identity": identity.name, "room": draft.room, "about": about}
                self.log.info("{identity} in {room}: delete message {target} of {about}", action="delete", target=seq, seq=posted.seq, **who)
            return posted

        # Anybody who may read may take back what they said, even while muted.
        return self._append_after(identity, draft, Right.READ, None, decide).addCallback(done)

    def react(self, identity: Identity, room: str, seq: int, emoji: str, on: bool) -> "Deferred[Posted]":
        """Add a reaction to a message, or take it back; repeating it appends nothing and has the same answer.

        :raises TooLarge: the emoji is too long. :raises Conflict: the message is deleted, or has as many reactions as it can have.
        """
        draft = self._about(identity, "reaction", room, seq)
        if len(emoji.encode()) > self._settings.emoji:
            raise TooLarge(f"emoji: {len(emoji.encode())} bytes are more than the {self._settings.emoji} that [rooms] emoji allows", parameter="emoji")
        kinds = {category(character) for character in emoji if character not in _JOINS}
        if not kinds - _MARKS or kinds & _NO_EMOJI:
            raise InvalidParams("emoji: expected an emoji, without blanks or control characters", parameter="emoji")
        draft.amend = reaction(emoji, on, self._bounds)
        return self.append(identity, draft)

    def _about(self, identity: Identity, type: str, room: str, seq: int) -> Draft:
        """A draft of an event about another event."""
        draft = Draft(fold_room_name(room), type, identity.name, int(self._clock.seconds() * 1000))
        draft.target = _check_seq(seq, "seq")
        return draft

    def found(self, identity: Identity, draft: Draft, before: Callable[[], None]) -> "Deferred[Posted]":
        """Append a draft as the first event of its room, which its sender then owns.

        :param before: called right before that, after those who had to wait to post there.
        :raises Forbidden: at once: it may not start a room; guests may not, since they could not own it.
        :raises Conflict: by way of the Deferred: somebody else has started the room.
        """
        if identity.guest or identity.rank < self._create:
            raise _may_not_start(draft.room)
        draft.target, draft.amend = 0, first
        return self.change(identity, draft, before)

    def change(self, identity: Identity, draft: Draft, before: Callable[[], None]) -> "Deferred[Posted]":
        """Append a draft that changes who may do what in its room; the caller has checked that its sender may.

        :param before: called right before that: any post to the room for which `check` is asked from then on comes after it.
        """
        return self._append_after(identity, draft, Right.READ, None, lambda _: before())

    def append(self, identity: Identity, draft: Draft) -> "Deferred[Posted]":
        """Append a draft if its sender may do that in its room. Everything that is appended passes through here or `_append_after`.

        :param draft: its ``room`` is folded; its ``context`` is set here.
        :raises NetsvcError: at once or by way of the Deferred: what `check` raises; Forbidden: it may not start the room.
        """
        waiting = self.check(identity, draft.room, _WRITE)
        if waiting is not None or identity.rank < self._create or draft.room in self._gates:
            return self._append_after(identity, draft, Right.WRITE, waiting)
        done: Deferred[Posted] = Deferred()
        draft.context = done
        draft.founds = not identity.guest
        self.appender.append(draft)
        return done

    def _append_after(
        self,
        identity: Identity,
        draft: Draft,
        right: Right,
        checking: "Deferred[None] | None" = None,
        prepare: Callable[[bool], None] | None = None,
    ) -> "Deferred[Posted]":
        """Append a draft for which something has to be found out first. Those after it in its room wait, so all keep their order.

        :param checking: what `check` returned, if it was asked.
        :param prepare: told beforehand whether the identity moderates the room.
        """
        return Deferred.fromCoroutine(self._append_in_turn(identity, draft, right, checking, prepare))

    async def _append_in_turn(
        self, identity: Identity, draft: Draft, right: Right, checking: "Deferred[None] | None", prepare: Callable[[bool], None] | None
    ) -> Posted:
        room = draft.room
        done: Deferred[Posted] = Deferred()
        draft.context = done
        draft.founds = not identity.guest
        state = self._states.hold(room)
        try:
            await self._gates.acquire(room)
            try:
                if checking is not None:
                    await checking
                # Again, even if it was asked before: drafts ahead of this one may have changed who may do what.
                checking = self.check(identity, room, right)
                if checking is not None:
                    await checking
                if prepare is not None:
                    prepare(await self._moderates(identity, room))
                if identity.rank < self._create and draft.amend is None and not await self._states.exists(room):
                    raise _may_not_start(room)
                self.appender.append(draft)
            finally:
                self._gates.release(room)
        finally:
            self._states.release(state)
        return await done

    async def _moderates(self, identity: Identity, room: str) -> bool:
        try:
            checking = self.check(identity, room, Right.MODERATE)
            if checking is not None:
                await checking
        except Forbidden:
            return False
        return True

    def _committed(self, batch: list[Draft]) -> None:
        self.appender.giving_back = len(batch) > 1
        try:
            self._give_back(batch)
        finally:
            self.appender.giving_back = False
            if self.appender.busy and self._deferred < FLUSH_DEFERRALS:
                self._delivery.uncork()
                self._deferred += 1
                if not self._held:
                    self._held = True
                    self._clock.callLater(FLUSH_HOLD, self._flush_held)
            else:
                self._deferred = 0
                self._delivery.flush()

    def _give_back(self, batch: list[Draft]) -> None:
        epoch, durable, states = self._store.epoch, self._store.durable, self._states
        for draft in batch:
            done = draft.context
            assert isinstance(done, Deferred)
            if draft.error is not None:
                done.errback(draft.error)
                continue
            name, seq = draft.room, draft.seq
            cursor, at = f"{epoch}:{seq}", timestamp(draft.at)
            if seq == 1:
                self.founded(name)
            state = states.get(name)
            if state is not None and not draft.repeated:
                if draft.extra is None or draft.extra is GUEST:
                    event = Event(room=name, seq=seq, cursor=cursor, type=draft.type, sender=draft.sender, at=at, text=draft.text)
                else:
                    event = event_of(epoch, name, Row(seq, draft.at, draft.type, draft.sender, draft.text, draft.extra))
                    if draft.amend is not None:
                        for row in draft.changed:
                            self._delivery.replace(state.room, event_of(epoch, name, row))
                self._delivery.append(state.room, event)
            # In the room before its answer, so that whoever gets the answer can read it there; delivered after it, by the flush.
            done.callback(Posted(name, seq, cursor, at, durable))

    def _flush_held(self) -> None:
        self._held = False
        self._delivery.flush()


def _may_not_start(room: str) -> Forbidden:
    return Forbidden(f"there is no room {room!r} yet, and you may not start one")


def _check_seq(seq: int, parameter: str) -> int:
    if not 1 <= seq <= LAST_SEQ:
        raise InvalidParams(f"{parameter}: expected the seq of a message, 1 or more", parameter=parameter)
    return seq
