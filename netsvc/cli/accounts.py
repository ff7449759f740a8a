"""``netsvc user`` and ``netsvc token``."""

import re
import sys
import time
import warnings
from base64 import b32encode
from getpass import GetPassWarning
from os import urandom
from typing import get_args

import click

from netsvc.cli.output import day, note, table
from netsvc.cli.state import StateChoice, state_options
from netsvc.core.credentials import digest_of, new_token_secret
from netsvc.core.identity import ROLES
from netsvc.core.names import fold_user_name
from netsvc.core.passwords import PasswordHashes
from netsvc.errors import InvalidParams, NotFound
from netsvc.settings import Duration, Form

__all__ = ["token", "user"]

_LABEL = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,100}")
"""Bytes of an argument that are not UTF-8 are halves of surrogate pairs in Python."""

_LONGEST_LINE = 1 << 20

_LONGEST_LIFE = 36_500 * 86_400
"""The longest life of a token, in seconds: a hundred years, which any calendar can write."""

_name = click.argument("name")
_role = click.Choice(ROLES)
_password_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")


def _lifetime(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A duration, written as in the INI file, that makes sense for a token."""
    if value is None:
        return None
    form: Form = next(part for part in get_args(Duration) if isinstance(part, Form))
    try:
        seconds = float(form.read(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 1 <= seconds <= _LONGEST_LIFE:
        raise click.BadParameter("expected 1s to 36500d; without this option a token is valid until it is revoked")
    return seconds


@click.group()
def user() -> None:
    """Manage users, even while the daemon runs."""


@user.command("add")
@_name
@click.option("--role", type=_role, default="member", show_default=True)
@_password_stdin
@click.option("--no-password", is_flag=True, help="Allow login with tokens only.")
@state_options
def add_user(choice: StateChoice, name: str, role: str, password_stdin: bool, no_password: bool) -> None:
    """Add a user; asks for a password."""
    if password_stdin and no_password:
        raise click.UsageError("--password-stdin and --no-password cannot be used together")
    name = fold_user_name(name)
    kept = "" if no_password else _new_password(choice, password_stdin)
    with choice.open(new=True) as accounts:
        accounts.add_user(name, role, kept)
    note(f"added {name}, {role}")


@user.command("passwd")
@_name
@_password_stdin
@state_options
def set_password(choice: StateChoice, name: str, password_stdin: bool) -> None:
    """Change a password. This ends the user's sessions, but not tokens."""
    name = fold_user_name(name)
    kept = _new_password(choice, password_stdin)
    with choice.open() as accounts:
        accounts.set_password(name, kept)
    note(f"{name} has a new password")


@user.command("role")
@_name
@click.argument("role", type=_role)
@state_options
def set_role(choice: StateChoice, name: str, role: str) -> None:
    """Give a user another role."""
    name = fold_user_name(name)
    with choice.open() as accounts:
        accounts.set_role(name, role)
    note(f"{name} is now {role}")


@user.command("remove")
@_name
@state_options
def remove_user(choice: StateChoice, name: str) -> None:
    """Remove a user with all tokens and sessions.

    What the user has written stays; the next user of that name cannot change it.
    """
    name = fold_user_name(name)
    with choice.open() as accounts:
        accounts.remove_user(name)
    note(f"removed {name}")


@user.command("list")
@state_options
def list_users(choice: StateChoice) -> None:
    """List the users by name."""
    with choice.open() as accounts:
        users = accounts.users()
    table(("NAME", "ROLE", "PASSWORD", "CREATED"), [(record.name, record.role, "yes" if record.password else "no", day(record.created)) for record in users])


def _new_password(choice: StateChoice, from_stdin: bool) -> str:
    """The argon2id string of a new password. The password is never an argument: every user of the machine can see those."""
    if from_stdin:
        line = sys.stdin.buffer.readline(_LONGEST_LINE)
        try:
            password = line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise InvalidParams("password: not UTF-8", parameter="password") from None
    else:
        password = _asked_for_password()
    return PasswordHashes(choice.auth).make(password)


def _asked_for_password() -> str:
    """A password that is typed twice, unseen.

    :raises click.UsageError: there is no terminal on which that is possible; getpass would show it all the same.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        except GetPassWarning:
            raise click.UsageError("there is no terminal to ask for the password on: use --password-stdin") from None


@click.group()
def token() -> None:
    """Manage tokens for programs, even while the daemon runs."""


@token.command("issue")
@click.argument("user")
@click.option("--label", default="", help="What it is for, up to 100 characters.")
@click.option("--expires", callback=_lifetime, metavar="DURATION", help="How long it is valid, like 30d; default: until it is revoked.")
@state_options
def issue_token(choice: StateChoice, user: str, label: str, expires: float | None) -> None:
    """Give a user a new token. Its secret is printed once, by itself on standard output, and stored nowhere."""
    if not _LABEL.fullmatch(label):
        raise InvalidParams("label: at most 100 characters of UTF-8, on one line", parameter="label")
    user = fold_user_name(user)
    id = b32encode(urandom(5)).decode("ascii").lower()
    secret = new_token_secret()
    created = int(time.time() * 1000)
    until = 0 if expires is None else created + int(expires * 1000)
    with choice.open() as accounts:
        accounts.issue_token(id, digest_of(secret), user, label, created, until)
    note(f"token {id} for {user}, {_until(until)}; this is the only time its secret is shown")
    click.echo(secret)


@token.command("revoke")
@click.argument("id")
@state_options
def revoke_token(choice: StateChoice, id: str) -> None:
    """Revoke a token by its id; its connections are closed within 5 s."""
    if id.startswith("nst_"):
        raise NotFound("give the token's id, not its secret; netsvc token list shows the ids")
    with choice.open() as accounts:
        accounts.revoke_token(id.lower())
    note(f"revoked {id.lower()}")


@token.command("list")
@click.argument("user", required=False)
@state_options
def list_tokens(choice: StateChoice, user: str | None) -> None:
    """List the tokens of a user, or of all users."""
    with choice.open() as accounts:
        records = accounts.tokens(fold_user_name(user) if user is not None else None)
    rows = [(record.id, record.user, record.role, day(record.created), _until(record.expires), record.label) for record in records]
    table(("ID", "USER", "ROLE", "CREATED", "EXPIRES", "LABEL"), rows)


def _until(expires: int) -> str:
    if not expires:
        return "never expires"
    return f"{'expired' if expires <= time.time() * 1000 else 'until'} {day(expires)}"
