"""What people write on the chat page in Chromium: markup, what must stay text, and help while writing."""

import re

from playwright.sync_api import expect

from tests.system.pages import DEADLINE, PageCase
from tests.system.programs import eventually

TRAPS = [
    "<script>window.caught = 1</script>",
    "<img src=x onerror='window.caught = 1'>",
    '"><svg onload=window.caught=1>',
    "`<script>window.caught=1</script>`",
    "```html\n<img src=x onerror=window.caught=1>\n```",
    "```\"onclick=window.caught=1\nx\n```",
    "> <iframe srcdoc='<script>parent.caught=1</script>'>",
    "- <a href=javascript:window.caught=1>x</a>",
    "[x](javascript:window.caught=1)",
    "[x](JaVaScRiPt:window.caught=1) [x](java\tscript:window.caught=1) [x](&#106;avascript:window.caught=1)",
    "[x](data:text/html,<script>window.caught=1</script>)",
    "data:text/html;base64,PHNjcmlwdD5jYXVnaHQ9MTwvc2NyaXB0Pg==",
    "vbscript:window.caught=1 file:///etc/passwd blob:x",
    '[x](https://a.example/"onmouseover="window.caught=1)',
    'http://a.example/"onmouseover="window.caught=1',
    "[**b](https://a.example/)** _[c_](https://b.example/)",
    "@<script> @\"onload=1 :<img>: &lt;b&gt; &#x3c;script&#x3e;",
    "**" * 2000 + "x",
    "> " * 1000 + "x",
    "- " * 1000 + "x",
    "[" * 3000 + "](https://a.example/)" * 100,
    "![x](https://a.example/x.png)",
]
HAS_BARE = """() => [...document.querySelectorAll('#rows *')].flatMap(node => [...node.attributes])
  .filter(({ name }) => name.startsWith('on') || name === 'style').length"""
ADDRESSES = "() => [...document.querySelectorAll('#rows a')].map(link => [link.protocol, link.rel, link.target].join(' '))"
DEEPEST = """() => Math.max(...[...document.querySelectorAll('#rows .text *')].map(node => {
  let depth = 0;
  for (let at = node; !at.classList.contains('text'); at = at.parentElement) depth += 1;
  return depth;
}))"""


class WritingTests(PageCase):
    """Each message is posted by a program, and looked at on the page."""

    accounts = {"olga": "admin"}  # noqa: RUF012 - declared as a ClassVar where it is inherited from

    def test_markup(self) -> None:
        """Bold, italics, strike, code, lists, quotes, links, mentions and emoji are shown as what they are."""
        self.say("sam", "**b** *i* _j_ ~~s~~ `c` :tada: @nora [wiki](https://wiki.example/x) <https://b.example>")
        self.say("sam", "list:\n1. one\n   - inner\n2. two\n\n> quoted\n\nend")
        self.say("sam", ":rocket: 🎉")
        self.say("sam", "@room and nora@room.example")
        page = self.open()
        text = page.locator("#rows .text")
        self.see(text.nth(0), "b i j s c 🎉 @nora wiki <https://b.example>")
        for tag, words in (("strong", ["b"]), ("em", ["i", "j"]), ("s", ["s"]), ("code", ["c"]), (".mention.me", ["@nora"]), ("a", ["wiki", "https://b.example"])):
            self.see(text.nth(0).locator(tag), words)
        self.see(text.nth(1).locator("ol > li"), [re.compile("^one"), "two"])
        self.see(text.nth(1).locator("ol ul > li"), "inner")
        self.see(text.nth(1).locator("blockquote"), "quoted")
        expect(text.nth(2)).to_have_class(re.compile("jumbo"))
        self.see(text.nth(3), "@room and nora@room.example")
        expect(text.nth(3).locator(".mention")).to_have_count(0)
        expect(page.locator(".message.named")).to_have_count(1)

    def test_a_code_block_can_be_copied(self) -> None:
        """It has its language, keeps every blank, scrolls by keyboard, and a button copies exactly its text."""
        code = 'if x:\n    print("<b>")  # \\t\n'
        self.say("sam", f"```python\n{code}```")
        page = self.open(permissions=["clipboard-read", "clipboard-write"])
        block = page.locator("#rows .code-block")
        self.see(block.locator(".language"), "python")
        self.assertEqual(block.locator("pre").text_content(), code.rstrip("\n"))
        block.get_by_role("button").click()
        self.see(block.get_by_role("button"), "Copied")
        self.assertEqual(page.evaluate("() => navigator.clipboard.readText()"), code.rstrip("\n"))

    def test_what_people_write_cannot_become_a_program(self) -> None:
        """No script, no attribute, no address but http, https and mailto comes of any message; nothing is deep; the policy was not even asked."""
        for trap in TRAPS:
            self.say("sam", trap)
        page = self.open(viewport={"width": 1280, "height": 20_000})
        expect(page.locator("#rows > .message")).to_have_count(len(TRAPS))
        self.assertIsNone(page.evaluate("() => window.caught ?? null"))
        self.assertEqual(page.evaluate(HAS_BARE), 0)
        self.assertEqual(page.locator("#rows :is(script, img, iframe, svg:not(.icon), object, embed, form, input, style, base)").count(), 0)
        self.assertEqual(set(page.evaluate(ADDRESSES)), {"http: noopener noreferrer nofollow _blank", "https: noopener noreferrer nofollow _blank"})
        self.assertLessEqual(page.evaluate(DEEPEST), 16)

    def test_tricks_with_the_direction_of_text(self) -> None:
        """What turns text around stays within its message, is shown in code, and no link can hide where it leads."""
        self.say("sam", "\u202egnp.exe")
        self.say("sam", "```\nif admin\u2066: pass\n```")
        self.say("sam", "[https://bank.example/](https://evil.example/) [\u202ebank.example](https://evil.example/)")
        self.say("sam", "plain", reply_to=1)
        self.as_("olga").call("room.set", room=self.room, topic="\u202etxt.exe")
        page = self.open()
        for place in (".message .quote", ".notice"):
            self.see(page.locator(f"#rows {place} .control"), "U+202E")
        rows = page.locator("#rows .text")
        self.see(rows.nth(0).locator(".control"), "U+202E")
        self.see(rows.nth(1).locator(".control"), "U+2066")
        self.see(rows.nth(2).locator(".host"), [" (evil.example)", " (evil.example)"])
        for place in range(3):
            self.assertEqual(rows.nth(place).locator("p, pre").first.evaluate("node => getComputedStyle(node).unicodeBidi").partition("-")[0], "isolate")
        self.act(page, 1, "reply")
        self.see(page.locator("#composer .about .control"), "U+202E")
        page.click("#open-search")
        page.fill("#query", f"in:{self.room} gnp")
        self.see(page.locator(".results .control"), "U+202E")

    def test_names_and_emoji_are_completed(self) -> None:
        """After @ and : a list of what fits appears; arrow keys choose, Enter and Tab take, Escape leaves the text alone."""
        self.as_("yuki").call("chat.join", room=self.room)
        self.say("zoe", "I was here")
        page = self.open()
        options = page.locator("#completion [role=option]")
        page.locator("#message").press_sequentially("hi @")
        self.see(options, [re.compile("yuki"), re.compile("zoe")])
        page.keyboard.press("ArrowDown")
        expect(page.locator("#message")).to_have_attribute("aria-activedescendant", "completion-1")
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_have_value("hi @zoe ")
        page.keyboard.type(":roc")
        self.see(options.first, re.compile(":rocket:"))
        page.keyboard.press("Tab")
        expect(page.locator("#message")).to_have_value("hi @zoe 🚀 ")
        page.keyboard.type("@y")
        page.keyboard.press("Escape")
        expect(options).to_have_count(0)
        page.keyboard.press("Enter")
        self.see(page.locator("#rows > .message .text").last, "hi @zoe 🚀 @y")

    def test_completion_ends_where_the_cursor_leaves(self) -> None:
        """Who goes elsewhere in the text, or to another room, is no longer offered the rest of the word; a whole name is not made a longer one."""
        for name in ("zoe", "zoey"):
            self.say(name, "I was here")
        page = self.open()
        options = page.locator("#completion [role=option]")
        field = page.locator("#message")
        field.press_sequentially("hi @zo")
        expect(options).to_have_count(2)
        page.keyboard.press("Home")
        expect(options).to_have_count(0)
        page.keyboard.press("End")
        page.keyboard.type("e")
        self.see(options, [re.compile("zoe$"), re.compile("zoey")])
        page.keyboard.press("Shift+Enter")
        expect(field).to_have_value("hi @zoe\n")
        page.keyboard.type("@zoe")
        page.keyboard.press("Enter")
        expect(field).to_have_value("hi @zoe\n@zoe ")
        page.keyboard.type("@zo")
        expect(options).to_have_count(2)
        page.evaluate("() => { history.pushState(null, '', '/chat/elsewhere/'); dispatchEvent(new PopStateEvent('popstate')); }")
        expect(field).to_have_value("")
        expect(options).to_have_count(0)

    def test_lines_from_right_to_left(self) -> None:
        """Lists and quotes have their marks where their lines begin, and so has the field; each line runs in its own direction."""
        self.say("sam", "- \u05d0\u05d7\u05ea\n- two\n\n> \u05e9\u05dc\u05d5\u05dd")
        self.say("sam", "- one\n- \u05e9\u05ea\u05d9\u05d9\u05dd")
        page = self.open()
        rows = page.locator("#rows .text")
        sides = "nodes => nodes.map(node => getComputedStyle(node).direction)"
        expect(rows).to_have_count(2)
        self.assertEqual(rows.nth(0).locator("ul, blockquote").evaluate_all(sides), ["rtl", "rtl"])
        self.assertEqual(rows.nth(0).locator("li").evaluate_all(sides), ["rtl", "rtl"])
        self.assertEqual(rows.nth(1).locator("ul, li").evaluate_all(sides), ["ltr"] * 3)
        page.fill("#message", "\u05e9\u05dc\u05d5\u05dd")
        self.assertEqual(page.locator("#message").evaluate_all(sides), ["rtl"])

    def test_everybody_is_offered_to_moderators(self) -> None:
        """Only they mention everybody: it is drawn as a mention then, and names everybody who reads it."""
        self.say("sam", "hello")
        other = self.open()
        page = self.open("olga")
        options = page.locator("#completion [role=option]")

        def offered() -> bool:
            page.fill("#message", "")
            page.locator("#message").press_sequentially("@ro")
            return options.count() == 1

        eventually(offered, 10.0, "the page to know what olga may do")
        self.see(options, [re.compile("room")])
        page.keyboard.press("Enter")
        page.keyboard.type("lunch")
        page.keyboard.press("Enter")
        self.see(page.locator("#rows .mention"), "@room")
        self.see(other.locator("#rows .named .mention.me"), "@room")

    def test_an_emoji_is_picked(self) -> None:
        """The picker finds by name, is walked by arrow keys, and puts the emoji where the cursor is."""
        page = self.open()
        page.fill("#message", "ab")
        page.evaluate("() => document.getElementById('message').setSelectionRange(1, 1)")
        page.click(".emoji-button")
        page.keyboard.type("rocket")
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_have_value("a🚀b")
        page.click(".emoji-button")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("button", name="thumbs up").first).to_be_focused()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("#message")).to_have_value("a🚀❤️b")
        expect(page.locator("#message")).to_be_focused()

    def test_a_long_message_is_seen_coming(self) -> None:
        """Near the limit the rest is shown; beyond it nothing can be sent, and the text stays."""
        page = self.open()
        page.fill("#message", "x" * 15_800)
        self.see(page.locator("#hint"), re.compile("584 bytes left"))
        page.fill("#message", "x" * 16_400)
        self.see(page.locator("#hint"), re.compile("Too long by 16 bytes"))
        page.press("#message", "Enter")
        expect(page.locator("#message")).to_have_value(re.compile("^x{16400}$"))
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        expect(page.locator("#rows > .message")).to_have_count(0, timeout=DEADLINE)
