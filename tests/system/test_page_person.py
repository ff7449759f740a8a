"""The chat page in Chromium when somebody else sits down at it: of the last one nothing is left to be seen."""

import re

from playwright.sync_api import Page, expect

from tests.system.pages import DEADLINE, PASSWORD, PageCase

LEFT = "() => document.body.innerText + document.querySelector('#message').value"


class PersonTests(PageCase):
    """Users of one browser, and guests between them."""

    accounts = {"cara": "member", "dan": "member", "eve": "member"}  # noqa: RUF012 - declared as a ClassVar where it is inherited from

    def be(self, page: Page, name: str) -> None:
        """Sign in, or out with the name "", and wait until the page is somebody."""
        page.click("#account")
        if name:
            page.fill("#user-name", name)
            page.fill("#password", PASSWORD)
            page.press("#password", "Enter")
            self.see(page.locator("#account .name"), name)
        else:
            page.get_by_role("button", name="Sign out").click()
            self.see(page.locator("#account .role"), re.compile("Guest"))
        page.wait_for_selector('#state[data-state="online"]', state="attached")

    def assert_nothing_of_cara(self, page: Page) -> None:
        """Neither in what is shown nor where one writes."""
        self.see(page.locator("#room-problem"), re.compile("not there"))
        left = page.evaluate(LEFT)
        for words in ("the plan", "June", "to know", "unfinished", "eve"):
            self.assertNotIn(words, left)

    def test_nothing_is_left_of_who_signed_out(self) -> None:
        """Messages, draft, who is there and who writes are gone at once; who comes back finds what was left."""
        self.say("cara", "the plan")
        self.as_("cara").call("room.set", room=self.room, access="secret", topic="what nobody is to know")
        self.as_("cara").call("room.invite", room=self.room, name="eve")
        page = self.open("cara", stored={"netsvc.guest": "zoe"})
        self.as_("eve").call("chat.join", room=self.room)
        self.say("eve", "not before June")
        self.see(page.locator("#announcer"), "eve: not before June")
        self.as_("eve").call("chat.typing", room=self.room)
        self.see(page.locator("#typing .who"), "eve is writing")
        self.act(page, 1, "reply")
        page.fill("#message", "unfinished")
        self.be(page, "")
        self.assert_nothing_of_cara(page)
        self.be(page, "dan")
        self.assert_nothing_of_cara(page)
        expect(page.locator("#message")).to_have_value("")
        page.reload()
        self.assert_nothing_of_cara(page)
        self.be(page, "")
        self.be(page, "cara")
        expect(self.row(page, 1).locator(".text")).to_have_text("the plan", timeout=DEADLINE)
        expect(page.locator("#message")).to_have_value("unfinished", timeout=DEADLINE)

    def test_drafts_belong_to_their_writers(self) -> None:
        """In a room that is open to all, too; those of guests to the guests of this browser."""
        self.say("eve", "hello")
        page = self.open("zoe")
        page.fill("#message", "a guest's own")
        for name, words in (("cara", "hers"), ("dan", "his")):
            self.be(page, name)
            self.see(page.locator("#rows .text"), "hello")
            expect(page.locator("#message")).to_have_value("", timeout=DEADLINE)
            page.fill("#message", words)
            self.be(page, "")
            expect(page.locator("#message")).to_have_value("a guest's own", timeout=DEADLINE)
        self.be(page, "cara")
        expect(page.locator("#message")).to_have_value("hers", timeout=DEADLINE)
        page.reload()
        expect(page.locator("#message")).to_have_value("hers", timeout=DEADLINE)

    def test_who_is_removed_reads_no_more(self) -> None:
        """Messages, and the reply to one that was begun, are gone with the room; what was written stays to its writer."""
        self.say("eve", "for members")
        page = self.open("cara")
        self.act(page, 1, "reply")
        page.fill("#message", "my answer")
        self.as_("eve").call("room.set", room=self.room, access="secret")
        self.see(page.locator("#room-problem"), "This room is no longer open to you.")
        expect(page.locator("#rows .text")).to_have_count(0)
        self.assertNotIn("for members", page.evaluate(LEFT))
        expect(page.locator("#message")).to_have_value("my answer")
