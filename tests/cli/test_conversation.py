"""Tests for netsvc.cli.conversation."""

import asyncio
from collections.abc import Callable
from typing import Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.text import Text
from twisted.trial.unittest import SynchronousTestCase

from netsvc.cli import conversation
from netsvc.cli.conversation import Conversation, TerminalPrompt
from netsvc.client import Forbidden, State
from netsvc.client.errors import ConnectionLost
from tests.cli.fake_server import FakeClient, FakeRoom, message


class FakePrompt:
    """Somebody who writes what the test says, and sees what is shown."""

    def __init__(self, *lines: Any) -> None:
        self.lines = list(lines)
        self.shown: list[str] = []
        self.refreshed = 0
        self.toolbar: Callable[[], str] = str
        self.turns = 5

    async def line(self, prompt: str, toolbar: Callable[[], str]) -> str:
        """See Prompt."""
        self.toolbar = toolbar
        for _ in range(self.turns):
            await asyncio.sleep(0)
        line = self.lines.pop(0)
        if callable(line):
            line()
            return ""
        if isinstance(line, BaseException):
            raise line
        return str(line)

    def show(self, line: Text) -> None:
        """See Prompt."""
        self.shown.append(line.plain)

    def refresh(self) -> None:
        """See Prompt."""
        self.refreshed += 1


class Room(FakeRoom):
    """One that does not end."""

    async def __anext__(self) -> Any:
        if not self.items:
            await asyncio.Event().wait()
        return await super().__anext__()


class Client(FakeClient):
    """A client on which procedures are attributes, too."""

    name = "bob"

    @property
    def auth(self) -> Any:
        """``auth.whoami``."""
        return self

    async def whoami(self) -> Any:
        """As bob, unless the test says otherwise."""
        return {"name": self.name, "roles": ["guest"]}

    @property
    def chat(self) -> Any:
        """``chat.who``."""
        return self

    async def who(self, room: str) -> Any:
        """Three are here."""
        return await self.call("chat.who", [room])


class ConversationTests(SynchronousTestCase):
    """Somebody in a room."""

    def setUp(self) -> None:
        """The room has two messages."""
        self.client = Client([{}])
        self.client.room_items = Room([message(1), message(2, "hey @bob")])

    def talk(self, *lines: Any) -> FakePrompt:
        """Write these lines, then nothing any more."""
        prompt = FakePrompt(*lines, EOFError())
        rpc: Any = self.client
        self.conversation = Conversation(rpc, "lobby", "http://h", prompt)
        asyncio.run(self.conversation.run("e:0", 50))
        return prompt

    def test_reads(self) -> None:
        """What was said before and what is said now is shown."""
        prompt = self.talk("")
        self.assertIn("you are bob in lobby", prompt.shown[0])
        self.assertEqual([line.partition("<")[2] for line in prompt.shown if "<" in line], ["ann> hello", "ann> hey @bob"])
        self.assertEqual(self.client.room_items.asked, {"room": "lobby", "after": "e:0", "history": 50})

    def test_posts(self) -> None:
        """Lines are posted in order, each in a way that takes effect once; a slash can be said, too."""
        self.talk("one", " two ", "//three", "/me waves", "")
        self.assertEqual([call[1]["text"] for call in self.client.calls], ["one", "two", "/three", "* bob waves"])
        self.assertTrue(all(call[2]["idempotent"] and call[2]["deadline"] for call in self.client.calls))

    def test_cannot_be_posted(self) -> None:
        """What could not be sent is said, with why; the conversation goes on."""
        self.client.outcomes = [Forbidden("muted\x1b"), {}]
        prompt = self.talk("one", "two", "")
        self.assertEqual(prompt.shown[-2:], ["-- muted␛ --", "-- not sent: one --"])
        self.assertEqual(len(self.client.calls), 2)

    def test_unsent_at_the_end(self) -> None:
        """What waits to be sent when it ends is not silently lost."""
        prompt = FakePrompt("one", "two", KeyboardInterrupt())

        async def never(*args: Any, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

        self.patch(conversation, "LAST_WORDS", 0.01)
        self.client.call = never  # type: ignore[method-assign]
        rpc: Any = self.client
        talk = Conversation(rpc, "lobby", "http://h", prompt)
        asyncio.run(talk.run(None, 0))
        self.assertEqual(prompt.shown[-1], "-- not sent: one; two --")

    def test_last_words(self) -> None:
        """What was written right before the end is still sent; without a connection nobody waits for that."""
        for state, answered in ((State("online"), 1), (State("waiting", 1.0), 0)):
            self.client.state = state
            self.client.calls.clear()
            prompt = FakePrompt("bye", EOFError())
            prompt.turns = 1
            done: list[str] = []

            async def call(*args: Any, **kwargs: Any) -> Any:
                for _ in range(20):
                    await asyncio.sleep(0)
                done.append("sent")  # noqa: B023 - called in this turn of the loop

            self.client.call = call  # type: ignore[method-assign]
            rpc: Any = self.client
            asyncio.run(Conversation(rpc, "lobby", "http://h", prompt).run(None, 0))
            self.assertEqual((len(done), "-- not sent: bye --" in prompt.shown), (answered, not answered))

    def test_quit(self) -> None:
        """/quit ends it."""
        prompt = self.talk("/quit", "not said")
        self.assertEqual(prompt.lines[0], "not said")
        self.assertEqual(self.client.calls, [])

    def test_commands(self) -> None:
        """Who is here, the topic; anything else shows what there is."""
        self.client.outcomes = [{"count": 3, "names": ["ann", "b\x1b"]}, {}, ConnectionLost("gone")]
        prompt = self.talk("/who", "/topic tea time", "/who", "/topic", "/me", "/x")
        self.assertIn("-- 3 here: ann, b␛ and 1 more --", prompt.shown)
        self.assertIn("-- gone --", prompt.shown)
        self.assertEqual(self.client.calls[1][:2], ("room.set", {"room": "lobby", "topic": "tea time"}))
        self.assertEqual(len([line for line in prompt.shown if line.startswith("-- /who")]), 3)
        self.assertEqual(len(self.client.calls), 3)

    def test_presence(self) -> None:
        """Who comes and goes here is shown and counted, elsewhere not."""

        def come() -> None:
            self.client.listeners["chat.presence"]({"room": "lobby", "joined": ["eve"], "left": [], "count": 7})
            self.client.listeners["chat.presence"]({"room": "garden", "joined": ["mallory"], "left": [], "count": 9})
            self.client.listeners["chat.presence"]([])

        prompt = self.talk(come)
        self.assertIn("-- eve is here --", prompt.shown)
        self.assertNotIn("mallory", str(prompt.shown))
        self.assertIn(" 7 here ", prompt.toolbar())

    def test_states(self) -> None:
        """A loss and the return are shown; the toolbar says how it is now."""

        def flap() -> None:
            for name in ("waiting", "connecting", "online"):
                self.client.watchers[0](State(name, 1.0, "reset"))  # type: ignore[arg-type]

        prompt = self.talk(flap)
        self.assertEqual(prompt.shown[-2:], ["-- no connection (reset); trying again --", "-- connected again --"])
        self.assertEqual(prompt.refreshed, 3)
        self.assertEqual(prompt.toolbar(), " bob · lobby · 2 here · http://h · connected")
        for state, words in ((State("connecting"), "connecting…"), (State("waiting", 1.0, "res\x1bet"), "res␛et"), (State("closed"), "closed")):
            self.client.state = state
            self.assertTrue(prompt.toolbar().endswith(words))

    def test_another_name(self) -> None:
        """A guest whom a restarted server calls otherwise is told, and known by that name from then on."""

        def come_back() -> None:
            self.patch(self.client, "name", "guest-2")
            self.client.watchers[0](State("online"))

        prompt = self.talk(come_back, "/me waves", "")
        self.assertIn("-- you are guest-2 now --", prompt.shown)
        self.assertEqual([call[1]["text"] for call in self.client.calls], ["* guest-2 waves"])
        self.assertTrue(prompt.toolbar().startswith(" guest-2 "))

    def test_removed(self) -> None:
        """A room that cannot be read any more ends it with the reason."""
        self.client.room_items.items = [message(1), Forbidden("banned")]
        prompt = FakePrompt("", "", "", EOFError())
        rpc: Any = self.client
        self.assertRaises(Forbidden, asyncio.run, Conversation(rpc, "lobby", "http://h", prompt).run(None, 0))

    def test_no_count(self) -> None:
        """A server that does not count is none that the toolbar is wrong about."""
        self.client.room_items.present = {}
        self.assertNotIn("here", self.talk().toolbar())


class TerminalTests(SynchronousTestCase):
    """The line at the bottom, with a terminal in memory."""

    def test_line(self) -> None:
        """What is typed is the line; what comes meanwhile is shown above; Ctrl-D ends it."""

        async def use() -> tuple[str, str]:
            prompt = TerminalPrompt()
            prompt.refresh()
            typed = asyncio.ensure_future(prompt.line("> ", lambda: "toolbar"))
            await asyncio.sleep(0)
            prompt.show(Text("incoming", "bold"))
            prompt.refresh()
            source.send_text("hello\r")
            first = await typed
            source.send_text("\x04")
            try:
                return first, await prompt.line("> ", lambda: "toolbar")
            except EOFError:
                return first, "the end"

        with create_pipe_input() as source, create_app_session(input=source, output=DummyOutput()):
            self.assertEqual(asyncio.run(use()), ("hello", "the end"))
