"""Test cases of the chat page in Chromium that share one browser and one daemon; each test has a room of its own."""

import atexit
import json
import re
import subprocess
import sys
from contextlib import ExitStack
from typing import Any, ClassVar

from playwright.sync_api import Locator, Page, expect
from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import RpcSocket
from tests.system.daemon import Daemon
from tests.system.programs import browser

__all__ = ["DEADLINE", "HOLD", "PASSWORD", "PageCase", "user_command"]

DEADLINE = 10_000.0
"""Milliseconds for what the page has to show."""

# Keeps back the calls of a method, until they are sent or answered in the server's place.
HOLD = """method => {
  const { send } = WebSocket.prototype;
  const held = [];
  WebSocket.prototype.send = function (text) {
    const call = JSON.parse(text);
    if (call.method === method) held.push([this, call]);
    else send.call(this, text);
  };
  window.letGo = (error) => {
    WebSocket.prototype.send = send;
    for (const [socket, call] of held) {
      if (error === null) socket.send(JSON.stringify(call));
      else socket.onmessage({ data: JSON.stringify({ jsonrpc: '2.0', id: call.id, error }) });
    }
    return held.map(([, call]) => call);
  };
}"""

Words = str | re.Pattern[str]
PASSWORD = "correct horse battery"


def user_command(daemon: Daemon, *arguments: str, line: str = "") -> None:
    """``netsvc user …`` on a daemon's state."""
    command = [sys.executable, "-m", "netsvc.cli", "user", *arguments, "--state", str(daemon.state)]
    subprocess.run(command, input=f"{line}\n", text=True, check=True, capture_output=True, timeout=30)


class _Shared:
    """A browser from the first test that needs it to the end of the process; a daemon until a test needs one with other users."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._browser: Any = None
        self._daemon: Daemon | None = None
        self._accounts: dict[str, str] = {}

    def get(self, accounts: dict[str, str]) -> tuple[Any, Daemon]:
        """Both, the daemon with these users and no others: names of users are not guests'."""
        if self._browser is None:
            self._browser = self._stack.enter_context(browser())
            atexit.register(self._stack.close)  # only now: what it needs to close is closed at the end of the process, too
        if self._daemon is None or not self._daemon.running or self._accounts != accounts:
            if self._daemon is not None:
                self._daemon.close()
            self._daemon = self._stack.enter_context(Daemon(overrides=["limits.rate=off"]))
            self._accounts = accounts
            for name, role in accounts.items():
                user_command(self._daemon, "add", name, "--role", role, "--password-stdin", line=PASSWORD)
        return self._browser, self._daemon


_shared = _Shared()


class PageCase(SynchronousTestCase):
    """Pages whose every error makes the test fail, and people who talk with them.

    :cvar accounts: users that tests sign in as, with their roles.
    """

    accounts: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        """A room that nobody has used."""
        self.chromium, self.daemon = _shared.get(self.accounts)
        self.room = re.sub("[^a-z0-9]+", "-", self.id().rpartition(".test_")[2])[:60].strip("-")
        self.stack = ExitStack()
        self.addCleanup(self.stack.close)
        self.errors: list[str] = []
        self.tolerated = re.compile(r"$^")
        self.people: dict[str, RpcSocket] = {}

    def tearDown(self) -> None:
        """No page may have complained: of a script, of what the Content-Security-Policy forbids, of anything."""
        self.assertEqual([error for error in self.errors if not self.tolerated.search(error)], [])

    def open(self, name: str = "nora", room: str = "", hash: str = "", wait: bool = True, stored: dict[str, str] | None = None, **context: Any) -> Page:
        """The page in a profile of its own; as a guest of that name, or as the user if there is an account.

        :param stored: entries of localStorage that are there before.
        """
        profile = self.chromium.new_context(**context)
        self.stack.callback(profile.close)
        for key, value in {"netsvc.guest": name, **(stored or {})}.items():
            profile.add_init_script(f"localStorage[{json.dumps(key)}] ??= {json.dumps(value)}")
        if name in self.accounts:
            answer = profile.request.post(f"{self.daemon.url}/login", form={"name": name, "password": PASSWORD}, headers={"Accept": "application/json"})
            self.assertTrue(answer.ok)
        page: Page = profile.new_page()
        page.set_default_timeout(DEADLINE)
        page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{self.daemon.url}/chat/{room or self.room}/{hash}")
        if wait:
            page.wait_for_selector('#state[data-state="online"]', state="attached")
        return page

    def as_(self, name: str) -> RpcSocket:
        """Somebody who talks with the page by program: a guest of that name, or the user."""
        if name not in self.people:
            person = RpcSocket(self.daemon.websocket_url)
            self.stack.callback(person.close)
            person.call("auth.login", **({"name": name, "password": PASSWORD} if name in self.accounts else {"name": name}))
            self.people[name] = person
        return self.people[name]

    def say(self, name: str, text: str, **more: Any) -> int:
        """Post a message to the room of the test; its seq."""
        return int(self.as_(name).call("chat.post", room=self.room, text=text, **more)["seq"])

    def fill(self, count: int, name: str = "sam", text: str = "message {}") -> None:
        """Post so many messages."""
        person = self.as_(name)
        calls = [person.send("chat.post", room=self.room, text=text.format(number)) for number in range(1, count + 1)]
        person.answer(calls[-1], 60.0)

    def write(self, page: Page, text: str) -> None:
        """Type a message and send it."""
        page.fill("#message", text)
        page.press("#message", "Enter")

    def row(self, page: Page, seq: int) -> Locator:
        """The row of a message."""
        return page.locator(f'#rows > [data-seq="{seq}"]')

    def act(self, page: Page, seq: int, action: str) -> None:
        """Point at a message and click on one of the things that can be done with it."""
        self.row(page, seq).locator(".bubble").hover()
        self.row(page, seq).locator(f".tools .{action}").first.click()

    def hold(self, page: Page, method: str) -> None:
        """From now on the page's calls of a method do not leave it; one method at a time."""
        page.evaluate(HOLD, method)

    def let_go(self, page: Page, error: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The calls that were held back, which are now sent, or answered with an error."""
        calls: list[dict[str, Any]] = page.evaluate("error => window.letGo(error)", error)
        return calls

    def see(self, locator: Locator, words: Words | list[Words]) -> None:
        """It has this text, now or soon."""
        expect(locator).to_have_text(words, timeout=DEADLINE)
