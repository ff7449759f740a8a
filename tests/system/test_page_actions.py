"""What can be done with a message on the chat page in Chromium: answer, correct, delete, react, link."""

import re

from playwright.sync_api import Page, expect

from tests.system.pages import DEADLINE, PageCase


class ActionTests(PageCase):
    """By mouse, by keyboard and by touch; what others do is seen at once, and after a reload."""

    accounts = {"olga": "admin"}  # noqa: RUF012 - declared as a ClassVar where it is inherited from

    def test_reply(self) -> None:
        """An answer quotes its message, in one line that leads there; without the message it says so."""
        first = self.say("sam", "where is the **key**?")
        self.fill(300)
        page = self.open(hash=f"#{first}")
        expect(self.row(page, first)).to_be_in_viewport(timeout=DEADLINE)
        self.act(page, first, "reply")
        self.see(page.locator("#composer .about p"), re.compile(r"Replying to sam\s+where is the key\?"))
        expect(page.locator("#message")).to_be_focused()
        self.write(page, "under the mat")
        quote = page.locator("#rows > .message.own .quote")
        self.see(quote, re.compile(r"sam\s+where is the key\?"))
        expect(page.locator("#composer .about")).to_be_hidden()
        quote.click()
        expect(self.row(page, first)).to_be_in_viewport(timeout=DEADLINE)
        page.goto(f"{self.daemon.url}/chat/{self.room}/")
        # Not loaded any more: it is looked up for the quote alone.
        self.see(page.locator("#rows > .message.own .quote"), re.compile(r"sam\s+where is the key\?"))
        page.reload()
        page.get_by_role("button", name="In reply to").focus()
        page.keyboard.press("Enter")
        expect(self.row(page, first)).to_be_focused(timeout=DEADLINE)

    def test_an_answer_is_not_lost_with_the_connection(self) -> None:
        """What a message answers is kept with it while it waits."""
        self.tolerated = re.compile("WebSocket connection|ERR_CONNECTION_REFUSED|ERR_INTERNET_DISCONNECTED")
        seq = self.say("sam", "still there?")
        page = self.open()
        page.context.set_offline(True)
        page.evaluate("() => dispatchEvent(new Event('offline'))")
        self.act(page, seq, "reply")
        self.write(page, "yes")
        page.context.set_offline(False)
        self.see(page.locator("#rows > .message:not(.pending) .quote"), re.compile("still there"))

    def test_edit(self) -> None:
        """Arrow Up takes the last message of one's own; Escape leaves it; everybody sees the new text, who comes later too."""
        page = self.open()
        self.write(page, "teh answer")
        seq = self.say("sam", "what?")
        self.see(page.locator("#rows > .message .text"), ["teh answer", "what?"])
        page.press("#message", "ArrowUp")
        self.see(page.locator("#composer .about .what"), "Editing your message")
        expect(page.locator("#message")).to_have_value("teh answer")
        page.keyboard.press("Escape")
        expect(page.locator("#message")).to_have_value("")
        self.act(page, seq - 1, "edit")
        page.fill("#message", "the **answer**")
        page.press("#message", "Enter")
        own = self.row(page, seq - 1)
        self.see(own.locator(".text"), "the answer")
        self.see(own.locator(".edited"), "edited")
        expect(page.locator("#message")).to_have_value("")
        self.row(page, seq).locator(".bubble").hover()
        expect(self.row(page, seq).locator(".tools .reply")).to_be_visible()
        expect(self.row(page, seq).locator(".tools .edit")).to_have_count(0)
        other = self.open("yuki")
        self.see(self.row(other, seq - 1).locator(".bubble"), re.compile("the answer.*edited"))

    def test_editing_ends_with_the_message(self) -> None:
        """A message that is deleted elsewhere while it is corrected here has nothing left to be corrected."""
        page = self.open()
        self.write(page, "first")
        own = page.locator("#rows > .message.own:not(.pending)")
        self.see(own.locator(".text"), "first")
        seq = int(own.get_attribute("data-seq") or 0)
        page.press("#message", "ArrowUp")
        page.fill("#message", "second")
        self.as_("nora").call("chat.delete", room=self.room, seq=seq)
        expect(page.locator("#composer .about")).to_be_hidden(timeout=DEADLINE)
        self.see(page.locator("#toast"), "The message that you were editing was deleted.")
        expect(page.locator("#message")).to_have_value("second")

    def test_an_answer_to_nothing_stays_a_message(self) -> None:
        """A message that is deleted while it is answered is no longer answered, which is said; text and focus stay where they are."""
        seq = self.say("sam", "question")
        page = self.open()
        self.act(page, seq, "reply")
        page.keyboard.type("answer")
        page.focus("#log")
        self.as_("sam").call("chat.delete", room=self.room, seq=seq)
        self.see(page.locator("#toast"), "The message that you were answering was deleted.")
        expect(page.locator("#composer .about")).to_be_hidden()
        expect(page.locator("#message")).to_have_value("answer")
        expect(page.locator("#log")).to_be_focused()

    def begin_edit(self, page: Page, text: str) -> None:
        """Begin to correct the last message of one's own."""
        expect(page.locator("#rows > .message.own.pending")).to_have_count(0, timeout=DEADLINE)
        page.press("#message", "ArrowUp")
        page.fill("#message", text)

    def test_what_is_typed_while_a_correction_is_on_its_way(self) -> None:
        """It is the next message: neither lost with the correction nor a part of it."""
        page = self.open()
        self.write(page, "frist")
        self.see(page.locator("#rows > .message:not(.pending) .text"), "frist")
        self.begin_edit(page, "first")
        self.hold(page, "chat.edit")
        page.press("#message", "Enter")
        page.keyboard.type("second")
        self.let_go(page)
        self.see(page.locator("#rows > .message .text"), "first")
        expect(page.locator("#message")).to_have_value("second")
        page.press("#message", "Enter")
        self.see(page.locator("#rows > .message .text"), ["first", "second"])

    def test_a_correction_that_fails_is_kept(self) -> None:
        """It is in the field again, with the reason; if something else is being written by then, after that."""
        page = self.open()
        self.write(page, "frist")
        self.see(page.locator("#rows > .message:not(.pending) .text"), "frist")
        self.begin_edit(page, "first")
        busy = {"code": -32008, "message": "overloaded", "data": {}}
        for typed in ("", "second"):
            self.hold(page, "chat.edit")
            page.press("#message", "Enter")
            page.keyboard.type(typed)
            self.assertEqual([call["params"]["text"] for call in self.let_go(page, busy)], ["first"])
            if typed:
                self.see(page.locator("#toast"), re.compile("not saved.*The server is busy"))
                expect(page.locator("#message")).to_have_value(typed)
                page.press("#message", "Enter")
            self.see(page.locator("#composer .about .what"), "Editing your message")
            self.see(page.locator("#hint"), "The server is busy.")
            expect(page.locator("#message")).to_have_value("first")
        page.press("#message", "Enter")
        self.see(page.locator("#rows > .message .text"), ["first", "second"])
        expect(page.locator("#message")).to_have_value("")

    def test_what_was_begun_waits_in_its_room(self) -> None:
        """Who looks into another room finds their answer an answer, and their correction as they left it; so does who does both at once."""
        seq = self.say("sam", "question")
        page = self.open()
        self.write(page, "mine")
        self.see(page.locator("#rows > .message:not(.pending) .text"), ["question", "mine"])
        self.act(page, seq, "reply")
        page.keyboard.type("my answer")
        self.act(page, seq + 1, "edit")
        page.fill("#message", "mine, corrected")
        page.evaluate("() => document.querySelector('#followed a').click()")
        page.click("#new-room")
        page.fill("#room-name", f"{self.room[:50]}-2")
        page.press("#room-name", "Enter")
        expect(page.locator("#composer .about")).to_be_hidden()
        expect(page.locator("#message")).to_have_value("")
        page.go_back()
        expect(page.locator("#message")).to_have_value("mine, corrected")
        page.press("#message", "Enter")
        self.see(page.locator("#composer .about .words"), "question")
        expect(page.locator("#message")).to_have_value("my answer")
        page.press("#message", "Enter")
        self.see(page.locator("#rows > .message .quote .words"), "question")
        self.see(page.locator("#rows > .message .text"), ["question", "mine, corrected", "my answer"])

    def test_delete(self) -> None:
        """It is asked for first; the text goes for everybody, and quotes of it too."""
        seq = self.say("sam", "my password is hunter2")
        self.say("yuki", "oh", reply_to=seq)
        page = self.open("nora")
        self.see(page.locator("#rows .quote"), re.compile("hunter2"))
        self.row(page, seq).locator(".bubble").hover()
        expect(self.row(page, seq).locator(".tools .reply")).to_be_visible()
        expect(self.row(page, seq).locator(".tools .delete")).to_have_count(0)
        mine = self.open("sam")
        self.act(mine, seq, "delete")
        mine.get_by_role("button", name="Cancel").click()
        self.act(mine, seq, "delete")
        mine.get_by_role("button", name="Delete", exact=True).last.click()
        for each in (mine, page):
            self.see(self.row(each, seq).locator(".text"), "This message was deleted.")
            self.see(each.locator("#rows .quote"), re.compile("deleted"))
            self.assertNotIn("hunter2", each.content())

    def test_react(self) -> None:
        """One's own reaction is marked and taken back by a click; all are counted, named, live and after a reload."""
        seq = self.say("sam", "deploy?")
        self.as_("yuki").call("chat.react", room=self.room, seq=seq, emoji="👍", on=True)
        page = self.open()
        chip = self.row(page, seq).locator(".chip")
        self.see(chip, "👍1")
        chip.click()
        self.see(chip, "👍2")
        expect(chip).to_have_attribute("aria-pressed", "true")
        expect(chip).to_have_attribute("title", "thumbs up: you and yuki")
        self.act(page, seq, "pick")
        page.keyboard.type("rocket")
        page.keyboard.press("Enter")
        self.see(chip, ["👍2", "🚀1"])
        page.reload()
        self.see(chip, ["👍2", "🚀1"])
        chip.first.click()
        self.see(chip, ["👍1", "🚀1"])
        self.as_("yuki").call("chat.react", room=self.room, seq=seq, emoji="👍", on=False)
        self.see(chip, ["🚀1"])

    def test_reactions_to_what_is_not_loaded(self) -> None:
        """Events about older messages come first when one scrolls back; they are there when the messages are."""
        seq = self.say("sam", "old news")
        self.fill(300)
        page = self.open()
        self.as_("yuki").call("chat.react", room=self.room, seq=seq, emoji="👀", on=True)
        self.as_("sam").call("chat.edit", room=self.room, seq=seq, text="old news, corrected")
        page.wait_for_function("() => { document.getElementById('log').scrollTop = 0; return document.querySelector('#rows > .start') !== null; }", polling=30)
        self.see(self.row(page, seq).locator(".chip"), "👀1")
        self.see(self.row(page, seq).locator(".text"), "old news, corrected")

    def test_by_keyboard(self) -> None:
        """Arrow keys choose a message, letters act on it, Enter leads into its tools, Escape back to the message field."""
        first = self.say("sam", "one")
        last = self.say("sam", "two")
        page = self.open()
        expect(self.row(page, last)).to_be_visible(timeout=DEADLINE)
        page.focus("#log")
        page.keyboard.press("ArrowUp")
        expect(self.row(page, last)).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(self.row(page, first)).to_be_focused()
        page.keyboard.press("Enter")
        expect(self.row(page, first).locator(".tools .quick").first).to_be_focused()
        page.keyboard.press("Enter")
        self.see(self.row(page, first).locator(".chip"), "👍1")
        expect(self.row(page, first).locator(".tools .quick").first).to_be_focused()
        page.keyboard.press("Escape")
        expect(self.row(page, first)).to_be_focused()
        page.keyboard.press("r")
        expect(page.locator("#message")).to_be_focused()
        page.keyboard.press("Escape")
        page.focus("#log")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#message")).to_be_focused()

    def test_the_focus_comes_back_from_a_dialog(self) -> None:
        """Who leaves the emoji again is where they were, wherever the mouse lies."""
        seq = self.say("sam", "one")
        page = self.open()
        self.row(page, seq).locator(".bubble").hover()
        self.row(page, seq).focus()
        page.keyboard.press("Enter")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("#emoji-dialog")).to_be_visible()
        page.mouse.move(5, 5)
        page.keyboard.press("Escape")
        expect(self.row(page, seq).locator(".tools .pick")).to_be_focused()

    def test_dialogs_end_with_their_room(self) -> None:
        """Who goes back to another room reacts to nothing there with what was opened here; the search does not open over another dialog."""
        elsewhere = f"{self.room}-2"
        self.as_("sam").call("chat.post", room=elsewhere, text="elsewhere")
        seq = self.say("sam", "here")
        page = self.open(room=elsewhere)
        page.click("#new-room")
        page.fill("#room-name", self.room)
        page.press("#room-name", "Enter")
        self.see(self.row(page, seq).locator(".text"), "here")
        self.act(page, seq, "pick")
        page.keyboard.press("Control+k")
        expect(page.locator("dialog[open]")).to_have_attribute("id", "emoji-dialog")
        page.go_back()
        self.see(self.row(page, seq).locator(".text"), "elsewhere")
        expect(page.locator("dialog[open]")).to_have_count(0)

    def test_everything_is_in_reach(self) -> None:
        """On every screen all that can be done with a message is in view, at long ones and short ones, and nothing goes sideways."""
        rows = [self.say(name, text) for name, text in (("sam", "x\n" * 20), ("sam", "long " * 100), ("sam", "ok"), ("olga", "ok"), ("olga", "long " * 100))]
        for width, touch in ((320, True), (390, True), (800, False), (1121, False), (1280, False), (1920, False)):
            page = self.open("olga", viewport={"width": width, "height": 900}, has_touch=touch, is_mobile=touch)
            for seq in rows[1:]:
                self.row(page, seq).focus()
                expect(self.row(page, seq).locator(".tools")).to_be_in_viewport(ratio=0.999, timeout=DEADLINE)
            self.assertEqual(page.evaluate("() => { const log = document.getElementById('log'); return log.scrollWidth - log.clientWidth; }"), 0)
            page.context.close()

    def test_by_touch(self) -> None:
        """A tap on a message brings up what can be done with it, until one does something else."""
        seq = self.say("sam", "tap me")
        page = self.open(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
        self.row(page, seq).locator(".bubble").tap()
        tools = self.row(page, seq).locator(".tools")
        expect(tools).to_be_in_viewport(ratio=1, timeout=DEADLINE)
        tools.get_by_role("button", name="Reply").tap()
        self.see(page.locator("#composer .about .whom"), "sam")
        expect(tools).to_have_count(0)  # it would cover the message above while one writes

    def test_copy_a_link(self) -> None:
        """The link of a message leads whoever follows it to that message."""
        seq = self.say("sam", "look here")
        self.fill(200)
        page = self.open(hash=f"#{seq}", permissions=["clipboard-read", "clipboard-write"])
        expect(self.row(page, seq)).to_be_in_viewport(timeout=DEADLINE)
        self.act(page, seq, "link")
        self.see(page.locator("#toast"), "Link copied.")
        link = page.evaluate("() => navigator.clipboard.readText()")
        self.assertEqual(link, f"{self.daemon.url}/chat/{self.room}/#{seq}")
