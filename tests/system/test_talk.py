"""People and programs talk in one room, and the daemon is killed in the middle of it."""

import contextlib
import threading
import uuid
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import post_rpc
from tests.system.daemon import Daemon
from tests.system.programs import Curl, Wscat, browser, eventually

ROOM = "garden"
WELCOME = "You are {name} at {cursor}"
DEADLINE = 30.0
KILLS = 3
PAUSE = 0.1
ROUNDS_BETWEEN = 6

# Only what is in view is in the document: scroll from the beginning of the log to its end, and collect. A row that is there twice is found twice.
ROWS = """
async () => {
  const log = document.getElementById("log");
  const frame = () => new Promise(requestAnimationFrame);
  const shown = () => [...document.querySelectorAll("#rows > li.message:not(.pending)")];
  const rows = () => shown().map((row) => [Number(row.dataset.seq), row.querySelector(".text").textContent]);
  for (let i = 0; i < 200 && document.querySelector("#rows > .start") === null; i += 1) {
    log.scrollTop = 0;
    await frame();
  }
  const found = [];
  for (let top = 0; ; top += log.clientHeight / 2) {
    log.scrollTop = top;
    await frame();
    await frame();
    const known = new Set(found.map(([seq]) => seq));
    found.push(...rows().filter(([seq]) => !known.has(seq)));
    if (top > log.scrollHeight) return found;
  }
}
"""


class WscatPerson:
    """Somebody with a wscat, who starts it again where it ended, and says a thing again if its echo did not come.

    :ivar heard: every message's text, by its place in the room: the connection's first cursor and then one for each line.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.heard: list[tuple[int, str]] = []
        self.said: list[str] = []
        self._cursor = ""
        self._seen = 0
        self._wscat: Wscat | None = None
        self._seq = 0

    def connect(self) -> Wscat:
        """The running wscat, started again if it has ended."""
        while self._wscat is None:
            after = f"&after={self._cursor}" if self._cursor else ""
            wscat = Wscat(f"{self._url}/chat/{ROOM}/?name=walter{after}")
            eventually(lambda wscat=wscat: wscat.lines or not wscat.running, DEADLINE, "a welcome or a refusal")
            if wscat.lines and wscat.lines[0].startswith("You are walter at "):
                self._wscat, self._seen = wscat, 1
                if not self._cursor:
                    self._cursor = wscat.lines[0].rpartition(" ")[2]
                    self._seq = int(self._cursor.rpartition(":")[2])
            else:
                wscat.close()
        return self._wscat

    def listen(self) -> None:
        """Take note of what has been heard."""
        if self._wscat is not None:
            ended = not self._wscat.running
            if ended:
                self._wscat.close()
            while self._seen < len(self._wscat.lines):
                line = self._wscat.lines[self._seen]
                self._seen += 1
                if line.startswith("<"):
                    self._seq += 1
                    self.heard.append((self._seq, line.partition("> ")[2]))
            self._cursor = f"{self._cursor.rpartition(':')[0]}:{self._seq}"
            if ended:
                self._wscat = None

    def say(self, text: str) -> None:
        """Say it until it is heard."""

        def heard() -> bool:
            self.listen()
            return any(text == other for _, other in self.heard)

        self.connect().say(text)
        while True:
            eventually(lambda: heard() or self._wscat is None, DEADLINE, f"the echo of {text}")
            if heard():
                break
            self.connect()
            # What came after the cursor may have it: only then is it known not to be stored.
            head = eventually(self._head, DEADLINE, "the head of the log")
            eventually(lambda head=head: heard() or self._wscat is None or self._seq >= head, DEADLINE, "catching up")
            if self._wscat is not None and not heard():
                self._wscat.say(text)
        self.said.append(text)

    def _head(self) -> int | None:
        """The newest seq, None while the server is away."""
        with contextlib.suppress(OSError):
            history = post_rpc(self._url.replace("ws", "http", 1), "chat.history", {"room": ROOM, "limit": 0})
            return int(history["cursor"].rpartition(":")[2])
        return None

    def catch_up(self, seq: int) -> None:
        """Hear everything up to `seq`."""

        def caught_up() -> bool:
            self.listen()
            self.connect()
            return self._seq >= seq

        eventually(caught_up, DEADLINE, "the wscat to catch up")

    def close(self) -> None:
        """End it."""
        if self._wscat is not None:
            self._wscat.close()


class CurlProgram:
    """A program that posts with curl, and posts again with the same key when it got no answer."""

    def __init__(self, url: str) -> None:
        self._curl = Curl(url)
        self.acked: dict[str, int] = {}

    def say(self, text: str) -> None:
        """Post until it is acknowledged."""
        params = {"room": ROOM, "text": text, "key": str(uuid.uuid4())}
        answer = eventually(lambda: self._curl.call("chat.post", params), DEADLINE, "an answer to curl")
        assert "result" in answer, answer
        self.acked[text] = answer["result"]["seq"]


class Talker(threading.Thread):
    """Says one thing after the other until told to stop; keeps what went wrong."""

    def __init__(self, who: Any, name: str) -> None:
        super().__init__(daemon=True)
        self.who = who
        self.label = name
        self.enough = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Talk."""
        number = 0
        try:
            while not self.enough.wait(PAUSE):
                number += 1
                self.who.say(f"{self.label} {number}")
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        """Stop after the thing being said."""
        self.enough.set()
        self.join(2 * DEADLINE)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{self.label} is stuck"


class TalkTests(SynchronousTestCase):
    """Two browsers, a wscat and a curl."""

    def test_all_see_the_same(self) -> None:
        """While they talk the daemon is killed and started again; nothing acked is missing or doubled for any of them."""
        daemon = Daemon(f"[chat]\nwelcome = {WELCOME}\n[limits]\nrate = off\n")
        self.addCleanup(daemon.close)
        daemon.start()
        self.typed: set[str] = set()
        with browser() as chromium:
            pages = [self.open_page(chromium, daemon) for _ in range(2)]
            person, program = WscatPerson(daemon.websocket_url), CurlProgram(daemon.url)
            self.addCleanup(person.close)
            person.connect()
            talkers = [Talker(person, "wscat"), Talker(program, "curl")]
            typed = [f"page {index} {number}" for number in range((KILLS + 1) * ROUNDS_BETWEEN) for index in range(len(pages))]
            self.talk(daemon, pages, typed, talkers)
            log = self.whole_log(daemon)
            expected = [(event["seq"], event["text"]) for event in log]
            person.catch_up(expected[-1][0])
            for page in pages:
                self.wait_for_rows(page, expected)
        self.assertEqual([seq for seq, _ in expected], list(range(1, len(expected) + 1)))
        self.assertEqual(person.heard, expected)
        stored = {text: seq for seq, text in expected}
        self.assertEqual(len(stored), len(expected), "something was stored twice")
        self.assertEqual({text: stored.get(text) for text in program.acked}, program.acked)
        self.assertLessEqual({*self.typed, *person.said}, set(stored))

    def open_page(self, chromium: Any, daemon: Daemon) -> Any:
        """The chat page in a browser profile of its own, connected."""
        page = chromium.new_context().new_page()
        page.goto(f"{daemon.url}/chat/{ROOM}/")
        page.wait_for_selector('#state[data-state="online"]', state="attached")
        return page

    def talk(self, daemon: Daemon, pages: list[Any], typed: list[str], talkers: list[Talker]) -> None:
        """Type on both pages while the others talk and the daemon dies now and then."""
        for talker in talkers:
            talker.start()
        per_kill = ROUNDS_BETWEEN * len(pages)
        for position, text in enumerate(typed):
            self.type(pages[position % len(pages)], text)
            if position % per_kill == per_kill - 1 and position < len(typed) - 1:
                daemon.kill()
                # Somebody types while it is away.
                self.type(pages[0], f"meanwhile {position}")
                daemon.start()
                for waiting in pages:
                    waiting.wait_for_selector('#state[data-state="online"]', state="attached")
        for talker in talkers:
            talker.finish()
        for page in pages:
            page.wait_for_function("() => document.querySelector('#rows > li.pending') === null")

    def type(self, page: Any, text: str) -> None:
        """Write a message and send it."""
        page.fill("#message", text)
        page.press("#message", "Enter")
        self.typed.add(text)

    def whole_log(self, daemon: Daemon) -> list[dict[str, Any]]:
        """Every event of the room."""
        page = post_rpc(daemon.url, "chat.history", {"room": ROOM, "limit": 200})
        events: list[dict[str, Any]] = page["events"]
        while page["more"]:
            page = post_rpc(daemon.url, "chat.history", {"room": ROOM, "limit": 200, "before": events[0]["cursor"]})
            events = page["events"] + events
        return events

    def wait_for_rows(self, page: Any, expected: list[tuple[int, str]]) -> None:
        """The page shows exactly this."""

        def shown() -> list[tuple[int, str]]:
            return [(seq, text) for seq, text in page.evaluate(ROWS)]

        try:
            eventually(lambda: shown() == expected, DEADLINE, "the page to show the whole log")
        except AssertionError:
            self.assertEqual(shown(), expected)
