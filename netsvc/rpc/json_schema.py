"""The shape of a JSON Schema (draft 7), as far as it has to be checked if a stranger supplies it.

What the keywords mean does not matter here: the schema is shown to others, and nothing is validated against it. But one whose ``type`` is a
number would break the document that it becomes part of, and one with references would refer to other things there.
"""

from typing import Annotated, Any, Literal, Union

import msgspec

from netsvc.errors import InvalidParams
from netsvc.rpc.patterns import check_pattern

__all__ = ["check_schema"]

_TYPES = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_Unset = msgspec.UnsetType
_Schema = Union["_Keywords", bool]
_Schemas = Annotated[list[_Schema], msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_NOTHING = msgspec.UNSET
_encode = msgspec.json.Encoder(order="deterministic").encode


class _Keywords(
    msgspec.Struct, rename={"schema": "$schema", "comment": "$comment", "not_": "not", "if_": "if", "else_": "else", "reference": "$ref", "id": "$id"}
):
    """Sections 6 and 9 of JSON Schema Validation, draft 7, and the applicators. Other keywords may be anything (section 6.4 of the core)."""

    reference: None = None
    id: None = None
    schema: Literal["http://json-schema.org/draft-07/schema#"] | _Unset = _NOTHING
    comment: str | _Unset = _NOTHING
    type: _TYPES | Annotated[list[_TYPES], msgspec.Meta(min_length=1)] | _Unset = _NOTHING
    enum: Annotated[list[Any], msgspec.Meta(min_length=1)] | _Unset = _NOTHING
    multipleOf: Annotated[float, msgspec.Meta(gt=0)] | _Unset = _NOTHING  # noqa: N815 - JSON Schema's names
    maximum: float | _Unset = _NOTHING
    exclusiveMaximum: float | _Unset = _NOTHING  # noqa: N815
    minimum: float | _Unset = _NOTHING
    exclusiveMinimum: float | _Unset = _NOTHING  # noqa: N815
    maxLength: _Count | _Unset = _NOTHING  # noqa: N815
    minLength: _Count | _Unset = _NOTHING  # noqa: N815
    pattern: str | _Unset = _NOTHING
    items: _Schema | _Schemas | _Unset = _NOTHING
    additionalItems: _Schema | _Unset = _NOTHING  # noqa: N815
    maxItems: _Count | _Unset = _NOTHING  # noqa: N815
    minItems: _Count | _Unset = _NOTHING  # noqa: N815
    uniqueItems: bool | _Unset = _NOTHING  # noqa: N815
    contains: _Schema | _Unset = _NOTHING
    maxProperties: _Count | _Unset = _NOTHING  # noqa: N815
    minProperties: _Count | _Unset = _NOTHING  # noqa: N815
    required: list[str] | _Unset = _NOTHING
    properties: dict[str, _Schema] | _Unset = _NOTHING
    patternProperties: dict[str, _Schema] | _Unset = _NOTHING  # noqa: N815
    additionalProperties: _Schema | _Unset = _NOTHING  # noqa: N815
    dependencies: dict[str, _Schema | list[str]] | _Unset = _NOTHING
    propertyNames: _Schema | _Unset = _NOTHING  # noqa: N815
    definitions: dict[str, _Schema] | _Unset = _NOTHING
    allOf: _Schemas | _Unset = _NOTHING  # noqa: N815
    anyOf: _Schemas | _Unset = _NOTHING  # noqa: N815
    oneOf: _Schemas | _Unset = _NOTHING  # noqa: N815
    not_: _Schema | _Unset = _NOTHING
    if_: _Schema | _Unset = _NOTHING
    then: _Schema | _Unset = _NOTHING
    else_: _Schema | _Unset = _NOTHING
    format: str | _Unset = _NOTHING
    title: str | _Unset = _NOTHING
    description: str | _Unset = _NOTHING
    readOnly: bool | _Unset = _NOTHING  # noqa: N815
    examples: list[Any] | _Unset = _NOTHING
    contentMediaType: str | _Unset = _NOTHING  # noqa: N815
    contentEncoding: str | _Unset = _NOTHING  # noqa: N815

    def __post_init__(self) -> None:
        """The meta-schema allows no repetition in some lists, and wants every pattern to be a regular expression."""
        listed = (self.type, self.enum, self.required, *(self.dependencies or {}).values())
        for values in listed:
            if isinstance(values, list) and len(set(map(_encode, values))) < len(values):
                raise ValueError("the same value twice")
        for pattern in (self.pattern or "", *(self.patternProperties or ())):
            try:
                check_pattern(pattern)
            except ValueError as error:
                raise ValueError(f'the pattern "{pattern[:50]}" is not a regular expression: {error}') from None


def check_schema(value: Any, where: str) -> None:
    """Check that a value is a JSON Schema without references.

    :param where: what the value is, for the error.
    :raises InvalidParams: it is not; the detail says where.
    """
    try:
        msgspec.convert(value, _Keywords | bool)
    except (msgspec.ValidationError, RecursionError) as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error).replace("`", "")
        hint = "; references are not supported, write out what they refer to" if "$ref" in words or "$id" in words else ""
        raise InvalidParams(f"{where}: not a JSON Schema: {words}{hint}", parameter="schema") from None
