"""The chat page in Chromium on the real daemon."""

import re
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from playwright.sync_api import Locator, Page, expect
from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import RpcSocket, post_rpc, request
from tests.system.daemon import Daemon
from tests.system.programs import browser

DEADLINE = 10_000.0
"""Milliseconds for what the page has to show."""

TEXTS = "() => [...document.querySelectorAll('#rows > .message')].map(row => row.querySelector('.text').textContent)"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


class WebPageTests(SynchronousTestCase):
    """Each test has a daemon, a browser, and pages whose every error makes it fail."""

    def setUp(self) -> None:
        """Start both; neither outlives the test."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.daemon = stack.enter_context(Daemon(overrides=["limits.rate=off"]))
        self.chromium = stack.enter_context(browser())
        self.errors: list[str] = []
        self.tolerated = re.compile(r"$^")

    def tearDown(self) -> None:
        """No page may have complained: of a script, of what the Content-Security-Policy forbids, of anything."""
        self.assertEqual([error for error in self.errors if not self.tolerated.search(error)], [])

    def open(self, path: str = "/chat/garden/", name: str = "", wait: bool = True, **context: Any) -> Page:
        """The page in a profile of its own, online unless told not to wait; as a guest of that name."""
        profile = self.chromium.new_context(**context)
        if name:
            profile.add_init_script(f"localStorage['netsvc.guest'] ??= '{name}'")
        page: Page = profile.new_page()
        page.set_default_timeout(DEADLINE)
        page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(self.daemon.url + path)
        if wait:
            self.wait_until_online(page)
        return page

    def wait_until_online(self, page: Page) -> None:
        """The page says that it is connected."""
        page.wait_for_selector('#state[data-state="online"]', state="attached")

    def write(self, page: Page, text: str) -> None:
        """Type a message and send it."""
        page.fill("#message", text)
        page.press("#message", "Enter")

    def bubbles(self, page: Page) -> Locator:
        """The texts of the messages in the log."""
        return page.locator("#rows > .message .text")

    def assert_shows(self, page: Page, texts: list[str]) -> None:
        """Exactly these messages are there, in this order, all of them stored."""
        expect(self.bubbles(page)).to_have_text(texts, timeout=DEADLINE)
        expect(page.locator(".pending")).to_have_count(0, timeout=DEADLINE)

    def stored(self, room: str = "garden") -> list[str]:
        """The texts in the log of a room."""
        return [event["text"] for event in post_rpc(self.daemon.url, "chat.history", {"room": room, "limit": 200})["events"]]

    def test_two_pages_and_a_program_talk(self) -> None:
        """Everybody sees everything, in one order, at once; who is here is shown; a page that is not looked at counts what is new."""
        ann, bob = self.open(name="ann"), self.open(name="bob")
        expect(ann.locator("#names .person")).to_have_text(["ann", "bob"], timeout=DEADLINE)
        self.write(ann, "hello")
        self.assert_shows(bob, ["hello"])
        self.write(bob, "two\nlines")
        self.assert_shows(ann, ["hello", "two\nlines"])
        with RpcSocket(self.daemon.websocket_url) as program:
            program.call("chat.post", room="garden", text="beep")
        for page in (ann, bob):
            self.assert_shows(page, ["hello", "two\nlines", "beep"])
        self.assertEqual(ann.locator(".message.own .text").all_text_contents(), ["hello"])
        expect(bob.locator(".day")).to_have_text("Today")
        ann.click("#new-room")
        ann.fill("#room-name", "Kitchen")
        ann.press("#room-name", "Enter")
        expect(ann).to_have_title(re.compile("^#kitchen "))
        self.write(bob, "where is ann?")
        expect(ann).to_have_title(re.compile(r"^\(1\) #kitchen "), timeout=DEADLINE)
        expect(ann.locator("#followed .badge")).to_have_text("1 unread")
        ann.go_back()
        expect(ann.locator(".unread")).to_be_visible(timeout=DEADLINE)
        expect(ann).to_have_title(re.compile("^#garden "), timeout=DEADLINE)

    def test_what_is_typed_while_the_daemon_is_dead_is_sent_once(self) -> None:
        """Killed with -9 and started again: no message is missing or doubled, and the page never needed a hand."""
        self.tolerated = re.compile("WebSocket connection|ERR_CONNECTION_REFUSED")
        ann, bob = self.open(name="ann"), self.open(name="bob")
        self.write(ann, "before")
        self.assert_shows(bob, ["before"])
        for round_ in ("first", "second"):
            self.daemon.kill()
            for number in range(3):
                self.write(ann, f"{round_} outage, {number}")
            expect(ann.locator("#banner")).to_be_visible(timeout=DEADLINE)
            # The daemon died at any moment: one of the messages before may still wait for its answer too.
            expect(ann.locator(".pending", has_text=f"{round_} outage")).to_have_count(3)
            self.daemon.start()
            self.wait_until_online(ann)
            self.wait_until_online(bob)
            expect(ann.locator("#banner")).to_be_hidden()
        expected = ["before", *(f"{round_} outage, {number}" for round_ in ("first", "second") for number in range(3))]
        for page in (ann, bob):
            self.assert_shows(page, expected)
        self.assertEqual(self.stored(), expected)

    def test_a_stop_that_is_announced(self) -> None:
        """The page says that the server is restarting, comes back when it was told to, and has lost nothing."""
        self.tolerated = re.compile("WebSocket connection|ERR_CONNECTION_REFUSED")
        self.daemon.close()
        self.daemon = Daemon(overrides=["limits.return_within=3s"]).start()
        self.addCleanup(self.daemon.close)
        ann = self.open(name="ann")
        self.write(ann, "before")
        self.assert_shows(ann, ["before"])
        # All that it says is noted: the time to come back may be so short that the page says the next thing before it can be looked at.
        ann.evaluate(
            """() => {
                window.said = [];
                const banner = document.querySelector("#banner");
                new MutationObserver(() => window.said.push(banner.textContent)).observe(banner, {subtree: true, childList: true, characterData: true});
            }"""
        )
        self.daemon.stop()
        ann.wait_for_function("() => window.said.some((text) => text.includes('The server is restarting'))", timeout=DEADLINE)
        self.write(ann, "meanwhile")
        self.daemon.start()
        self.wait_until_online(ann)
        self.assert_shows(ann, ["before", "meanwhile"])

    def test_what_waits_survives_a_reload(self) -> None:
        """A page that is loaded again has what was not sent, and sends it; what the server refuses can be discarded."""
        ann = self.open(name="ann")
        ann.evaluate("() => localStorage.setItem('netsvc.outbox.6f1e', JSON.stringify({room: 'garden', text: 'kept', author: '', at: 1, tried: 0}))")
        ann.evaluate(f"() => localStorage.setItem('netsvc.outbox.6f1f', JSON.stringify({{room: 'garden', text: 'x'.repeat({1 << 15}), author: '', at: 2}}))")
        ann.reload()
        self.wait_until_online(ann)
        expect(ann.locator(".pending.failed .state")).to_contain_text("16")
        ann.get_by_role("button", name="Discard").click()
        self.assert_shows(ann, ["kept"])
        self.assertEqual(self.stored(), ["kept"])
        self.assertEqual(ann.evaluate("() => Object.keys(localStorage).filter(key => key.includes('outbox'))"), [])

    def test_a_guest_takes_another_name(self) -> None:
        """The new name is used at once and after a reload; a registered or impossible one is refused in words."""
        self.add_user("alice", "correct horse")
        page = self.open()
        expect(page.locator("#account .name")).to_have_text(re.compile("^guest-"))
        page.click("#account")
        for wrong, problem in (("alice", "alice|registered|taken"), ("two words", "no spaces")):
            page.fill("#guest-name", wrong)
            page.press("#guest-name", "Enter")
            expect(page.locator("#guest-problem")).to_have_text(re.compile(problem), timeout=DEADLINE)
        page.fill("#guest-name", "zoë")
        page.press("#guest-name", "Enter")
        expect(page.locator("#account .name")).to_have_text("zoë", timeout=DEADLINE)
        self.wait_until_online(page)
        self.write(page, "it is me")
        expect(page.locator(".message.own .name")).to_have_text("zoë", timeout=DEADLINE)
        page.reload()
        expect(page.locator("#account .name")).to_have_text("zoë", timeout=DEADLINE)

    def test_a_user_signs_in_and_out(self) -> None:
        """With an account the session outlives a reload; a wrong password is said in words; signing out makes a guest again."""
        self.tolerated = re.compile("status of 401")
        self.add_user("alice", "correct horse")
        page = self.open(name="ann")
        page.click("#account")
        page.fill("#user-name", "alice")
        page.fill("#password", "wrong")
        page.press("#password", "Enter")
        expect(page.locator("#password-problem")).to_be_visible(timeout=DEADLINE)
        page.fill("#password", "correct horse")
        page.press("#password", "Enter")
        expect(page.locator("#account .name")).to_have_text("alice", timeout=DEADLINE)
        page.reload()
        self.wait_until_online(page)
        self.write(page, "as alice")
        expect(page.locator(".message.own .name")).to_have_text("alice", timeout=DEADLINE)
        page.click("#account")
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#account .name")).to_have_text("ann", timeout=DEADLINE)

    def test_without_guests_one_signs_in_first(self) -> None:
        """The page asks for an account, also when the account is taken away; a reload finds the way back in both cases."""
        self.tolerated = re.compile("status of 401")
        self.daemon.close()
        self.daemon = Daemon(overrides=["chat.guests=no"]).start()
        self.addCleanup(self.daemon.close)
        self.add_user("alice", "correct horse")
        page = self.open("/", wait=False)
        page.fill("#user-name", "alice")
        page.fill("#password", "correct horse")
        page.press("#password", "Enter")
        self.wait_until_online(page)
        expect(page).to_have_url(re.compile("/chat/lobby/$"))
        self.write(page, "signed in")
        self.assert_shows(page, ["signed in"])
        page.reload()
        self.assert_shows(page, ["signed in"])
        self.user_command("remove", "alice")
        for how in ("closed by the daemon", "after a reload", "after another"):
            if how != "closed by the daemon":
                page.reload()
            expect(page.locator("#account-dialog")).to_be_visible(timeout=DEADLINE)
            expect(page.locator(".as-guest")).to_be_hidden()
            expect(page.locator("#state")).to_have_text("Refused")
        page.goto("about:blank")  # or the page would still load its icon while the daemon ends

    def add_user(self, name: str, password: str) -> None:
        """As the operator does, while the daemon runs."""
        self.user_command("add", name, "--password-stdin", line=password)

    def user_command(self, *arguments: str, line: str = "") -> None:
        """``netsvc user …`` on the daemon's state."""
        command = [sys.executable, "-m", "netsvc.cli", "user", *arguments, "--state", str(self.daemon.state)]
        subprocess.run(command, input=f"{line}\n", text=True, check=True, capture_output=True, timeout=30)

    def test_the_keyboard_is_enough(self) -> None:
        """To the message past everything, to a new room and back, without a mouse; the focus can be seen."""
        page = self.open(name="ann")
        expect(page.locator("#message")).to_be_focused()
        page.focus(".skip")
        page.keyboard.press("Enter")
        page.keyboard.type("one")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("two")
        page.keyboard.press("Enter")
        self.assert_shows(page, ["one\ntwo"])
        page.focus(".skip")
        page.keyboard.press("Tab")
        expect(page.locator("#new-room")).to_be_focused()
        self.assertNotEqual(page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle"), "none")
        page.keyboard.press("Enter")
        expect(page.locator("#room-name")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#new-room")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.type("?")
        page.keyboard.press("Enter")
        expect(page.locator("#room-name-problem")).to_be_visible()
        page.keyboard.press("Backspace")
        page.keyboard.type("Kitchen")
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_be_focused()
        expect(page).to_have_url(re.compile("/chat/kitchen/$"))
        page.keyboard.type("hi")
        page.keyboard.press("Enter")
        self.assert_shows(page, ["hi"])

    def test_a_phone_has_room_for_everything(self) -> None:
        """Nothing sticks out sideways; the panels come and go over the page; dark is dark and light is light."""
        with RpcSocket(self.daemon.websocket_url) as program:
            for text in ("w" * 400, "https://example.org/" + "long/" * 60, "\n".join(["several", "lines"] * 3), "x   y"):
                program.call("chat.post", room="garden", text=text)
        grounds = []
        for scheme, width, messages in (("light", 390, 4), ("dark", 320, 5)):
            page = self.open(color_scheme=scheme, viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True)
            expect(self.bubbles(page)).to_have_count(messages, timeout=DEADLINE)
            self.assertLessEqual(page.evaluate(OVERFLOW), 0)
            for opener, panel in (("#open-rooms", "#rooms"), ("#open-people", "#people")):
                expect(page.locator(panel)).to_be_hidden()
                page.tap(opener)
                expect(page.locator(panel)).to_be_visible()
                self.assertLessEqual(page.evaluate(OVERFLOW), 0)
                page.keyboard.press("Escape")
                expect(page.locator(panel)).to_be_hidden()
                expect(page.locator(opener)).to_be_focused()
            grounds.append(page.evaluate("() => getComputedStyle(document.getElementById('main')).backgroundColor"))
            self.write(page, "from a phone")
            expect(self.bubbles(page).last).to_have_text("from a phone", timeout=DEADLINE)
        self.assertEqual(grounds[0], "rgb(255, 255, 255)")
        self.assertNotEqual(grounds[0], grounds[1])

    def test_what_people_write_stays_text(self) -> None:
        """HTML, scripts and odd links in messages are shown as they were written; the policy of the page forbids the rest."""
        traps = [
            "<script>window.caught = 1</script>",
            "<img src=x onerror='window.caught = 1'>",
            '"><svg onload=window.caught=1>',
            "javascript:window.caught=1",
            "&lt;b&gt; &amp;",
            'http://a.example/"onmouseover="window.caught=1',
            "data:text/html,<script>window.caught=1</script>",
        ]
        page = self.open()
        with RpcSocket(self.daemon.websocket_url) as program:
            for trap in traps:
                program.call("chat.post", room="garden", text=trap)
        self.assert_shows(page, traps)
        self.assertIsNone(page.evaluate("() => window.caught ?? null"))
        links = page.locator("#rows a")
        self.assertEqual([links.nth(0).get_attribute(name) for name in ("href", "rel")], ["http://a.example/", "noopener noreferrer nofollow"])
        self.assertEqual(links.count(), 1)
        self.assertEqual(page.evaluate("() => document.querySelectorAll('#rows script, #rows img').length"), 0)
        policy = request(f"{self.daemon.url}/").headers["content-security-policy"]
        self.assertIn("script-src 'self'", policy)
        self.assertNotIn("unsafe", policy)
