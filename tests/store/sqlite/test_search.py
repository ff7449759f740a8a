"""The search index behind the log: what it forgets, how it comes up to date, and what it survives."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.query import SearchPage, parse_query
from netsvc.core.records import Draft
from netsvc.errors import InvalidParams, StoreUnavailable
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import indexing, search_index, search_thread
from netsvc.store.sqlite.checkpoints import WalBound
from netsvc.store.sqlite.indexing import Indexer
from netsvc.store.sqlite.opening import open_state
from netsvc.store.sqlite.pool import ReaderPool
from netsvc.store.sqlite.transactions import rows_of, transaction, value_of
from netsvc.store.sqlite.writing import LogWriter
from tests.store.harness import DEADLINE, NOW, draft, open_store

SECRET = "xylophonist"
PART = b"ylophonis"
"""What every form of the word has in its bytes: FTS5 leaves out of a word what it shares with the one before it."""


class IndexerTests(SynchronousTestCase):
    """An indexer on a log of its own, moved by hand."""

    def setUp(self) -> None:
        """Open the log."""
        self.directory = Path(self.mktemp())
        self.settings = StoreSettings(search_wait=DEADLINE)
        self.opened = open_state(self.directory, self.settings)
        self.addCleanup(self.opened.close)
        self.readers = ReaderPool(self.opened.readers)
        wal = WalBound(self.opened.writer, self.opened.files.database, self.readers, 1 << 24, 0.1)
        self.writer = LogWriter(self.opened.writer, self.opened.mark, wal, 100, lambda heads: self.indexer.touched.append(heads))
        self.indexer = self.open()
        self.addCleanup(lambda: self.indexer.close())

    def open(self, shard: int = 8) -> Indexer:
        """An indexer with small shards."""
        return Indexer(self.opened.files.search, self.opened.epoch, self.readers, self.settings, shard)

    def reopen(self, shard: int = 8) -> None:
        """Close it and open it again."""
        self.indexer.close()
        self.indexer = self.open(shard)

    def say(self, *texts: str, room: str = "r", start: int = NOW) -> None:
        """Append messages."""
        self.writer.append([draft(text, room, start + number) for number, text in enumerate(texts)])

    def change(self, seq: int, text: str, type: str = "edit") -> None:
        """What an edit or a deletion does to the log."""
        self.opened.writer.execute("UPDATE events SET text = ? WHERE seq = ?", (text, seq))
        self.writer.append([Draft("r", type, "ada", NOW + 1000, None, f'{{"target":{seq}}}')])

    def page(self, query: str, before: tuple[str, int] | None = None, limit: int = 50, hidden: tuple[str, ...] = ()) -> SearchPage:
        """The answer to a query."""
        return self.indexer.search(parse_query(query), before, limit, frozenset(hidden))

    def texts(self, query: str) -> list[str | None]:
        """The texts of what is found."""
        return [row.text for _, row in self.page(query).hits]

    def steps(self) -> None:
        """Take steps until there is nothing to do."""
        self.indexer._purge_at = 0.0
        while (pause := self.indexer.step()) is not None:
            if pause:
                self.indexer._purge_at = 0.0

    def index_bytes(self) -> bytes:
        """All that is in the files of the index."""
        return b"".join(path.read_bytes() for path in self.directory.glob("search.db*"))

    def test_deleted_bytes(self) -> None:
        """A deleted text is in no file of the index any more, not even as a part of a word; before, it was."""
        self.say(*(f"word {number} xylo{number}" for number in range(6)), f"a {SECRET} came", *(f"more {number}" for number in range(30)))
        self.steps()
        self.indexer._index._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.assertIn(PART, self.index_bytes())
        self.change(7, "", "delete")
        self.assertEqual(self.texts(SECRET), [])
        self.steps()
        self.assertNotIn(PART, self.index_bytes())
        self.assertEqual(self.texts("came"), [])
        self.assertEqual(len(self.texts("word")), 6)

    def test_deleted_bytes_at_close(self) -> None:
        """A stop purges what is not purged yet."""
        self.say(f"a {SECRET} came", "another")
        self.steps()
        self.change(1, "", "delete")
        self.reopen()
        self.assertNotIn(PART, self.index_bytes())
        self.assertEqual(self.texts("another"), ["another"])

    def test_stop_is_no_long_purge(self) -> None:
        """A stop purges for so long and no longer; the next process does the rest."""
        self.patch(indexing, "CLOSING", 0.0)
        self.say(*(f"a {SECRET} came" for _ in range(24)))
        self.steps()
        for seq in (1, 9, 17):
            self.change(seq, "", "delete")
        self.reopen()
        stale = "SELECT count(*) FROM shards WHERE stale"
        self.assertEqual(value_of(self.indexer._index._connection, stale), 2)
        self.steps()
        self.assertEqual(value_of(self.indexer._index._connection, stale), 0)

    def test_purge_after_crash(self) -> None:
        """What is to be purged is known to the next process."""
        self.say(f"a {SECRET} came", "another")
        self.steps()
        self.change(1, "", "delete")
        self.indexer.catch_up(time.monotonic() + DEADLINE)
        self.indexer._index.close()
        self.indexer = self.open()
        self.steps()
        self.assertNotIn(PART, self.index_bytes())

    def test_edit(self) -> None:
        """An edited message is found by its new words at its old place, and its old words are gone from the disk."""
        self.say("one", f"the {SECRET}", "two")
        self.steps()
        self.change(2, "the pianist one")
        self.assertEqual((self.texts(SECRET), self.texts("one"), self.texts("the")), ([], ["the pianist one", "one"], ["the pianist one"]))
        self.steps()
        self.assertNotIn(PART, self.index_bytes())

    def test_changed_before_indexed(self) -> None:
        """What was edited or deleted before the index came to it is indexed as it is."""
        self.say("one", "two", "three")
        self.change(1, "uno")
        self.change(2, "", "delete")
        self.assertEqual((self.texts("one"), self.texts("uno"), self.texts("two"), self.texts("in:r")), ([], ["uno"], [], ["three", "uno"]))
        self.assertEqual(value_of(self.indexer._index._connection, "SELECT count(*) FROM shards WHERE stale"), 0)

    def test_change_of_nothing(self) -> None:
        """An edit of what is no message, or gone, changes nothing."""
        self.say("one")
        self.writer.append([Draft("r", "edit", "ada", NOW, "x", extra) for extra in ('{"target":99}', '{"target":2}', "{}", None)])
        self.assertEqual(self.texts("in:r"), ["one"])

    def test_backlog_in_order(self) -> None:
        """A log that was there before the index is indexed in the order of its times, over all rooms."""
        times = [(NOW + 7 * number % 101, f"r{number % 5}") for number in range(101)]
        for at, room in sorted(times):
            self.say(f"w {at}", room=room, start=at)
        self.indexer.touched.clear()
        self.reopen()
        self.assertEqual(self.texts("w"), [f"w {at}" for at, _ in sorted(times, reverse=True)][:50])

    def test_rooms_beyond_a_page(self) -> None:
        """Rooms are compared with the index some at a time."""
        self.patch(indexing, "ROOMS", 3)
        for number in range(10):
            self.say("w", room=f"r{number}")
        self.reopen()
        self.assertEqual(len(self.texts("w")), 10)

    def test_retention(self) -> None:
        """What retention removes goes from the index; a shard of which nothing is left goes as a whole."""
        self.say(*(f"{SECRET} {number}" for number in range(20)), "last")
        self.steps()
        with self.opened.writer as log:
            log.execute("DELETE FROM events WHERE seq <= 20")
            log.execute("UPDATE rooms SET first = 21")
        self.assertEqual(self.texts(SECRET), [])
        self.indexer.prune(["r", "absent"])
        self.steps()
        self.assertNotIn(PART, self.index_bytes())
        self.assertEqual(rows_of(self.indexer._index._connection, "SELECT number FROM shards"), [(2,)])
        self.say("after")
        self.assertEqual(self.texts("in:r"), ["after", "last"])

    def test_retention_missed(self) -> None:
        """What retention removed while nobody looked is found out at the next start, indexed or not."""
        self.say(*(f"w {number}" for number in range(5)))
        self.steps()
        self.say("a", "b")
        with self.opened.writer as log:
            log.execute("DELETE FROM events")
            log.execute("UPDATE rooms SET first = 8")
        self.reopen()
        self.steps()
        self.assertEqual(value_of(self.indexer._index._connection, "SELECT count(*) FROM messages"), 0)

    def test_behind(self) -> None:
        """A search that cannot wait for all says so; not how many events it has not seen, since they may be of rooms that are not for the caller."""
        self.settings = StoreSettings(search_wait=0.0)
        self.reopen()
        self.say(*("w" for _ in range(300)))
        self.say("w", room="other")
        page = self.page("w")
        self.assertEqual((page.hits, page.behind), ([], True))
        while self.indexer._compared is not None:
            self.indexer.step()
        self.assertIs(self.page("w").behind, True)
        self.steps()
        self.assertEqual((self.page("w").behind, len(self.page("w").hits)), (False, 50))

    def test_small_pieces_while_busy(self) -> None:
        """While many posts are committed the index does little, with pauses."""
        self.patch(indexing, "BUSY_RATE", 1.0)  # whatever the machine's speed
        self.steps()
        for room in ("a", "b", "a"):
            self.say(*("w" for _ in range(300)), room=room)
        self.assertEqual(self.indexer.step(), indexing.PAUSE)
        done = value_of(self.indexer._index._connection, "SELECT count(*) FROM messages")
        self.assertEqual(done, indexing.BUSY_PIECE)
        self.say("few")
        self.assertEqual(self.indexer.step(), 0.0)

    def test_purge_while_busy(self) -> None:
        """What has been deleted is purged also while there is always more to index."""
        self.patch(indexing, "BUSY_RATE", 1.0)
        self.say(f"a {SECRET} came")
        self.steps()
        self.change(1, "", "delete")
        self.indexer.catch_up(time.monotonic() + DEADLINE)
        self.say(*("w" for _ in range(1000)))
        self.indexer._purge_at = 0.0
        self.assertEqual(self.indexer.step(), indexing.PAUSE)
        self.assertNotIn(PART, self.index_bytes())

    def test_rests_when_level(self) -> None:
        """When everything is indexed there is nothing to do until more is appended."""
        self.steps()
        self.say("one")
        self.assertIsNone(self.indexer.step())
        self.assertEqual(self.texts("one"), ["one"])

    def test_retention_holds_up_nobody(self) -> None:
        """A search does not wait until all that retention removed has left the index."""
        self.say(*(f"w {number}" for number in range(600)))
        self.steps()
        with self.opened.writer as log:
            log.execute("DELETE FROM events WHERE seq <= 500")
            log.execute("UPDATE rooms SET first = 501")
        self.indexer.prune(["r"])
        self.assertEqual((self.page("w").behind, len(self.page("w", limit=200).hits)), (False, 100))
        self.reopen()
        self.assertEqual(value_of(self.indexer._index._connection, "SELECT count(*) FROM messages"), 100)

    def test_time_is_up(self) -> None:
        """A search that takes too long gives what it has, and where to go on."""
        self.settings = StoreSettings(search_wait=DEADLINE, search_time=1e-9)
        self.reopen(1000)
        self.say(*(f"w {number}" for number in range(100)), room="hidden")
        self.say("w first", room="open", start=NOW - 1)
        page = self.page("w", hidden=("hidden",))
        self.assertEqual(([row.text for _, row in page.hits], page.more), ([], True))
        found = []
        while page.more:
            page = self.page("w", page.position, hidden=("hidden",))
            found += page.hits
        self.assertEqual([row.text for _, row in found], ["w first"] if found else [])

    def test_time_is_up_between_shards(self) -> None:
        """It ends in time also where there is nothing to be found, and is no shorter of hits for it."""
        self.settings = StoreSettings(search_wait=DEADLINE, search_time=1e-9)
        self.reopen()
        self.say("first", *(f"w {number}" for number in range(30)))
        pages = [self.page("first")]
        while pages[-1].more:
            pages.append(self.page("first", pages[-1].position))
        self.assertEqual([[row.text for _, row in page.hits] for page in pages], [[], [], [], ["first"]])

    def test_gone_since(self) -> None:
        """What has left the log since it was indexed is passed over."""
        self.say("w 1", "w 2", "w 3")
        self.steps()
        self.opened.writer.execute("DELETE FROM events WHERE seq = 2")
        self.assertEqual(self.texts("w"), ["w 3", "w 1"])

    def test_another_epoch(self) -> None:
        """The index of another log is thrown away; places in it are no more."""
        self.say("w")
        position = self.page("w").position
        self.indexer.close()
        self.indexer = Indexer(self.opened.files.search, "otherepoch", self.readers, self.settings)
        self.assertEqual(len(self.page("w").hits), 1)
        self.assertRaises(InvalidParams, self.page, "w", position)

    def test_failed_piece(self) -> None:
        """What could not be written is written later."""
        self.say("one", "two")
        self.indexer._index._connection.execute("PRAGMA query_only = ON")
        self.assertRaises(sqlite3.Error, self.steps)
        self.indexer._index._connection.execute("PRAGMA query_only = OFF")
        self.assertEqual(self.texts("in:r"), ["two", "one"])

    def test_failed_look(self) -> None:
        """What could not be looked up when it was told of is indexed later."""
        self.say("one")
        self.steps()
        self.say("two", room="other")
        with patch.object(self.indexer._index, "reached", side_effect=sqlite3.OperationalError("disk I/O error")):
            self.assertRaises(sqlite3.Error, self.indexer.step)
        self.assertEqual(self.texts("two"), ["two"])

    def test_failed_comparison(self) -> None:
        """Nor is a room left out because the index could not be read when it was compared with the log."""
        for room in ("a", "b", "c"):
            self.say(f"hello {room}", room=room)
        self.indexer._index.close()
        self.indexer = self.open()
        reached, calls = self.indexer._index.reached, iter((None, sqlite3.OperationalError("disk I/O error")))

        def fails_once(first: int, last: int) -> dict[int, int]:
            error = next(calls, None)
            if error is not None:
                raise error
            return reached(first, last)

        with patch.object(self.indexer._index, "reached", fails_once):
            self.assertRaises(sqlite3.Error, self.steps)
        self.assertEqual(self.texts("hello"), ["hello c", "hello b", "hello a"])

    def test_failed_purge(self) -> None:
        """What could not be purged is purged later, also where nothing is left but to drop it."""
        self.say(*(f"{SECRET} {number}" for number in range(12)))
        self.steps()
        self.opened.writer.execute("DELETE FROM events WHERE seq < 9")
        self.opened.writer.execute("UPDATE rooms SET first = 9")
        self.indexer.prune(["r"])
        connection = self.indexer._index._connection

        @contextmanager
        def no_commit(connection: sqlite3.Connection) -> Iterator[None]:
            with transaction(connection):
                yield
                raise sqlite3.OperationalError("disk I/O error")

        while self.indexer._firsts:
            self.indexer._forget(indexing.PIECE)
        with patch.object(search_index, "transaction", no_commit):
            self.assertRaises(sqlite3.Error, self.steps)
        self.steps()
        self.assertEqual(rows_of(connection, "SELECT number FROM shards"), [(1,)])
        self.assertEqual(len(self.texts(SECRET)), 4)

    def test_hostile_queries(self) -> None:
        """Nothing that can be typed is an error of FTS5's, or reaches its syntax."""
        self.say("NEAR AND OR NOT text tags r1 m f616461")
        for query in (
            "NEAR(a b)",
            "a AND",
            "OR",
            "NOT",
            "text:x",
            "tags:r1",
            "{a b}:c",
            "^a",
            "a + b",
            "(a",
            "a)",
            "a'b",
            "a\0b",
            "a\ud800",
            "x;--",
            "\\a",
            "a*",
        ):
            try:
                parsed = parse_query(query)
            except InvalidParams:
                continue
            self.indexer.search(parsed, None, 5, frozenset())
        self.assertEqual((self.texts("r1 m"), self.texts("f616461 NOT"), self.texts("r2")), ([*self.texts("near")], [*self.texts("near")], []))


class SearchingTests(SynchronousTestCase):
    """The store with its searching thread."""

    def setUp(self) -> None:
        """Open it."""
        self.directory = Path(self.mktemp())
        self.patch(search_thread, "TICK", 0.0)
        self.open()
        self.addCleanup(lambda: self.reactor.wait(self.store.stop()))

    def open(self, **settings: Any) -> None:
        """Open the store."""
        self.reactor, self.store = open_store(self.directory, **settings)

    def say(self, *texts: str) -> None:
        """Append messages."""
        self.reactor.wait(self.store.append([draft(text) for text in texts]))

    def texts(self, query: str) -> list[str | None]:
        """The texts of what is found."""
        return [row.text for _, row in self.reactor.wait(self.store.search(parse_query(query), None, 50, frozenset())).hits]

    def indexed(self) -> int:
        """How many messages the index has."""
        with closing(sqlite3.connect(self.directory / "search.db")) as index:
            return int(value_of(index, "SELECT count(*) FROM messages"))

    def test_follows_by_itself(self) -> None:
        """The index follows the log without being asked for anything."""
        self.texts("nothing yet")
        self.say("one", "two")
        until = time.monotonic() + DEADLINE
        while self.indexed() < 2:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.001)

    def test_private(self) -> None:
        """The index is for the owner of the state alone."""
        self.say("one")
        self.assertEqual(self.texts("one"), ["one"])
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.directory.glob("search.db*")}, {0o600})

    def test_restart(self) -> None:
        """After a stop and a start everything is found, and a place in the index still says something."""
        self.say("w 1", "w 2")
        page = self.reactor.wait(self.store.search(parse_query("w"), None, 1, frozenset()))
        self.reactor.wait(self.store.stop())
        self.open()
        self.say("w 3")
        self.assertEqual(self.texts("w"), ["w 3", "w 2", "w 1"])
        rest = self.reactor.wait(self.store.search(parse_query("w"), page.position, 5, frozenset()))
        self.assertEqual([row.text for _, row in rest.hits], ["w 1"])

    def test_damaged_file(self) -> None:
        """An index that is no database at the start is made anew."""
        self.say("w")
        self.reactor.wait(self.store.stop())
        (self.directory / "search.db").write_bytes(b"no database" * 1000)
        self.open()
        self.assertEqual(self.texts("w"), ["w"])

    def test_lost_file(self) -> None:
        """An index that is missing at the start is made anew."""
        self.say("w")
        self.reactor.wait(self.store.stop())
        (self.directory / "search.db").unlink()
        self.open()
        self.assertEqual(self.texts("w"), ["w"])

    def test_damage_while_running(self) -> None:
        """An index that turns out to be damaged is made anew, once in a while; until then searches say what is wrong."""
        self.say("w")
        self.assertEqual(self.texts("w"), ["w"])
        self.damage()
        self.assertEqual(self.texts("w"), ["w"])
        self.damage()
        self.assertRaises(StoreUnavailable, self.texts, "w")

    def damage(self) -> None:
        """Take a table away."""
        with closing(sqlite3.connect(self.directory / "search.db")) as index:
            index.execute("DROP TABLE text_0")

    def test_several(self) -> None:
        """Searches are answered one after the other; who has lost patience is passed over."""
        self.say("w")
        query = parse_query("w")
        searches = [self.store.search(query, None, 5, frozenset()) for _ in range(3)]
        searches[1].addErrback(lambda failure: failure.trap(CancelledError))
        searches[1].cancel()
        for search in (searches[0], searches[2]):
            self.assertEqual(len(self.reactor.wait(search).hits), 1)
        self.assertEqual(self.texts("w"), ["w"])

    def test_no_index(self) -> None:
        """Where there can be no index, posts and reading go on, and a search says why it cannot be answered."""
        self.reactor.wait(self.store.stop())
        for path in self.directory.glob("search.db*"):
            path.unlink()
        (self.directory / "search.db").mkdir()
        self.open()
        self.say("w")
        error = self.assertRaises(StoreUnavailable, self.texts, "w")
        self.assertIn("search.db", error.detail)
