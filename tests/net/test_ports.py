"""Listeners with direct transports, for any endpoint string. tests/system/test_transports.py has the same with sockets."""

import os
import select
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_UNIX, socket
from typing import Any

from twisted.internet import ssl
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorSSL, IReactorTCP, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from netsvc.net.poller import Poller
from netsvc.net.ports import ACCEPTS, LISTEN_BACKLOG, DirectPort, DirectReactor, DirectUnixPort
from netsvc.net.transport import DirectServer, DirectUnixServer


class PortTests(SynchronousTestCase):
    """What is made of an endpoint string."""

    def setUp(self) -> None:
        """A reactor; nothing listens for real."""
        self.reactor = MemoryReactorClock()
        self.direct: Any = DirectReactor(self.reactor)
        self.listening: list[Any] = []
        for kind in (DirectPort, DirectUnixPort):
            self.patch(kind, "startListening", lambda port: self.listening.append(port))
            self.patch(kind, "_fromListeningDescriptor", classmethod(self.adopt))
        self.factory = Factory()

    @staticmethod
    def adopt(kind: Any, reactor: Any, descriptor: int, *args: Any) -> Any:
        """A port on a descriptor."""
        port = kind(b"path" if kind is DirectUnixPort else 0, args[-1], reactor=reactor)
        if kind is DirectPort:
            port.addressFamily = args[0]
        return port

    def listen(self, endpoint: str) -> Any:
        """Listen on an endpoint string, and give the port."""
        port = self.successResultOf(serverFromString(self.direct, endpoint).listen(self.factory))
        self.assertEqual(self.listening, [port])
        self.assertIs(port.reactor, self.reactor)
        return port

    def test_tcp(self) -> None:
        """TCP, with room for a burst of connections."""
        port = self.listen("tcp:8080:interface=127.0.0.1")
        self.assertEqual((type(port), port.transport, port.port, port.interface), (DirectPort, DirectServer, 8080, "127.0.0.1"))
        self.assertEqual(port.backlog, LISTEN_BACKLOG)
        self.assertIsInstance(port.poller, Poller)

    def test_accepts(self) -> None:
        """A storm does not make it accept more at a time."""
        for endpoint in ("tcp:8080", "unix:path"):
            self.listening.clear()
            port = self.listen(endpoint)
            port.numberAccepts += 20
            self.assertEqual(port.numberAccepts, ACCEPTS)

    def test_larger_backlog(self) -> None:
        """Who asks for more room gets it."""
        self.assertEqual(self.listen("tcp:8080:backlog=5000").backlog, 5000)

    def test_tcp6(self) -> None:
        """TCP on IPv6."""
        self.assertEqual(self.listen("tcp6:8080:interface=\\:\\:1").interface, "::1")

    def test_unix(self) -> None:
        """A UNIX socket, with its mode."""
        port = self.listen("unix:/run/netsvc.sock:mode=660:lockfile=0")
        self.assertEqual((type(port), port.transport, port.mode, port.wantPID), (DirectUnixPort, DirectUnixServer, 0o660, 0))
        self.assertIsInstance(port.poller, Poller)

    def test_tls(self) -> None:
        """TLS runs on top."""
        context: Any = ssl.CertificateOptions()
        port = self.direct.listenSSL(443, self.factory, context)
        self.assertEqual((type(port), type(port.factory), port.factory.wrappedFactory), (DirectPort, TLSMemoryBIOFactory, self.factory))

    def test_adopted(self) -> None:
        """Sockets that systemd has opened."""
        kinds = []
        for family in (AF_INET, AF_UNIX):
            with socket(family) as passed:
                kinds.append(type(self.direct.adoptStreamPort(passed.fileno(), family, self.factory)))
        self.assertEqual(kinds, [DirectPort, DirectUnixPort])

    def test_family_of_the_socket(self) -> None:
        """A socket is what it is, whatever the endpoint says of it: otherwise the addresses of its clients would be misread."""
        for family in (AF_INET, AF_INET6):
            with socket(family) as passed:
                port: Any = self.direct.adoptStreamPort(passed.fileno(), AF_INET, self.factory)
                self.assertEqual(port.addressFamily, family)

    def test_one_poller(self) -> None:
        """All listeners share one."""
        pollers = {self.direct.listenTCP(0, self.factory).poller, self.direct.listenUNIX(b"path", self.factory).poller}
        self.assertEqual(len(pollers), 1)

    def test_without_epoll(self) -> None:
        """On systems without epoll the reactor watches the connections."""
        self.patch(select, "epoll", None)
        del select.epoll
        self.assertIsNone(DirectReactor(self.reactor).listenTCP(0, self.factory).poller)

    def test_everything_else(self) -> None:
        """Everything else is the reactor's, its interfaces too."""
        for interface in (IReactorTCP, IReactorUNIX, IReactorSSL, IReactorTime):
            self.assertTrue(interface.providedBy(self.direct), interface)
        self.assertEqual(self.direct.seconds(), 0)
        clock: Any = DirectReactor(Clock())
        self.assertFalse(IReactorTCP.providedBy(clock))


class AbandonedSocketTests(SynchronousTestCase):
    """UNIX sockets that a killed process has left, with a lock in which the number of this process stands, as in a container."""

    def setUp(self) -> None:
        """A folder for the socket, and the lock."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "s"
        self.lock = folder / "s.lock"
        self.lock.symlink_to(str(os.getpid()))

    def listen(self) -> None:
        """Listen there, for a moment."""
        port: Any = DirectReactor(MemoryReactorClock()).listenUNIX(str(self.path), Factory(), wantPID=1)
        port.connectionLost(None)

    def test_abandoned(self) -> None:
        """Where nobody listens any more, the next one does."""
        with socket(AF_UNIX) as left:
            left.bind(str(self.path))
        self.listen()
        self.assertFalse(self.lock.is_symlink())

    def test_lock_alone(self) -> None:
        """A lock without a socket is nothing."""
        self.listen()

    def test_in_use(self) -> None:
        """Where somebody listens, nothing is touched."""
        with socket(AF_UNIX) as used:
            used.bind(str(self.path))
            used.listen()
            self.assertRaises(CannotListenError, self.listen)
        self.assertTrue(self.path.is_socket())
        self.assertTrue(self.lock.is_symlink())

    def test_other_file(self) -> None:
        """Whatever is not a socket stays."""
        self.path.write_text("precious")
        self.assertRaises(CannotListenError, self.listen)
        self.assertEqual(self.path.read_text(), "precious")
