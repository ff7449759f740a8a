"""Whatever comes in over a stream: nothing breaks, and whoever asks properly behind it is answered."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address

from netsvc.rpc.amp import AmpConnection
from netsvc.rpc.lines import LineConnection
from netsvc.rpc.stream_settings import AmpSettings, LinesSettings
from netsvc.rpc.streams import StreamFactory
from netsvc.wire.amp import BoxReader, box_bytes
from netsvc.wire.lines import LineReader
from tests.rpc.provider_case import member
from tests.rpc.test_streams import StreamCase, StreamTransport

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["local.plain", "rpc.provide", "rpc.withdraw", "rpc.cancel", "rpc.progress", "test.work", "system.multicall", "no.such"])
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={
        "id": JSON,
        "method": NAMES | st.text(max_size=5),
        "params": JSON,
        "result": JSON,
        "error": JSON | st.fixed_dictionaries({"code": st.integers(), "message": st.text(max_size=5)}, optional={"data": JSON}),
        "deadline": JSON,
    },
)
KEYS = st.sampled_from([b"_ask", b"_command", b"_answer", b"_error", b"_error_code", b"_error_description", b"method", b"params", b"deadline", b"key", b"id"])
TEXTS = NAMES.map(str.encode) | st.sampled_from([b"Call", b"Notify", b"1", b"RPC", b"{}", b"[]", b'["a.b"]', b"\xff"]) | st.binary(min_size=1, max_size=10)


class FuzzTests(StreamCase):
    """Each example is a connection of its own."""

    def open(self, factory: StreamFactory) -> tuple[Any, StreamTransport]:
        """A connection of a member, who may provide."""
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 5000))
        transport = StreamTransport()
        protocol.makeConnection(transport)
        protocol._application.login(member("ann"))
        return protocol, transport

    @settings(max_examples=60, deadline=None)
    @given(st.lists(MESSAGES.map(json.dumps).map(str.encode) | st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=8))
    def test_lines(self, lines: list[bytes]) -> None:
        """Lines of JSON and of anything."""
        factory = StreamFactory(LinesSettings(message=100_000), self.service, self.admission, self.clock, LineReader, LineConnection)
        protocol, transport = self.open(factory)
        protocol.dataReceived(b"\n".join(lines) + b"\n")
        transport.clear()
        protocol.dataReceived(b'{"jsonrpc":"2.0","method":"local.plain","id":"last"}\n')
        self.assertEqual([each["result"] for each in self.heard(transport) if each.get("id") == "last"], [1])
        protocol.connectionLost(None)
        self.assertEqual(self.providers.counts()["providers"], 0)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.dictionaries(KEYS, TEXTS, min_size=1), max_size=8))
    def test_boxes(self, boxes: list[dict[bytes, bytes]]) -> None:
        """Boxes of AMP with any keys and values."""
        factory = StreamFactory(AmpSettings(), self.service, self.admission, self.clock, BoxReader, AmpConnection)
        protocol, transport = self.open(factory)
        for box in boxes:
            protocol.dataReceived(box_bytes(box.items()))
        transport.clear()
        protocol.dataReceived(box_bytes([(b"_ask", b"last"), (b"_command", b"Call"), (b"method", b"local.plain")]))
        answers = BoxReader(1 << 20)
        answers.feed(transport.value())
        self.assertIn({b"_answer": b"last", b"result": b"1"}, list(iter(answers.next, None)))
        protocol.connectionLost(None)

    @settings(max_examples=30, deadline=None)
    @given(st.binary(max_size=200))
    def test_bytes(self, data: bytes) -> None:
        """Bytes."""
        for reader, connection, section in ((LineReader, LineConnection, LinesSettings()), (BoxReader, AmpConnection, AmpSettings())):
            factory = StreamFactory(section, self.service, self.admission, self.clock, reader, connection)
            protocol, transport = self.open(factory)
            protocol.dataReceived(data)
            if not transport.disconnecting:
                protocol.readConnectionLost()
            self.assertTrue(transport.disconnecting)
            protocol.connectionLost(None)
            self.assertEqual(len(factory), 0)
        self.assertEqual(self.flushLoggedErrors(), [])
