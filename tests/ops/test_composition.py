"""Promises of netsvc.ops.composition."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StartError
from netsvc.ops.composition import OrderedServices, start_error
from tests.ops.capture import logged


class Part(Service):
    """A part that writes what happens to it into `diary` and does as it is told."""

    def __init__(self, diary: list[str], start: Callable[[], Any] = lambda: None, stop: Callable[[], Any] = lambda: None) -> None:
        self.diary = diary
        self.start = start
        self.stop = stop

    def startService(self) -> Any:
        """Note it, then what was asked for."""
        super().startService()
        self.diary.append(f"+{self.name}")
        return self.start()

    def stopService(self) -> Any:
        """Note it, then what was asked for."""
        super().stopService()
        self.diary.append(f"-{self.name}")
        return self.stop()


def raiser(error: Exception) -> Callable[[], None]:
    """A callable that raises."""

    def call() -> None:
        raise error

    return call


class OrderTests(SynchronousTestCase):
    """One after the other, and back."""

    def setUp(self) -> None:
        """An empty composition and a diary."""
        self.clock = Clock()
        self.diary: list[str] = []
        self.progress: list[tuple[str, float]] = []
        self.services = OrderedServices(self.clock, lambda line, seconds: self.progress.append((line, seconds)))

    def add(self, name: str, **does: Callable[[], Any]) -> None:
        """Add a part that does as told."""
        self.services.add(name, Part(self.diary, **does), start_deadline=7.0, stop_deadline=3.0)

    def test_order(self) -> None:
        """A part starts when the one before it is up and stops when the one after it is down."""
        up: Deferred[None] = Deferred()
        down: Deferred[None] = Deferred()
        self.add("store", start=lambda: up)
        self.add("http", stop=lambda: down)
        started = self.services.startService()
        self.assertEqual(self.diary, ["+store"])
        up.callback(None)
        self.successResultOf(started)
        self.assertEqual(self.diary, ["+store", "+http"])
        stopped = self.services.stopService()
        self.assertEqual(self.diary[2:], ["-http"])
        again = self.services.stopService()
        down.callback(None)
        self.successResultOf(stopped)
        self.successResultOf(again)
        self.assertEqual(self.diary[2:], ["-http", "-store"])
        self.assertEqual(self.progress, [("starting store", 7.0), ("starting http", 7.0), ("stopping http", 3.0), ("stopping store", 3.0)])
        self.successResultOf(self.services.stopService())
        self.assertIdentical(self.services.getServiceNamed("store").parent, self.services)

    def test_a_failing_start_undoes_the_others(self) -> None:
        """When one fails, it and those before it are stopped, those after it never start, and its own words come out."""
        error = StartError("the database is corrupt", status=65)
        self.add("store")
        self.add("rooms", start=raiser(error))
        self.add("http")
        failure = self.failureResultOf(self.services.startService(), StartError)
        self.assertIs(failure.value, error)
        self.assertEqual(self.diary, ["+store", "+rooms", "-rooms", "-store"])
        self.successResultOf(self.services.stopService())

    def test_a_bug_at_start_is_logged(self) -> None:
        """An unexpected error gives one line to the operator and its traceback to the log."""
        self.add("http", start=raiser(ZeroDivisionError("oops")))
        failure = self.failureResultOf(self.services.startService(), StartError)
        self.assertEqual(failure.value.detail, "http: ZeroDivisionError: oops")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_start_that_hangs(self) -> None:
        """A part that is not up in time is a failed start."""
        self.add("store")
        self.add("http", start=Deferred)
        started = self.services.startService()
        self.clock.advance(7.0)
        self.assertEqual(self.failureResultOf(started, StartError).value.detail, "http did not start within 7 s")
        self.assertEqual(self.diary, ["+store", "+http", "-http", "-store"])

    def test_a_stop_that_hangs_or_fails(self) -> None:
        """Neither keeps the others from being stopped; both are logged."""
        self.add("store")
        self.add("rooms", stop=raiser(ZeroDivisionError()))
        self.add("http", stop=Deferred)
        self.successResultOf(self.services.startService())
        events = logged(self, "netsvc.ops.composition")
        stopped = self.services.stopService()
        self.assertEqual(self.diary[3:], ["-http"])
        self.clock.advance(3.0)
        self.successResultOf(stopped)
        self.assertEqual(self.diary[3:], ["-http", "-rooms", "-store"])
        self.assertEqual([event["name"] for event in events], ["http", "rooms"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_stopped_while_starting(self) -> None:
        """A stop during the start cancels what is under way and stops it and those before it."""
        cancelled: list[Any] = []
        self.add("store")
        self.add("rooms", start=lambda: Deferred(cancelled.append))
        self.add("http")
        started = self.services.startService()
        self.successResultOf(self.services.stopService())
        self.failureResultOf(started, CancelledError)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.diary, ["+store", "+rooms", "-rooms", "-store"])

    def test_stopped_by_a_part_that_starts(self) -> None:
        """A part that ends up well although the stop has begun does not let the next one start."""
        self.add("rooms", start=lambda: self.services.stopService())
        self.add("http")
        self.failureResultOf(self.services.startService(), CancelledError)
        self.assertNotIn("+http", self.diary)

    def test_a_part_that_fails_when_cancelled(self) -> None:
        """A part that answers its cancellation with an error of its own still ends as a cancelled start."""
        self.add("store", start=lambda: Deferred(lambda d: d.errback(StartError("interrupted"))))
        started = self.services.startService()
        self.successResultOf(self.services.stopService())
        self.failureResultOf(started, StartError)
        self.assertEqual(self.diary, ["+store", "-store"])


class WordsTests(SynchronousTestCase):
    """What a failed start says."""

    def say(self, error: Exception) -> str:
        """The line for an error."""
        return start_error("http", Failure(error), 5.0).detail

    def test_listening(self) -> None:
        """A port in use is named with its address and the system's reason."""
        self.assertEqual(
            self.say(CannotListenError("127.0.0.1", 8080, OSError(98, "Address already in use"))), "cannot listen on 127.0.0.1:8080: Address already in use"
        )
        self.assertEqual(
            self.say(CannotListenError("", 80, OSError(13, "Permission denied"))),
            "cannot listen on *:80: Permission denied; have systemd open a port below 1024 (netsvc.socket), or choose another",
        )
        self.assertEqual(self.say(CannotListenError("", 8080, OSError(13, "Permission denied"))), "cannot listen on *:8080: Permission denied")
        self.assertEqual(self.say(CannotListenError(None, "/run/x", ValueError("odd"))), "cannot listen on /run/x: odd")
        self.assertEqual(self.say(CannotListenError(None, b"/run/x", "Cannot acquire lock")), "cannot listen on /run/x: Cannot acquire lock")

    def test_files(self) -> None:
        """An error of the file system names the file."""
        self.assertEqual(self.say(PermissionError(13, "Permission denied", "/var/lib/x")), "http: /var/lib/x: Permission denied")
        self.assertEqual(self.say(OSError(28, "No space left on device")), "http: No space left on device")
