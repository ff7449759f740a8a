"""[lines] and [amp]: RPC over plain streams."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netsvc.settings import Duration, Endpoints, Help, Size

__all__ = ["AmpSettings", "LinesSettings", "StreamSettings"]


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that both sections have."""

    listen: Annotated[Endpoints, Help("Twisted endpoint strings, one per line, as in [http] listen; if empty, there is no such listener")] = ()
    message: Annotated[Size, Meta(ge=1024, le=1 << 30), Help("Longest message from a client")] = 1024 * 1024
    message_timeout: Annotated[Duration, Meta(gt=0), Help("How long a message may take to arrive whole; checked at least that often")] = 60.0
    login_timeout: Annotated[Duration, Meta(gt=0), Help("How long a connection may go without auth.login where guests are not allowed")] = 30.0
    idle_timeout: Annotated[Duration, Meta(gt=0), Help("How long a client may be silent if it is in no room, provides nothing and waits for nothing")] = 300.0
    write_timeout: Annotated[Duration, Meta(gt=0), Help("How long a client may read nothing of what waits for it")] = 60.0


class LinesSettings(StreamSettings, frozen=True, kw_only=True):
    """[lines]: JSON-RPC for shell scripts, one message or batch per line, over TCP and UNIX sockets."""


class AmpSettings(StreamSettings, frozen=True, kw_only=True):
    """[amp]: the same calls over AMP, Twisted's messaging protocol."""
