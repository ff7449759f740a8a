"""``POST /RPC2``: XML-RPC over HTTP, for the same procedures as JSON-RPC."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from netsvc.core.identity import Identity
from netsvc.core.limits import FAULT_COST
from netsvc.errors import NetsvcError, NotAuthenticated
from netsvc.http.errors import CHALLENGE, retry_after
from netsvc.http.messages import Answer, Headers, Request, Response
from netsvc.rpc.connection import RpcService
from netsvc.rpc.endpoint import HttpCaller
from netsvc.rpc.settings import RpcSettings
from netsvc.wire.xmlrpc import XmlRpc, fault_of

__all__ = ["XmlRpcEndpoint"]

XML = b"text/xml; charset=utf-8"

_OWN_TYPES = (datetime, bytes, bytearray, memoryview)
"""Types that XML-RPC has and JSON has not."""


class XmlRpcEndpoint:
    """The HTTP handler.

    :param authenticate: finds out who sends a request; the route is public, since errors are given in XML-RPC.
    """

    def __init__(self, service: RpcService, authenticate: "Callable[[Request], Identity | Deferred[Identity]]", settings: RpcSettings) -> None:
        self._authenticate = authenticate
        self._run = service.dispatcher.run
        self._budget_of = service.budgets.of
        self._codec = XmlRpc(settings.xmlrpc_nil, settings.xmlrpc_i8, settings.xmlrpc_depth, settings.xmlrpc_values)

    async def post(self, request: Request) -> Answer:
        """``POST /RPC2``, a public route: one call. Every error is a fault.

        A fault has status 200, as the specification demands, except 401 for missing or wrong credentials: those are a matter of HTTP.
        """
        try:
            found = self._authenticate(request)
            identity = request.identity = await found if isinstance(found, Deferred) else found
            budget = self._budget_of(identity, request.peer)
            request.charged(budget)
            caller = HttpCaller(request, identity, budget)
            try:
                call = self._codec.read_call(request.body, _charset(request.header(b"content-type")))
            except NetsvcError:
                budget.charge(FAULT_COST)
                raise
            return Response(200, await self._run(call.method, call.params, caller, caller.deadline, self._document), XML)
        except NetsvcError as error:
            return self._fault(error)

    def _document(self, result: Any) -> bytes:
        return self._codec.result(msgspec.to_builtins(result, builtin_types=_OWN_TYPES, str_keys=True))

    def _fault(self, error: NetsvcError) -> Response:
        headers: Headers = ()
        wait = error.data.get("retry_after")
        if wait is not None:
            headers = (retry_after(wait),)
        elif isinstance(error, NotAuthenticated):
            headers = (CHALLENGE,)
        status = 401 if isinstance(error, NotAuthenticated) else 200
        return Response(status, self._codec.fault(*fault_of(error)), XML, headers)


def _charset(content_type: bytes | None) -> str | None:
    """The charset parameter of a Content-Type, None if it has none."""
    for parameter in (content_type or b"").split(b";")[1:]:
        name, _, value = parameter.partition(b"=")
        if name.strip().lower() == b"charset":
            return value.strip().strip(b'"').decode("latin-1") or None
    return None
