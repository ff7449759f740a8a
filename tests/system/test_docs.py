"""The commands and settings in the documentation do what it says."""

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase
from websockets.sync.client import connect

from tests.certificates import make_certificate
from tests.ports import free_port
from tests.system.clients import request
from tests.system.daemon import Daemon
from tests.system.programs import eventually
from tests.system.required import require_program

ROOT = Path(__file__).parent.parent.parent
MARKED = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)
MODULE = re.compile(r"<!-- file (\w+)\.py -->\n```python\n(.*?)```", re.DOTALL)
MARKED_WITH_MODULE = re.compile(r"<!-- run with \w+\.py -->\n```sh\n(.*?)```", re.DOTALL)
RUN_DEADLINE = 300.0


def section_command(heading: str) -> str:
    """The one line in the one fenced block below a heading of the README."""
    text = (ROOT / "README.md").read_text()
    body = re.split(r"^## ", text.split(f"\n## {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"```sh\n(.*?)```", body, re.DOTALL)
    assert len(blocks) == 1, f"## {heading} has {len(blocks)} blocks"
    lines = blocks[0].strip().splitlines()
    assert len(lines) == 1, f"## {heading} has {len(lines)} lines"
    return str(lines[0])


class CommandsTests(SynchronousTestCase):
    """Blocks that are marked to be run, one page after the other, against one daemon."""

    def test_marked_blocks(self) -> None:
        """Each line of them succeeds and no JSON-RPC answer in their output is an error."""
        for program in ("curl", "sqlite3", "bash"):
            require_program(program)
        daemon = Daemon(own_state=False)
        self.addCleanup(daemon.close)
        daemon.start()
        pages = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if MARKED.search(page.read_text())]
        self.assertIn(ROOT / "README.md", pages)
        for page in pages:
            for block in MARKED.findall(page.read_text()):
                self.run_block(block, daemon)

    def test_procedures_of_your_own(self) -> None:
        """The module of docs/rpc.md is taken as it is printed there, and the calls below it are answered."""
        page = (ROOT / "docs" / "rpc.md").read_text()
        modules = dict(MODULE.findall(page))
        daemon = Daemon(own_state=False, overrides=[f"rpc.modules={','.join(modules)}"])
        self.addCleanup(daemon.close)
        for name, source in modules.items():
            (daemon.directory / f"{name}.py").write_text(source)
        daemon.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(daemon.directory), os.environ.get("PYTHONPATH"))))
        daemon.start()
        blocks = MARKED_WITH_MODULE.findall(page)
        self.assertEqual(len(blocks), len(modules))
        for block in blocks:
            self.run_block(block, daemon)

    def run_block(self, block: str, daemon: Daemon) -> None:
        """Run it where the daemon was started, with this venv and the daemon's port in place of those written down."""
        script = re.sub(r"netsvc (call|chat|status)", rf"netsvc \1 --url {daemon.url}", block)
        script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/").replace("127.0.0.1:8080", f"127.0.0.1:{daemon.port}")
        environ = {**os.environ, "NO_PROXY": "*"}
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=daemon.directory, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, f"{script}\n{done.stdout}{done.stderr}\n{daemon.output()}")
        self.assertNotIn('"error":', done.stdout, script)


NGINX = """daemon off; pid {folder}/pid; error_log {folder}/errors; worker_processes 1; events {{}}
http {{
access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{site}
}}
"""


class ReverseProxyTests(SynchronousTestCase):
    """nginx and netsvc with the settings that docs/operations.md prints; the tests' own are names, ports and the certificate."""

    def setUp(self) -> None:
        """Start both."""
        self.program = require_program("nginx", "/usr/sbin/nginx")
        self.port = free_port()
        self.origin = f"https://localhost:{self.port}"
        temporary = TemporaryDirectory(prefix="netsvc-nginx-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        section = (ROOT / "docs" / "operations.md").read_text().split("\n## Behind a reverse proxy\n")[1]
        settings = re.findall(r"```ini\n(.*?)```", section, re.DOTALL)[0]
        settings = settings.replace("https://chat.example.org", self.origin).replace("chat.example.org", "localhost")
        self.daemon = Daemon(settings)
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.context = self.start_nginx(re.findall(r"```nginx\n(.*?)```", section, re.DOTALL)[0])

    def start_nginx(self, site: str) -> ssl.SSLContext:
        """Run it with a site; what its clients trust."""
        certificate, key = make_certificate(self.folder, "localhost")
        site = re.sub(r"(ssl_certificate +)\S+;", rf"\1{certificate};", site)
        site = re.sub(r"(ssl_certificate_key +)\S+;", rf"\1{key};", site)
        site = site.replace("listen 443", f"listen 127.0.0.1:{self.port}").replace("chat.example.org", "localhost")
        config = self.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=self.folder, site=site.replace("127.0.0.1:8080", f"127.0.0.1:{self.daemon.port}")))
        with (self.folder / "said").open("wb") as said:
            process = subprocess.Popen([self.program, "-c", str(config)], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        eventually(lambda: self.listening() or process.poll() is not None, 10.0, "nginx")
        self.assertIsNone(process.poll(), (self.folder / "said").read_text())
        return ssl.create_default_context(cafile=str(certificate))

    def listening(self) -> bool:
        """Whether nginx takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPResponse:
        """A request through nginx, whose answer is still to be read."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=10)
        self.addCleanup(connection.close)
        connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse()

    def test_signing_in_and_talking(self) -> None:
        """A browser signs in over https and gets a cookie for https alone, its WebSocket works, and an event stream comes as it happens."""
        command = [sys.executable, "-m", "netsvc.cli", "user", "add", "ann", "--password-stdin", "--state", str(self.daemon.state)]
        subprocess.run(command, input="correct horse battery staple\n", text=True, check=True, capture_output=True, timeout=60)
        self.assertEqual(self.ask("GET", "/rooms/lobby/events").status, 401)
        form = urlencode({"name": "ann", "password": "correct horse battery staple"})
        signed_in = self.ask("POST", "/login", form, Origin=self.origin, Content_Type="application/x-www-form-urlencoded")
        self.assertEqual(signed_in.status, 303)
        cookie = signed_in.headers["Set-Cookie"]
        self.assertRegex(cookie, r"(?i); secure")
        session = cookie.partition(";")[0]
        with connect(
            f"wss://localhost:{self.port}/ws", ssl=self.context, origin=self.origin, additional_headers={"Cookie": session}, proxy=None, open_timeout=10
        ) as page:  # type: ignore[arg-type]
            stream = self.ask("GET", "/rooms/lobby/events", Accept="text/event-stream", Cookie=session)
            self.assertTrue(stream.readline().startswith(b"id: "))
            page.send('{"jsonrpc": "2.0", "id": 1, "method": "chat.post", "params": ["lobby", "through the proxy"]}')
            self.assertIn('"durable"', str(page.recv(10)))
            while not (line := stream.readline()).startswith(b"data: "):
                self.assertTrue(line)
            self.assertIn(b"through the proxy", line)


class ReadmeTests(SynchronousTestCase):
    """The two lines that a newcomer pastes."""

    def test_run_it(self) -> None:
        """In a clean copy the first line ends with the daemon in the foreground and its URL printed; the page is there; Ctrl-C ends it."""
        if os.environ.get("NETSVC_CI") != "1":
            raise self.skipTest("it installs from the network: set NETSVC_CI=1")
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", 8080)), 0, "port 8080 is in use")
        clone = Path(self.mktemp()).absolute()
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "_trial_temp*", "netsvc-state", "node_modules")
        shutil.copytree(ROOT, clone, ignore=ignored, symlinks=True)
        printed = clone / "printed"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "PYTHON", "VIRTUAL_ENV"))}
        with printed.open("wb") as output:
            command = ["bash", "-c", section_command("Run it")]
            process = subprocess.Popen(command, cwd=clone, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(self.end, process)
        up = eventually(lambda: "http://127.0.0.1:8080/" in printed.read_text() or process.poll() is not None, RUN_DEADLINE, "the URL")
        self.assertTrue(up)
        self.assertIsNone(process.poll(), printed.read_text())
        page = request("http://127.0.0.1:8080/")
        self.assertEqual((page.status, page.headers["content-type"].partition(";")[0]), (200, "text/html"))
        os.killpg(process.pid, signal.SIGINT)
        self.assertEqual(process.wait(30), 0, printed.read_text())

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill what may be left of it."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def test_test_it(self) -> None:
        """The second line runs the tests that CI runs."""
        command = section_command("Test it")
        self.assertRegex(command, r"^python3 -m venv \.venv && \.venv/bin/pip install -q -e '\.\[test\]' && \.venv/bin/python -m twisted\.trial [-\w ]+$")
        self.assertTrue(command.endswith(" tests"))
