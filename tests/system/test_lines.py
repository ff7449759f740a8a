"""Shell scripts as clients: socat, over TCP and UNIX sockets."""

import json
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import make_certificate
from tests.ports import free_port
from tests.system.clients import request
from tests.system.daemon import Daemon
from tests.system.programs import eventually
from tests.system.required import require_program


class SocatTests(SynchronousTestCase):
    """JSON-RPC in lines, as docs/protocol.md shows it."""

    def setUp(self) -> None:
        """Start a daemon."""
        self.socat = require_program("socat")
        self.port = free_port()
        self.daemon = Daemon(
            f"[rpc]\nmodules = netsvc.examples.arithmetic\n[lines]\nmessage = 4KiB\nlisten = tcp:{self.port}:interface=127.0.0.1\n  unix:lines.sock:mode=600\n"
        )
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.tcp = f"TCP:127.0.0.1:{self.port}"

    def say(self, text: str | bytes, address: str = "", patience: float = 20) -> list[Any]:
        """What a script is answered that says this and closes its direction; socat waits `patience` seconds for the end."""
        data = text.encode() if isinstance(text, str) else text
        command = [self.socat, f"-t{patience}", "-", address or self.tcp]
        done = subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_one_call(self) -> None:
        """echo '…' | socat, over both kinds of sockets, without waiting for a timeout."""
        for address in (self.tcp, f"UNIX:{self.daemon.directory}/lines.sock"):
            begun = time.monotonic()
            (answer,) = self.say('{"jsonrpc": "2.0", "id": 1, "method": "math.add", "params": [2, 3]}\n', address)
            self.assertEqual(answer, {"jsonrpc": "2.0", "id": 1, "result": 5})
            self.assertLess(time.monotonic() - begun, 15)

    def test_a_script(self) -> None:
        """Calls, a batch, CRLF, no end of the last line: each answered, in order."""
        script = (
            '{"jsonrpc": "2.0", "id": 1, "method": "auth.login", "params": {"name": "script"}}\r\n'
            '[{"jsonrpc": "2.0", "id": 2, "method": "auth.whoami"}, {"jsonrpc": "2.0", "method": "auth.whoami"}]\n\n'
            '{"jsonrpc": "2.0", "id": 3, "method": "chat.post", "params": {"room": "lobby", "text": "gr\u00fc\u00dfe"}}'
        )
        login, batch, posted = self.say(script)
        self.assertEqual((login["result"]["name"], batch[0]["result"]["name"], posted["result"]["durable"]), ("script", "script", "fsync"))

    def test_nonsense(self) -> None:
        """Is answered with errors; a line that is too long ends it."""
        first, second, third, fourth = self.say(b"nonsense\n\xff\n" + b"x" * 5000 + b"\n" + b'{"jsonrpc":"2.0","id":1,"method":"auth.whoami"}\n')
        self.assertEqual([answer["error"]["code"] for answer in (first, second, third)], [-32700, -32700, -32006])
        self.assertEqual((fourth["method"], fourth["params"]["code"]), ("server.closing", 1009))

    def test_listening(self) -> None:
        """A script that stays hears of the room; at the stop of the daemon it is told, and ends."""
        process = subprocess.Popen([self.socat, "-", self.tcp], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"chat.join","params":["lobby"]}\n')
        process.stdin.flush()
        self.assertEqual(json.loads(process.stdout.readline())["result"]["room"], "lobby")
        self.say('{"jsonrpc":"2.0","id":1,"method":"chat.post","params":["lobby","hello"]}')
        heard = json.loads(process.stdout.readline())
        while heard["method"] == "chat.presence":
            heard = json.loads(process.stdout.readline())
        self.assertEqual((heard["method"], heard["params"]["text"]), ("chat.event", "hello"))
        self.assertEqual(self.daemon.stop(), 0)
        rest = [json.loads(line)["method"] for line in process.stdout]
        self.assertEqual(rest[-2:], ["server.draining", "server.closing"])
        process.stdin.close()
        process.wait(10)


class TlsTests(SynchronousTestCase):
    """The same over TLS, with any endpoint string that [http] listen takes, too."""

    def test_lines_over_tls(self) -> None:
        """Calls in both directions, and an end that both sides see."""
        folder = Path(self.mktemp())
        folder.mkdir()
        certificate, key = (path.absolute() for path in make_certificate(folder))
        port = free_port()
        daemon = Daemon(f"[rpc]\nprovide = guest\n[lines]\nlisten = ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1\n")
        self.addCleanup(daemon.close)
        daemon.start()
        context = ssl.create_default_context(cafile=str(certificate))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
            client.makefile("rwb") as lines,
        ):
            lines.write(b'{"jsonrpc":"2.0","id":1,"method":"rpc.provide","params":["test.own"]}\n{"jsonrpc":"2.0","id":2,"method":"test.own","params":["x"]}\n')
            lines.flush()
            provided, asked = json.loads(lines.readline()), json.loads(lines.readline())
            self.assertEqual((provided["result"]["providers"], asked["params"]), (1, ["x"]))
            lines.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "y" * 100_000}).encode() + b"\n")
            lines.flush()
            self.assertEqual(len(json.loads(lines.readline())["result"]), 100_000)
            self.assertEqual(daemon.stop(), 0)
            self.assertEqual([json.loads(line)["method"] for line in lines], ["server.draining", "server.closing"])


class CapTests(SynchronousTestCase):
    """[limits] connections is for all protocols together."""

    def test_one_count(self) -> None:
        """A connection of lines takes the place of one of HTTP, and leaves it again."""
        port = free_port()
        daemon = Daemon(f"[limits]\nconnections = 1\n[lines]\nlisten = tcp:{port}:interface=127.0.0.1\n")
        self.addCleanup(daemon.close)
        daemon.start()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client, client.makefile("rb") as lines:
            client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"auth.whoami"}\n')
            lines.readline()
            self.assertEqual(request(f"{daemon.url}/healthz").status, 503)
            with socket.create_connection(("127.0.0.1", port), timeout=10) as second, second.makefile("rb") as words:
                (last,) = [json.loads(line) for line in words]
                self.assertEqual((last["method"], last["params"]["code"]), ("server.closing", 1013))
        eventually(lambda: request(f"{daemon.url}/healthz").status == 200, 10, "the place is free again")
