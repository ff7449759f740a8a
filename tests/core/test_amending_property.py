"""Random talk: what one client has built from events, what another is given afresh, and a plain model never differ."""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.events import Event
from netsvc.core.identity import Identity
from netsvc.core.rooms import Rooms
from netsvc.core.settings import LimitsSettings, RoomsSettings
from netsvc.errors import Conflict, Forbidden, NetsvcError, NotFound
from netsvc.store.memory import MemoryStore
from tests.core.fakes import FakeSink, LineFormat, TurningClock

WHO = (Identity("ann", ("member",)), Identity("bob", ("member",)), Identity("root", ("admin",)), Identity("eve", ("guest",), guest=True))

people = st.sampled_from(WHO)
choices = st.integers(0, 29)
texts = st.sampled_from(("one", "two", "hi @ann", "@room @bob"))
emojis = st.sampled_from(("👍", "🎉"))


class JsonFormat(LineFormat):
    """Events as JSON, one a line; nothing else."""

    def event(self, event: Event) -> bytes:
        """All of it."""
        return msgspec.json.encode(event) + b"\n"

    def presence(self, *_: Any) -> bytes:
        """Not shown."""
        return b""


class View:
    """What a client shows of a room, from events in the order of their seqs. Applying the same event again changes nothing."""

    def __init__(self) -> None:
        self.messages: dict[int, Any] = {}

    def take(self, event: Any) -> None:
        """One event."""
        if event["type"] == "message":
            reactions = {(emoji, name) for emoji, names in event.get("reactions", {}).items() for name in names}
            flags = (event.get("edited", False), event.get("deleted", False))
            self.messages[event["seq"]] = [event["from"], event["text"], *flags, event.get("reply_to"), event.get("mentions"), reactions]
            return
        message = self.messages[event["target"]]
        if event["type"] == "edit" and not message[3]:
            message[1], message[2], message[5] = event["text"], True, event.get("mentions")
        elif event["type"] == "delete":
            message[1], message[2], message[3], message[5], message[6] = "", False, True, None, set()
        elif event["type"] == "reaction" and not message[3]:
            (message[6].add if event["on"] else message[6].discard)((event["emoji"], event["from"]))


class Talk(RuleBasedStateMachine):
    """People who post, edit, delete, react and answer in one room, while some follow."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = TurningClock()
        self.clock.advance(1_700_000_000.0)
        self.store = MemoryStore(self.clock)
        for who in WHO[:3]:
            self.store.local_accounts.add_user(who.name, who.roles[0])
        self.rooms = Rooms(self.store, self.clock, RoomsSettings(ring_events=16, chunk=1024), LimitsSettings(append_batch=4), "guest")
        self.format = JsonFormat()
        self.count = 0
        self.model: dict[int, Any] = {}
        self.live = self.follow(FakeSink())
        self.slow = self.follow(FakeSink(0))
        self.deleted: set[str] = set()

    def follow(self, sink: FakeSink) -> FakeSink:
        """A follower from the beginning."""
        joining = self.rooms.join(WHO[0], "lobby", f"{self.store.epoch}:0", 0, self.format, sink)
        self.turn()
        joining.result.member.start()  # type: ignore[union-attr]
        return sink

    def turn(self, turns: int = 12) -> None:
        """Let the reactor turn."""
        self.clock.pump([0.01] * turns)

    def do(self, what: Any, *args: Any) -> Any:
        """The outcome, an answer or an error."""
        outcome: list[Any] = []
        what(*args).addBoth(outcome.append)
        self.turn()
        return outcome[0] if not hasattr(outcome[0], "value") else outcome[0].value

    def chosen(self, choice: int) -> int:
        """The seq of a message most of the time, else that of anything or nothing."""
        if choice > 24 or not self.model:
            return choice + 1
        return list(self.model)[-1 - choice % len(self.model)]

    @rule(who=people, text=texts, choice=st.none() | choices)
    def post(self, who: Identity, text: str, choice: int | None) -> None:
        """A message, perhaps an answer. Each text is there once."""
        self.count += 1
        text = f"<{self.count}> {text}"
        reply_to = None if choice is None else self.chosen(choice)
        answer = self.do(self.rooms.post, who, "lobby", text, None, reply_to)
        if reply_to is not None and reply_to not in self.model:
            assert isinstance(answer, NotFound), answer
            return
        self.model[answer.seq] = [who, text, False, False, reply_to, self.mentions(who, text), set()]

    def mentions(self, who: Identity, text: str) -> list[str] | None:
        """Whom a text mentions; ann owns the room if she has begun it."""
        moderates = who.name == "root" or who.name == self.owner()
        found = [name for name in ("@room", "@bob", "@ann") if name in text and (name != "@room" or moderates)]
        return [name if name == "@room" else name[1:] for name in found] or None

    def owner(self) -> str:
        """Who has begun the room, if that was a user."""
        first = self.model.get(1)
        return first[0].name if first is not None and not first[0].guest else ""

    @rule(who=people, choice=choices, text=texts)
    def edit(self, who: Identity, choice: int, text: str) -> None:
        """An edit of any event."""
        seq = self.chosen(choice)
        self.count += 1
        text = f"<{self.count}> {text}"
        answer = self.do(self.rooms.posting.edit, who, "lobby", seq, text)
        message = self.model.get(seq)
        if message is None:
            assert isinstance(answer, NotFound), answer
        elif message[0] != who:
            assert isinstance(answer, Forbidden), answer
        elif message[3]:
            assert isinstance(answer, Conflict), answer
        else:
            message[1], message[2], message[5] = text, True, self.mentions(who, text)

    @rule(who=people, choice=choices)
    def delete(self, who: Identity, choice: int) -> None:
        """A deletion of any event."""
        seq = self.chosen(choice)
        answer = self.do(self.rooms.posting.delete, who, "lobby", seq)
        message = self.model.get(seq)
        if message is None:
            assert isinstance(answer, NotFound), answer
        elif message[0] != who and who.name not in ("root", self.owner()):
            assert isinstance(answer, Forbidden), answer
        else:
            assert not isinstance(answer, NetsvcError), answer
            message[1], message[2], message[3], message[5] = "", False, True, None
            message[6].clear()

    @rule(who=people, choice=choices, emoji=emojis, on=st.booleans())
    def react(self, who: Identity, choice: int, emoji: str, on: bool) -> None:
        """A reaction to any event."""
        seq = self.chosen(choice)
        answer = self.do(self.rooms.posting.react, who, "lobby", seq, emoji, on)
        message = self.model.get(seq)
        if message is None:
            assert isinstance(answer, NotFound), answer
        elif message[3]:
            assert isinstance(answer, Conflict), answer
        else:
            (message[6].add if on else message[6].discard)((emoji, who.name))

    @rule(count=st.integers(0, 2000))
    def read(self, count: int) -> None:
        """The slow one reads a little."""
        self.slow.read(count)
        self.turn(3)

    @rule()
    def restart(self) -> None:
        """The room is forgotten and looked up again by a new follower."""
        self.live = self.follow(FakeSink())
        self.turn()

    def expected(self) -> dict[int, Any]:
        """The model as a client sees it."""
        return {seq: [message[0].name, *message[1:]] for seq, message in self.model.items()}

    def history(self) -> list[Any]:
        """All events afresh, in pages."""
        events: list[Any] = []
        cursor = f"{self.store.epoch}:0"
        while True:
            page = self.do(self.rooms.history, WHO[0], "lobby", None, cursor, 7)
            if isinstance(page, NotFound):
                return []
            events += msgspec.json.decode(msgspec.json.encode(page.events))
            cursor = page.cursor
            if not page.more:
                return events

    @invariant()
    def same(self) -> None:
        """Afresh, from the live one's events and from the model: the same; no deleted text is anywhere."""
        fresh, followed = View(), View()
        events = self.history()
        for event in events:
            fresh.take(event)
        for line in self.live.lines():
            followed.take(msgspec.json.decode(line))
        assert fresh.messages == self.expected(), (fresh.messages, self.expected())
        assert followed.messages == self.expected(), (followed.messages, self.expected())
        texts = {message[1] for message in self.model.values()}
        live = {event["text"] for event in events if event.get("text")}
        for event in events:
            if event["type"] == "message":
                assert (event["text"] or "") in texts
            elif event["type"] == "edit" and self.model[event["target"]][3]:
                assert (event["text"], event.get("mentions")) == ("", None), event
        ring = self.rooms._states["lobby"].room
        assert {event.text for event in ring.events if event.text} <= live
        for fanout in ring.fanouts.values():
            for frame in fanout.frames:
                assert msgspec.json.decode(frame) in events

    def teardown(self) -> None:
        """In the end the slow one has read everything, and sees the same."""
        self.slow.read()
        self.turn(60)
        view = View()
        seqs = []
        for line in self.slow.lines():
            event = msgspec.json.decode(line)
            seqs.append(event["seq"])
            view.take(event)
        assert seqs == list(range(1, len(seqs) + 1))
        assert view.messages == self.expected(), (view.messages, self.expected())


class TalkTests(SynchronousTestCase):
    """The talk as a test."""

    def test_talk(self) -> None:
        """However people talk, everybody sees the same in the end."""
        case = Talk.TestCase
        case.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
        case("runTest").runTest()
