"""Tests for netsvc.client.feeds."""

from typing import Any

from hypothesis import given
from hypothesis.strategies import lists, sampled_from
from twisted.internet.defer import CancelledError, Deferred

from netsvc.client.addresses import Credentials
from netsvc.client.errors import ConnectionLost, Forbidden, NotAuthenticated
from netsvc.client.events import Event, Gap, parse_cursor
from netsvc.client.feeds import Feed
from tests.client.memory import Connection
from tests.client.session_case import SessionCase


def event(seq: int, epoch: str = "e") -> dict[str, Any]:
    """An event of the lobby."""
    return {"room": "lobby", "seq": seq, "cursor": f"{epoch}:{seq}", "type": "message", "from": "ann", "text": f"text {seq}"}


def joined(*seqs: int, cursor: str | None = None, recovered: bool = True, epoch: str = "e") -> dict[str, Any]:
    """The answer to a join."""
    events = [event(seq, epoch) for seq in seqs]
    head = cursor if cursor is not None else events[-1]["cursor"]
    return {"room": "lobby", "cursor": head, "recovered": recovered, "events": events, "more": False, "present": {"count": 1, "names": ["ann"]}}


class FeedCase(SessionCase):
    """A feed of the lobby."""

    def follow(self, *answer: int, after: str | None = None, history: int = 0, **further: Any) -> Feed:
        """Follow it; the join is answered."""
        feed = Feed(self.session, "lobby", after, history)
        if self.session.state.name == "connecting":
            self.server.accept()
        self.answer_join(joined(*answer, **further))
        return feed

    def answer_join(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Answer the join that has been sent; gives its params."""
        call = self.server.messages()[-1]
        self.assertEqual(call["method"], "chat.join")
        self.server.answer(call, answer)
        params: dict[str, Any] = call["params"]
        return params

    def read(self, feed: Feed) -> list[Any]:
        """Whatever can be read now: seqs, and gaps."""
        items: list[Any] = []
        while True:
            reading = feed.next()
            if not reading.called:
                reading.cancel()
                self.failureResultOf(reading)
                return items
            item = self.successResultOf(reading)
            items.append(item.seq if isinstance(item, Event) else item)

    def reconnect(self) -> Connection:
        """Lose the connection and get another."""
        self.server.lose()
        self.clock.advance(self.session.state.seconds)
        self.server.accept()
        return self.server


class Following(FeedCase):
    """From the first join on."""

    def test_end_with_several_readers(self) -> None:
        """One that hears of the end may cancel the others."""
        feed = self.follow(cursor="e:0")
        readers = [feed.next() for _ in range(3)]
        readers[0].addErrback(lambda _: readers[1].cancel())
        feed.leave()
        self.failureResultOf(readers[1], CancelledError)
        self.failureResultOf(readers[2], StopAsyncIteration)

    def test_joined_before_it_is_tried_again(self) -> None:
        """A join that was put off is not made once the room has been joined on another connection."""
        Feed(self.session, "lobby")
        self.server.accept()
        self.server.refuse(self.server.messages()[-1], -32008, retry_after=20)
        self.reconnect()
        self.answer_join(joined(cursor="e:0"))
        self.clock.advance(25)
        self.assertEqual(self.server.messages(), [])

    def test_from_now_on(self) -> None:
        """Without more, nothing of before is asked for; then each event as it comes, to who waits and who does not yet."""
        feed = Feed(self.session, "Lobby")
        waiting = feed.next()
        self.server.accept()
        self.assertEqual(self.answer_join(joined(cursor="e:7")), {"room": "lobby", "limit": 0})
        self.assertEqual((feed.cursor, feed.present["names"]), ("e:7", ["ann"]))
        self.server.tell("chat.event", event(8))
        self.assertEqual(self.successResultOf(waiting), Event(event(8)))
        self.server.tell("chat.event", event(9))
        self.assertEqual(feed.cursor, "e:8")
        self.assertEqual(self.read(feed), [9])
        self.assertEqual(feed.cursor, "e:9")

    def test_history(self) -> None:
        """The newest of before, if asked for; that there are older ones is no gap."""
        feed = self.follow(5, 6, history=2)
        self.assertEqual(feed.cursor, "e:4")
        self.server.tell("chat.event", event(7))
        self.assertEqual(self.read(feed), [5, 6, 7])

    def test_after(self) -> None:
        """Behind a cursor, if one is given."""
        feed = Feed(self.session, "lobby", "e:2")
        self.assertEqual(feed.cursor, "e:2")
        self.server.accept()
        self.assertEqual(self.answer_join(joined(3, 4)), {"room": "lobby", "limit": 200, "after": "e:2"})
        self.assertEqual(self.read(feed), [3, 4])

    def test_nothing_after(self) -> None:
        """There may be nothing yet."""
        feed = self.follow(after="e:2", cursor="e:2")
        self.server.tell("chat.event", event(3))
        self.assertEqual(self.read(feed), [3])

    def test_no_cursor(self) -> None:
        """What is none is said to be none."""
        self.assertRaises(ValueError, Feed, self.session, "lobby", "x")

    def test_twice(self) -> None:
        """A room is followed once by each client; once left, it can be followed again."""
        feed = self.follow(1)
        self.assertRaises(ValueError, Feed, self.session, "lobby")
        feed.leave()
        self.follow(1)

    def test_other_rooms(self) -> None:
        """What happens elsewhere is not told, nor what happens before the join is answered."""
        feed = Feed(self.session, "lobby")
        self.server.accept()
        self.server.tell("chat.event", event(1))
        self.answer_join(joined(cursor="e:1"))
        self.server.tell("chat.event", {**event(2), "room": "garden"})
        self.server.tell("chat.gap", {"room": "garden", "from": 2, "to": 5})
        self.server.tell("chat.left", {"room": "garden"})
        self.assertEqual(self.read(feed), [])

    def test_doubled(self) -> None:
        """An event that was there already is not told again."""
        feed = self.follow(1, 2, history=2)
        self.server.tell("chat.event", event(2))
        self.server.tell("chat.event", event(1))
        self.assertEqual(self.read(feed), [1, 2])

    def test_joined(self) -> None:
        """Who has to know can wait until the room has been joined."""
        feed = Feed(self.session, "lobby")
        joining = feed.joined()
        self.server.accept()
        self.assertNoResult(joining)
        self.answer_join(joined(cursor="e:0"))
        self.successResultOf(joining)
        self.successResultOf(feed.joined())

    def test_as_an_iterator(self) -> None:
        """``async with`` and ``async for``."""
        seqs = []

        async def read() -> None:
            async with Feed(self.session, "lobby", history=3) as feed:
                async for item in feed:
                    assert isinstance(item, Event)
                    seqs.append(item.seq)
                    if item.seq == 2:
                        feed.leave()

        reading = Deferred.fromCoroutine(read())
        self.server.accept()
        self.answer_join(joined(1, 2, 3))
        self.successResultOf(reading)
        self.assertEqual(seqs, [1, 2])


class Gaps(FeedCase):
    """What is missing is said."""

    def test_told_by_the_server(self) -> None:
        """A gap stands where the events would; what was there already is not in it."""
        feed = self.follow(1, 2, history=2)
        self.server.tell("chat.gap", {"room": "lobby", "from": 2, "to": 5})
        self.server.tell("chat.gap", {"room": "lobby", "from": 1, "to": 5})
        self.server.tell("chat.event", event(6))
        self.assertEqual(self.read(feed), [1, 2, Gap("lobby", 3, 5), 6])

    def test_not_told(self) -> None:
        """A hole that the server does not tell is one, too."""
        feed = self.follow(1, history=1)
        self.server.tell("chat.event", event(4))
        self.assertEqual(self.read(feed), [1, Gap("lobby", 2, 3), 4])
        self.assertEqual(feed.cursor, "e:4")

    def test_retention(self) -> None:
        """The cursor is older than what is kept: the newest events, and a gap before them."""
        feed = self.follow(8, 9, after="e:2", recovered=False)
        self.assertEqual(self.read(feed), [Gap("lobby", 3, 7), 8, 9])

    def test_retention_of_everything(self) -> None:
        """Nothing is kept at all: a gap up to the head; then it goes on."""
        feed = self.follow(after="e:2", cursor="e:9", recovered=False)
        self.assertEqual(self.read(feed), [Gap("lobby", 3, 9)])
        self.assertEqual(feed.cursor, "e:9")
        self.server.tell("chat.event", event(10))
        self.assertEqual(self.read(feed), [10])

    def test_another_log(self) -> None:
        """A backup was restored: that is said, with what of the new log is not shown, and its events follow."""
        feed = self.follow(after="e:5", cursor="e:5")
        self.reconnect()
        self.answer_join(joined(3, 4, epoch="f", recovered=False))
        self.assertEqual(self.read(feed), [Gap("lobby", 1, 2, True), 3, 4])
        self.assertEqual(feed.cursor, "f:4")

    def test_a_shorter_log(self) -> None:
        """The log has lost its end: it is another one as well."""
        feed = self.follow(1, 2, after="e:5", recovered=False)
        self.assertEqual(self.read(feed), [Gap("lobby", 1, 0, True), 1, 2])


class Returning(FeedCase):
    """New connections."""

    def test_resumes(self) -> None:
        """It is joined again behind the last event received, read or not."""
        feed = self.follow(1, 2, history=2)
        self.reconnect()
        self.assertEqual(self.answer_join(joined(3))["after"], "e:2")
        self.assertEqual(self.read(feed), [1, 2, 3])

    def test_lost_while_joining(self) -> None:
        """A join that is not answered is made again."""
        feed = Feed(self.session, "lobby", "e:1")
        self.server.accept()
        self.reconnect()
        self.answer_join(joined(2))
        self.assertEqual(self.read(feed), [2])

    def test_busy(self) -> None:
        """A server that says to join later is asked later, not before it says, and ever more rarely."""
        feed = Feed(self.session, "lobby", "e:1")
        self.server.accept()
        for wait in (2.75, 3.5):
            self.server.refuse(self.server.messages()[0], -32008, "overloaded", retry_after=2)
            self.clock.advance(wait - 0.01)
            self.assertEqual(self.server.messages(), [])
            self.clock.advance(0.01)
        self.answer_join(joined(2))
        self.assertEqual(self.read(feed), [2])

    def test_draining(self) -> None:
        """A server that sends us away is not asked to let us in; the next one is, once."""
        feed = self.follow(1, 2, 3, 4, 5, history=5)
        self.server.messages()
        self.server.tell("server.draining", {"return_after": 2})
        self.assertEqual(self.read(feed), [1, 2, 3, 4])
        self.assertEqual(self.server.messages(), [])
        self.server.close(1001)
        self.clock.advance(2)
        self.server.accept()
        self.assertEqual(len(joins := self.server.messages()), 1)
        self.server.answer(joins[0], joined(5))
        self.assertEqual(self.read(feed), [5])

    def test_left_while_waiting(self) -> None:
        """Who leaves before that does not join any more."""
        feed = Feed(self.session, "lobby")
        self.server.accept()
        self.server.refuse(self.server.messages()[0], -32005, "rate limited")
        feed.leave()
        self.clock.advance(5)
        self.assertEqual(self.server.messages(), [])

    def test_forbidden(self) -> None:
        """A room that one may not read is told to all who read and to who begins to."""
        feed = Feed(self.session, "lobby")
        reading, joining = feed.next(), feed.joined()
        self.server.accept()
        self.server.refuse(self.server.messages()[0], -32002, "forbidden")
        for deferred in (reading, joining, feed.next(), feed.joined()):
            self.failureResultOf(deferred, Forbidden)
        self.assertEqual(self.session.returning, {})

    def test_removed(self) -> None:
        """Who is removed reads what there was, and then why there is no more."""
        feed = self.follow(1, history=1)
        self.server.tell("chat.left", {"room": "lobby", "reason": "banned"})
        self.assertEqual(self.successResultOf(feed.next()), Event(event(1)))
        self.assertEqual(str(self.failureResultOf(feed.next(), Forbidden).value), "no longer allowed in the room: banned")

    def test_refused(self) -> None:
        """A session that is refused, or closed, ends its feeds."""
        feed = self.follow(1)
        self.server.close(4401)
        self.read_to_the_end(feed, NotAuthenticated)
        late = Feed(self.session, "garden")
        self.failureResultOf(late.next(), NotAuthenticated)
        self.session = self.make_session(Credentials())
        feed = self.follow(cursor="e:0")
        self.session.close()
        self.read_to_the_end(feed, ConnectionLost)

    def read_to_the_end(self, feed: Feed, kind: type[Exception]) -> None:
        """Read until it fails with this error."""
        for _ in range(10):
            reading = feed.next()
            if isinstance(getattr(reading, "result", None), Event):
                self.successResultOf(reading)
            else:
                self.failureResultOf(reading, kind)
                return
        self.fail("it does not end")

    def test_leave(self) -> None:
        """The server is told; what waits is let go; whoever reads is told that it is over."""
        feed = self.follow(1, 2, history=2)
        feed.leave()
        feed.leave()
        self.assertEqual([message["method"] for message in self.server.messages()], ["chat.leave"])
        self.failureResultOf(feed.next(), StopAsyncIteration)
        self.server.tell("chat.event", event(3))

    def test_leave_while_joining(self) -> None:
        """An answer that comes then is nothing to anybody."""
        feed = Feed(self.session, "lobby")
        self.server.accept()
        join = self.server.messages()[0]
        feed.leave()
        self.server.answer(join, joined(1))
        self.failureResultOf(feed.next(), StopAsyncIteration)


class SlowReaders(FeedCase):
    """Buffers are bounded (here: 4 events), and yet nothing is lost."""

    def test_holds(self) -> None:
        """When too much waits the room is left; when it has been read, it is joined again where it was left."""
        feed = self.follow(cursor="e:0")
        for seq in range(1, 8):
            self.server.tell("chat.event", event(seq))
        self.assertEqual([message["method"] for message in self.server.messages()], ["chat.leave"])
        self.assertEqual([self.successResultOf(feed.next()).data["seq"] for _ in range(4)], [1, 2, 3, 4])
        self.assertEqual(self.answer_join(joined(5, 6, 7))["after"], "e:4")
        self.assertEqual(self.read(feed), [5, 6, 7])

    def test_holds_over_a_reconnect(self) -> None:
        """A new connection is no reason to receive more than can be kept."""
        feed = self.follow(1, 2, 3, 4, 5, history=5)
        self.assertEqual([message["method"] for message in self.server.messages()], ["chat.leave"])
        self.reconnect()
        self.assertEqual(self.server.messages(), [])
        self.assertEqual([self.successResultOf(feed.next()).data["seq"] for _ in range(4)], [1, 2, 3, 4])
        self.answer_join(joined(5))
        self.assertEqual(self.read(feed), [5])

    def test_read_while_away(self) -> None:
        """What is read while there is no connection is joined behind when there is one."""
        feed = self.follow(1, 2, 3, 4, 5, history=5)
        self.server.lose()
        self.assertEqual(self.read(feed), [1, 2, 3, 4])
        self.clock.advance(self.session.state.seconds)
        self.server.accept()
        self.answer_join(joined(5))
        self.assertEqual(self.read(feed), [5])


class Log:
    """A server that keeps the log of one room and answers as netsvc does."""

    def __init__(self) -> None:
        self.head = 0
        self.following = False
        self.server: Connection | None = None

    def connect(self, server: Connection) -> None:
        """A new connection."""
        server.accept()
        self.server, self.following = server, False

    def serve(self, most: int = 3) -> None:
        """Answer what has been asked."""
        assert self.server is not None
        for message in self.server.messages():
            if message["method"] == "chat.leave":
                self.following = False
                continue
            after = parse_cursor(message["params"]["after"]).seq
            upto = min(after + most, self.head)
            self.server.answer(message, joined(*range(after + 1, upto + 1), cursor=f"e:{upto}"))
            self.following = True
            for seq in range(upto + 1, self.head + 1):
                self.server.tell("chat.event", event(seq))

    def post(self) -> None:
        """Somebody says something."""
        self.head += 1
        if self.following and self.server is not None:
            self.server.tell("chat.event", event(self.head))


class Delivery(FeedCase):
    """Whatever happens, in whatever order."""

    @given(lists(sampled_from(("post", "post", "post", "read", "serve", "lose", "return"))))
    def test_once_and_in_order(self, steps: list[str]) -> None:
        """Every event is read once and in order, and no gap is told, since the log has them all."""
        super().setUp()
        log, read = Log(), []
        feed = Feed(self.session, "lobby", "e:0")
        log.connect(self.server)

        def take(most: int) -> None:
            for _ in range(most):
                reading = feed.next()
                if not reading.called:
                    reading.cancel()
                    self.failureResultOf(reading)
                    return
                read.append(self.successResultOf(reading))

        def come_back() -> None:
            if self.session.state.name == "waiting":
                self.clock.advance(self.session.state.seconds)
                log.connect(self.server)

        actions = {"post": log.post, "read": lambda: take(2), "serve": log.serve, "lose": lambda: self.server.lose(), "return": come_back}
        for step in steps:
            actions[step]()
        come_back()
        for _ in range(len(steps) + 2):
            log.serve()
            take(len(steps))
        self.assertEqual([item.seq if isinstance(item, Event) else item for item in read], list(range(1, log.head + 1)))
