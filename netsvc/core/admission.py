"""How many connections may be open, across all protocols."""

from collections import Counter

from netsvc.core.addresses import network_of

__all__ = ["Admission"]


class Admission:
    """Counts connections, in total and by address (IPv6: by /64 network).

    :param most: in total; 0 is no cap.
    :param most_per_address: from one address; 0 is no cap. UNIX sockets have none.
    """

    def __init__(self, most: int = 0, most_per_address: int = 0) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._open = 0
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many connections are open."""
        return self._open

    def admit(self, peer: str) -> bool:
        """Count a new connection; False if the maximum is reached.

        :param peer: its IP address, or ``unix``.
        """
        if self._most and self._open >= self._most:
            return False
        address = _place(peer)
        if self._most_per_address and peer != "unix" and self._addresses[address] >= self._most_per_address:
            return False
        self._open += 1
        self._addresses[address] += 1
        return True

    def left(self, peer: str) -> None:
        """A connection that was admitted has closed."""
        address = _place(peer)
        self._open -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


def _place(peer: str) -> str:
    return network_of(peer) if ":" in peer else peer
