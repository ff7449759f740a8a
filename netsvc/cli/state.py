"""The state directory, as the account commands open it: beside a running daemon, and as the user who owns it."""

import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from netsvc.cli.output import note
from netsvc.core.settings import AuthSettings
from netsvc.errors import StartError
from netsvc.settings import load
from netsvc.store.sqlite import Accounts, open_accounts
from netsvc.tap import SECTIONS, state_folder

__all__ = ["StateChoice", "become_owner", "state_options"]


# Click does not check whether it can be read: that shows when it is, and is then said in netsvc's own words.
_PLACE = click.Path(readable=False, path_type=Path)


class StateChoice(NamedTuple):
    """Which state directory, and with which settings.

    :ivar folder: the state directory; it may not be there yet.
    :ivar auth: [auth], for new passwords.
    """

    folder: Path
    auth: AuthSettings

    def open(self, new: bool = False) -> Accounts:
        """Open the accounts, to be closed after use.

        :param new: create a directory and a database that are not there; otherwise a mistyped path is reported, and nothing is left behind.
        :raises StartError: they cannot be opened; the detail says why.
        """
        try:
            fresh = not self.folder.exists()
            if fresh and not new:
                raise StartError(f"there is no state directory {self.folder}; say with --state or --config which one you mean")
            folder = self.folder if fresh else become_owner(self.folder)
        except OSError as error:
            raise StartError(f"cannot use the state directory {self.folder}: {error.strerror}") from error
        try:
            accounts = open_accounts(folder, new=new)
        except StartError as error:
            if folder == self.folder:
                raise
            raise StartError(f"in {self.folder}: {error.detail}", error.status) from error
        if fresh and os.geteuid() == 0:
            note(f"{self.folder} has been created for root; if netsvc is to run as another user: chown -R USER {self.folder}")
        return accounts


def state_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --state and --config, from which it gets a StateChoice as its parameter ``choice``."""

    @click.option("--config", type=_PLACE, help="The daemon's INI file, which says where its state is.")
    @click.option("--state", type=_PLACE, help="The state directory; without this and --config: $STATE_DIRECTORY or ./netsvc-state.")
    @wraps(command)
    def with_choice(*args: Any, state: Path | None, config: Path | None, **kwargs: Any) -> Any:
        settings = load(SECTIONS, config, [])
        choice = StateChoice(state if state is not None else state_folder(settings), settings.section(AuthSettings))
        return command(*args, choice=choice, **kwargs)

    return with_choice


def become_owner(folder: Path) -> Path:
    """As root, become the user who owns a state directory, for good; returns the path by which that user reaches it.

    Files that root creates there would be out of the daemon's reach; and SQLite, run by root, gives the files beside a database to the
    database's owner, so a daemon that has been taken over could obtain any file of the system by planting a link.

    If that user cannot reach the directory (systemd keeps the directories of a DynamicUser inside one that is root's alone), it becomes
    the root of the file system for this process.
    """
    if os.geteuid() != 0:
        return folder
    owner = folder.stat()
    if owner.st_uid == 0:
        return folder
    time.tzset()
    os.setgroups([owner.st_gid])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    reachable = os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
    os.seteuid(0)
    if not reachable:
        os.chroot(folder)
        os.chdir("/")
        folder = Path("/")
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    return folder
