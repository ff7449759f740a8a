"""What is shipped beside the code says what the code does."""

import configparser
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from netsvc.settings import load
from netsvc.tap import SECTIONS
from tests.generated_files import ROOT, generated, references


class SettingsFilesTests(SynchronousTestCase):
    """etc/netsvc.ini and the settings in the documentation."""

    def test_generated(self) -> None:
        """etc/netsvc.ini and docs/settings.md name every key with its present default and help."""
        for path, text in generated().items():
            self.assertEqual(path.read_text(), text, f"{path} is out of step: python -m tests.generated_files writes it anew")

    def test_the_shipped_file_changes_nothing(self) -> None:
        """Starting with the shipped file is starting with the defaults."""
        settings = load(SECTIONS, ROOT / "etc" / "netsvc.ini", [])
        for struct in SECTIONS.values():
            self.assertEqual(settings.section(struct), struct())

    def test_every_line_of_it_can_be_taken_in(self) -> None:
        """With the comment signs before its keys removed it is still a right file, with the same values."""
        path = Path(self.mktemp())
        text = (ROOT / "etc" / "netsvc.ini").read_text()
        path.write_text(re.sub(r"(?m)^#(\w+ =|    )", r"\1", text))
        settings = load(SECTIONS, path, [])
        for (section, key), _ in references().items():
            self.assertNotEqual(settings.origin(section, key), "default", f"[{section}] {key}")
        for struct in SECTIONS.values():
            self.assertEqual(settings.section(struct), struct())

    def test_the_readmes_table(self) -> None:
        """Each key that the README names exists and has the default given there."""
        known = references()
        rows = re.findall(r"^\| `\[(\w+)\] (\w+)` \| (.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
        self.assertGreater(len(rows), 8)
        for section, key, default in rows:
            self.assertIn((section, key), known)
            written = known[section, key].default
            self.assertIn(default, {f"`{written}`", "*empty*" if not written else None}, f"[{section}] {key}")

    def test_keys_in_the_documentation(self) -> None:
        """Every ``[section] key`` that any page names exists."""
        known = references()
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
            for section, key in re.findall(r"`\[(\w+)\]\s(\w+)", page.read_text()):
                self.assertIn((section, key), known, page)


class DecisionsTests(SynchronousTestCase):
    """docs/decisions/."""

    def test_the_index(self) -> None:
        """Every decision is in the index under its number and title, and nothing else is."""
        folder = ROOT / "docs" / "decisions"
        index = re.findall(r"^\| \[(\d+)\]\((.+?)\) \| (.*) \|$", (folder / "README.md").read_text(), re.MULTILINE)
        written = []
        for page in sorted(folder.glob("0*.md")):
            number, title = page.read_text().partition("\n")[0].removeprefix("# ").split(". ", 1)
            written.append((number, page.name, title))
        self.assertEqual(index, written)


class UnitsTests(SynchronousTestCase):
    """The units fit the settings and each other."""

    def unit(self, name: str) -> "configparser.RawConfigParser":
        """A unit file; repeated keys keep their last value."""
        parser = configparser.RawConfigParser(strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(ROOT / "etc" / name)
        return parser

    def test_the_stop_fits_its_timeout(self) -> None:
        """systemd waits for longer than an orderly stop takes at the most with the shipped settings."""
        stop = float(self.unit("netsvc.service")["Service"]["TimeoutStopSec"].removesuffix("s"))
        http, netsvc = (SECTIONS[name]() for name in ("http", "netsvc"))
        self.assertGreater(stop, http.drain_timeout + http.close_timeout + netsvc.stop_timeout)

    def test_a_wrong_configuration_is_not_tried_again(self) -> None:
        """The status of a wrong configuration is the one that systemd does not restart on."""
        self.assertEqual(self.unit("netsvc.service")["Service"]["RestartPreventExitStatus"], "78")

    def test_the_sockets_name(self) -> None:
        """The endpoint in the unit's comment names the socket that the unit opens."""
        name = self.unit("netsvc.socket")["Socket"]["FileDescriptorName"]
        self.assertIn(f"listen = systemd:domain=INET:name={name}", (ROOT / "etc" / "netsvc.socket").read_text())
