"""``twistd netsvc``: from the settings to one service. The only place where everything meets."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from twisted.application.service import IService
from twisted.python.usage import Options as TwistedOptions
from twisted.python.usage import UsageError

from netsvc.chat.settings import ChatSettings
from netsvc.core.procedures import Registry
from netsvc.core.settings import AuthSettings, LimitsSettings, RoomsSettings
from netsvc.errors import StartError
from netsvc.http.listeners import is_loopback
from netsvc.http.settings import HttpSettings
from netsvc.ops.logs import LogFormat, LogLevelName
from netsvc.rpc.settings import RpcSettings
from netsvc.settings import Duration, Help, Settings, load
from netsvc.store.settings import StoreSettings

__all__ = ["SECTIONS", "NetsvcSettings", "Options", "makeService", "read_settings"]


class NetsvcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[netsvc]: the daemon as a whole."""

    state: Annotated[Path, Help("Folder of the database; $STATE_DIRECTORY, which systemd sets, wins over the default")] = Path("netsvc-state")
    log_format: Annotated[LogFormat, Help("text for people, or json, one object a line")] = "text"
    log_level: Annotated[LogLevelName, Help("Least level that is logged")] = "info"
    stop_timeout: Annotated[Duration, Meta(gt=0), Help("How long requests and WebSockets may take to finish when the daemon stops")] = 10.0


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "netsvc": NetsvcSettings,
    "http": HttpSettings,
    "chat": ChatSettings,
    "rpc": RpcSettings,
    "auth": AuthSettings,
    "limits": LimitsSettings,
    "rooms": RoomsSettings,
    "store": StoreSettings,
}
"""Every section of the INI file, in the order in which it is documented."""


class Options(TwistedOptions):
    """The command line of ``twistd netsvc``."""

    synopsis = "[--config FILE] [--set section.key=value ...]"
    longdesc = "Rooms where people and programs talk, procedures that programs call and provide, over HTTP and WebSocket."
    optParameters = [["config", "c", None, "INI file; FILE.d/*.ini are read after it"]]  # noqa: RUF012 - usage.Options wants a list

    def __init__(self) -> None:
        super().__init__()
        self["set"] = []

    def opt_set(self, assignment: str) -> None:
        """Override one key, after the files: section.key=value; may be repeated."""
        self["set"].append(assignment)

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802 - Twisted's name
        """Nothing else is understood."""
        if arguments:
            raise UsageError(f"unexpected {arguments[0]!r}; settings are given as --set section.key=value")


def read_settings(config: str | Path | None, overrides: Sequence[str]) -> Settings:
    """The settings, checked as the start checks them: what `netsvc check` runs, too.

    :raises SettingsError: every fault that was found; its status is 78.
    """
    settings = load(SECTIONS, Path(config) if config is not None else None, overrides)
    read_registry(settings)
    return settings


def read_registry(settings: Settings) -> Registry:
    """A registry with the procedures of ``[rpc] modules``.

    :raises SettingsError: a module cannot be imported, or what it declares is no procedure.
    """
    registry = Registry()
    for name in settings.section(RpcSettings).modules:
        try:
            module = import_module(name)
            found = registry.add(module)
        except StartError as error:
            raise settings.fault("rpc", "modules", f"{name}: {error.detail}", name) from error
        except Exception as error:  # whatever a module does while it is imported
            raise settings.fault("rpc", "modules", f"cannot import {name}: {type(error).__name__}: {error}", name) from error
        if not found:
            raise settings.fault("rpc", "modules", f"{name} declares no procedure", name)
    return registry


def state_folder(settings: Settings) -> Path:
    """Where the state is: ``[netsvc] state`` if given, else ``$STATE_DIRECTORY``, else ``./netsvc-state``."""
    given = settings.origin("netsvc", "state") != "default"
    directory = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if directory and not given:
        return Path(directory)
    return settings.section(NetsvcSettings).state


def guests_allowed(settings: Settings) -> bool:
    """``[chat] guests`` if given; else only while every listener is loopback."""
    guests = settings.section(ChatSettings).guests
    return guests if guests is not None else all(map(is_loopback, settings.section(HttpSettings).listen))


def makeService(options: Options) -> IService:  # noqa: N802 - the name that twistd's ServiceMaker calls
    """The daemon; nothing is opened before it is started."""
    import sys

    from twisted.internet import reactor

    from netsvc.daemon import build

    try:
        settings = read_settings(options["config"], options["set"])
    except StartError as error:
        sys.stderr.write(f"{error.detail}\n")
        raise SystemExit(error.status) from None
    parent: Any = options.parent
    return build(settings, reactor, parent if parent is not None else {})
