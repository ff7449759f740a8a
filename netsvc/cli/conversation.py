"""``netsvc chat`` for people: a room above, a line to write on below."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from prompt_toolkit.application import get_app_or_none
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import PromptSession, print_formatted_text
from rich.console import Console
from rich.text import Text

from netsvc.cli.chat_lines import ChatLines, clean, clean_name
from netsvc.client import ClientError, State
from netsvc.client.aio import Client, Room

__all__ = ["Conversation", "Prompt", "TerminalPrompt"]

HELP = "/who, /me TEXT, /topic TEXT, /quit; //TEXT says /TEXT"

POST_DEADLINE = 120.0
"""How many seconds it keeps trying to send a message."""


LAST_WORDS = 2.0
"""How many seconds there are to send what was written right before the end."""


class Prompt(Protocol):
    """Where a person writes, below what is shown."""

    async def line(self, prompt: str, toolbar: Callable[[], str]) -> str:
        """The next line. EOFError, KeyboardInterrupt: there will be none."""

    def show(self, line: Text) -> None:
        """Show a line above."""

    def refresh(self) -> None:
        """What the toolbar says has changed."""


class Conversation:
    """A person in a room.

    :param rpc: a client on a WebSocket.
    :param room: the room's name.
    :param url: the server's, to be displayed.
    """

    def __init__(self, rpc: Client, room: str, url: str, prompt: Prompt) -> None:
        self._rpc = rpc
        self._room = room
        self._url = url
        self._prompt = prompt
        self._lines = ChatLines()
        self._told = "online"
        self._count: int | None = None
        self._back = asyncio.Event()
        self._unsent: asyncio.Queue[str] = asyncio.Queue()
        self._posting = ""

    async def run(self, after: str | None, history: int) -> None:
        """Talk until the input ends, or /quit.

        :raises ClientError: the room cannot be read (any more).
        """
        self._lines.own = str((await self._rpc.auth.whoami())["name"])
        self._rpc.watch(self._changed)
        self._rpc.on("chat.presence", self._presence)
        async with self._rpc.room(self._room, after=after, history=history) as events:
            self._count = _count(events.present)
            self._aside(f"you are {clean_name(self._lines.own)} in {self._room}; {HELP}")
            tasks = [asyncio.create_task(work) for work in (self._read(events), self._post(), self._write(), self._learn_name())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if self._rpc.state.name == "online":
                    # A line that is written right before leaving is still sent.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._unsent.join(), LAST_WORDS)
                done = [task for task in tasks if task.done()]
            finally:
                for task in tasks:
                    task.cancel()
            for task in done:
                task.result()
        unsent = [text for text in (self._posting, *_drained(self._unsent)) if text]
        if unsent:
            self._aside(f"not sent: {'; '.join(unsent)}", "red")

    async def _read(self, events: Room) -> None:
        async for item in events:
            for line in self._lines.lines(item):
                self._prompt.show(line)

    async def _learn_name(self) -> None:
        """On each new connection: a guest without a name of its own gets another one from a server that was restarted."""
        while True:
            await self._back.wait()
            self._back.clear()
            with suppress(ClientError):
                name = str((await self._rpc.auth.whoami())["name"])
                if name != self._lines.own:
                    self._lines.own = name
                    self._aside(f"you are {clean_name(name)} now")
                    self._prompt.refresh()

    async def _write(self) -> None:
        while True:
            try:
                text = await self._prompt.line(f"{self._room}> ", self._toolbar)
            except (EOFError, KeyboardInterrupt):
                return
            text = text.strip()
            if text in ("/quit", "/exit"):
                return
            if text:
                await self._heed(text)

    async def _heed(self, text: str) -> None:
        """Do what a line says."""
        command, _, rest = text.partition(" ")
        rest = rest.strip()
        if not text.startswith("/") or text.startswith("//"):
            self._unsent.put_nowait(text.removeprefix("/") if text.startswith("//") else text)
        elif command == "/me" and rest:
            self._unsent.put_nowait(f"* {self._lines.own} {rest}")
        elif command == "/who":
            await self._try(self._who())
        elif command == "/topic" and rest:
            await self._try(self._rpc.call("room.set", {"room": self._room, "topic": rest}))
        else:
            self._aside(HELP)

    async def _who(self) -> None:
        present = await self._rpc.chat.who(self._room)
        names = ", ".join(clean_name(str(name)) for name in present["names"])
        more = present["count"] - len(present["names"])
        self._aside(f"{present['count']} here: {names}{f' and {more} more' if more > 0 else ''}")

    async def _post(self) -> None:
        """Post what was written, in order, each message once."""
        while True:
            self._posting = await self._unsent.get()
            post = self._rpc.call("chat.post", {"room": self._room, "text": self._posting}, deadline=POST_DEADLINE, idempotent=True)
            if not await self._try(post):
                self._aside(f"not sent: {self._posting}", "red")
            self._posting = ""
            self._unsent.task_done()

    async def _try(self, call: Any) -> bool:
        """Await a call, and show what goes wrong; False if something does."""
        try:
            await call
        except ClientError as error:
            self._aside(str(error), "red")
            return False
        return True

    def _changed(self, state: State) -> None:
        if line := self._lines.state(state, self._told):
            self._prompt.show(line)
        if state.name in ("waiting", "online"):
            self._told = state.name
        if state.name == "online":
            self._back.set()
        self._prompt.refresh()

    def _presence(self, params: Any) -> None:
        if isinstance(params, dict) and params.get("room") == self._room:
            self._count = _count(params)
            for line in self._lines.presence(params):
                self._prompt.show(line)
            self._prompt.refresh()

    def _aside(self, text: str, style: str = "dim") -> None:
        self._prompt.show(Text(f"-- {clean(text)} --", style))

    def _toolbar(self) -> str:
        state = self._rpc.state
        there = "connected" if state.name == "online" else "connecting…" if state.name == "connecting" else clean(state.reason or state.name)
        here = f" · {self._count} here" if self._count is not None else ""
        waiting = self._unsent.qsize() + bool(self._posting)
        return f" {clean_name(self._lines.own)} · {self._room}{here} · {self._url} · {there}{f' · {waiting} to be sent' if waiting else ''}"


def _count(params: dict[str, Any]) -> int | None:
    count = params.get("count")
    return count if isinstance(count, int) else None


def _drained(queue: "asyncio.Queue[str]") -> list[str]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


class TerminalPrompt:
    """A line at the bottom of a terminal, with history and editing; what arrives meanwhile scrolls above it."""

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(erase_when_done=True)
        self._console = Console(highlight=False, markup=False, emoji=False, force_terminal=True, soft_wrap=True)

    async def line(self, prompt: str, toolbar: Callable[[], str]) -> str:
        """See Prompt."""
        with patch_stdout(raw=True):
            return await self._session.prompt_async(prompt, bottom_toolbar=toolbar)

    def show(self, line: Text) -> None:
        """See Prompt."""
        with self._console.capture() as captured:
            self._console.print(line, end="")
        print_formatted_text(ANSI(captured.get()))

    def refresh(self) -> None:
        """See Prompt."""
        app = get_app_or_none()
        if app is not None:
            app.invalidate()
