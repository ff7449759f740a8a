"""``netsvc check``: is what the daemon would read correct?"""

from pathlib import Path

import click

from netsvc.cli.output import note
from netsvc.settings import Fault
from netsvc.tap import read_settings

__all__ = ["check"]


@click.command()
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
