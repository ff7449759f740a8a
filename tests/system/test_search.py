"""Searching the real daemon: what is found, by whom, and what is gone for good."""

import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import RpcError, RpcSocket, post_rpc
from tests.system.daemon import Daemon
from tests.system.programs import eventually

PASSWORD = "correct horse battery staple\n"
SECRET = "xylophonist"
DEADLINE = 20.0
PART = b"ylophonis"
"""FTS5 leaves out of a word what it shares with the one before it, so parts of it are looked for."""


class SearchTests(SynchronousTestCase):
    """A daemon with a few rooms."""

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon("[limits]\nrate = off\n")
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def say(self, room: str, *texts: str) -> None:
        """Post as a guest."""
        for text in texts:
            post_rpc(self.daemon.url, "chat.post", {"room": room, "text": text})

    def search(self, query: str, **params: Any) -> Any:
        """The answer to a query."""
        return post_rpc(self.daemon.url, "chat.search", {"query": query, **params})

    def texts(self, query: str, **params: Any) -> list[str]:
        """The texts of what is found."""
        return [event["text"] for event in self.search(query, **params)["events"]]

    def test_found_at_once(self) -> None:
        """What is acknowledged is found by the next call, over all rooms, a page at a time; also after a crash."""
        for number in range(30):
            self.say(f"room{number % 3}", f"deploy {number}")
            self.assertEqual(self.texts("depl*", limit=1), [f"deploy {number}"])
        first = self.search("deploy", limit=20)
        self.daemon.kill()
        self.daemon.start()
        rest = self.search("deploy", before=first["cursor"])
        self.assertEqual([event["text"] for event in first["events"] + rest["events"]], [f"deploy {number}" for number in range(29, -1, -1)])
        self.assertEqual((first["more"], rest["more"], rest["behind"], first["highlights"][0]), (True, False, False, [[0, 6]]))

    def test_errors(self) -> None:
        """A bad query says what is wrong with it; a room that is not there is not found."""
        for query, params, code in (('"open', {}, -32602), ("in:absent x", {}, -32003), ("x", {"room": "absent"}, -32003), ("x", {"before": "?"}, -32602)):
            error = self.assertRaises(RpcError, self.search, query, **params)
            self.assertEqual(error.code, code)

    def netsvc(self, *arguments: str) -> str:
        """Run the command line beside the daemon; what it prints."""
        command = [sys.executable, "-m", "netsvc.cli", *arguments, "--state", str(self.daemon.state)]
        return subprocess.run(command, input=PASSWORD, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def test_secret_rooms(self) -> None:
        """Of a secret room nobody finds anything but its members, and nothing tells others that there is something."""
        self.netsvc("user", "add", "ann", "--password-stdin")
        ann = {"Authorization": f"Bearer {self.netsvc('token', 'issue', 'ann')}"}
        post_rpc(self.daemon.url, "chat.post", {"room": "den", "text": "a hidden word"}, ann)
        self.say("lobby", "an open word")
        self.assertEqual(self.texts("word"), ["an open word", "a hidden word"])
        post_rpc(self.daemon.url, "room.set", {"room": "den", "access": "secret"}, ann)
        self.assertEqual((self.texts("word"), self.search("hidden"), self.search("word", limit=1)["more"]), (["an open word"], self.search("absent"), False))
        self.say("lobby", "word two")
        cursor = self.search("word", limit=1)["cursor"]
        for number in range(10):
            post_rpc(self.daemon.url, "chat.post", {"room": "den", "text": f"word {number}"}, ann)
        self.assertEqual(self.search("word", limit=1)["cursor"], cursor)
        self.assertEqual(self.texts("word", before=cursor), ["an open word"])
        for old in ("search-0a1b2c3d:12", cursor.replace(":0", ":12")):
            error = self.assertRaises(RpcError, self.search, "word", before=old)
            self.assertEqual((error.code, "search again without it" in str(error)), (-32602, True))
        for params in ({"query": "word", "room": "den"}, {"query": "word in:den"}):
            self.assertEqual(self.assertRaises(RpcError, post_rpc, self.daemon.url, "chat.search", params).code, -32003)
        found = post_rpc(self.daemon.url, "chat.search", {"query": "word"}, ann)
        said = [f"word {number}" for number in range(9, -1, -1)]
        self.assertEqual([event["text"] for event in found["events"]], [*said, "word two", "an open word", "a hidden word"])

    def test_deleted(self) -> None:
        """A deleted message is found no more, and soon no file of the index has a part of it, none at all after a stop; nor of what an edit replaced."""
        with RpcSocket(self.daemon.websocket_url) as ann:
            seqs = [ann.call("chat.post", room="lobby", text=text)["seq"] for text in (f"a {SECRET} came", "one", f"the second {SECRET}")]
            self.assertEqual(len(self.texts(SECRET)), 2)
            ann.call("chat.edit", room="lobby", seq=seqs[2], text="the pianist")
            self.assertEqual(self.texts("pianist"), ["the pianist"])
            ann.call("chat.delete", room="lobby", seq=seqs[0])
        self.assertEqual((self.texts(SECRET), self.texts("in:lobby", limit=1)), ([], ["the pianist"]))
        eventually(lambda: not self.files_with(PART, "search.db*"), DEADLINE, "the deleted text to be gone from the index")
        self.daemon.stop()
        self.assertEqual(self.files_with(PART), [])

    def test_deleted_just_before_the_end(self) -> None:
        """A stop leaves nothing of what was deleted the moment before."""
        with RpcSocket(self.daemon.websocket_url) as ann:
            seq = ann.call("chat.post", room="lobby", text=f"a {SECRET} came")["seq"]
            self.assertEqual(len(self.texts(SECRET)), 1)
            ann.call("chat.delete", room="lobby", seq=seq)
        self.daemon.stop()
        self.assertEqual(self.files_with(PART), [])

    def files_with(self, part: bytes, pattern: str = "*") -> list[str]:
        """The files of the state in which these bytes are."""
        return [path.name for path in self.daemon.state.glob(pattern) if part in path.read_bytes()]
