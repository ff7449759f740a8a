"""The page's modules in Node: what they promise is in the `*.test.mjs` files beside this one."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from netsvc import __version__
from tests.system.required import skip_or_fail

HERE = Path(__file__).parent
WEB = HERE.parent.parent / "netsvc" / "web"
DEADLINE = 60.0


class ModulesTests(SynchronousTestCase):
    """Each test file passes on its own; a failure shows Node's report."""

    def passes_in_node(self, name: str) -> None:
        """Run one file; skip where there is no Node."""
        node = shutil.which("node") or skip_or_fail("node is not installed")
        done = subprocess.run([node, "--test", str(HERE / name)], capture_output=True, text=True, timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_rpc(self) -> None:
        """The connection calls, notices when it is dead, and comes back when and only when it should."""
        self.passes_in_node("rpc.test.mjs")

    def test_connect(self) -> None:
        """Programs connect in one line, as somebody, and serve procedures that survive a lost connection."""
        self.passes_in_node("connect.test.mjs")

    def test_quotes(self) -> None:
        """Messages that others quote are looked up."""
        self.passes_in_node("quotes.test.mjs")

    def test_rooms(self) -> None:
        """A room's window is in order, never doubled, and knows every hole."""
        self.passes_in_node("rooms.test.mjs")

    def test_outbox(self) -> None:
        """What was typed is sent once, in order, whatever happens to connection and page."""
        self.passes_in_node("outbox.test.mjs")

    def test_chat(self) -> None:
        """All of it together against a server in memory, also while everything breaks at random."""
        self.passes_in_node("chat.test.mjs")

    def test_timeline(self) -> None:
        """Days, groups, gaps and the line above what is new are where they belong."""
        self.passes_in_node("timeline.test.mjs")

    def test_markdown(self) -> None:
        """Markup becomes a tree that is safe, bounded and loses nothing; only harmless addresses are links."""
        self.passes_in_node("markdown.test.mjs")

    def test_marks(self) -> None:
        """Reactions, read marks, mentions and who writes."""
        self.passes_in_node("marks.test.mjs")

    def test_persons(self) -> None:
        """Who sits down after somebody else sees nothing of theirs, and finds what is their own."""
        self.passes_in_node("person.test.mjs")

    def test_text(self) -> None:
        """Names, links, lengths and times are read and written as the server and people do."""
        self.passes_in_node("text.test.mjs")

    def test_rights(self) -> None:
        """Nothing is offered in a room that would be refused, and nothing is shut that would not."""
        self.passes_in_node("rights.test.mjs")

    def test_words(self) -> None:
        """Every error is a sentence; what passes by itself is tried again; storage never throws."""
        self.passes_in_node("words.test.mjs")


class FilesTests(SynchronousTestCase):
    """What the Content-Security-Policy and the house rules ask of the files."""

    def test_nothing_inline_nothing_from_elsewhere(self) -> None:
        """The page has no inline script or style and refers to nothing but its own files, all of which are there."""
        page = (WEB / "index.html").read_text()
        for forbidden in ("style=", "<style", "onclick", "onload", "javascript:", "http:", "https:"):
            self.assertNotIn(forbidden, page)
        for part in page.split('="/web/')[1:]:
            self.assertTrue((WEB / part.split('"')[0]).is_file(), part[:30])

    def test_package(self) -> None:
        """The client is a package of its own with netsvc's version, and reaches for nothing outside its folder."""
        package = json.loads((WEB / "client" / "package.json").read_text())
        self.assertEqual(package["version"], __version__)
        for module in (WEB / "client").glob("*.js"):
            for reached in re.findall(r' from "([^"]+)"', module.read_text()):
                self.assertRegex(reached, r"^\./[\w-]+\.js$", module.name)

    def test_no_html_from_strings(self) -> None:
        """No module turns a string into HTML or code."""
        for module in WEB.rglob("*.js"):
            text = module.read_text()
            for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
                self.assertNotIn(forbidden, text, module.name)
