"""The INI file: every fault at once from `netsvc check` and from the start, drop-ins, overrides, the fixed keys."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.ports import free_port
from tests.system.clients import RpcSocket, TextRoom, post_rpc, request
from tests.system.daemon import Daemon, twistd_command
from tests.system.programs import eventually

EX_CONFIG = 78
DEADLINE = 30.0

# Each line that is wrong says so itself: LINE below is where it stands, then what its fault must have in it.
FAULTY = """\
stray = 1
[netsvc]
stat = /var/lib/netsvc
log_format = xml
[htp]
listen = tcp:80
[http]
listen =
  tcp:8080
  tpc:8081
  tcp:99999
access_log = maybe
hosts = good.example, http://bad.example
origins = app.example
[chat]
guests = perhaps
create = root
create = guest
[rpc]
modules = no_such_module
  netsvc.examples.arithmetic
  netsvc.errors
provide = nobody
deadline = 5 parsecs
[limits]
rate = fast
connections = -1
connections_per_address = many
[rooms]
text = 16 KiX
nonsense
[
"""
FAULTS = {
    1: ("stray",),
    3: ("[netsvc] stat", 'did you mean "state"?'),
    4: ("[netsvc] log_format", "json"),
    5: ("[htp]", "unknown section", 'did you mean "http"?'),
    10: ("[http] listen", "tpc"),
    11: ("[http] listen", "99999"),
    12: ("[http] access_log",),
    13: ("[http] hosts", "http://bad.example"),
    14: ("[http] origins", "app.example"),
    16: ("[chat] guests",),
    17: ("[chat] create", "guest"),
    18: ("[chat] create", "twice"),
    20: ("[rpc] modules", "no_such_module"),
    22: ("[rpc] modules", "netsvc.errors"),
    23: ("[rpc] provide",),
    24: ("[rpc] deadline", "5 parsecs"),
    26: ("[limits] rate",),
    27: ("[limits] connections",),
    28: ("[limits] connections_per_address",),
    30: ("[rooms] text", "16 KiX"),
    31: ("nonsense",),
    32: ("[",),
}


class Ended(NamedTuple):
    """A process that has ended."""

    status: int
    out: str
    err: str


class CheckTests(SynchronousTestCase):
    """Nothing listens here."""

    def setUp(self) -> None:
        """A folder of its own."""
        folder = tempfile.TemporaryDirectory(prefix="netsvc-settings-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "netsvc.ini"

    def run_command(self, command: list[str]) -> Ended:
        """Run it to its end."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=DEADLINE, env={**os.environ, "COLUMNS": "200"})
        return Ended(done.returncode, done.stdout, done.stderr)

    def check(self, *arguments: str) -> Ended:
        """``netsvc check``."""
        return self.run_command([sys.executable, "-m", "netsvc.cli", "check", *arguments])

    def start(self, *arguments: str) -> Ended:
        """``twistd netsvc``, which is expected to refuse."""
        return self.run_command([*twistd_command(), "--nodaemon", "--pidfile=", "netsvc", *arguments])

    def test_every_fault(self) -> None:
        """One line for each, in the order of the file, with file, line, section, key and what would be right; from both commands the same."""
        self.file.write_text(FAULTY)
        checked, started = self.check("--config", str(self.file)), self.start("--config", str(self.file))
        self.assertEqual((checked.status, started.status), (EX_CONFIG, EX_CONFIG))
        self.assertEqual(checked.err, started.err)
        lines = checked.err.splitlines()
        self.assertEqual([line.removeprefix(f"{self.file}:").partition(":")[0] for line in lines], [str(number) for number in FAULTS])
        for line, words in zip(lines, FAULTS.values(), strict=True):
            for word in words:
                self.assertIn(word, line)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["netsvc.ini"])

    def test_drop_ins_and_overrides(self) -> None:
        """Their faults have their own places; what is no drop-in is not read."""
        self.file.write_text("[http]\naccess_log = on\n")
        drop_ins = self.folder / "netsvc.ini.d"
        drop_ins.mkdir()
        (drop_ins / "20-b.ini").write_text("[http]\n\nacess_log = off\n")
        (drop_ins / "10-a.ini").write_text("[http]\naccess_log = of\n")
        (drop_ins / "README").write_text("nonsense")
        (drop_ins / ".10-a.ini.swp").write_text("nonsense")
        ended = self.check("--config", str(self.file), "--set", "http.lisen=tcp:80", "--set", "nonsense", "--set", "limits.rate=maybe")
        self.assertEqual(ended.status, EX_CONFIG)
        begins = [f"{drop_ins}/10-a.ini:2: [http] access_log: ", f"{drop_ins}/20-b.ini:3: [http] acess_log: "]
        begins += ["--set http.lisen: ", "--set: ", "--set limits.rate: "]
        lines = ended.err.splitlines()
        self.assertEqual(len(lines), len(begins), lines)
        for line, begin in zip(lines, begins, strict=True):
            self.assertTrue(line.startswith(begin), line)

    def test_files_that_cannot_be_read(self) -> None:
        """Named, with the reason."""
        self.file.write_bytes(b"[http]\naccess_log = \xff\n")
        self.assertIn(f"{self.file}:2: not UTF-8", self.check("--config", str(self.file)).err)
        missing = self.check("--config", str(self.folder / "missing.ini"))
        self.assertEqual((missing.status, "No such file" in missing.err), (EX_CONFIG, True))

    def test_right_ones(self) -> None:
        """Exit status 0; nothing is created, also where the listener would be taken."""
        listen = b"listen =\r\n  tcp:8080:interface=127.0.0.1\r\n  systemd:domain=INET:index=0\r\n"
        self.file.write_bytes(b"\xef\xbb\xbf; a comment\r\n[http]\r\naccess_log = On\r\n" + listen)
        for arguments in ((), ("--config", str(self.file)), ("--config", str(self.file), "--set", "rpc.modules=netsvc.examples.arithmetic")):
            ended = self.check(*arguments)
            self.assertEqual((ended.status, ended.err), (0, ""))
        self.assertEqual([path.name for path in self.folder.iterdir()], ["netsvc.ini"])

    def test_usage(self) -> None:
        """An unknown option is no configuration error."""
        self.assertNotIn(self.start("--nonsense").status, (0, EX_CONFIG))
        self.assertNotIn(self.start("argument").status, (0, EX_CONFIG))


class KeyTests(SynchronousTestCase):
    """The fixed keys do what they say."""

    def daemon(self, config: str = "", **options: object) -> Daemon:
        """A daemon that ends with the test; not started."""
        daemon = Daemon(config, **options)  # type: ignore[arg-type]
        self.addCleanup(daemon.close)
        return daemon

    def test_nothing(self) -> None:
        """Without a file: state in ./netsvc-state, guests allowed, the URL printed; $STATE_DIRECTORY wins."""
        port = free_port()
        for environ, state in (({}, "netsvc-state"), ({"STATE_DIRECTORY": "{folder}/given:{folder}/other"}, "given")):
            with tempfile.TemporaryDirectory(prefix="netsvc-settings-") as folder:
                environment = {**os.environ, **{name: value.format(folder=folder) for name, value in environ.items()}}
                command = [*twistd_command(), "-n", "--pidfile=", "netsvc", "--set", f"http.listen=tcp:{port}:interface=127.0.0.1"]
                with open(Path(folder) / "out", "w+") as out:
                    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
                    try:
                        eventually(lambda path=Path(folder) / "out": f"http://127.0.0.1:{port}" in path.read_text(), DEADLINE, "the URL")
                        self.assertEqual(request(f"http://127.0.0.1:{port}/openrpc.json").status, 200)
                        self.assertTrue((Path(folder) / state / "netsvc.db").exists())
                    finally:
                        process.terminate()
                        self.assertEqual(process.wait(DEADLINE), 0)

    def test_order(self) -> None:
        """Drop-ins win over the file, by name; overrides win over all; lists are replaced as a whole."""
        daemon = self.daemon("[chat]\nwelcome = file\n[http]\nhosts = one.example\n[rooms]\ntext = 10\n", overrides=["rooms.text=20", "rooms.text=30"])
        drop_ins = daemon.config.with_name("netsvc.ini.d")
        drop_ins.mkdir()
        (drop_ins / "20.ini").write_text("[chat]\nwelcome = twenty\n[rooms]\ntext = 15\n")
        (drop_ins / "10.ini").write_text("[chat]\nwelcome = ten\n[http]\nhosts = two.example\n")
        daemon.start()
        with TextRoom(daemon.websocket_url, "lobby") as room:
            self.assertEqual(room.hear(), "twenty")
            room.say("x" * 30)
            self.assertTrue(room.hear().endswith("x" * 30))
        statuses = [request(f"{daemon.url}/healthz", headers={"Host": host}).status for host in ("one.example", "two.example")]
        self.assertEqual(statuses, [421, 200])

    def test_several_listeners(self) -> None:
        """One endpoint a line, of several types; each serves the same rooms, and each URL is printed."""
        ports = free_port(), free_port()
        listen = f"[http]\nlisten =\n  tcp:{ports[0]}:interface=127.0.0.1\n  tcp6:{ports[1]}:interface=\\:\\:1\n  unix:here.sock:mode=600\n"
        daemon = self.daemon(listen, listen=False, port=ports[0])
        daemon.start()
        post_rpc(daemon.url, "chat.post", {"room": "lobby", "text": "hello"})
        self.assertEqual(post_rpc(f"http://[::1]:{ports[1]}", "chat.history", {"room": "lobby"})["events"][0]["text"], "hello")
        for url in (f"http://127.0.0.1:{ports[0]}", f"http://[::1]:{ports[1]}", "unix:"):
            self.assertIn(url, daemon.output())
        self.assertEqual((daemon.directory / "here.sock").stat().st_mode & 0o777, 0o600)

    def test_access_log(self) -> None:
        """on: a line for each request with method, path, status and duration, without secrets; off: none."""
        daemon = self.daemon("[http]\naccess_log = on\n").start()
        request(f"{daemon.url}/healthz?token=hidden")
        request(f"{daemon.url}/nothing", headers={"Authorization": "Bearer hidden", "Cookie": "netsvc_session=hidden"})
        post_rpc(daemon.url, "chat.rooms")
        with RpcSocket(daemon.websocket_url) as client:
            client.call("auth.whoami")
        lines = eventually(lambda: [line for line in daemon.output().splitlines() if "/ws" in line], DEADLINE, "the WebSocket's line")
        self.assertEqual(len(lines), 1)
        log = daemon.output()
        for words in (("GET", "/healthz", "200"), ("GET", "/nothing", "404"), ("POST", "/rpc", "200"), ("GET", "/ws", "101")):
            (line,) = [line for line in log.splitlines() if words[1] in line]
            for word in words:
                self.assertIn(word, line)
            self.assertRegex(line, r"\d m?s|duration|\d+\.\d+")
        daemon.stop()
        daemon.config.write_text("[http]\naccess_log = off\n")
        before = len(daemon.output())
        daemon.start()
        request(f"{daemon.url}/healthz")
        self.assertNotIn("/healthz", daemon.output()[before:])
