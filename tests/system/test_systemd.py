"""The shipped units under the real systemd."""

import atexit
import re
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from tests.system.machine import ROOT, Machine

WAIT_FOR = """
for attempt in $(seq 200); do {condition} && break; sleep 0.1; done
{condition}
"""

CLOSED_BY_STOP = """
import json, subprocess
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

clients = [connect("ws://127.0.0.1:8080/ws", proxy=None), connect("ws://127.0.0.1:8080/chat/lobby/", proxy=None)]
clients[0].send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "chat.post", "params": ["lobby", "hello"]}))
print(json.loads(clients[0].recv(timeout=10))["result"]["durable"])
subprocess.run(["systemctl", "stop", "--no-block", "netsvc"], check=True)
for client in clients:
    try:
        while True:
            client.recv(timeout=20)
    except ConnectionClosed as closed:
        print(closed.rcvd.code)
"""


MAKE_CERTIFICATE = """
set -e
mkdir -p -m 700 /etc/letsencrypt
folder=/etc/letsencrypt/live/chat.example.org
mkdir -p $folder
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $folder/privkey.pem -out $folder/cert.pem -days 2 \\
    -subj /CN=chat.example.org -addext subjectAltName=DNS:chat.example.org 2>/dev/null
cp $folder/cert.pem $folder/chain.pem
"""


def told(heading: str, language: str = "ini") -> list[str]:
    """The blocks in a language that docs/operations.md has below a heading, in order."""
    section = (ROOT / "docs" / "operations.md").read_text().split(f"\n{heading}\n")[1]
    return re.findall(rf"```{language}\n(.*?)```", re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0], re.DOTALL)


@cache
def attempted_machine() -> Machine | Exception:
    """The machine of this process, powered off when the process ends, or why there is none."""
    try:
        machine = Machine()
    except Exception as error:  # a skip, too
        return error
    atexit.register(machine.close)
    return machine


def running_machine() -> Machine:
    """The machine of this process."""
    machine = attempted_machine()
    if isinstance(machine, Exception):
        raise machine
    return machine


class ServiceTests(SynchronousTestCase):
    """netsvc.service, on one machine for all tests of a process."""

    def setUp(self) -> None:
        """A stopped service with the shipped settings."""
        self.machine = running_machine()
        self.addCleanup(
            self.machine.run,
            "systemctl stop netsvc.service netsvc.socket; systemctl reset-failed netsvc.service netsvc.socket;"
            "rm -rf /etc/netsvc/netsvc.ini.d /etc/systemd/system/netsvc.service.d /etc/systemd/system/netsvc.socket.d; systemctl daemon-reload; true",
        )

    def settings(self, text: str) -> None:
        """Add a drop-in to the settings."""
        self.machine.run(f"mkdir -p /etc/netsvc/netsvc.ini.d; cat >/etc/netsvc/netsvc.ini.d/test.ini <<'END'\n{text}\nEND")

    def unit(self, text: str, kind: str = "service") -> None:
        """Add a drop-in to the unit, or to that of the socket."""
        folder = f"/etc/systemd/system/netsvc.{kind}.d"
        self.machine.run(f"mkdir -p {folder}; cat >{folder}/test.conf <<'END'\n{text}\nEND\nsystemctl daemon-reload")

    def test_start(self) -> None:
        """When `systemctl start` returns the first request is answered; the status line says where; the state is private."""
        page = self.machine.run("systemctl start netsvc && curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/readyz")
        self.assertEqual(page, "200")
        active, status, result = self.machine.properties("ActiveState", "StatusText", "NRestarts")
        self.assertEqual((active, result), ("active", "0"))
        self.assertIn("http://127.0.0.1:8080/", status)
        self.assertEqual(self.machine.run("stat -c %a /var/lib/private/netsvc /var/lib/private/netsvc/netsvc.db").split(), ["700", "600"])

    def test_stop(self) -> None:
        """A stop closes WebSockets with 1001, ends with status 0 in time, and loses nothing."""
        # systemd forgets a stopped unit's exit status at once; what runs after the stop is told.
        self.unit("[Service]\nExecStopPost=/bin/sh -c 'echo ended: $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS'")
        self.machine.run("systemctl start netsvc")
        self.assertEqual(self.machine.python(CLOSED_BY_STOP).split(), ["fsync", "1001", "1001"])
        self.machine.run("systemctl stop netsvc")
        self.assertEqual(self.machine.run("journalctl -u netsvc -o cat --grep ^ended:"), "ended: success exited 0\n")
        self.machine.run("systemctl start netsvc")
        history = self.machine.run("""curl -sS -d '{"jsonrpc":"2.0","id":1,"method":"chat.history","params":["lobby"]}' http://127.0.0.1:8080/rpc""")
        self.assertIn('"hello"', history)

    def test_security(self) -> None:
        """The unit's exposure is 1.3 or less."""
        verdict = self.machine.run("systemd-analyze security --offline=true /etc/systemd/system/netsvc.service")
        score = re.search(r"exposure level for netsvc.service: ([0-9.]+)", verdict)
        assert score is not None
        self.assertLessEqual(float(score[1]), 1.3)

    def test_the_units_are_well_formed(self) -> None:
        """systemd finds nothing to say about them."""
        self.assertEqual(self.machine.run("systemd-analyze verify netsvc.service netsvc.socket 2>&1"), "")

    def test_a_wrong_configuration(self) -> None:
        """A fault in the settings ends it with 78, systemd does not try again, and the journal has file, line and key."""
        self.settings("[http]\nlisten_on = 8080")
        self.machine.run("! systemctl start netsvc")
        self.assertEqual(self.machine.properties("ActiveState", "SubState", "ExecMainStatus", "NRestarts"), ["failed", "failed", "78", "0"])
        self.assertIn("/etc/netsvc/netsvc.ini.d/test.ini:2: [http] listen_on", self.machine.run("journalctl -u netsvc -o cat"))

    def test_killed(self) -> None:
        """A daemon that dies comes back by itself."""
        self.machine.run("systemctl start netsvc && systemctl kill -s KILL netsvc")
        self.machine.run(WAIT_FOR.format(condition='[ "$(systemctl show netsvc -p NRestarts,ActiveState --value | xargs)" = "1 active" ]'))
        self.machine.run("curl -sSf http://127.0.0.1:8080/healthz")

    def test_watchdog(self) -> None:
        """One that works is left alone for longer than the watchdog's interval; one that hangs is replaced."""
        self.unit("[Service]\nWatchdogSec=1s")
        self.machine.run("systemctl start netsvc")
        first = self.machine.properties("WatchdogTimestampMonotonic", "MainPID")
        later = int(first[0]) + 2_500_000
        self.machine.run(WAIT_FOR.format(condition=f"[ $(systemctl show netsvc -p WatchdogTimestampMonotonic --value) -gt {later} ]"))
        self.assertEqual(self.machine.properties("MainPID", "NRestarts"), [first[1], "0"])
        self.machine.run(f"kill -STOP {first[1]}")
        self.machine.run(WAIT_FOR.format(condition='[ "$(systemctl show netsvc -p NRestarts,ActiveState --value | xargs)" = "1 active" ]'))

    def test_socket_activation(self) -> None:
        """netsvc.socket opens the port, the first request starts the service, and the port stays open over a restart."""
        self.settings("[http]\nlisten = systemd:domain=INET:name=http")
        self.machine.run("systemctl start netsvc.socket")
        self.assertEqual(self.machine.properties("ActiveState"), ["inactive"])
        ask = "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/healthz"
        self.assertEqual(self.machine.run(ask), "200")
        self.assertEqual(self.machine.properties("ActiveState"), ["active"])
        self.assertEqual(self.machine.run(f"systemctl restart --no-block netsvc && {ask}"), "200")

    def test_sockets_alone_need_no_network(self) -> None:
        """With its socket from systemd it serves without any network of its own."""
        self.settings("[http]\nlisten = systemd:domain=INET:name=http")
        self.unit("[Service]\nPrivateNetwork=yes")
        self.machine.run("systemctl start netsvc.socket && curl -sSf http://127.0.0.1:8080/readyz")

    def test_the_port_that_the_page_names(self) -> None:
        """A low port, opened as docs/operations.md says: all may come, the log knows their addresses, and guests are off."""
        settings, socket = told("### Letting systemd open the port")
        self.settings(f"{settings}access_log = on\n")
        self.unit(socket, "socket")
        self.machine.run("systemctl start netsvc.socket && curl -sSf http://127.0.0.1:80/healthz -H 'Host: chat.example.org'")
        self.assertEqual(re.findall(r"http:\S+|guests.*", self.machine.properties("StatusText")[0]), ["http://localhost:80/", "guests are not allowed)"])
        self.assertIn("peer=127.0.0.1 ", self.machine.run("journalctl -u netsvc -o cat --grep healthz"))

    def test_the_certificates_that_the_page_names(self) -> None:
        """Keys that only root can read reach the service as docs/operations.md says."""
        unit, settings = told("### Certificates")
        self.machine.run(MAKE_CERTIFICATE)
        self.settings(settings)
        self.unit(unit)
        self.machine.run("systemctl start netsvc")
        script = (
            "import socket, ssl\n"
            "context = ssl.create_default_context(cafile='/etc/letsencrypt/live/chat.example.org/cert.pem')\n"
            "plain = socket.create_connection(('127.0.0.1', 8443), 10)\n"
            "secure = context.wrap_socket(plain, server_hostname='chat.example.org')\n"
            "secure.sendall(b'GET /readyz HTTP/1.1\\r\\nHost: chat.example.org\\r\\nConnection: close\\r\\n\\r\\n')\n"
            "print(secure.makefile().readline())\n"
        )
        self.assertIn("200 OK", self.machine.python(script))

    def test_backup_and_restore(self) -> None:
        """The lines of docs/operations.md, run by root beside the service, bring a room back as it was, and the files belong to the service."""
        post = "curl -sSf http://127.0.0.1:8080/rpc -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"chat.post\",\"params\":[\"kept\",\"{}\"]}}'"
        backup, daily, restore = told("## Backup and restore", "sh")
        self.machine.run(f"systemctl start netsvc && {post.format('before')}\n{backup}\n{daily}\n{post.format('after')}\n")
        self.assertEqual(self.machine.run("stat -c %a /root/netsvc-backup.db /var/backups/netsvc-*.db").split(), ["600", "600"])
        self.machine.run(f"set -e\n{restore}")
        history = self.machine.run("/opt/netsvc/bin/python -m netsvc.cli call chat.history kept")
        self.assertTrue('"before"' in history and '"after"' not in history, history)
        self.assertEqual(len(self.machine.run("stat -c '%U %a' /var/lib/private/netsvc/*.db | sort -u").splitlines()), 1)

    def test_procedures_of_the_operators_own(self) -> None:
        """A module in a folder that the unit names, as docs/operations.md says, is found by the service."""
        (unit,) = told("### Procedures of your own")
        module = "from netsvc.core.procedures import procedure\n\n@procedure('a.b', role='guest')\ndef b() -> int:\n    return 7\n"
        self.machine.run(f"mkdir -p /opt/netsvc-procedures; cat >/opt/netsvc-procedures/own.py <<'END'\n{module}\nEND")
        self.settings("[rpc]\nmodules = own")
        self.unit(unit)
        self.machine.run("systemctl start netsvc")
        self.assertEqual(self.machine.run("/opt/netsvc/bin/python -m netsvc.cli call a.b"), "7\n")

    def test_accounts(self) -> None:
        """root adds users beside the running service, and what that leaves behind belongs to the service."""
        self.machine.run("systemctl start netsvc")
        netsvc = "/opt/netsvc/bin/python -m netsvc.cli"
        state = "--state /var/lib/private/netsvc"
        self.machine.run(f"{netsvc} user add ann --role admin --no-password {state} && {netsvc} token issue ann {state} >/run/ann.token")
        self.assertIn("versions.netsvc", self.machine.run(f"{netsvc} status --token-file /run/ann.token"))
        self.assertEqual(len(self.machine.run("stat -c %u /var/lib/private/netsvc/* | sort -u").split()), 1)

    def test_journal(self) -> None:
        """The journal has the level of each line as its priority, and no second time stamp."""
        self.machine.run("systemctl start netsvc && systemctl kill -s HUP netsvc")
        warnings = "journalctl -u netsvc -o cat -p warning --grep SIGHUP"
        self.machine.run(WAIT_FOR.format(condition=f"[ -n \"$({warnings})\" ]"))
        self.assertTrue(self.machine.run(warnings).startswith("warn  ["))
        self.assertEqual(self.machine.properties("ActiveState"), ["active"])
