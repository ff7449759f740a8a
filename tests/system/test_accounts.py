"""Users and tokens, as an operator keeps them on the command line beside a running daemon."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import RpcError, RpcSocket, post_rpc, request
from tests.system.daemon import Daemon
from tests.system.required import require_root

DEADLINE = 30.0
NOBODY = 65534
REVOCATION = 5.0
"""Seconds within which docs/protocol.md promises that a revocation closes live connections."""

PASSWORD = "correct horse"


class Commands(SynchronousTestCase):
    """Tests that run the console script."""

    def setUp(self) -> None:
        """A folder of its own."""
        folder = tempfile.TemporaryDirectory(prefix="netsvc-accounts-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.state = self.folder / "state"

    def netsvc(self, *arguments: str, input: str = "", status: int = 0, **environ: str) -> str:
        """Run ``netsvc`` with arguments, which must end with a status; what it printed on stdout."""
        environment = {**os.environ, **environ}
        environment.pop("STATE_DIRECTORY", None)
        done = subprocess.run(
            [sys.executable, "-m", "netsvc.cli", *arguments],
            input=input,
            capture_output=True,
            text=True,
            env=environment,
            timeout=DEADLINE,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        self.errors = done.stderr
        return done.stdout

    def add(self, name: str, *options: str) -> None:
        """Add a user with a password."""
        self.netsvc("user", "add", name, "--state", str(self.state), "--password-stdin", *options, input=f"{PASSWORD}\n")

    def token(self, name: str, *options: str) -> str:
        """A new token's secret."""
        return self.netsvc("token", "issue", name, "--state", str(self.state), *options).strip()


class Beside(Commands):
    """Commands beside a running daemon."""

    def setUp(self) -> None:
        """A daemon without guests, an admin, and a bot with a token."""
        super().setUp()
        self.daemon = Daemon("[chat]\nguests = no\n")
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.state = self.daemon.state
        self.add("alice", "--role", "admin")
        self.add("bot")
        self.secret = self.token("bot")

    def test_first_admin(self) -> None:
        """The first admin is added while the daemon runs, and logs in at once by Basic, by session and by auth.login."""
        answer = request(f"{self.daemon.url}/login", "POST", b"name=alice&password=correct+horse", {
            "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json",
        })
        self.assertEqual(answer.json(), {"name": "alice", "roles": ["admin"]})
        cookie = answer.headers["set-cookie"].partition(";")[0]
        self.assertEqual(post_rpc(self.daemon.url, "auth.whoami", headers={"Cookie": cookie})["name"], "alice")
        self.assertEqual(request(f"{self.daemon.url}/logout", "POST", b"", {"Cookie": cookie}).status, 303)
        self.assertEqual(request(f"{self.daemon.url}/rpc", "POST", b"{}", {"Cookie": cookie}).status, 401)
        with RpcSocket(self.daemon.websocket_url) as socket:
            self.assertRaises(RpcError, socket.call, "auth.login", name="alice", password="wrong horse")
            self.assertEqual(socket.call("auth.login", name="Alice", password=PASSWORD), {"name": "alice", "roles": ["admin"]})

    def test_calls(self) -> None:
        """netsvc call and status speak to the daemon with a token; without one they are told to log in."""
        file = self.folder / "token"
        file.write_text(f"{self.secret}\n")
        shown = self.netsvc("call", "auth.whoami", "--url", self.daemon.url, "--token-file", str(file))
        self.assertEqual(json.loads(shown), {"name": "bot", "roles": ["member"], "guest": False})
        posted = json.loads(self.netsvc("call", "chat.post", "room=lobby", "text=hello", "--url", self.daemon.url, NETSVC_TOKEN_FILE=str(file)))
        self.assertEqual((posted["seq"], posted["durable"]), (1, "fsync"))
        self.netsvc("call", "chat.post", "lobby", "--url", self.daemon.url, "--token-file", str(file), status=2)
        self.netsvc("status", "--url", self.daemon.url, "--token-file", str(file), status=3)
        self.netsvc("call", "auth.whoami", "--url", self.daemon.url, status=3)
        file.write_text(self.token("alice"))
        self.assertIn("versions.netsvc", self.netsvc("status", "--url", self.daemon.url, "--token-file", str(file)))
        self.daemon.stop()
        self.netsvc("call", "auth.whoami", "--url", self.daemon.url, status=7)

    def test_revocations(self) -> None:
        """A revoked token, a removed user, a lesser role and a new password close live connections with 4401, within 5 s."""
        for command in (
            ("token", "revoke", self.netsvc("token", "list", "bot", "--state", str(self.state)).splitlines()[1].split()[0]),
            ("user", "role", "alice", "member"),
            ("user", "passwd", "alice", "--password-stdin"),
            ("user", "remove", "alice"),
        ):
            credentials = {"token": self.secret} if command[0] == "token" else {"name": "alice", "password": PASSWORD}
            with RpcSocket(self.daemon.websocket_url) as socket, RpcSocket(self.daemon.websocket_url) as other:
                socket.call("auth.login", **credentials)
                self.assertRaises(RpcError, other.call, "auth.login", token="nst_no")
                self.netsvc(*command, "--state", str(self.state), input=f"{PASSWORD}\n")
                began = time.monotonic()
                self.assertEqual(socket.closed(REVOCATION + 5), 4401, command)
                self.assertLess(time.monotonic() - began, REVOCATION + 1, command)
                self.assertRaises(RpcError, other.call, "auth.whoami")


# What Python takes for the time of day is three hours less from the moment on when a file is there.
SET_BACK = """
import os, time
now, file = time.time, {file!r}
time.time = lambda: now() - 10_800 * os.path.exists(file)
"""


class ClockTests(Commands):
    """A clock that is set back by hours while the daemon runs."""

    def test_set_back(self) -> None:
        """What is to happen in seconds does: a revoked token closes its connection, and calls are answered and timed as before."""
        changed = self.folder / "changed"
        (self.folder / "sitecustomize.py").write_text(SET_BACK.format(file=str(changed)))
        path = os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH"))))
        with Daemon(overrides=[f"netsvc.state={self.state}"], own_state=False, environ={"PYTHONPATH": path}) as daemon:
            self.add("ann")
            secret = self.token("ann")
            with RpcSocket(daemon.websocket_url) as socket:
                socket.call("auth.login", token=secret)
                changed.touch()
                id = self.netsvc("token", "list", "ann", "--state", str(self.state)).splitlines()[1].split()[0]
                self.netsvc("token", "revoke", id, "--state", str(self.state))
                self.assertEqual(socket.closed(REVOCATION + 5), 4401)
            self.assertIn("the clock was set back by 1", daemon.output())
            self.assertEqual(request(f"{daemon.url}/readyz").status, 200)
            self.assertEqual(daemon.stop(), 0)


class AsRoot(Commands):
    """What root does in a directory that is another user's."""

    def setUp(self) -> None:
        """A state directory of nobody's."""
        super().setUp()
        require_root()
        self.folder.chmod(0o711)
        self.state.mkdir(0o700)
        os.chown(self.state, NOBODY, NOBODY)

    def check_owner(self) -> None:
        """Everything there belongs to nobody."""
        files = list(self.state.iterdir())
        self.assertIn(self.state / "netsvc.db", files)
        self.assertEqual({(file.stat().st_uid, file.stat().st_gid) for file in files}, {(NOBODY, NOBODY)})

    def test_owner(self) -> None:
        """What root creates belongs to the owner of the directory."""
        self.add("alice", "--role", "admin")
        self.assertIn("alice", self.netsvc("user", "list", "--state", str(self.state)))
        self.check_owner()

    def test_behind_a_closed_door(self) -> None:
        """The same where only root can go, as systemd keeps the directories of a DynamicUser, by way of a link to it."""
        self.folder.chmod(0o700)
        door = self.folder / "door"
        door.symlink_to(self.state)
        self.state, state = door, self.state
        self.add("alice", "--role", "admin")
        self.assertIn("alice", self.netsvc("user", "list", "--state", str(door)))
        self.state = state
        self.check_owner()
        (state / "netsvc.db").write_bytes(b"spoilt" * 1000)
        self.netsvc("user", "list", "--state", str(door), status=1)
        self.assertIn(f"in {door}: ", self.errors)

    def test_planted_link(self) -> None:
        """A link that the owner has planted in place of a file gives it nothing of root's."""
        self.add("alice")
        victim = self.folder / "victim"
        victim.write_text("root's own")
        victim.chmod(0o600)
        for name in ("netsvc.db-wal", "netsvc.db-shm"):
            link = self.state / name
            link.unlink(missing_ok=True)
            link.symlink_to(victim)
        subprocess.run([sys.executable, "-m", "netsvc.cli", "user", "list", "--state", str(self.state)], capture_output=True, timeout=DEADLINE)
        status = victim.stat()
        self.assertEqual((victim.read_text(), status.st_uid, status.st_gid), ("root's own", 0, 0))
