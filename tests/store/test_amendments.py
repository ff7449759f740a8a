"""What every store promises of drafts that amend what is there already: one suite, run on each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.records import Amendment, Draft, Key, Load, Row
from netsvc.errors import Conflict, Forbidden, NotFound
from netsvc.store.memory import MemoryStore
from tests.store.harness import DAY, NOW, draft, key, now, open_store

R = TypeVar("R")


def amending(amend: Amendment, target: int, room: str = "r", at: int = NOW + 1, key: Key | None = None) -> Draft:
    """An event that is about another."""
    made = Draft(room, "edit", "ada", at, None, None, key)
    made.target, made.amend = target, amend
    return made


def to_upper(made: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    """Make the target's text upper case, say in its `extra` by whom; the draft keeps what it was."""
    if row is None:
        raise NotFound("no such event")
    made.text = row.text
    return [row._replace(text=(row.text or "").upper(), extra=f'{{"by":{made.seq}}}')]


def refuse(made: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    """Never."""
    raise Forbidden("no")


def look(made: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    """See that the target exists, change nothing."""
    if row is None:
        raise NotFound("no such event")
    return ()


def said_in_3(made: Draft, row: Row | None, load: Load) -> int:
    """Event 3 said it already."""
    return 3


class AmendmentContract:
    """The promises. A subclass makes the store and waits for its answers."""

    store: Any

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result of a Deferred; raises its error."""
        raise NotImplementedError

    def append(self, *drafts: Draft) -> list[int]:
        """Append in one batch; the seqs."""
        self.outcome(self.store.append(list(drafts)))
        return [draft.seq for draft in drafts]

    def texts(self, room: str = "r") -> list[str | None]:
        """The texts of a room."""
        return [row.text for row in self.outcome(self.store.read_after(room, 0, 1000))]

    def test_changes(self) -> None:
        """The target is changed for good, and stays where it is; the draft is appended as it was amended, and told of the change."""
        self.append(draft("one"), draft("two"))
        edit = amending(to_upper, 1)
        self.assertEqual(self.append(edit), [3])
        rows = self.outcome(self.store.read_after("r", 0, 10))
        self.assertEqual(rows[0], Row(1, NOW, "message", "ada", "ONE", '{"by":3}'))
        self.assertEqual([row.text for row in rows], ["ONE", "two", "one"])
        self.assertEqual((list(edit.changed), edit.error, edit.repeated), ([rows[0]], None, False))

    def test_same_batch(self) -> None:
        """An event may amend another of the same batch, also one that was amended before in it."""
        drafts = [draft("one"), amending(to_upper, 1), draft("two"), amending(to_upper, 3), amending(to_upper, 1), draft("x", room="s")]
        self.assertEqual(self.append(*drafts), [1, 2, 3, 4, 5, 1])
        self.assertEqual(self.texts(), ["ONE", "one", "TWO", "two", "ONE"])

    def test_refused(self) -> None:
        """What the amendment has against it becomes the draft's error; it uses no seq, and those around it are appended."""
        self.append(draft("one"))
        no = amending(refuse, 1)
        self.append(before := draft("two"), no, after := draft("three"))
        self.assertEqual((before.seq, no.seq, after.seq), (2, 0, 3))
        self.assertIsInstance(no.error, Forbidden)
        self.assertEqual(self.texts(), ["one", "two", "three"])

    def test_no_target(self) -> None:
        """A seq that is not there yet, an absent room: there is no target. No room comes of it."""
        self.append(draft("one"))
        drafts = [amending(look, target) for target in (0, -1, 2, 2**53 - 1)] + [amending(look, 1, room="absent")]
        self.append(*drafts)
        self.assertEqual([type(one.error) for one in drafts], [NotFound] * 5)
        self.assertIsNone(self.outcome(self.store.room("absent")))
        self.assertEqual(self.append(draft("x", room="absent"), amending(look, 1, room="absent")), [1, 2])

    def test_pruned_target(self) -> None:
        """An event that retention has removed is no target."""
        self.append(draft("one"), draft("two"), draft("three"))
        self.outcome(self.store.prune(NOW, None, 2))
        self.append(gone := amending(look, 1), kept := amending(to_upper, 2))
        self.assertIsInstance(gone.error, NotFound)
        self.assertEqual((kept.seq, self.texts()), (4, ["TWO", "three", "two"]))

    def test_looks_only(self) -> None:
        """An amendment that changes nothing is a check."""
        self.append(draft("one"), looked := amending(look, 1))
        self.assertEqual((looked.seq, list(looked.changed), self.texts()), (2, [], ["one", None]))

    def test_said_before(self) -> None:
        """What has been said already is not appended; the draft is told where that was."""
        self.append(draft("one"), draft("two"), draft("three", at=NOW + 7))
        self.append(again := amending(said_in_3, 1), draft("four"))
        self.assertEqual((again.seq, again.at, again.repeated, again.error), (3, NOW + 7, True, None))
        self.assertEqual(self.texts(), ["one", "two", "three", "four"])

    def test_further_events(self) -> None:
        """An amendment can look at any event of its room, and change several; there are none but those of its room."""
        self.append(draft("one"), draft("two"), draft("other", room="s"), draft("three"))

        def blank(made: Draft, row: Row | None, load: Load) -> Sequence[Row]:
            self.assertEqual([load(seq) for seq in (0, 4, -1)], [None] * 3)
            found = [load(seq) for seq in (1, 2)]
            return [row._replace(text="") for row in found if row is not None]

        self.append(amending(blank, 3))
        self.assertEqual(self.texts(), ["", "", "three", None])
        self.assertEqual(self.texts("s"), ["other"])

    def test_key(self) -> None:
        """A key with an amendment: repeated, it changes nothing more; what was refused stores no answer, what was needless stores one."""
        self.append(draft("one"), draft("two"), draft("three"))
        first, again = amending(to_upper, 1, key=key()), amending(to_upper, 1, key=key())
        self.append(first, again)
        self.assertEqual((first.seq, again.seq, again.repeated), (4, 4, True))
        self.append(refused := amending(refuse, 1, key=key("other")), same := amending(refuse, 1, key=key("other")))
        self.assertEqual([type(one.error) for one in (refused, same)], [Forbidden] * 2)
        self.assertIsNone(self.outcome(self.store.recall("chat.post\0r\0ada", "other", NOW)))
        self.append(amending(said_in_3, 1, key=key("third")))
        self.append(known := amending(to_upper, 2, key=key("third")), clash := amending(look, 1, key=key("third", b"two")))
        self.assertEqual((known.seq, known.repeated), (3, True))
        self.assertIsInstance(clash.error, Conflict)
        self.assertEqual(self.texts(), ["ONE", "two", "three", "one"])


class MemoryAmendmentTests(AmendmentContract, SynchronousTestCase):
    """The promises, of the memory store."""

    def setUp(self) -> None:
        """A store."""
        self.store = MemoryStore()

    def outcome(self, deferred: "Deferred[R]") -> R:
        """At once."""
        return now(deferred)


class SqliteAmendmentTests(AmendmentContract, SynchronousTestCase):
    """The promises, of the SQLite store."""

    def setUp(self) -> None:
        """A store in a new directory."""
        self.directory = Path(self.mktemp())
        self.reactor, self.store = open_store(self.directory)

    def tearDown(self) -> None:
        """Close it."""
        self.reactor.wait(self.store.stop())

    def outcome(self, deferred: "Deferred[R]") -> R:
        """As its threads answer."""
        return self.reactor.wait(deferred)

    def files_with(self, text: str) -> list[str]:
        """The files of the log that have this text."""
        return [path.name for path in self.directory.iterdir() if path.name.startswith("netsvc.db") and text.encode() in path.read_bytes()]

    def test_transaction_tried_again(self) -> None:
        """A batch that fails as a whole is tried again in parts: amendments are asked again, and what they did before has left no trace."""
        self.append(draft("one"))
        drafts = [amending(to_upper, 1), draft("\ud800"), amending(to_upper, 1), amending(said_in_3, 1), amending(refuse, 1)]
        self.append(*drafts)
        self.assertEqual([one.seq for one in drafts], [2, 0, 3, 3, 0])
        self.assertEqual([one.repeated for one in drafts], [False, False, False, True, False])
        self.assertEqual(self.texts(), ["ONE", "one", "ONE"])

    def test_blanked_text_leaves_the_disk(self) -> None:
        """A text that was replaced is nowhere in the files any more after the next round of retention, which comes every few minutes."""
        secret = "xyzzy" * 20

        def blank(made: Draft, row: Row | None, load: Load) -> Sequence[Row]:
            assert row is not None
            return [row._replace(text="")]

        self.append(*(draft(f"{number} {secret}") for number in range(40)))
        self.assertNotEqual(self.files_with(secret), [])
        self.append(*(amending(blank, seq) for seq in range(1, 41)))
        self.outcome(self.store.prune(NOW + DAY, None, None))
        self.assertEqual(self.files_with(secret), [])
