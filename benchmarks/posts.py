"""P5: acked posts, each on disk before its ack, from 64 posters; also what an fsync costs here and how posts share commits."""

import http.client
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.harness import Options, Result, interleave, main, result
from benchmarks.load import WebSocketLoad, wsbench
from benchmarks.processes import ROOT, SERVER_CORE, BenchmarkError, Contestant, Running, pinned
from benchmarks.servers import netsvc

__all__ = ["benchmark", "commits_between", "fsync_microseconds"]

POSTERS = 64
TARGETS = {1: 25_000.0, 8: 45_000.0}
POST = '{"jsonrpc":"2.0","id":{n},"method":"chat.post","params":{"room":"bench","text":"' + "x" * 100 + '"}}'
CHECKS = ("--id", '"id":', "--need", '"durable":"fsync"', "--seq", '"seq":')
FSYNCS = 300


@dataclass(frozen=True)
class Posts:
    """One round.

    :param loads: posts in flight for each poster -> what wsbench measured.
    :param batches: posts in flight for each poster -> posts per commit, None if the daemon does not tell.
    :param alone: rows per second of SQLite alone, one commit each.
    :param fsync: microseconds.
    """

    loads: dict[int, WebSocketLoad]
    batches: dict[int, float | None]
    alone: float
    fsync: float


def fsync_microseconds(directory: Path) -> float:
    """The median time to append 4 KiB to a file there and sync it to disk."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(FSYNCS):
            start = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return median(times) * 1e6


def rows_alone(directory: Path, seconds: float) -> float:
    """SQLite's own rate on the same filesystem and core, a commit for each row."""
    with tempfile.TemporaryDirectory(dir=directory) as own:
        command = [sys.executable, "-m", "benchmarks.peers.sqlite_commits", own, f"{seconds:g}"]
        done = subprocess.run(pinned(SERVER_CORE, command), cwd=ROOT, capture_output=True, check=True, timeout=seconds + 60)
    return float(json.loads(done.stdout)["rate"])


def commits_between(before: dict[str, int] | None, after: dict[str, int] | None) -> float | None:
    """Rows per commit between two counts of the store, None without counts."""
    if before is None or after is None or after["commits"] == before["commits"]:
        return None
    return (after["rows"] - before["rows"]) / (after["commits"] - before["commits"])


def run_command(*words: str) -> str:
    """What a command of `netsvc` prints."""
    done = subprocess.run([sys.executable, "-m", "netsvc.cli", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise BenchmarkError(f"netsvc {' '.join(words)}: {done.stderr}")
    return done.stdout.strip()


def admin_token(server: Running) -> str:
    """A token of a new admin, made the way an operator makes one beside the running daemon."""
    state = ("--state", str(server.directory / "state"))
    run_command("user", "add", "bench", "--role", "admin", "--no-password", *state)
    return run_command("token", "issue", "bench", *state)


def store_counts(server: Running, token: str) -> dict[str, int] | None:
    """The daemon's own count of commits and rows, by server.status; None if it does not tell."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection.request("POST", "/rpc", '{"jsonrpc":"2.0","id":1,"method":"server.status"}', headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if "result" not in answer:
        raise BenchmarkError(f"server.status: {answer}")
    counts: dict[str, int] | None = answer["result"].get("store")
    return counts


def post(server: Running, options: Options) -> Posts:
    """Measure one round."""
    loads: dict[int, WebSocketLoad] = {}
    batches: dict[int, float | None] = {}
    token = admin_token(server)
    for window in TARGETS:
        before = store_counts(server, token)
        loads[window] = wsbench(
            server, options.seconds, "--mode", "each", "--path", "/ws", "--clients", str(POSTERS), "--window", str(window), "--payload", POST, *CHECKS
        )
        batches[window] = commits_between(before, store_counts(server, token))
    return Posts(loads, batches, rows_alone(server.directory, options.seconds), fsync_microseconds(server.directory))


def benchmark(options: Options) -> list[Result]:
    """Posts per second, with 1 and with 8 in flight for each poster, against SQLite alone."""
    rounds = interleave(options, [netsvc()], lambda server: post(server, options))["netsvc"]
    alone = [one.alone for one in rounds]
    peer = Contestant("sqlite3", f"{sqlite3.sqlite_version}, a commit each", lambda port, directory: [])
    results = []
    for window, target in TARGETS.items():
        ours = [one.loads[window].rate for one in rounds]
        batches = [batch for one in rounds if (batch := one.batches[window]) is not None]
        share = f"{median(batches):.0f} posts a commit" if batches else "commits not told"
        note = f"fsync {median(one.fsync for one in rounds):.0f} us, {share}, p99 {median(one.loads[window].p99 for one in rounds):.1f} ms"
        what = f"{POSTERS} posters, {window} in flight, fsynced acks/s"
        results.append(result("P5", what, ours, peer, alone, target=target, judged="figure", note=note))
    return results


if __name__ == "__main__":
    sys.exit(main("posts", __doc__, [benchmark]))
