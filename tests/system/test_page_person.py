"""The chat page in Chromium when somebody else sits down at it: of the last one nothing is left to be seen."""

import re

from playwright.sync_api import Page, expect

from tests.system.clients import RpcSocket
from tests.system.pages import DEADLINE, PASSWORD, PageCase, user_command

LEFT = "() => document.body.innerText + document.querySelector('#message').value"
KNOWN = """() => [location.href, document.title, document.body.innerText, document.querySelector('#message').placeholder,
  ...Object.entries(localStorage).filter(([key]) => !key.startsWith('user:cara:')).flat()].join(' ')"""


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
        """Neither in what is shown nor where one writes, and not that there is such a room."""
        page.wait_for_selector('#state[data-state="online"]', state="attached")
        left = page.evaluate(LEFT) + page.evaluate(KNOWN)
        for words in ("the plan", "June", "to know", "unfinished", "eve", self.room):
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
        expect(page).to_have_url(re.compile("/chat/lobby/$"))
        self.be(page, "dan")
        self.assert_nothing_of_cara(page)
        expect(page.locator("#message")).to_have_value("")
        page.reload()
        self.assert_nothing_of_cara(page)
        self.be(page, "")
        self.be(page, "cara")
        page.locator("#followed a", has_text=self.room).click()
        expect(self.row(page, 1).locator(".text")).to_have_text("the plan", timeout=DEADLINE)
        expect(page.locator("#message")).to_have_value("unfinished", timeout=DEADLINE)

    def test_everyone_goes_on_where_they_were(self) -> None:
        """Who comes without asking for a room is led to the one they visited last, unless they have begun to write in another one."""
        self.as_("cara").call("room.set", room=self.room, access="secret", create=True)
        page = self.open("cara")
        self.see(page.locator("h1"), re.compile(self.room))
        page.wait_for_function("() => localStorage['user:cara:netsvc.rooms']")
        for _ in range(2):
            page.goto(f"{self.daemon.url}/")
            expect(page).to_have_url(re.compile(f"/chat/{self.room}/$"))
            self.see(page.locator("h1"), re.compile(self.room))
            expect(page.locator("#followed a")).to_have_count(1)
        page.add_init_script("addEventListener('DOMContentLoaded', () => { document.querySelector('#message').value = 'in haste'; })")
        page.goto(f"{self.daemon.url}/")
        expect(page).to_have_url(re.compile("/chat/lobby/$"))

    def test_an_end_of_the_session_hides_the_room(self) -> None:
        """Who is signed out by the server leaves no name of a secret room, and no dialog about it, and is back there after signing in."""
        self.as_("cara").call("room.set", room=self.room, access="secret", topic="what nobody is to know", create=True)
        self.as_("cara").call("room.invite", room=self.room, name="eve")
        page = self.open("cara")
        page.click("#open-info")
        page.locator(".roster button", has_text="eve").click()
        expect(page.locator("#person-dialog")).to_be_visible()
        page.request.post(f"{self.daemon.url}/logout", headers={"Accept": "application/json"})
        expect(page.locator("#account-dialog")).to_be_visible(timeout=DEADLINE)
        expect(page.locator("dialog[open]")).to_have_count(1)
        for words in ("eve", "to know", self.room):
            self.assertNotIn(words, page.evaluate(KNOWN))
        page.fill("#user-name", "cara")
        page.fill("#password", PASSWORD)
        page.press("#password", "Enter")
        self.see(page.locator("h1"), re.compile(self.room))
        expect(page).to_have_url(re.compile(f"/chat/{self.room}/$"))

    def test_the_room_that_a_guest_looks_at_stays(self) -> None:
        """Who follows a link to a secret room, and then signs in, is in that room."""
        self.as_("cara").call("room.set", room=self.room, access="secret", create=True)
        page = self.open("zoe")
        self.see(page.locator("#room-problem"), re.compile("does not exist"))
        self.be(page, "cara")
        self.see(page.locator("#rows .notice"), re.compile("made this room secret"))
        expect(page).to_have_url(re.compile(f"/chat/{self.room}/$"))

    def test_who_had_the_name_before(self) -> None:
        """What a removed user has said is not offered to be changed to who has the name now; what is one's own is."""
        self.addCleanup(user_command, self.daemon, "remove", "fay")
        for text in ("the former one's", "mine"):
            user_command(self.daemon, "add", "fay", "--password-stdin", line=PASSWORD)
            with RpcSocket(self.daemon.websocket_url) as fay:
                fay.call("auth.login", name="fay", password=PASSWORD)
                fay.call("chat.post", room=self.room, text=text)
            if text != "mine":
                user_command(self.daemon, "remove", "fay")
        page = self.open("zoe")
        self.be(page, "fay")
        for seq, offered in ((1, []), (2, ["Edit", "Delete"])):
            self.row(page, seq).locator(".bubble").hover()
            expect(self.row(page, seq).locator(".tools .link")).to_be_visible(timeout=DEADLINE)
            names = self.row(page, seq).locator(".tools button").evaluate_all("all => all.map(({ title }) => title)")
            self.assertEqual([name for name in names if name in ("Edit", "Delete")], offered)

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
        self.as_("eve").call("room.set", room=self.room, topic="our topic")
        page.click("#open-info")
        self.see(page.locator(".roster li"), re.compile("eve"))
        self.as_("eve").call("room.set", room=self.room, access="secret")
        self.see(page.locator("#room-problem"), "This room is no longer open to you.")
        expect(page.locator("#rows .text")).to_have_count(0)
        for words in ("for members", "our topic"):
            self.assertNotIn(words, page.evaluate(LEFT))
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(page.locator("#message")).to_have_value("my answer")
