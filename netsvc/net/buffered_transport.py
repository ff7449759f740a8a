"""Any transport as the channel and the connections want it."""

# ruff: noqa: N802 - names of Twisted

from typing import Any

from twisted.internet.interfaces import IPushProducer, ISSLTransport, ITransport
from zope.interface import implementer

from netsvc.net.transport import DirectServer, DirectTransport, TransportOwner, address_text

__all__ = ["BufferedTransport", "direct"]


@implementer(IPushProducer)
class BufferedTransport:
    """DirectTransport on any other transport: TLS, a proxy's wrapper, a test's StringTransport.

    Whatever is written is accepted; `full` follows the transport's requests to pause its producer.

    :param inner: an ITransport that is an IConsumer too.
    """

    __slots__ = ("__weakref__", "full", "inner", "owner")

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.owner: TransportOwner | None = None
        self.full = False
        inner.registerProducer(self, True)

    def raw_send(self, data: bytes) -> int:
        """See DirectTransport; everything is accepted."""
        self.inner.write(data)
        return len(data)

    @property
    def peer(self) -> str:
        """See DirectTransport."""
        host = getattr(self.inner.getPeer(), "host", None)
        return "unix" if host is None else address_text(host)

    @property
    def secure(self) -> bool:
        """See DirectTransport."""
        return bool(ISSLTransport.providedBy(self.inner))

    def write(self, data: bytes) -> None:
        """See DirectTransport."""
        self.inner.write(data)

    def cork(self) -> None:
        """See DirectTransport. Nothing to do: TLS gathers by itself."""

    def uncork(self) -> None:
        """See DirectTransport."""

    def rest(self, data: bytes, offset: int) -> None:
        """See DirectTransport."""
        self.inner.write(data[offset:])

    def stalled(self) -> bool:
        """See DirectTransport. The lowest transport knows."""
        lower = getattr(self.inner, "stalled", None)
        return self.full if lower is None else lower()

    def shorten(self) -> bool:
        """See DirectTransport. What is waiting below is out of reach."""
        return False

    def hand_over(self, protocol: Any) -> None:
        """See DirectTransport."""
        if hasattr(self.inner, "wrappedProtocol"):  # it runs on top of another transport
            self.inner.wrappedProtocol = protocol
        else:
            self.inner.protocol = protocol
        self.owner = protocol

    def pause_reading(self) -> None:
        """See DirectTransport."""
        self.inner.pauseProducing()

    def resume_reading(self) -> None:
        """See DirectTransport."""
        self.inner.resumeProducing()

    def lose_write_connection(self) -> None:
        """See DirectTransport."""
        self.loseConnection()

    def loseConnection(self) -> None:
        """See DirectTransport. A producer that is still registered would hold up the close."""
        self.inner.unregisterProducer()
        self.inner.loseConnection()

    def abortConnection(self) -> None:
        """See DirectTransport."""
        self.inner.abortConnection()

    # IPushProducer: how the transport below says that it is full

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if not self.full:
            self.full = True
            if self.owner is not None:
                self.owner.transport_full()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        if self.full:
            self.full = False
            if self.owner is not None:
                self.owner.transport_drained()

    def stopProducing(self) -> None:
        """See IPushProducer: the connection is lost."""
        self.full = True


def direct(transport: ITransport) -> DirectTransport:
    """The transport itself if it is one already, else a BufferedTransport on it."""
    return transport if isinstance(transport, DirectServer | BufferedTransport) else BufferedTransport(transport)
