"""``netsvc chat``: a room in a terminal, and in a pipe."""

import sys

import click

from netsvc.cli.conversation import Conversation, TerminalPrompt
from netsvc.cli.room_pipes import post_all, read_lines, tail
from netsvc.cli.servers import STATUSES, ServerChoice, complain, connected, run, server_options
from netsvc.client import ClientError, Limits
from netsvc.client.events import parse_cursor

__all__ = ["chat"]

HISTORY = 50
"""How many earlier messages a person is shown; a program gets those that it asks for."""


def _cursor(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            parse_cursor(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


@click.command(epilog=STATUSES)
@click.argument("room")
@server_options
@click.option("--name", help="The name to use as a guest.")
@click.option("--post", "posts", multiple=True, metavar="TEXT", help="Post this and exit; may be repeated.")
@click.option("--tail", "tailing", is_flag=True, help="Write what happens to standard output until SIGINT, and read no input.")
@click.option("--json", "as_json", is_flag=True, help="With --tail: one event per line, as JSON.")
@click.option("--after", callback=_cursor, metavar="CURSOR", help="Begin after this cursor; every event has one.")
@click.option("--limit", type=click.IntRange(0, 200), help=f"Begin with this many earlier events; by default {HISTORY}, with --tail 0.")
def chat(room: str, server: ServerChoice, name: str | None, posts: tuple[str, ...], tailing: bool, as_json: bool, after: str | None, limit: int | None) -> None:
    """Talk in a room.

    In a terminal: its messages above, a line to write on below. If standard input is not a terminal, its lines are posted, each exactly once.
    """
    if posts and tailing:
        raise click.UsageError("--post and --tail cannot be used together")
    if as_json and not tailing:
        raise click.UsageError("--json can only be used with --tail")
    if tailing or (sys.stdin.isatty() and not sys.stdout.isatty() and not posts):
        run(server, tail(server, room, after, limit or 0, name, as_json))
    elif posts or not sys.stdin.isatty():
        _post(server, room, posts, name)
    else:
        run(server, _talk(server, room, after, HISTORY if limit is None else limit, name))


def _post(server: ServerChoice, room: str, posts: tuple[str, ...], name: str | None) -> None:
    try:
        post_all(server, room, posts or read_lines(sys.stdin.buffer), name)
    except ClientError as error:
        complain(server, error)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


async def _talk(server: ServerChoice, room: str, after: str | None, history: int, name: str | None) -> None:
    # It tries to connect for as long as the terminal is open, and sends messages again each time.
    limits = Limits(attempts=1000, deadline=60.0)
    async with connected(server.client(name=name, transport="websocket", limits=limits)) as rpc:
        await Conversation(rpc, room, server.url, TerminalPrompt()).run(after, history)
