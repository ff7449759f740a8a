"""What a connection waits for, and for how long."""

from collections.abc import Callable, Sequence

from netsvc.net.wheel import TimingWheel
from netsvc.wire.http1 import BETWEEN, IN_BODY, IN_HEAD

__all__ = ["ANSWER", "BODY", "END", "HALF", "HEAD", "IDLE", "OPEN", "SILENCE", "WRITE", "Deadline"]

# Indexes into the times. The first three are the places of a RequestReader.
IDLE = BETWEEN  # the next request
HEAD = IN_HEAD  # the rest of a request's head
BODY = IN_BODY  # the rest of its body
SILENCE = 3  # the first byte of a new connection
ANSWER = 4  # the handler
WRITE = 5  # the client to read
END = 6  # the connection to be gone
OPEN = 7  # nothing that has a deadline
HALF = 8  # an answer for a client that has stopped sending


class Deadline:
    """The one deadline of a connection. Moving it away costs nothing: the wheel hears of it only when it comes nearer or passes.

    :param times: how long each thing may take, in ticks of the wheel.
    :param passed: called with what was being waited for.
    :ivar what: what is waited for.
    """

    __slots__ = ("_due", "_passed", "_times", "_wheel", "what", "wheel_slot")

    def __init__(self, wheel: TimingWheel, times: Sequence[int], passed: Callable[[int], None]) -> None:
        self._wheel = wheel
        self._times = times
        self._passed = passed
        self._due = 0
        self.what = SILENCE
        self.wheel_slot: int | None = None

    def wait_for(self, what: int) -> None:
        """Begin to wait for something, or begin anew."""
        self.what = what
        slot = self.wheel_slot
        if slot is None:
            self._wheel.wake()
        self._due = due = self._wheel.now + self._times[what]
        if slot is None or slot > due:
            self._wheel.add_at(self, due)

    def expired(self) -> None:
        """See WheelEntry."""
        if self._due > self._wheel.now:
            self._wheel.add_at(self, self._due)
        else:
            self._passed(self.what)

    def cancel(self) -> None:
        """Stop waiting, for good."""
        self._wheel.cancel(self)
        self._passed = _nobody


def _nobody(what: int) -> None:
    """The connection is gone."""
