"""A procedure that other programs serve: which of them is given a call, and what becomes of the call if they fail."""

from collections.abc import Collection
from itertools import count
from typing import Any, NamedTuple, Protocol

import msgspec
from twisted.internet.defer import Deferred

from netsvc.core.fairness import FairQueue
from netsvc.core.procedures import Call, Procedure
from netsvc.errors import DeadlinePassed, InvalidRequest, Malformed, NetsvcError, Overloaded, ProviderGone, TooLarge
from netsvc.net.wheel import TimingWheel
from netsvc.rpc.provider_schema import ProvidedSchema, error_of, no_json
from netsvc.rpc.settings import RpcSettings
from netsvc.wire.jsonrpc import ABSENT, Incoming

__all__ = ["RemoteCall", "RemoteCallContext", "RemoteProcedure", "Server"]

LOSSES = 3
"""How many providers may be lost with one call: one that crashes them one after the other must not crash them all."""

TRIES = 6
"""How many providers one call is given to, at most."""

SOON = 1.0
"""Seconds after which it is worth calling again, if a provider was lost."""


class RemoteCallContext(NamedTuple):
    """What all remote procedures share.

    :ivar wheel: for calls that are given to a second provider.
    :ivar serials: the ids of calls; no id is used twice.
    """

    settings: RpcSettings
    wheel: TimingWheel
    serials: "count[int]"


class Server(Protocol):
    """A provider, as the procedures that it serves see it."""

    @property
    def free(self) -> bool:
        """It may be given a call now."""

    @property
    def load(self) -> int:
        """How many calls it has."""

    def take(self, call: "RemoteCall") -> None:
        """Give it a call."""

    def give_up(self, serial: int) -> None:
        """Nobody wants the answer to a call any more."""


class RemoteProcedure(Procedure):
    """One name, its providers, and the calls that wait for a free one.

    :param rank: the least rank that may call it.
    :param context: the settings and timers.
    :ivar schema: as the latest provider describes it.
    """

    __slots__ = ("_context", "_pulling", "_schemas", "_servers", "_turn", "_waiting", "schema")

    remote = True

    def __init__(self, name: str, rank: int, context: RemoteCallContext) -> None:
        # Procedure's own is not used: there is no function whose type hints could be read.
        self.name = name
        self.rank = rank
        self.cost = 1.0
        self.blocking = self.plain = self.anonymous = self.reads = False
        self.scarce = True
        self.doc = ""
        self.schema = ProvidedSchema()
        self._context = context
        self._servers: list[Server] = []
        self._schemas: dict[Server, ProvidedSchema] = {}
        self._turn = 0
        self._pulling = False
        self._waiting: FairQueue[RemoteCall] = FairQueue()

    # Who provides it

    @property
    def servers(self) -> tuple[Server, ...]:
        """Its providers."""
        return tuple(self._servers)

    @property
    def several(self) -> bool:
        """It has more than one provider."""
        return len(self._servers) > 1

    def join(self, server: Server, schema: ProvidedSchema) -> None:
        """A further provider serves it, or one that already does describes it anew."""
        if server not in self._schemas:
            self._servers.append(server)
        self._schemas.pop(server, None)
        self._schemas[server] = schema
        self._describe()

    def leave(self, server: Server) -> None:
        """A provider no longer serves it. If it was the last, waiting calls fail."""
        self._servers.remove(server)
        del self._schemas[server]
        if self._servers:
            self._describe()
        while self._waiting and not self._servers:
            self._waiting.pop().fail(ProviderGone(f"nobody provides {self.name} any more; the call had not begun", retry_after=SOON))

    def _describe(self) -> None:
        self.schema = next(reversed(self._schemas.values()))
        self.doc = "\n\n".join(filter(None, (self.schema.summary, self.schema.description)))

    def idempotent(self, server: Server) -> bool:
        """Whether this provider's calls may be made again elsewhere."""
        return self._schemas[server].idempotent

    # Procedure

    @property
    def fields(self) -> tuple[str, ...]:
        """None: netsvc does not know the names of its params."""
        return ()

    def arguments(self, params: msgspec.Raw) -> Any:
        """The JSON text of the params, to be passed on as it is."""
        if params is ABSENT:
            return params
        try:
            value = msgspec.json.decode(params)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Malformed.json(bytes(params).decode(), error) from None
        if not isinstance(value, dict | list):
            raise InvalidRequest('"params" must be an object or an array')
        return params

    def converted(self, values: list[Any]) -> Any:
        """The JSON text of params that another codec has read."""
        return msgspec.Raw(msgspec.json.encode(values))

    def recalled(self, answer: bytes) -> Any:
        """The result from its JSON text."""
        return msgspec.json.decode(answer)

    def call(self, call: Call, arguments: Any) -> "Deferred[msgspec.Raw]":
        """Have a provider carry it out; fires with the JSON text of the result.

        :raises Overloaded: as many calls as may wait for a provider are waiting.
        """
        remote = RemoteCall(self, call, arguments, self._context)
        self.place(remote)
        return remote.result

    # Which provider is given a call

    def choose(self, but: Collection[Server] = ()) -> Server | None:
        """The free provider with the fewest calls; of several, the one whose turn it is; None if none is free."""
        best, least, place = None, 0, 0
        number = len(self._servers)
        for offset in range(number):
            index = (self._turn + offset) % number
            server = self._servers[index]
            if (best is None or server.load < least) and server.free and server not in but:
                best, least, place = server, server.load, index
        if best is not None:
            self._turn = place + 1
        return best

    def place(self, call: "RemoteCall") -> None:
        """Give a call to a provider as soon as one is free. Raises Overloaded: too many wait."""
        # A call may come from within the answer to another, whose place belongs to one that waits.
        self.pull()
        server = None if self._waiting else self.choose()
        if server is not None:
            server.take(call)
            return
        most = self._context.settings.provider_queue
        if len(self._waiting) >= most:
            raise Overloaded(f"{most} calls of {self.name} are waiting for a provider; [rpc] provider_queue sets the bound")
        self._waiting.add(call.owner, call)

    def pull(self) -> None:
        """Give waiting calls to free providers. (One that comes too late is answered here, which may bring further ones: this must not nest.)"""
        if self._pulling:
            return
        self._pulling = True
        try:
            while self._waiting and (server := self.choose()) is not None:
                server.take(self._waiting.pop())
        finally:
            self._pulling = False

    @property
    def waiting(self) -> int:
        """How many calls wait for a provider."""
        return len(self._waiting)

    def forget(self, call: "RemoteCall") -> None:
        """A call need not wait any longer."""
        self._waiting.discard(call.owner, call)


class RemoteCall:
    """One call on its way through one provider or, if the first is lost or slow, several.

    An idempotent one is an entry in the wheel while it may still be given to a further provider.

    :ivar result: fires with the JSON text of the result. Cancelling it tells the providers.
    :ivar owner: the caller's budget; owners take turns when calls wait.
    """

    __slots__ = ("_again", "_call", "_context", "_losses", "_passed_on", "_servers", "_tries", "owner", "params", "procedure", "result", "wheel_slot")

    def __init__(self, procedure: RemoteProcedure, call: Call, params: msgspec.Raw, context: RemoteCallContext) -> None:
        self.procedure = procedure
        self.params = params
        self.owner = call.budget
        self.result: Deferred[msgspec.Raw] = Deferred(self._cancelled)
        self.wheel_slot: int | None = None
        self._call = call
        self._context = context
        self._servers: dict[Server, int] = {}
        self._losses = 0
        self._tries = 0
        self._again = False  # the last provider says that it may be tried elsewhere
        self._passed_on = False  # the caller has been given a part of the result

    def remaining(self) -> float:
        """How many seconds are left."""
        return self._call.remaining()

    def sent(self, server: Server, serial: int) -> None:
        """A provider has been given it."""
        self._servers[server] = serial
        self._tries += 1
        self._again = self.procedure.idempotent(server)
        if self._again and self._tries < TRIES and self.procedure.several:
            self._context.wheel.add(self, min(self._context.settings.provider_patience, self.remaining() / 2))

    def expired(self) -> None:
        """See WheelEntry: no answer in good time, so a further provider is given the call as well. The first answer counts."""
        server = self.procedure.choose(self._servers)
        if server is not None:
            server.take(self)

    def answered(self, server: Server, message: Incoming) -> None:
        """A provider's response."""
        del self._servers[server]
        try:
            result = self._result_of(message)
        except NetsvcError as error:
            self.fail(error)
            return
        self._over()
        self.result.callback(result)

    def _result_of(self, message: Incoming) -> msgspec.Raw:
        most = self._context.settings.provider_answer
        if len(bytes(message.result)) > most or len(bytes(message.error)) > most:
            raise TooLarge(f"the provider's answer is larger than [rpc] provider_answer allows, {most} bytes")
        if message.error is not ABSENT and bytes(message.error) != b"null":
            raise error_of(message.error)
        try:
            # What is inside has not been checked yet.
            msgspec.json.decode(message.result)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise no_json() from None
        return message.result

    def progressed(self, server: Server, members: dict[str, Any], size: int) -> None:
        """A provider's rpc.progress, of `size` bytes."""
        most = self._context.settings.provider_answer
        if size > most:
            self.fail(TooLarge(f"a part of the provider's answer is larger than [rpc] provider_answer allows, {most} bytes"))
            return
        self._context.wheel.cancel(self)  # it is at work
        if "data" in members and self._call.heard:
            # Parts of two results must not mix.
            self._passed_on = True
            for other in [each for each in self._servers if each is not server]:
                other.give_up(self._servers.pop(other))
        try:
            self._call.report(members)
        except Overloaded as error:
            self.fail(error)

    def caught_up(self) -> "Deferred[None]":
        """Fires when the caller can take more parts."""
        return self._call.caught_up()

    def lost(self, server: Server) -> None:
        """A provider is gone. Another is given the call, if it may be made twice and there is time."""
        del self._servers[server]
        self._losses += 1
        if self._servers:
            return
        name = self.procedure.name
        if not self._again:
            self.fail(ProviderGone(f"a provider of {name} was lost with the call, which may or may not have taken effect"))
        elif self._passed_on:
            self.fail(ProviderGone(f"a provider of {name} was lost after giving a part of the result", retry_after=SOON))
        elif self._losses >= LOSSES:
            self.fail(ProviderGone(f"{LOSSES} providers of {name} were lost with the call"))
        elif not self.procedure.servers:
            self.fail(ProviderGone(f"nobody provides {name} any more", retry_after=SOON))
        else:
            self._place_again()

    def _place_again(self) -> None:
        try:
            self.procedure.place(self)
        except Overloaded as error:
            self.fail(error)

    def fail(self, error: NetsvcError) -> None:
        """End it with an error."""
        self._over()
        if not self.result.called:
            self.result.errback(error)

    def _cancelled(self, result: "Deferred[msgspec.Raw]") -> None:
        """The deadline has passed, or the caller is gone, or has cancelled it."""
        self.procedure.forget(self)
        self._over()

    def _over(self) -> None:
        self._context.wheel.cancel(self)
        servers, self._servers = self._servers, {}
        for server, serial in servers.items():
            server.give_up(serial)

    def too_late(self) -> bool:
        """Whether there is no time left to carry it out; if so, it fails."""
        if self.remaining() > 0:
            return False
        self.fail(DeadlinePassed("the deadline passed before a provider was free"))
        return True
