"""[rpc]: procedures."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsvc.core.procedures import NAME
from netsvc.settings import Duration, Help, Lines, Size, items

__all__ = ["RpcSettings"]


def check_owner(text: str) -> None:
    """Whether a text can be one of [rpc] provide_only; ValueError says why not."""
    name, _, user = text.partition("=")
    if not NAME.fullmatch(name.removesuffix(".*")) or not user:
        raise ValueError(f'not a name and a user: "{text}"; write weather.today=ann, or weather.*=ann for all that begins so')


class RpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[rpc]: procedures, and the bounds of calling them."""

    modules: Annotated[Lines, Help("Python modules that register procedures, one a line; netsvc.examples.arithmetic is an example")] = ()
    provide: Annotated[Literal["guest", "member", "admin"], Help("Least role that may provide procedures from outside, and call those")] = "member"
    provide_only: Annotated[tuple[str, ...], items(check_owner), Help("Names kept for a user, like weather.*=ann: nobody else may provide them")] = ()
    provide_schema: Annotated[Size, Meta(ge=256), Help("Bytes of what a provider says of one procedure at the most")] = 16 * 1024
    providers: Annotated[int, Meta(ge=1), Help("Providers of one name at the most")] = 64
    provider_names: Annotated[int, Meta(ge=1), Help("Names that one connection may provide")] = 128
    provider_calls: Annotated[int, Meta(ge=1), Help("Calls that one provider is given at a time")] = 64
    provider_queue: Annotated[int, Meta(ge=0), Help("Calls of one name that may wait for a provider; beyond, callers are told to try later")] = 1024
    provider_answer: Annotated[Size, Meta(ge=1024), Help("Bytes of a provider's answer, or of one part of it, at the most")] = 512 * 1024
    provider_patience: Annotated[
        Duration, Meta(gt=0), Help("Time, or half of what is left if that is less, after which an idempotent call goes to a second provider as well")
    ] = 10.0
    progress_backlog: Annotated[Size, Meta(ge=0), Help("Bytes of partial results that may wait for a slow caller; beyond, its call fails")] = 256 * 1024
    login_timeout: Annotated[Duration, Meta(gt=0), Help("Time for auth.login on a WebSocket where guests are not allowed")] = 30.0
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

    def owner_of(self, name: str) -> str | None:
        """The user for whom a name is kept, None if it is for all who may provide. The longest pattern that fits holds."""
        found = ""
        owner = None
        for pattern, _, user in (each.partition("=") for each in self.provide_only):
            if (name == pattern or (pattern.endswith(".*") and name.startswith(pattern[:-1]))) and len(pattern) > len(found):
                found, owner = pattern, user
        return owner
