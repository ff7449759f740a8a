"""Sections with a key of every type, for the tests of the settings."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsvc.settings import Duration, Endpoints, Help, Lines, Size

__all__ = ["SECTIONS", "LimitsSample", "WebSample"]


class WebSample(msgspec.Struct, frozen=True, kw_only=True):
    """[web]: what is served."""

    listen: Annotated[Endpoints, Meta(min_length=1), Help("Where to listen")] = ("tcp:8080:interface=127.0.0.1",)
    hosts: Annotated[Lines, Help("Names that this server is called by")] = ()
    access_log: Annotated[bool, Help("Log each request")] = True
    welcome: Annotated[str, Meta(max_length=80), Help("What a visitor is told")] = "Welcome {name}!"
    state: Annotated[Path, Help("Where everything is kept")] = Path("netsvc-state")
    level: Annotated[Literal["debug", "info", "warn"], Help("What is logged")] = "info"
    guests: Annotated[bool | None, Help("Whether guests may enter; empty decides by the listeners")] = None


class LimitsSample(msgspec.Struct, frozen=True, kw_only=True):
    """[limits]: how much of it."""

    connections: Annotated[int, Meta(ge=0), Help("Connections in all")] = 1000
    rate: Annotated[float, Meta(gt=0), Help("Calls a second")] = 50.0
    body: Annotated[Size, Meta(ge=1024, le=1 << 30), Help("Longest body")] = 1 << 20
    idle: Annotated[Duration, Meta(ge=1, le=3600), Help("Longest silence")] = 60.0
    grace: Annotated[Annotated[Duration, Meta(gt=0)] | None, Help("How long to wait at the end")] = None


SECTIONS: dict[str, type[msgspec.Struct]] = {"web": WebSample, "limits": LimitsSample}
