"""The log of the chat page in Chromium: long ones, what is new, and where the reader is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from playwright.sync_api import Page, expect

from tests.system.pages import DEADLINE, HOLD, PageCase

SEQS = "() => [...document.querySelectorAll('#rows > .message')].map(row => Number(row.dataset.seq))"
FIRST_IN_VIEW = """() => {
  const top = document.getElementById('log').getBoundingClientRect().top;
  const row = [...document.querySelectorAll('#rows > .message')].find(row => row.getBoundingClientRect().bottom > top + 40);
  return [Number(row.dataset.seq), row.getBoundingClientRect().top];
}"""
PLACE = "seq => document.querySelector(`#rows > [data-seq='${seq}']`)?.getBoundingClientRect().top ?? null"
NODES = "() => document.querySelectorAll('#rows *').length"
LOADED_TO = "() => document.querySelector('#rows > .start') !== null"
# Scrolls, and is there when what is then in view has been rendered.
SCROLL_TO = """async top => {
  document.getElementById('log').scrollTop = top;
  for (let i = 0; i < 2; i += 1) await new Promise(requestAnimationFrame);
}"""
# Scrolls through the whole log in so many frames; how many elements were in its rows at most.
FRAMES = 120
SCROLL_ALL = f"""async () => {{
  const log = document.getElementById('log');
  let most = 0;
  const step = log.scrollHeight / {FRAMES};
  for (let i = 0; i < {FRAMES}; i += 1) {{
    log.scrollTop = i * step;
    await new Promise(requestAnimationFrame);
    most = Math.max(most, document.querySelectorAll('#rows *').length);
  }}
  return most;
}}"""


@contextmanager
def counted_work(page: Page) -> Iterator[dict[str, Any]]:
    """What the page does meanwhile, in numbers that do not depend on how busy the machine is; filled in at the end.

    ``runs``: how often that piece of code of the page ran that ran most often, a loop's body for example; ``where``: the function it is in.
    ``layouts``: how often Chromium laid the page out.
    """
    work: dict[str, Any] = {}
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("Profiler.enable")
    session.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})

    def layouts() -> float:
        return next(metric["value"] for metric in session.send("Performance.getMetrics")["metrics"] if metric["name"] == "LayoutCount")

    before = layouts()
    yield work
    functions = [
        (function, script["url"]) for script in session.send("Profiler.takePreciseCoverage")["result"] if script["url"] for function in script["functions"]
    ]
    work["runs"], work["where"] = max((part["count"], f"{function['functionName']} of {url}") for function, url in functions for part in function["ranges"])
    work["layouts"] = layouts() - before
    session.detach()


class LogTests(PageCase):
    """What is in the document is what is in view; the rest is loaded, kept and shown as one scrolls."""

    def to_top(self, page: Page) -> None:
        """Scroll up until the log's beginning is loaded and in view."""
        page.wait_for_function(f"() => {{ document.getElementById('log').scrollTop = 0; return ({LOADED_TO})(); }}", polling=20, timeout=60_000)

    def test_ten_thousand_messages(self) -> None:
        """All of them are loaded by scrolling; the document holds no more than a few screens of them, and no frame does more for all the others."""
        self.fill(10_000, text="message {} with some words, so that *several* of them are in a line")
        page = self.open()
        self.to_top(page)
        self.see(self.row(page, 1).locator(".text"), re.compile("^message 1 with"))
        self.assertLess(page.evaluate(NODES), 900)
        with counted_work(page) as work:
            self.assertLess(page.evaluate(SCROLL_ALL), 900)
        # About 40, a few screens of rows; more where a busy machine makes more frames. Something done for each message of the log would be 10,000.
        self.assertLess(work["runs"] / FRAMES, 1000, work)
        self.assertLess(work["layouts"] / FRAMES, 40, work)
        page.evaluate(SCROLL_TO, 50_000)
        page.click("#latest")
        self.see(page.locator("#rows > .message .text").last, re.compile("^message 10000 "))
        expect(page.locator("#latest")).to_be_hidden()
        self.say("sam", "one more")
        self.see(page.locator("#rows > .message .text").last, "one more")

    def test_older_pages_come_without_a_jump(self) -> None:
        """While older messages of unknown heights are put before them, those in view stay where they are, but for rounding."""
        person = self.as_("sam")
        texts = ["short", "two\nlines", "word " * 90, "```\n1\n2\n3\n```", "- a\n- b"]
        calls = [person.send("chat.post", room=self.room, text=f"{number} {texts[number % 5]}") for number in range(600)]
        person.answer(calls[-1], 60.0)
        page = self.open()
        moved = 0
        for _ in range(40):
            page.evaluate(SCROLL_TO, page.evaluate("() => document.getElementById('log').scrollTop") - 350)
            seq, top = page.evaluate(FIRST_IN_VIEW)
            page.evaluate("() => new Promise(done => setTimeout(done, 30))")
            after = page.evaluate(PLACE, seq)
            self.assertLess(abs(after - top), 3, seq)
            moved = max(moved, 601 - seq)
        self.assertGreater(moved, 60)

    def test_news_do_not_move_who_reads_back(self) -> None:
        """Messages that come while one is elsewhere in the log are counted on a button that leads to them."""
        self.fill(120)
        page = self.open()
        page.evaluate(SCROLL_TO, 300)
        self.see(page.locator("#latest:not([hidden])"), "Latest messages")
        seq, top = page.evaluate(FIRST_IN_VIEW)
        self.say("sam", "news")
        self.see(page.locator("#latest"), "1 new message")
        self.assertLess(abs(page.evaluate(PLACE, seq) - top), 2)
        page.click("#latest")
        self.see(page.locator("#rows > .message .text").last, "news")
        expect(page.locator("#latest")).to_be_hidden()

    def test_a_room_opens_at_what_is_new(self) -> None:
        """With the line above the first unread message; if that is far up, with a button that leads there."""
        self.fill(40)
        epoch = self.as_("sam").call("chat.history", room=self.room, limit=0)["cursor"].rpartition(":")[0]
        page = self.open(stored={f"netsvc.seen.{self.room}": f"{epoch}:30"})
        expect(page.locator("#rows > .unread")).to_be_in_viewport(timeout=DEADLINE)
        expect(page.locator("#rows > .unread + .message")).to_have_attribute("data-seq", "31")
        page.context.close()
        self.fill(400)
        page = self.open(stored={f"netsvc.seen.{self.room}": f"{epoch}:40"})
        expect(page.locator("#rows > .unread")).to_have_count(0)
        self.assertEqual(page.evaluate(SEQS)[-1], 440)
        page.click("#to-unread")
        expect(page.locator("#rows > .unread")).to_be_in_viewport(timeout=DEADLINE)
        expect(page.locator("#rows > .unread + .message")).to_have_attribute("data-seq", "41")
        expect(page.locator("#to-unread")).to_be_hidden()
        # From there one can read on to the end.
        to_end = f"() => {{ const log = document.getElementById('log'); log.scrollTop = log.scrollHeight; return ({SEQS})().at(-1) === 440; }}"
        page.wait_for_function(to_end, polling=50, timeout=DEADLINE)

    def test_days_are_told_apart(self) -> None:
        """A line names the day before its first message; while one scrolls the day in view is said above."""
        self.fill(200)
        page = self.open()
        page.evaluate(SCROLL_TO, 500)
        self.see(page.locator("#day-above"), "Today")
        self.to_top(page)
        day = page.locator("#rows > .day span")
        self.see(day, "Today")
        self.assertIn(str(datetime.now().year), day.get_attribute("title") or "")

    def test_a_link_leads_to_a_message(self) -> None:
        """An address with a message's number opens the log there, also when it is far up; one that never was is said to be gone."""
        self.fill(700)
        page = self.open(hash="#123")
        expect(self.row(page, 123)).to_be_in_viewport(timeout=DEADLINE)
        expect(self.row(page, 123)).to_be_focused()
        page.evaluate("() => { location.hash = '#600'; }")
        expect(self.row(page, 600)).to_be_in_viewport(timeout=DEADLINE)
        page.evaluate("() => { location.hash = '#99999'; }")
        self.see(page.locator("#toast"), "This message is no longer available.")
        page.go_back()
        expect(self.row(page, 600)).to_be_in_viewport(timeout=DEADLINE)

    def test_times_are_beside_their_messages(self) -> None:
        """Long ones, too: they cover neither the message nor leave the screen."""
        self.fill(2)
        for width in (390, 1280):
            page = self.open(locale="en-US", viewport={"width": width, "height": 800})
            self.row(page, 2).locator(".bubble").hover()
            time = self.row(page, 2).locator("time")
            self.assertRegex(time.inner_text(), "[AP]M$")
            left, right = time.evaluate("node => [node.getBoundingClientRect().left, node.getBoundingClientRect().left + node.scrollWidth]")
            self.assertGreaterEqual(left, page.locator("#log").evaluate("node => node.getBoundingClientRect().left"))
            self.assertLessEqual(right, self.row(page, 2).locator(".bubble").evaluate("node => node.getBoundingClientRect().left"))

    def test_a_link_is_followed_when_it_can_be(self) -> None:
        """Also if the room is there before the connection counts as one. If there is no such message, that is said."""
        self.fill(300)
        page = self.open(hash="#99999")
        self.see(page.locator("#toast"), "This message is no longer available.")
        page.add_init_script(f"({HOLD})('chat.unread')")
        page.evaluate("() => history.replaceState(null, '', '#12')")
        page.reload()
        self.see(page.locator("#rows > .message .text").last, "message 300")
        self.let_go(page)
        expect(self.row(page, 12)).to_be_in_viewport(timeout=DEADLINE)

    def test_two_jumps(self) -> None:
        """The one asked for last counts, while the first is still on its way; without a connection nothing is said to be gone."""
        self.fill(700)
        page = self.open()
        self.hold(page, "chat.history")
        for seq in (12, 300, 300):
            page.evaluate("seq => { location.hash = ''; location.hash = `#${seq}`; }", seq)
            page.wait_for_function("seq => location.hash === `#${seq}`", arg=seq)
        self.assertEqual(len(self.let_go(page)), 2)
        expect(self.row(page, 300)).to_be_in_viewport(timeout=DEADLINE)
        expect(page.locator("#toast")).to_be_hidden()
        self.tolerated = re.compile("WebSocket|ERR_")
        self.daemon.stop()
        page.wait_for_selector('#state[data-state="waiting"]', state="attached")
        page.evaluate("() => { location.hash = '#50'; }")
        self.see(page.locator("#toast"), "The connection was lost.")

    def test_the_log_fits_another_width(self) -> None:
        """A window that becomes narrow, when all heights change, stays at the end if one was there, and at the message if not."""
        self.fill(150, text="message {} " + "word " * 30)
        page = self.open(viewport={"width": 1280, "height": 800})
        page.set_viewport_size({"width": 390, "height": 700})
        expect(self.row(page, 150)).to_be_in_viewport(timeout=DEADLINE)
        page.evaluate("() => { document.getElementById('log').scrollTop -= 3000; }")
        page.evaluate("() => new Promise(done => setTimeout(done, 50))")
        seq, _ = page.evaluate(FIRST_IN_VIEW)
        page.set_viewport_size({"width": 1000, "height": 700})
        expect(self.row(page, seq)).to_be_in_viewport(timeout=DEADLINE)
