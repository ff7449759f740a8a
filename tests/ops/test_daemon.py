"""Promises of netsvc.ops.daemon."""

import io
import os
import sys
from typing import Any

from twisted.application.service import Application, Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StartError
from netsvc.ops.composition import OrderedServices
from netsvc.ops.daemon import Daemon, ExitStatus, StatusPipe
from netsvc.ops.health import Health
from netsvc.ops.logs import LineObserver
from netsvc.ops.notify import Notifier, Watchdog
from tests.ops.capture import logged


class Part(Service):
    """A part whose start ends when the test says so."""

    def __init__(self) -> None:
        self.up: Deferred[None] = Deferred()

    def startService(self) -> Any:
        """Wait."""
        super().startService()
        return self.up


class DaemonTests(SynchronousTestCase):
    """Whoever started the process learns how it went."""

    def setUp(self) -> None:
        """A daemon with one part on a reactor in memory."""
        self.reactor = MemoryReactorClock()
        self.stops = 0
        self.reactor.stop = self.count_stop  # type: ignore[method-assign]
        self.sent: list[bytes] = []
        self.stderr = io.StringIO()
        self.part = Part()
        self.publisher = LogPublisher()
        self.health = Health(self.reactor, lambda: succeed(None))
        self.description = lambda: "netsvc serves http://127.0.0.1:8080/"

    def count_stop(self) -> None:
        """As a real reactor: only once."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning

    def daemon(self, options: dict[str, Any] | None = None, observer: Any = None) -> Daemon:
        """The daemon, not yet started."""
        services = OrderedServices(self.reactor)
        services.add("store", self.part, start_deadline=20.0)
        notifier = Notifier("/n", lambda path, data: self.sent.append(data))
        return Daemon(
            self.reactor,
            services,
            options or {},
            observer=observer,
            notifier=notifier,
            health=self.health,
            watchdog=Watchdog(self.reactor, notifier, self.health.answers, 10.0),
            describe=lambda: self.description(),
            publisher=self.publisher,
            stderr=self.stderr,
        )

    def started(self, **options: Any) -> Daemon:
        """The daemon, with its part about to start."""
        daemon = self.daemon(**options)
        daemon.startService()
        self.assertEqual(self.sent, [])
        self.reactor.run()
        self.stops = 0  # the run of a reactor in memory ends at once
        return daemon

    def exit_status(self) -> int | None:
        """What a twistd would exit with, after it has run to its end."""
        try:
            Logger("twisted.scripts._twistd_unix.UnixAppLogger", observer=self.publisher).info("Server Shut Down.")
        except SystemExit as exit:
            return int(str(exit.code))
        return None

    def test_ready(self) -> None:
        """READY, health and the log say so once everything is up, not earlier."""
        events = logged(self, "netsvc.ops.daemon")
        self.started()
        self.assertEqual(self.sent, [b"STATUS=starting store", b"EXTEND_TIMEOUT_USEC=25000000"])
        self.assertEqual(self.successResultOf(self.health.ready())[0], 503)
        self.part.up.callback(None)
        self.assertEqual(self.sent[2:], [b"READY=1\nSTATUS=netsvc serves http://127.0.0.1:8080/", b"WATCHDOG=1"])
        self.assertEqual(self.successResultOf(self.health.ready())[0], 200)
        self.assertEqual(events[-1]["description"], "netsvc serves http://127.0.0.1:8080/")
        self.assertIsNone(self.exit_status())

    def test_stop(self) -> None:
        """An orderly stop says STOPPING, takes readiness away, stops the parts and feeds the watchdog no more."""
        daemon = self.started()
        self.part.up.callback(None)
        self.sent.clear()
        self.successResultOf(daemon.stopService())
        self.assertEqual(self.sent[0], b"STOPPING=1\nSTATUS=stopping")
        self.assertEqual(self.successResultOf(self.health.ready()), (503, {"status": "draining"}))
        self.assertFalse(self.part.running)
        self.sent.clear()
        self.reactor.advance(60)
        self.assertEqual(self.sent, [])

    def test_a_failed_start(self) -> None:
        """One line on stderr, the manager told, the reactor stopped, the exit status as the error says."""
        daemon = self.started()
        self.part.up.errback(StartError("the database is of a newer\nschema", status=65))
        self.assertEqual(self.stderr.getvalue(), "netsvc: cannot start: the database is of a newer schema\n")
        self.assertEqual(self.sent[-1], b"STATUS=netsvc: cannot start: the database is of a newer schema")
        self.assertEqual(self.stops, 1)
        self.assertEqual(self.exit_status(), 65)
        self.successResultOf(daemon.stopService())

    def test_a_failed_start_during_a_stop(self) -> None:
        """A start that fails after the reactor was told to stop does not stop it twice."""
        self.started()
        self.stops = 1
        self.part.up.errback(StartError("no"))
        self.assertEqual(self.exit_status(), 1)

    def test_a_bug_while_coming_up(self) -> None:
        """Even a bug of our own ends in one line and a status."""
        self.description = lambda: str(1 / 0)
        self.started()
        self.part.up.callback(None)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.stderr.getvalue(), "netsvc: cannot start: ZeroDivisionError: division by zero\n")
        self.assertEqual(self.exit_status(), 1)

    def test_a_failure_is_in_a_log_elsewhere(self) -> None:
        """The line is in the log too, unless the log goes to the same terminal."""
        events = logged(self, "netsvc.ops.daemon")
        self.started(observer=LineObserver(io.StringIO(), "text", "info"))
        self.part.up.errback(StartError("no"))
        self.assertEqual([event["line"] for event in events if event["log_level"].name == "critical"], ["netsvc: cannot start: no"])

    def test_a_failure_on_the_terminal_is_one_line(self) -> None:
        """Where log and terminal are the same it is not said twice; without a standard error it is not said at all."""
        events = logged(self, "netsvc.ops.daemon")
        self.patch(sys, "__stderr__", None)
        self.stderr = None  # type: ignore[assignment]
        self.started(observer=LineObserver(sys.__stdout__, "text", "info"))
        self.part.up.errback(StartError("no"))
        self.assertEqual([event["log_level"].name for event in events], ["debug"] * 2)

    def test_stopped_before_it_was_up(self) -> None:
        """A stop during the start is no failure."""
        daemon = self.started()
        self.successResultOf(daemon.stopService())
        self.assertEqual(self.stderr.getvalue(), "")
        self.assertIsNone(self.exit_status())

    def test_the_parent_process_waits(self) -> None:
        """A daemonized twistd's parent hears of success when the parts are up, and of failure with its reason."""
        for outcome, text in ((None, b"0"), (StartError("port in use"), b"1 port in use")):
            self.setUp()
            reading, writing = os.pipe()
            self.addCleanup(os.close, reading)
            options: dict[str, Any] = {"statusPipe": writing}
            self.started(options=options)
            self.assertIsNone(options["statusPipe"])
            if outcome is None:
                self.part.up.callback(None)
            else:
                self.part.up.errback(outcome)
            self.assertEqual(os.read(reading, 1000), text)
            self.assertEqual(os.read(reading, 1000), b"")

    def test_the_observer_is_twistds(self) -> None:
        """twistd finds the observer on the application."""
        application = Application("netsvc")
        observer = LineObserver(io.StringIO(), "text", "info")
        self.daemon(observer=observer).setServiceParent(application)
        self.assertIs(ILogObserver(application), observer)
        self.setUp()
        bare = Application("netsvc")
        self.daemon().setServiceParent(bare)
        self.assertIsNone(bare.getComponent(ILogObserver))


class SmallPiecesTests(SynchronousTestCase):
    """The exit status and the pipe on their own."""

    def test_only_the_last_event_exits(self) -> None:
        """Other events pass."""
        status = ExitStatus(3)
        status({"log_namespace": "netsvc", "log_format": "Server Shut Down."})
        status({"log_namespace": "UnixAppLogger", "log_format": "starting"})
        self.assertRaises(SystemExit, status, {"log_namespace": "UnixAppLogger", "log_format": "Server Shut Down."})

    def test_a_parent_that_is_gone(self) -> None:
        """A pipe that nobody reads is no error, and answering twice neither."""
        reading, writing = os.pipe()
        os.close(reading)
        pipe = StatusPipe({"statusPipe": writing})
        pipe.answer(None)
        pipe.answer(None)
        StatusPipe({}).answer(None)
