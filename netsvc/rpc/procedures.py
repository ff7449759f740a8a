"""The procedures about procedures and callers: ``auth.*``, ``system.*``, ``rpc.discover``, ``server.status``."""

import platform
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from netsvc import __version__
from netsvc.core.credentials import Guest, Password, Token
from netsvc.core.logins import Logins
from netsvc.core.procedures import Call, Procedure, Registry, procedure
from netsvc.errors import InvalidParams, InvalidRequest, NetsvcError, TooLarge
from netsvc.rpc.batch import JointCaller
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.openrpc import document
from netsvc.rpc.provider_schema import ProvidedSchema
from netsvc.rpc.remote import RemoteProcedure
from netsvc.rpc.settings import RpcSettings
from netsvc.wire.xmlrpc import fault_of

__all__ = ["AuthProcedures", "ConventionProcedures", "ServerProcedures", "SystemProcedures"]


_LOGIN_OVER_HTTP = (
    "auth.login needs a connection that stays: a WebSocket, or one of [lines] or [amp]; "
    "over HTTP send credentials with each request: Authorization: Bearer TOKEN"
)


class LoggedIn(msgspec.Struct):
    """Who you are from now on."""

    name: str
    roles: tuple[str, ...]


class WhoAmI(msgspec.Struct):
    """Who you are."""

    name: str
    roles: tuple[str, ...]
    guest: bool


class AuthProcedures:
    """``auth.login`` and ``auth.whoami``."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    @procedure("auth.login", role="guest", cost=5, anonymous=True, reads=True)
    async def login(self, call: Call, name: str | None = None, password: str | None = None, token: str | None = None) -> LoggedIn:
        """Log in on this connection: with a token, with a name and password, or with a name alone, to be a guest of that name.

        It needs a connection that stays: a WebSocket, or one of [lines] or [amp].
        """
        connection = call.connection
        if connection is None:
            raise InvalidRequest(_LOGIN_OVER_HTTP)
        credentials: Token | Password | Guest
        if token is not None:
            if name is not None or password is not None:
                raise InvalidParams("token: give either a token, or a name and password", parameter="token")
            credentials = Token(token)
        elif password is not None:
            if name is None:
                raise InvalidParams("name: missing", parameter="name")
            credentials = Password(name, password)
        else:
            credentials = Guest(name)
        found = self._logins.login(credentials, call.peer)
        if isinstance(found, Deferred):
            # What the client sent after it expects to be done in the new name.
            connection.read_no_further()
            try:
                identity = await found
            finally:
                call.after_answer(connection.read_on)
        else:
            identity = found
        connection.login(identity)
        return LoggedIn(identity.name, identity.roles)

    @procedure("auth.whoami", role="guest", reads=True)
    def whoami(self, call: Call) -> WhoAmI:
        """Whom you act as."""
        identity = call.caller
        return WhoAmI(identity.name, identity.roles, identity.guest)


class SystemProcedures:
    """``system.*``, the introspection convention of XML-RPC, and ``rpc.discover``."""

    def __init__(self, registry: Registry, title: str) -> None:
        self._registry = registry
        self._title = title

    @procedure("system.listMethods", role="guest")
    def list_methods(self) -> list[str]:
        """The names of all procedures, sorted."""
        return sorted(each.name for each in self._registry)

    @procedure("system.methodHelp", role="guest")
    def method_help(self, method: str) -> str:
        """What a procedure does, in words."""
        return self._registry.find(method).doc

    @procedure("system.methodSignature", role="guest")
    def method_signature(self, method: str) -> list[list[str]]:
        """The types of a procedure's result, then of its params; one list for each number of params that it takes."""
        return signatures(self._registry.find(method))

    @procedure("rpc.discover", role="guest", cost=5)
    def discover(self) -> dict[str, Any]:
        """The OpenRPC document of all procedures."""
        return document(self._registry, self._title, __version__)


class OneOfMany(msgspec.Struct):
    """A call in a system.multicall."""

    method: str = msgspec.field(name="methodName")
    params: list[Any] = []


class Fault(msgspec.Struct):
    """An error in the answer to a system.multicall."""

    code: int = msgspec.field(name="faultCode")
    text: str = msgspec.field(name="faultString")


class Capability(msgspec.Struct):
    """Something that is implemented."""

    url: str = msgspec.field(name="specUrl")
    version: int = msgspec.field(name="specVersion")


class ConventionProcedures:
    """``system.multicall`` and ``system.getCapabilities``, as XML-RPC clients know them."""

    def __init__(self, dispatcher: Dispatcher, settings: RpcSettings) -> None:
        self._dispatcher = dispatcher
        self._settings = settings

    @procedure("system.getCapabilities", role="guest")
    def capabilities(self) -> dict[str, Capability]:
        """What is implemented, by name: where it is specified, and which version of it."""
        found = {
            "xmlrpc": Capability("http://xmlrpc.com/spec.md", 1),
            "introspection": Capability("http://xmlrpc-c.sourceforge.net/introspection.html", 1),
            "system.multicall": Capability("https://mirrors.talideon.com/articles/multicall.html", 1),
            "faults_interop": Capability("http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php", 20010516),
            "json-rpc": Capability("https://www.jsonrpc.org/specification", 2),
        }
        if self._settings.xmlrpc_nil:
            found["nil"] = Capability("http://ontosys.com/xml-rpc/extensions.php", 20010518)
        if self._settings.xmlrpc_i8:
            found["i8"] = Capability("https://ws.apache.org/xmlrpc/types.html", 1)
        return found

    @procedure("system.multicall", role="guest")
    def multicall(self, call: Call, calls: list[OneOfMany]) -> "Deferred[list[list[Any] | Fault]]":
        """Many calls in one. For each, in order: its result as an array of one, or the struct of a fault. Each pays its own cost."""
        most = self._settings.batch
        if len(calls) > most:
            raise TooLarge(f"{len(calls)} calls: [rpc] batch allows {most}")
        if call.joint:
            raise InvalidRequest("system.multicall may not itself be one of many calls: that would get around the limits of a batch")
        if call.key is not None:
            raise InvalidRequest("an idempotency key is for a single call, not for system.multicall")
        caller = JointCaller(call)
        room = _Room(self._settings.batch_reply)
        # They all have the deadline of the call itself, which cancels them.
        longest = call.remaining()
        started = [self._dispatcher.run(each.method, each.params, caller, longest, room.take) for each in calls]
        outcomes: Deferred[Any] = DeferredList(started, consumeErrors=True)

        def answer(all_: list[tuple[bool, Any]]) -> list[list[Any] | Fault]:
            caller.answered()
            return [outcome if succeeded else _fault(outcome) for succeeded, outcome in all_]

        return outcomes.addCallback(answer)


class _Room:
    """The bytes that the results of a system.multicall may still take, as JSON."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._encode = msgspec.json.Encoder().encode

    def take(self, result: Any) -> list[Any]:
        """The result as the convention wants it."""
        self._left -= len(self._encode(result))
        if self._left < 0:
            raise TooLarge("the results of these calls are larger than [rpc] batch_reply allows")
        return [result]


def _fault(failure: Failure) -> Fault:
    assert isinstance(failure.value, NetsvcError)
    return Fault(*fault_of(failure.value))


class ServerProcedures:
    """``server.status``.

    :param counts: the daemon's counts by part, JSON types.
    """

    def __init__(self, uptime: Callable[[], float], counts: Callable[[], dict[str, Any]]) -> None:
        self._uptime = uptime
        self._counts = counts

    @procedure("server.status", role="admin")
    def status(self) -> dict[str, Any]:
        """Versions, uptime in seconds, and counts."""
        versions = {"netsvc": __version__, "python": platform.python_version(), "twisted": twisted.__version__}
        return {"versions": versions, "uptime": round(self._uptime(), 3), **self._counts()}


_XMLRPC_TYPES = {
    "integer": "int",
    "number": "double",
    "string": "string",
    "boolean": "boolean",
    "array": "array",
    "object": "struct",
    "null": "nil",
}


def signatures(procedure: Procedure) -> list[list[str]]:
    """A procedure's types, named as in the XML-RPC introspection convention, result first."""
    if isinstance(procedure, RemoteProcedure):
        return _provided_signatures(procedure.schema)
    fields = msgspec.structs.fields(procedure.params)
    types = [_type_name(field.type) for field in fields]
    required = sum(field.required for field in fields)
    result = _type_name(procedure.result)
    return [[result, *types[:count]] for count in range(required, len(types) + 1)]


def _provided_signatures(schema: ProvidedSchema) -> list[list[str]]:
    params = schema.params or {}
    properties = params.get("properties", {})
    types = [_schema_type(each) for each in properties.values()]
    # Optional params are not always the last ones: up to the last required one, all are given.
    required = max((number for number, name in enumerate(properties, 1) if name in params.get("required", [])), default=0)
    return [[_schema_type(schema.result), *types[:count]] for count in range(required, len(types) + 1)]


def _schema_type(schema: dict[str, Any] | bool) -> str:
    type_ = schema.get("type") if isinstance(schema, dict) else None
    return _XMLRPC_TYPES.get(type_, "struct") if isinstance(type_, str) else "struct"


def _type_name(annotation: Any) -> str:
    if getattr(annotation, "__origin__", annotation) is datetime:
        # Its schema is a mere string unless a time zone is asked for.
        return "dateTime.iso8601"
    schemas, components = msgspec.json.schema_components([annotation])
    schema = schemas[0]
    # A nullable type is called by what it is when it is not null.
    choices = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    chosen = choices[0] if choices else schema
    reference = chosen.get("$ref")
    if reference is not None:
        chosen = components[reference.rpartition("/")[2]]
    if chosen.get("contentEncoding") == "base64":
        return "base64"
    if "enum" in chosen:
        return "string" if all(isinstance(value, str) for value in chosen["enum"]) else "int"
    return _XMLRPC_TYPES.get(chosen.get("type", ""), "struct")
