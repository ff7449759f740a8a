"""Many people change what was said, all at once: in the end everybody sees the same."""

import json
import random
import threading
from typing import Any

from tests.core.test_amending_property import View
from tests.system.clients import RpcError, RpcSocket
from tests.system.test_protocol_rooms import RoomCase

PEOPLE = 4
CALLS = 150
EMOJI = ("👍", "🎉", "❤️")


class ManyTests(RoomCase):
    """Random talk on the real daemon."""

    def talk(self, client: RpcSocket, seed: int, acked: list[dict[str, Any]]) -> None:
        """Say and change things, several calls under way at a time; refusals are part of it."""
        dice = random.Random(seed)
        newest = 1
        for number in range(0, CALLS, 5):
            ids = []
            for step in range(5):
                seq = dice.randint(max(1, newest - 40), newest + 1)
                kind = dice.choice(("post", "post", "reply", "edit", "delete", "react", "react", "react"))
                text = f"{seed} says {number + step} @p{dice.randint(0, PEOPLE)}"
                if kind == "post":
                    ids.append(client.send("chat.post", room=self.room, text=text))
                elif kind == "reply":
                    ids.append(client.send("chat.post", room=self.room, text=text, reply_to=seq))
                elif kind == "edit":
                    ids.append(client.send("chat.edit", room=self.room, seq=seq, text=text))
                elif kind == "delete":
                    ids.append(client.send("chat.delete", room=self.room, seq=seq))
                else:
                    ids.append(client.send("chat.react", room=self.room, seq=seq, emoji=dice.choice(EMOJI), on=dice.random() < 0.7))
            for answer in self.answers(client, set(ids)):
                if "result" in answer:
                    acked.append(answer["result"])
                    newest = max(newest, answer["result"]["seq"])
                else:
                    self.assertIn(answer["error"]["code"], (-32002, -32003, -32004), answer)

    def answers(self, client: RpcSocket, ids: set[int]) -> list[dict[str, Any]]:
        """The answers to these calls, in whatever order they come."""
        found = []
        while ids:
            message = json.loads(client.connection.recv(timeout=20))
            if message.get("id") in ids:
                ids.discard(message["id"])
                found.append(message)
        return found

    def fresh(self) -> dict[int, Any]:
        """What somebody sees who comes now and reads everything, from the beginning, in pages."""
        view, client = View(), self.socket("reader")
        cursor = f"{self.epoch}:0"
        while True:
            page = client.call("chat.history", room=self.room, after=cursor, limit=60)
            for event in page["events"]:
                view.take(event)
            cursor = page["cursor"]
            if not page["more"]:
                return view.messages

    def test_everybody_sees_the_same(self) -> None:
        """Who followed, who reads afterwards, and who reads after the daemon was killed: the same; no seq is missing or doubled."""
        self.room = "many"
        self.epoch = self.rpc("chat.post", room=self.room, text="begin")["cursor"].rpartition(":")[0]
        follower = self.socket("follower")
        joined = follower.call("chat.join", room=self.room, after=f"{self.epoch}:0", limit=1)
        acked: list[dict[str, Any]] = []
        clients = [self.socket(f"p{number}") for number in range(PEOPLE)]
        threads = [threading.Thread(target=self.talk, args=(client, number, acked)) for number, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        head = max(answer["seq"] for answer in acked)
        events = [*joined["events"]]
        while events[-1]["seq"] < head:
            events.append(follower.event())
        self.assertEqual([event["seq"] for event in events], list(range(1, head + 1)))
        followed = View()
        for event in events:
            followed.take(event)
        afresh = self.fresh()
        self.assertEqual(followed.messages, afresh)
        deleted = [seq for seq, message in afresh.items() if message[3]]
        self.assertTrue(deleted and all(afresh[seq][1] == "" for seq in deleted))
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.fresh(), afresh)
        with self.assertRaises(RpcError):
            self.socket("p0").call("chat.edit", room=self.room, seq=deleted[0], text="back")
