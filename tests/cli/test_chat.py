"""Tests for netsvc.cli.chat and netsvc.cli.room_pipes."""

import asyncio
import io
import json
import os
import signal
import sys
from typing import Any
from unittest.mock import patch

from netsvc.cli import chat as chat_module
from netsvc.cli import room_pipes, standard_output
from netsvc.cli.room_pipes import LONGEST_LINE, read_lines
from netsvc.client import Forbidden, Gap, State
from netsvc.client.errors import ConnectionLost, RateLimited
from tests.cli.fake_server import ServerCase, message


class Posting(ServerCase):
    """``--post`` and lines of standard input."""

    def test_texts(self) -> None:
        """Each is posted in turn, in a way that takes effect once; nothing is printed."""
        self.assertEqual(self.good("chat", "lobby", "--post", "one", "--post", "two"), "")
        self.assertEqual([call[1] for call in self.client.calls], [{"room": "lobby", "text": "one"}, {"room": "lobby", "text": "two"}])
        self.assertEqual({call[0] for call in self.client.calls}, {"chat.post"})
        self.assertTrue(all(call[2]["idempotent"] for call in self.client.calls))
        self.assertEqual((self.client.made[0][2]["transport"], self.client.closed), (None, 1))

    def test_lines(self) -> None:
        """Without it each line of standard input is; empty ones are not, and what is no UTF-8 is replaced."""
        self.good("chat", "lobby", input=b"one\r\n\n  \ntwo \xff")
        self.assertEqual([call[1]["text"] for call in self.client.calls], ["one", "two \ufffd"])

    def test_guest(self) -> None:
        """A name is asked for on a WebSocket, the only place where that can be done."""
        self.good("chat", "lobby", "--name", "walter", "--post", "x")
        self.assertEqual((self.client.made[0][2]["name"], self.client.made[0][2]["transport"]), ("walter", "websocket"))

    def test_failure(self) -> None:
        """The first text that cannot be posted ends it, with the status for the error."""
        self.client.outcomes = [1, RateLimited("slow"), 1]
        self.assertEqual(self.bad(6, "chat", "lobby", input="one\ntwo\nthree\n"), "netsvc: slow\n")
        self.assertEqual((len(self.client.calls), self.client.closed), (2, 1))

    def test_long_lines(self) -> None:
        """A line without end does not fill the memory."""
        self.assertRaises(ValueError, list, read_lines(io.BytesIO(b"x" * (LONGEST_LINE + 1))))
        self.patch(room_pipes, "LONGEST_LINE", 10)
        self.assertIn("too long", self.bad(2, "chat", "lobby", input="x" * 11))

    def test_usage(self) -> None:
        """What makes no sense together is said to."""
        self.bad(2, "chat", "lobby", "--post", "x", "--tail")
        self.bad(2, "chat", "lobby", "--json")
        self.assertIn("not a cursor", self.bad(2, "chat", "lobby", "--tail", "--after", "x"))
        self.bad(2, "chat", "lobby", "--tail", "--limit", "201")


class Tailing(ServerCase):
    """``--tail``."""

    def test_text(self) -> None:
        """Lines for people, without colours where no terminal is."""
        self.client.room_items.items = [message(1), Gap("lobby", 2, 3), message(4, "[red]x")]
        lines = self.good("chat", "lobby", "--tail", TZ="UTC").splitlines()
        self.assertEqual([line[6:] for line in lines if ":" in line], ["<ann> hello", "<ann> [red]x"])
        self.assertIn("-- messages 2 to 3 are no longer kept --", lines)
        self.assertEqual(self.client.room_items.asked, {"room": "lobby", "after": None, "history": 0})

    def test_json(self) -> None:
        """One event a line as it came; a gap has the cursor behind it, so that every line has one to go on from."""
        self.client.room_items.items = [message(1, "a\n\x1b"), Gap("lobby", 2, 3)]
        lines = self.good("chat", "lobby", "--tail", "--json", "--after", "e:0", "--limit", "5").splitlines()
        self.assertEqual(json.loads(lines[0]), message(1, "a\n\x1b").data)
        self.assertEqual(json.loads(lines[1]), {"type": "gap", "room": "lobby", "from": 2, "to": 3, "cursor": "e:3"})
        self.assertNotIn("\x1b", lines[0])
        self.assertEqual(self.client.room_items.asked, {"room": "lobby", "after": "e:0", "history": 5})

    def test_refused(self) -> None:
        """A room that cannot be read (any more) ends it, with the status for the error."""
        self.client.room_items.items = [Forbidden("banned")]
        self.assertEqual(self.bad(3, "chat", "lobby", "--tail"), "netsvc: banned\n")
        self.client.room_items.items = [ConnectionLost("Connection refused")]
        self.assertIn("refused", self.bad(7, "chat", "lobby", "--tail"))

    def test_unreachable(self) -> None:
        """A server that is not there at the start is not waited for."""
        self.client.unreachable = State("waiting", 1.0, "Connection refused")
        said = self.bad(7, "chat", "lobby", "--tail")
        self.assertEqual(said, "netsvc: cannot reach http://127.0.0.1:8080: Connection refused\n")
        self.assertEqual(self.client.closed, 1)

    def test_signals(self) -> None:
        """SIGINT and SIGTERM end it in order."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.client.room_items.items = []

            async def wait(number: int = number) -> None:
                os.kill(os.getpid(), number)
                await asyncio.Event().wait()

            with patch.object(type(self.client.room_items), "__anext__", lambda room: wait()):
                self.assertEqual(self.good("chat", "lobby", "--tail"), "")

    def test_reader_gone(self) -> None:
        """So does a reader that has gone, without a complaint."""
        self.client.room_items.items = [message(1), message(2)]
        with patch.object(room_pipes.msgspec.json, "encode", side_effect=BrokenPipeError):
            self.assertEqual(self.good("chat", "lobby", "--tail", "--json"), "")
        self.assertEqual(self.client.closed, 1)

    def test_reader_of_text_gone(self) -> None:
        """It is the same for text: the library that writes it would exit with status 1."""
        self.client.room_items.items = [message(1), message(2)]
        reading, writing = os.pipe()
        os.close(reading)
        server: Any = type("Server", (), {"client": lambda _, **options: self.client})()
        with open(writing, "w", encoding="utf-8") as output, patch.object(standard_output, "_pipe", lambda: None), patch.object(sys, "stdout", output):
            asyncio.run(room_pipes.tail(server, "lobby", None, 0, None, as_json=False))
        self.assertEqual(self.client.closed, 1)

    def test_reader_gone_while_nothing_happens(self) -> None:
        """Even if there is nothing to be written: a pipe without a reader is noticed."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.close(reading)

        async def forever() -> None:
            await asyncio.Event().wait()

        server: Any = type("Server", (), {"client": lambda _, **options: self.client})()
        with (
            patch.object(standard_output, "sys") as system,
            patch.object(type(self.client.room_items), "__anext__", lambda room: forever()),
        ):
            system.stdout.fileno.return_value = writing
            asyncio.run(room_pipes.tail(server, "lobby", None, 0, None, as_json=True))
        self.assertEqual(self.client.closed, 1)

    def test_changes(self) -> None:
        """Losing the connection and having it again are said on stderr, once each."""

        async def lose() -> Any:
            for state in ("online", "waiting", "connecting", "waiting", "online", "refused"):
                self.client.watchers[0](State(state, 1.0, "reset"))  # type: ignore[arg-type]
            raise StopAsyncIteration

        with patch.object(type(self.client.room_items), "__anext__", lambda room: lose()):
            said = self.bad(0, "chat", "lobby", "--tail").splitlines()
        self.assertEqual(len(said), 3)
        self.assertEqual(said[:2], ["netsvc: no connection (reset); trying again", "netsvc: connected again"])


class Choosing(ServerCase):
    """Which of them it is."""

    def chosen(self, stdin: bool, stdout: bool, *arguments: str) -> str:
        """What runs with terminals on these sides."""
        ran: list[str] = []

        async def run(name: str) -> None:
            ran.append(name)

        with patch.object(chat_module, "sys") as system:
            system.stdin.isatty.return_value = stdin
            system.stdout.isatty.return_value = stdout
            self.patch(chat_module, "tail", lambda *args: run("tail"))
            self.patch(chat_module, "_talk", lambda *args: run("talk"))
            self.patch(chat_module, "_post", lambda *args: ran.append("post"))
            self.good("chat", "lobby", *arguments)
        return ran[0]

    def test_terminals(self) -> None:
        """Somebody who sits before it talks; a pipe is read from or written to."""
        self.assertEqual(self.chosen(True, True), "talk")
        self.assertEqual(self.chosen(True, False), "tail")
        self.assertEqual(self.chosen(False, True), "post")
        self.assertEqual(self.chosen(False, True, "--tail"), "tail")
        self.assertEqual(self.chosen(True, False, "--post", "x"), "post")

    def test_talk(self) -> None:
        """The conversation gets a client on a WebSocket, and 50 messages of before."""
        began: list[Any] = []

        class Conversation:
            def __init__(self, *args: Any) -> None:
                began.append(args)

            async def run(self, after: Any, history: int) -> None:
                began.append((after, history))

        self.patch(chat_module, "Conversation", Conversation)
        self.patch(chat_module, "TerminalPrompt", lambda: "prompt")
        with patch.object(chat_module, "sys") as system:
            system.stdin.isatty.return_value = system.stdout.isatty.return_value = True
            self.good("chat", "lobby", "--name", "walter")
        self.assertEqual(began, [(self.client, "lobby", "http://127.0.0.1:8080", "prompt"), (None, 50)])
        self.assertEqual((self.client.made[0][2]["transport"], self.client.made[0][2]["name"]), ("websocket", "walter"))
