"""A room over plain HTTP, by other people's programs: curl and a browser's EventSource, also while the daemon is killed."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import post_rpc, request
from tests.system.daemon import Daemon
from tests.system.programs import browser, eventually
from tests.system.required import require_program

SETTINGS = """
[limits]
rate = off
[chat]
heartbeat = 1s
"""
DEADLINE = 20.0
FOLLOW = """() => {
    window.seen = [];
    window.gaps = [];
    window.opened = 0;
    window.source = new EventSource('/rooms/lobby/events');
    source.onopen = () => { opened += 1; };
    source.onmessage = event => { seen.push([event.lastEventId, JSON.parse(event.data).text]); };
    source.addEventListener('gap', event => { gaps.push(JSON.parse(event.data)); });
}"""


class CurlStream:
    """``curl -N`` on an event stream.

    :ivar blocks: what came so far, taken apart: the fields of each block, comments as ``""``.
    """

    def __init__(self, url: str, *headers: str) -> None:
        self.blocks: list[dict[str, str]] = []
        options = [part for header in ("Accept: text/event-stream", *headers) for part in ("-H", header)]
        self.process = subprocess.Popen([require_program("curl"), "-sSN", "--noproxy", "*", *options, url], stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        block: dict[str, str] = {}
        for line in self.process.stdout:
            name, _, value = line.rstrip("\n").partition(":")
            if line == "\n":
                self.blocks.append(block)
                block = {}
            else:
                block[name] = value.strip()

    def events(self) -> list[dict[str, Any]]:
        """The events among the blocks."""
        return [json.loads(block["data"]) for block in self.blocks if "data" in block and "event" not in block]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(DEADLINE)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class EventsTests(SynchronousTestCase):
    """One daemon, and those who follow a room of it."""

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon(SETTINGS)
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.url = f"{self.daemon.url}/rooms/lobby/events"

    def post(self, *texts: str) -> str:
        """Post to the lobby; the last cursor."""
        cursor = ""
        for text in texts:
            cursor = post_rpc(self.daemon.url, "chat.post", {"room": "lobby", "text": text})["cursor"]
        return cursor

    def curl(self, url: str, *headers: str) -> CurlStream:
        """Follow; returns when the stream has begun."""
        stream = CurlStream(url, *headers)
        self.addCleanup(stream.close)
        eventually(lambda: stream.blocks, DEADLINE, "the stream begins")
        return stream

    def test_curl(self) -> None:
        """Events come as they are posted, heartbeats between them; it is present; after kill -9 it goes on where it was, by Last-Event-ID."""
        self.post("old")
        stream = self.curl(self.url)
        cursors = [self.post(text) for text in ("a", "b\nc")]
        eventually(lambda: len(stream.events()) == 2, DEADLINE, "two events")
        self.assertEqual([block["id"] for block in stream.blocks if "data" in block], cursors)
        self.assertEqual([event["text"] for event in stream.events()], ["a", "b\nc"])
        self.assertEqual(post_rpc(self.daemon.url, "chat.who", {"room": "lobby"})["count"], 1)
        eventually(lambda: {"": ""} in stream.blocks, DEADLINE, "a heartbeat")
        self.daemon.kill()
        self.assertEqual(eventually(lambda: stream.process.poll() is not None, DEADLINE, "curl ends"), True)
        self.daemon.start()
        self.post("d", "e")
        again = self.curl(self.url, f"Last-Event-ID: {cursors[0]}")
        self.post("f")
        eventually(lambda: len(again.events()) == 4, DEADLINE, "what was missed, and what is new")
        self.assertEqual([event["text"] for event in again.events()], ["b\nc", "d", "e", "f"])
        other = self.curl(self.url + "?limit=2", "Last-Event-ID: elsewhere:7")
        eventually(lambda: len(other.events()) == 2, DEADLINE, "the newest")
        self.assertEqual((other.blocks[0]["event"], json.loads(other.blocks[0]["data"])), ("gap", {"room": "lobby", "from": 1, "to": 4}))

    def test_stop_and_revocation(self) -> None:
        """A stop ends a stream in order and does not wait for it; a revoked token's stream ends within five seconds."""
        command = [sys.executable, "-m", "netsvc.cli"]
        state = ["--state", str(self.daemon.state)]
        subprocess.run([*command, "user", "add", "ann", "--password-stdin", *state], input="correct horse\n", text=True, check=True, capture_output=True)
        token, listed = (
            subprocess.run([*command, "token", *verb, *state], text=True, check=True, capture_output=True).stdout for verb in (("issue", "ann"), ("list",))
        )
        anns = self.curl(self.url, f"Authorization: Bearer {token.strip()}")
        subprocess.run([*command, "token", "revoke", listed.splitlines()[1].split()[0], *state], check=True, capture_output=True)
        eventually(lambda: anns.process.poll() is not None, 5.0, "the revoked stream ends")
        stream = self.curl(self.url)
        began = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - began, 5.0)
        self.assertEqual(stream.process.wait(DEADLINE), 0)

    def test_long_poll(self) -> None:
        """Waits for what comes, also in a room that is not there yet; a client that gives up leaves nothing behind."""
        self.assertEqual(request(self.url).status, 404)
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(request(self.url + "?wait=9").json()))
        waiting.start()
        eventually(lambda: self.present(), DEADLINE, "it waits")
        self.post("first")
        waiting.join()
        self.assertEqual([event["text"] for event in answers[0]["events"]], ["first"])
        cursor = answers[0]["cursor"]
        began = time.monotonic()
        empty = request(f"{self.url}?after={cursor}&wait=0.5")
        self.assertEqual((empty.json(), empty.headers["cache-control"]), ({"events": [], "cursor": cursor, "more": False, "recovered": True}, "no-store"))
        self.assertGreaterEqual(time.monotonic() - began, 0.5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [require_program("curl"), "-sS", "--noproxy", "*", f"{self.url}?after={cursor}&wait=60"], timeout=1, capture_output=True, check=False
            )
        eventually(lambda: not self.present(), DEADLINE, "nobody is there")
        self.assertEqual(request(self.url, headers={"Accept": "image/png"}).status, 406)

    def present(self) -> int:
        """How many are in the lobby."""
        with contextlib.suppress(Exception):  # the room is not there
            return int(post_rpc(self.daemon.url, "chat.who", {"room": "lobby"})["count"])
        return 0

    def test_event_source(self) -> None:
        """A browser comes back by itself after kill -9, also one that had no event yet, with nothing missing and nothing twice."""
        self.post("old")
        with browser() as chromium:
            page = chromium.new_page()
            page.goto(self.daemon.url)
            page.evaluate(FOLLOW)
            eventually(lambda: page.evaluate("opened == 1 && source.readyState == 1"), DEADLINE, "the stream is open")
            # The first reconnection is before any event.
            for turn, texts in enumerate((["a", "b"], ["c", "d"]), 1):
                self.daemon.kill()
                self.daemon.start()
                self.post(texts[0])
                eventually(lambda turn=turn: page.evaluate(f"opened > {turn} && seen.length == {2 * turn - 1}"), DEADLINE, "it is back")
                self.post(texts[1])
                eventually(lambda turn=turn: page.evaluate(f"seen.length >= {2 * turn}"), DEADLINE, "it goes on")
            seen, gaps = page.evaluate("[seen, gaps]")
            self.assertEqual([text for _, text in seen], ["a", "b", "c", "d"])
            self.assertEqual([id.rpartition(":")[2] for id, _ in seen], ["2", "3", "4", "5"])
            self.assertEqual(gaps, [])
