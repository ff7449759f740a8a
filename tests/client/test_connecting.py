"""Tests for netsvc.client.connecting."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.addresses import Address, Proxy
from netsvc.client.connecting import LONGEST_HEAD, ReactorGround, Way, trust_in
from netsvc.client.errors import ConnectionLost, Untrusted, lost
from tests.certificates import make_certificate
from tests.client.memory import Connection, MemoryGround
from tests.client.tls import TlsServer


class Kept(Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.reasons: list[Any] = []

    def connectionMade(self) -> None:
        """Twisted's hook."""
        assert self.transport is not None
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        """Twisted's hook."""
        self.reasons.append(reason)


class WayCase(SynchronousTestCase):
    """A way to a server in memory."""

    def setUp(self) -> None:
        """Nothing is connected yet."""
        self.ground = MemoryGround()
        self.protocol = Kept()

    def connect(self, url: str, proxy: str | None = None, trust: Any = None) -> "Deferred[Any]":
        """Go it."""
        way = Way(self.ground, Address.parse(url), Proxy.parse(proxy) if proxy else None, trust, 7.0)
        return way.endpoint().connect(Factory.forProtocol(lambda: self.protocol))

    @property
    def server(self) -> Connection:
        """The other end."""
        return self.ground.last


class Plain(WayCase):
    """TCP alone."""

    def test_connects(self) -> None:
        """To the address, with the timeout."""
        self.assertIs(self.successResultOf(self.connect("http://h:1")), self.protocol)
        self.assertEqual((self.server.to, self.server.sent(), self.ground.timeout), (("h", 1), b"hello", 7.0))

    def test_reactor(self) -> None:
        """On a reactor it is a HostnameEndpoint."""
        reactor = MemoryReactorClock()
        ground = ReactorGround(reactor)
        self.assertIs(ground.clock, reactor)
        self.assertIsInstance(ground.endpoint("127.0.0.1", 1, 2.0), HostnameEndpoint)


class Tunnels(WayCase):
    """Through a proxy."""

    def test_opens(self) -> None:
        """The proxy is asked for the server; behind its answer the connection is the server's, what came with it included."""
        connecting = self.connect("http://h:1", "http://u:p@proxy:3128")
        self.assertEqual(self.server.to, ("proxy", 3128))
        self.assertEqual(self.server.sent(), b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nProxy-Authorization: Basic dTpw\r\n\r\n")
        self.server.receive(b"HTTP/1.1 200 ")
        self.assertNoResult(connecting)
        self.server.receive(b"Connection established\r\nVia: x\r\n\r\nfirst")
        self.assertIs(self.successResultOf(connecting), self.protocol)
        self.assertEqual((self.server.sent(), self.protocol.data), (b"hello", b"first"))
        self.server.receive(b" second")
        self.server.lose()
        self.assertEqual((self.protocol.data, len(self.protocol.reasons)), (b"first second", 1))

    def test_ipv6(self) -> None:
        """Addresses of IPv6 are in brackets; without credentials there is no header for them."""
        self.connect("http://[::1]:1", "proxy:1").addErrback(lambda _: None)
        self.assertEqual(self.server.sent(), b"CONNECT [::1]:1 HTTP/1.1\r\nHost: [::1]:1\r\n\r\n")

    def refused(self, answer: bytes) -> str:
        """Why there is no tunnel."""
        connecting = self.connect("http://h:1", "http://proxy:1")
        self.server.receive(answer)
        self.assertTrue(self.server.over)
        return str(self.failureResultOf(connecting, ConnectionLost).value)

    def test_refuses(self) -> None:
        """A proxy that refuses, or is none."""
        self.assertEqual(self.refused(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), "the proxy refused: 407 Proxy Authentication Required")
        self.assertEqual(self.refused(b"HTTP/1.0 502\r\n\r\n"), "the proxy refused: 502")
        self.assertIn("did not answer in HTTP", self.refused(b"SSH-2.0-x\r\n\r\n"))
        self.assertIn("did not answer in HTTP", self.refused(b"x" * (LONGEST_HEAD + 1)))

    def test_ends(self) -> None:
        """One that hangs up, and one that is not there."""
        connecting = self.connect("http://h:1", "http://proxy:1")
        self.server.lose()
        self.failureResultOf(connecting, ConnectionLost)
        self.ground.refuse = ConnectionRefusedError("refused")
        self.failureResultOf(self.connect("http://h:1", "http://proxy:1"), ConnectionRefusedError)

    def test_given_up(self) -> None:
        """Who does not want it any more cancels it, at any point."""
        connecting = self.connect("http://h:1", "http://proxy:1")
        connecting.cancel()
        self.failureResultOf(connecting)
        self.assertTrue(self.server.over)
        self.ground.hang = True
        connecting = self.connect("http://h:1", "http://proxy:1")
        connecting.cancel()
        self.failureResultOf(connecting)
        self.assertTrue(self.ground.hanging[0].called)

    def test_no_longer_wanted(self) -> None:
        """A factory that wants no connection any more gets none."""
        way = Way(self.ground, Address.parse("http://h:1"), Proxy.parse("proxy:1"), None, 7.0)

        class Unwilling(Factory):
            def buildProtocol(self, addr: Any) -> None:
                """Twisted's hook."""

        connecting = way.endpoint().connect(Unwilling())
        self.server.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        self.failureResultOf(connecting, ConnectionLost)


class Tls(WayCase):
    """With TLS, whose other end is Twisted's."""

    def shake(self, url: str, name: str, trusted: bool = True) -> TlsServer:
        """Connect to a server with a certificate for `name`, which is trusted or not."""
        folder = Path(self.mktemp())
        folder.mkdir()
        certificate = make_certificate(folder, name)
        other = folder / "other"
        other.mkdir()
        trust = trust_in(certificate.file if trusted else make_certificate(other, name).file)
        self.successResultOf(self.connect(url, trust=trust))
        server = TlsServer(certificate)
        self.server.transport.clock = self.ground.clock
        for _ in range(10):
            self.server.receive(server.receive(self.server.sent()))
            self.ground.clock.advance(0)
        return server

    def test_trusted(self) -> None:
        """A certificate for this name, signed by one of the file: names and addresses."""
        for url, name in (("https://chat.example", "chat.example"), ("https://192.0.2.7:1", "192.0.2.7")):
            self.protocol = Kept()
            self.assertEqual(self.shake(url, name).data, b"hello")
            self.assertEqual(self.protocol.reasons, [])

    def test_another_name(self) -> None:
        """A certificate for another name: nothing is sent."""
        server = self.shake("https://chat.example", "other.example")
        self.assertEqual(server.data, b"")
        error = lost(self.protocol.reasons[0])
        self.assertIsInstance(error, Untrusted)

    def test_untrusted(self) -> None:
        """One that nobody vouches for: nothing is sent."""
        server = self.shake("https://chat.example", "chat.example", trusted=False)
        self.assertEqual(server.data, b"")
        self.assertIsInstance(lost(self.protocol.reasons[0]), Untrusted)

    def test_through_a_proxy(self) -> None:
        """TLS goes through the tunnel, also one to a proxy that wants TLS itself."""
        connecting = self.connect("https://h:1", "http://proxy:1")
        self.server.sent()
        self.server.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        self.successResultOf(connecting)
        self.assertEqual(self.server.sent()[:1], b"\x16")
        self.connect("http://h:1", "https://proxy:1").addErrback(lambda _: None)
        self.assertEqual(self.server.sent()[:1], b"\x16")
