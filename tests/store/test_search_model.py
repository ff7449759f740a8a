"""Random histories of posts, edits, deletions, retention and restarts: both stores find the same."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.query import parse_query
from netsvc.core.records import Draft, Load, Row
from netsvc.store.memory import MemoryStore
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import SqliteStore
from tests.store.harness import NOW, ThreadlessReactor, now

ROOMS = ("a", "b", "c")
WORDS = ("red", "reed", "blue", "bluer", "été", "東京")
QUERIES = (*WORDS, "re*", "blue*", "-red", "red blue", '"red blue"', "from:ann -in:a", "in:b", "in:a in:c e*")

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)


class Histories(RuleBasedStateMachine):
    """What clients and operators may do, done to both stores."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="netsvc-search-"))
        self.reactor = ThreadlessReactor()
        self.store = SqliteStore(self.reactor, self.directory, StoreSettings(search_wait=30.0, readers=1))
        self.reactor.wait(self.store.start())
        self.model = MemoryStore(epoch=self.store.epoch)
        self.now = NOW

    def teardown(self) -> None:
        """Close the store."""
        self.reactor.wait(self.store.stop())
        shutil.rmtree(self.directory)

    def append(self, *drafts: Sequence[Draft]) -> None:
        """Append to each store its drafts."""
        self.reactor.wait(self.store.append(list(drafts[0])))
        now(self.model.append(list(drafts[1])))

    @rule(posts=st.lists(st.tuples(st.sampled_from(ROOMS), st.sampled_from(("ann", "bob")), texts), min_size=1, max_size=6))
    def post(self, posts: list[tuple[str, str, str]]) -> None:
        """Messages, each at a time of its own: of the same time any order is right."""
        pairs = [[Draft(room, "message", sender, self.now + index, text) for index, (room, sender, text) in enumerate(posts)] for _ in range(2)]
        self.now += len(posts)
        self.append(*pairs)

    @rule(room=st.sampled_from(ROOMS), seq=st.integers(1, 12), text=texts | st.just(""))
    def change(self, room: str, seq: int, text: str) -> None:
        """An edit; a deletion, if no text is left."""

        def amend(draft: Draft, row: Row | None, load: Load) -> Sequence[Row]:
            return [row._replace(text=text)] if row is not None and row.type == "message" and row.text else []

        pair = []
        for _ in range(2):
            draft = Draft(room, "edit" if text else "delete", "ann", self.now, None, f'{{"target":{seq}}}')
            draft.target, draft.amend = seq, amend
            pair.append([draft])
        self.now += 1
        self.append(*pair)

    @rule(events=st.integers(1, 8))
    def prune(self, events: int) -> None:
        """Retention."""
        self.reactor.wait(self.store.prune(self.now, None, events))
        now(self.model.prune(self.now, None, events))

    @rule(lost=st.booleans())
    def restart(self, lost: bool) -> None:
        """A stop and a start, perhaps without the index."""
        self.reactor.wait(self.store.stop())
        if lost:
            (self.directory / "search.db").unlink()
        self.reactor.wait(self.store.start())

    @rule(query=st.sampled_from(QUERIES), limit=st.integers(1, 20), hidden=st.frozensets(st.sampled_from(ROOMS), max_size=2))
    def search(self, query: str, limit: int, hidden: frozenset[str]) -> None:
        """All pages of a search."""
        found = [self.pages(store, query, limit, hidden) for store in (self.store, self.model)]
        assert found[0] == found[1], (query, limit, hidden, found)

    def pages(self, store: Any, query: str, limit: int, hidden: frozenset[str]) -> list[list[tuple[str, Row]]]:
        """Page after page."""
        found = []
        position, more = None, True
        while more:
            asked = store.search(parse_query(query), position, limit, hidden)
            page = self.reactor.wait(asked)
            found.append(page.hits)
            position, more = page.position, page.more
        return found


class ModelTests(SynchronousTestCase):
    """The histories as a test."""

    def test_histories(self) -> None:
        """No history makes a difference between the two stores."""
        case = Histories.TestCase
        case.settings = settings(max_examples=6, stateful_step_count=15, deadline=None)
        case("runTest").runTest()
