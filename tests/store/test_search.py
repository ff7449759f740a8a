"""What searching any store promises: one suite, run on each."""

from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.query import MOST_SPANS, SearchPage, parse_query
from netsvc.core.records import Draft
from netsvc.errors import InvalidParams, StoreUnavailable
from netsvc.store.memory import MemoryStore
from tests.store.harness import DAY, NOW, draft, now, open_store

R = TypeVar("R")

NOVEMBER = 1_793_491_200_000
"""2026-11-01T00:00Z"""


class SearchContract:
    """The promises. A subclass makes the store and waits for its answers."""

    store: Any
    assertEqual: Any  # noqa: N815 - trial's name
    assertRaises: Any  # noqa: N815 - trial's name

    def outcome(self, deferred: "Deferred[R]") -> R:
        """The result of a Deferred; raises its error."""
        raise NotImplementedError

    def say(self, *texts: str, room: str = "r", sender: str = "ada", start: int = NOW) -> None:
        """Append messages a millisecond apart."""
        self.outcome(self.store.append([Draft(room, "message", sender, start + number, text) for number, text in enumerate(texts)]))

    def page(self, query: str, before: tuple[str, int] | None = None, limit: int = 50, hidden: tuple[str, ...] = (), room: str = "") -> SearchPage:
        """The answer to a query, in one room if that is given."""
        wanted = parse_query(query)
        return self.outcome(self.store.search(wanted._replace(rooms=(room,)) if room else wanted, before, limit, frozenset(hidden)))

    def texts(self, query: str, **options: Any) -> list[str | None]:
        """The texts of what is found."""
        return [row.text for _, row in self.page(query, **options).hits]

    def check(self, found: dict[str, list[str]], **options: Any) -> None:
        """Each query finds these texts, in this order."""
        self.assertEqual({query: self.texts(query, **options) for query in found}, found)

    def test_words(self) -> None:
        """All words must be there, in any order and case, whole; newest first."""
        self.say("the deploy failed", "Deploy again", "undeployed", "failed, but deploy!")
        self.check({"deploy": ["failed, but deploy!", "Deploy again", "the deploy failed"], "failed DEPLOY": ["failed, but deploy!", "the deploy failed"]})
        self.check({"deploy nothing": [], "nothing": [], "ploy": []})

    def test_prefix(self) -> None:
        """A star stands for any rest of a word."""
        self.say("dependency", "department", "depot", "deploy")
        self.check(
            {"dep*": ["deploy", "depot", "department", "dependency"], "depe*": ["dependency"], '"dep"*': ["deploy", "depot", "department", "dependency"]}
        )

    def test_phrases(self) -> None:
        """The words of a phrase follow one another; what has punctuation inside is a phrase."""
        self.say("release the new build", "the release", "a new the release build", "see foo-bar.py now")
        self.check(
            {
                '"the release"': ["a new the release build", "the release"],
                '"the new" release': ["release the new build"],
                '"the rel"*': ["a new the release build", "the release"],
            }
        )
        self.check({"foo-bar.py": ["see foo-bar.py now"], '"bar py now"': ["see foo-bar.py now"], "bar-foo": []})

    def test_unicode(self) -> None:
        """Case and diacritics make no difference; Chinese and Japanese need no blanks; full-width letters are letters."""
        self.say("Ça va à Málaga?", "Привет, мир", "今日は東京に行きます", "\uff21\uff22\uff23", "e\u0301te\u0301 \U0001f600 straße")
        self.check({"ca": ["Ça va à Málaga?"], "MALAGA": ["Ça va à Málaga?"], "málaga": ["Ça va à Málaga?"], "ПРИВЕТ": ["Привет, мир"]})
        self.check(
            {
                "東京": ["今日は東京に行きます"],
                "京東": [],
                "abc": ["\uff21\uff22\uff23"],
                "été": ["e\u0301te\u0301 \U0001f600 straße"],
                "STRAßE": ["e\u0301te\u0301 \U0001f600 straße"],
            }
        )

    def test_highlights(self) -> None:
        """Of each message that is found it is said where the words are; not more than a bound allows, however many there are."""
        self.say("deploy the deployment", "word", "deploy " * 1000)
        self.assertEqual([len(spans) for spans in self.page("dep*").highlights], [MOST_SPANS, 2])
        self.assertEqual(self.page("dep* the").highlights, [[(0, 6), (7, 10), (11, 21)]])

    def test_exclusion(self) -> None:
        """What a minus stands before must not be there; nothing else need be asked for."""
        self.say("red car", "red bus", "blue bus")
        self.check({"red -bus": ["red car"], "-red": ["blue bus"], '-"red bus"': ["blue bus", "red car"], "bus -re*": ["blue bus"], "-red -blue": []})

    def test_senders(self) -> None:
        """`from:` is one name exactly, whatever its case; several are alternatives."""
        self.say("one", sender="ann")
        self.say("two", sender="Ann.B", start=NOW + 10)
        self.say("three", sender="Zoë", start=NOW + 20)
        self.check(
            {
                "from:ann": ["one"],
                "from:ANN.b": ["two"],
                "from:zoë": ["three"],
                "from:zoe": [],
                "from:ann from:zoë": ["three", "one"],
                "-from:ann": ["three", "two"],
                "from:b": [],
            }
        )
        self.check({"from:ann one": ["one"], "from:ann two": [], "ann": []})

    def test_rooms(self) -> None:
        """`in:` is one room or several; a query over all rooms names the room of each."""
        for number, room in enumerate(("a", "b", "c")):
            self.say(f"word {room}", room=room, start=NOW + number)
        self.check({"word in:b": ["word b"], "word in:a in:c": ["word c", "word a"], "word -in:a": ["word c", "word b"], "in:a": ["word a"]})
        self.assertEqual([room for room, _ in self.page("word").hits], ["c", "b", "a"])
        self.assertEqual(self.texts("word", room="b"), ["word b"])

    def test_hidden(self) -> None:
        """Nothing of a hidden room is found, nor can be told from the answer to be there."""
        self.say(*(f"word {number}" for number in range(5)))
        self.say(*(f"word secret {number}" for number in range(100)), room="hidden", start=NOW + 10)
        self.assertEqual(self.page("word", limit=5, hidden=("hidden",)), self.page("word -in:hidden", limit=5))
        self.assertEqual(self.page("secret", hidden=("hidden",)), self.page("absent"))
        self.assertEqual(self.texts("word secret", limit=1), ["word secret 99"])

    def test_days(self) -> None:
        """`before:` is before that day begins, `after:` from then on, in UTC."""
        for number, at in enumerate((NOVEMBER - DAY, NOVEMBER - 1, NOVEMBER, NOVEMBER + DAY)):
            self.say(f"m{number}", start=at)
        self.check(
            {"before:2026-11-01": ["m1", "m0"], "after:2026-11-01": ["m3", "m2"], "after:2026-11-01 before:2026-11-02": ["m2"], "m3 before:2026-11-01": []}
        )

    def test_pages(self) -> None:
        """Each page goes on where the last one ended; together they are all, once."""
        for number in range(25):
            self.say(f"w {number}", room="ab"[number % 2], start=NOW + number)
        for options, expected in (({}, range(24, -1, -1)), ({"room": "a"}, range(24, -1, -2))):
            found: list[str | None] = []
            before = None
            while True:
                page = self.page("w", before, 4, **options)  # type: ignore[arg-type]
                found += [row.text for _, row in page.hits]
                before = page.position
                if not page.more:
                    break
                self.assertEqual(len(page.hits), 4)
            self.assertEqual(found, [f"w {number}" for number in expected])
        self.assertEqual([self.page("w", limit=limit).more for limit in (25, 24, 0)], [False, True, True])
        self.assertEqual(self.page("w", limit=0).hits, [])

    def test_positions_tell_nothing(self) -> None:
        """Where to go on over several rooms is the same for one message, and says nothing of how many others there are."""
        self.say("w 0", "w 1")
        first = self.page("w", limit=1).position
        self.say(*(f"secret {number}" for number in range(3)), room="hidden", start=NOW + 10)
        self.say("w 2", start=NOW + 20)
        second = self.page("w", limit=1, hidden=("hidden",)).position
        self.assertEqual(self.page("w", limit=2, hidden=("hidden",)).position, first)
        self.assertEqual([(len(text), number) for text, number in (first, second)], [(39, 0)] * 2)
        self.assertNotEqual(first, second)

    def test_before_event(self) -> None:
        """In one room the place of any event is one to go on behind."""
        self.say(*(f"w {number}" for number in range(1, 10)))
        self.assertEqual(self.texts("w", before=(self.store.epoch, 4), room="r"), ["w 3", "w 2", "w 1"])
        self.assertEqual(self.texts("w", before=(self.store.epoch, 1), room="r"), [])
        self.assertEqual(self.texts("w", before=(self.store.epoch, 10**18), room="r", limit=1), ["w 9"])

    def test_stale_position(self) -> None:
        """A place in an index that is no more is an error of the caller's."""
        self.say("w")
        for text in ("search-gone", "search-0a1b2c3d", "all"):
            self.assertRaises(InvalidParams, self.page, "w", (text, 5))
        self.assertRaises(InvalidParams, self.page, "w", ("other", 5), room="r")

    def test_only_messages(self) -> None:
        """Other events are not found by their texts."""
        self.outcome(self.store.append([Draft("r", "topic", "ada", NOW, "a word"), Draft("r", "message", "ada", NOW + 1, "", '{"deleted":true}')]))
        self.check({"word": [], "in:r": []})

    def test_rows(self) -> None:
        """What is found is the row of the log."""
        self.outcome(self.store.append([draft("zero"), Draft("r", "message", "añ", NOW + 1, "a *word*", '{"reply_to":1}')]))
        ((room, row),) = self.page("word").hits
        self.assertEqual((room, [row]), ("r", self.outcome(self.store.read_after("r", 1, 1))))

    def test_retention(self) -> None:
        """What retention has removed is not found."""
        self.say(*(f"w {number}" for number in range(10)))
        self.assertEqual(len(self.texts("w")), 10)
        self.outcome(self.store.prune(NOW, None, 3))
        self.assertEqual(self.texts("w"), ["w 9", "w 8", "w 7"])

    def amend(self, type: str, target: int, text: str) -> None:
        """Change the text of a message, as an edit or a deletion does."""
        change = Draft("r", type, "ada", NOW + 1000, None, f'{{"target":{target}}}')
        change.target = target
        change.amend = lambda made, row, load: [row._replace(text=text)] if row is not None else []
        self.outcome(self.store.append([change]))
        self.assertIsNone(change.error)

    def test_amended(self) -> None:
        """An edited message is found by its new words only, at its old place; a deleted one not at all."""
        self.say("old one", "two", "three one")
        self.assertEqual(self.texts("old"), ["old one"])
        self.amend("edit", 1, "new one")
        self.check({"old": [], "new": ["new one"], "one": ["three one", "new one"]})
        self.amend("delete", 3, "")
        self.check({"one": ["new one"], "three": [], "in:r": ["two", "new one"]})

    def test_closed(self) -> None:
        """A store that is stopped says so."""
        self.outcome(self.store.stop())
        self.assertRaises(StoreUnavailable, self.page, "w")


class MemorySearchTests(SearchContract, SynchronousTestCase):
    """The memory store."""

    def setUp(self) -> None:
        """Make it."""
        self.store = MemoryStore()

    def outcome(self, deferred: "Deferred[R]") -> R:
        """It has fired."""
        return now(deferred)


class SqliteSearchTests(SearchContract, SynchronousTestCase):
    """The SQLite store."""

    def setUp(self) -> None:
        """Open it."""
        self.reactor, self.store = open_store(Path(self.mktemp()))
        self.addCleanup(lambda: self.reactor.wait(self.store.stop()))

    def outcome(self, deferred: "Deferred[R]") -> R:
        """Wait for it."""
        return self.reactor.wait(deferred)
