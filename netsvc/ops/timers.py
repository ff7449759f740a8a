"""Timers that keep running when the machine's clock is set back.

The reactor goes by the wall clock: what is to happen in a second is due at a time of day. After the clock has been set back by an hour, it
would happen an hour late, and so would pings, retention, the check for revoked logins and the answer to systemd's watchdog.
"""

from typing import Any

from twisted.internet.base import ReactorBase
from twisted.logger import Logger

__all__ = ["follow_clock"]

TOLERANCE = 1.0
"""How many seconds the clock may go back before anything is done about it; it goes back a little all the time."""

_log = Logger()


def follow_clock(reactor: Any) -> None:
    """From now on, bring all timers of a reactor forward by as much as its clock is found to have been set back.

    :param reactor: if it is Twisted's, its ``runUntilCurrent``, which looks for timers that are due in each turn, looks at the clock first.
    """
    if not isinstance(reactor, ReactorBase):
        return
    run, seconds = reactor.runUntilCurrent, reactor.seconds
    latest = seconds()

    def turn() -> None:
        nonlocal latest
        now = seconds()
        if now >= latest:
            latest = now
        elif now < latest - TOLERANCE:
            back, latest = latest - now, now
            for call in reactor.getDelayedCalls():
                call.delay(-back)
            _log.warn("the clock was set back by {seconds:.0f} s", seconds=back)
        run()

    reactor.runUntilCurrent = turn  # type: ignore[method-assign]
