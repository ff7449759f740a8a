"""Transports of every kind: what they tell of themselves, UNIX sockets, and what is not direct."""

from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IConsumer, IPushProducer, ISSLTransport, ITransport
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from netsvc.net.buffered_transport import BufferedTransport, direct
from netsvc.net.transport import DirectUnixServer
from tests.net.sockets import DirectCase, FakeReactor, Owner


class FactsTests(DirectCase):
    """What a transport says of itself."""

    def test_interfaces(self) -> None:
        """It is what Twisted takes it for."""
        for interface in (ITransport, IConsumer, IPushProducer):
            self.assertTrue(verifyObject(interface, self.transport), interface)
        self.assertIs(direct(self.transport), self.transport)

    def test_addresses(self) -> None:
        """Both ends of IPv4 and IPv6; IPv4 that came in through IPv6 is IPv4."""
        self.assertEqual(self.transport.getPeer(), IPv4Address("TCP", "192.0.2.1", 4711))
        self.assertEqual(self.transport.getHost(), IPv4Address("TCP", "192.0.2.9", 80))
        self.assertEqual((self.transport.peer, self.transport.secure), ("192.0.2.1", False))
        self.transport.client = ("2001:db8::1", 4711, 0, 0)
        self.assertEqual((self.transport.getPeer(), self.transport.peer), (IPv6Address("TCP", "2001:db8::1", 4711, 0, 0), "2001:db8::1"))
        self.transport.client = ("::ffff:192.0.2.1", 4711, 0, 0)
        self.assertEqual(self.transport.peer, "192.0.2.1")

    def test_socket_options(self) -> None:
        """Nothing is held back to be joined, and no call blocks."""
        self.assertEqual(self.socket.calls[:2], [("setblocking", False), ("setsockopt", IPPROTO_TCP, TCP_NODELAY, 1)])

    def test_gone_already(self) -> None:
        """A connection that broke before it was accepted is noticed later, by reading."""
        self.socket.break_()
        self.assertEqual(self.kind(self.socket, self.protocol, self.client, self.port, 0, self.reactor).connected, 1)

    def test_reactor(self) -> None:
        """The port's poller watches it, if there is one."""
        self.assertIs(self.transport.reactor, self.reactor)
        other = FakeReactor()
        self.port.poller = other
        self.transport.startWriting()
        self.assertEqual((self.transport in other.writing, self.waiting), (True, False))

    def test_no_tls_later(self) -> None:
        """It cannot switch to TLS."""
        self.assertRaises(NotImplementedError, self.transport.startTLS, None)

    def test_names(self) -> None:
        """It has a name in logs, the same for all where that is asked for often."""
        self.assertIn("192.0.2.1", repr(self.transport))
        self.assertEqual(self.transport.logPrefix(), "netsvc")

    def test_lean(self) -> None:
        """No attribute is stored in a dictionary of its own."""
        self.socket.room = 0
        self.transport.write(b"x")
        self.assertEqual(vars(self.transport), {})


class UnixTests(DirectCase):
    """The same on a UNIX socket."""

    kind = DirectUnixServer
    client = b""

    def test_facts(self) -> None:
        """It has no address, and no options of TCP."""
        self.socket.name = b"/run/netsvc.sock"
        self.assertEqual(
            (self.transport.peer, self.transport.getPeer(), self.transport.getHost()), ("unix", UNIXAddress(None), UNIXAddress(b"/run/netsvc.sock"))
        )
        self.assertEqual(self.socket.calls, [("setblocking", False)])

    def test_write(self) -> None:
        """It sends in the same way."""
        self.transport.write(b"hello")
        self.assertEqual(self.socket.taken, b"hello")


class BufferedTests(SynchronousTestCase):
    """Any other transport in the same guise."""

    def setUp(self) -> None:
        """Wrap a StringTransport."""
        self.inner: Any = StringTransport()
        self.transport: Any = direct(self.inner)
        self.owner = Owner()
        self.transport.owner = self.owner

    def test_kind(self) -> None:
        """It is wrapped, once."""
        self.assertIsInstance(self.transport, BufferedTransport)
        self.assertIs(direct(self.transport), self.transport)
        self.assertTrue(verifyObject(IPushProducer, self.transport))

    def test_write(self) -> None:
        """All is taken, by every way."""
        self.transport.write(b"a")
        self.assertEqual(self.transport.raw_send(b"bc"), 2)
        self.transport.rest(b"xde", 1)
        self.assertEqual(self.inner.value(), b"abcde")

    def test_full(self) -> None:
        """It is full when the transport below wants a pause; the owner hears of each change once."""
        self.assertFalse(self.transport.full)
        self.inner.producer.pauseProducing()
        self.inner.producer.pauseProducing()
        self.assertEqual((self.transport.full, self.transport.stalled()), (True, True))
        self.inner.producer.resumeProducing()
        self.inner.producer.resumeProducing()
        self.assertEqual((self.transport.full, self.transport.stalled(), self.owner.told), (False, False, ["full", "drained"]))

    def test_no_owner(self) -> None:
        """Nobody need listen."""
        self.transport.owner = None
        self.inner.producer.pauseProducing()
        self.inner.producer.resumeProducing()
        self.assertFalse(self.transport.full)

    def test_lost(self) -> None:
        """Once the connection is lost, nothing may be sent."""
        self.inner.producer.stopProducing()
        self.assertTrue(self.transport.full)

    def test_stalled_below(self) -> None:
        """A direct transport at the bottom knows better whether the other end takes anything."""

        class Below(StringTransport):
            def stalled(self) -> str:
                return "asked"

        below: Any = BufferedTransport(Below())
        self.assertEqual(below.stalled(), "asked")

    def test_facts(self) -> None:
        """It knows the peer and whether TLS is spoken."""
        self.assertEqual((self.transport.peer, self.transport.secure), ("192.168.1.1", False))
        directlyProvides(self.inner, ISSLTransport)
        self.inner.peerAddr = UNIXAddress(None)
        self.assertEqual((self.transport.peer, self.transport.secure), ("unix", True))

    def test_reading(self) -> None:
        """Reading is paused below."""
        self.transport.pause_reading()
        self.assertEqual(self.inner.producerState, "paused")
        self.transport.resume_reading()
        self.assertEqual(self.inner.producerState, "producing")

    def test_ends(self) -> None:
        """Closing unregisters the producer, which would hold it up; half a close is a whole one; aborting is passed on."""
        self.transport.lose_write_connection()
        self.assertEqual((self.inner.disconnecting, self.inner.producer), (True, None))
        other: Any = StringTransport()
        BufferedTransport(other).abortConnection()
        self.assertTrue(other.disconnected)

    def test_hand_over(self) -> None:
        """The successor is put where the transport below looks for its protocol."""

        class OnSocket(StringTransport):
            protocol = None

        class OnTop(OnSocket):
            wrappedProtocol = None  # noqa: N815  # Twisted's name

        successor = Owner()
        for inner, name in ((OnSocket(), "protocol"), (OnTop(), "wrappedProtocol")):
            transport = BufferedTransport(inner)
            transport.hand_over(successor)
            self.assertEqual((getattr(inner, name), transport.owner), (successor, successor))
        self.assertIsNone(inner.protocol)
