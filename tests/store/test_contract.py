"""What every store promises (IStore): one suite, run on each."""

from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.core.records import Draft, RoomInfo, Row
from netsvc.errors import Conflict, StoreUnavailable
from netsvc.interfaces import IStore
from netsvc.store.memory import MemoryStore
from tests.store.harness import DAY, NOW, draft, key, now, open_store

R = TypeVar("R")


class StoreContract:
    """The promises. A subclass makes the store and waits for its answers."""

    store: Any

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result of a Deferred; raises its error."""
        raise NotImplementedError

    def append(self, *drafts: Draft) -> list[int]:
        """Append in one batch; the seqs."""
        self.assertIsNone(self.outcome(self.store.append(list(drafts))))
        return [draft.seq for draft in drafts]

    def fill(self, room: str, count: int, start: int = NOW, step: int = 1) -> None:
        """Append so many events to a room, `step` ms apart."""
        self.append(*(draft(f"{room} {number}", room, start + number * step) for number in range(1, count + 1)))

    def texts(self, room: str = "r", after: int = 0, limit: int = 1000, upto: int | None = None) -> list[str | None]:
        """The texts of what `read_after` gives."""
        return [row.text for row in self.outcome(self.store.read_after(room, after, limit, upto))]

    def bounds(self, room: str = "r") -> tuple[int, int]:
        """First and head of a room."""
        info = self.outcome(self.store.room(room))
        return info.first, info.head

    def test_interface(self) -> None:
        """It provides IStore, has an epoch that fits in a cursor, and says what `durable` is worth."""
        verifyObject(IStore, self.store)
        self.assertRegex(self.store.epoch, r"^[a-z0-9]{8,12}$")
        self.assertIn(self.store.durable, ("fsync", "memory"))

    def test_seq_without_gaps(self) -> None:
        """Each room counts its events from 1 on, within a batch and from batch to batch."""
        drafts = [draft(room="a"), draft(room="b"), draft(room="a")]
        self.assertEqual(self.append(*drafts), [1, 1, 2])
        self.assertEqual(self.append(draft(room="b"), draft(room="a"), draft(room="b")), [2, 3, 3])
        self.assertEqual([(one.error, one.repeated) for one in drafts], [(None, False)] * 3)

    def test_no_drafts(self) -> None:
        """An empty batch is no error."""
        self.assertEqual(self.append(), [])

    def test_many(self) -> None:
        """A batch of any size keeps its order."""
        self.assertEqual(self.append(*(draft(str(number)) for number in range(1, 300))), list(range(1, 300)))
        self.assertEqual(self.texts(), [str(number) for number in range(1, 300)])

    def test_rows(self) -> None:
        """What is read is what was appended, whatever the text is."""
        one = Draft("r", "message", "añ\u4e2d", NOW, "nul \0, quote ', \U0001f600 \n", '{"reply_to":1}')
        two = Draft("r", "topic", "", NOW + 1)
        self.append(one, two)
        rows = self.outcome(self.store.read_after("r", 0, 10))
        self.assertEqual(
            rows, [Row(1, NOW, "message", "añ\u4e2d", "nul \0, quote ', \U0001f600 \n", '{"reply_to":1}'), Row(2, NOW + 1, "topic", "", None, None)]
        )
        self.assertIsInstance(rows[0], Row)

    def test_read_after(self) -> None:
        """Forwards: behind `after`, to `upto`, at most `limit`."""
        self.fill("r", 9)
        self.assertEqual(self.texts(after=7), ["r 8", "r 9"])
        self.assertEqual(self.texts(after=2, limit=2), ["r 3", "r 4"])
        self.assertEqual(self.texts(after=2, upto=3), ["r 3"])
        self.assertEqual(self.texts(after=8, upto=100), ["r 9"])
        for nothing in (self.texts(after=9), self.texts(after=4, upto=4), self.texts(after=1, limit=0), self.texts("absent"), self.texts(after=2**70)):
            self.assertEqual(nothing, [])

    def test_read_before(self) -> None:
        """Backwards: the last ones in front of `before`, in ascending order."""
        self.fill("r", 9)

        def texts(before: int, limit: int, room: str = "r") -> list[str | None]:
            return [row.text for row in self.outcome(self.store.read_before(room, before, limit))]

        self.assertEqual(texts(10, 2), ["r 8", "r 9"])
        self.assertEqual(texts(2**70, 1), ["r 9"])
        self.assertEqual(texts(4, 2), ["r 2", "r 3"])
        self.assertEqual(texts(3, 50), ["r 1", "r 2"])
        for nothing in (texts(1, 5), texts(0, 5), texts(5, 0), texts(5, 5, "absent")):
            self.assertEqual(nothing, [])

    def test_room(self) -> None:
        """A room has bounds from its first event on."""
        self.assertIsNone(self.outcome(self.store.room("r")))
        self.append(draft(at=NOW), draft(at=NOW + 5))
        info = self.outcome(self.store.room("r"))
        self.assertEqual(info, RoomInfo("r", 1, 2, NOW + 5))
        self.assertIsInstance(info, RoomInfo)

    def test_rooms(self) -> None:
        """Rooms are listed by name, a page at a time."""
        self.append(*(draft(room=name) for name in ("b", "a", "c", "a.b", "a-b")))

        def names(after: str, limit: int) -> list[str]:
            return [info.name for info in self.outcome(self.store.rooms(after, limit))]

        self.assertEqual(names("", 10), ["a", "a-b", "a.b", "b", "c"])
        self.assertEqual(names("a-b", 2), ["a.b", "b"])
        self.assertEqual(names("c", 2), [])

    def test_repeated_key(self) -> None:
        """A key that is used again gives the seq and the time of the first use, and appends nothing."""
        self.append(draft(), draft(key=key()))
        again = draft(at=NOW + 1000, key=key())
        other = draft("other", at=NOW + 1000)
        self.assertEqual(self.append(again, other), [2, 3])
        self.assertEqual((again.repeated, again.at, again.error), (True, NOW, None))
        self.assertEqual((other.repeated, other.at), (False, NOW + 1000))
        self.assertEqual(self.texts(), ["hello", "hello", "other"])

    def test_repeated_key_alone(self) -> None:
        """A batch of repeats only is fine."""
        self.append(draft(key=key()))
        self.assertEqual(self.append(draft(key=key()), draft(key=key())), [1, 1])
        self.assertEqual(self.bounds(), (1, 1))

    def test_key_twice_in_a_batch(self) -> None:
        """Two drafts of one batch with one key: the first is appended, the second repeats it."""
        one, two, three = draft(key=key(), at=NOW), draft(key=key(), at=NOW + 1), draft(key=key("other"))
        self.assertEqual(self.append(one, two, three), [1, 1, 2])
        self.assertEqual([one.repeated, two.repeated, three.repeated], [False, True, False])
        self.assertEqual(two.at, NOW)

    def test_key_with_other_params(self) -> None:
        """A key with another digest is a conflict of that draft alone, be the first use old or of the same batch."""
        self.append(draft(key=key("old")))
        drafts = [draft("1", key=key("new")), draft("2", key=key("new", b"two")), draft("3", key=key("old", b"two")), draft("4")]
        self.append(*drafts)
        self.assertEqual([type(one.error) for one in drafts], [type(None), Conflict, Conflict, type(None)])
        self.assertEqual([one.seq for one in drafts], [2, 0, 0, 3])
        self.assertEqual(self.texts(), ["hello", "1", "4"])

    def test_conflict_starts_no_room(self) -> None:
        """A room whose only draft is a conflict does not exist."""
        self.append(draft(key=key()))
        self.append(draft(room="new", key=key(digest=b"two")))
        self.assertIsNone(self.outcome(self.store.room("new")))

    def test_scopes(self) -> None:
        """The same key in another scope is another key."""
        self.assertEqual(self.append(draft(key=key()), draft(key=key(scope="other"))), [1, 2])

    def test_expired_key(self) -> None:
        """A key that has expired is as good as new, with other params too."""
        self.append(draft(key=key(expires=NOW + 10)))
        self.assertEqual(self.append(draft(at=NOW + 9, key=key())), [1])
        late = draft(at=NOW + 10, key=key(digest=b"two", expires=NOW + 20))
        self.assertEqual(self.append(late), [2])
        self.assertFalse(late.repeated)
        self.assertEqual(self.append(draft(at=NOW + 19, key=key(digest=b"two"))), [2])

    def test_many_keys(self) -> None:
        """Any number of keys in one batch are found again."""
        first = self.append(*(draft(key=key(str(number))) for number in range(200)))
        self.assertEqual(self.append(*(draft(key=key(str(number))) for number in range(200))), first)

    def test_answer_of_a_post(self) -> None:
        """The stored answer of a post's key says where its event is."""
        self.append(draft(), draft(key=key()))
        stored = self.outcome(self.store.recall(key().scope, "k", NOW))
        self.assertEqual(stored, (b"one", b'{"seq":2,"at":%d}' % NOW))

    def test_answers(self) -> None:
        """An answer is remembered until it expires, and replaced by a later one."""
        self.assertIsNone(self.outcome(self.store.recall("s", "k", NOW)))
        self.outcome(self.store.remember("s", "k", b"one", b"[1]", NOW + 10))
        stored = self.outcome(self.store.recall("s", "k", NOW + 9))
        self.assertEqual((stored.digest, stored.answer), (b"one", b"[1]"))
        self.assertIsNone(self.outcome(self.store.recall("s", "k", NOW + 10)))
        self.assertIsNone(self.outcome(self.store.recall("s", "other", NOW)))
        self.outcome(self.store.remember("s", "k", b"two", b"[2]", NOW + 20))
        self.assertEqual(self.outcome(self.store.recall("s", "k", NOW)), (b"two", b"[2]"))

    def test_answers_at_once(self) -> None:
        """Answers that come while others are stored are stored too, the later of one key last."""
        waiting = [self.store.remember("s", str(number % 5), b"d", b"%d" % number, NOW + 10) for number in range(20)]
        for done in waiting:
            self.assertIsNone(self.outcome(done))
        self.assertEqual([self.outcome(self.store.recall("s", str(number), NOW)).answer for number in range(5)], [b"15", b"16", b"17", b"18", b"19"])

    def test_key_of_another_answer(self) -> None:
        """A post whose key has the answer of something else is a conflict."""
        self.outcome(self.store.remember(key().scope, "k", b"one", b'"done"', NOW + 10))
        clash = draft(key=key())
        self.append(clash)
        self.assertIsInstance(clash.error, Conflict)

    def test_prune_by_number(self) -> None:
        """A room keeps its newest events; the rooms that lost some are named."""
        self.fill("a", 7)
        self.fill("b", 3)
        moved = self.outcome(self.store.prune(NOW, None, 3))
        self.assertEqual(moved, [RoomInfo("a", 5, 7, NOW + 7)])
        self.assertEqual(self.texts("a"), ["a 5", "a 6", "a 7"])
        self.assertEqual((self.bounds("a"), self.bounds("b")), ((5, 7), (1, 3)))
        self.assertEqual(self.outcome(self.store.prune(NOW, None, 3)), [])

    def test_prune_by_age(self) -> None:
        """Events older than allowed go; a room may lose all, and counts on."""
        self.fill("a", 7, start=NOW, step=10)
        self.fill("b", 2, start=NOW - 1000)
        moved = self.outcome(self.store.prune(NOW + 140, 100, None))
        self.assertEqual([(info.name, info.first, info.head) for info in moved], [("a", 4, 7), ("b", 3, 2)])
        self.assertEqual(self.texts("a"), ["a 4", "a 5", "a 6", "a 7"])
        self.assertEqual((self.texts("b"), self.bounds("b")), ([], (3, 2)))
        self.assertEqual(self.append(draft("on", "b")), [3])
        self.assertEqual([row.seq for row in self.outcome(self.store.read_before("b", 10, 5))], [3])

    def test_prune_by_both(self) -> None:
        """Of two limits the stricter one holds in each room."""
        self.fill("a", 10, step=10)
        self.fill("b", 10, start=NOW - DAY, step=10)
        self.outcome(self.store.prune(NOW + 100, 20, 5))
        self.assertEqual((self.bounds("a"), self.bounds("b")), ((8, 10), (11, 10)))

    def test_prune_keeps_order(self) -> None:
        """An old event behind a newer one stays until that one goes: what is kept has no gaps."""
        self.append(draft("1", at=NOW), draft("2", at=NOW + 100), draft("3", at=NOW + 1), draft("4", at=NOW + 200))
        self.outcome(self.store.prune(NOW + 150, 100, None))
        self.assertEqual(self.texts(), ["2", "3", "4"])
        self.outcome(self.store.prune(NOW + 201, 100, None))
        self.assertEqual(self.texts(), ["4"])

    def test_prune_keys(self) -> None:
        """Keys that have expired are removed whether or not events are."""
        self.append(draft(key=key("short", expires=NOW + 10)), draft(key=key("long")))
        self.assertEqual(self.outcome(self.store.prune(NOW + 10, None, None)), [])
        self.assertIsNone(self.outcome(self.store.recall(key().scope, "short", NOW)))
        self.assertIsNotNone(self.outcome(self.store.recall(key().scope, "long", NOW)))
        self.assertEqual(self.bounds(), (1, 2))

    def test_read_marks(self) -> None:
        """A mark never goes back; everybody has their own, so many and no more; those of a user go with the user."""

        def mark(name: str, room: str, seq: int, at: int = NOW, most: int = 10) -> int:
            return int(self.outcome(self.store.mark_read(name, room, seq, at, most)))

        self.assertEqual([mark("ada", "r", 3), mark("ada", "r", 2), mark("ada", "s", 0), mark("bob", "r", 7)], [3, 3, 0, 7])
        self.assertEqual(self.outcome(self.store.read_marks("ada")), {"r": 3, "s": 0})
        self.assertEqual(self.outcome(self.store.read_marks("nobody")), {})
        mark("ada", "t", 1, NOW + 1)
        mark("ada", "r", 1, NOW + 2)
        mark("ada", "u", 1, NOW + 3, 2)
        self.assertEqual(self.outcome(self.store.read_marks("ada")), {"r": 3, "u": 1})
        # The one just made stays, even if the clock was set back.
        mark("ada", "v", 4, NOW - 1, 2)
        self.assertEqual(self.outcome(self.store.read_marks("ada")), {"u": 1, "v": 4})

    def test_many_read_marks(self) -> None:
        """Marks that are made at once all are."""
        waiting = [self.store.mark_read("ada", f"r{number}", number, NOW, 100) for number in range(20)]
        self.assertEqual([self.outcome(one) for one in waiting], list(range(20)))
        self.assertEqual(len(self.outcome(self.store.read_marks("ada"))), 20)

    def test_outlines(self) -> None:
        """What is new in rooms: the newest events behind a position, without texts, newest first; absent rooms are left out."""
        self.fill("a", 5)
        self.fill("b", 2)
        self.append(Draft("c", "message", "ada", NOW, "hi", '{"x":1}'))
        found = self.outcome(self.store.outlines({"a": 1, "b": 2, "c": 0, "absent": 0}, 3))
        self.assertEqual(sorted(found), ["a", "b", "c"])
        self.assertEqual([(found[room].head, [row.seq for row in found[room].rows]) for room in "abc"], [(5, [5, 4, 3]), (2, []), (1, [1])])
        self.assertEqual(found["c"].rows, [Row(1, NOW, "message", "ada", None, '{"x":1}')])
        many = {f"r{number}": 0 for number in range(120)} | {"a": 4, "b": 9}
        found = self.outcome(self.store.outlines(many, 3))
        self.assertEqual({room: len(outline.rows) for room, outline in found.items()}, {"a": 1, "b": 0})
        self.assertEqual(self.outcome(self.store.outlines({}, 3)), {})

    def test_probe(self) -> None:
        """A probe says that writes succeed, as often as it is asked."""
        self.assertIsNone(self.outcome(self.store.probe()))
        self.assertIsNone(self.outcome(self.store.probe()))

    def test_stopped(self) -> None:
        """A store that has been stopped refuses, by the Deferred or in the drafts; stopping again is no error."""
        self.fill("r", 2)
        self.outcome(self.store.stop())
        self.outcome(self.store.stop())
        late = draft()
        self.assertIsNone(self.outcome(self.store.append([late])))
        self.assertIsInstance(late.error, StoreUnavailable)
        self.assertEqual(late.seq, 0)
        accounts = self.store.accounts
        for refused in (
            self.store.room("r"),
            self.store.rooms("", 1),
            self.store.read_after("r", 0, 1),
            self.store.read_before("r", 2, 1),
            self.store.recall("s", "k", NOW),
            self.store.remember("s", "k", b"", b"", NOW),
            self.store.prune(NOW, None, 1),
            self.store.probe(),
            self.store.mark_read("ada", "r", 1, NOW, 1),
            self.store.read_marks("ada"),
            self.store.outlines({"r": 0}, 1),
            accounts.find_user("ada"),
            accounts.remove_session(b"d"),
        ):
            self.assertRaises(StoreUnavailable, self.outcome, refused)


class MemoryStoreTests(StoreContract, SynchronousTestCase):
    """The memory store, at once."""

    clock: Clock | None = None

    def setUp(self) -> None:
        """A new store."""
        self.store = MemoryStore(self.clock)
        self.outcome(self.store.start())

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result; raises its error."""
        if self.clock is not None:
            self.clock.advance(0)
        return now(deferred)


class MemoryStoreWithClockTests(MemoryStoreTests):
    """The memory store whose appends take a turn."""

    def setUp(self) -> None:
        """A new store and its clock."""
        self.clock = Clock()
        super().setUp()


class SqliteStoreTests(StoreContract, SynchronousTestCase):
    """The SQLite store, with its threads."""

    def setUp(self) -> None:
        """A new store in a directory of its own."""
        self.reactor, self.store = open_store(Path(self.mktemp()), prune_batch=4, heads=2)
        self.addCleanup(lambda: self.outcome(self.store.stop()))

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result; raises its error."""
        return self.reactor.wait(deferred)
