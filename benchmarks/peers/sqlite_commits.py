"""SQLite alone, one commit per row: python -m benchmarks.peers.sqlite_commits DIRECTORY SECONDS.

What acked posts would cost without group commit, network or protocol. Prints {"rate": commits per second} as JSON.
"""

import json
import sqlite3
import sys
import time
from pathlib import Path


def commits_per_second(directory: Path, seconds: float) -> float:
    """Insert rows of about 200 bytes for this many seconds, each durable (WAL, synchronous=FULL)."""
    database = sqlite3.connect(directory / "commits.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE event (room TEXT, seq INTEGER, body BLOB, PRIMARY KEY (room, seq)) WITHOUT ROWID")
    body = b"x" * 200
    start = time.perf_counter()
    rows = 0
    while time.perf_counter() - start < seconds:
        for _ in range(100):
            rows += 1
            database.execute("INSERT INTO event VALUES ('bench', ?, ?)", (rows, body))
    rate = rows / (time.perf_counter() - start)
    database.close()
    return rate


if __name__ == "__main__":
    print(json.dumps({"rate": commits_per_second(Path(sys.argv[1]), float(sys.argv[2]))}))
