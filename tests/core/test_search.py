"""Searching as the core does it: rooms that are named, rooms that are hidden, pages."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.identity import Identity
from netsvc.core.records import Draft
from netsvc.core.search import Found, Searches
from netsvc.errors import Forbidden, InvalidParams, NotFound
from netsvc.store.memory import MemoryStore
from tests.store.harness import NOW

ANN = Identity(name="ann", roles=("member",), guest=False)


class SearchesTests(SynchronousTestCase):
    """Searches over a memory store."""

    def setUp(self) -> None:
        """A few messages; ann may not read the room `secret`."""
        self.store = MemoryStore(epoch="e")
        rooms = ("lobby", "secret", "dev")
        self.store.append([Draft(rooms[number % 3], "message", "bob", NOW + number, f"a word {number}") for number in range(9)])
        self.asked: list[Identity] = []
        self.hidden_now = {"secret": "secret", "club": "members"}
        self.searches = Searches(self.store, self.hidden)

    def hidden(self, identity: Identity, rooms: list[str] | None) -> "Deferred[dict[str, str]]":
        """The hook of the rules of access."""
        self.asked.append(identity)
        return succeed(dict(self.hidden_now))

    def search(self, query: str, room: str | None = None, before: str | None = None, limit: int = 50) -> Found:
        """The answer."""
        return self.successResultOf(self.searches.search(ANN, query, room, before, limit))

    def texts(self, *arguments: Any, **options: Any) -> list[str | None]:
        """The texts of the answer."""
        return [event.text for event in self.search(*arguments, **options).events]

    def test_found(self) -> None:
        """Events as in a room's history, newest first, with the words marked; hidden rooms are left out."""
        found = self.search("WORD", limit=2)
        self.assertEqual(
            [(event.room, event.cursor, event.sender, event.text) for event in found.events],
            [("dev", "e:3", "bob", "a word 8"), ("lobby", "e:3", "bob", "a word 6")],
        )
        self.assertEqual((found.highlights, found.more, found.behind), ([[(2, 6)], [(2, 6)]], True, False))
        self.assertEqual(self.texts("word"), [f"a word {number}" for number in (8, 6, 5, 3, 2, 0)])
        self.assertEqual(set(self.asked), {ANN})

    def test_pages(self) -> None:
        """An answer's cursor leads to the next page, over all rooms and in one."""
        first = self.search("word", limit=4)
        self.assertEqual(self.texts("word", before=first.cursor), ["a word 2", "a word 0"])
        self.assertEqual(self.search("word", before=first.cursor).more, False)
        one = self.search("word", room="lobby", limit=1)
        self.assertEqual((one.cursor, self.texts("word", room="LOBBY", before=one.cursor)), ("e:3", ["a word 3", "a word 0"]))
        self.assertEqual(self.texts("word in:lobby", before="e:2"), ["a word 0"])

    def test_nothing(self) -> None:
        """Without anything found the cursor is the one that was given, or the end; each can be given again."""
        self.assertEqual(self.search("absent").cursor, "e:0")
        for room in (None, "lobby"):
            end = self.search("absent", room=room, before="e:0")
            self.assertEqual((end.events, end.cursor, end.more), ([], "e:0", False))
        self.failureResultOf(self.searches.search(ANN, "word", "secret", "e:0", 5), NotFound)
        cursor = self.search("word").cursor
        self.assertEqual(self.search("absent", before=cursor).cursor, cursor)

    def test_no_such_room(self) -> None:
        """A room that is absent or hidden is not found, be it named by the param or in the query."""
        for query, room in (("word", "absent"), ("word", "secret"), ("word in:absent", None), ("word in:lobby in:secret", None)):
            failure = self.failureResultOf(self.searches.search(ANN, query, room, None, 5), NotFound)
            self.assertIn("there is no room", failure.value.detail)

    def test_not_for_the_caller(self) -> None:
        """A room of which others know is refused to who may not read it."""
        self.store.append([Draft("club", "message", "bob", NOW, "a word")])
        self.failureResultOf(self.searches.search(ANN, "word", "club", None, 5), Forbidden)

    def test_shut_out_meanwhile(self) -> None:
        """Who loses a room during the search gets nothing from it, not even what has been said there since."""
        real, searching = self.store.search, Deferred[None]()
        self.store.search = lambda *arguments: searching.addCallback(lambda _: real(*arguments))  # type: ignore[method-assign,assignment]
        everywhere = self.searches.search(ANN, "word", None, None, 4)
        one = Searches(self.store, self.hidden).search(ANN, "word", "dev", None, 4)
        self.hidden_now["dev"] = "secret"
        self.store.append([Draft("dev", "message", "bob", NOW + 100, "a word about ann")])
        searching.callback(None)
        found = self.successResultOf(everywhere)
        self.assertEqual([event.text for event in found.events], ["a word 6"])
        self.assertEqual((len(found.highlights), found.more), (1, True))
        self.failureResultOf(one, NotFound)

    def test_wrong(self) -> None:
        """Bad params are refused."""
        for query, room, before, limit in (
            ("", None, None, 5),
            ("a in:lobby", "lobby", None, 5),
            ("a", "!", None, 5),
            ("a", None, "nonsense", 5),
            ("a", None, "e:3", 5),
            ("a in:lobby in:dev", None, "e:3", 5),
            ("a", None, None, 201),
            ("a", None, None, 0),
        ):
            self.assertRaises(InvalidParams, self.searches.search, ANN, query, room, before, limit)
        self.failureResultOf(self.searches.search(ANN, "a", None, "other:3", 5), InvalidParams)

    def test_no_rules(self) -> None:
        """Without rules of access every room is searched."""
        self.assertEqual(len(self.successResultOf(Searches(self.store).search(ANN, "word", None, None, 50)).events), 9)

    def test_in_turn(self) -> None:
        """Nobody waits for somebody else's many searches; what is hidden is asked for when it is one's turn."""
        slow: list[Deferred[Any]] = []
        searching = self.store.search

        def search(*arguments: Any) -> "Deferred[Any]":
            slow.append(Deferred())
            return slow[-1].addCallback(lambda _: searching(*arguments))

        self.store.search = search  # type: ignore[method-assign]
        many = [self.searches.search(ANN, "word", None, None, 5, "greedy") for _ in range(4)]
        other = self.searches.search(ANN, "word", None, None, 5, "other")
        self.assertEqual((len(slow), len(self.asked)), (1, 1))
        for number in range(3):
            slow[number].callback(None)
        self.assertEqual(len(self.successResultOf(other).events), 5)
        self.assertEqual([search.called and not search.paused for search in many], [True, True, False, False])
