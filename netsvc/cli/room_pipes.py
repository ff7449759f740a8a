"""``netsvc chat`` for programs: a room's events as lines on standard output, lines of standard input as messages."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import BinaryIO

import msgspec
from rich.console import Console

from netsvc.cli.chat_lines import ChatLines
from netsvc.cli.output import note
from netsvc.cli.servers import ServerChoice, connected
from netsvc.cli.standard_output import while_read
from netsvc.client import Event, Gap, Limits, State
from netsvc.client.aio import Room

__all__ = ["post_all", "read_lines", "tail"]

LONGEST_LINE = 1 << 20


def read_lines(source: BinaryIO) -> Iterable[str]:
    """The lines of a stream, as UTF-8, without the blank ones.

    :raises ValueError: a line is longer than a megabyte.
    """
    while line := source.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise ValueError("a line of standard input is too long")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.strip():
            yield text


def post_all(server: ServerChoice, room: str, texts: Iterable[str], name: str | None) -> None:
    """Post one text after the other, each when the one before has been stored. Each is posted once, however often it has to be sent.

    :param name: of a guest; None: the server decides who this is.
    :raises ClientError: one could not be posted; none after it has been.
    """
    client = server.client(name=name, transport="websocket" if name is not None else None)
    # Nothing runs between the texts: standard input may keep us waiting for a long time.
    with asyncio.Runner() as runner:
        try:
            for text in texts:
                runner.run(client.call("chat.post", {"room": room, "text": text}, idempotent=True))
        finally:
            runner.run(client.close())


async def tail(server: ServerChoice, room: str, after: str | None, limit: int, name: str | None, as_json: bool) -> None:
    """Write a room's events until SIGINT, SIGTERM, or the reader is gone; after a lost connection it continues where it was.

    :param limit: without `after`, how many earlier events to begin with.
    :raises ClientError: the room cannot be read.
    """
    write = _json_writer() if as_json else _text_writer()
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        async with (
            while_read(),
            connected(server.client(name=name, transport="websocket", limits=Limits(deadline=60.0))) as rpc,
        ):
            rpc.watch(_Changes())
            async with rpc.room(room, after=after, history=limit) as events:
                async for item in events:
                    write(item, events)


class _Changes:
    """Says on stderr when the connection is lost and when it is back."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, state: State) -> None:
        if line := ChatLines.state(state, self._told):
            note(line.plain.strip("- "))
        if state.name in ("waiting", "online"):
            self._told = state.name


def _json_writer() -> Callable[[Event | Gap, Room], None]:
    def write(item: Event | Gap, room: Room) -> None:
        data = item.data if isinstance(item, Event) else {**item.data, "cursor": room.cursor}
        sys.stdout.buffer.write(msgspec.json.encode(data) + b"\n")
        sys.stdout.buffer.flush()

    return write


def _text_writer() -> Callable[[Event | Gap, Room], None]:
    lines = ChatLines()
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def write(item: Event | Gap, room: Room) -> None:
        # Captured, since a console that cannot write exits with status 1, even if it is only that nobody reads any more.
        with console.capture() as captured:
            for line in lines.lines(item):
                console.print(line)
        sys.stdout.write(captured.get())
        sys.stdout.flush()

    return write
