"""Other people's programs, as clients of the daemon: wscat, curl, Chromium."""

import atexit
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright

from tests.system.required import require_program, skip_or_fail

__all__ = ["Curl", "Wscat", "axe_source", "browser", "eventually", "run_node", "wscat_command"]

WSCAT = "wscat@6"
AXE = "axe-core@4"
INSTALL_DEADLINE = 180.0
NODE_DEADLINE = 60.0
EXPECTATION = 10.0
"""Seconds that a page has for what a test expects of it, unless the test says how long."""


def eventually(condition: Callable[[], Any], deadline: float, what: str) -> Any:
    """Ask until the answer is true, and return it; AssertionError with `what` after `deadline` seconds."""
    end = time.monotonic() + deadline
    pause = 0.005
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return value


def npm_modules(package: str) -> Path:
    """The folder ``node_modules`` with a package, ``name@version``, in it: from npm the first time, then kept in the user's cache."""
    name = package.rpartition("@")[0]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netsvc-tests" / name
    modules = cache / "node_modules"
    if not (modules / name / "package.json").exists():
        npm = require_program("npm")
        command = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(cache), package]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_DEADLINE, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            skip_or_fail(f"npm cannot install {package}: {error}")
    return modules


def wscat_command() -> list[str]:
    """How to run wscat."""
    return [require_program("node", "nodejs"), str(npm_modules(WSCAT) / "wscat" / "bin" / "wscat")]


def axe_source() -> str:
    """The program that looks for what keeps people with disabilities out of a page; it makes ``axe`` known where it is run."""
    return (npm_modules(AXE) / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def run_node(script: str, package: str, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """What a script prints that may `require` an npm package; AssertionError with its words if it fails."""
    node = require_program("node", "nodejs")
    done = subprocess.run(
        [node, "-", *arguments],
        input=script,
        env={**os.environ, "NODE_PATH": str(npm_modules(package)), "NO_PROXY": "*", **(environ or {})},
        capture_output=True,
        text=True,
        timeout=NODE_DEADLINE,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


class Wscat:
    """A wscat that is connected to `url`; what it hears is in `lines`."""

    def __init__(self, url: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [*wscat_command(), "--no-color", "--connect", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "NO_PROXY": "*"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # Its prompt goes to the same pipe.
            text = re.sub(r"^(> )+", "", line.rstrip("\n"))
            if text:
                self.lines.append(text)

    @property
    def running(self) -> bool:
        """False once the connection is gone: wscat ends with it."""
        return self._process.poll() is None

    def say(self, text: str) -> None:
        """Type a line. No error if wscat has just ended."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what could not be said any more
                pipe.close()


class Curl:
    """curl as a client of ``POST /rpc``."""

    def __init__(self, url: str) -> None:
        self._curl = require_program("curl")
        self._url = f"{url}/rpc"

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """The JSON-RPC answer; None if there was none, because the server is not there."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        command = [self._curl, "-sS", "--noproxy", "*", "--max-time", "10", "-H", "Content-Type: application/json", "-d", body, self._url]
        done = subprocess.run(command, capture_output=True, check=False, timeout=20)
        if done.returncode:
            return None
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@cache
def _playwright() -> Any:
    """The one playwright of this process: a second one cannot be started beside it."""
    try:
        running = sync_playwright().start()
    except Exception as error:  # its driver is a program of its own; this is all it raises
        skip_or_fail(f"playwright cannot start (libatomic1 is missing for one): {error}")
    atexit.register(running.stop)
    expect.set_options(timeout=EXPECTATION * 1000)
    return running


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window, driven by playwright."""
    program = require_program("chromium", "chromium-browser", "google-chrome")
    chromium = _playwright().chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu", "--no-proxy-server"])
    try:
        yield chromium
    finally:
        chromium.close()
