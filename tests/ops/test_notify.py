"""Promises of netsvc.ops.notify."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.ops.notify import Notifier, Watchdog, address, message, watchdog_interval
from tests.ops.capture import logged


class FormsTests(SynchronousTestCase):
    """What the environment says, and what a datagram looks like."""

    def test_address(self) -> None:
        """A path is taken as it is, an abstract name gets its NUL, anything else is nothing."""
        self.assertEqual(address({"NOTIFY_SOCKET": "/run/systemd/notify"}), "/run/systemd/notify")
        self.assertEqual(address({"NOTIFY_SOCKET": "@a/b"}), "\0a/b")
        self.assertIsNone(address({"NOTIFY_SOCKET": "vsock:2:1"}))
        self.assertIsNone(address({}))

    def test_watchdog_interval(self) -> None:
        """The interval is in microseconds, and only for the process it names."""
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "30000000"}, 7), 30.0)
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 7), 0.5)
        self.assertIsNone(watchdog_interval({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, 7))
        self.assertIsNone(watchdog_interval({"WATCHDOG_USEC": "soon"}, 7))
        self.assertIsNone(watchdog_interval({"WATCHDOG_USEC": "0"}, 7))
        self.assertIsNone(watchdog_interval({}, 7))

    def test_a_value_is_one_line(self) -> None:
        """No value can add a variable of its own."""
        self.assertEqual(message(STATUS="a\nREADY=1\r\n b", READY=1), b"STATUS=a READY=1 b\nREADY=1")


class NotifierTests(SynchronousTestCase):
    """What is sent when."""

    def setUp(self) -> None:
        """A manager that keeps what it is sent."""
        self.sent: list[bytes] = []
        self.notifier = Notifier("/n", lambda path, data: self.sent.append(data))

    def test_life(self) -> None:
        """Each state of the daemon's life is one datagram."""
        self.notifier.extend(2.5)
        self.notifier.ready("serving")
        self.notifier.alive()
        self.notifier.stopping("bye")
        self.assertEqual(self.sent, [b"EXTEND_TIMEOUT_USEC=2500000", b"READY=1\nSTATUS=serving", b"WATCHDOG=1", b"STOPPING=1\nSTATUS=bye"])
        self.assertTrue(self.notifier.wanted)

    def test_reloading_says_when(self) -> None:
        """RELOADING comes with the monotonic time, without which a reload hangs."""
        self.notifier.reloading("reading settings")
        self.assertRegex(self.sent[0], rb"^RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=reading settings$")

    def test_the_same_status_is_sent_once(self) -> None:
        """A status line that has not changed is not sent again."""
        self.notifier.status("a")
        self.notifier.status("a")
        self.notifier.status("b")
        self.assertEqual(self.sent, [b"STATUS=a", b"STATUS=b"])

    def test_no_manager(self) -> None:
        """Without a manager nothing is sent and nothing fails."""
        notifier = Notifier.from_environment({})
        notifier.ready("serving")
        self.assertFalse(notifier.wanted)

    def test_a_deaf_manager_is_logged_once(self) -> None:
        """A failing send never raises; it is logged when it begins, and again only after one that worked."""
        outcomes = [OSError("full"), OSError("full"), None, OSError("full")]

        def send(path: str, data: bytes) -> None:
            if error := outcomes.pop(0):
                raise error

        events = logged(self, "netsvc.ops.notify")
        notifier = Notifier("/n", send)
        for _ in range(4):
            notifier.alive()
        self.assertEqual([event["log_level"].name for event in events], ["warn", "warn"])


class WatchdogTests(SynchronousTestCase):
    """The watchdog is fed by answers."""

    def setUp(self) -> None:
        """A manager that keeps what it is sent, and a probe that answers."""
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.answer: Callable[[], Deferred[bool]] = lambda: succeed(True)

    def watchdog(self, path: str | None = "/n", interval: float | None = 10.0) -> Watchdog:
        """A watchdog over `self.answer`."""
        notifier = Notifier(path, lambda path, data: self.sent.append(data))
        return Watchdog(self.clock, notifier, lambda: self.answer(), interval)

    def test_twice_an_interval(self) -> None:
        """It is fed at once and then twice in each interval, until stopped."""
        watchdog = self.watchdog()
        watchdog.start()
        self.clock.pump([5.0, 5.0])
        self.assertEqual(self.sent, [b"WATCHDOG=1"] * 3)
        watchdog.stop()
        watchdog.stop()
        self.clock.advance(60)
        self.assertEqual(len(self.sent), 3)

    def test_not_without_an_answer(self) -> None:
        """No answer, no food, and the log says so."""
        self.answer = lambda: succeed(False)
        events = logged(self, "netsvc.ops.notify")
        self.watchdog().start()
        self.assertEqual(self.sent, [])
        self.assertEqual(events[0]["log_level"].name, "error")

    def test_a_slow_answer_feeds_late(self) -> None:
        """While an answer is outstanding nothing else is asked; it feeds when it comes, and the ticks go on."""
        pending: Deferred[bool] = Deferred()
        self.answer = lambda: pending
        self.watchdog().start()
        self.clock.pump([5.0, 1.0])
        self.assertEqual(self.sent, [])
        pending.callback(True)
        self.answer = lambda: succeed(True)
        self.clock.advance(4.0)
        self.assertEqual(self.sent, [b"WATCHDOG=1"] * 2)

    def test_a_broken_probe_does_not_end_the_ticks(self) -> None:
        """A probe that raises is logged; the next tick asks again."""
        self.answer = lambda: fail(ZeroDivisionError())
        self.watchdog().start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.answer = lambda: succeed(True)
        self.clock.advance(5.0)
        self.assertEqual(self.sent, [b"WATCHDOG=1"])

    def test_only_where_it_is_wanted(self) -> None:
        """Without an interval or without a manager the probe is never asked."""
        self.answer = lambda: fail(AssertionError("asked"))
        self.watchdog(interval=None).start()
        self.watchdog(path=None).start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
