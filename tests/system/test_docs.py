"""The commands in the documentation do what it says."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

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
