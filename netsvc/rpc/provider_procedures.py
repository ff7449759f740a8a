"""The procedures of those who serve procedures, ``rpc.provide``, ``rpc.withdraw`` and ``rpc.progress``, and ``rpc.cancel``."""

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
    """What is provided by this connection no longer."""

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
        """Serve a procedure on this connection: from the answer on, calls of that name come as JSON-RPC requests.

        Several connections that provide one name share the load.

        :param name: words joined by dots, like weather.today.
        :param schema: what others are told of it, and whether a call may be made twice.
        :raises Conflict: the name is one of netsvc's own.
        :raises TooLarge: there are too many names, or too many words.
        """
        provider = self._providers.provide(_connection_of(call), name, schema or ProvidedSchema())
        call.after_answer(provider.go_on)
        return Providing(name, len(self._providers.procedures[name].servers))

    @procedure("rpc.withdraw", reads=True)
    def withdraw(self, call: Call, name: str) -> Withdrawn:
        """Serve a procedure no longer. What this connection has been asked already is still to be answered.

        :raises NotFound: this connection does not serve it.
        """
        self._providers.withdraw(_connection_of(call), name)
        return Withdrawn(name)


    @procedure("rpc.progress", reads=True, cost=0)
    def progress(self, call: Call, id: int, data: Any = None, done: float | None = None, total: float | None = None) -> "Deferred[None]":
        """Tell of a call that this connection serves, and wait until its caller takes more; as a notification it tells without waiting.

        :param id: of the call that is served.
        :param data: a part of its result.
        :param done: how far it is.
        :param total: when it is through.
        :raises NotFound: nobody waits for the answer to such a call any more.
        """
        provider = _connection_of(call).serving
        served = provider.call_under(id) if isinstance(provider, Provider) else None
        if served is None or not isinstance(provider, Provider):
            call.budget.charge(FAULT_COST)
            raise NotFound("nobody waits for the answer to a call with this id of netsvc's")
        given = {"data": data, "done": done, "total": total}
        members = {name: value for name, value in given.items() if value is not None}
        if members:
            served.progressed(provider, members, len(msgspec.json.encode(data)))
        return served.caught_up()


class CancelProcedure:
    """``rpc.cancel``."""

    @procedure("rpc.cancel", role="guest", reads=True)
    def cancel(self, call: Call, id: str | int | float) -> Cancelled:
        """Give up a call of this connection that is under way; it is answered with an error.

        What cannot be undone is not undone. Programs that serve it are told.

        :param id: the call's.
        """
        return Cancelled(_connection_of(call).cancel(id))


def _connection_of(call: Call) -> RpcConnection:
    connection = call.connection
    if not isinstance(connection, RpcConnection):
        raise InvalidRequest("this needs a connection that stays: a WebSocket, or one of [lines] or [amp]")
    return connection
