"""[chat]: who may talk, and how they are greeted."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsvc.settings import Help

__all__ = ["ChatSettings"]


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[chat]: guests, rooms, the welcome of the plain-text rooms."""

    guests: Annotated[bool | None, Help("Whether a client without credentials may act as a guest; empty: yes while every listener is loopback, else no")] = None
    create: Annotated[Literal["guest", "member", "admin"], Help("Least role that may start a room")] = "guest"
    welcome: Annotated[
        str, Meta(max_length=1000), Help("First line of a plain-text room; {name}, {room} and {cursor} are filled in, nothing else is")
    ] = "Welcome {name}!"
