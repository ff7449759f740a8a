"""[lines] and [amp]: RPC over plain streams."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netsvc.settings import Duration, Endpoints, Help, Size

__all__ = ["AmpSettings", "LinesSettings", "StreamSettings"]


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What both have."""

    listen: Annotated[Endpoints, Help("Twisted endpoint strings, one a line, as in [http] listen; empty: none")] = ()
    message: Annotated[Size, Meta(ge=1024, le=1 << 30), Help("Longest message from a client")] = 1024 * 1024
    message_timeout: Annotated[Duration, Meta(gt=0), Help("Time for a message to arrive whole; looked at no less often than that")] = 60.0
    login_timeout: Annotated[Duration, Meta(gt=0), Help("Time for auth.login where guests are not allowed")] = 30.0
    idle_timeout: Annotated[Duration, Meta(gt=0), Help("How long a client may be silent that is in no room, provides nothing and waits for nothing")] = 300.0
    write_timeout: Annotated[Duration, Meta(gt=0), Help("How long a client may take no byte of what waits for it")] = 60.0


class LinesSettings(StreamSettings, frozen=True, kw_only=True):
    """[lines]: JSON-RPC for shell scripts, one message or batch a line, over TCP and UNIX sockets."""


class AmpSettings(StreamSettings, frozen=True, kw_only=True):
    """[amp]: the same calls over AMP, Twisted's messaging protocol."""
