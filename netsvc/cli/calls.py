"""``netsvc call`` and ``netsvc status``: procedures of a running daemon, by JSON-RPC over HTTP."""

import re
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urlsplit

import click
import msgspec
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError, TimeoutError
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.web.client import Agent, RequestTransmissionFailed, ResponseFailed

from netsvc.cli.output import note, table, visible

__all__ = ["CallFailed", "answered", "call", "call_procedure", "params_of", "status"]

UNREACHABLE = 7

_EXIT = {400: 2, 413: 2, 401: 3, 403: 3, 404: 4, 409: 5, 429: 6, 502: 6, 503: 6, 504: 6}
"""HTTP status to exit status; 1 for others."""

_HELP = """
\b
Exit status:
  0  done, the result is on standard output
  1  the server failed
  2  wrong use: options, params, request too large
  3  not authenticated, or not allowed
  4  no such procedure, room, event or file
  5  conflict
  6  not now: rate limited, overloaded, too late, provider gone
  7  no answer
"""

_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class CallFailed(Exception):
    """A call came to nothing.

    :param detail: why, for people.
    :param status: the exit status.
    """

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


class _Error(msgspec.Struct):
    message: str = ""
    data: Any = None


class _Answer(msgspec.Struct):
    """A JSON-RPC response, or the error of a server that has none for us."""

    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None


def params_of(arguments: Sequence[str]) -> list[Any] | dict[str, Any] | None:
    """The params of a call: by name if every argument is of the form ``name=value``, else by position; None if there are none.

    A value that is no JSON is a string: ``lobby`` is ``"lobby"``.
    """
    named = [_NAMED.fullmatch(argument) for argument in arguments]
    if not arguments:
        return None
    if all(named):
        return {match[1]: _value(match[2]) for match in named if match is not None}
    return list(map(_value, arguments))


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text


async def call_procedure(http: HTTPClient, url: str, method: str, params: Any, token: str, deadline: float) -> msgspec.Raw:
    """Call a procedure; gives the result's JSON.

    :param url: the server's, ``http://127.0.0.1:8080``.
    :param token: empty for none.
    :param deadline: in seconds; the server is told, the caller sees to it here.
    :raises CallFailed: the server said no, or nothing that makes sense.
    """
    request = {"jsonrpc": "2.0", "id": 1, "method": method} | ({"params": params} if params is not None else {})
    headers: dict[bytes | str, bytes | str] = {"Content-Type": "application/json", "Accept": "application/json", "X-Deadline": f"{deadline:g}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        body = msgspec.json.encode(request)
    except UnicodeEncodeError:
        raise CallFailed("the arguments are not UTF-8", 2) from None
    # A redirection would take the token elsewhere.
    response = await http.post(f"{url}/rpc", data=body, headers=headers, allow_redirects=False)
    content: bytes = await response.content()
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = _Answer()
    if answer.error is None and response.code == 200 and answer.result:
        return answer.result
    raise CallFailed(_reason(answer.error) or f"HTTP status {response.code}: is this a netsvc?", _EXIT.get(response.code, 1))


def _reason(error: _Error | None) -> str:
    if error is None:
        return ""
    data = error.data if isinstance(error.data, dict) else {}
    retry = f"; try again in {data['retry_after']:g} s" if isinstance(data.get("retry_after"), int | float) else ""
    detail = data.get("detail")
    return (f"{error.message}: {detail}" if detail else error.message) + retry


def _url(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment or parts.username) and parts.port != 0
    except ValueError:
        good = False
    if not good or not value.isascii():
        raise click.BadParameter("expected something like http://127.0.0.1:8080")
    return value.rstrip("/")


def _token(context: click.Context, parameter: click.Parameter, file: BinaryIO | None) -> str:
    if file is None:
        return ""
    secret = file.read(4096).strip()
    if not secret or not secret.isascii() or len(secret.split()) != 1:
        raise click.BadParameter("this file has no token in it")
    return secret.decode("ascii")


def _server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--timeout", type=click.FloatRange(0.1, 3600), default=30.0, show_default=True, metavar="SECONDS", help="How long to wait."),
        click.option(
            "--token-file", "token", type=click.File("rb"), envvar="NETSVC_TOKEN_FILE", show_envvar=True, callback=_token, help="A token; - is standard input."
        ),
        click.option("--url", default="http://127.0.0.1:8080", show_default=True, callback=_url, help="The server."),
    ):
        command = option(command)
    return command


@click.command(context_settings={"ignore_unknown_options": True}, epilog=_HELP)
@click.argument("method")
@click.argument("arguments", nargs=-1, metavar="[JSON]...")
@_server_options
def call(method: str, arguments: tuple[str, ...], url: str, token: str, timeout: float) -> None:
    """Call a procedure of a running daemon and print its result as JSON.

    The arguments are params by position or, if all are of the form name=value, by name. What is no JSON is taken as a string.
    """

    def show(result: msgspec.Raw) -> None:
        indent = 2 if sys.stdout.isatty() else -1
        click.echo(visible(msgspec.json.format(bytes(result), indent=indent).decode()))

    _run(partial(call_procedure, url=url, method=method, params=params_of(arguments), token=token, deadline=timeout), url, timeout, show)


@click.command(epilog=_HELP)
@_server_options
def status(url: str, token: str, timeout: float) -> None:
    """Print versions, uptime and counts of a running daemon; needs the token of an admin."""

    def show(result: msgspec.Raw) -> None:
        table(("KEY", "VALUE"), _flat("", msgspec.json.decode(result)))

    _run(partial(call_procedure, url=url, method="server.status", params=None, token=token, deadline=timeout), url, timeout, show)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """The leaves of a JSON value, each with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    else:
        yield prefix, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _run(ask: "Callable[[HTTPClient], Coroutine[Any, Any, msgspec.Raw]]", url: str, timeout: float, show: Callable[[msgspec.Raw], None]) -> None:
    """Run a call on a reactor of its own, show its result, and end the process with its status."""

    def main(reactor: Any) -> "Deferred[None]":
        asking = Deferred.fromCoroutine(ask(HTTPClient(Agent(reactor, connectTimeout=timeout))))
        return answered(asking.addTimeout(timeout, reactor, _late), url, timeout).addCallback(show)

    react(main)


def _late(outcome: object, timeout: float) -> NoReturn:
    # The agent makes various errors of being cancelled.
    raise DeferredTimeoutError


def answered(asking: "Deferred[msgspec.Raw]", url: str, timeout: float) -> "Deferred[msgspec.Raw]":
    """The same Deferred, but for failures: says why there is no result, and makes it SystemExit with the status."""

    def failed(failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, CallFailed):
            detail, code = str(error), error.status
        elif isinstance(error, DeferredTimeoutError | TimeoutError):
            detail, code = f"no answer from {url} within {timeout:g} s", UNREACHABLE
        elif isinstance(error, ConnectError | ConnectionLost | DNSLookupError | RequestTransmissionFailed | ResponseFailed):
            detail, code = f"cannot reach {url}: {_cause(error)}", UNREACHABLE
        else:
            return failure
        note(detail)
        raise SystemExit(code)

    return asking.addErrback(failed)


def _cause(error: Exception) -> str:
    """The innermost reason, in one line."""
    reasons = getattr(error, "reasons", None)
    cause = reasons[0].value if reasons else error
    return " ".join(str(cause).split()) or type(cause).__name__
