"""[chat]: who may talk, the greeting, and how event streams stay alive."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsvc.settings import Duration, Help

__all__ = ["ChatSettings"]


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[chat]: guests, rooms, the welcome of the plain-text rooms, event streams."""

    guests: Annotated[bool | None, Help("Whether a client without credentials may act as a guest; empty: yes while every listener is loopback, else no")] = None
    create: Annotated[Literal["guest", "member", "admin"], Help("Lowest role that may start a room")] = "guest"
    welcome: Annotated[str, Meta(max_length=1000), Help("First line of a plain-text room; {name}, {room} and {cursor} are filled in, nothing else is")] = (
        "Welcome {name}!"
    )
    heartbeat: Annotated[Duration, Meta(ge=1), Help("Time between two comments in an event stream, which show both ends and proxies that it is alive")] = 15.0
