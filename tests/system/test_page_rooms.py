"""Rooms and people on the chat page in Chromium: what is unread, who writes, who may, and what can be found."""

import re

from playwright.sync_api import Page, expect

from tests.system.pages import DEADLINE, PageCase
from tests.system.programs import eventually

# Resolves when the page has drawn nothing new for a second.
REST = """() => new Promise((resolve) => {
  const { requestAnimationFrame } = window;
  let timer = setTimeout(resolve, 1000);
  window.requestAnimationFrame = (draw) => {
    clearTimeout(timer);
    timer = setTimeout(resolve, 1000);
    return requestAnimationFrame(draw);
  };
})"""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


class RoomsTests(PageCase):
    """People with accounts and guests, in rooms of their own."""

    accounts = {"nora": "member", "yuki": "member", "olga": "member"}  # noqa: RUF012 - declared as a ClassVar where it is inherited from

    def test_unread_and_mentions(self) -> None:
        """Rooms that are not looked at count what is new, and say where one is named; looking ends that."""
        side = f"{self.room}-side"
        page = self.open("ann", stored={"netsvc.rooms": f'["{side}"]'})
        other = page.locator("#followed li", has_text=side)
        expect(other).to_be_visible(timeout=DEADLINE)
        for text in ("one", "two @ann", "three @anna"):
            self.as_("sam").call("chat.post", room=side, text=text)
        self.see(other.locator(".badge").last, "3 unread")
        self.see(other.locator(".badge.at"), re.compile("you are mentioned"))
        expect(page).to_have_title(re.compile(r"^\(3\) "))
        other.locator("a").click()
        self.see(page.locator("#rows > .unread"), "New messages")
        expect(other.locator(".badge")).to_have_count(0)
        expect(page).to_have_title(re.compile("^#"))

    def read_by(self, name: str) -> int:
        """How far somebody has read the room, as the server knows."""
        return int(next((each["read"] for each in self.as_(name).call("chat.unread")["rooms"] if each["room"] == self.room), 0))

    def test_what_was_read_elsewhere_is_not_new(self) -> None:
        """Who has an account finds on every device what is left to read, also in rooms that this device does not know."""
        self.say("nora", "mine")
        first = self.open("nora")
        self.see(first.locator("#rows .text"), "mine")
        for text in ("one @nora", "two"):
            self.say("sam", text)
        self.see(first.locator("#rows .text"), ["mine", "one @nora", "two"])
        eventually(lambda: self.read_by("nora") == 3, 10.0, "the server to be told")
        first.context.close()
        self.say("sam", "three")
        second = self.open("nora", room=f"{self.room}-other")
        link = second.locator("#others li", has=second.locator(f'[data-room="{self.room}"]'))
        self.see(link.locator(".badge"), "1 unread")
        link.locator("a").click()
        expect(second.locator("#rows > .unread + .message .text")).to_have_text("three", timeout=DEADLINE)

    def test_what_was_read_in_another_tab_is_not_new(self) -> None:
        """Tabs of one browser count together, also while nothing else happens."""
        self.say("sam", "one")
        page = self.open("ann", room=f"{self.room}-other", stored={"netsvc.rooms": f'["{self.room}"]'})
        link = page.locator("#followed li", has=page.locator(f'[data-room="{self.room}"]'))
        expect(link).to_be_visible(timeout=DEADLINE)
        tab = page.context.new_page()
        tab.goto(f"{self.daemon.url}/web/icon.svg")
        self.say("sam", "two")
        self.see(link.locator(".badge"), "1 unread")
        page.evaluate(REST)
        head = self.as_("sam").call("chat.history", room=self.room, limit=1)["cursor"]
        tab.evaluate("([key, cursor]) => localStorage.setItem(key, cursor)", [f"netsvc.seen.{self.room}", head])
        expect(link.locator(".badge")).to_have_count(0, timeout=DEADLINE)
        expect(page).to_have_title(re.compile("^#"), timeout=DEADLINE)

    def test_what_is_new_in_rooms_that_were_left(self) -> None:
        """Where one has read before, what is new is counted without a new connection, and ends when it is read on another device."""
        self.say("nora", "mine")
        self.as_("nora").call("chat.mark_read", room=self.room, seq=1)
        page = self.open("nora", room=f"{self.room}-other", **PHONE)
        link = page.locator("#others li", has=page.locator(f'[data-room="{self.room}"]'))
        for badges, news in ((2, lambda: self.say("sam", "one @nora")), (0, lambda: self.as_("nora").call("chat.mark_read", room=self.room, seq=2))):
            news()
            page.tap("#open-rooms")
            expect(link.locator(".badge")).to_have_count(badges, timeout=DEADLINE)
            page.tap("#close-rooms")

    def test_many_rooms(self) -> None:
        """All rooms of the server are found, beyond the first page of their list, by a part of their names."""
        person = self.as_("sam")
        calls = [person.send("chat.post", room=f"{self.room}-{number:03}", text="x") for number in range(230)]
        person.answer(calls[-1], 30.0)
        page = self.open("ann")
        expect(page.locator("#filter")).to_be_visible(timeout=DEADLINE)
        self.see(page.locator("#others-rest"), re.compile("others: type part of the name"))
        page.fill("#filter", f"{self.room}-229")
        self.see(page.locator("#others .room-name"), f"{self.room}-229")
        expect(page.locator("#others .room-name")).to_have_attribute("title", f"{self.room}-229")  # for names that are cut short
        page.fill("#filter", "no such room")
        self.see(page.locator("#others-rest"), "No room has this in its name.")

    def test_who_is_writing(self) -> None:
        """It is shown while somebody writes, and gone with their message."""
        page = self.open("ann")
        other = self.open("yuki")
        other.locator("#message").press_sequentially("hel")
        self.see(page.locator("#typing .who"), "yuki is writing")
        expect(other.locator("#typing")).to_be_hidden()
        other.keyboard.press("Enter")
        self.see(page.locator("#rows .text"), "hel")
        expect(page.locator("#typing")).to_be_hidden()

    def test_search(self) -> None:
        """What is found is shown with its words marked; a result leads to its message, also in another room; a bad query is said."""
        self.say("sam", "the quick brown fox")
        self.fill(200)
        self.as_("yuki").call("chat.post", room=f"{self.room}-b", text="a brown bear")
        page = self.open("ann")
        page.click("#open-search")
        page.keyboard.type("brown")
        page.click("[data-hint='from:']")
        page.keyboard.type("sam")
        self.see(page.locator(".results .words"), "the quick brown fox")
        self.see(page.locator(".results mark"), "brown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(self.row(page, 1)).to_be_in_viewport(timeout=DEADLINE)
        expect(page).to_have_url(re.compile("#1$"))
        page.click("#open-search")
        page.fill("#query", f"brown in:{self.room}-b")
        self.see(page.locator(".results .words"), "a brown bear")
        page.locator(".results button").click()
        expect(page).to_have_url(re.compile(f"/{self.room}-b/#1$"))
        self.see(page.locator("#rows .text"), "a brown bear")
        page.click("#open-search")
        page.fill("#query", "nothing-of-this-kind")
        self.see(page.locator("#search-status"), "Nothing found.")
        page.fill("#query", "before:never")
        expect(page.locator("#query")).to_have_attribute("aria-invalid", "true", timeout=DEADLINE)

    def test_more_is_found(self) -> None:
        """The next page comes once, however often it is asked for, with the focus on its first message; if it does not come, what is there stays."""
        self.fill(45, text="needle {}")
        page = self.open("ann")
        page.click("#open-search")
        page.fill("#query", f"needle in:{self.room}")
        results = page.locator(".results button")
        expect(results).to_have_count(20, timeout=DEADLINE)
        more = page.locator("#search-dialog .more")
        self.hold(page, "chat.search")
        more.click()
        self.let_go(page, {"code": -32008, "message": "overloaded"})
        self.see(page.locator("#search-status"), "The server is busy.")
        expect(results).to_have_count(20)
        expect(page.locator("#query")).to_have_attribute("aria-invalid", "false")
        self.hold(page, "chat.search")
        more.dblclick()
        self.assertEqual(len(self.let_go(page)), 1)
        expect(results).to_have_count(40, timeout=DEADLINE)
        expect(results.nth(20)).to_be_focused()
        more.press("Enter")
        expect(results).to_have_count(45, timeout=DEADLINE)
        expect(results.nth(40)).to_be_focused()
        expect(more).to_be_hidden()

    def test_what_was_found_is_for_who_has_asked(self) -> None:
        """Who takes another identity finds neither the question nor what was found."""
        self.say("nora", "needle")
        page = self.open("nora")
        page.click("#open-search")
        page.fill("#query", f"needle in:{self.room}")
        expect(page.locator(".results button")).to_have_count(1, timeout=DEADLINE)
        page.keyboard.press("Escape")
        page.click("#account")
        page.get_by_role("button", name="Sign out").click()
        self.see(page.locator("#guest-problem"), re.compile("belongs to a user"))
        page.keyboard.press("Escape")
        page.click("#open-search")
        expect(page.locator("#query")).to_have_value("")
        expect(page.locator(".results button")).to_have_count(0)

    def ask_for_a_room(self, page: Page, name: str, access: str = "secret") -> None:
        """Fill in the dialog for a room, and send it."""
        page.click("#new-room")
        page.fill("#room-name", name)
        page.select_option("#room-access", access)
        page.press("#room-name", "Enter")

    def test_a_room_that_is_never_public(self) -> None:
        """Who has an account says whom a new room is for; one that cannot be read is only said to be taken. Guests are not asked."""
        page = self.open("nora")
        self.ask_for_a_room(page, f"{self.room}-secret")
        self.see(page.locator("#room-explains"), "Members only; nobody else knows the room exists.")
        self.see(page.locator("#room-dialog .lead"), "A new room starts at once, and you own it.")
        expect(page).to_have_url(re.compile(f"/{self.room}-secret/$"))
        self.write(page, "hello myself")
        self.see(page.locator("#rows .text"), "hello myself")
        hidden = {"room": f"{self.room}-secret", "access": "secret", "may": "own"}
        info = self.as_("nora").call("room.info", room=f"{self.room}-secret")
        self.assertEqual({key: info[key] for key in hidden}, hidden)
        other = self.open("yuki")
        self.ask_for_a_room(other, f"{self.room}-secret", "members")
        self.see(other.locator("#room-name-problem"), "This name is taken.")
        guest = self.open("ann")
        guest.click("#new-room")
        expect(guest.locator("#room-access")).to_be_hidden()
        self.see(guest.locator("#room-dialog .lead"), "A new room starts with its first message.")

    def test_a_room_that_was_there(self) -> None:
        """Who wants to start a room that is there goes to it, and is told that it is for whom it was."""
        self.say("sam", "everybody's")
        page = self.open("nora", room=f"{self.room}-other")
        self.ask_for_a_room(page, self.room)
        expect(page).to_have_url(re.compile(f"/{self.room}/$"))
        self.see(page.locator("#toast"), f"#{self.room} already exists; its access has not changed.")
        self.see(page.locator("#rows .text"), "everybody's")
        self.assertEqual(self.as_("sam").call("room.info", room=self.room)["access"], "public")

    def test_a_room_that_is_no_longer_wanted(self) -> None:
        """Who closes the dialog before the answer stays where they are; who asks once more asks for the same thing."""
        page = self.open("nora")
        self.hold(page, "room.set")
        self.ask_for_a_room(page, f"{self.room}-new")
        page.keyboard.press("Escape")
        [given_up] = self.let_go(page)
        eventually(lambda: f"{self.room}-new" in {each["name"] for each in self.as_("nora").call("chat.rooms")["rooms"]}, 10.0, "the room")
        self.assertEqual(page.evaluate("() => location.pathname"), f"/chat/{self.room}/")
        self.hold(page, "room.set")
        self.ask_for_a_room(page, f"{self.room}-new")
        [again] = self.let_go(page)
        self.assertEqual(again["key"], given_up["key"])
        expect(page).to_have_url(re.compile(f"/{self.room}-new/$"))
        expect(page.locator("#toast")).to_be_hidden()

    def test_whom_rooms_are_for(self) -> None:
        """The sign before a room's name tells rooms for members and secret ones from others, in the list and above the log, also for who does not see it."""
        self.say("nora", "everybody's")
        words = {"members": "members only", "secret": "secret"}
        for access in words:
            self.as_("nora").call("room.set", room=f"{self.room}-{access}", access=access, create=True)
        page = self.open("nora")
        self.see(page.locator("h1"), self.room)
        page.locator("#filter").evaluate("(field, name) => { field.value = name; field.dispatchEvent(new Event('input')); }", self.room)
        for access, label in words.items():
            link = page.locator(f'.room-list [data-room="{self.room}-{access}"]')
            expect(link).to_have_accessible_name(re.compile(f"{self.room}-{access}\\s?, {label}"), timeout=DEADLINE)
            expect(link.locator(".sign")).to_have_attribute("title", label)
            link.click()
            self.see(page.locator("h1"), f"{self.room}-{access}, {label}")
            self.see(page.locator("#followed [aria-current]"), f"{self.room}-{access}, {label}")
        self.as_("nora").call("room.set", room=f"{self.room}-secret", access="public")
        self.see(page.locator("h1"), f"{self.room}-secret")

    def test_a_room_is_run(self) -> None:
        """Its owner gives it a topic, makes moderators and members, and lets nobody else in; each of it is told in the log."""
        self.say("nora", "my room")
        page = self.open("nora")
        other = self.open("yuki")
        page.click("#open-info")
        page.fill("#info-topic", "plans for **June**: see https://example.org/plan.")
        page.press("#info-topic", "Enter")
        self.see(other.locator("#topic"), "plans for **June**: see https://example.org/plan.")
        expect(other.locator("#topic a")).to_have_attribute("href", "https://example.org/plan")
        other.click("#open-info")
        self.see(other.locator(".topic-text a"), "https://example.org/plan")
        other.keyboard.press("Escape")
        page.fill("#invite-name", "nobody-there")
        page.press("#invite-name", "Enter")
        self.see(page.locator(".invite-form .problem"), re.compile("nobody-there|does not exist"))
        page.fill("#invite-name", "yuki")
        page.press("#invite-name", "Enter")
        self.see(page.locator(".roster li"), [re.compile("nora.*owner"), re.compile("yuki.*member")])
        page.locator(".roster button", has_text="yuki").click()
        page.get_by_role("button", name="Moderator").click()
        self.see(page.locator(".roster li").last, re.compile("yuki.*moderator"))
        page.select_option("#info-access", "secret")
        page.get_by_role("button", name="Save").click()
        self.see(other.locator("#rows > .notice").last, re.compile("made this room secret"))
        stranger = self.open("olga")
        self.see(stranger.locator("#room-problem"), re.compile("does not exist"))
        expect(stranger.locator("#rows .text")).to_have_count(0)
        other.click("#open-info")
        expect(other.locator("#info-access")).to_be_disabled()
        expect(other.locator("#info-topic")).to_be_editable()

    def test_each_room_has_its_own_people(self) -> None:
        """While it is asked who has a place in a room, nobody of the room that was looked at before is shown."""
        self.say("nora", "my room")
        self.as_("nora").call("room.invite", room=self.room, name="yuki")
        self.as_("nora").call("chat.post", room=f"{self.room}-other", text="mine, too")
        page = self.open("nora", stored={"user:nora:netsvc.rooms": f'["{self.room}-other"]'})
        page.click("#open-info")
        self.see(page.locator(".roster .person"), ["nora", "yuki"])
        page.keyboard.press("Escape")
        page.locator("#followed a", has_text=f"{self.room}-other").click()
        self.hold(page, "room.members")
        page.click("#open-info")
        self.see(page.locator("#info-title"), f"#{self.room}-other")
        expect(page.locator(".roster .person")).to_have_count(0)
        self.let_go(page)
        self.see(page.locator(".roster .person"), "nora")

    def test_somebody_is_sent_out(self) -> None:
        """Muted, removed and banned people are told why they cannot go on; moderators delete what others wrote."""
        seq = self.say("nora", "my room")
        self.say("ann", "spam")
        page = self.open("nora")
        guest = self.open("ann")
        self.see(page.locator("#names .person"), [re.compile("nora"), re.compile("ann")])
        self.act(page, seq + 1, "delete")
        page.get_by_role("button", name="Delete", exact=True).last.click()
        self.see(self.row(guest, seq + 1).locator(".text"), "This message was deleted.")
        page.locator("#names button", has_text="ann").click()
        page.fill("#person-reason", "spam")
        page.get_by_role("button", name="Mute", exact=True).click()
        self.see(guest.locator("#rows > .notice").last, re.compile(r"nora muted ann until (tomorrow, )?\d\d:\d\d.*: spam · \d"))
        self.see(guest.locator("#locked"), re.compile(r"You are muted here until (tomorrow, )?\d\d:\d\d.*\."))
        page.locator("#names button", has_text="ann").click()
        page.get_by_role("button", name="Ban", exact=True).click()
        self.see(guest.locator("#room-problem"), "You are banned from this room.")
        self.see(guest.locator("#locked"), "You cannot write here.")
        guest.reload()
        self.see(guest.locator("#room-problem"), re.compile("banned"))
        expect(guest.locator("#message")).to_be_disabled()

    def test_nothing_is_offered_that_would_be_refused(self) -> None:
        """Who is muted can take back what they have said, and nothing else, until they are let write again; who may not read a room cannot write in it."""
        first = self.say("nora", "my room")
        own = self.say("yuki", "well")
        self.as_("nora").call("chat.react", room=self.room, seq=own, emoji="👍", on=True)
        page = self.open("yuki")
        page.focus("#message")
        self.as_("nora").call("room.mute", room=self.room, name="yuki")
        self.see(page.locator("#locked"), "You are muted here.")
        expect(page.locator("#message")).to_be_disabled()
        expect(page.locator(".emoji-button")).to_be_disabled()
        expect(page.locator("#log")).to_be_focused()
        expect(self.row(page, own).locator(".chip")).to_be_disabled()
        for seq, offered in ((first, ["Copy link"]), (own, ["Copy link", "Delete"])):
            self.row(page, seq).locator(".bubble").hover()
            expect(self.row(page, seq).locator(".tools button")).to_have_count(len(offered), timeout=DEADLINE)
            names = self.row(page, seq).locator(".tools button").evaluate_all("all => all.map(({ title }) => title)")
            self.assertEqual(names, offered)
        self.as_("nora").call("room.unmute", room=self.room, name="yuki")
        expect(page.locator("#locked")).to_be_hidden(timeout=DEADLINE)
        self.write(page, "thanks")
        self.see(page.locator("#rows .text").last, "thanks")
        self.as_("nora").call("room.set", room=f"{self.room}-members", access="members", create=True)
        stranger = self.open("ann", room=f"{self.room}-members")
        self.see(stranger.locator("#room-problem"), f"{self.room}-members is for its members: ask one of its owners or moderators for an invitation.")
        self.see(stranger.locator("#locked"), "You cannot write here.")
        expect(stranger.locator("#message")).to_be_disabled()

    def test_a_mute_ends(self) -> None:
        """Nobody tells when a mute ends by itself: the page asks, and lets write again."""
        self.say("nora", "my room")
        page = self.open("yuki")
        self.as_("nora").call("room.mute", room=self.room, name="yuki", duration=1)
        expect(page.locator("#message")).to_be_disabled(timeout=DEADLINE)
        expect(page.locator("#message")).to_be_enabled(timeout=DEADLINE)
        expect(page.locator("#locked")).to_be_hidden()
