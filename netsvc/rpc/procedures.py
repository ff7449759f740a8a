"""The procedures about procedures and callers: ``auth.*``, ``system.*``, ``rpc.discover``, ``server.status``."""

import platform
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import twisted
from twisted.internet.defer import Deferred

from netsvc import __version__
from netsvc.core.credentials import Guest, Password, Token
from netsvc.core.logins import Logins
from netsvc.core.procedures import Call, Procedure, Registry, procedure
from netsvc.errors import InvalidParams, InvalidRequest
from netsvc.rpc.openrpc import document

__all__ = ["AuthProcedures", "ServerProcedures", "SystemProcedures"]


class LoggedIn(msgspec.Struct):
    """Who one is from now on."""

    name: str
    roles: tuple[str, ...]


class WhoAmI(msgspec.Struct):
    """Who one is."""

    name: str
    roles: tuple[str, ...]
    guest: bool


class AuthProcedures:
    """``auth.login`` and ``auth.whoami``."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    @procedure("auth.login", role="guest", cost=5, anonymous=True)
    async def login(self, call: Call, name: str | None = None, password: str | None = None, token: str | None = None) -> LoggedIn:
        """Act as somebody on this WebSocket from now on: a token, a name and password, or a name alone to be a guest of that name."""
        connection = call.connection
        if connection is None:
            raise InvalidRequest("auth.login needs a WebSocket; over HTTP send credentials with each request: Authorization: Bearer TOKEN")
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
        identity = await found if isinstance(found, Deferred) else found
        connection.login(identity)
        return LoggedIn(identity.name, identity.roles)

    @procedure("auth.whoami", role="guest")
    def whoami(self, call: Call) -> WhoAmI:
        """Who one acts as."""
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
        """The types of a procedure: of its result, then of its params; one list for each number of params it takes."""
        return signatures(self._registry.find(method))

    @procedure("rpc.discover", role="guest", cost=5)
    def discover(self) -> dict[str, Any]:
        """The OpenRPC document of all procedures."""
        return document(self._registry, self._title, __version__)


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
    """A procedure's types by the names of the XML-RPC introspection convention, result first."""
    fields = msgspec.structs.fields(procedure.params)
    types = [_type_name(field.type) for field in fields]
    required = sum(field.required for field in fields)
    result = _type_name(procedure.result)
    return [[result, *types[:count]] for count in range(required, len(types) + 1)]


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
