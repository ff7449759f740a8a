"""The contestants: netsvc as shipped, and each peer at its fastest."""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import cache
from benchmarks.processes import Contestant

__all__ = ["channels_room", "netsvc", "node_echo", "socketify_log_room", "socketify_room", "twistd_web", "twisted_web", "uvicorn"]

PEERS = Path(__file__).resolve().parent / "peers"
PLUGINS = Path(__file__).resolve().parent.parent / "twisted_plugins"
# This checkout is measured, installed or not: its plugin is found in place.
START = f"from twisted import plugins; plugins.__path__.append({str(PLUGINS)!r}); from twisted.scripts.twistd import run; run()"
TWISTD = ("-c", START, "-n", "--pidfile=")
# All connections come from one address, and no figure here is about refusals.
ALWAYS = ("http.access_log=off", "limits.rate=off", "limits.connections=0", "limits.connections_per_address=0", "chat.guests=yes")


def _version(*packages: str) -> tuple[str, str]:
    """The versions of the packages as text, and which of them is missing."""
    found, missing = [], []
    for package in packages:
        try:
            found.append(importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    first, *others = [f"{package} {version}" for package, version in zip(packages, found, strict=False)] or [""]
    words = first.partition(" ")[2] + (f" ({', '.join(others)})" if others else "")
    return words, f"not installed: {', '.join(missing)}" if missing else ""


def netsvc(*settings: str) -> Contestant:
    """The whole daemon: store, limits and everything that a user gets.

    :param settings: `section.key=value`, in addition to those that every benchmark sets.
    """

    def command(port: int, directory: Path) -> Sequence[str]:
        sets = (f"http.listen=tcp:{port}:interface=127.0.0.1", f"netsvc.state={directory / 'state'}", *ALWAYS, *settings)
        return [sys.executable, *TWISTD, "netsvc", *(word for one in sets for word in ("--set", one))]

    version = f"(CPython {platform.python_version()}, Twisted {importlib.metadata.version('twisted')})"
    return Contestant("netsvc", version, command)


def uvicorn(module: str) -> Contestant:
    """A bare ASGI application of `benchmarks.peers` on uvicorn with uvloop and httptools."""
    version, absent = _version("uvicorn", "uvloop", "httptools", *(["orjson"] if module == "uvicorn_sum" else []))

    def command(port: int, directory: Path) -> Sequence[str]:
        quiet = ["--no-access-log", "--log-level", "warning"]
        fast = ["--loop", "uvloop", "--http", "httptools"]
        return [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), *fast, *quiet, f"benchmarks.peers.{module}:app"]

    return Contestant("uvicorn", version, command, absent=absent)


def twisted_web() -> Contestant:
    """`twisted.web` with one leaf resource."""
    return Contestant("twisted.web", _version("twisted")[0], lambda port, _: [sys.executable, "-m", "benchmarks.peers.twisted_web", str(port)])


def twistd_web() -> Contestant:
    """`twistd web`: a daemon on the same basis that does next to nothing."""

    def command(port: int, directory: Path) -> Sequence[str]:
        return [sys.executable, *TWISTD, "web", "--listen", f"tcp:{port}:interface=127.0.0.1", "--path", str(directory)]

    return Contestant("twistd web", _version("twisted")[0], command)


def socketify_room() -> Contestant:
    """A room on uWebSockets (C++)."""
    version, absent = _version("socketify")
    return Contestant("socketify", version, lambda port, _: [sys.executable, "-m", "benchmarks.peers.socketify_room", str(port)], absent=absent)


def socketify_log_room(window: int) -> Contestant:
    """The same, storing each message before it is delivered; with this many messages in flight."""
    version, absent = _version("socketify")

    def command(port: int, directory: Path) -> Sequence[str]:
        return [sys.executable, "-m", "benchmarks.peers.socketify_log_room", str(port), str(window), str(directory / "log")]

    return Contestant("socketify with a log", version, command, absent=absent)


def channels_room() -> Contestant:
    """A room on Django Channels."""
    version, absent = _version("channels", "daphne", "django")

    def command(port: int, directory: Path) -> Sequence[str]:
        return [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port), "benchmarks.peers.channels_room:application"]

    return Contestant("channels", version, command, absent=absent)


def _install_ws() -> tuple[str, str]:
    """Node's `ws` in the cache: its version, or why it is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "", "node or npm is not installed"
    manifest = cache() / "node_modules" / "ws" / "package.json"
    if not manifest.exists():
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(cache()), "ws"]
        done = subprocess.run(install, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0 or not manifest.exists():
            return "", f"npm cannot install ws: {done.stderr.strip()[-200:]}"
    ask = ["node", "-p", f"require({str(manifest)!r}).version + ' (Node ' + process.version + ')'"]
    return subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout.strip(), ""


def node_echo() -> Contestant:
    """An echo on Node's `ws`."""
    version, absent = _install_ws()
    environment = {"NODE_PATH": str(cache() / "node_modules")}
    return Contestant("ws", version, lambda port, _: ["node", str(PEERS / "node_echo.js"), str(port)], environment, absent)
