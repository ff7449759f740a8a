"""The Python client: calls, rooms and notifications of a netsvc, over HTTP and WebSockets, for Twisted (`Client`) and asyncio (`aio.Client`)."""

from netsvc.client.deferred import Client
from netsvc.client.errors import (
    BadAnswer,
    CallFailed,
    ClientError,
    Conflict,
    ConnectionLost,
    DeadlinePassed,
    Forbidden,
    InternalError,
    InvalidParams,
    InvalidRequest,
    Malformed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    ProviderGone,
    RateLimited,
    TooLarge,
    UnknownProcedure,
    Untrusted,
)
from netsvc.client.events import Event, Gap
from netsvc.client.limits import Limits
from netsvc.client.serving import Call
from netsvc.client.session import State

__all__ = [
    "BadAnswer",
    "Call",
    "CallFailed",
    "Client",
    "ClientError",
    "Conflict",
    "ConnectionLost",
    "DeadlinePassed",
    "Event",
    "Forbidden",
    "Gap",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "Limits",
    "Malformed",
    "NotAuthenticated",
    "NotFound",
    "Overloaded",
    "ProviderGone",
    "RateLimited",
    "State",
    "TooLarge",
    "UnknownProcedure",
    "Untrusted",
]
