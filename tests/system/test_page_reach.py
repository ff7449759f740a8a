"""The chat page in Chromium for those who do not see it, do not hear it, or use no mouse: axe-core, keys, and what is said."""

import json
import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.system.pages import DEADLINE, PageCase
from tests.system.programs import axe_source

RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(node => `${node.target} ${node.failureSummary}`).join(' | ')}`);
}"""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


class ReachTests(PageCase):
    """Every state of the page is looked at by axe-core, in light and dark; no finding of any weight is tolerated."""

    accounts = {"nora": "admin"}  # noqa: RUF012 - declared as a ClassVar where it is inherited from

    def assert_open_to_all(self, page: Page) -> None:
        """axe-core finds nothing."""
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(axe_source())
        self.assertEqual(page.evaluate(RUN_AXE), [])

    def talk(self) -> int:
        """Something of everything; the seq of the first message."""
        first = self.say("sam", "Good *morning*, **all** :wave: https://example.org/ `code` @nora @yuki")
        self.say("nora", "```python\nprint('hello')\n```\n> quoted\n\n- a list\n- of two", reply_to=first)
        self.say("zoe", "~~never~~ [a wiki](https://wiki.example/) [https://bank.example](https://evil.example) \u202eabc")
        self.as_("yuki").call("chat.join", room=self.room)
        for name, emoji in (("nora", "👍"), ("yuki", "🎉")):
            self.as_(name).call("chat.react", room=self.room, seq=first, emoji=emoji, on=True)
        self.as_("nora").call("room.set", room=self.room, topic="what is said here is looked at: https://example.org/")
        self.as_("nora").call("room.set", room=f"{self.room}-members", access="members", create=True)
        self.as_("nora").call("room.mute", room=self.room, name="zoe", reason="a test", duration=600)
        return first

    def test_axe(self) -> None:
        """The log with something of everything, its tools, each dialog, a reply, completions and a notice: wide and narrow, light and dark."""
        first = self.talk()
        contexts: list[dict[str, Any]] = [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"color_scheme": "dark", **PHONE}]
        for context in contexts:
            page = self.open("nora", **context)
            self.see(self.row(page, first).locator(".chip"), ["👍1", "🎉1"])
            self.row(page, first).focus()
            self.assert_open_to_all(page)
            page.keyboard.press("r")
            page.locator("#message").press_sequentially("@s")
            expect(page.locator("#completion [role=option]").first).to_be_visible(timeout=DEADLINE)
            self.assert_open_to_all(page)
            page.keyboard.press("Escape")
            page.evaluate("() => { document.getElementById('message').blur(); }")
            for opener in ("#open-search", "#open-info", ".emoji-button", "#new-room"):
                page.locator(opener).dispatch_event("click")  # on a phone one of them is in a drawer
                self.assert_open_to_all(page)
                page.keyboard.press("Escape")
            page.click("#open-info")
            page.locator(".roster button").last.click()
            expect(page.locator("#person-dialog .moderation")).to_be_visible(timeout=DEADLINE)
            self.assert_open_to_all(page)

    def test_axe_where_something_is_wrong(self) -> None:
        """Refusals, a composer that is shut, the lists of a phone, and a search with results."""
        self.talk()
        page = self.open("ann", **PHONE)
        for opener in ("#open-rooms", "#open-people"):
            page.tap(opener)
            page.evaluate("() => Promise.all(document.getAnimations().map(({ finished }) => finished))")
            self.assert_open_to_all(page)
            page.keyboard.press("Escape")
        page.click("#open-search")
        page.keyboard.type(f"morning in:{self.room}")
        expect(page.locator(".results button")).to_have_count(1, timeout=DEADLINE)
        self.assert_open_to_all(page)
        page.keyboard.press("Escape")
        self.as_("nora").call("room.mute", room=self.room, name="ann", duration=600)
        self.see(page.locator("#locked"), re.compile("You are muted here until"))
        self.assert_open_to_all(page)
        self.as_("nora").call("room.ban", room=self.room, name="ann", reason="a test")
        self.see(page.locator("#room-problem"), "You are banned from this room.")
        self.assert_open_to_all(page)

    def test_what_is_said(self) -> None:
        """New messages of others are read out, few of them one by one, many as a number; one's own and old ones are not."""
        self.fill(3, text="old {}")
        page = self.open("ann")
        said = page.locator("#announcer")
        self.write(page, "my own")
        self.say("sam", "**hello** there")
        self.see(said, "sam: hello there")
        self.fill(6, text="flood {}")
        self.see(said, "6 new messages")
        expect(page.locator("#log")).to_have_attribute("aria-live", "off")

    def test_keys_of_the_page(self) -> None:
        """Search, the next room, the log and the field are a key away; dialogs give the focus back."""
        self.say("sam", "hello")
        page = self.open("ann", stored={"netsvc.rooms": f'["a-first","{self.room}","zz-last"]'})
        page.keyboard.press("Control+k")
        expect(page.locator("#query")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#message")).to_be_focused()
        page.keyboard.press("Alt+ArrowDown")
        expect(page).to_have_url(re.compile("/zz-last/$"))
        page.keyboard.press("Alt+ArrowDown")
        expect(page).to_have_url(re.compile("/a-first/$"))
        page.keyboard.press("Alt+ArrowUp")
        page.keyboard.press("Alt+ArrowUp")
        expect(page).to_have_url(re.compile(f"/{self.room}/$"))
        page.focus("#open-info")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        expect(page.locator("#open-info")).to_be_focused()

    def test_the_focus_stays_in_the_list_of_rooms(self) -> None:
        """Who leaves a room by keyboard is at the next one, or at the last."""
        rooms = [f"{self.room[:40]}-{number}" for number in range(3)]
        page = self.open("gil", stored={"netsvc.rooms": json.dumps(rooms)})
        for left, then in ((rooms[1], rooms[2]), (rooms[2], rooms[0])):
            page.focus(f'[data-leave="{left}"]')
            page.keyboard.press("Enter")
            expect(page.locator(f'#followed [data-room="{left}"]')).to_have_count(0)
            expect(page.locator(f'#followed [data-room="{then}"]')).to_be_focused()

    def test_nothing_moves_for_who_wants_that(self) -> None:
        """With reduced motion nothing is animated, the dots of who is writing included."""
        page = self.open("ann", reduced_motion="reduce")
        self.as_("sam").call("chat.join", room=self.room)
        self.as_("sam").call("chat.typing", room=self.room)
        self.see(page.locator("#typing .who"), "sam is writing")
        self.assertEqual(page.evaluate("() => document.getAnimations().length"), 0)
