"""[rpc]: procedures."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsvc.core.procedures import NAME
from netsvc.settings import Duration, Help, Lines, Size, items

__all__ = ["RpcSettings"]


def check_owner(text: str) -> None:
    """Check an item of [rpc] provide_only; ValueError says what is wrong with it."""
    name, _, user = text.partition("=")
    if not NAME.fullmatch(name.removesuffix(".*")) or not user:
        raise ValueError(f'not a name and a user: "{text}"; write weather.today=ann, or weather.*=ann for all names that begin with weather.')


class RpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[rpc]: procedures, and the limits on calling them."""

    modules: Annotated[Lines, Help("Python modules that register procedures, one per line; netsvc.examples.arithmetic is an example")] = ()
    provide: Annotated[Literal["guest", "member", "admin"], Help("Lowest role that may provide procedures, and call those so provided")] = "member"
    provide_only: Annotated[tuple[str, ...], items(check_owner), Help("Names reserved for a user, like weather.*=ann: nobody else may provide them")] = ()
    provide_schema: Annotated[Size, Meta(ge=256), Help("How large the schema of a provided procedure may be")] = 16 * 1024
    providers: Annotated[int, Meta(ge=1), Help("How many providers one name may have")] = 64
    provider_names: Annotated[int, Meta(ge=1), Help("How many names one connection may provide")] = 128
    provider_calls: Annotated[int, Meta(ge=1), Help("How many calls one provider is given at a time")] = 64
    provider_queue: Annotated[int, Meta(ge=0), Help("How many calls of one name may wait for a provider; further callers are told to try later")] = 1024
    provider_answer: Annotated[Size, Meta(ge=1024), Help("How large a provider's answer, or one part of it, may be")] = 512 * 1024
    provider_patience: Annotated[
        Duration, Meta(gt=0), Help("How long an idempotent call may go unanswered, at most half of its time, before a second provider is given it too")
    ] = 10.0
    progress_backlog: Annotated[Size, Meta(ge=0), Help("How many bytes of partial results may wait for a slow caller before its call fails")] = 256 * 1024
    login_timeout: Annotated[Duration, Meta(gt=0), Help("How long a WebSocket may go without auth.login where guests are not allowed")] = 30.0
    deadline: Annotated[Duration, Meta(gt=0), Help("How long a call may take if its caller does not say")] = 30.0
    deadline_max: Annotated[Duration, Meta(gt=0), Help("How long a call may take, whatever its caller says")] = 300.0
    batch: Annotated[int, Meta(ge=1), Help("How many calls one batch may have")] = 100
    batch_reply: Annotated[Size, Meta(ge=1024), Help("How large the answers to one batch may be in total")] = 4 * 1024 * 1024
    body: Annotated[Size, Meta(ge=1024), Help("How large a POST to /rpc or /RPC2 may be")] = 1024 * 1024
    xmlrpc_nil: Annotated[bool, Help("Whether XML-RPC may carry null, as <nil/>; if not, null is a fault")] = True
    xmlrpc_i8: Annotated[bool, Help("Whether XML-RPC may carry 64-bit integers, as <i8>; if not, those beyond 32 bits are a fault")] = True
    xmlrpc_depth: Annotated[int, Meta(ge=1, le=100), Help("How deeply arrays and structs of an XML-RPC call may be nested")] = 32
    xmlrpc_values: Annotated[int, Meta(ge=1), Help("How many values one XML-RPC call may have, including those inside others")] = 20_000
    threads: Annotated[int, Meta(ge=1), Help("Threads for procedures that block")] = 8
    blocking_queue: Annotated[int, Meta(ge=0), Help("How many calls of blocking procedures may wait for a thread; further callers are told to try later")] = 256

    def owner_of(self, name: str) -> str | None:
        """The user for whom a name is reserved, None if anybody who may provide may use it. The longest pattern that matches applies."""
        found = ""
        owner = None
        for pattern, _, user in (each.partition("=") for each in self.provide_only):
            if (name == pattern or (pattern.endswith(".*") and name.startswith(pattern[:-1]))) and len(pattern) > len(found):
                found, owner = pattern, user
        return owner
