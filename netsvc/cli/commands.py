"""The commands of the console script, and how all of them treat errors."""

import sys
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import Any

import click

from netsvc import __version__
from netsvc.cli.accounts import token, user
from netsvc.cli.calls import call, status
from netsvc.cli.chat import chat
from netsvc.cli.output import note
from netsvc.cli.standard_output import fill_in, write_no_more
from netsvc.errors import NetsvcError, StartError
from netsvc.settings import Fault, SettingsError
from netsvc.tap import read_settings

__all__ = ["main"]


_UNWRITABLE = frozenset((ENOSPC, EDQUOT, EFBIG, EIO))
"""The system's errors for an output that takes no more: a full disk, a terminal that is gone. Click knows about closed pipes."""


class Commands(click.Group):
    """A group whose commands may raise what netsvc raises on purpose, or fail to write: either becomes a line on stderr and an exit status."""

    def invoke(self, context: click.Context) -> Any:
        """Click's hook."""
        fill_in()
        try:
            return super().invoke(context)
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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="netsvc")
def main() -> None:
    """Check settings, manage accounts, call procedures, talk in rooms. The daemon itself is started with: twistd -n netsvc"""


@main.command()
@click.option("--config", type=click.Path(readable=False, path_type=Path), help="The INI file; FILE.d/*.ini are read after it.")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Override one key, after the files; may be repeated.")
def check(config: Path | None, overrides: tuple[str, ...]) -> None:
    """Check the settings as the daemon does when it starts. Exit status 78, and a line for each fault, if something is wrong.

    A file that you may not read is not a fault, since the daemon, which runs as its own user, may be allowed to: stderr tells you so.
    """
    doubts: list[Fault] = []
    read_settings(config, overrides, doubts)
    for doubt in doubts:
        note(str(doubt))
    click.echo(f"the settings are correct: {config if config is not None else 'the defaults'}")


main.add_command(user)
main.add_command(token)
main.add_command(call)
main.add_command(chat)
main.add_command(status)
