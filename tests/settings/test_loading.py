"""Loading: files, drop-ins, overrides, origins, and what the operator of a wrong file reads."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from netsvc.settings import EX_CONFIG, LARGEST_FILE, Settings, SettingsError, load
from netsvc.settings.faults import nearest
from tests.settings.sample import SECTIONS, LimitsSample, WebSample


class LoadingTests(TestCase):
    """One file, its drop-ins and overrides."""

    def setUp(self) -> None:
        """A folder of its own."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "netsvc.ini"

    def write(self, text: str, name: str = "netsvc.ini") -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def faults(self, *overrides: str, path: Path | None = None) -> list[str]:
        """What the operator reads, line by line, with the folder left out."""
        error = self.assertRaises(SettingsError, load, SECTIONS, path or self.path, overrides)
        return error.detail.replace(f"{self.folder}{os.sep}", "").split("\n")

    def test_defaults(self) -> None:
        """Without a file every key has its default, and says so."""
        settings = load(SECTIONS, None, [])
        self.assertEqual(settings.section(WebSample), WebSample())
        self.assertEqual(settings.section(LimitsSample), LimitsSample())
        self.assertEqual(settings.origin("web", "listen"), "default")

    def test_every_type(self) -> None:
        """Each type of key is converted to its Python value."""
        self.write(
            "[web]\nlisten = tcp:80\n    tcp6:443\nhosts = a.example, b.example\naccess_log = Off\nwelcome = 100% = {name} # 1\n"
            "state = /var/lib/netsvc\nlevel = debug\nguests = no\n"
            "[limits]\nconnections = 5\nrate = 1.5\nbody = 16KiB\nidle = 5m\ngrace = 250ms\n"
        )
        settings = load(SECTIONS, self.path, [])
        self.assertEqual(
            settings.section(WebSample),
            WebSample(
                listen=("tcp:80", "tcp6:443"),
                hosts=("a.example", "b.example"),
                access_log=False,
                welcome="100% = {name} # 1",
                state=Path("/var/lib/netsvc"),
                level="debug",
                guests=False,
            ),
        )
        self.assertEqual(settings.section(LimitsSample), LimitsSample(connections=5, rate=1.5, body=16384, idle=300.0, grace=0.25))

    def test_origin(self) -> None:
        """A key's origin is the line that won: the last file's, then the override's."""
        self.write("[limits]\nidle = 10s\nbody = 1MiB\nrate = 1\n")
        self.write("[limits]\n\nbody = 2MiB\n", "netsvc.ini.d/10-body.ini")
        settings = load(SECTIONS, self.path, ["limits.rate=3"])
        self.assertEqual(settings.origin("limits", "idle"), f"{self.path}:2")
        self.assertEqual(settings.origin("limits", "body"), f"{self.path}.d/10-body.ini:3")
        self.assertEqual(settings.origin("limits", "rate"), "--set")
        self.assertEqual(settings.origin("limits", "connections"), "default")
        self.assertEqual(settings.section(LimitsSample).rate, 3.0)

    def test_unknown_names_asked_for(self) -> None:
        """Asking for a section or key that nobody declared is an error of the program, not a default."""
        settings = load({"web": WebSample}, None, [])
        self.assertRaises(KeyError, settings.section, LimitsSample)
        self.assertRaises(KeyError, settings.origin, "limits", "rate")
        self.assertRaises(AttributeError, settings.origin, "web", "rate")

    def test_drop_ins(self) -> None:
        """Drop-ins are read by name, the last wins and replaces a list as a whole; hidden files and other names are not read."""
        self.write("[web]\nhosts = a, b\n")
        self.write("[web]\nhosts = z\n", "netsvc.ini.d/20-last.ini")
        self.write("[web]\nhosts = c, d\n", "netsvc.ini.d/10-first.ini")
        self.write("nonsense", "netsvc.ini.d/30-more.ini~")
        os.symlink("nobody@nowhere", self.folder / "netsvc.ini.d" / ".#lock.ini")
        self.assertEqual(load(SECTIONS, self.path, []).section(WebSample).hosts, ("z",))

    def test_every_fault_of_every_file(self) -> None:
        """All is reported at once: each file in its order of lines, then the overrides, also what a later value would replace."""
        self.write("[web]\nlisten = 8080\n[limits]\nidle = 30 sec\nidel = 5\n[lmits]\nx = 1\n[limits]\nbody = 1\n")
        self.write("[limits]\nidle = 5s\nrate = 0\n", "netsvc.ini.d/a.ini")
        self.write("[web]\naccess_log = yess\n", "netsvc.ini.d/b.ini")
        self.assertEqual(
            self.faults("limits.body=1MiB", "limits.rte=1", "webb.x=1", "nothing"),
            [
                'netsvc.ini:2: [web] listen: not an endpoint: "8080"; write tcp:8080:interface=127.0.0.1',
                'netsvc.ini:4: [limits] idle: not a duration: "30 sec"; write it like 250ms, 30s, 5m, 2h or 7d',
                'netsvc.ini:5: [limits] idel: unknown key (did you mean "idle"?)',
                'netsvc.ini:6: [lmits]: unknown section (did you mean "limits"?)',
                "netsvc.ini:9: [limits] body: must be at least 1KiB and at most 1GiB",
                "netsvc.ini.d/a.ini:3: [limits] rate: must be more than 0",
                'netsvc.ini.d/b.ini:2: [web] access_log: write yes or no, not "yess" (did you mean "yes"?)',
                '--set limits.rte: unknown key (did you mean "rate"?)',
                '--set webb.x: unknown section (did you mean "web"?)',
                '--set: write --set section.key=value, not "nothing"',
            ],
        )

    def test_status(self) -> None:
        """A wrong setting ends the process with EX_CONFIG, which systemd is told not to restart on."""
        error = self.assertRaises(SettingsError, load, SECTIONS, None, ["web.level=loud"])
        self.assertEqual((error.status, EX_CONFIG), (78, 78))
        self.assertEqual(error.detail, '--set web.level: write one of debug, info, warn, not "loud"')

    def test_key_of_another_section(self) -> None:
        """A key that stands under the wrong header is led to the right one."""
        self.write("[web]\nidle = 5s\nfrobnicate = 1\n")
        self.assertEqual(
            self.faults(),
            ['netsvc.ini:2: [web] idle: unknown key (did you mean "idle" in [limits]?)', "netsvc.ini:3: [web] frobnicate: unknown key"],
        )

    def test_spelling(self) -> None:
        """Case and hyphens are spelling mistakes, not other names."""
        self.assertEqual(nearest("Access-Log", ["access_log", "listen"]), ' (did you mean "access_log"?)')
        self.assertEqual(nearest("x" * 100_000, ["access_log"]), "")

    def test_missing_file(self) -> None:
        """A file that was named and is not there is a fault, not an empty one."""
        self.assertEqual(self.faults(), ["netsvc.ini: cannot be read: No such file or directory"])

    def test_folder_as_file(self) -> None:
        """Nor is a folder a file."""
        self.assertEqual(self.faults(path=self.folder)[0], f"{self.folder}: cannot be read: Is a directory")

    def test_file_as_drop_in_folder(self) -> None:
        """A file where the drop-ins' folder belongs is said, not skipped."""
        self.write("")
        self.write("", "netsvc.ini.d")
        self.assertEqual(self.faults(), ["netsvc.ini.d: cannot be read: Not a directory"])

    def test_too_large(self) -> None:
        """A file larger than any settings is not read."""
        self.path.write_bytes(b"#" * (LARGEST_FILE + 1))
        self.assertEqual(self.faults(), [f"netsvc.ini: cannot be read: larger than {LARGEST_FILE} bytes"])

    def test_override_of_lists(self) -> None:
        """An override gives a list in the words of a file; the last override of a key wins."""
        settings = load(SECTIONS, None, ["web.hosts=a,b", "web.listen=tcp:1", " web.listen = tcp:2\n tcp:3", "web.guests="])
        self.assertEqual(settings.section(WebSample), WebSample(hosts=("a", "b"), listen=("tcp:2", "tcp:3")))

    def test_override_that_is_no_text(self) -> None:
        """Bytes of the command line that are not UTF-8, and control characters, are faults that can be printed."""
        error = self.assertRaises(SettingsError, load, SECTIONS, None, ["web.welcome=\udcff", "web.\x1bkey=\x07"])
        self.assertEqual(
            error.detail,
            "--set web.welcome: not UTF-8\n--set web.\\x1bkey: a control character (U+0007) at column 1",
        )
        error.detail.encode()

    def test_later_faults(self) -> None:
        """A package that finds a value wrong when it uses it names the same place, the item's own line in a list."""
        self.write("[web]\nhosts =\n    good\n    bad\n")
        settings = load(SECTIONS, self.path, [])
        self.assertEqual(str(settings.fault("web", "hosts", "no", item="bad").faults[0]), f"{self.path}:4: [web] hosts: no")
        self.assertEqual(str(settings.fault("web", "hosts", "no")), f"{self.path}:2: [web] hosts: no")
        self.assertEqual(str(settings.fault("limits", "idle", "no")), "[limits] idle: no")

    def test_places_of_items(self) -> None:
        """Each item of a list that has one a line is told with its place; nothing of a list that has a fault."""
        self.write("[web]\nlisten = tcp:1\n    tcp:2\n")
        seen: list[list[tuple[str, str]]] = []

        def check(settings: Settings) -> None:
            seen.append([(str(place), text) for place, text in settings.written("web", "listen")])

        load(SECTIONS, self.path, [], check)
        load(SECTIONS, self.path, ["web.listen=tcp:3"], check)
        load(SECTIONS, None, [], check)
        self.assertRaises(SettingsError, load, SECTIONS, None, ["web.listen=tcp:x"], check)
        self.assertEqual(
            seen,
            [[(f"{self.path}:2", "tcp:1"), (f"{self.path}:3", "tcp:2")], [("--set web.listen", "tcp:3")], [("None", WebSample().listen[0])], []],
        )

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever is in a file, it loads or is a SettingsError of printable lines."""
        self.path.write_bytes(data)
        try:
            load(SECTIONS, self.path, [])
        except SettingsError as error:
            self.assertTrue(all(line.isprintable() for line in error.detail.split("\n")))

    @given(
        st.sampled_from([f"{section}.{field}" for section, struct in SECTIONS.items() for field in struct.__struct_fields__]),
        st.text(st.characters(exclude_categories=())) | st.text("0123456789.:=\\ kKmMiIbBsh-+e#,[]tcpunix/"),
    )
    def test_any_value(self, name: str, value: str) -> None:
        """Whatever a key is given, it loads or is a SettingsError of printable lines."""
        try:
            load(SECTIONS, None, [f"{name}={value}"])
        except SettingsError as error:
            self.assertTrue(all(line.isprintable() for line in error.detail.split("\n")))

    def test_further_checks(self) -> None:
        """What a check finds is told with all other faults, by file and line; it sees what could be read."""
        self.write("[web]\nlevel = shout\nwelcome = hi\n[limits]\nrate = x\n")
        seen: list[str] = []

        def check(settings: Settings) -> None:
            seen.append(settings.section(WebSample).welcome)
            raise settings.fault("web", "welcome", "too short")

        error = self.assertRaises(SettingsError, load, SECTIONS, self.path, ["limits.rate=y"], check)
        self.assertEqual([fault.place.line for fault in error.faults if fault.place is not None], [2, 3, 5, 0])
        self.assertEqual(seen, ["hi"])
        self.write("[web]\nwelcome = hi\n")
        error = self.assertRaises(SettingsError, load, SECTIONS, self.path, [], check)
        self.assertEqual(len(error.faults), 1)
