"""Promises of netsvc.ops.signals."""

import signal
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from netsvc.ops.signals import install
from tests.ops.capture import logged


@implementer(IReactorFromThreads)
class RecordingReactor(MemoryReactorClock):
    """Keeps what is handed over from signal handlers until `turn`; counts stops."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.stops = 0

    def callFromThread(self, callable: Any, *args: Any, **kw: Any) -> None:
        """Keep the call."""
        self.calls.append((callable, args, kw))

    def turn(self) -> None:
        """Make the calls."""
        while self.calls:
            callable, args, kw = self.calls.pop(0)
            callable(*args, **kw)

    def stop(self) -> None:
        """As a real reactor: the second time is an error."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class SignalsTests(SynchronousTestCase):
    """What each signal does."""

    def setUp(self) -> None:
        """The handlers as installed."""
        self.reactor = RecordingReactor()
        self.handlers: dict[int, Any] = {}
        install(self.reactor, self.handlers.__setitem__)
        self.events = logged(self, "netsvc.ops.signals")

    def test_stop(self) -> None:
        """SIGTERM and SIGINT stop the reactor, from its own turn; a second one is taken note of."""
        self.handlers[signal.SIGTERM](signal.SIGTERM, None)
        self.assertEqual(self.reactor.stops, 0)
        self.reactor.turn()
        self.assertEqual(self.reactor.stops, 1)
        self.handlers[signal.SIGINT](signal.SIGINT, None)
        self.reactor.turn()
        self.assertIn("already stopping", self.events[-1]["log_format"])

    def test_hangup(self) -> None:
        """SIGHUP stops nothing and says so."""
        self.handlers[signal.SIGHUP](signal.SIGHUP, None)
        self.reactor.turn()
        self.assertEqual(self.reactor.stops, 0)
        self.assertEqual(self.events[-1]["log_level"].name, "warn")

    def test_again_when_running(self) -> None:
        """The handlers that reactor.run installs do not stay."""
        self.handlers[signal.SIGTERM] = None
        self.reactor.run()
        self.assertTrue(callable(self.handlers[signal.SIGTERM]))
