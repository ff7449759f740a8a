"""The OpenRPC document: every procedure, its params and its result as JSON Schema (https://spec.open-rpc.org)."""

from typing import Any

import msgspec

from netsvc.core.identity import ROLES
from netsvc.core.procedures import Procedure, Registry
from netsvc.wire.jsonrpc import CODES

__all__ = ["document"]

OPENRPC = "1.3.2"
_REF = "#/components/schemas/{name}"


def document(registry: Registry, title: str, version: str) -> dict[str, Any]:
    """The document of all procedures, as JSON types."""
    procedures = sorted(registry, key=lambda each: each.name)
    types: list[Any] = []
    for each in procedures:
        types.extend(field.type for field in msgspec.structs.fields(each.params))
        types.append(each.result)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    remaining = iter(schemas)
    methods = [_method(each, remaining) for each in procedures]
    return {
        "openrpc": OPENRPC,
        "info": {"title": title, "version": version},
        "methods": methods,
        "components": {"schemas": components, "errors": {str(code): {"code": code, "message": message} for code, message in CODES.values()}},
    }


def _method(procedure: Procedure, schemas: Any) -> dict[str, Any]:
    params = []
    for field in msgspec.structs.fields(procedure.params):
        schema = dict(next(schemas))
        if not field.required and field.default is not msgspec.NODEFAULT:
            schema.setdefault("default", field.default)
        params.append({"name": field.name, "required": field.required, "schema": schema})
    summary, _, description = procedure.doc.partition("\n")
    method: dict[str, Any] = {
        "name": procedure.name,
        "summary": summary.strip(),
        "params": params,
        "result": {"name": "result", "schema": next(schemas)},
        "paramStructure": "either",
        "x-role": ROLES[procedure.rank],
        "x-cost": procedure.cost,
    }
    if description.strip():
        method["description"] = description.strip()
    return method
