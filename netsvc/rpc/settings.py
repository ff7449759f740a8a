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
    body: Annotated[Size, Meta(ge=1024), Help("Bytes of a POST to /rpc or /RPC2 at the most")] = 1024 * 1024
    xmlrpc_nil: Annotated[bool, Help("XML-RPC may say null, as <nil/>; off: a fault")] = True
    xmlrpc_i8: Annotated[bool, Help("XML-RPC may say integers of 64 bits, as <i8>; off: beyond 32 bits a fault")] = True
    xmlrpc_depth: Annotated[int, Meta(ge=1, le=100), Help("How deep arrays and structs of an XML-RPC call may be nested")] = 32
    xmlrpc_values: Annotated[int, Meta(ge=1), Help("Values in one XML-RPC call at the most, those inside of others included")] = 20_000
    threads: Annotated[int, Meta(ge=1), Help("Threads for procedures that block")] = 8
    blocking_queue: Annotated[int, Meta(ge=0), Help("Calls of blocking procedures that may wait for a thread; beyond, callers are told to try later")] = 256
