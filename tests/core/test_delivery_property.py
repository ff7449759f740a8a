"""The promise of delivery, under any order of things: every follower sees each event once, in order, or an explicit gap."""

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from netsvc.core.identity import Identity
from netsvc.core.records import RoomInfo, Row
from netsvc.core.ring import cost_of
from netsvc.core.rooms import Member, Membership, Rooms
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.errors import StoreUnavailable
from netsvc.store.memory import MemoryStore
from tests.core.fakes import FakeSink, LineFormat, TurningClock

WHO = Identity("alice", ("member",))
LIMITS = LimitsSettings(append_batch=7)
CHUNK = 1024
ROOMS = RoomsSettings(ring_events=16, fanout_slice=2, chunk=CHUNK, presence_grace=0.0, retention_events=12)
RING_BYTES = 16_000
"""Fewer than the settings allow, so that rings are made to shrink."""

PADDINGS = (0, 120, 600)
NAMES = ("left", "right")

names = st.sampled_from(NAMES)
which = st.integers(0, 100)
turns = st.integers(0, 8)
limits = st.sampled_from((0, 3, 60))
windows = st.none() | st.integers(0, 2000)


class SlowReads(MemoryStore):
    """A store whose readers take a turn or, while it is slow, their time: then what was asked is answered when the test says so, in any order.

    :ivar asked: what was not answered yet while it was slow.
    :ivar stale: what is answered late is what was so when it was asked.
    """

    def __init__(self, clock: TurningClock) -> None:
        super().__init__(clock)
        self.turning = clock
        self.slow = self.stale = False
        self.asked: list[Callable[[], None]] = []

    def _later(self, read: "Callable[[], Deferred[Any]]") -> "Deferred[Any]":
        answer: Deferred[Any] = Deferred()
        now = read()
        stale = self.stale

        def tell() -> None:
            (now if stale else read()).chainDeferred(answer)

        if self.slow:
            self.asked.append(tell)
        else:
            self.turning.callLater(0, tell)
        return answer

    def room(self, name: str) -> "Deferred[RoomInfo | None]":
        """See IStore."""
        return self._later(lambda: MemoryStore.room(self, name))

    def read_after(self, room: str, after: int, limit: int, upto: int | None = None) -> "Deferred[list[Row]]":
        """See IStore."""
        return self._later(lambda: MemoryStore.read_after(self, room, after, limit, upto))

    def read_before(self, room: str, before: int, limit: int) -> "Deferred[list[Row]]":
        """See IStore."""
        return self._later(lambda: MemoryStore.read_before(self, room, before, limit))

    def bounds(self, name: str) -> tuple[int, int]:
        """First and head of a room, at once."""
        found: list[RoomInfo | None] = []
        MemoryStore.room(self, name).addCallback(found.append)
        return (found[0].first, found[0].head) if found[0] is not None else (1, 0)


class Client:
    """A client with its own account of what it has seen.

    :ivar cursor: the last seq that it knows of, None before its join is answered.
    :ivar held: how often it was told to wait.
    :ivar sent: bytes sent to it when it was told that last.
    """

    def __init__(self, room: str, after: str | None, window: int | None, prompt: bool) -> None:
        self.room = room
        self.sink = FakeSink(window)
        self.after = after
        self.prompt = prompt
        self.member: Member | None = None
        self.started = False
        self.cursor: int | None = None
        self.held = 0
        self.sent = 0
        self.read_to = 0

    def joined(self, membership: Membership) -> None:
        """The answer to the join."""
        joined = membership.joined
        seqs = [event.seq for event in joined.events]
        cursor = int(joined.cursor.rpartition(":")[2])
        if self.after is not None and joined.recovered:
            expected = int(self.after.rpartition(":")[2])
            assert seqs == list(range(expected + 1, expected + 1 + len(seqs))), (self.after, seqs)
            assert cursor == expected + len(seqs)
        else:
            assert seqs == list(range(cursor + 1 - len(seqs), cursor + 1)), seqs
        self.cursor = cursor
        self.member = membership.member
        if self.prompt:
            self.start()

    def start(self) -> None:
        """The answer is written."""
        assert self.member is not None
        self.started = True
        self.member.start()

    def all_sent(self) -> int:
        """Bytes that were sent to it, those that it has not read included."""
        return len(self.sink.received) + sum(len(data) - offset for data, offset in self.sink.kept)

    def check(self, first: int) -> None:
        """Every line that arrived continues the one before; a gap is of events that are gone, those before `first`."""
        assert not self.held or self.all_sent() == self.sent, "something was sent to who was told to wait"
        lines = [line for line in self.sink.lines() if not line.startswith("+")]
        for line in lines[self.read_to :]:
            assert self.cursor is not None, f"{line} before the answer to the join"
            begin, dash, end = line.strip().partition("-")
            assert int(begin) == self.cursor + 1, f"{line} after {self.cursor}"
            assert not dash or int(end) < first, f"a gap {line} although {first} is there"
            self.cursor = int(end) if dash else int(begin)
        self.read_to = len(lines)


class Delivery(RuleBasedStateMachine):
    """Posts, joins, pauses, disconnects, crashes, retention and rejoins in any order."""

    @initialize(followers=st.integers(0, 6), posts=st.integers(0, 30))
    def start(self, followers: int, posts: int) -> None:
        """Two rooms, some who follow them, something in them."""
        self.clock = TurningClock()
        self.store = SlowReads(self.clock)
        self.formats = [LineFormat(padding) for padding in PADDINGS]
        self.heads: dict[object, int] = {}
        self.clients: list[Client] = []
        self.acked = dict.fromkeys(NAMES, 0)
        self.unanswered = 0
        self.steps = 0
        self.faults: list[Failure] = []
        self.rooms = self.fresh()
        for number in range(followers):
            self.come(Client(NAMES[number % 3 == 2], None, 100 * number if number % 2 else None, True), 5)
        self.post(NAMES[0], posts, 1, 10)

    def fresh(self) -> Rooms:
        """The rooms of a daemon that has just started."""
        rooms = Rooms(self.store, self.clock, ROOMS, LIMITS, "guest")
        rooms.delivery.ring_bytes = RING_BYTES
        rooms.appender.log = self  # type: ignore[assignment]
        return rooms

    def failure(self, format: str, failure: Failure | None = None) -> None:
        """What the appender logs."""
        self.faults.append(failure or Failure())

    # What happens

    @rule(room=names, count=st.integers(1, 40), length=st.sampled_from((1, 300)), turns=turns)
    def post(self, room: str, count: int, length: int, turns: int) -> None:
        """Several posts in one reactor turn."""
        for _ in range(count):
            self.unanswered += 1
            posting = self.rooms.post(WHO, room, "x" * length)
            posting.addCallback(self.post_acked, room, self.rooms).addErrback(self.post_failed).addErrback(self.faults.append)
        self.turn(turns, 0.0)

    def post_acked(self, posted: Any, room: str, rooms: Rooms) -> None:
        """An ack: seqs are given in order, and what is acked can be read."""
        assert posted.seq == self.acked[room] + 1
        self.acked[room] += 1
        self.unanswered -= 1
        state = rooms._states.get(room)
        assert state is None or state.room.head >= posted.seq

    def post_failed(self, failure: Failure) -> None:
        """A post that was not stored."""
        failure.trap(StoreUnavailable)
        self.unanswered -= 1

    @rule(appends=st.integers(1, 2))
    def disk_full(self, appends: int) -> None:
        """The next commits fail."""
        self.store.fail_next(appends)

    @rule(room=names, behind=st.none() | st.integers(-2, 50), limit=limits, window=windows, prompt=st.booleans(), turns=turns)
    def join(self, room: str, behind: int | None, limit: int, window: int | None, prompt: bool, turns: int) -> None:
        """A new client, from any cursor; its answer is written at once, or later."""
        after = None if behind is None else f"{self.store.epoch}:{self.acked[room] - behind}"
        self.come(Client(room, after, window, prompt), limit)
        self.turn(turns, 0.0)

    def come(self, client: Client, limit: int) -> None:
        """A client joins, in one of three formats."""
        self.clients.append(client)
        format = self.formats[len(self.clients) % 3]
        self.rooms.join(WHO, client.room, client.after, limit, format, client.sink).addCallback(client.joined).addErrback(self.faults.append)

    def some(self, which: int) -> Client:
        """One of the clients."""
        return self.clients[which % len(self.clients)]

    @precondition(lambda self: self.clients)
    @rule(which=which)
    def answer_is_written(self, which: int) -> None:
        """What comes behind the answer to a join begins."""
        client = self.some(which)
        if client.member is not None and not client.started:
            client.start()

    @precondition(lambda self: self.clients)
    @rule(which=which, count=windows, turns=turns)
    def read(self, which: int, count: int | None, turns: int) -> None:
        """A client reads some of what waits for it, or all."""
        self.some(which).sink.read(count)
        self.turn(turns, 0.0)

    @precondition(lambda self: self.clients)
    @rule(which=which, hold=st.booleans())
    def hold(self, which: int, hold: bool) -> None:
        """A client's events wait for something else that it is to be told first, or do so no longer."""
        client = self.some(which)
        if client.member is not None and hold:
            client.member.hold()
            client.held += 1
            client.sent = client.all_sent()
        elif client.member is not None and client.held:
            client.member.go_on()
            client.held -= 1

    @precondition(lambda self: self.clients)
    @rule(which=which, limit=limits, back=st.booleans())
    def leave(self, which: int, limit: int, back: bool) -> None:
        """A client disconnects, and comes back from its cursor or does not."""
        client = self.some(which)
        if client.member is None or client.cursor is None:
            return
        self.clients.remove(client)
        client.member.leave()
        client.check(self.store.bounds(client.room)[0])
        if back:
            self.come(Client(client.room, f"{self.store.epoch}:{client.cursor}", None, True), limit)

    @rule(slow=st.booleans(), stale=st.booleans())
    def readers(self, slow: bool, stale: bool) -> None:
        """The store's readers become slow, or quick for what is asked from now on."""
        self.store.slow, self.store.stale = slow, stale

    @precondition(lambda self: self.store.asked)
    @rule(which=which)
    def answer_read(self, which: int) -> None:
        """A reader of the store is done."""
        asked = self.store.asked
        asked.pop(which % len(asked))()

    @precondition(lambda self: self.steps > 40)
    @rule()
    def crash(self) -> None:
        """The process dies: what was not committed is forgotten, every client comes back."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.store.asked.clear()
        self.store.slow = False
        self.unanswered = self.steps = 0
        self.rooms = self.fresh()
        clients, self.clients = self.clients, []
        for room in NAMES:
            head = self.store.bounds(room)[1]
            assert head >= self.acked[room], "an acked post is lost"
            self.acked[room] = head
        for client in clients:
            if client.cursor is not None:
                assert client.cursor <= self.acked[client.room], "an event was seen before it was committed"
                self.come(Client(client.room, f"{self.store.epoch}:{client.cursor}", None, True), 10)

    @rule(keep=st.integers(0, 30))
    def prune(self, keep: int) -> None:
        """Retention removes all but the newest; the rooms are not told yet."""
        self.store.prune(int(self.clock.seconds() * 1000), None, keep)

    @precondition(lambda self: self.clients)
    @rule(which=which, missing=st.integers(0, 2))
    def prune_behind(self, which: int, missing: int) -> None:
        """The same, up to just behind what a client has seen."""
        client = self.some(which)
        if client.cursor is not None:
            self.prune(max(0, self.store.bounds(client.room)[1] - client.cursor - missing))

    @rule()
    def retention(self) -> None:
        """A round of retention as the daemon does it."""
        self.rooms.prune()

    @rule(turns=turns, seconds=st.sampled_from([0.0, 0.0, 1.0]))
    def turn(self, turns: int, seconds: float) -> None:
        """The reactor turns."""
        for _ in range(turns):
            self.steps += 1
            self.clock.turn(seconds)

    # What always holds

    @invariant()
    def continuous(self) -> None:
        """What each client has got is without holes, doubles and disorder."""
        for fault in getattr(self, "faults", ()):
            fault.raiseException()
        for client in getattr(self, "clients", ()):
            client.check(self.store.bounds(client.room)[0])
            if client.cursor is not None:
                state = self.rooms._states.get(client.room)
                assert state is not None
                assert client.cursor <= state.room.head, "an event was delivered before its commit was known"

    @invariant()
    def no_queue(self) -> None:
        """One piece waits for a client that does not read, and no long one."""
        for client in getattr(self, "clients", ()):
            assert len(client.sink.kept) <= 1
            for data, _ in client.sink.kept:
                assert len(data) <= CHUNK + max(PADDINGS) + 100

    @invariant()
    def accounts(self) -> None:
        """Rings cost what is said, are as short as they shall be, and frames are those of the ring."""
        if not hasattr(self, "rooms"):
            return
        rooms = [state.room for state in self.rooms._states.values()]
        for room in rooms:
            assert room.head >= self.heads.get(room, 0), "a room's head has gone back"
            self.heads[room] = room.head
            if not self.rooms.delivery._dirty:
                assert len(room.events) <= ROOMS.ring_events
            assert room.cost == sum(map(cost_of, room.events))
            assert room.base + len(room.events) == room.head
            for fanout in room.fanouts.values():
                assert not fanout.frames or fanout.base >= room.base
        assert self.rooms.delivery.cost == sum(room.cost for room in rooms)

    # The end

    def teardown(self) -> None:
        """In the end, everybody who reads has everything, and who has left has left nothing."""
        if not hasattr(self, "clock"):
            return
        for _ in range(200):
            self.clock.turn(0.1)
            self.settle()
        assert not self.unanswered, f"{self.unanswered} posts were not answered"
        for client in self.clients:
            first, head = self.store.bounds(client.room)
            client.check(first)
            assert head == self.acked[client.room], "a post was not acked"
            assert client.cursor == head, (client.cursor, head)
        delivery = self.rooms.delivery
        assert delivery.cost <= RING_BYTES
        for client in self.clients:
            assert client.member is not None
            client.member.leave()
            assert not client.sink.watchers
        for _ in range(30):
            self.clock.turn(0.1)
        assert (self.rooms._states, delivery.cost, list(delivery.rooms()), delivery._dirty) == ({}, 0, [], {})
        assert not self.clock.getDelayedCalls()

    def settle(self) -> None:
        """Everybody reads, is answered and waits for nothing."""
        self.store.slow = False
        while self.store.asked:
            self.store.asked.pop(0)()
        for client in self.clients:
            if client.member is not None and not client.started:
                client.start()
            for _ in range(client.held):
                assert client.member is not None
                client.member.go_on()
            client.held = 0
            client.sink.read(None)


class DeliveryTests(TestCase):
    """The state machine as a trial test."""

    def test_once_in_order_or_an_explicit_gap(self) -> None:
        """No order of posts, joins, pauses, disconnects, crashes and retention breaks the promise."""
        case = Delivery.TestCase  # type: ignore[attr-defined]
        case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, database=None, derandomize=True)
        case("runTest").runTest()
