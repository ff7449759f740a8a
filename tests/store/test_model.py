"""Random histories: the SQLite store and the memory store never differ, through restarts, failures and retention."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.records import Amendment, Draft, Key, Load, Row
from netsvc.errors import Forbidden, NotFound
from netsvc.store.memory import MemoryStore
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import SqliteStore
from tests.store.harness import NOW, ThreadlessReactor, now

ROOMS = ("a", "b", "c")
BAD = "\ud800"


def _write(draft: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    """Change the target and the event before it."""
    if row is None:
        raise NotFound("no such event")
    draft.extra = f'{{"target":{row.seq}}}'
    before = load(row.seq - 1)
    return [row._replace(text=draft.text, extra=f'{{"by":{draft.seq}}}')] + ([before._replace(extra=None)] if before is not None else [])


def _refuse(draft: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    raise Forbidden("no")


def _look(draft: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    return ()


def _known(draft: Draft, row: Row | None, load: Load) -> Sequence[Row] | int:
    return () if row is None else row.seq


_AMENDMENTS: tuple[Amendment, ...] = (_write, _refuse, _look, _known)

posts = st.tuples(
    st.sampled_from(ROOMS),
    st.sampled_from(("x", "y" * 300, BAD)),
    st.none() | st.tuples(st.sampled_from(("k", "l")), st.sampled_from((b"1", b"2")), st.integers(1, 60)),
)


class Histories(RuleBasedStateMachine):
    """What a client and an operator may do, done to both stores."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="netsvc-model-"))
        self.reactor = ThreadlessReactor()
        self.store = SqliteStore(self.reactor, self.directory, StoreSettings(heads=2, prune_batch=3, readers=1))
        self.reactor.wait(self.store.start())
        self.epoch = self.store.epoch
        self.model = MemoryStore()
        self.now = NOW

    def teardown(self) -> None:
        """Close and remove it."""
        self.reactor.wait(self.store.stop())
        shutil.rmtree(self.directory)

    def both(self, name: str, *arguments: Any) -> None:
        """Ask both the same; the answers are equal."""
        found = self.reactor.wait(getattr(self.store, name)(*arguments))
        expected = now(getattr(self.model, name)(*arguments))
        assert found == expected, (name, arguments, found, expected)

    @rule(batch=st.lists(posts, max_size=8))
    def append(self, batch: list[Any]) -> None:
        """A batch, some of it bad, some with keys that have been used."""
        drafts = [self.drafts(batch), self.drafts(batch)]
        self.reactor.wait(self.store.append(drafts[0]))
        # Nothing is bad for the memory store: it is not shown that.
        good = [draft for draft in drafts[1] if draft.text != BAD]
        now(self.model.append(good))
        outcomes = [[(one.seq, one.at, one.repeated, type(one.error)) for one in part if one.text != BAD or one.repeated] for part in (drafts[0], good)]
        assert [one for one in outcomes[0] if one[0]] == [one for one in outcomes[1] if one[0]], outcomes

    def drafts(self, batch: list[Any]) -> list[Draft]:
        """The drafts of a batch; a bad one has no key, so that what follows it does not depend on it."""
        made = []
        for room, text, key in batch:
            wanted = None if key is None or text == BAD else Key("scope", key[0], key[1], self.now + key[2])
            made.append(Draft(room, "message", "ada", self.now, text, key=wanted))
        return made

    @rule(room=st.sampled_from(ROOMS), changes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=4), keyed=st.booleans())
    def amend(self, room: str, changes: list[tuple[int, int]], keyed: bool) -> None:
        """A batch of amendments, some of what is not there, some refused, some needless."""
        outcomes = []
        for store in (self.store, self.model):
            drafts = []
            for target, kind in changes:
                draft = Draft(room, "edit", "ada", self.now, f"edit {target}")
                draft.target, draft.amend = target, _AMENDMENTS[kind]
                if keyed:
                    draft.key = Key("scope", f"{kind} {target}", b"1", self.now + 9)
                drafts.append(draft)
            appending = store.append(drafts)
            self.reactor.wait(appending) if store is self.store else now(appending)
            outcomes.append([(one.seq, one.at, one.repeated, type(one.error), one.extra) for one in drafts])
        assert outcomes[0] == outcomes[1], outcomes
        self.both("read_after", room, 0, 100)

    @rule(seconds=st.integers(1, 50))
    def wait(self, seconds: int) -> None:
        """Time goes by; keys expire."""
        self.now += seconds

    @rule(age=st.none() | st.integers(0, 60), events=st.none() | st.integers(0, 6))
    def prune(self, age: int | None, events: int | None) -> None:
        """Retention."""
        moved = [sorted(self.reactor.wait(self.store.prune(self.now, age, events))), sorted(now(self.model.prune(self.now, age, events)))]
        assert moved[0] == moved[1], moved

    @rule()
    def restart(self) -> None:
        """A stop and a start."""
        self.reactor.wait(self.store.stop())
        self.reactor.wait(self.store.start())
        assert self.store.epoch == self.epoch

    @rule(room=st.sampled_from(ROOMS), seq=st.integers(-1, 20), limit=st.integers(0, 6), upto=st.none() | st.integers(0, 20))
    def read(self, room: str, seq: int, limit: int, upto: int | None) -> None:
        """Reading both ways."""
        self.both("read_after", room, seq, limit, upto)
        self.both("read_before", room, seq, limit)

    @invariant()
    def same_rooms(self) -> None:
        """The rooms are the same, with the same bounds; their events have no gap."""
        self.both("rooms", "", 10)
        for info in now(self.model.rooms("", 10)):
            rows = self.reactor.wait(self.store.read_after(info.name, 0, 1000))
            assert [row.seq for row in rows] == list(range(info.first, info.head + 1))
        for name in ("k", "l"):
            self.both("recall", "scope", name, self.now)


class ModelTests(SynchronousTestCase):
    """The histories as a test."""

    def test_histories(self) -> None:
        """No history makes a difference between the two stores."""
        case = Histories.TestCase
        case.settings = settings(max_examples=6, stateful_step_count=10, deadline=None)
        case("runTest").runTest()
