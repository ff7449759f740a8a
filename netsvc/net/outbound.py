"""One bound for all bytes waiting to be sent: when clients that do not read make netsvc keep too much, the worst of them are disconnected."""

from heapq import nlargest
from itertools import islice
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["Outbound", "WaitingReader"]

_SLICE = 64
"""Readers shed in one reactor turn."""

_HYSTERESIS = 8
"""Shedding goes down to an eighth below the bound, so that not every further byte costs somebody's connection."""


class WaitingReader(Protocol):
    """A transport with bytes that the other end has not read yet."""

    @property
    def waiting(self) -> int:
        """How many."""

    def shed(self) -> None:
        """Disconnect the client: drop most of what is waiting now, and the rest soon."""

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Drop all of it now."""


class Corked(Protocol):
    """A transport that gathers what is written."""

    def uncork(self) -> None:
        """Send it."""


class Outbound:
    """What is waiting in all transports, and which readers are shed when it is too much.

    What counts is the memory that waiting takes: a bytes object that a thousand readers wait for, such as one frame of a room, counts once,
    and counts in full until the last of them has all of it. Readers that keep up count for nothing.

    The worst go first: those with the most waiting, by powers of two, and among these the one that has read nothing for longest.

    :param clock: gives other work its turn between slices.
    :param most: bytes that may wait altogether; 0 means no bound.
    :ivar bytes: what is waiting now.
    :ivar shed: the number of readers disconnected so far.
    :ivar corked: the transports that gather what is written to them.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, most: int) -> None:
        self._clock = clock
        self._most = most
        self.bytes = 0
        self.shed = 0
        self._pins: dict[int, int] = {}  # by identity: while a reader waits for an object, no other object has the same
        self._readers: dict[WaitingReader, None] = {}  # the one that read most recently comes last
        self._leaving: dict[WaitingReader, None] = {}  # shed, but not gone
        self._scheduled = False
        self.corked: dict[Corked, None] = {}

    def __len__(self) -> int:
        """The readers that have something waiting."""
        return len(self._readers) + len(self._leaving)

    # For the transports

    def pin(self, data: bytes) -> None:
        """One more reader waits for these bytes."""
        key = id(data)
        readers = self._pins.get(key, 0)
        self._pins[key] = readers + 1
        if not readers:
            self.bytes += len(data)
            if self._most and self.bytes > self._most:
                self._later()

    def unpin(self, data: bytes) -> None:
        """A reader has them, or is gone."""
        key = id(data)
        readers = self._pins[key] - 1
        if readers:
            self._pins[key] = readers
        else:
            del self._pins[key]
            self.bytes -= len(data)

    def moved(self, reader: WaitingReader) -> None:
        """A reader, perhaps a new one, has just read something."""
        if reader not in self._leaving:
            self._readers.pop(reader, None)
            self._readers[reader] = None

    def gone(self, reader: WaitingReader) -> None:
        """Nothing is waiting for this reader any more."""
        self._readers.pop(reader, None)
        self._leaving.pop(reader, None)

    def uncork(self) -> None:
        """Have all transports send what they gathered."""
        if self.corked:
            for transport in tuple(self.corked):
                transport.uncork()

    # Shedding

    def _later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._shed)

    def _shed(self) -> None:
        self._scheduled = False
        if self.bytes <= self._most:
            return
        enough = self._most - self._most // _HYSTERESIS
        before = self.shed
        for reader in nlargest(_SLICE, self._readers, key=_badness):
            if self.bytes <= enough:
                break
            # Something may wait for it a little longer: its last words.
            self._readers.pop(reader, None)
            self._leaving[reader] = None
            self.shed += 1
            reader.shed()
        if self.shed > before:
            self._log.warn(
                "{count} clients that do not read were disconnected: more waits for them than [limits] outbound allows; {bytes} bytes still wait",
                count=self.shed - before,
                bytes=self.bytes,
            )
        elif self.bytes > self._most:
            for reader in list(islice(self._leaving, _SLICE)):
                self.gone(reader)
                reader.abortConnection()
        if self.bytes > self._most and len(self):
            self._later()


def _badness(reader: WaitingReader) -> int:
    # nlargest keeps the order of equals, so of two with about as much, the one that has been stuck longest goes.
    return reader.waiting.bit_length()
