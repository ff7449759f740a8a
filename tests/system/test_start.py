"""Starting, refusing to start, and stopping, as an operator sees it."""

import os
import signal
import socket
import sqlite3
import subprocess
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosed

from tests.system.clients import RpcError, RpcSocket, TextRoom, post_rpc, request
from tests.system.daemon import Daemon, twistd_command
from tests.system.programs import eventually
from tests.system.required import require_program, require_root, skip_or_fail

DEADLINE = 20.0


def mount_memory(case: SynchronousTestCase, folder: Path, options: str) -> None:
    """A file system in memory at `folder` until the end of the test."""
    mount = require_program("mount")
    if subprocess.call([mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], stderr=subprocess.DEVNULL):
        skip_or_fail("cannot mount a tmpfs here")
    case.addCleanup(subprocess.run, ["umount", str(folder)], check=True)


class Case(SynchronousTestCase):
    """Tests that start daemons."""

    def daemon(self, config: str = "", **options: object) -> Daemon:
        """A daemon that ends with the test; not started."""
        daemon = Daemon(config, **options)  # type: ignore[arg-type]
        self.addCleanup(daemon.close)
        return daemon


class RefusalTests(Case):
    """What cannot start says so in one line, with a status, and leaves nothing behind."""

    def refused(self, daemon: Daemon, words: str, status: int = 1) -> None:
        """It ends with the status; standard error is one line with `words`; the log has no traceback."""
        before = len(daemon.errors())
        self.assertEqual(daemon.run_to_end(), status)
        lines = daemon.errors()[before:].splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(words, lines[0])
        self.assertTrue(lines[0].startswith("netsvc: cannot start: "), lines[0])
        self.assertNotIn("Traceback", daemon.output())
        with self.assertRaises(OSError):
            request(f"{daemon.url}/healthz")

    def test_a_port_in_use(self) -> None:
        """The address is named."""
        daemon = self.daemon()
        with socket.socket() as other:
            other.bind(("127.0.0.1", daemon.port))
            other.listen()
            before = len(daemon.errors())
            self.assertEqual(daemon.run_to_end(), 1)
        self.assertEqual(daemon.errors()[before:].splitlines(), [f"netsvc: cannot start: cannot listen on 127.0.0.1:{daemon.port}: Address already in use"])
        daemon.start()

    def test_the_second_of_two_ports_in_use(self) -> None:
        """The first listener is closed again, and the state directory is left in order."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        daemon = self.daemon(listen=False)
        listen = f"[http]\nlisten =\n  tcp:{daemon.port}:interface=127.0.0.1\n  tcp:{taken.getsockname()[1]}:interface=127.0.0.1\n"
        daemon.config.write_text(listen)
        self.refused(daemon, "Address already in use")
        self.assertEqual([path.name for path in daemon.state.glob("*-wal")], [])

    def test_a_state_directory_that_cannot_be(self) -> None:
        """Neither created below a file nor where nothing may be created."""
        daemon = self.daemon()
        (daemon.directory / "file").touch()
        self.refused(self.daemon(overrides=[f"netsvc.state={daemon.directory}/file/state"], directory=str(daemon.directory), own_state=False), "file/state")
        self.refused(self.daemon(overrides=["netsvc.state=/proc/netsvc"], own_state=False), "/proc/netsvc")

    def test_a_state_directory_that_is_not_writable(self) -> None:
        """Neither one of somebody else nor, for root, one on a disk that is mounted to be read only."""
        daemon = self.daemon()
        daemon.state.mkdir(mode=0o500)
        if os.geteuid() == 0:
            mount_memory(self, daemon.state, "ro")
        self.refused(daemon, "not writable")

    def test_a_newer_schema(self) -> None:
        """A database of a newer release is left as it is."""
        daemon = self.daemon()
        daemon.start()
        daemon.stop()
        with sqlite3.connect(daemon.state / "netsvc.db") as database:
            database.execute("PRAGMA user_version = 9999")
        database.close()
        content = (daemon.state / "netsvc.db").read_bytes()
        self.refused(daemon, "schema 9999")
        self.assertEqual((daemon.state / "netsvc.db").read_bytes(), content)

    def test_a_damaged_database(self) -> None:
        """Damage at the beginning and in the middle is noticed, and the line says how to restore."""
        daemon = self.daemon()
        daemon.start()
        for number in range(200):
            post_rpc(daemon.url, "chat.post", {"room": "lobby", "text": f"{number} {'x' * 500}"})
        daemon.stop()
        path = daemon.state / "netsvc.db"
        good = path.read_bytes()
        for offset in (0, len(good) // 2):
            path.write_bytes(good[:offset] + os.urandom(8192) + good[offset + 8192 :])
            self.refused(daemon, "restore")

    def test_a_second_daemon(self) -> None:
        """Two daemons on one state directory: the second refuses, the first goes on."""
        first = self.daemon().start()
        second = self.daemon(overrides=[f"netsvc.state={first.state}"], own_state=False)
        self.refused(second, "in use by another netsvc")
        self.assertEqual(request(f"{first.url}/readyz").status, 200)

    def test_wrong_settings(self) -> None:
        """Every fault has a line with file, line number, section and key; the status is 78."""
        daemon = self.daemon("[http]\nlisten_on = 1\n\n[rooms]\ntext = many\n")
        self.assertEqual(daemon.run_to_end(), 78)
        lines = daemon.errors().splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertIn(f"{daemon.config}:2: [http] listen_on", lines[0])
        self.assertIn(f"{daemon.config}:5: [rooms] text", lines[1])
        self.assertNotIn("Traceback", daemon.output())


class FullDiskTests(Case):
    """A disk of its own that is full."""

    def disk(self, size: str) -> Path:
        """A small file system in memory, gone after the test."""
        require_root()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        mount_memory(self, folder, f"size={size}")
        return folder

    def fill(self, folder: Path) -> Path:
        """Leave no room; the file that takes it."""
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                pass
        return filler

    def test_at_the_start(self) -> None:
        """A full disk is named as the reason."""
        folder = self.disk("256k")
        self.fill(folder)
        daemon = self.daemon(overrides=[f"netsvc.state={folder}/state"], own_state=False)
        self.assertEqual(daemon.run_to_end(), 1)
        self.assertEqual(len(daemon.errors().splitlines()), 1, daemon.errors())
        self.assertRegex(daemon.errors(), "full|No space left")

    def test_while_it_runs(self) -> None:
        """Posts fail, readiness says why, all else goes on; with room again the next post is stored, and nothing acked is missing."""
        folder = self.disk("4m")
        daemon = self.daemon(overrides=[f"netsvc.state={folder}/state"], own_state=False).start()
        acked = [post_rpc(daemon.url, "chat.post", {"room": "lobby", "text": "before"})["seq"]]
        filler = self.fill(folder)
        failures = []
        for number in range(50):
            try:
                acked.append(post_rpc(daemon.url, "chat.post", {"room": "lobby", "text": f"{number} {'x' * 15000}"})["seq"])
            except RpcError as error:
                failures.append(error.code)
        self.assertEqual(set(failures), {-32008})
        ready = request(f"{daemon.url}/readyz")
        self.assertEqual(ready.status, 503, ready.body)
        self.assertEqual(request(f"{daemon.url}/healthz").status, 200)
        self.assertTrue(post_rpc(daemon.url, "chat.history", {"room": "lobby"})["events"])
        filler.unlink()
        eventually(lambda: request(f"{daemon.url}/readyz").status == 200, DEADLINE, "ready again")
        acked.append(post_rpc(daemon.url, "chat.post", {"room": "lobby", "text": "after"})["seq"])
        self.assertEqual(acked, list(range(1, len(acked) + 1)))
        daemon.kill()
        daemon.start()
        events = post_rpc(daemon.url, "chat.history", {"room": "lobby", "limit": 200})["events"]
        self.assertEqual([event["seq"] for event in events], acked)


class LifeTests(Case):
    """A daemon that runs."""

    def test_start(self) -> None:
        """When it says READY it answers; the URL is in the log and in the status line."""
        daemon = self.daemon().start()
        self.assertEqual(request(f"{daemon.url}/readyz").json(), {"status": "ready"})
        self.assertEqual(request(f"{daemon.url}/healthz").status, 200)
        self.assertIn(daemon.url, daemon.status_line)
        self.assertIn(daemon.url, daemon.output())
        self.assertEqual(daemon.errors(), "")

    def test_json_log(self) -> None:
        """With log_format = json every line from the first is a JSON object."""
        daemon = self.daemon("[netsvc]\nlog_format = json\nlog_level = debug\n[http]\naccess_log = on\n").start()
        request(f"{daemon.url}/healthz?token=hunter2")
        daemon.stop()
        lines = daemon.output().splitlines()
        self.assertGreater(len(lines), 3)
        self.assertEqual([line for line in lines if not (line.startswith('{"time":') and line.endswith("}"))], [])
        self.assertNotIn("hunter2", daemon.output())

    def test_stop(self) -> None:
        """SIGTERM and SIGINT close WebSockets with 1001 and end it with status 0; nothing is left open in the state directory."""
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon = self.daemon().start()
            program, person = RpcSocket(daemon.websocket_url), TextRoom(daemon.websocket_url, "lobby")
            self.assertEqual(program.call("chat.post", room="lobby", text="hello")["durable"], "fsync")
            person.hear()
            daemon.signal(number)
            self.assertEqual([program.closed(), person.closed()], [1001, 1001])
            self.assertEqual(daemon.wait(), 0, daemon.output())
            self.assertEqual(daemon.errors(), "")
            self.assertEqual([path.name for path in daemon.state.glob("*-wal")], [])

    def test_a_stop_finishes_what_was_asked(self) -> None:
        """Posts sent before the stop are either acked and stored, or not stored at all."""
        daemon = self.daemon().start()
        with RpcSocket(daemon.websocket_url) as client:
            calls = [client.send("chat.post", room="lobby", text=str(number)) for number in range(200)]
            daemon.signal(signal.SIGTERM)
            acked = []
            for call in calls:
                try:
                    acked.append(client.answer(call)["seq"])
                except (RpcError, ConnectionClosed):
                    break
        self.assertEqual(daemon.wait(), 0)
        daemon.start()
        stored = post_rpc(daemon.url, "chat.history", {"room": "lobby", "limit": 200})["events"] if acked else []
        self.assertEqual([event["text"] for event in stored][: len(acked)], [str(number) for number in range(len(acked))])

    def test_hangup(self) -> None:
        """SIGHUP does not end it."""
        daemon = self.daemon().start()
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "SIGHUP" in daemon.output(), DEADLINE, "a line about SIGHUP")
        self.assertEqual(request(f"{daemon.url}/healthz").status, 200)

    def test_stopped_before_ready(self) -> None:
        """A stop that comes while it starts is orderly too."""
        daemon = self.daemon()
        daemon.launch()
        eventually(lambda: daemon.state.exists(), DEADLINE, "a state directory")
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.errors(), "")

    def test_kill_9_loses_nothing_acked(self) -> None:
        """Killed in the middle of posts, again and again: every acked post is there once, in order, without gaps, also for its key."""
        daemon = self.daemon("[limits]\nrate = off\n").start()
        acked: dict[str, int] = {}
        for generation in range(5):
            threads = [threading.Thread(target=self.post_until_killed, args=(daemon, f"{generation}-{number}", acked)) for number in range(3)]
            for thread in threads:
                thread.start()
            before = len(acked)
            eventually(lambda before=before: len(acked) > before + 30, DEADLINE, "thirty acked posts")
            daemon.kill()
            for thread in threads:
                thread.join(DEADLINE)
            daemon.start()
        events, cursor, more = [], "", True
        while more:
            page = post_rpc(daemon.url, "chat.history", {"room": "lobby", "limit": 200, **({"after": cursor} if cursor else {"after": self.beginning(daemon)})})
            events += page["events"]
            cursor, more = page["cursor"], page["more"]
        self.assertEqual([event["seq"] for event in events], list(range(1, len(events) + 1)))
        stored = {event["text"]: event["seq"] for event in events}
        self.assertEqual(len(stored), len(events), "a post was stored twice")
        self.assertEqual({text: stored.get(text) for text in acked}, acked)

    def beginning(self, daemon: Daemon) -> str:
        """The cursor before the first event."""
        head: str = post_rpc(daemon.url, "chat.history", {"room": "lobby", "limit": 1})["cursor"]
        return head.rpartition(":")[0] + ":0"

    def post_until_killed(self, daemon: Daemon, name: str, acked: dict[str, int]) -> None:
        """Post as fast as answers come, until the connection breaks."""
        try:
            with RpcSocket(daemon.websocket_url) as client:
                for number in range(100_000):
                    text = f"{name}-{number}"
                    acked[text] = client.call("chat.post", room="lobby", text=text, key=text)["seq"]
        except (ConnectionClosed, OSError):
            return


class DaemonizedTests(Case):
    """twistd without -n: it goes into the background, and the command's status says how the start went."""

    def command(self, daemon: Daemon) -> list[str]:
        """As an operator without systemd would start it."""
        own = daemon.command()
        return [*twistd_command(), f"--pidfile={daemon.directory}/pid", f"--logfile={daemon.directory}/log", *own[own.index("netsvc") :]]

    def run_command(self, daemon: Daemon) -> "subprocess.CompletedProcess[bytes]":
        """Run it to its end, that is until the daemon is up or has failed."""
        # A file, since the daemon would keep a pipe open.
        with open(daemon.directory / "terminal", "w+b") as terminal:
            command = self.command(daemon)
            status = subprocess.call(command, cwd=daemon.directory, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, timeout=60)
            terminal.seek(0)
            return subprocess.CompletedProcess(command, status, terminal.read())

    def test_success(self) -> None:
        """The command ends with 0 when the daemon is up."""
        daemon = self.daemon()
        done = self.run_command(daemon)
        pid = int((daemon.directory / "pid").read_text())
        self.addCleanup(eventually, lambda: not (daemon.directory / "pid").exists(), DEADLINE, "the end of the daemon")
        self.addCleanup(os.kill, pid, signal.SIGTERM)
        self.assertEqual((done.returncode, done.stdout), (0, b""))
        self.assertEqual(request(f"{daemon.url}/readyz").status, 200)

    def test_failure(self) -> None:
        """It ends with 1 and the reason when the daemon cannot start; the log has it too, and no pid file stays."""
        daemon = self.daemon()
        with socket.create_server(("127.0.0.1", daemon.port)):
            done = self.run_command(daemon)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Address already in use", done.stdout)
        self.assertIn("cannot start", (daemon.directory / "log").read_text())
        eventually(lambda: not (daemon.directory / "pid").exists(), DEADLINE, "the end of the daemon")
