"""The promise of delivery, under any order of things: every follower sees each event once, in order, or an explicit gap."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.identity import Identity
from netsvc.core.rooms import Member, Membership, Rooms
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.store.memory import MemoryStore
from tests.core.fakes import FakeSink, LineFormat

WHO = Identity("alice", ("member",))
LIMITS = LimitsSettings(append_batch=7)
ROOMS = RoomsSettings(ring_events=16, ring_bytes=64 * 1024, fanout_slice=2, chunk=1024, presence_grace=0.0)


class Client:
    """A client with its own account of what it has seen: `seen` is the last seq it knows of."""

    def __init__(self, after: str | None, window: int | None) -> None:
        self.sink = FakeSink(window)
        self.after = after
        self.member: Member | None = None
        self.cursor: int | None = None
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
        self.member.start()

    def check(self) -> None:
        """Every line that arrived continues the one before."""
        lines = [line for line in self.sink.lines() if not line.startswith("+")]
        for line in lines[self.read_to :]:
            assert self.cursor is not None, f"{line} before the answer to the join"
            first, dash, last = line.strip().partition("-")
            assert int(first) == self.cursor + 1, f"{line} after {self.cursor}"
            self.cursor = int(last) if dash else int(first)
        self.read_to = len(lines)


class Delivery(RuleBasedStateMachine):
    """Posts, joins, pauses, disconnects, crashes, retention and rejoins in any order."""

    @initialize()
    def start(self) -> None:
        """An empty room."""
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.store.start()
        self.rooms = self.fresh()
        self.clients: list[Client] = []
        self.acked = 0

    def fresh(self) -> Rooms:
        """The rooms of a daemon that has just started."""
        return Rooms(self.store, self.clock, ROOMS, LIMITS)

    @rule(count=st.integers(1, 40))
    def post(self, count: int) -> None:
        """Several posts in one reactor turn."""
        for _ in range(count):
            self.rooms.post(WHO, "room", "x").addCallback(self.post_acked)

    def post_acked(self, posted: object) -> None:
        """An ack: seqs are given in order."""
        assert getattr(posted, "seq") == self.acked + 1  # noqa: B009
        self.acked += 1

    @rule(after=st.none() | st.integers(-2, 80), limit=st.integers(0, 60), window=st.none() | st.integers(0, 40))
    def join(self, after: int | None, limit: int, window: int | None) -> None:
        """A new client, from any cursor."""
        client = Client(None if after is None else f"{self.store.epoch}:{after}", window)
        self.clients.append(client)
        self.rooms.join(WHO, "room", client.after, limit, LineFormat(), client.sink).addCallback(client.joined)

    @precondition(lambda self: self.clients)
    @rule(which=st.integers(0, 100), count=st.none() | st.integers(0, 60))
    def read(self, which: int, count: int | None) -> None:
        """A client reads some of what waits for it, or all."""
        self.clients[which % len(self.clients)].sink.read(count)

    @precondition(lambda self: self.clients)
    @rule(which=st.integers(0, 100), limit=st.integers(0, 60))
    def rejoin(self, which: int, limit: int) -> None:
        """A client disconnects and comes back from its cursor."""
        client = self.clients.pop(which % len(self.clients))
        if client.member is None or client.cursor is None:
            self.clients.append(client)
            return
        client.member.leave()
        client.check()
        self.join_again(client.cursor, limit)

    def join_again(self, cursor: int, limit: int) -> None:
        """From a cursor that was reached."""
        client = Client(f"{self.store.epoch}:{cursor}", None)
        self.clients.append(client)
        self.rooms.join(WHO, "room", client.after, limit, LineFormat(), client.sink).addCallback(client.joined)

    @rule()
    def crash(self) -> None:
        """The process dies: what was not committed is forgotten, every client comes back."""
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self.rooms = self.fresh()
        clients, self.clients = self.clients, []
        info = self.successResultOf(self.store.room("room"))
        head = info.head if info is not None else 0
        assert head >= self.acked, "an acked post is lost"
        self.acked = head
        for client in clients:
            if client.cursor is not None:
                assert client.cursor <= head, "an event was seen before it was committed"
                self.join_again(client.cursor, 10)

    def successResultOf(self, deferred: object) -> object:
        """The result that a Deferred has once the clock has turned."""
        results: list[object] = []
        deferred.addCallback(results.append)  # type: ignore[attr-defined]
        while not results:
            self.clock.advance(0)
        return results[0]

    @rule(keep=st.integers(1, 30))
    def prune(self, keep: int) -> None:
        """Retention removes all but the newest."""
        self.store.prune(int(self.clock.seconds() * 1000), None, keep)

    @rule(turns=st.integers(1, 12), seconds=st.sampled_from([0.0, 0.0, 1.0]))
    def turn(self, turns: int, seconds: float) -> None:
        """The reactor turns."""
        for _ in range(turns):
            self.clock.advance(seconds)

    @invariant()
    def continuous(self) -> None:
        """What each client has got is without holes, doubles and disorder."""
        for client in getattr(self, "clients", ()):
            client.check()

    def teardown(self) -> None:
        """In the end, everybody who reads has everything."""
        if not hasattr(self, "clock"):
            return
        for _ in range(200):
            for client in self.clients:
                client.sink.read(None)
            self.clock.advance(0.1)
        info = self.successResultOf(self.store.room("room"))
        head = info.head if info is not None else 0
        assert head == self.acked, "a post was not acked"
        for client in self.clients:
            client.check()
            assert client.cursor == head, (client.cursor, head)


class DeliveryTests(TestCase):
    """The state machine as a trial test."""

    def test_once_in_order_or_an_explicit_gap(self) -> None:
        """No order of posts, joins, pauses, disconnects, crashes and retention breaks the promise."""
        case = Delivery.TestCase  # type: ignore[attr-defined]
        case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, database=None, derandomize=True)
        case("runTest").runTest()
