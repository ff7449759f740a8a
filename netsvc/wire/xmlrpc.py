"""XML-RPC: documents to calls, results and errors to documents (http://xmlrpc.com/spec.md, and the customs that grew around it).

Reading is done by expat with handlers that take the grammar of a call and nothing else: a document type declaration is refused, so
there are no entities to define, and nothing outside the document is ever fetched. The standard library's xmlrpc.client has
neither bounds nor opinions (unknown elements pass, a later member replaces an earlier one), and brings an HTTP client along.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final
from xml.parsers.expat import ExpatError, ParserCreate

import msgspec

from netsvc.errors import InvalidParams, InvalidRequest, Malformed, NetsvcError, ProviderError, TooLarge
from netsvc.wire.jsonrpc import CODES, INTERNAL_ERROR

__all__ = ["Inexpressible", "MethodCall", "XmlRpc", "fault_of"]

ENCODINGS: Final = frozenset(("utf-8", "us-ascii", "iso-8859-1", "utf-16", "utf-16le", "utf-16be"))
"""What a document may be written in: those that expat reads by itself; allowing others would admit any codec that Python has."""

INT_RANGE: Final = range(-(2**31), 2**31)
LONG_RANGE: Final = range(-(2**63), 2**63)

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?")
_DATE = re.compile(r"\d{4}(-?)\d\d\1\d\dT\d\d(:?)\d\d\2\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_BOOLEANS = {"0": False, "1": True}
_XML_SPACE = " \t\r\n"

# An XML 1.0 document may neither contain these characters nor refer to them: &#0; is as wrong as the character.
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})

_BOMS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")


class MethodCall(msgspec.Struct, frozen=True):
    """A call: the procedure's name and the values of its params, in order."""

    method: str
    params: list[Any]


class Inexpressible(NetsvcError):
    """The procedure has been carried out, but its result contains something that XML-RPC cannot express."""


class XmlRpc:
    """Reads and writes the documents.

    :param nil: ``nil`` is a type; without it neither a param nor a result may be null.
    :param i8: ``i8`` is a type; without it integers have 32 bits.
    :param depth: how deep arrays and structs may be nested.
    :param values: how many values one call may have, nested ones included.
    """

    def __init__(self, nil: bool, i8: bool, depth: int, values: int) -> None:
        self.off = frozenset(name for name, on in (("nil", nil), ("i8", i8)) if not on)
        self.depth = depth
        self.values = values

    def read_call(self, document: bytes, charset: str | None = None) -> MethodCall:
        """The call in a document.

        :param charset: that of the Content-Type; it wins over what the document declares, and only a byte order mark wins over it (RFC 7303, 3).
        :raises Malformed: not well-formed XML, a document type declaration, an unsupported encoding, nested too deeply.
        :raises InvalidRequest: XML, but not a call.
        :raises InvalidParams: a value that is not of its type, a type that is turned off, a struct with the same member twice.
        :raises TooLarge: too many values.
        """
        if charset is not None:
            _check_encoding(charset)
            if document.startswith(_BOMS):
                charset = None
        reader = _CallReader(self)
        parser = ParserCreate(charset)
        parser.buffer_text = True
        parser.XmlDeclHandler = _declared
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = reader.start
        parser.EndElementHandler = reader.end
        parser.CharacterDataHandler = reader.text
        try:
            parser.Parse(document, True)
        except ExpatError as error:
            raise Malformed(f"not well-formed XML: {error}") from None
        return reader.call()

    def result(self, value: Any) -> bytes:
        """The response with a result, made of the types that `msgspec.to_builtins` gives, and datetime and bytes.

        :raises Inexpressible: an integer beyond what can be sent; null where `nil` is off; nested too deeply.
        """
        out = ['<?xml version="1.0" encoding="UTF-8"?>\n<methodResponse><params><param>']
        try:
            self._write(value, out.append)
        except RecursionError:
            raise Inexpressible("the result is nested too deeply") from None
        out.append("</param></params></methodResponse>\n")
        return "".join(out).encode()

    def fault(self, code: int, text: str) -> bytes:
        """The response that is a fault."""
        out = ['<?xml version="1.0" encoding="UTF-8"?>\n<methodResponse><fault>']
        self._write({"faultCode": code, "faultString": text}, out.append)
        out.append("</fault></methodResponse>\n")
        return "".join(out).encode()

    def _write(self, value: Any, put: Callable[[str], None]) -> None:
        if isinstance(value, str):
            put(f"<value><string>{_escaped(value)}</string></value>")
        elif isinstance(value, bool):
            put(f"<value><boolean>{value:d}</boolean></value>")
        elif isinstance(value, int):
            put(self._integer(value))
        elif isinstance(value, Mapping):
            put("<value><struct>")
            for name, member in value.items():
                put(f"<member><name>{_escaped(str(name))}</name>")
                self._write(member, put)
                put("</member>")
            put("</struct></value>")
        elif isinstance(value, list | tuple):
            put("<value><array><data>")
            for each in value:
                self._write(each, put)
            put("</data></array></value>")
        elif isinstance(value, datetime):
            put(f"<value><dateTime.iso8601>{_date_text(value)}</dateTime.iso8601></value>")
        elif isinstance(value, bytes | bytearray | memoryview):
            put(f"<value><base64>{b2a_base64(value, newline=False).decode()}</base64></value>")
        elif isinstance(value, float) and isfinite(value):
            put(f"<value><double>{value!r}</double></value>")
        else:
            # Infinities and NaN are null here because they are null in JSON.
            assert value is None or isinstance(value, float), type(value)
            if "nil" in self.off:
                raise Inexpressible("the result has a null, and [rpc] xmlrpc_nil is off")
            put("<value><nil/></value>")

    def _integer(self, value: int) -> str:
        if value in INT_RANGE:
            return f"<value><int>{value}</int></value>"
        if "i8" in self.off:
            raise Inexpressible("the result has an integer of more than 32 bits, and [rpc] xmlrpc_i8 is off")
        if value not in LONG_RANGE:
            raise Inexpressible("the result has an integer of more than 64 bits: XML-RPC has no type for it, JSON-RPC has")
        return f"<value><i8>{value}</i8></value>"


def fault_of(error: NetsvcError) -> tuple[int, str]:
    """Code and text of the fault for an error; the code is that of JSON-RPC."""
    if isinstance(error, ProviderError):
        return error.code, error.message
    code, message = CODES.get(type(error), (INTERNAL_ERROR, "internal error"))
    return code, f"{message}: {error.detail}" if error.detail else message


def _escaped(text: str) -> str:
    """Text as character data. What XML cannot hold becomes U+FFFD: such a message must not make a room's history unreadable."""
    return _IMPOSSIBLE.sub("\ufffd", text).translate(_ESCAPES)


def _date_text(moment: datetime) -> str:
    """In UTC if it has a time zone, to the second: the specification has no fractions, and clients fail on them."""
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise Inexpressible("the result has a time beyond the years 1 to 9999 of UTC") from None
    return f"{moment.year:04}{moment:%m%dT%H:%M:%S}"


def _check_encoding(name: str) -> None:
    if name.lower() not in ENCODINGS:
        raise Malformed(f"encoding {name[:50]!r} is not supported: use UTF-8")


def _declared(version: str, encoding: str | None, standalone: int) -> None:
    if encoding is not None:
        _check_encoding(encoding)


def _refuse_doctype(*_: Any) -> None:
    raise Malformed("a document type declaration, and with it entities, is not allowed")


# The elements that hold a sequence, in order; those after the first of a call may be missing.
_SEQUENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("methodCall",),
    "methodCall": ("methodName", "params"),
    "param": ("value",),
    "array": ("data",),
    "member": ("name", "value"),
}
# Those that hold any number of one element.
_REPEATED: Final[Mapping[str, str]] = {"params": "param", "data": "value", "struct": "member"}


class _Element:
    """An element that is open: the text in it so far, and the values of its children."""

    __slots__ = ("items", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text: list[str] = []
        self.items: list[Any] = []


class _CallReader:
    """The handlers of one document."""

    __slots__ = ("_depth", "_limits", "_open", "_values")

    def __init__(self, limits: XmlRpc) -> None:
        self._limits = limits
        self._open = [_Element("")]
        self._depth = 0
        self._values = 0

    def call(self) -> MethodCall:
        """What was read."""
        call: MethodCall = self._open[0].items[0]
        return call

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins: only one that is allowed there."""
        parent = self._open[-1]
        inside, items = parent.name, parent.items
        if inside == "value":
            if items or name not in _VALUES:
                raise InvalidRequest(f"<{name[:50]}> is not a type" if name not in _VALUES else "a <value> holds one value")
        elif inside in _REPEATED:
            if name != _REPEATED[inside]:
                raise _misplaced(name, inside)
        elif _SEQUENCES.get(inside, ())[len(items) : len(items) + 1] != (name,):
            raise _misplaced(name, inside)
        if name == "value":
            self._values += 1
            if self._values > self._limits.values:
                raise TooLarge(f"more values than [rpc] xmlrpc_values allows, {self._limits.values}")
        elif name in _NESTING:
            self._depth += 1
            if self._depth > self._limits.depth:
                raise Malformed(f"nested too deeply: [rpc] xmlrpc_depth allows {self._limits.depth}")
        self._open.append(_Element(name))

    def text(self, data: str) -> None:
        """Characters."""
        self._open[-1].text.append(data)

    def end(self, name: str) -> None:
        """An element is complete: its parent gets its value."""
        element = self._open.pop()
        text = "".join(element.text)
        if name not in _TEXTUAL and text.strip(_XML_SPACE) and (name != "value" or element.items):
            raise InvalidRequest(f"text in <{name}>, where elements belong")
        if name in _NESTING:
            self._depth -= 1
        self._open[-1].items.append(self._value_of(name, element.items, text))

    def _value_of(self, name: str, items: list[Any], text: str) -> Any:
        if name == "value":
            # Without a type it is a string, white space included.
            return items[0] if items else text
        if name in ("data", "params"):
            return items
        if name == "struct":
            return _struct(items)
        if name == "methodCall":
            if not items:
                raise InvalidRequest("<methodCall> without <methodName>")
            return MethodCall(*items) if len(items) == 2 else MethodCall(items[0], [])
        if name in ("param", "array", "member"):
            if len(items) != len(_SEQUENCES[name]):
                raise InvalidRequest(f"<{name}> without <{_SEQUENCES[name][len(items)]}>")
            return tuple(items) if name == "member" else items[0]
        if name == "methodName":
            return text.strip(_XML_SPACE)
        if name == "name":
            return text
        return self._scalar(name, text)

    def _scalar(self, name: str, text: str) -> Any:
        name = name.removeprefix("ex:")
        if name in self._limits.off:
            raise InvalidParams(f"<{name}> is turned off: [rpc] xmlrpc_{name}")
        value = _SCALARS[name](text if name == "string" else text.strip(_XML_SPACE))
        if value is None and (name != "nil" or text.strip(_XML_SPACE)):
            raise InvalidParams(f"{text.strip(_XML_SPACE)[:50]!r} is not valid in <{name}>{_HINTS.get(name, '')}")
        return value


def _misplaced(name: str, inside: str) -> InvalidRequest:
    return InvalidRequest(f"<{name[:50]}> in <{inside}>" if inside else f"<{name[:50]}> is not <methodCall>")


def _struct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    struct: dict[str, Any] = {}
    for name, value in members:
        if name in struct:
            raise InvalidParams(f"a <struct> has the member {name[:50]!r} twice")
        struct[name] = value
    return struct


# Each returns None for a text that is not of the type.


def _int(text: str) -> int | None:
    return value if _INTEGER.fullmatch(text) and (value := int(text)) in INT_RANGE else None


def _long(text: str) -> int | None:
    return value if _INTEGER.fullmatch(text) and (value := int(text)) in LONG_RANGE else None


def _double(text: str) -> float | None:
    return value if _DOUBLE.fullmatch(text) and isfinite(value := float(text)) else None


def _date(text: str) -> datetime | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _bytes(text: str) -> bytes | None:
    try:
        return a2b_base64("".join(text.split()), strict_mode=True)
    except (Base64Error, ValueError):  # the latter: characters beyond ASCII
        return None


_SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    "i4": _int,
    "int": _int,
    "i8": _long,
    "boolean": _BOOLEANS.get,
    "string": str,
    "double": _double,
    "dateTime.iso8601": _date,
    "base64": _bytes,
    "nil": lambda text: None,
}
_HINTS: Final[Mapping[str, str]] = {
    "i4": ": a whole number of 32 bits",
    "int": ": a whole number of 32 bits",
    "i8": ": a whole number of 64 bits",
    "boolean": ": 0 or 1",
    "double": ": a finite number",
    "dateTime.iso8601": ": like 19980717T14:08:55, in UTC",
}
_NESTING: Final = frozenset(("array", "struct"))
# Apache's XML-RPC prefixes the extensions.
_TEXTUAL: Final = frozenset((*_SCALARS, "ex:nil", "ex:i8", "methodName", "name"))
_VALUES: Final = frozenset((*_SCALARS, "ex:nil", "ex:i8", *_NESTING))
