"""The commands of the console script, and how all of them treat errors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from importlib import import_module
from typing import Any

import click

from netsvc import __version__
from netsvc.cli.output import note
from netsvc.cli.standard_output import fill_in, write_no_more
from netsvc.errors import NetsvcError, StartError
from netsvc.settings import SettingsError

__all__ = ["main"]


_UNWRITABLE = frozenset((ENOSPC, EDQUOT, EFBIG, EIO))
"""The system's errors for an output that takes no more: a full disk, a terminal that is gone. Click knows about closed pipes."""


_MODULES = {"call": "calls", "chat": "chat", "check": "check", "status": "calls", "token": "accounts", "user": "accounts"}
"""Where each command is. Scripts run one many times, and should not wait for what the others need."""


class Commands(click.Group):
    """A group whose commands are imported when they are used.

    They may raise what netsvc raises on purpose, or fail to write: either becomes a line on stderr and an exit status.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Click's hook."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Click's hook."""
        if cmd_name not in _MODULES:
            # For a name that is mistyped, Click proposes some of those that it has.
            self.commands.update({name: _imported(name) for name in _MODULES})
            return None
        return _imported(cmd_name)

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        """Click's hook; --help and --version are written here."""
        with _errors_told():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        """Click's hook."""
        with _errors_told():
            return super().invoke(context)


@contextmanager
def _errors_told() -> Iterator[None]:
    fill_in()
    try:
        yield
    except SettingsError as error:
        # Its lines begin with file and line, for editors to jump to.
        click.echo(error.detail, err=True)
        sys.exit(error.status)
    except NetsvcError as error:
        note(error.detail)
        sys.exit(error.status if isinstance(error, StartError) else 1)
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        note(f"cannot write the output: {error.strerror}")
        write_no_more()
        sys.exit(1)


def _imported(name: str) -> click.Command:
    command: click.Command = getattr(import_module(f"netsvc.cli.{_MODULES[name]}"), name)
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="netsvc")
def main() -> None:
    """Check settings, manage accounts, call procedures, talk in rooms. The daemon itself is started with: twistd -n netsvc"""
