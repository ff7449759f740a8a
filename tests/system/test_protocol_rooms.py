"""Rooms as clients see them: names, cursors, joining, order, presence, plain text."""

import json
import re
import threading
import time
from typing import Any

from tests.system.clients import RpcError, RpcSocket, TextRoom, post_rpc, request
from tests.system.programs import eventually
from tests.system.raw import exchange, head
from tests.system.served import ServedCase, call

DEADLINE = 10.0
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def seqs(events: list[dict[str, Any]]) -> list[int]:
    """Where events stand."""
    return [event["seq"] for event in events]


class RoomCase(ServedCase):
    """Tests that talk in rooms of their own."""

    settings = "[limits]\nrate = off\n"

    def rpc(self, method: str, **params: Any) -> Any:
        """A call over HTTP."""
        return post_rpc(self.url, method, params)

    def error(self, method: str, **params: Any) -> int:
        """The code of the error that a call over HTTP gets."""
        with self.assertRaises(RpcError) as raised:
            post_rpc(self.url, method, params)
        return raised.exception.code

    def fill(self, room: str, count: int) -> str:
        """Post that many messages, 1, 2, 3…; the room's epoch."""
        answers = [
            answer["result"]
            for start in range(1, count + 1, 100)
            for answer in self.post([call("chat.post", [room, str(number)]) for number in range(start, min(start + 100, count + 1))]).json()
        ]
        self.assertEqual(seqs(answers), list(range(1, count + 1)))
        return str(answers[0]["cursor"]).rpartition(":")[0]

    def socket(self, name: str = "") -> RpcSocket:
        """A WebSocket that closes with the test, with a guest name if wanted."""
        client = RpcSocket(self.daemon.websocket_url)
        self.addCleanup(client.close)
        if name:
            client.call("auth.login", name=name)
        return client


class NameTests(RoomCase):
    """What a room is called, and when it exists."""

    def test_names(self) -> None:
        """Folded to lower case; anything but the pattern is -32602, in every call."""
        for name in ("a", "0", "Room-1_x.y", "a" * 64):
            self.assertEqual(self.rpc("chat.post", room=name, text="x")["room"], name.lower())
        for name in ("", "-a", ".a", "_a", "a" * 65, "a b", "a/b", "a\n", "\u00e4", "\u212a", "a\0"):
            for method in ("chat.history", "chat.who", "chat.leave"):
                self.assertEqual(self.error(method, room=name), -32602, (method, name))
            self.assertEqual(self.error("chat.post", room=name, text="x"), -32602, name)
            with self.assertRaises(RpcError) as refused:
                self.socket().call("chat.join", room=name)
            self.assertEqual(refused.exception.code, -32602)

    def test_from_the_first_event(self) -> None:
        """A room exists from its first event: joining it before stores nothing; other calls on it are -32003."""
        client = self.socket()
        for method in ("chat.history", "chat.who", "chat.leave"):
            self.assertEqual(self.error(method, room="new"), -32003, method)
        joined = client.call("chat.join", room="New")
        self.assertEqual((joined["room"], joined["cursor"].rpartition(":")[2]), ("new", "0"))
        self.assertEqual((joined["events"], joined["more"], joined["recovered"]), ([], False, True))
        self.assertEqual(self.error("chat.history", room="new"), -32003)
        self.assertNotIn("new", [room["name"] for room in self.rpc("chat.rooms")["rooms"]])
        posted = self.rpc("chat.post", room="new", text="first")
        self.assertEqual((posted["seq"], posted["cursor"].partition(":")[0]), (1, joined["cursor"].partition(":")[0]))
        self.assertEqual(client.event()["text"], "first")
        self.assertIn("new", [room["name"] for room in self.rpc("chat.rooms")["rooms"]])
        self.assertEqual(client.call("chat.leave", room="new"), {})

    def test_an_answer_and_an_event(self) -> None:
        """Exactly the members of the protocol, with a time to the millisecond."""
        client = self.socket("ann")
        client.call("chat.join", room="members")
        posted = client.call("chat.post", room="members", text="hi")
        self.assertEqual(set(posted), {"room", "seq", "cursor", "at", "durable"})
        self.assertEqual(posted["durable"], "fsync")
        event = client.event()
        expected = {"room": "members", "seq": 1, "cursor": posted["cursor"], "type": "message", "from": "ann", "at": posted["at"], "text": "hi"}
        self.assertEqual(event, expected)
        self.assertTrue(TIMESTAMP.fullmatch(event["at"]), event)
        self.assertEqual(self.rpc("chat.history", room="members")["events"], [expected])
        client.call("chat.post", room="members", text="yes", reply_to=1)
        self.assertEqual(client.event()["reply_to"], 1)

    def test_texts(self) -> None:
        """Any text comes back as it was: all of Unicode, control characters, up to the limit."""
        texts = ["\0\x01\x1b[31m\x7f", "\U0001f469\u200d\U0001f4bb \u0000 \uffff \U0010ffff", " ", "\n", "\u202eabc", "x" * 16_384, "\u20ac" * 5461]
        for text in texts:
            self.rpc("chat.post", room="texts", text=text)
        self.assertEqual([event["text"] for event in self.rpc("chat.history", room="texts")["events"]], texts)


class CursorTests(RoomCase):
    """Reading forwards, backwards, and from cursors that are no more."""

    def setUp(self) -> None:
        """A room with 120 messages."""
        super().setUp()
        self.room = f"read{time.monotonic_ns()}"
        self.epoch = self.fill(self.room, 120)

    def history(self, **params: Any) -> tuple[list[int], int, bool, bool]:
        """What a call of chat.history gives: seqs, the cursor's seq, more, recovered."""
        found = self.rpc("chat.history", room=self.room, **params)
        self.assertEqual(set(found), {"events", "cursor", "more", "recovered"})
        epoch, _, seq = found["cursor"].rpartition(":")
        self.assertEqual(epoch, self.epoch)
        return seqs(found["events"]), int(seq), found["more"], found["recovered"]

    def test_history(self) -> None:
        """The newest; before; after; none; always in ascending order."""
        epoch = self.epoch
        self.assertEqual(self.history(), (list(range(71, 121)), 120, True, True))
        self.assertEqual(self.history(limit=200), (list(range(1, 121)), 120, False, True))
        self.assertEqual(self.history(limit=0), ([], 120, True, True))
        self.assertEqual(self.history(before=f"{epoch}:71", limit=3), ([68, 69, 70], 70, True, True))
        self.assertEqual(self.history(before=f"{epoch}:4", limit=3), ([1, 2, 3], 3, False, True))
        self.assertEqual(self.history(before=f"{epoch}:1"), ([], 120, False, True))
        self.assertEqual(self.history(after=f"{epoch}:0", limit=3), ([1, 2, 3], 3, True, True))
        self.assertEqual(self.history(after=f"{epoch}:117", limit=3), ([118, 119, 120], 120, False, True))
        self.assertEqual(self.history(after=f"{epoch}:120"), ([], 120, False, True))
        self.assertEqual(self.history(after=f"{epoch}:5", limit=0), ([], 5, True, True))
        self.assertEqual(self.error("chat.history", room=self.room, after=f"{epoch}:1", before=f"{epoch}:9"), -32602)

    def test_all_pages(self) -> None:
        """Page by page in both directions everything is seen once."""
        forward: list[int] = []
        cursor, more = f"{self.epoch}:0", True
        while more:
            events, seq, more, _ = self.history(after=cursor, limit=7)
            forward += events
            cursor = f"{self.epoch}:{seq}"
        backward, more = self.history(limit=7)[0], True
        while more:
            events, _, more, _ = self.history(before=f"{self.epoch}:{backward[0]}", limit=7)
            backward = events + backward
        self.assertEqual((forward, backward), (list(range(1, 121)), list(range(1, 121))))

    def test_cursors_that_are_no_more(self) -> None:
        """Another epoch, or past the head: not recovered, and the newest instead; any ``text:integer`` is valid."""
        for cursor in ("x:1", ":1", "a:b:3", "x:-1", f"{self.epoch}:121", f"{self.epoch}:{10**40}", f"{self.epoch}:-1"):
            self.assertEqual(self.history(after=cursor, limit=2), ([119, 120], 120, True, False), cursor)
            self.assertEqual(self.history(before=cursor, limit=2)[3], True, cursor)
        for cursor in ("", "x", "1", "x:", "x:1.5", "x: 1", "x:+1", "x:1 ", "x:\u0663"):
            self.assertEqual(self.error("chat.history", room=self.room, after=cursor), -32602, cursor)

    def test_join(self) -> None:
        """A join gives a page, and everything behind its cursor comes as notifications."""
        for params, page in (
            ({"after": f"{self.epoch}:0", "limit": 10}, list(range(1, 11))),
            ({"after": f"{self.epoch}:100"}, list(range(101, 121))),
            ({"after": f"{self.epoch}:60", "limit": 0}, []),
            ({"after": "other:7", "limit": 2}, [119, 120]),
            ({"limit": 0}, []),
            ({}, list(range(71, 121))),
        ):
            client = self.socket()
            joined = client.call("chat.join", room=self.room, **params)
            self.assertEqual(set(joined), {"room", "cursor", "recovered", "events", "more", "present"})
            self.assertEqual(seqs(joined["events"]), page, params)
            self.assertEqual(joined["recovered"], params.get("after") != "other:7")
            start = int(joined["cursor"].rpartition(":")[2])
            self.assertEqual([client.event()["seq"] for _ in range(start, 120)], list(range(start + 1, 121)), params)

    def test_epoch_survives(self) -> None:
        """Cursors are good after an orderly restart, and after a kill."""
        for restart in (self.daemon.restart, lambda: (self.daemon.kill(), self.daemon.start())):
            restart()
            self.assertEqual(self.history(after=f"{self.epoch}:118"), ([119, 120], 120, False, True))


class OrderTests(RoomCase):
    """The promises about order, with bounds so small that they are hit all the time."""

    settings = "[limits]\nrate = off\nin_flight = 2\nappend_queue = 2\nappend_batch = 3\n"

    def test_one_connection(self) -> None:
        """A thousand posts without waiting: none is refused, all are appended in the order sent, each answer precedes its own event."""
        client = self.socket()
        client.call("chat.join", room="order")
        messages = [json.dumps(call("chat.post", ["order", str(number)], id=number)) for number in range(1000)]
        sender = threading.Thread(target=lambda: [client.connection.send(message) for message in messages])
        sender.start()
        answers: dict[int, int] = {}
        events: list[str] = []
        while len(events) < 1000:
            message = json.loads(client.connection.recv(DEADLINE))
            if "id" in message:
                answers[message["id"]] = message["result"]["seq"]
            elif message["method"] == "chat.event":
                events.append(message["params"]["text"])
                self.assertIn(int(events[-1]), answers)
        sender.join(DEADLINE)
        self.assertEqual(answers, {number: number + 1 for number in range(1000)})
        self.assertEqual(events, [str(number) for number in range(1000)])

    def test_many_connections(self) -> None:
        """Everybody sees one order, without gaps, and the posts of each in the order sent; plain text too."""
        with TextRoom(self.daemon.websocket_url, "many") as reader:
            reader.hear()
            followers = [self.socket() for _ in range(3)]
            beginning = {follower.call("chat.join", room="many")["cursor"] for follower in followers}.pop()

            def post(name: str) -> None:
                with TextRoom(self.daemon.websocket_url, "many", f"name={name}&after={beginning}") as room:
                    room.hear()
                    for number in range(100):
                        room.say(str(number))
                    for _ in range(300):
                        room.hear()

            threads = [threading.Thread(target=post, args=(name,)) for name in ("ann", "bob", "cid")]
            for thread in threads:
                thread.start()
            seen = [[follower.event() for _ in range(300)] for follower in followers]
            heard = [reader.hear() for _ in range(300)]
            for thread in threads:
                thread.join(DEADLINE)
        self.assertEqual(seqs(seen[0]), list(range(1, 301)))
        self.assertEqual(seen, [seen[0]] * 3)
        self.assertEqual(heard, [f"<{event['from']}> {event['text']}" for event in seen[0]])
        for name in ("ann", "bob", "cid"):
            self.assertEqual([event["text"] for event in seen[0] if event["from"] == name], [str(number) for number in range(100)])

    def test_over_http(self) -> None:
        """Many requests at once are all stored; nothing is refused for being many."""
        body = json.dumps(call("chat.post", ["http", "x"])).encode()
        one = head("/rpc", "POST", f"Content-Length: {len(body)}") + body
        threads = [threading.Thread(target=exchange, args=(self.daemon.port, one * 20), kwargs={"expect": 20}) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(self.rpc("chat.history", room="http", limit=0)["cursor"].rpartition(":")[2], "400")

    def test_join_twice_and_leave(self) -> None:
        """One follower for a room, however often it is joined; none after leaving, also when the leave is right behind the join."""
        client = self.socket()
        for _ in range(3):
            client.call("chat.join", room="twice")
        self.rpc("chat.post", room="twice", text="1")
        client.call("chat.post", room="twice", text="2")
        self.assertEqual([client.event()["text"] for _ in range(2)], ["1", "2"])
        client.send("chat.join", room="twice")
        client.call("chat.leave", room="twice")
        self.rpc("chat.post", room="twice", text="3")
        client.call("auth.whoami")
        self.assertEqual([params["text"] for method, params in client.notifications if method == "chat.event"], [])


class CreateTests(RoomCase):
    """[chat] create."""

    settings = "[limits]\nrate = off\n[chat]\ncreate = member\n"

    def test_who_may_start_a_room(self) -> None:
        """Guests may not start one, and talk in those there are, in the order sent, though each post asks first whether there is a room."""
        self.assertEqual(self.error("chat.post", room="new", text="x"), -32002)
        with TextRoom(self.daemon.websocket_url, "new") as room:
            room.hear()
            room.say("hello")
            self.assertRegex(room.hear(), "^-- not sent: ")
        self.assertEqual(self.error("chat.history", room="new"), -32003)
        self.netsvc("user", "add", "ann", "--password-stdin", text="correct horse\n")
        member = self.socket()
        member.call("auth.login", name="ann", password="correct horse")
        self.assertEqual(member.call("chat.post", room="new", text="0")["seq"], 1)
        self.daemon.restart()
        guest = self.socket()
        ids = [guest.send("chat.post", room="new", text=str(number)) for number in range(1, 200)]
        self.assertEqual([guest.answer(id)["seq"] for id in ids][-1:], [200])
        self.assertEqual([event["text"] for event in self.rpc("chat.history", room="new", limit=200)["events"]], [str(number) for number in range(200)])


class PresenceTests(RoomCase):
    """Who is there."""

    settings = "[limits]\nrate = off\n[rooms]\npresence_grace = 300ms\n"

    def test_coming_and_going(self) -> None:
        """Followers are told; a short absence is not shown; who is counts names once; a leave is like a lost connection."""
        ann, bob = self.socket("ann"), self.socket("bob")
        self.assertEqual(ann.call("chat.join", room="here")["present"], {"count": 1, "names": ["ann"]})
        self.assertEqual(bob.call("chat.join", room="here")["present"], {"count": 2, "names": ["ann", "bob"]})
        other = self.socket("bob")
        self.assertEqual(other.call("chat.join", room="here")["present"]["count"], 2)
        self.assertEqual(self.presence(ann), {"room": "here", "joined": ["ann", "bob"], "left": [], "count": 2})
        bob.close()
        other.call("chat.leave", room="here")
        other.call("chat.join", room="here")
        other.close()
        self.assertEqual(self.presence(ann), {"room": "here", "joined": [], "left": ["bob"], "count": 1})
        self.assertEqual(ann.call("chat.who", room="here"), {"count": 1, "names": ["ann"]})

    def presence(self, client: RpcSocket) -> dict[str, Any]:
        """The next presence notification."""

        def next_one() -> dict[str, Any] | None:
            client.call("auth.whoami")
            found = [params for method, params in client.notifications if method == "chat.presence"]
            client.notifications.clear()
            return found[0] if found else None

        found: dict[str, Any] = eventually(next_one, DEADLINE, "a presence notification")
        return found

    def test_plain_text_counts(self) -> None:
        """People in plain-text rooms are there, too, and see no join or leave frames."""
        client = self.socket("ann")
        client.call("chat.join", room="plain")
        with TextRoom(self.daemon.websocket_url, "plain", "name=walter") as walter:
            self.assertEqual(walter.hear(), "Welcome walter!")
            self.assertEqual(client.call("chat.who", room="plain"), {"count": 2, "names": ["ann", "walter"]})
            self.presence(client)
            client.call("chat.post", room="plain", text="hello")
            self.assertEqual(walter.hear(), "<ann> hello")
        eventually(lambda: client.call("chat.who", room="plain")["count"] == 1, DEADLINE, "walter to be gone")

    def test_at_most_a_hundred_names(self) -> None:
        """All are counted."""
        client = self.socket("first")
        client.call("chat.join", room="crowd")
        sockets = [TextRoom(self.daemon.websocket_url, "crowd") for _ in range(120)]
        for socket in sockets:
            socket.hear()
        present = client.call("chat.who", room="crowd")
        self.assertEqual((present["count"], len(present["names"])), (121, 100))
        for socket in sockets:
            socket.connection.socket.close()


class PlainTextTests(RoomCase):
    """``/chat/<room>/`` by WebSocket."""

    settings = "[chat]\nwelcome = Hello {name}, this is {room} at {cursor} ({nothing} else)\n[limits]\nrate = off\n"

    def test_welcome(self) -> None:
        """The template; the room's name folded; a generated name is one's own and keeps for the connection."""
        with TextRoom(self.daemon.websocket_url, "Greeting", "name=ann") as room:
            self.assertRegex(room.hear(), r"^Hello ann, this is greeting at \w+:0 \(\{nothing\} else\)$")
        names = set()
        for _ in range(3):
            with TextRoom(self.daemon.websocket_url, "greeting") as room:
                name = room.hear().split()[1].rstrip(",")
                names.add(name)
                room.say("me")
                self.assertEqual(room.hear(), f"<{name}> me")
        self.assertEqual(len(names), 3)

    def test_lines(self) -> None:
        """Further lines are indented and control characters are shown: nobody can forge a name; empty frames are not posted."""
        with TextRoom(self.daemon.websocket_url, "lines", "name=eve") as eve, TextRoom(self.daemon.websocket_url, "lines") as reader:
            eve.hear()
            reader.hear()
            eve.say("")
            eve.say("\r\n")
            for end in ("\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"):
                eve.say(f"hi{end}<ann> I quit")
                self.assertEqual(reader.hear(), "<eve> hi\n  <ann> I quit", repr(end))
            for start in ("\x1b[2K\x1b[G", "\b" * 9, "\x9b1G", "\x00"):
                eve.say(f"{start}<ann> I quit")
                frame = reader.hear()
                self.assertTrue(frame.startswith("<eve> "))
                self.assertFalse(re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", frame), repr(frame))
            eve.say("tab\tand \u00e4\u20ac\U0001f600 stay\n")
            self.assertEqual(reader.hear(), "<eve> tab\tand \u00e4\u20ac\U0001f600 stay")

    def test_too_long(self) -> None:
        """The sender is told in a line that no message looks like; the room goes on."""
        with TextRoom(self.daemon.websocket_url, "long", "name=eve") as eve:
            eve.hear()
            eve.say("x" * 16_385)
            self.assertRegex(eve.hear(), "^-- not sent: .*16384.* --$")
            eve.say("x" * 16_384)
            self.assertEqual(len(eve.hear()), 16_384 + len("<eve> "))

    def test_same_log(self) -> None:
        """What is said in plain text is in the log, and the other way round."""
        with TextRoom(self.daemon.websocket_url, "both", "name=ann") as room, RpcSocket(self.daemon.websocket_url) as client:
            room.hear()
            client.call("chat.join", room="both")
            room.say("from the text")
            self.assertEqual((client.event()["text"], room.hear()), ("from the text", "<ann> from the text"))
            name = client.call("auth.whoami")["name"]
            client.call("chat.post", room="both", text="from a call")
            self.assertEqual(room.hear(), f"<{name}> from a call")

    def test_parameters(self) -> None:
        """Names that are none, and cursors that are none, are refused before the handshake."""
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        for query in ("name=", "name=a%20b", "name=%3Cann%3E", f"name={'a' * 33}", "name=%FF", "name=a%0A", "name=%E2%80%AEa", "after=nonsense"):
            (answer,), _ = exchange(self.daemon.port, head(f"/chat/lobby/?{query}", "GET", *upgrade), expect=1)
            self.assertEqual(answer.status, 400, query)
        self.assertEqual(request(f"{self.url}/chat/lobby/?name=").status, 200, "the page decides by itself")
