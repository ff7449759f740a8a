"""A client for the commands that has no server."""

import asyncio
from typing import Any

from netsvc.cli import servers
from netsvc.client import Event, Gap, Limits, State
from tests.cli.commandline import CommandCase

__all__ = ["FakeClient", "FakeRoom", "ServerCase", "message"]


def message(seq: int, text: str = "hello", **further: Any) -> Event:
    """A message of ann's in the lobby."""
    return Event(
        {"room": "lobby", "seq": seq, "cursor": f"e:{seq}", "type": "message", "from": "ann", "at": "2026-01-31T12:00:00.000Z", "text": text, **further}
    )


class FakeRoom:
    """Gives what the test has put into it, then ends."""

    def __init__(self, items: "list[Event | Gap | BaseException]") -> None:
        self.items = items
        self.cursor = "e:0"
        self.present = {"count": 2, "names": ["ann", "bob"]}
        self.asked: dict[str, Any] = {}

    def __aiter__(self) -> "FakeRoom":
        return self

    async def __anext__(self) -> "Event | Gap":
        if not self.items:
            raise StopAsyncIteration
        item = self.items.pop(0)
        if isinstance(item, BaseException):
            raise item
        self.cursor = f"e:{item.seq if isinstance(item, Event) else item.last}"
        return item

    async def __aenter__(self) -> "FakeRoom":
        return self

    async def __aexit__(self, *exception: object) -> None:
        pass


class FakeClient:
    """Keeps the calls and answers them as the test says.

    :ivar outcomes: results and errors, one for each call; the last one for all others.
    :ivar progress: what each call tells on the way to who listens.
    """

    def __init__(self, outcomes: list[Any]) -> None:
        self.outcomes = outcomes
        self.progress: list[dict[str, Any]] = []
        self.made: list[tuple[Any, ...]] = []
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self.room_items = FakeRoom([])
        self.watchers: list[Any] = []
        self.listeners: dict[str, Any] = {}
        self.state = State("online")
        self.closed = 0
        self.unreachable: State | None = None

    def __call__(self, url: str, token: str | None, **options: Any) -> "FakeClient":
        """Be made."""
        self.made.append((url, token, options))
        return self

    async def call(self, method: str, params: Any = None, **options: Any) -> Any:
        """See netsvc.client."""
        self.calls.append((method, params, options))
        for members in self.progress if options.get("progress") else ():
            options["progress"](members)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def room(self, name: str, **asked: Any) -> FakeRoom:
        """See netsvc.client."""
        self.room_items.asked = {"room": name, **asked}
        return self.room_items

    def watch(self, watcher: Any) -> Any:
        """See netsvc.client."""
        self.watchers.append(watcher)
        return lambda: self.watchers.remove(watcher)

    async def open(self) -> None:
        """See netsvc.client."""
        if self.unreachable is not None:
            self.watchers[-1](self.unreachable)
            await asyncio.Event().wait()

    def on(self, method: str, listener: Any) -> None:
        """See netsvc.client."""
        self.listeners[method] = listener

    async def close(self) -> None:
        """See netsvc.client."""
        self.closed += 1

    async def __aenter__(self) -> "FakeClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def limits(self) -> Limits:
        """What the last client was told to keep to."""
        limits: Limits = self.made[-1][2]["limits"]
        return limits


class ServerCase(CommandCase):
    """The commands with such a client."""

    def setUp(self) -> None:
        """Put it in place."""
        super().setUp()
        self.client = FakeClient([5])
        self.patch(servers, "Client", self.client)
