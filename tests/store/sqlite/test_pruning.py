"""Retention in small transactions."""

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StoreUnavailable
from netsvc.store.sqlite.pruning import pruning
from netsvc.store.sqlite.transactions import value_of
from tests.store.harness import NOW, draft, key, open_store


class PruningTests(SynchronousTestCase):
    """A store that removes ten rows at a time."""

    def setUp(self) -> None:
        """Open it."""
        self.directory = Path(self.mktemp())
        self.reactor, self.store = open_store(self.directory, prune_batch=10, busy_timeout=0.02)
        self.addCleanup(lambda: self.reactor.wait(self.store.stop()))

    def append(self, count: int, room: str = "r") -> None:
        """Append so many events."""
        self.reactor.wait(self.store.append([draft(room=room) for _ in range(count)]))

    def first(self, room: str = "r") -> int:
        """The oldest event that is kept."""
        info = self.reactor.wait(self.store.room(room))
        assert info is not None
        return info.first

    def test_small_transactions(self) -> None:
        """Each step removes about as many rows as allowed, however they are spread over rooms, and leaves the rooms true to their events."""
        for room, count in (("a", 35), ("b", 1), ("c", 4), ("d", 4), ("e", 12)):
            self.append(count, room)
        steps = []
        with closing(sqlite3.connect(self.directory / "netsvc.db", isolation_level=None)) as connection:
            left = value_of(connection, "SELECT count(*) FROM events")
            for _ in pruning(connection, NOW, None, 2, 10, moved := {}):
                steps.append(left - (left := value_of(connection, "SELECT count(*) FROM events")))
                wrong = "SELECT count(*) FROM rooms WHERE first != (SELECT min(seq) FROM events WHERE room_id = id)"
                self.assertEqual(value_of(connection, wrong), 0)
        self.assertEqual(steps, [10, 10, 10, 10, 7])
        self.assertEqual({info.name: (info.first, info.head) for info in moved.values()}, {"a": (34, 35), "c": (3, 4), "d": (3, 4), "e": (11, 12)})

    def test_posts_between(self) -> None:
        """Posts that come while old events are removed are stored between two steps."""
        self.append(200)
        pruned = self.store.prune(NOW, None, 5)
        posts = 0
        while not pruned.called:
            self.append(1)
            posts += 1
        moved = self.reactor.wait(pruned)
        self.assertEqual([(info.name, info.first) for info in moved], [("r", self.first())])
        # The newest five when the last step was taken, which was after most of the posts.
        self.assertGreater(posts, 15)
        self.assertGreater(moved[0].first, 196 + posts // 2)

    def test_by_age_across_steps(self) -> None:
        """Finding the first young event goes on where the last step ended."""
        self.reactor.wait(self.store.append([draft(at=NOW + number) for number in range(100)]))
        self.reactor.wait(self.store.prune(NOW + 1000, 1000 - 57, None))
        self.assertEqual(self.first(), 58)

    def test_keys_and_sessions(self) -> None:
        """Expired keys and sessions go, also more than one step's; sessions without end stay."""
        self.reactor.wait(self.store.append([draft(key=key(str(number), expires=NOW + 1)) for number in range(25)]))
        with closing(sqlite3.connect(self.directory / "netsvc.db", isolation_level=None)) as connection:
            connection.execute("INSERT INTO users VALUES ('ada', 'member', '', 0)")
            connection.executemany("INSERT INTO sessions VALUES (?, 'ada', 0, ?)", [(b"%d" % number, NOW) for number in range(25)])
            connection.execute("INSERT INTO sessions VALUES (x'00', 'ada', 0, 0), (x'01', 'ada', 0, ?)", (NOW + 2,))
            revision = self.reactor.wait(self.store.accounts.revision())
            self.assertEqual(self.reactor.wait(self.store.prune(NOW + 1, None, None)), [])
            self.assertEqual(value_of(connection, "SELECT count(*) FROM answers"), 0)
            self.assertEqual(value_of(connection, "SELECT count(*) FROM sessions"), 2)
        self.assertEqual(self.reactor.wait(self.store.accounts.revision()), revision)

    def test_locked(self) -> None:
        """If the database cannot be written, that is the answer; the next round does what is left."""
        self.append(30)
        with closing(sqlite3.connect(self.directory / "netsvc.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            error = self.assertRaises(StoreUnavailable, self.reactor.wait, self.store.prune(NOW, None, 1))
        self.assertEqual(error.detail, "the store could not write: database is locked")
        self.reactor.wait(self.store.prune(NOW, None, 1))
        self.assertEqual(self.first(), 30)
