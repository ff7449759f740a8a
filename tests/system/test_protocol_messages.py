"""Changing what was said, as clients see it: edits, deletions, reactions, answers, mentions."""

import sqlite3
from typing import Any

from tests.system.clients import RpcError, RpcSocket, TextRoom, post_rpc
from tests.system.programs import eventually
from tests.system.test_protocol_rooms import RoomCase


class MessageCase(RoomCase):
    """Two guests in a room."""

    def setUp(self) -> None:
        """Ann and Bob, who follow the room from its beginning."""
        super().setUp()
        self.room = self.id().rpartition(".")[2]
        self.ann, self.bob = self.socket("ann"), self.socket("bob")
        for client in (self.ann, self.bob):
            client.call("chat.join", room=self.room)

    def add_user(self, name: str) -> str:
        """Add a member; a token."""
        self.netsvc("user", "add", name, "--password-stdin", text="correct horse battery staple\n")
        return self.netsvc("token", "issue", name)

    def refused(self, client: RpcSocket, method: str, **params: Any) -> int:
        """The code of the error that a call gets."""
        with self.assertRaises(RpcError) as raised:
            client.call(method, room=self.room, **params)
        return raised.exception.code

    def event(self, client: RpcSocket) -> dict[str, Any]:
        """The next event, without what every event has."""
        found = client.event()
        return {name: value for name, value in found.items() if name not in ("room", "cursor", "at")}

    def history(self) -> list[dict[str, Any]]:
        """The room's events afresh."""
        return list(self.bob.call("chat.history", room=self.room, limit=200)["events"])


class ChangeTests(MessageCase):
    """chat.edit, chat.delete, chat.react."""

    def test_edit(self) -> None:
        """The edit comes to all as an event, history has the present text; only one's own can be edited."""
        self.ann.call("chat.post", room=self.room, text="teh")
        posted = self.ann.call("chat.edit", room=self.room, seq=1, text="the")
        self.assertEqual((posted["room"], posted["seq"], posted["durable"]), (self.room, 2, "fsync"))
        self.assertTrue(posted["cursor"].endswith(":2"))
        for client in (self.ann, self.bob):
            self.assertEqual(self.event(client), {"seq": 1, "type": "message", "from": "ann", "text": "teh"})
            self.assertEqual(self.event(client), {"seq": 2, "type": "edit", "from": "ann", "target": 1, "text": "the"})
        first = self.history()[0]
        self.assertEqual((first["text"], first["edited"]), ("the", True))
        self.assertEqual(self.refused(self.bob, "chat.edit", seq=1, text="x"), -32002)
        self.assertEqual(self.refused(self.ann, "chat.edit", seq=2, text="x"), -32003)
        self.assertEqual(self.refused(self.ann, "chat.edit", seq=9, text="x"), -32003)
        self.assertEqual(self.refused(self.ann, "chat.edit", seq=0, text="x"), -32602)
        self.assertEqual(self.refused(self.ann, "chat.edit", seq=1, text="x" * 17_000), -32006)

    def test_delete(self) -> None:
        """A deleted text is nowhere any more: not in history, not in the ring, not in the database; its place stays."""
        secret = "open sesame 4711"
        self.ann.call("chat.post", room=self.room, text="before")
        self.ann.call("chat.post", room=self.room, text=secret)
        self.ann.call("chat.edit", room=self.room, seq=2, text=f"{secret}!")
        self.assertEqual(self.refused(self.bob, "chat.delete", seq=2), -32002)
        first = self.ann.call("chat.delete", room=self.room, seq=2)
        self.assertEqual(self.ann.call("chat.delete", room=self.room, seq=2), first)
        seen = [self.event(self.bob) for _ in range(4)]
        self.assertEqual(seen[3], {"seq": 4, "type": "delete", "from": "ann", "target": 2})
        events = self.history()
        self.assertEqual([(event["seq"], event.get("text", "")) for event in events], [(1, "before"), (2, ""), (3, ""), (4, "")])
        self.assertTrue(events[1]["deleted"])
        carol = self.socket("carol")
        joined = carol.call("chat.join", room=self.room, after=events[0]["cursor"])
        self.assertNotIn("sesame", str(joined))
        self.assertEqual(self.refused(self.ann, "chat.edit", seq=2, text="x"), -32004)
        self.assertEqual(self.refused(self.ann, "chat.react", seq=2, emoji="👍", on=True), -32004)
        self.assertEqual(self.ann.call("chat.search", query="sesame", room=self.room)["events"], [])
        with sqlite3.connect(self.daemon.state / "netsvc.db") as database:
            self.assertEqual(database.execute("SELECT count(*) FROM events WHERE text LIKE '%sesame%' OR extra LIKE '%sesame%'").fetchone(), (0,))

    def test_react(self) -> None:
        """Reactions come to all, and history has those that stand; the same again has the same answer and no event."""
        self.ann.call("chat.post", room=self.room, text="hi")
        first = self.bob.call("chat.react", room=self.room, seq=1, emoji="👍", on=True)
        self.assertEqual(self.bob.call("chat.react", room=self.room, seq=1, emoji="👍", on=True), first)
        self.ann.call("chat.react", room=self.room, seq=1, emoji="🎉")
        self.ann.call("chat.react", room=self.room, seq=1, emoji="🎉", on=False)
        seen = [self.event(self.ann) for _ in range(4)]
        self.assertEqual(seen[1], {"seq": 2, "type": "reaction", "from": "bob", "target": 1, "emoji": "👍", "on": True})
        self.assertEqual(seen[3], {"seq": 4, "type": "reaction", "from": "ann", "target": 1, "emoji": "🎉", "on": False})
        self.assertEqual(self.history()[0]["reactions"], {"👍": ["bob"]})
        self.assertEqual(self.refused(self.ann, "chat.react", seq=1, emoji="", on=True), -32602)
        self.assertEqual(self.refused(self.ann, "chat.react", seq=1, emoji="x" * 65, on=True), -32006)

    def test_plain_text(self) -> None:
        """A plain-text room shows messages only."""
        with TextRoom(self.daemon.websocket_url, self.room, "name=wanda") as wanda:
            wanda.hear()
            posted = self.ann.call("chat.post", room=self.room, text="teh")
            self.ann.call("chat.edit", room=self.room, seq=posted["seq"], text="the")
            self.ann.call("chat.post", room=self.room, text="end")
            self.assertEqual([wanda.hear(), wanda.hear()], ["<ann> teh", "<ann> end"])

    def test_key(self) -> None:
        """Over HTTP a key makes an edit take effect once, and gives the same answer to who sends it again."""
        token = self.add_user("dora")
        credentials = {"Authorization": f"Bearer {token}"}
        post_rpc(self.url, "chat.post", {"room": self.room, "text": "one"}, credentials)
        again = {**credentials, "Idempotency-Key": "edit-1"}
        answers = [post_rpc(self.url, "chat.edit", {"room": self.room, "seq": 1, "text": "two"}, again) for _ in range(2)]
        post_rpc(self.url, "chat.edit", {"room": self.room, "seq": 1, "text": "three"}, credentials)
        answers.append(post_rpc(self.url, "chat.edit", {"room": self.room, "seq": 1, "text": "two"}, again))
        self.assertEqual([answer["seq"] for answer in answers], [2, 2, 2])
        self.assertEqual(self.history()[0]["text"], "three")

    def test_key_of_a_reader(self) -> None:
        """A key makes no copy of what was read: what is deleted is not in the answer that comes again."""
        key = {"Idempotency-Key": f"{self.room}-reader"}
        self.ann.call("chat.post", room=self.room, text="secret")
        texts = []
        for _ in range(2):
            for method, params in (("chat.history", {"room": self.room}), ("chat.search", {"query": "secret", "room": self.room})):
                texts.append([event.get("text") for event in post_rpc(self.url, method, params, key)["events"]])
            self.ann.call("chat.delete", room=self.room, seq=1)
        self.assertEqual(texts, [["secret"], ["secret"], ["", None], []])

    def test_moderators(self) -> None:
        """Who owns a room deletes what others said in it, but does not edit it; and mentions all of it."""
        token = self.add_user("emma")
        credentials = {"Authorization": f"Bearer {token}"}
        mine = f"{self.room}-emma"
        post_rpc(self.url, "chat.post", {"room": mine, "text": "welcome"}, credentials)
        self.bob.call("chat.post", room=mine, text="rude")
        with self.assertRaises(RpcError) as refused:
            post_rpc(self.url, "chat.edit", {"room": mine, "seq": 2, "text": "polite"}, credentials)
        self.assertEqual(refused.exception.code, -32002)
        post_rpc(self.url, "chat.delete", {"room": mine, "seq": 2}, credentials)
        post_rpc(self.url, "chat.post", {"room": mine, "text": "@room be polite"}, credentials)
        events = self.bob.call("chat.history", room=mine)["events"]
        self.assertEqual([(event["from"], event.get("text")) for event in events[1:]], [("bob", ""), ("emma", None), ("emma", "@room be polite")])
        self.assertEqual(events[3]["mentions"], ["@room"])

    def test_after_a_restart(self) -> None:
        """All of it outlives the process."""
        self.ann.call("chat.post", room=self.room, text="one")
        self.ann.call("chat.post", room=self.room, text="two", reply_to=1)
        self.ann.call("chat.edit", room=self.room, seq=1, text="uno")
        self.bob.call("chat.react", room=self.room, seq=2, emoji="👍")
        self.ann.call("chat.delete", room=self.room, seq=1)
        before = self.history()
        self.daemon.kill()
        self.daemon.start()
        self.bob = self.socket("bob")
        self.assertEqual(self.history(), before)
        self.assertEqual(self.bob.call("chat.react", room=self.room, seq=2, emoji="👍")["seq"], 4)


class TypingTests(MessageCase):
    """chat.typing."""

    def test_typing(self) -> None:
        """Those in the room are told who writes, once in a while; a room must be there, or somebody in it."""
        for _ in range(3):
            self.assertEqual(self.ann.call("chat.typing", room=self.room), {})

        def told() -> list[dict[str, Any]]:
            self.bob.call("auth.whoami")
            return [params for method, params in self.bob.notifications if method == "chat.typing"]

        self.assertEqual(eventually(told, 10.0, "a notice"), [{"room": self.room, "from": "ann"}])
        self.assertEqual(len(told()), 1)
        with self.assertRaises(RpcError) as refused:
            self.ann.call("chat.typing", room=f"{self.room}-absent")
        self.assertEqual(refused.exception.code, -32003)


class UnreadTests(MessageCase):
    """chat.mark_read, chat.unread."""

    def test_unread(self) -> None:
        """What others have said since one has read is counted, in rooms with a mark and in those that the connection is in."""
        for text in ("one", "two @bob", "three"):
            self.ann.call("chat.post", room=self.room, text=text)
        expected = {"room": self.room, "read": 0, "head": 3, "unread": 3, "mentions": 1, "more": False}
        self.assertEqual(self.bob.call("chat.unread"), {"rooms": [expected]})
        self.assertEqual(self.bob.call("chat.mark_read", room=self.room, seq=2), {"room": self.room, "seq": 2})
        self.bob.call("chat.leave", room=self.room)
        self.assertEqual(self.bob.call("chat.unread")["rooms"], [{**expected, "read": 2, "unread": 1, "mentions": 0}])
        self.assertEqual(self.refused(self.bob, "chat.mark_read", seq=4), -32003)

    def test_outlives_the_process(self) -> None:
        """A user's marks are kept, and hold on every connection; a room that is not for one any more is not told of."""
        credentials = {"Authorization": f"Bearer {self.add_user('fred')}"}
        owner = {"Authorization": f"Bearer {self.add_user('gina')}"}
        mine = f"{self.room}-gina"
        post_rpc(self.url, "chat.post", {"room": mine, "text": "one"}, owner)
        post_rpc(self.url, "chat.mark_read", {"room": mine, "seq": 1}, credentials)
        post_rpc(self.url, "chat.post", {"room": mine, "text": "two @fred"}, owner)
        self.daemon.kill()
        self.daemon.start()
        found = post_rpc(self.url, "chat.unread", {}, credentials)["rooms"]
        self.assertEqual(found, [{"room": mine, "read": 1, "head": 2, "unread": 1, "mentions": 1, "more": False}])
        post_rpc(self.url, "room.set", {"room": mine, "access": "secret"}, owner)
        self.assertEqual(post_rpc(self.url, "chat.unread", {}, credentials), {"rooms": []})


class MentionTests(MessageCase):
    """Answers and mentions."""

    def test_reply(self) -> None:
        """An answer says what it answers, and that must be there."""
        self.assertEqual(self.refused(self.ann, "chat.post", text="hi", reply_to=1), -32003)
        self.ann.call("chat.post", room=self.room, text="hi")
        self.bob.call("chat.post", room=self.room, text="ho", reply_to=1)
        self.event(self.ann)
        self.assertEqual(self.event(self.ann)["reply_to"], 1)
        self.assertEqual(self.refused(self.ann, "chat.post", text="hi", reply_to=7), -32003)

    def test_mentions(self) -> None:
        """Names are listed in lower case; who does not moderate the room does not reach all of it."""
        self.ann.call("chat.post", room=self.room, text="@Bob and @carl: see @room, ann@example.org")
        self.assertEqual(self.event(self.bob)["mentions"], ["bob", "carl"])
