"""Rooms for members, secret rooms, bans and their like, by users of a real daemon, also while it is killed."""

import http.client
import subprocess
import sys
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import RpcError, RpcSocket, TextRoom, post_rpc, request
from tests.system.daemon import Daemon
from tests.system.programs import eventually

SETTINGS = """
[limits]
rate = off
[rooms]
retention_interval = 1s
"""
FORBIDDEN, ABSENT, CONFLICT = -32002, -32003, -32004
TEXT = "the treasure is under the old oak"


class RoomAccessTests(SynchronousTestCase):
    """A daemon with users who have tokens, ann among them; guests may come in."""

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon(SETTINGS)
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.tokens: dict[str, str] = {}
        self.add_users("ann")

    def netsvc(self, *arguments: str) -> str:
        """Run the command beside the daemon."""
        command = [sys.executable, "-m", "netsvc.cli", *arguments, "--state", str(self.daemon.state)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=self.daemon.directory).stdout

    def add_users(self, *names: str) -> None:
        """Add users, and issue tokens; root is an admin."""
        for name in names:
            self.netsvc("user", "add", name, "--role", "admin" if name == "root" else "member", "--no-password")
            self.tokens[name] = self.netsvc("token", "issue", name).strip()

    def headers(self, name: str, **more: str) -> dict[str, str]:
        """The credentials of a user; none for a guest."""
        return {"Authorization": f"Bearer {self.tokens[name]}", **more} if name in self.tokens else more

    def call(self, who: str, method: str, **params: Any) -> Any:
        """Call over HTTP."""
        return post_rpc(self.daemon.url, method, params, self.headers(who))

    def refused(self, code: int, who: str, method: str, **params: Any) -> None:
        """Call, and be refused."""
        with self.assertRaises(RpcError) as caught:
            self.call(who, method, **params)
        self.assertEqual(caught.exception.code, code, (who, method, params))

    def statuses(self, who: str, room: str) -> set[int]:
        """The statuses of the ways over HTTP that would be answered without end for who may read."""
        url = f"{self.daemon.url}/rooms/{room}/events"
        return {request(url, headers=self.headers(who, Accept=accept)).status for accept in ("text/event-stream", "application/json")}

    def socket(self, who: str, room: str = "") -> RpcSocket:
        """A WebSocket of a user's, in a room if one is given."""
        socket = RpcSocket(self.daemon.websocket_url, self.headers(who))
        self.addCleanup(socket.close)
        if room:
            socket.call("chat.join", room=room)
        return socket

    def plain(self, who: str, room: str) -> TextRoom:
        """A plain-text room, as a user."""
        text = TextRoom.__new__(TextRoom)
        super(TextRoom, text).__init__(f"{self.daemon.websocket_url}/chat/{room}/", self.headers(who))
        self.addCleanup(text.close)
        return text

    def stream(self, who: str, room: str) -> http.client.HTTPResponse:
        """An event stream, its head read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("GET", f"/rooms/{room}/events", headers=self.headers(who, Accept="text/event-stream"))
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        return answer

    def left(self, socket: RpcSocket) -> dict[str, Any]:
        """The next chat.left."""
        until = time.monotonic() + 10
        while True:
            for method, params in socket.notifications:
                if method == "chat.left":
                    return params
            socket._receive(until)

    def test_a_secret_room(self) -> None:
        """A secret room is there for its members, and for others by no way; also behind a kill -9."""
        self.add_users("bob", "meg", "root")
        self.call("ann", "chat.post", room="den", text=TEXT)
        self.call("ann", "room.set", room="den", access="secret", topic="oaks")
        self.call("ann", "room.invite", room="den", name="meg")
        for killed in (False, True):
            if killed:
                self.daemon.kill()
                self.daemon.start()
            for who in ("bob", "a guest"):
                for method, params in (
                    ("chat.history", {}),
                    ("chat.post", {"text": "hello"}),
                    ("chat.who", {}),
                    ("chat.search", {"query": "treasure"}),
                    ("room.info", {}),
                    ("room.members", {}),
                ):
                    self.refused(ABSENT, who, method, room="den", **params)
                self.assertEqual(self.call(who, "chat.rooms")["rooms"], [])
                self.assertEqual(self.call(who, "chat.search", query="treasure")["events"], [])
                self.assertEqual(self.statuses(who, "den"), {404})
                self.assertEqual(self.plain(who, "den").closed(), 4404)
                with self.assertRaises(RpcError) as caught:
                    self.socket(who, "den")
                self.assertEqual(caught.exception.code, ABSENT)
            for who, may in (("meg", "write"), ("ann", "own"), ("root", "own")):
                info = self.call(who, "room.info", room="den")
                self.assertEqual((info["access"], info["topic"], info["owners"], info["may"]), ("secret", "oaks", ["ann"], may))
                self.assertEqual(self.call(who, "chat.history", room="den")["events"][0]["text"], TEXT)
                self.assertEqual(len(self.call(who, "chat.search", query="treasure")["events"]), 1)
                self.assertEqual([room["name"] for room in self.call(who, "chat.rooms")["rooms"]], ["den"])

    def test_a_room_that_is_secret_from_its_first_event_on(self) -> None:
        """Who asks for it all the time while it is started learns nothing, and who has waited in it is out before anything is said."""
        self.add_users("bob")
        waiting, asking = self.socket("bob", "den-0"), self.socket("bob")
        for number in range(20):
            room = f"den-{number}"
            asked = [asking.send("chat.history", room=room) for _ in range(10)] + [asking.send("chat.rooms") for _ in range(2)]
            self.call("ann", "room.set", room=room, access="secret", create=True)
            asked += [asking.send("chat.history", room=room) for _ in range(10)] + [asking.send("chat.rooms")]
            until = time.monotonic() + 10
            for message in [asking._receive(until) for _ in asked]:
                said = message["error"]["code"] if "error" in message else message["result"]
                self.assertIn(said, (ABSENT, {"rooms": [], "more": False}))
        self.assertEqual(self.left(waiting), {"room": "den-0", "reason": "access"})
        self.assertNotIn("chat.event", [method for method, _ in waiting.notifications])
        events = self.call("ann", "chat.history", room="den-0")["events"]
        self.assertEqual([(event["seq"], event["action"], event["value"]) for event in events], [(1, "access", "secret")])
        self.assertEqual(self.call("ann", "room.info", room="den-0")["owners"], ["ann"])
        self.refused(CONFLICT, "ann", "room.set", room="den-0", access="public", create=True)
        self.refused(ABSENT, "bob", "room.set", room="den-0", access="public", create=True)
        self.refused(FORBIDDEN, "", "room.set", room="new", access="secret", create=True)
        self.refused(ABSENT, "ann", "room.set", room="new", access="secret")

    def test_a_ban(self) -> None:
        """Who is banned loses the room at once, wherever it is open, and does not come back; the log of the room tells of it."""
        self.add_users("bob", "meg", "root")
        self.call("ann", "chat.post", room="plaza", text="hello")
        socket, text, stream = self.socket("bob", "plaza"), self.plain("bob", "plaza"), self.stream("bob", "plaza")
        other = self.socket("meg", "plaza")
        text.hear()
        self.refused(FORBIDDEN, "bob", "room.ban", room="plaza", name="meg")
        self.refused(FORBIDDEN, "ann", "room.ban", room="plaza", name="root")
        cursor = self.call("ann", "room.ban", room="plaza", name="Bob", reason="spam")["cursor"]
        self.assertEqual(self.left(socket), {"room": "plaza", "reason": "ban"})
        self.assertEqual(text.closed(), 4403)
        self.call("meg", "chat.post", room="plaza", text=TEXT)
        self.assertNotIn(b"oak", stream.read())
        event = other.event(lambda event: event["type"] == "moderation")
        wanted = {"type": "moderation", "from": "ann", "action": "ban", "name": "bob", "text": "spam", "cursor": cursor}
        self.assertEqual({member: event[member] for member in wanted}, wanted)
        for restarted in (False, True):
            if restarted:
                self.daemon.restart()
            for method, params in (("chat.history", {}), ("chat.post", {"text": "hello"}), ("chat.who", {}), ("chat.search", {"query": "treasure"})):
                self.refused(FORBIDDEN, "bob", method, room="plaza", **params)
            self.assertEqual(self.statuses("bob", "plaza"), {403})
            self.assertEqual(self.plain("bob", "plaza").closed(), 4403)
        self.assertIn("ann in plaza: ban bob", self.daemon.output())
        self.call("root", "room.unban", room="plaza", name="bob")
        self.call("bob", "chat.post", room="plaza", text="sorry")
        actions = [event.get("action") for event in self.call("bob", "chat.history", room="plaza")["events"]]
        self.assertEqual([action for action in actions if action], ["ban", "unban"])

    def test_members_and_mutes(self) -> None:
        """A room is closed to guests while they are in it; a guest and a member are muted, for a time."""
        self.add_users("bob", "meg")
        self.call("ann", "chat.post", room="club", text="hello")
        guest, text = self.socket(""), self.plain("", "club")
        guest.call("auth.login", name="Gus")
        guest.call("chat.join", room="club")
        text.hear()
        self.call("ann", "room.mute", room="club", name="gus", duration=3600)
        with self.assertRaises(RpcError) as caught:
            guest.call("chat.post", room="club", text="let me")
        self.assertEqual(caught.exception.code, FORBIDDEN)
        guest.call("chat.history", room="club")
        self.call("ann", "room.mute", room="club", name="gus", duration=0.5)

        def posted() -> bool:
            try:
                return bool(guest.call("chat.post", room="club", text="let me"))
            except RpcError:
                return False

        eventually(posted, 10.0, "the guest may speak again")
        self.call("ann", "room.set", room="club", access="members")
        self.assertEqual(self.left(guest), {"room": "club", "reason": "access"})
        self.assertEqual(text.closed(), 4403)
        self.assertEqual(self.call("", "chat.rooms")["rooms"], [{"name": "club", "access": "members"}])
        self.refused(FORBIDDEN, "bob", "chat.history", room="club")
        self.call("ann", "room.invite", room="club", name="bob")
        self.call("ann", "room.role", room="club", name="bob", role="moderator")
        self.call("bob", "room.invite", room="club", name="meg")
        self.call("bob", "room.mute", room="club", name="meg")
        self.refused(FORBIDDEN, "meg", "chat.post", room="club", text="no")
        members = self.call("meg", "room.members", room="club")["members"]
        self.assertEqual([(each["name"], each["role"]) for each in members], [("ann", "owner"), ("bob", "moderator"), ("meg", "member")])

    def test_a_user_who_is_removed(self) -> None:
        """The next user of the name of one who is removed has none of the rooms, no read marks, and cannot change what that one wrote."""
        self.add_users("meg")
        self.call("meg", "chat.post", room="lobby", text="the first meg's")
        self.call("meg", "chat.mark_read", room="lobby", seq=1)
        self.call("ann", "chat.post", room="den", text=TEXT)
        self.call("ann", "room.set", room="den", access="secret")
        self.call("ann", "room.invite", room="den", name="meg")
        self.call("meg", "chat.history", room="den")
        self.netsvc("user", "remove", "meg")
        self.add_users("meg")

        def shut_out() -> bool:
            try:
                self.call("meg", "chat.history", room="den")
            except RpcError as error:
                return error.code == ABSENT
            return False

        eventually(shut_out, 10.0, "the new meg is shut out")
        self.assertEqual(self.call("meg", "chat.unread")["rooms"], [])
        self.call("meg", "chat.post", room="lobby", text="the second meg's")
        for method, params in (("chat.edit", {"text": "x"}), ("chat.delete", {})):
            self.refused(FORBIDDEN, "meg", method, room="lobby", seq=1, **params)
            self.call("meg", method, room="lobby", seq=2, **params)
        self.assertEqual(self.call("meg", "chat.history", room="lobby")["events"][0]["text"], "the first meg's")

    def test_retention_of_a_room(self) -> None:
        """A room keeps as many events as its owner says, others what they had."""
        for room in ("short", "long"):
            for number in range(5):
                self.call("ann", "chat.post", room=room, text=str(number))
        self.call("ann", "room.set", room="short", retention_events=2)
        eventually(lambda: len(self.call("ann", "chat.history", room="short")["events"]) == 2, 20.0, "what is too much is gone")
        newest = self.call("ann", "chat.history", room="short")["events"][-1]
        self.assertEqual((newest["type"], newest["action"], newest["value"]), ("moderation", "retention_events", "2"))
        self.assertEqual(len(self.call("ann", "chat.history", room="long")["events"]), 5)
        self.assertEqual(self.call("ann", "room.info", room="short")["retention_events"], 2)
