"""What the daemon does on signals.

SIGTERM and SIGINT stop it in order; the process then exits 0, whereas twistd by itself would die of the same signal again (143).
SIGHUP, which would kill a twistd, is survived.
"""

import signal
from collections.abc import Callable
from types import FrameType

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import Logger

__all__ = ["install"]

_log = Logger()

SetSignal = Callable[[int, Callable[[int, FrameType | None], None]], object]


def install(reactor: IReactorCore, set_signal: SetSignal = signal.signal) -> None:
    """Take over SIGTERM, SIGINT and SIGHUP, now and once more when the reactor runs.

    Now, because SIGHUP may come before the daemon is up; once more, because ``reactor.run`` installs its own handlers.
    """
    from_threads = IReactorFromThreads(reactor)

    def stop() -> None:
        try:
            reactor.stop()
        except ReactorNotRunning:
            _log.info("already stopping; every step of it has a deadline")

    def on_stop(number: int, frame: FrameType | None) -> None:
        # A signal may interrupt anything: only hand over to the reactor here. Before the reactor runs this waits for its first turn.
        from_threads.callFromThread(_log.info, "stopping on {signal}", signal=signal.Signals(number).name)
        from_threads.callFromThread(stop)

    def on_hangup(number: int, frame: FrameType | None) -> None:
        from_threads.callFromThread(_log.warn, "SIGHUP: reload is not supported yet; restart to apply changed settings")

    def take_over() -> None:
        set_signal(signal.SIGTERM, on_stop)
        set_signal(signal.SIGINT, on_stop)
        set_signal(signal.SIGHUP, on_hangup)

    take_over()
    reactor.callWhenRunning(take_over)
