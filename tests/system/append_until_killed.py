"""Appends to a store as fast as it takes it, and prints what has been acknowledged: python -m tests.system.append_until_killed STATE.

Each line is ROOM SEQ KEY; the line is out before the next append is asked for. It ends only when it is killed.
"""

import os
import sys
import time
from itertools import count
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from netsvc.core.records import Draft, Key
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import SqliteStore

ROOMS = ("a", "b", "c")
KEPT = 2000
"""Events that retention keeps of each room."""


async def append_forever(state: Path) -> None:
    """Batches of changing size over several rooms, retention now and then."""
    store = SqliteStore(reactor, state, StoreSettings(checkpoint=256 * 1024))
    await store.start()
    for number in count():
        at = time.time_ns() // 1_000_000
        name = f"{os.getpid()}-{number}"
        drafts = [
            Draft(ROOMS[part % 3], "message", "ada", at, f"{name}-{part}", key=Key("scope", f"{name}-{part}", b"digest", at + 3_600_000))
            for part in range(number % 40 + 1)
        ]
        if number % 50 == 49:
            store.prune(at, None, KEPT)
        await store.append(drafts)
        os.write(1, "".join(f"{draft.room} {draft.seq} {draft.text}\n" for draft in drafts).encode())


if __name__ == "__main__":
    react(lambda _: Deferred.fromCoroutine(append_forever(Path(sys.argv[1]))))
