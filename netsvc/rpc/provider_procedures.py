"""The procedures for programs that serve procedures, ``rpc.provide``, ``rpc.withdraw`` and ``rpc.progress``, and ``rpc.cancel``."""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from netsvc.core.limits import FAULT_COST
from netsvc.core.procedures import Call, procedure
from netsvc.errors import InvalidRequest, NotFound
from netsvc.rpc.connection import RpcConnection
from netsvc.rpc.provider_schema import ProvidedSchema
from netsvc.rpc.providers import Provider, Providers

__all__ = ["CancelProcedure", "ProvideProcedures"]


class Providing(msgspec.Struct):
    """What is provided, and by how many connections."""

    name: str
    providers: int


class Withdrawn(msgspec.Struct):
    """What this connection no longer provides."""

    name: str


class Cancelled(msgspec.Struct):
    """How many calls were cancelled."""

    cancelled: int


class ProvideProcedures:
    """``rpc.provide``, ``rpc.withdraw``, and ``rpc.progress`` as a call."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    @procedure("rpc.provide", reads=True)
    def provide(self, call: Call, name: str, schema: ProvidedSchema | None = None) -> Providing:
        """Serve a procedure on this connection: after the answer, calls of that name arrive as JSON-RPC requests.

        Several connections that provide one name share the load.

        :param name: words joined by dots, like weather.today.
        :param schema: what others are told about it, and whether a call may be made twice.
        :raises Conflict: the name is one of netsvc's own.
        :raises TooLarge: there are too many names, or the schema is too large.
        """
        provider = self._providers.provide(_connection_of(call), name, schema or ProvidedSchema())
        call.after_answer(provider.go_on)
        return Providing(name, len(self._providers.procedures[name].servers))

    @procedure("rpc.withdraw", reads=True)
    def withdraw(self, call: Call, name: str) -> Withdrawn:
        """Stop serving a procedure. Calls that this connection has already been given must still be answered.

        :raises NotFound: this connection does not serve it.
        """
        self._providers.withdraw(_connection_of(call), name)
        return Withdrawn(name)

    @procedure("rpc.progress", reads=True, cost=0)
    def progress(self, call: Call, id: int, data: Any = None, done: float | None = None, total: float | None = None) -> "Deferred[None]":
        """Report progress of a call that this connection serves, and wait until its caller takes more; as a notification, do not wait.

        :param id: the id of the call that is served.
        :param data: a part of its result.
        :param done: how much is done.
        :param total: how much there is to do.
        :raises NotFound: nobody is waiting for the answer to such a call.
        """
        provider = _connection_of(call).serving
        served = provider.call_under(id) if isinstance(provider, Provider) else None
        if served is None or not isinstance(provider, Provider):
            call.budget.charge(FAULT_COST)
            raise NotFound("nobody is waiting for the answer to a call that netsvc sent with this id")
        given = {"data": data, "done": done, "total": total}
        members = {name: value for name, value in given.items() if value is not None}
        if members:
            served.progressed(provider, members, len(msgspec.json.encode(data)))
        return served.caught_up()


class CancelProcedure:
    """``rpc.cancel``."""

    @procedure("rpc.cancel", role="guest", reads=True)
    def cancel(self, call: Call, id: str | int | float) -> Cancelled:
        """Cancel a call that is under way on this connection; it is answered with an error.

        What it has already done is not undone. Programs that serve it are told.

        :param id: the id of the call.
        """
        return Cancelled(_connection_of(call).cancel(id))


def _connection_of(call: Call) -> RpcConnection:
    connection = call.connection
    if not isinstance(connection, RpcConnection):
        raise InvalidRequest("this needs a connection that stays: a WebSocket, or one of [lines] or [amp]")
    return connection
