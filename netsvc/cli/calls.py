"""``netsvc call`` and ``netsvc status``: call procedures of a running daemon, by way of the client."""

import re
import sys
from collections.abc import Sequence
from math import isnan
from typing import Any

import click
import msgspec

from netsvc.cli.output import visible
from netsvc.cli.servers import STATUSES, ServerChoice, run, server_options
from netsvc.cli.standard_output import while_read
from netsvc.cli.tables import show_table
from netsvc.client import Limits
from netsvc.client.events import Progress
from netsvc.settings.faults import quoted

__all__ = ["call", "params_of", "status"]

_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def _number(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A number of seconds: nan would be in every range."""
    if isnan(value):
        raise click.BadParameter("nan is not a number of seconds")
    return value


_deadline = click.option(
    "--deadline",
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    callback=_number,
    help="How long to wait.",
)
_form = click.option("--json/--table", "as_json", default=None, help="How to show the result; by default a table in a terminal, else JSON on one line.")


def params_of(arguments: Sequence[str]) -> list[Any] | dict[str, Any] | None:
    """The params of a call: by name if the arguments are of the form ``name=value``, else by position; None if there are none.

    A value that is not JSON is a string: ``lobby`` is ``"lobby"``. By position, a text that begins like ``name=`` must be written as JSON,
    since otherwise it would be taken for a name.

    :raises click.UsageError: some arguments are of that form and some are not.
    """
    named = {argument: match for argument in arguments if (match := _NAMED.fullmatch(argument))}
    bare = [argument for argument in arguments if argument not in named]
    if not named:
        return list(map(_value, bare)) or None
    if not bare:
        return {match[1]: _value(match[2]) for match in named.values()}
    name = next(iter(named.values()))[1]
    raise click.UsageError(
        f"params are given by position or by name, not both: {quoted(visible(bare[0]))} has no name, {name}= is one. "
        f"""If that is how a text begins, write it as JSON: '"{name}=..."'"""
    )


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text


@click.command(context_settings={"ignore_unknown_options": True}, epilog=STATUSES)
@click.argument("method")
@click.argument("arguments", nargs=-1, metavar="[JSON | NAME=JSON]...")
@server_options
@_deadline
@click.option("--key", help="An idempotency key (a UUID): calling again with it has no further effect. With it, a call that gets no answer is repeated.")
@click.option("--parts", is_flag=True, help="Print parts of the result as they arrive, then the result: lines of JSON.")
@_form
def call(method: str, arguments: tuple[str, ...], server: ServerChoice, deadline: float, key: str | None, parts: bool, as_json: bool | None) -> None:
    """Call a procedure of a running daemon and print its result.

    The arguments are params by position or, in the form name=value, by name; not both. A value that is not JSON is taken as a string. By
    position, a text that begins like name= must be written as JSON: '"a=b"'.
    """
    if parts and as_json is False:
        raise click.UsageError("--parts prints JSON, so it cannot be used with --table")
    params = params_of(arguments)
    if parts:
        run(server, _print_parts(server, method, params, deadline, key))
    else:
        _show(run(server, _call(server, method, params, deadline, key)), as_json)


async def _print_parts(server: ServerChoice, method: str, params: Any, deadline: float, key: str | None) -> None:
    """Print parts of a result and the result itself; once nobody reads them any more, the call is cancelled."""
    async with while_read() as end:

        def heard(progress: dict[str, Any]) -> None:
            try:
                if "data" in progress:
                    _print_line(progress["data"])
            except Exception as error:  # the client would log it and continue
                end(error)

        _print_line(await _call(server, method, params, deadline, key, heard))


def _print_line(value: Any) -> None:
    """Print a value as JSON on one line, which reaches a pipe at once."""
    click.echo(visible(msgspec.json.encode(value).decode()))


@click.command(epilog=STATUSES)
@server_options
@_deadline
@_form
def status(server: ServerChoice, deadline: float, as_json: bool | None) -> None:
    """Show how a running daemon is doing.

    Versions, uptime and counts; this takes the token of an admin.
    """
    _show(run(server, _call(server, "server.status", None, deadline, None)), bool(as_json))


async def _call(server: ServerChoice, method: str, params: Any, deadline: float, key: str | None, progress: Progress | None = None) -> Any:
    # Without a key nobody has said that it may be repeated; and a person who types wants to hear at once that there is no server.
    limits = Limits(connect=deadline, deadline=deadline)
    async with server.client(limits=limits) as rpc:
        try:
            return await rpc.call(method, params, key=key, idempotent=key is not None, progress=progress)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _show(result: Any, as_json: bool | None) -> None:
    """Print a result: as JSON, as a table, or as suits where it goes."""
    terminal = sys.stdout.isatty()
    if as_json is False or (as_json is None and terminal):
        show_table(result)
    else:
        click.echo(visible(msgspec.json.format(msgspec.json.encode(result), indent=2 if terminal else -1).decode()))
