"""The OpenRPC document: every procedure, its params, result, errors and examples (https://spec.open-rpc.org, JSON Schema draft 7)."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import msgspec

from netsvc import errors
from netsvc.core.identity import ROLES
from netsvc.core.procedures import Procedure, Registry
from netsvc.rpc.remote import RemoteProcedure
from netsvc.wire.jsonrpc import CODES

__all__ = ["document"]

OPENRPC = "1.3.2"
_REF = "#/components/schemas/{name}"

_ALWAYS = ("RateLimited", "DeadlinePassed", "Overloaded")
"""The errors that any call may get."""

_OF_PROVIDED = ("InvalidParams", "NotAuthenticated", "Forbidden", "ProviderGone", *_ALWAYS)

_ERRORS = {kind.__name__: (code, message) for kind, (code, message) in CODES.items()}


def document(registry: Registry, title: str, version: str) -> dict[str, Any]:
    """The document of all procedures, as JSON types."""
    procedures = sorted((each for each in registry if not isinstance(each, RemoteProcedure)), key=lambda each: each.name)
    types: list[Any] = []
    for each in procedures:
        types.extend(field.type for field in msgspec.structs.fields(each.params))
        types.append(each.result)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    remaining = iter(schemas)
    methods = [_method(each, remaining) for each in procedures]
    methods += [_provided(each) for each in registry if isinstance(each, RemoteProcedure)]
    methods.sort(key=itemgetter("name"))
    return {
        "openrpc": OPENRPC,
        "info": {"title": title, "version": version},
        "methods": methods,
        "components": {"schemas": components, "errors": {name: {"code": code, "message": message} for name, (code, message) in _ERRORS.items()}},
    }


def _method(procedure: Procedure, schemas: Iterator[dict[str, Any]]) -> dict[str, Any]:
    said = procedure.documentation
    params = []
    for field in msgspec.structs.fields(procedure.params):
        schema = dict(next(schemas))
        if not field.required and field.default is not msgspec.NODEFAULT:
            schema.setdefault("default", msgspec.to_builtins(field.default))
        param = {"name": field.name, "required": field.required, "schema": schema}
        if field.name in said.params:
            param["description"] = said.params[field.name]
        params.append(param)
    method: dict[str, Any] = {
        "name": procedure.name,
        "summary": said.summary,
        "params": params,
        "result": {"name": "result", "schema": next(schemas)},
        "paramStructure": "either",
        "tags": [{"name": procedure.name.rpartition(".")[0] or procedure.name}],
        "errors": _errors(procedure),
        "x-role": ROLES[procedure.rank],
        "x-cost": procedure.cost,
    }
    if said.description:
        method["description"] = said.description
    if said.returns:
        method["result"]["description"] = said.returns
    if said.examples:
        method["examples"] = [
            {
                "name": f"example {number}",
                "params": [{"name": name, "value": value} for name, value in procedure.named(example).items()],
                "result": {"name": "result", "value": example.result},
            }
            for number, example in enumerate(said.examples, 1)
        ]
    return method


def _provided(procedure: RemoteProcedure) -> dict[str, Any]:
    """A procedure as its provider describes it."""
    schema = procedure.schema
    properties = (schema.params or {}).get("properties", {})
    required = (schema.params or {}).get("required", [])
    method: dict[str, Any] = {
        "name": procedure.name,
        "summary": schema.summary or "Provided by a connected program",
        "params": [{"name": name, "required": name in required, "schema": each} for name, each in properties.items()],
        "result": {"name": "result", "schema": schema.result},
        "paramStructure": "either",
        "tags": [{"name": procedure.name.rpartition(".")[0] or procedure.name}],
        "errors": [{"$ref": f"#/components/errors/{name}"} for name in _OF_PROVIDED],
        "x-role": ROLES[procedure.rank],
        "x-cost": procedure.cost,
        "x-idempotent": schema.idempotent,
        "x-providers": len(procedure.servers),
    }
    if schema.description:
        method["description"] = schema.description
    return method


def _errors(procedure: Procedure) -> list[dict[str, Any]]:
    """The errors that a call may get: those in the docstring, with its words, and those that follow from the declaration."""
    said = {name: words for name, words in procedure.documentation.raises.items() if name in _ERRORS}
    expected = list(said)
    if procedure.fields:
        expected.append(errors.InvalidParams.__name__)
    if procedure.rank:
        expected += [errors.NotAuthenticated.__name__, errors.Forbidden.__name__]
    found: list[dict[str, Any]] = []
    codes = set()
    for name in dict.fromkeys((*expected, *_ALWAYS)):
        code, message = _ERRORS[name]
        if code in codes:
            continue
        codes.add(code)
        found.append({"code": code, "message": message, "data": {"detail": said[name]}} if name in said else {"$ref": f"#/components/errors/{name}"})
    return found
