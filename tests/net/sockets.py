"""A socket and a reactor in memory, for the tests of transports."""

from collections.abc import Callable
from errno import EPIPE
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from netsvc.net.transport import DirectServer

__all__ = ["DirectCase", "FakeReactor", "FakeSocket", "Owner", "Port", "Receiver"]


class FakeSocket:
    """A connected socket whose kernel takes as many bytes as the test says.

    :ivar room: how many bytes `send` takes before it would block; None is any number.
    :ivar taken: what it took.
    :ivar incoming: what `recv` gives, piece by piece: bytes, or an error to raise.
    :ivar error: raised by the next sends.
    """

    def __init__(self, number: int = 7, name: Any = ("192.0.2.9", 80)) -> None:
        self.number = number
        self.name = name
        self.room: int | None = None
        self.taken = b""
        self.incoming: list[bytes | OSError] = []
        self.error: OSError | None = None
        self.calls: list[Any] = []
        self.closed = False

    def send(self, data: Any) -> int:
        """See socket."""
        if self.error is not None:
            raise self.error
        size = len(data) if self.room is None else min(self.room, len(data))
        if not size and len(data):
            raise BlockingIOError
        self.taken += bytes(data[:size])
        if self.room is not None:
            self.room -= size
        return size

    def sendmsg(self, buffers: list[Any]) -> int:
        """See socket."""
        self.calls.append(("sendmsg", len(buffers)))
        return self.send(b"".join(buffers))

    def recv(self, size: int) -> bytes:
        """See socket."""
        self.calls.append(("recv", size))
        if not self.incoming:
            raise BlockingIOError
        item = self.incoming.pop(0)
        if isinstance(item, OSError):
            raise item
        return item

    def fileno(self) -> int:
        """See socket."""
        return self.number

    def setblocking(self, flag: bool) -> None:
        """See socket."""
        self.calls.append(("setblocking", flag))

    def setsockopt(self, *args: Any) -> None:
        """See socket."""
        self.calls.append(("setsockopt", *args))
        if self.error is not None:
            raise self.error

    def getsockname(self) -> Any:
        """See socket."""
        return self.name

    def shutdown(self, how: int) -> None:
        """See socket."""
        self.calls.append(("shutdown", how))

    def close(self) -> None:
        """See socket."""
        self.closed = True

    def break_(self) -> None:
        """Let every further send fail."""
        self.error = OSError(EPIPE, "broken")


class FakeReactor(Clock):
    """Notes what is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: set[Any] = set()
        self.writing: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        self.reading.add(reader)

    def removeReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        self.reading.discard(reader)

    def addWriter(self, writer: Any) -> None:
        """See IReactorFDSet."""
        self.writing.add(writer)

    def removeWriter(self, writer: Any) -> None:
        """See IReactorFDSet."""
        self.writing.discard(writer)


class Port:
    """What a transport knows of its port."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.poller: Any = None
        self.outbound: Any = None


class Receiver:
    """A protocol that notes what it is told."""

    def __init__(self, on_data: Callable[[bytes], object] = lambda data: None) -> None:
        self.received = b""
        self.reasons: list[Any] = []
        self.on_data = on_data

    def dataReceived(self, data: bytes) -> None:
        """See IProtocol."""
        self.received += data
        self.on_data(data)

    def connectionLost(self, reason: Any) -> None:
        """See IProtocol."""
        self.reasons.append(reason)


class Producer:
    """A producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """See IProducer."""
        self.told.append("stop")


class Owner:
    """A TransportOwner that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def transport_full(self) -> None:
        """See TransportOwner."""
        self.told.append("full")

    def transport_drained(self) -> None:
        """See TransportOwner."""
        self.told.append("drained")

    def transport_shed(self) -> None:
        """See TransportOwner."""
        self.told.append("shed")


class DirectCase(SynchronousTestCase):
    """A transport on a socket in memory."""

    kind: type[DirectServer] = DirectServer
    client: Any = ("192.0.2.1", 4711)

    def setUp(self) -> None:
        """Connect."""
        self.reactor = FakeReactor()
        self.socket: Any = FakeSocket()
        self.protocol: Any = Receiver()
        self.owner = Owner()
        self.port = Port(self.reactor)
        self.transport: Any = self.kind(self.socket, self.protocol, self.client, self.port, 0, self.reactor)
        self.transport.owner = self.owner

    @property
    def waiting(self) -> bool:
        """Whether the transport waits for room in the kernel."""
        return self.transport in self.reactor.writing

    def lost(self) -> Any:
        """Why the connection was lost; None if it was not."""
        return self.protocol.reasons[0].value if self.protocol.reasons else None

    def turn(self) -> None:
        """The reactor finds room in the kernel."""
        why = self.transport.doWrite()
        if why is not None:
            self.transport.connectionLost(Failure(why))
