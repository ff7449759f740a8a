"""From a room's log to its followers, without a queue for each follower.

A `Room` keeps a ring of its newest events. For each format in which somebody follows there is a `Fanout` with those events as ready
bytes. Its followers are grouped in `Cohort`s: all members of a cohort are at the same cursor, so the cohort has the cursor and the
members have none. A flush sends each cohort what it lacks, the same bytes object to every member.

A follower whose sink fills up leaves its cohort with a cursor of its own and keeps nothing else. When the sink has drained, it enters
the cohort at its cursor if the ring still reaches back that far; if not, it reads on from the store.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.core.events import Event, event_of
from netsvc.core.records import Row
from netsvc.core.ring import Room, cost_of
from netsvc.interfaces import IFormat, ISink, ISinkWatcher, IStore

__all__ = ["Cohort", "Delivery", "Fanout", "Follower"]

STORE_READ = 200
"""Events read from the store at once, at most, for a follower that the ring has left behind."""

FIRST_READ = 32
"""Events in its first such read; the size of each further read depends on how much of the last one its sink took."""

RETRY = 1.0
"""Seconds until a failed store read is tried again."""

SAY_AGAIN = 60.0
"""Seconds between log messages about failing reads: thousands of followers may retry every second."""


class Cohort:
    """Followers at one cursor.

    :ivar members: each with its sink's bare send.
    :ivar signals: what else to send them, once: bytes that are not from the log.
    """

    __slots__ = ("cursor", "members", "signals")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.members: dict[Follower, Any] = {}
        self.signals = b""

    def write(self, data: bytes) -> None:
        """Send the same bytes to every member; one whose sink does not take all of them leaves, with the rest."""
        size = len(data)
        stuck: list[tuple[Follower, int]] = []
        # A copy, since a sink that is not a bare socket may call sink_full from within its send.
        for follower, send in tuple(self.members.items()):
            try:
                sent = send(data)
            except OSError:
                sent = 0
            if sent != size:
                stuck.append((follower, sent))
        for follower, sent in stuck:
            follower.sink.rest(data, sent)


class Fanout:
    """The followers of one room in one format, and the ring's events as frames of that format.

    ``frames[i]`` is event ``base + 1 + i``; frames are made when a cohort first needs them.
    """

    __slots__ = ("away", "base", "cohorts", "delivery", "format", "frames", "room")

    def __init__(self, delivery: "Delivery", room: Room, format: IFormat) -> None:
        self.delivery = delivery
        self.room = room
        self.format = format
        self.cohorts: list[Cohort] = []
        self.away = 0
        self.base = room.base + len(room.events)
        self.frames: list[bytes] = []

    def __len__(self) -> int:
        return self.away + sum(len(cohort.members) for cohort in self.cohorts)

    def lowest(self, head: int) -> int:
        """The lowest cursor of a cohort, `head` if there is none."""
        return min((cohort.cursor for cohort in self.cohorts), default=head)

    def admit(self, follower: "Follower") -> None:
        """Put a follower whose cursor is within the ring into a cohort."""
        cursor = follower.cursor
        largest = self.delivery.slice
        for cohort in self.cohorts:
            if cohort.cursor == cursor and len(cohort.members) < largest and not cohort.signals:
                break
        else:
            cohort = Cohort(cursor)
            self.cohorts.append(cohort)
        cohort.members[follower] = follower.sink.raw_send
        follower.cohort = cohort
        self.away -= 1
        if cursor < self.room.head:
            self.delivery.mark(self)

    def release(self, follower: "Follower") -> None:
        """Take a follower out of its cohort; the cohort's cursor becomes its own."""
        cohort = follower.cohort
        if cohort is None:
            return
        del cohort.members[follower]
        follower.cursor = cohort.cursor
        follower.cohort = None
        self.away += 1

    @property
    def level(self) -> bool:
        """No cohort lacks anything."""
        head = self.room.head
        return all(cohort.cursor >= head and not cohort.signals for cohort in self.cohorts)

    def flush(self, writes: int) -> int:
        """Send cohorts what they lack, in at most `writes` writes; returns the writes left. If that is 0 or less, `level` says whether all was sent."""
        head = self.room.head
        if len(self.cohorts) > 1:
            self.cohorts = self._in_turn()
        for cohort in self.cohorts:
            # One size for all pieces: a slow reader pins at most one of them.
            while cohort.cursor < head and cohort.members:
                if writes <= 0:
                    return writes
                data, cursor = self._piece(cohort.cursor)
                # Before the writes: a member that leaves because of them has them already.
                cohort.cursor = cursor
                writes -= len(cohort.members)
                if data:
                    cohort.write(data)
            if cohort.signals and cohort.members:
                if writes <= 0:
                    return writes
                data, cohort.signals = cohort.signals, b""
                writes -= len(cohort.members)
                cohort.write(data)
            if not cohort.members:
                cohort.cursor, cohort.signals = head, b""
        return writes

    def _in_turn(self) -> list[Cohort]:
        """The cohorts, those furthest behind first, or a busy room would never get to the last of them.

        Empty ones are left out; those at the same cursor are merged as far as a slice allows.
        """
        largest = self.delivery.slice
        joined: dict[tuple[int, bytes], Cohort] = {}
        result = []
        for cohort in self.cohorts:
            if not cohort.members:
                continue
            lack = cohort.cursor, cohort.signals
            other = joined.get(lack)
            if other is None or len(other.members) + len(cohort.members) > largest:
                joined[lack] = cohort
                result.append(cohort)
                continue
            other.members.update(cohort.members)
            for follower in cohort.members:
                follower.cohort = other
        result.sort(key=attrgetter("cursor"))
        return result

    def _piece(self, cursor: int) -> tuple[bytes, int]:
        """The joined frames after `cursor`, as many as a chunk holds but at least one, and the cursor after them."""
        self._encode(cursor)
        start = cursor - self.base
        frames = self.frames
        limit = self.delivery.chunk
        size, end = 0, start
        for end in range(start, len(frames)):
            size += len(frames[end])
            if size > limit and end > start:
                break
        else:
            end += 1
        return frames[start] if end - start == 1 else b"".join(frames[start:end]), self.base + end

    def _encode(self, cursor: int) -> None:
        room = self.room
        encode = self.format.event
        if not self.frames:
            self.base = cursor
        elif cursor < self.base:
            self.frames[:0] = [encode(event) for event in room.events[cursor - room.base : self.base - room.base]]
            self.base = cursor
        done = self.base + len(self.frames)
        if done < room.head:
            self.frames.extend([encode(event) for event in room.events[done - room.base :]])

    def trim(self, base: int) -> None:
        """The ring now starts after `base`."""
        if self.base < base:
            del self.frames[: base - self.base]
            self.base = base

    def signal(self, data: bytes) -> None:
        """Send something that is not in the log to those who are ready for it, in the next turn."""
        if data:
            for cohort in self.cohorts:
                cohort.signals += data
            self.delivery.mark(self)


@implementer(ISinkWatcher)
class Follower:
    """One client in one room: a sink, and a cursor while it is in no cohort."""

    __slots__ = ("ahead", "cohort", "cursor", "fanout", "sink", "waits")

    def __init__(self, fanout: Fanout, sink: ISink, cursor: int) -> None:
        self.fanout: Fanout | None = fanout
        self.sink = sink
        self.cursor = cursor
        self.cohort: Cohort | None = None
        self.waits = 1  # for its start, a read of the store, or a `hold`
        self.ahead = FIRST_READ
        fanout.away += 1

    def start(self) -> None:
        """Begin to deliver what comes after the cursor. Call this once, when the answer that gave the client the cursor is written."""
        if self.fanout is not None:
            self.sink.watch(self)
            self.go_on()

    def stop(self) -> None:
        """Stop delivering. May be called twice."""
        fanout = self.fanout
        if fanout is not None:
            self.sink.unwatch(self)
            fanout.release(self)
            fanout.away -= 1
            self.fanout = None
            fanout.delivery.left(fanout)

    def hold(self) -> None:
        """Deliver nothing until `go_on` has been called as often as this."""
        self.waits += 1
        self.sink_full()

    def go_on(self) -> None:
        """Undo one `hold`."""
        self.waits -= 1
        self.sink_drained()

    def sink_full(self) -> None:
        """Leave the cohort until the sink has drained."""
        if self.fanout is not None:
            self.fanout.release(self)

    def sink_drained(self) -> None:
        """Continue from the cursor, from the ring if it reaches back that far."""
        fanout = self.fanout
        if fanout is None or self.waits or self.cohort is not None or self.sink.full:
            return
        if self.cursor >= fanout.room.base:
            fanout.admit(self)
            return
        self.waits += 1
        head = fanout.room.head
        reading = fanout.delivery.store.read_after(fanout.room.name, self.cursor, self.ahead, head)
        reading.addCallbacks(self._read, self._read_failed, callbackArgs=(head,)).addErrback(self._broken)

    def _read(self, rows: list[Row], head: int) -> None:
        fanout = self.fanout
        if fanout is None:
            return
        # In another turn: other work comes first.
        fanout.delivery.clock.callLater(0, self.go_on)
        if self.waits > 1 or self.sink.full:
            return
        if not rows:
            # Retention has removed everything that was asked for.
            self._send([fanout.format.gap(fanout.room.name, self.cursor + 1, head)], head)
            return
        epoch, name, chunk = fanout.delivery.store.epoch, fanout.room.name, fanout.delivery.chunk
        before, pieces, size = self.cursor, [], 0
        for row in rows:
            if row.seq > before + 1:
                pieces.append(fanout.format.gap(name, before + 1, row.seq - 1))
            pieces.append(fanout.format.event(event_of(epoch, name, row)))
            before = row.seq
            size += len(pieces[-1])
            if size >= chunk or row is rows[-1]:
                self._send(pieces, before)
                if self.sink.full:
                    break
                pieces, size = [], 0
        # Not much more than the sink takes, however long the messages.
        self.ahead = min(2 * (rows.index(row) + 1), STORE_READ)

    def _send(self, pieces: list[bytes], cursor: int) -> None:
        self.cursor = cursor
        if data := b"".join(pieces):
            self.sink.write(data)

    def _read_failed(self, failure: Failure) -> None:
        fanout = self.fanout
        if fanout is not None:
            fanout.delivery.read_failed(fanout.room.name, failure)
            fanout.delivery.clock.callLater(RETRY, self.go_on)

    def _broken(self, failure: Failure) -> None:
        Delivery.log.failure("a follower failed to read on", failure)


class Delivery:
    """Flushes rooms in slices and keeps their rings within one budget.

    :param store: where followers that the ring has left behind read on.
    :param clock: its `callLater` lets other work run between slices.
    :param slice: writes in one reactor turn; also the most members of a cohort.
    :param chunk: bytes of joined frames in one write (one frame may be longer).
    :param ring_events: events that a ring keeps.
    :param ring_bytes: bytes that all rings together may cost.
    :ivar uncork: has sinks send the answers that they gather; called before events are sent to them.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime, slice: int, chunk: int, ring_events: int, ring_bytes: int) -> None:
        self.store = store
        self.clock = clock
        self.slice = slice
        self.chunk = chunk
        self.ring_events = ring_events
        self.ring_bytes = ring_bytes
        self.cost = 0
        """The present cost of all rings."""
        self._dirty: dict[Fanout, None] = {}
        self._rings: OrderedDict[Room, None] = OrderedDict()
        self._scheduled = False
        self._said: float | None = None
        self.uncork: Callable[[], object] = lambda: None

    def read_failed(self, room: str, failure: Failure) -> None:
        """The store could not be read for a follower, which will try again."""
        now = self.clock.seconds()
        if self._said is None or not 0 <= now - self._said < SAY_AGAIN:
            self._said = now
            self.log.warn("cannot read on for the followers of {room}, will try again: {reason}", room=room, reason=failure.getErrorMessage())

    def follow(self, room: Room, format: IFormat, sink: ISink, cursor: int) -> Follower:
        """A new follower of `room`, from `cursor` on; call its `start`."""
        fanout = room.fanouts.get(format)
        if fanout is None:
            fanout = room.fanouts[format] = Fanout(self, room, format)
        return Follower(fanout, sink, cursor)

    def left(self, fanout: Fanout) -> None:
        """A follower has gone; a fan-out without followers is dropped, and a room without any keeps no ring."""
        if not fanout:
            room = fanout.room
            if room.fanouts.get(fanout.format) is fanout:
                del room.fanouts[fanout.format]
            self._dirty.pop(fanout, None)
            if not room.fanouts:
                self.cost -= room.cost
                room.clear(room.head)
                self._rings.pop(room, None)
            else:
                # It may have been the furthest behind.
                self.cost -= room.trim(self.ring_events)

    def append(self, room: Room, event: Event) -> None:
        """A committed event of a room in memory, in order of seq. `flush` delivers it."""
        before = room.cost
        room.append(event)
        self.cost += room.cost - before
        if room.fanouts:
            self._rings[room] = None
            self._rings.move_to_end(room)
            for fanout in room.fanouts.values():
                self._dirty[fanout] = None

    def prepend(self, room: Room, events: list[Event]) -> None:
        """Older events of a followed room, those right before its ring, as many as fit: clients that come back later find them there."""
        before = room.cost
        room.prepend(events[max(0, len(events) + len(room.events) - self.ring_events) :])
        self.cost += room.cost - before
        self._rings[room] = None

    def replace(self, room: Room, event: Event) -> None:
        """An older event of a room in memory has changed: followers that have not had it yet get its new form."""
        index = event.seq - room.base - 1
        if 0 <= index < len(room.events):
            growth = cost_of(event) - cost_of(room.events[index])
            room.events[index] = event
            room.cost, self.cost = room.cost + growth, self.cost + growth
            for format, fanout in room.fanouts.items():
                if 0 <= (index := event.seq - fanout.base - 1) < len(fanout.frames):
                    fanout.frames[index] = format.event(event)

    def mark(self, fanout: Fanout) -> None:
        """A fan-out may have a cohort that lacks something; it is flushed in the next turn."""
        self._dirty[fanout] = None
        self._later()

    def _later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Deliver what is new, at most a slice of it now and the rest in the turns that follow."""
        self.uncork()
        writes = self.slice
        dirty = self._dirty
        while dirty:
            if writes <= 0:
                self._later()
                break
            fanout = next(iter(dirty))
            # Taken off first: what is marked meanwhile belongs to the next round.
            del dirty[fanout]
            writes = fanout.flush(writes)
            self.cost -= fanout.room.trim(self.ring_events)
            if writes <= 0 and not fanout.level:
                dirty[fanout] = None
        while self.cost > self.ring_bytes and self._evict():
            pass

    def _evict(self) -> bool:
        """Shrink the ring that has been quiet longest; False if no ring can shrink."""
        for room in self._rings:
            freed = room.trim(0)
            if freed:
                self.cost -= freed
                if not room.events:
                    del self._rings[room]
                return True
        return False

    def rooms(self) -> Iterator[Room]:
        """The rooms that have a ring."""
        return iter(self._rings)
