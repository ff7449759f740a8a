"""TLS by endpoint string: ``ssl:`` and ``tls:`` in [http] listen."""

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import expect
from twisted.trial.unittest import TestCase
from websockets.sync.client import connect

from tests.certificates import make_certificate
from tests.ports import free_port
from tests.system.daemon import Daemon
from tests.system.pages import PASSWORD, user_command
from tests.system.programs import browser
from tests.system.required import skip_or_fail

DEADLINE = 10.0
LARGE = 300


class TlsTests(TestCase):
    """The whole way through TLS, once for each kind of endpoint."""

    def setUp(self) -> None:
        """A certificate of the test's own."""
        temporary = TemporaryDirectory(prefix="netsvc-tls-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.certificate, self.key = make_certificate(self.folder)
        self.context = ssl.create_default_context(cafile=str(self.certificate))

    def whole_way(self, host: str, port: int) -> None:
        """HTTP, a session cookie's attributes, a WebSocket with more than one record's worth of messages."""
        connection = http.client.HTTPSConnection(host, port, context=self.context, timeout=DEADLINE)
        connection.request("GET", "/healthz")
        self.assertEqual(connection.getresponse().read()[:14], b'{"status":"ok"')
        connection.close()
        self.negotiation(host, port)
        name = f"[{host}]" if ":" in host else host
        with connect(f"wss://{name}:{port}/ws", ssl=self.context, origin=f"https://{name}:{port}", proxy=None, open_timeout=DEADLINE) as client:  # type: ignore[arg-type]
            join = {"jsonrpc": "2.0", "id": 1, "method": "chat.join", "params": ["lobby"]}
            client.send(json.dumps(join))
            self.assertEqual(json.loads(client.recv(DEADLINE))["id"], 1)
            for number in range(LARGE):
                client.send(json.dumps({"jsonrpc": "2.0", "method": "chat.post", "params": ["lobby", f"{number} " + "x" * 2000]}))
            seen = []
            while len(seen) < LARGE:
                message = json.loads(client.recv(DEADLINE))
                if message["method"] == "chat.event":
                    seen.append(message["params"]["seq"])
            self.assertEqual(seen, list(range(1, LARGE + 1)))

    def negotiation(self, host: str, port: int) -> None:
        """What browsers and curl ask for in the handshake (ALPN): HTTP/2 is declined in favour of HTTP/1.1."""
        for offered, agreed in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["http/1.0"], "http/1.0")):
            context = ssl.create_default_context(cafile=str(self.certificate))
            context.set_alpn_protocols(offered)
            with socket.create_connection((host, port), DEADLINE) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
                self.assertEqual(secure.selected_alpn_protocol(), agreed)

    def check(self, endpoint: Callable[[int], str], host: str) -> None:
        """Serve, talk, and see that it is not plain HTTP."""
        port = free_port()
        with Daemon(listen=False, overrides=[f"http.listen={endpoint(port)}", "limits.rate=off"]) as daemon:
            self.assertIn(f"https://{f'[{host}]' if ':' in host else host}:{port}/", daemon.status_line)
            self.whole_way(host, port)
            plain = http.client.HTTPConnection(host, port, timeout=DEADLINE)
            self.assertRaises((http.client.HTTPException, OSError), lambda: (plain.request("GET", "/"), plain.getresponse()))
            plain.close()
            self.assertEqual(daemon.stop(), 0)

    def test_ssl(self) -> None:
        """``ssl:`` with a key and a certificate."""
        self.check(lambda port: f"ssl:{port}:privateKey={self.key}:certKey={self.certificate}:interface=127.0.0.1", "127.0.0.1")

    def test_tls(self) -> None:
        """``tls:`` with a folder of PEM files, one for each name."""
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError as error:
            skip_or_fail(f"no IPv6 loopback: {error}")
        folder = self.folder / "certificates"
        folder.mkdir()
        (folder / "localhost.pem").write_bytes(self.key.read_bytes() + self.certificate.read_bytes())
        self.check(lambda port: rf"tls:{folder}:{port}:interface=\:\:1", "::1")

    def test_what_people_use(self) -> None:
        """curl, with HTTP/2 in its offer, and the chat page in a browser, signed in: its cookie is for https alone."""
        port = free_port()
        listen = f"http.listen=ssl:{port}:privateKey={self.key}:certKey={self.certificate}:interface=127.0.0.1"
        with Daemon(listen=False, overrides=[listen]) as daemon, browser() as chromium:
            user_command(daemon, "add", "ann", "--password-stdin", line=PASSWORD)
            url = f"https://localhost:{port}"
            arguments = ["curl", "--silent", "--show-error", "--http2", "--cacert", str(self.certificate), f"{url}/healthz"]
            self.assertIn('"status":"ok"', subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=30).stdout)
            profile = chromium.new_context(ignore_https_errors=True)
            form = {"name": "ann", "password": PASSWORD}
            self.assertTrue(profile.request.post(f"{url}/login", form=form, headers={"Accept": "application/json"}).ok)
            self.assertEqual([cookie["secure"] for cookie in profile.cookies()], [True])
            page = profile.new_page()
            page.goto(f"{url}/chat/lobby/")
            page.wait_for_selector('#state[data-state="online"]', state="attached")
            page.fill("#message", "over TLS")
            page.press("#message", "Enter")
            expect(page.locator("#rows > .message .text").last).to_have_text("over TLS")
            expect(page.locator("#rows > .message").last).to_have_attribute("data-seq", "1")
            profile.close()

    def test_a_missing_certificate(self) -> None:
        """One clear line, and nothing is started; it is a fault of the settings."""
        daemon = Daemon(listen=False, overrides=[f"http.listen=ssl:{free_port()}:privateKey=/nowhere.pem:certKey=/nowhere.pem"])
        self.addCleanup(daemon.close)
        self.assertEqual(daemon.run_to_end(), 78)
        self.assertEqual(daemon.errors(), "--set http.listen: ssl: cannot read privateKey /nowhere.pem: No such file or directory\n")
