"""Programs that serve procedures over their connection, and the names that they serve."""

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec

from netsvc.core.identity import RANKS, Identity
from netsvc.core.procedures import NAME, Registry
from netsvc.errors import Conflict, Forbidden, InvalidParams, NotFound, TooLarge
from netsvc.net.wheel import TimingWheel
from netsvc.rpc.connection import RpcConnection
from netsvc.rpc.provider_schema import ProvidedSchema, check_provided
from netsvc.rpc.remote import RemoteCall, RemoteCallContext, RemoteProcedure
from netsvc.rpc.settings import RpcSettings
from netsvc.wire.jsonrpc import ABSENT, Incoming, notification, request

__all__ = ["RESERVED", "Provider", "Providers"]

RESERVED = ("rpc.", "system.", "auth.", "chat.", "room.", "server.")
"""The prefixes of netsvc's own names."""

LONGEST_NAME = 128

FORGOTTEN = 60.0
"""How many seconds a call that nobody wants any more still counts as one that its provider is busy with, if it is never answered."""

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_serial = msgspec.json.Decoder(int).decode


class Providers:
    """Who serves what.

    :param registry: where the procedures are added while they are served.
    :param settings: [rpc].
    :param wheel: the timers of calls.
    """

    def __init__(self, registry: Registry, settings: RpcSettings, wheel: TimingWheel) -> None:
        self.settings = settings
        self.context = RemoteCallContext(settings, wheel, count(1))
        self.rank = RANKS[settings.provide]
        self._registry = registry
        self.procedures: dict[str, RemoteProcedure] = {}

    def provide(self, connection: RpcConnection, name: str, schema: ProvidedSchema) -> "Provider":
        """Have a connection serve a name. It is given no call until its `go_on` is called.

        :raises InvalidParams: the name or the schema is not a valid one.
        :raises Conflict: the name is one of netsvc's own, or that of a procedure of this server.
        :raises Forbidden: the settings reserve the name for another user.
        :raises TooLarge: the schema is too large, or there are too many names or providers.
        """
        self._check_name(name, connection.identity)
        check_provided(schema, self.settings.provide_schema)
        provider = connection.serving if isinstance(connection.serving, Provider) else Provider(self, connection)
        procedure = self.procedures.get(name)
        if name not in provider.names:
            if len(provider.names) >= self.settings.provider_names:
                raise TooLarge(f"this connection provides {len(provider.names)} names already; [rpc] provider_names sets the bound")
            if procedure is not None and len(procedure.servers) >= self.settings.providers:
                raise TooLarge(f"{name} has {self.settings.providers} providers already; [rpc] providers sets the bound")
        if procedure is None:
            procedure = self.procedures[name] = RemoteProcedure(name, self.rank, self.context)
            self._registry.put(procedure)
        connection.serve(provider)
        provider.hold()
        procedure.join(provider, schema)
        provider.names[name] = procedure
        return provider

    def _check_name(self, name: str, identity: Identity | None) -> None:
        if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            raise InvalidParams(f"name: expected words joined by dots, at most {LONGEST_NAME} characters, like 'weather.today'", parameter="name")
        if name.startswith(RESERVED):
            raise Conflict(f"name: names that begin with {name.partition('.')[0]}. are netsvc's own; choose another")
        if name in self._registry and name not in self.procedures:
            raise Conflict(f"name: {name} is a procedure of this server; choose another")
        owner = self.settings.owner_of(name)
        if owner is not None and (identity is None or identity.guest or identity.name != owner):
            raise Forbidden(f"name: {name} is reserved for another user; see [rpc] provide_only")

    def withdraw(self, connection: RpcConnection, name: str) -> None:
        """Have a connection stop serving a name; calls that it already has are waited for.

        :raises NotFound: it does not serve the name.
        """
        provider = connection.serving
        if not isinstance(provider, Provider) or name not in provider.names:
            raise NotFound(f"this connection does not provide {name[:LONGEST_NAME]!r}")
        provider.withdraw(name)

    def left(self, procedure: RemoteProcedure, provider: "Provider") -> None:
        """A provider no longer serves a name."""
        procedure.leave(provider)
        # Calls that waited have failed meanwhile, and whoever is told of that may go on to provide the name, or stop providing it.
        if not procedure.servers and self.procedures.get(procedure.name) is procedure:
            del self.procedures[procedure.name]
            self._registry.remove(procedure.name)

    def counts(self) -> dict[str, Any]:
        """What server.status reports."""
        providers = {provider for procedure in self.procedures.values() for provider in procedure.servers}
        return {
            "names": len(self.procedures),
            "providers": len(providers),
            "calls": sum(provider.load for provider in providers),
            "waiting": sum(procedure.waiting for procedure in self.procedures.values()),
        }


class _Abandoned:
    """A call that nobody wants any more, though its provider may still be busy with it. An entry in the wheel."""

    __slots__ = ("_provider", "_serial", "wheel_slot")

    def __init__(self, provider: "Provider", serial: int) -> None:
        self._provider = provider
        self._serial = serial
        self.wheel_slot: int | None = None

    def expired(self) -> None:
        """See WheelEntry."""
        self._provider.forget(self._serial)


class Provider:
    """One connection that serves procedures: a `netsvc.rpc.connection.Serving` and a `netsvc.rpc.remote.Server`.

    :ivar names: the procedures that it serves.
    """

    __slots__ = ("_calls", "_connection", "_held", "_providers", "_retired", "names")

    def __init__(self, providers: Providers, connection: RpcConnection) -> None:
        self._providers = providers
        self._connection = connection
        self._calls: dict[int, RemoteCall | _Abandoned] = {}
        self._held = 0
        self._retired: Callable[[], None] | None = None
        self.names: dict[str, RemoteProcedure] = {}

    # The calls

    @property
    def load(self) -> int:
        """How many calls it has, including those that nobody waits for any more."""
        return len(self._calls)

    @property
    def busy(self) -> bool:
        """See Serving."""
        return bool(self.names or self._calls)

    @property
    def free(self) -> bool:
        """It may be given a call now."""
        return not self._held and len(self._calls) < self._providers.settings.provider_calls and not self._connection.full

    def hold(self) -> None:
        """Give it no call until `go_on`, which must be called once for each call of this."""
        self._held += 1

    def go_on(self) -> None:
        """Give it calls."""
        self._held -= 1
        self.ready()

    def take(self, call: RemoteCall) -> None:
        """See Server."""
        if call.too_late():
            return
        serial = next(self._providers.context.serials)
        self._calls[serial] = call
        call.sent(self, serial)
        self._connection.send(request(serial, call.procedure.name, call.params, call.remaining()))

    def give_up(self, serial: int) -> None:
        """See Server: tell it, and remember that it may still be busy with the call. A provider that never ends its calls gets no more."""
        if serial in self._calls:
            self._calls[serial] = abandoned = _Abandoned(self, serial)
            self._providers.context.wheel.add(abandoned, FORGOTTEN)
            self._connection.send(notification("rpc.cancel", b'{"id":%d}' % serial))

    def forget(self, serial: int) -> None:
        """A call that was given up no longer counts."""
        self._calls.pop(serial, None)
        self.ready()

    # Serving

    def received(self, message: Incoming) -> bool:
        """See Serving."""
        if message.method:
            return message.method == "rpc.progress" and message.id is ABSENT and self._progressed(message.params)
        # Even one with neither a result nor an error, as from a program whose result was undefined: nothing else will come for the call.
        return message.id is not ABSENT and self._answered(message)

    def _answered(self, message: Incoming) -> bool:
        try:
            serial = _decode_serial(message.id)
        except msgspec.DecodeError:
            return False
        call = self._calls.pop(serial, None)
        if call is None:
            return False
        if isinstance(call, RemoteCall):
            call.answered(self, message)
        else:
            self._providers.context.wheel.cancel(call)
        self.ready()
        return True

    def _progressed(self, params: msgspec.Raw) -> bool:
        try:
            members = _decode_members(params)
            serial = _decode_serial(members.pop("id", ABSENT))
            # What is inside has not been checked yet.
            msgspec.json.decode(params)
        except (msgspec.DecodeError, RecursionError):
            return False
        call = self._calls.get(serial)
        if isinstance(call, RemoteCall):
            call.progressed(self, members, len(bytes(params)))
        return call is not None  # for a call that it never had it pays, as for an answer to none

    def call_under(self, serial: int) -> RemoteCall | None:
        """The call that it was given with an id, None if nobody waits for its answer any more."""
        call = self._calls.get(serial)
        return call if isinstance(call, RemoteCall) else None

    def ready(self) -> None:
        """It may be free: give it waiting calls."""
        if self._retired is not None and not self._calls:
            retired, self._retired = self._retired, None
            retired()
        for procedure in tuple(self.names.values()):
            if procedure.waiting:
                procedure.pull()

    def login(self, identity: Identity) -> None:
        """See Serving: names that the new identity may not provide are withdrawn."""
        for name in tuple(self.names):
            owner = self._providers.settings.owner_of(name)
            if identity.rank < self._providers.rank or (owner is not None and (identity.guest or identity.name != owner)):
                self.withdraw(name)

    def withdraw(self, name: str) -> None:
        """Stop serving a name; no error if it does not."""
        procedure = self.names.pop(name, None)
        if procedure is not None:
            self._providers.left(procedure, self)

    def retire(self, then: Callable[[], None]) -> None:
        """See Serving."""
        for name in tuple(self.names):
            self.withdraw(name)
        self._retired = then
        self.ready()

    def lost(self) -> None:
        """See Serving: its calls go to others, or fail."""
        self._held += 1
        self._retired = None
        for name in tuple(self.names):
            self.withdraw(name)
        for serial in tuple(self._calls):
            # One by one: who hears of the end of a call may cancel others.
            call = self._calls.pop(serial)
            if isinstance(call, RemoteCall):
                call.lost(self)
            else:
                self._providers.context.wheel.cancel(call)
