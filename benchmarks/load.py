"""The load generators: wrk for HTTP, wsbench (beside this file) for WebSocket; run them, read what they print, reject wrong results."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import LOAD_CORE, BenchmarkError, Running, cpu_seconds, pinned

__all__ = ["HttpLoad", "WebSocketLoad", "cache", "compile_wsbench", "parse_wrk", "parse_wsbench", "wrk", "wsbench", "wsbench_command"]

HERE = Path(__file__).resolve().parent
WRK_CONNECTIONS = 50
TIME_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class HttpLoad:
    """What wrk measured.

    :param rate: requests per second.
    :param p50: half of the answers came within this many milliseconds; `p99`: 99 % of them.
    :param cpu: the server's CPU time for one request, microseconds.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True)
class WebSocketLoad:
    """What wsbench measured.

    :param rate: counted frames per second, over all clients.
    :param messages: all messages sent (including before and after the clock ran).
    :param p50: median milliseconds from sending to the frame's arrival; `p99`: 99 % arrived within these.
    :param cpu: the server's CPU time for one counted frame, microseconds.
    :param busy: the share of the time in which the server used its core (1.0: the server was the limit, not the generator).
    """

    rate: float
    messages: int
    p50: float
    p99: float
    cpu: float
    busy: float


def cache() -> Path:
    """Where built and downloaded files stay between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(base, "netsvc-benchmarks")
    place.mkdir(parents=True, exist_ok=True)
    return place


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * TIME_UNITS[unit]


def parse_wrk(output: str, cpu: float) -> HttpLoad:
    """Read what `wrk --latency` printed.

    :param cpu: seconds of CPU time that the server used meanwhile.
    :raises BenchmarkError: an answer was not 2xx or 3xx, a socket broke, or the output is not wrk's.
    """
    for complaint in ("Non-2xx", "Socket errors"):
        if complaint in output:
            raise BenchmarkError(f"wrk reported errors:\n{output}")
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    requests = re.search(r"^\s+(\d+) requests in", output, re.MULTILINE)
    shares = dict(re.findall(r"^\s+(50|99)%\s+(\S+)", output, re.MULTILINE))
    if rate is None or requests is None or len(shares) != 2 or int(requests[1]) == 0:
        raise BenchmarkError(f"not the output of wrk --latency:\n{output}")
    return HttpLoad(float(rate[1]), _milliseconds(shares["50"]), _milliseconds(shares["99"]), cpu * 1e6 / int(requests[1]))


def parse_wsbench(output: str) -> WebSocketLoad:
    """Read the JSON object that wsbench printed.

    :raises BenchmarkError: it is not one, or nothing was delivered while the clock ran.
    """
    try:
        seen: dict[str, Any] = json.loads(output)
        frames, cpu = seen["frames"], seen["server_cpu_seconds"]
        if not frames:
            raise BenchmarkError(f"nothing was delivered: {output}")
        return WebSocketLoad(seen["frames_per_second"], seen["messages_sent"], seen["p50_ms"], seen["p99_ms"], cpu * 1e6 / frames, cpu / seen["seconds"])
    except (ValueError, KeyError, TypeError) as fault:
        raise BenchmarkError(f"not the output of wsbench: {output!r}") from fault


def _run(command: Sequence[str], seconds: float) -> str:
    """Run a generator on its core; allow it twice its time plus two minutes."""
    if shutil.which(command[0]) is None:
        raise BenchmarkError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(pinned(LOAD_CORE, command), capture_output=True, text=True, timeout=2 * seconds + 120, check=False)
    except subprocess.TimeoutExpired as fault:
        raise BenchmarkError(f"{command[0]} did not finish: {' '.join(command)}") from fault
    if done.returncode != 0:
        raise BenchmarkError(f"{Path(command[0]).name} failed: {done.stderr.strip()}\n{' '.join(command)}")
    return done.stdout


def wrk(server: Running, path: str, seconds: float, script: str = "") -> HttpLoad:
    """Load a URL over 50 connections, after one second of warming up.

    :param script: the name of a Lua script beside this file.
    """
    url = f"http://127.0.0.1:{server.port}{path}"
    command = ["wrk", "-t1", f"-c{WRK_CONNECTIONS}", "--latency", *(["-s", str(HERE / script)] if script else [])]
    _run([*command, "-d1s", url], 1)
    whole = max(1, round(seconds))
    before = cpu_seconds(server.pid)
    output = _run([*command, f"-d{whole}s", url], whole)
    return parse_wrk(output, cpu_seconds(server.pid) - before)


def compile_wsbench() -> Path:
    """The wsbench program, compiled if its source has changed.

    :raises BenchmarkError: there is no C compiler, or it refuses.
    """
    source = HERE / "wsbench.c"
    program = cache() / f"wsbench-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        compiler = shutil.which("cc")
        if compiler is None:
            raise BenchmarkError("no C compiler (cc) to build wsbench with")
        unfinished = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run([compiler, "-O2", "-o", unfinished, source], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchmarkError(f"cc rejects wsbench.c:\n{done.stderr}")
        unfinished.rename(program)
    return program


def wsbench_command(server: Running, *arguments: str) -> list[str]:
    """The command line of wsbench against a server."""
    return [str(compile_wsbench()), "--port", str(server.port), "--pid", str(server.pid), *arguments]


def wsbench(server: Running, seconds: float, *arguments: str) -> WebSocketLoad:
    """Load a WebSocket server; the arguments are those of wsbench.c, except --port, --pid and --seconds."""
    return parse_wsbench(_run(wsbench_command(server, "--seconds", f"{seconds:g}", *arguments), seconds))
