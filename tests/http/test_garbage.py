"""What connections leave behind: nothing that only the cycle collector would find, unless an exception was raised in a coroutine."""

import gc
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from netsvc.http.bodies import Stream
from netsvc.http.messages import Request, Response, Upgrade
from netsvc.net.transport import DirectServer
from tests.http.channels import ChannelCase, request
from tests.http.test_channel_time import HANDSHAKE, Quiet
from tests.net.sockets import FakeReactor, FakeSocket, Port


class GarbageTests(ChannelCase):
    """Connections that come and go in every way."""

    def setUp(self) -> None:
        """Routes of all kinds, and connections on sockets in memory."""
        super().setUp()
        self.port = Port(FakeReactor())
        self.routes.add("GET", "/", lambda _: Response.text("x"))
        self.routes.add("GET", "/slow", lambda _: Deferred())
        self.routes.add("GET", "/stream", lambda _: Stream(self.pour))
        self.routes.add("PUT", "/count", self.count, streaming=True)
        self.routes.add("GET", "/ws", lambda _: Upgrade(Quiet()))

    async def pour(self, stream: Stream) -> None:
        """Send more than the client takes."""
        await stream.writable()
        stream.send(b"x" * 100)

    async def count(self, request: Request) -> Response:
        """Read a body."""
        assert request.stream is not None
        return Response.text(str(sum([len(piece) async for piece in request.stream])))

    def visit(self, *pieces: bytes) -> None:
        """Connect, send pieces, go away."""
        channel: Any = self.factory.buildProtocol(self.client.inner.getPeer())
        skt: Any = FakeSocket()
        transport: Any = DirectServer(skt, channel, ("192.0.2.1", 1), self.port, 0, None)
        channel.makeConnection(transport)
        for piece in pieces:
            skt.incoming.append(piece)
            transport.doRead()
        transport.connectionLost(Failure(ConnectionDone()))

    def garbage(self, *pieces: bytes) -> int:
        """How many objects a visit leaves to the collector, after another visit that fills what is kept for good."""
        self.visit(*pieces)
        while gc.collect():  # what other tests have left may need several rounds: what ends in the first may let go of more
            pass
        gc.disable()
        self.addCleanup(gc.enable)
        self.visit(*pieces)
        return gc.collect()

    def test_plain(self) -> None:
        """Requests with quick answers."""
        self.assertEqual(self.garbage(request() * 3, request()[:10]), 0)

    def test_waiting(self) -> None:
        """One that leaves while a handler is at work."""
        self.assertEqual(self.garbage(request("/slow")), 0)

    def test_stream(self) -> None:
        """One that was sent a stream."""
        self.assertEqual(self.garbage(request("/stream")), 0)

    def test_upload(self) -> None:
        """One that was read from in pieces."""
        data = request("/count", method="PUT", body=b"x" * 100)
        self.assertEqual(self.garbage(data[:80], data[80:]), 0)

    def test_websocket(self) -> None:
        """One that has become a WebSocket."""
        self.assertEqual(self.garbage(request("/ws", *HANDSHAKE)), 0)
