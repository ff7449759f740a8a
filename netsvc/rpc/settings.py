"""[rpc]: procedures."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsvc.settings import Duration, Help, Lines, Size

__all__ = ["RpcSettings"]


class RpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[rpc]: procedures, and the bounds of calling them."""

    modules: Annotated[Lines, Help("Python modules that register procedures, one a line; netsvc.examples.arithmetic is an example")] = ()
    provide: Annotated[Literal["guest", "member", "admin"], Help("Least role that may provide procedures from outside, and call those")] = "member"
    deadline: Annotated[Duration, Meta(gt=0), Help("How long a call may take if the caller does not say")] = 30.0
    deadline_max: Annotated[Duration, Meta(gt=0), Help("How long a call may take whatever the caller says")] = 300.0
    batch: Annotated[int, Meta(ge=1), Help("Calls in one batch at the most")] = 100
    batch_reply: Annotated[Size, Meta(ge=1024), Help("Bytes of the answers to one batch at the most")] = 4 * 1024 * 1024
    body: Annotated[Size, Meta(ge=1024), Help("Bytes of a POST to /rpc at the most")] = 1024 * 1024
    threads: Annotated[int, Meta(ge=1), Help("Threads for procedures that block")] = 8
    blocking_queue: Annotated[int, Meta(ge=0), Help("Calls of blocking procedures that may wait for a thread; beyond, callers are told to try later")] = 256
