"""Server-sent events: what comes, in which order, at whose pace, and what is left behind."""

import gc
import json
import weakref
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail

from netsvc.chat.event_stream import EventStream
from netsvc.core.rooms import Member
from netsvc.errors import StoreUnavailable
from tests.chat.events_case import BOB, SSE, EventsUrlCase
from tests.http.channels import Client, answers, request


class Weak(EventStream):
    """A stream that can be asked whether it is still there."""

    __slots__ = ("__weakref__",)


def blocks(body: bytes) -> list[dict[str, Any]]:
    """The blocks of an event stream as the HTML standard reads them: fields by name, comments as ``""``, data decoded."""
    assert body.endswith(b"\n\n") or not body, body
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        fields: dict[str, Any] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            assert name not in fields, block
            fields[name] = value.removeprefix(" ")
        if "data" in fields:
            fields["data"] = json.loads(fields["data"])
        found.append(fields)
    return found


def unchunked(data: bytes) -> bytes:
    """What whole chunks hold (RFC 9112 section 7.1)."""
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        assert data[length : length + 2] == b"\r\n", data
        found, data = found + data[:length], data[length + 2 :]
    return found


class StreamTests(EventsUrlCase):
    """Server-sent events."""

    chunked = True

    def stream(self, query: str = "", *lines: str) -> list[dict[str, Any]]:
        """Open a stream; its first blocks."""
        self.ask(query, SSE, *lines)
        return self.heard(head=True)

    def heard(self, head: bool = False) -> list[dict[str, Any]]:
        """What the client has got since."""
        data = self.client.sent()
        data = data.partition(b"\r\n\r\n")[2] if head else data
        return blocks(unchunked(data) if self.chunked else data)

    def seqs(self, found: list[dict[str, Any]]) -> list[int]:
        """The ids, which are the events' cursors."""
        for block in found:
            self.assertEqual((sorted(block), block["id"]), (["data", "id"], block["data"]["cursor"]))
        return [block["data"]["seq"] for block in found]

    def test_lost_before_it_begins(self) -> None:
        """Who loses the room while the answer waits for its turn on the connection is told nothing of it."""
        self.post("secret")
        ready = EventStream.ready

        def lose(stream: EventStream, member: Member, opening: bytes) -> None:
            ready(stream, member, opening)
            self.rooms.expel("lobby", lambda identity: "ban")

        with mock.patch.object(EventStream, "ready", lose):
            self.assertEqual(self.stream("?limit=5"), [])
        self.assertEqual(self.client.ended, "closed")
        self.client.lose()
        self.assert_nothing_left()

    def test_head(self) -> None:
        """Nobody on the way shall keep or hold back a stream."""
        self.ask("", SSE)
        head, end, _ = self.client.sent().partition(b"\r\n\r\n")
        (answer,) = answers(head + end, head_only=True)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.fields["content-type"], "text/event-stream")
        self.assertEqual((answer.fields["cache-control"], answer.fields["x-accel-buffering"]), ("no-store", "no"))
        self.assertEqual((answer.fields["transfer-encoding"], answer.fields["connection"]), ("chunked", "close"))

    def test_each_event_is_a_chunk(self) -> None:
        """Clients that read by the length they ask for, as urllib3 does, give on at once only what is a chunk; the same bytes go to everybody."""
        clients = [self.client, Client(self.factory)]
        for client in clients:
            self.ask("", SSE, client=client)
            client.sent()
        self.post("a")
        first, second = (client.sent() for client in clients)
        self.assertEqual(first, second)
        size, _, rest = first.partition(b"\r\n")
        self.assertEqual(len(rest), int(size, 16) + 2)
        self.assertTrue(rest.startswith(b"id: e:1\ndata: ") and rest.endswith(b"\n\n\r\n"), rest)

    def test_http_1_0(self) -> None:
        """A client that knows no chunks, as nginx by default, gets none; the end of the connection is that of the stream."""
        self.chunked = False
        self.client.send(request("/rooms/lobby/events?limit=9", SSE, version="1.0"))
        self.turn()
        head = self.client.sent()
        self.assertIn(b"\r\nConnection: close\r\n", head)
        self.assertTrue(head.endswith(b"\r\n\r\nid: e:0\n\n"), head)
        self.post("a")
        self.assertEqual(self.seqs(self.heard()), [1])

    def test_from_now_on(self) -> None:
        """Without a cursor: where the room stands, so that a browser can come back to it, then each event as it comes."""
        self.post("old")
        self.assertEqual(self.stream(), [{"id": "e:1"}])
        self.post("a\nb")
        (block,) = self.heard()
        self.assertEqual((block["id"], block["data"]["text"], block["data"]["from"]), ("e:2", "a\nb", "bob"))
        self.assertEqual(sorted(block), ["data", "id"])

    def test_newest(self) -> None:
        """`limit` gives the newest events first."""
        self.post("a", "b", "c")
        self.assertEqual(self.seqs(self.stream("?limit=2")), [2, 3])
        self.post("d")
        self.assertEqual(self.seqs(self.heard()), [4])

    def test_absent_room(self) -> None:
        """A room that nobody has written in is waited for, and not made."""
        self.assertEqual(self.stream(), [{"id": "e:0"}])
        self.assertEqual(self.successResultOf(self.rooms.directory(BOB, "", 10)).rooms, [])
        self.post("first")
        self.assertEqual(self.seqs(self.heard()), [1])

    def test_resume(self) -> None:
        """`after` and Last-Event-ID read on, with nothing missing and nothing twice; the header, which is newer, wins."""
        self.post(*map(str, range(60)))
        self.assertEqual(self.seqs(self.stream("?after=e:1")), list(range(2, 61)))
        for lines, first in ((("Last-Event-ID: e:58",), 59), (("Last-Event-ID:",), 2)):
            self.client = Client(self.factory)
            self.assertEqual(self.seqs(self.stream("?after=e:1", *lines)), list(range(first, 61)))
        self.client = Client(self.factory)
        self.assertEqual(self.stream("?after=e:60"), [{"id": "e:60"}])

    def test_gap_after_retention(self) -> None:
        """A cursor that retention has passed: what is missing is said, the newest follow."""
        self.post("a", "b", "c", "d")
        self.successResultOf(self.store.prune(0, None, 2))
        gap, *events = self.stream("", "Last-Event-ID: e:1")
        self.assertEqual(gap, {"event": "gap", "data": {"room": "lobby", "from": 2, "to": 2}})
        self.assertEqual(self.seqs(events), [3, 4])

    def test_gap_to_the_newest(self) -> None:
        """Only `limit` of the newest, where that is asked for; the gap reaches up to them."""
        self.post("a", "b", "c", "d")
        for query, to, seqs in (("?after=other:3&limit=1", 3, [4]), ("?after=e:9&limit=3", 1, [2, 3, 4]), ("?after=other:3", 0, [1, 2, 3, 4])):
            self.client = Client(self.factory)
            gap, *events = self.stream(query)
            self.assertEqual(gap["data"], {"room": "lobby", "from": 1, "to": to}, query)
            self.assertEqual(self.seqs(events), seqs)
        self.client = Client(self.factory)
        gap, position = self.stream("?after=other:3&limit=0")
        self.assertEqual((gap["data"]["to"], position), (4, {"id": "e:4"}))

    def test_gap_while_following(self) -> None:
        """Who reads too slowly for retention is told what is gone."""
        self.stream()
        self.client.fill()
        self.post(*map(str, range(40)))
        self.successResultOf(self.store.prune(0, None, 5))
        self.client.drain()
        self.turn()
        gap, *events = self.heard()
        self.assertEqual(gap, {"event": "gap", "data": {"room": "lobby", "from": 1, "to": 35}})
        self.assertEqual(self.seqs(events), list(range(36, 41)))

    def test_heartbeat(self) -> None:
        """A comment at each interval, but none for a client that does not read."""
        self.stream()
        self.clock.pump([1.0] * 17)
        self.assertEqual(unchunked(self.client.sent()), b":\n\n")
        self.client.fill()
        self.clock.pump([1.0] * 17)
        self.assertEqual(self.client.sent(), b"")
        self.client.drain()
        self.clock.pump([1.0] * 17)
        self.assertEqual(unchunked(self.client.sent()), b":\n\n")

    def test_coming_back(self) -> None:
        """A browser that was told once when to come back is told at the first heartbeat to wait as usual from now on."""
        self.post("a")
        self.stream("?after=e:0")
        self.clock.pump([1.0] * 17)
        self.assertEqual(unchunked(self.client.sent()), b":\nretry: 3000\n\n")
        self.clock.pump([1.0] * 17)
        self.assertEqual(unchunked(self.client.sent()), b":\n\n")

    def test_one_that_does_not_read(self) -> None:
        """Costs nothing more however much is written, and gets all of it, in order, when it reads."""
        self.stream()
        self.client.fill()
        self.post(*map(str, range(100)))
        self.assertEqual(self.client.sent(), b"")
        self.client.drain()
        self.turn()
        self.assertEqual(self.seqs(self.heard()), list(range(1, 101)))

    def test_presence(self) -> None:
        """Who has a stream open is in the room; it is not shown who comes and goes."""
        self.stream()
        self.post("hi")
        self.assertEqual(self.successResultOf(self.rooms.who(BOB, "lobby")).names, ["bob"])
        self.clock.advance(1)
        self.assertEqual(self.seqs(self.heard()), [1])
        self.client.lose()
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.successResultOf(self.rooms.who(BOB, "lobby")).count, 0)

    def test_client_leaves(self) -> None:
        """Nothing is left behind."""
        self.stream()
        self.client.lose()
        self.post("hi")
        self.assert_nothing_left()

    def test_no_cycles(self) -> None:
        """What a stream was is gone with it, without the garbage collector."""
        made: list[Any] = []
        with mock.patch("netsvc.chat.event_stream.EventStream", side_effect=lambda *given: made.append(weakref.ref(stream := Weak(*given))) or stream):
            self.stream()
        gc.disable()
        self.addCleanup(gc.enable)
        self.client.lose()
        self.client = Client(self.factory)
        self.turn()
        self.logins.reset_mock()
        self.assertIsNone(made[0]())

    def test_client_leaves_before_the_answer(self) -> None:
        """Nor if it leaves while the store is asked."""
        found: Deferred[Any] = Deferred()
        with mock.patch.object(self.store, "room", return_value=found):
            self.ask("", SSE)
            self.client.lose()
        found.callback(None)
        self.assert_nothing_left()

    def test_revoked(self) -> None:
        """A revocation ends the stream."""
        self.stream()
        (identity, close), _ = self.logins.watch.call_args
        self.assertEqual(identity, BOB)
        close("revoked")
        close("revoked")
        self.assertEqual(self.client.ended, "closed")
        self.assert_nothing_left()

    def test_drain(self) -> None:
        """When the daemon stops, the stream ends in order, and so does each that is opened then: browsers come back by themselves when told."""
        self.stream()
        drained = self.factory.drain()
        self.url.open.drain()
        self.assertEqual(self.client.ended, "closed")
        self.assertEqual(self.heard(), [{"": "the server is going away: come back in 3 s", "retry": "2500"}])
        self.client.lose()
        self.client = Client(self.factory)
        self.assertEqual(self.stream(), [{"id": "e:0"}, {"": "the server is going away: come back in 3 s", "retry": "2500"}])
        self.assertEqual(self.client.ended, "closed")
        self.client.lose()
        self.assertIsNone(self.successResultOf(drained))
        self.assert_nothing_left()

    def test_head_request(self) -> None:
        """HEAD gets the head, and does not enter the room."""
        self.ask("", SSE, method="HEAD")
        head, end, _ = self.client.sent().partition(b"\r\n\r\n")
        (answer,) = answers(head + end, head_only=True)
        self.assertEqual((answer.status, answer.fields["content-type"]), (200, "text/event-stream"))
        self.assertEqual(self.rooms._states, {})

    def test_store_fails(self) -> None:
        """A stream that cannot begin is an error, and nothing is left of it."""
        with mock.patch.object(self.store, "room", return_value=fail(StoreUnavailable("the disk is gone"))):
            answer = self.get("", SSE)
        self.assertEqual((answer.status, answer.json()["error"]["message"]), (503, "the disk is gone"))
        self.assert_nothing_left()
