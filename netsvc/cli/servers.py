"""Which server a command calls, as whom, and what the errors of the client mean to a shell."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, Unpack

import click

from netsvc.cli.output import note
from netsvc.client import (
    CallFailed,
    ClientError,
    Conflict,
    ConnectionLost,
    DeadlinePassed,
    Forbidden,
    InternalError,
    InvalidParams,
    InvalidRequest,
    Malformed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    ProviderGone,
    RateLimited,
    State,
    TooLarge,
    UnknownProcedure,
)
from netsvc.client.addresses import Address, Credentials
from netsvc.client.aio import Client
from netsvc.client.remote import Options

__all__ = ["STATUSES", "ServerChoice", "complain", "connected", "run", "server_options"]

WRONG_USE = 2
UNREACHABLE = 7

_STATUSES: dict[type[ClientError], int] = {
    Malformed: WRONG_USE,
    InvalidRequest: WRONG_USE,
    InvalidParams: WRONG_USE,
    TooLarge: WRONG_USE,
    NotAuthenticated: 3,
    Forbidden: 3,
    UnknownProcedure: 4,
    NotFound: 4,
    Conflict: 5,
    RateLimited: 6,
    DeadlinePassed: 6,
    Overloaded: 6,
    ProviderGone: 6,
}

STATUSES = """
\b
Exit status:
  0  done
  1  the server failed, or is not netsvc
  2  wrong use: options, params, request too large
  3  not authenticated, or not allowed
  4  no such procedure, room, event or file
  5  conflict
  6  not now: rate limited, overloaded, no answer in time, provider gone
  7  the server cannot be reached, or cannot be trusted
"""


class ServerChoice(NamedTuple):
    """A server, and whom to call it as.

    :ivar url: as the user gave it.
    :ivar token: None for none.
    :ivar ca_file: see netsvc.client; None for the system's certificates.
    """

    url: str
    token: str | None
    ca_file: Path | None

    def client(self, **options: Unpack[Options]) -> Client:
        """A client for it; see netsvc.client.

        :raises click.UsageError: the options do not go together.
        """
        merged: Options = {"ca_file": self.ca_file, **options}
        try:
            return Client(self.url, self.token, **merged)
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error)) from error

    def complaint(self, error: ClientError) -> tuple[str, int]:
        """What to say about an error, and the exit status."""
        if isinstance(error, ConnectionLost):
            return f"cannot reach {self.url}: {error}", UNREACHABLE
        words = str(error)
        if isinstance(error, CallFailed) and error.retry_after is not None:
            words += f"; try again in {error.retry_after:g} s"
        elif isinstance(error, InternalError) and "request_id" in error.data:
            words += f"; the server's log has it under {error.data['request_id']}"
        status = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 1)
        return words, status


def _url(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        Address.parse(value)
    except ValueError:
        raise click.BadParameter("expected something like http://127.0.0.1:8080") from None
    return value.rstrip("/")


def _token(context: click.Context, parameter: click.Parameter, file: BinaryIO | None) -> str | None:
    if file is None:
        return None
    return _checked_token(file.read(4096).strip().decode("latin-1"), "there is no token in this file")


def _checked_token(secret: str, complaint: str) -> str:
    try:
        Credentials(secret)
    except ValueError:
        raise click.BadParameter(complaint) from None
    return secret


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which server, and as whom; it gets a ServerChoice as its parameter ``server``."""

    @click.option("--url", default="http://127.0.0.1:8080", show_default=True, envvar="NETSVC_URL", show_envvar=True, callback=_url, help="The server.")
    @click.option(
        "--token-file",
        "token",
        type=click.File("rb"),
        envvar="NETSVC_TOKEN_FILE",
        show_envvar=True,
        callback=_token,
        help="A file with a token; - is standard input. $NETSVC_TOKEN may hold the token itself; an argument may not, since others can see it.",
    )
    @click.option(
        "--ca-file", type=click.Path(path_type=Path), envvar="NETSVC_CA_FILE", show_envvar=True, help="Certificates (PEM) to trust instead of the system's."
    )
    @wraps(command)
    @click.pass_context
    def with_server(context: click.Context, /, *args: Any, url: str, token: str | None, ca_file: Path | None, **kwargs: Any) -> Any:
        if token is None and (secret := os.environ.get("NETSVC_TOKEN")):
            token = _checked_token(secret, "$NETSVC_TOKEN is not a token")
        return context.invoke(command, *args, server=ServerChoice(url, token, ca_file), **kwargs)

    return with_server


@asynccontextmanager
async def connected(rpc: Client) -> AsyncIterator[Client]:
    """A client for the duration of the block. If there is no server at the start, it says so at once: only later losses are waited out.

    :raises ClientError: the first attempt to connect has failed.
    """
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(state: State) -> None:
        if state.name == "waiting" and not failed.done():
            failed.set_exception(ConnectionLost(state.reason))

    stop = rpc.watch(look)
    opening = asyncio.ensure_future(rpc.open())
    try:
        await asyncio.wait((opening, failed), return_when=asyncio.FIRST_COMPLETED)
        stop()
        if failed.done():
            opening.cancel()
            await failed
        failed.cancel()
        await opening
        yield rpc
    finally:
        await rpc.close()


def run(server: ServerChoice, program: Coroutine[Any, Any, Any]) -> Any:
    """Run a program of asyncio to its end; a ClientError becomes a line on stderr and the exit status."""
    try:
        return asyncio.run(program)
    except ClientError as error:
        complain(server, error)


def complain(server: ServerChoice, error: ClientError) -> NoReturn:
    """Say what is wrong, and end the process with the status for it."""
    words, status = server.complaint(error)
    note(words)
    sys.exit(status)
