"""The XML-RPC codec. The standard library's client is the other side where it can be."""

import contextlib
import math
import xmlrpc.client
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import Conflict, InvalidParams, InvalidRequest, Malformed, NetsvcError, TooLarge
from netsvc.wire.xmlrpc import Inexpressible, MethodCall, XmlRpc, fault_of

CODEC = XmlRpc(nil=True, i8=True, depth=8, values=100)
BARE = XmlRpc(nil=False, i8=False, depth=8, values=100)
LARGE = XmlRpc(nil=True, i8=True, depth=100, values=100_000)
OURS = (Malformed, InvalidRequest, InvalidParams, TooLarge)
ELEMENTS = ("methodCall", "methodName", "params", "param", "value", "array", "data", "struct", "member", "name", "i4", "nil", "string")
NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)

xml_characters = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff") | st.sampled_from("\t\n")
texts = st.text(xml_characters)
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)).map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))
scalars = (
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts | st.binary(max_size=100) | moments
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=15)


def call(params: str) -> bytes:
    """A call with these params."""
    return f"<methodCall><methodName>m</methodName><params>{params}</params></methodCall>".encode()


def of_value(inner: str, codec: XmlRpc = CODEC) -> Any:
    """What the content of a <value> is read as."""
    (value,) = codec.read_call(call(f"<param><value>{inner}</value></param>")).params
    return value


def naive(value: Any) -> Any:
    """The same with times as xmlrpc.client knows them: without a zone."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, list):
        return [naive(each) for each in value]
    if isinstance(value, dict):
        return {name: naive(each) for name, each in value.items()}
    return value


def loads(document: bytes) -> Any:
    """What xmlrpc.client reads a response as."""
    return xmlrpc.client.loads(document, use_builtin_types=True)[0][0]


class ReadingTests(SynchronousTestCase):
    """From a document to a call."""

    def refused(self, document: bytes, error: type[NetsvcError], codec: XmlRpc = CODEC, charset: str | None = None) -> str:
        """The detail of the error that a document is."""
        raised = self.assertRaises(NetsvcError, codec.read_call, document, charset)
        self.assertIs(type(raised), error, document)
        return str(raised.detail)

    def test_types(self) -> None:
        """Each type, with and without white space, and a value without a type, which is a string."""
        for inner, value in (
            ("<i4>-2147483648</i4>", -(2**31)),
            ("<int> +07\n</int>", 7),
            ("<i8>9223372036854775807</i8>", 2**63 - 1),
            ("<ex:i8>1</ex:i8>", 1),
            ("<boolean>1</boolean>", True),
            ("<boolean>0</boolean>", False),
            ("<double>-1.5</double>", -1.5),
            ("<double>.5e+3</double>", 500.0),
            ("<double>3</double>", 3.0),
            ("<string> a\n </string>", " a\n "),
            ("<string/>", ""),
            (" a &lt;&#233;<![CDATA[<&]]><!-- no --> ", " a <é<& "),
            ("", ""),
            ("<nil/>", None),
            ("<ex:nil/>", None),
            ("<base64>aGVs\r\n bG8=</base64>", b"hello"),
            ("<base64/>", b""),
            ("<dateTime.iso8601>20260131T12:00:00</dateTime.iso8601>", NOON),
            ("<dateTime.iso8601>2026-01-31T120000Z</dateTime.iso8601>", NOON),
            ("<dateTime.iso8601>20260131T14:00:00.000+02:00</dateTime.iso8601>", NOON),
            ("<array><data/></array>", []),
            (" <array> <data> <value>a</value> <value><array><data/></array></value></data></array> ", ["a", []]),
            ("<struct/>", {}),
            ("<struct>\n<member> <name> n</name><value/></member><member><name/><value><i4>1</i4></value></member></struct>", {" n": "", "": 1}),
        ):
            found = of_value(inner)
            self.assertEqual((found, type(found)), (value, type(value)), inner)

    def test_calls(self) -> None:
        """Params in order; a call without any may say so or not; processing instructions are passed over."""
        two = b'<?xml version="1.0"?>\n<?x y?><methodCall a="b"><methodName> a.b\n</methodName><params><param><value>1</value></param></params></methodCall>'
        self.assertEqual(CODEC.read_call(two), MethodCall("a.b", ["1"]))
        self.assertEqual(CODEC.read_call(call("")), MethodCall("m", []))
        self.assertEqual(CODEC.read_call(b"<methodCall><methodName>m</methodName></methodCall>"), MethodCall("m", []))

    def test_values_that_are_not_of_their_type(self) -> None:
        """What is out of range, infinite, not a number, or simply something else is a bad param, and it is said what would be right."""
        for type_, texts in {
            "int": ("", "x", "1.0", "1_000", "2147483648", "-2147483649", "0x1", "\u0661", "9" * 5000),
            "i4": ("2147483648",),
            "i8": ("9223372036854775808", "-9223372036854775809"),
            "boolean": ("", "true", "2", "01"),
            "double": ("", "nan", "NaN", "inf", "-Infinity", "1e999", "1e999999", "1,5", ".", "1_0.0", "0x1p3"),
            "nil": ("x",),
            "base64": ("a", "a===", "aGVsbG8", "!!!!", "é"),
            "dateTime.iso8601": ("", "now", "20260231T00:00:00", "2026-0131T00:00:00", "20260131T25:00:00", "20260131 12:00:00", "20260131"),
        }.items():
            for text in texts:
                detail = self.refused(call(f"<param><value><{type_}>{text}</{type_}></value></param>"), InvalidParams)
                self.assertIn(f"is not valid in <{type_}>", detail)
                self.assertLess(len(detail), 150)

    def test_a_member_twice(self) -> None:
        """Neither the first nor the last wins."""
        member = "<member><name>n</name><value/></member>"
        self.assertEqual(
            self.refused(call(f"<param><value><struct>{member}{member}</struct></value></param>"), InvalidParams), "a <struct> has the member 'n' twice"
        )

    def test_extensions_that_are_off(self) -> None:
        """nil and i8 are faults that name the setting; 32 bits are enough for the rest."""
        for inner, setting in (("<nil/>", "xmlrpc_nil"), ("<ex:nil/>", "xmlrpc_nil"), ("<i8>1</i8>", "xmlrpc_i8"), ("<ex:i8>1</ex:i8>", "xmlrpc_i8")):
            self.assertIn(f"[rpc] {setting}", self.refused(call(f"<param><value>{inner}</value></param>"), InvalidParams, BARE))
        self.assertEqual(of_value("<int>1</int>", BARE), 1)

    def test_documents_that_are_no_call(self) -> None:
        """Whatever the grammar of a call does not have is an invalid request."""
        value = "<value>a</value>"
        for document in (
            b"<html/>",
            b"<methodResponse><params/></methodResponse>",
            b"<methodCall/>",
            b"<methodCall><params/></methodCall>",
            b"<methodCall><methodName>m</methodName><methodName>m</methodName></methodCall>",
            b"<methodCall><methodName>m</methodName><params/><params/></methodCall>",
            b"<methodCall>x<methodName>m</methodName></methodCall>",
            b"<methodCall><methodName>m<b/></methodName></methodCall>",
            call("x"),
            call("<value/>"),
            call("<param/>"),
            call(f"<param>{value}{value}</param>"),
            *(
                call(f"<param><value>{inner}</value></param>")
                for inner in (
                    "<float>1</float>",
                    "<x:nil/>",
                    "<value/>",
                    "<data/>",
                    "<i4>1</i4><i4>1</i4>",
                    "a<i4>1</i4>",
                    "<i4>1</i4>a",
                    "<i4>1<b/></i4>",
                    "<array/>",
                    "<array><data/><data/></array>",
                    "<array><value/></array>",
                    "<array><data><i4>1</i4></data></array>",
                    "<array>a<data/></array>",
                    "<struct><name>a</name></struct>",
                    "<struct><member/></struct>",
                    "<struct><member><name>a</name></member></struct>",
                    "<struct><member><value/><name>a</name></member></struct>",
                    "<struct><member><name>a</name><value/><value/></member></struct>",
                )
            ),
        ):
            self.refused(document, InvalidRequest)

    def test_documents_that_are_no_xml(self) -> None:
        """They are parse errors, as is nothing at all."""
        for document in (
            b"",
            b" ",
            b"\x00",
            b"{}",
            b"<methodCall>",
            call("")[:-1],
            call("") * 2,
            b"<methodCall>\xff</methodCall>",
            call("<param><value>&#0;</value></param>"),
        ):
            self.assertIn("not well-formed", self.refused(document, Malformed))

    def test_no_document_type(self) -> None:
        """A declaration of one is refused where it begins, so that no entity is ever defined or fetched; what is not defined is an error."""
        laughs = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
        bombs = (
            f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>',
            '<!DOCTYPE x [<!ENTITY a "b">]>',
            '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1:1/"> %a;]>',
            '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
            "<!DOCTYPE x>",
        )
        for bomb in bombs:
            document = f'<?xml version="1.0"?>{bomb}'.encode() + call("<param><value>&l9;&a;</value></param>")
            self.assertIn("document type declaration", self.refused(document, Malformed))
        self.assertIn("undefined entity", self.refused(call("<param><value>&a;</value></param>"), Malformed))

    def test_encodings(self) -> None:
        """Those that expat reads by itself, as declared or as the byte order mark says."""
        body = call("<param><value>é</value></param>").decode()
        for encoding, codec in (("utf-8", "utf-8"), ("UTF-8", "utf-8-sig"), ("iso-8859-1", "latin-1"), ("UTF-16", "utf-16"), ("utf-16le", "utf-16")):
            document = f'<?xml version="1.0" encoding="{encoding}"?>{body}'.encode(codec)
            self.assertEqual(CODEC.read_call(document).params, ["é"], encoding)
        self.assertEqual(CODEC.read_call(body.encode("utf-16")).params, ["é"])
        for encoding in ("windows-1252", "utf-7", "idna", "rot13", "x" * 1000):
            document = f'<?xml version="1.0" encoding="{encoding}"?>{body}'.encode()
            detail = self.refused(document, Malformed)
            self.assertIn("is not supported", detail)
            self.assertLess(len(detail), 120)
        self.refused(f'<?xml version="1.0" encoding="us-ascii"?>{body}'.encode(), Malformed)
        self.refused(f'<?xml version="1.0" encoding="utf-16"?>{body}'.encode(), Malformed)

    def test_charset_of_the_content_type(self) -> None:
        """It wins over the declaration, and a byte order mark wins over it."""
        document = '<?xml version="1.0" encoding="iso-8859-1"?>' + call("<param><value>é</value></param>").decode()
        self.assertEqual(CODEC.read_call(document.encode(), "UTF-8").params, ["é"])
        self.assertEqual(CODEC.read_call(document.encode("latin-1"), "iso-8859-1").params, ["é"])
        self.assertEqual(CODEC.read_call(call("<param><value>é</value></param>").decode().encode("utf-16"), "utf-8").params, ["é"])
        self.refused(document.encode(), Malformed, charset="ebcdic")

    def test_depth(self) -> None:
        """As deep as the setting says, arrays and structs alike, and no deeper; what follows a nested value is not deeper for it."""

        def nested(depth: int) -> str:
            value = "x"
            for level in range(depth):
                inner = f"<value>{value}</value>"
                value = f"<array><data>{inner}</data></array>" if level % 2 else f"<struct><member><name/>{inner}</member></struct>"
            return f"<param><value>{value}</value></param>"

        self.assertEqual(len(CODEC.read_call(call(nested(8) + nested(8))).params), 2)
        self.assertIn("xmlrpc_depth allows 8", self.refused(call(nested(9)), Malformed))
        self.refused(call("<param><value><array><data>" + "<value><array><data>" * 100_000), Malformed)

    def test_count(self) -> None:
        """As many values as the setting says, wherever they are."""
        self.assertEqual(len(CODEC.read_call(call("<param><value/></param>" * 100)).params), 100)
        for many in ("<param><value/></param>" * 101, "<param><value><array><data>" + "<value/>" * 100 + "</data></array></value></param>"):
            self.assertIn("xmlrpc_values", self.refused(call(many), TooLarge))

    @given(st.lists(values, max_size=4))
    def test_what_python_sends(self, params: list[Any]) -> None:
        """Whatever Python's client can say arrives as it was meant."""
        document = xmlrpc.client.dumps(tuple(params), "some.method", allow_none=True, encoding="utf-8")
        self.assertEqual(LARGE.read_call(document.encode()), MethodCall("some.method", params))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, document: bytes) -> None:
        """What is no call is one of our errors."""
        self.assertRaises(OURS, CODEC.read_call, document)

    @settings(max_examples=300)
    @given(st.lists(values, max_size=3), st.data())
    def test_damaged_calls(self, params: list[Any], data: st.DataObject) -> None:
        """A call with some bytes changed, dropped or doubled is a call or one of our errors."""
        document = bytearray(xmlrpc.client.dumps(tuple(params), "m", allow_none=True, encoding="utf-8").encode())
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(document)))
            end = start + data.draw(st.integers(0, 12))
            document[start:end] = data.draw(
                st.sampled_from([b"", b"<", b">", b"/", b"\xff", b"&", b"\x00", b"<value>", b"<array>", bytes(document[start:end]) * 2])
            )
        with contextlib.suppress(OURS):
            CODEC.read_call(bytes(document))

    @settings(max_examples=300)
    @given(st.lists(st.sampled_from(ELEMENTS), max_size=12), st.data())
    def test_any_elements(self, names: list[str], data: st.DataObject) -> None:
        """Well-formed documents of the right elements in any order are calls or our errors."""
        document, depth = "<methodCall><methodName>m</methodName>", ["methodCall"]
        for name in names:
            document += f"<{name}>" + data.draw(st.sampled_from(["", "1", " "]))
            depth.append(name)
            while len(depth) > 1 and data.draw(st.booleans()):
                document += f"</{depth.pop()}>"
        document += "".join(f"</{name}>" for name in reversed(depth))
        with contextlib.suppress(OURS):
            CODEC.read_call(document.encode())


class WritingTests(SynchronousTestCase):
    """From a result or an error to a document."""

    @given(values)
    def test_what_python_reads(self, value: Any) -> None:
        """Python's client reads every value that there is a type for."""
        self.assertEqual(loads(LARGE.result(value)), naive(value))

    def test_integers(self) -> None:
        """int up to 32 bits, i8 up to 64 where it is on, else an error that names what is on offer."""
        for value, type_ in ((2**31 - 1, b"<int>"), (-(2**31), b"<int>"), (2**31, b"<i8>"), (-(2**63), b"<i8>")):
            document = CODEC.result(value)
            self.assertIn(type_, document)
            self.assertEqual(loads(document), value)
        self.assertIn("64 bits", self.assertRaises(Inexpressible, CODEC.result, 2**63).detail)
        self.assertIn("xmlrpc_i8", self.assertRaises(Inexpressible, BARE.result, [2**31]).detail)
        self.assertEqual(loads(BARE.result(-1)), -1)

    def test_null(self) -> None:
        """nil where it is on; what is no finite number is null as it is in JSON."""
        for value in (None, math.nan, math.inf, -math.inf):
            self.assertIsNone(loads(CODEC.result(value)))
            self.assertIn("xmlrpc_nil", self.assertRaises(Inexpressible, BARE.result, {"a": value}).detail)

    def test_text(self) -> None:
        """Markup is escaped and line ends are kept; what XML cannot hold is replaced, in names too."""
        self.assertEqual(loads(CODEC.result("<&>]]>\r\n\t\r'\"é\U0001f600")), "<&>]]>\r\n\t\r'\"é\U0001f600")
        self.assertEqual(loads(CODEC.result({"a\x00": "\x00\x1f\x0b\ud800\ufffe"})), {"a\ufffd": "\ufffd" * 5})

    def test_times(self) -> None:
        """To the second, in UTC if there is a zone; beyond the calendar is an error."""
        berlin = timezone(timedelta(hours=1))
        self.assertIn(b">20260131T12:00:00<", CODEC.result(datetime(2026, 1, 31, 13, 0, 0, 999999, berlin)))
        self.assertIn(b">09990131T13:00:00<", CODEC.result(datetime(999, 1, 31, 13)))
        self.assertRaises(Inexpressible, CODEC.result, datetime(1, 1, 1, tzinfo=berlin))

    def test_bytes_and_tuples(self) -> None:
        """All kinds of bytes are base64, tuples are arrays."""
        self.assertEqual(loads(CODEC.result((b"a", bytearray(b"b"), memoryview(b"c")))), [b"a", b"b", b"c"])

    def test_too_deep(self) -> None:
        """A result that cannot be walked is an error, not a crash."""
        value: Any = []
        for _ in range(5000):
            value = [value]
        self.assertIn("nested", self.assertRaises(Inexpressible, CODEC.result, value).detail)

    def test_faults(self) -> None:
        """Code and text, escaped."""
        fault = self.assertRaises(xmlrpc.client.Fault, loads, CODEC.fault(-32602, "a < \x00"))
        self.assertEqual((fault.faultCode, fault.faultString), (-32602, "a < \ufffd"))
        self.assertEqual(fault_of(Conflict("a name is taken")), (-32004, "conflict: a name is taken"))
        self.assertEqual(fault_of(Conflict()), (-32004, "conflict"))
        self.assertEqual(fault_of(Inexpressible("no")), (-32603, "internal error: no"))
