"""Promises of netsvc.ops.logs."""

import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.python.log import LogPublisher as LegacyPublisher
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.identity import Identity
from netsvc.ops.logs import LineObserver, destination, goes_to_journal, observer_for


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """True."""
        return True


class LinesTests(SynchronousTestCase):
    """What is written for an event."""

    def write(self, format: Any = "text", level: Any = "info", stream: io.StringIO | None = None, **options: bool) -> tuple[Logger, io.StringIO]:
        """A logger and the stream that its observer writes to."""
        stream = stream or io.StringIO()
        return Logger("netsvc.test", observer=LineObserver(stream, format, level, **options)), stream

    def test_text(self) -> None:
        """One line: time with offset, level, namespace, message, and whom it concerns as key=value."""
        log, stream = self.write()
        log.info("{method} {path}", method="GET", path="/", peer="127.0.0.1", request_id="ab12", identity=Identity("ann", ("member",)), room=None)
        self.assertRegex(
            stream.getvalue(),
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d info  \[netsvc.test\] GET / identity=ann peer=127.0.0.1 request_id=ab12\n$",
        )

    def test_an_event_is_one_line(self) -> None:
        """Nothing that clients choose can begin a line, move the cursor or turn the reading direction."""
        log, stream = self.write()
        log.info("said {text}", text="a\nfake line\x1b[2J\u202e\u2028", peer="a b\n")
        self.assertEqual(stream.getvalue().count("\n"), 1)
        self.assertIn(r'said a\nfake line\x1b[2J\u202e\u2028 peer="a b\\n"', stream.getvalue())

    def test_traceback(self) -> None:
        """A failure's traceback follows, indented, so that no line of it looks like an event."""
        log, stream = self.write()
        log.failure("it broke", Failure(ValueError("first\nsecond")))
        first, *rest = stream.getvalue().splitlines()
        self.assertIn("fatal [netsvc.test] it broke", first)
        self.assertTrue(rest)
        self.assertTrue(all(line.startswith("    ") for line in rest), rest)

    def test_legacy_failure(self) -> None:
        """What log.err writes looks the same."""
        stream = io.StringIO()
        publisher = LegacyPublisher(publishPublisher=LogPublisher(LineObserver(stream, "text", "info")))
        publisher.msg(failure=Failure(ValueError("bad")), why="it broke", isError=1)
        first, *rest = stream.getvalue().splitlines()
        self.assertIn("fatal [log_legacy] it broke", first)
        self.assertTrue(all(line.startswith("    ") for line in rest), rest)

    def test_level(self) -> None:
        """Events below the level are not written."""
        log, stream = self.write(level="warn")
        log.debug("a")
        log.info("b")
        log.warn("c")
        log.critical("d")
        self.assertEqual([line[-1] for line in stream.getvalue().splitlines()], ["c", "d"])

    def test_twisted_is_quiet(self) -> None:
        """What Twisted says at each start and stop of a port is for debugging only; its other lines stay."""
        for level, lines in (("info", 1), ("debug", 4)):
            log, stream = self.write(level=level)
            log.info("Starting factory {factory!r}", factory=1)
            Logger("twisted.internet.base", observer=log.observer).info("Main loop terminated.")
            legacy = LegacyPublisher(publishPublisher=LogPublisher(log.observer))
            legacy.msg("HttpFactory starting on 8080")
            legacy.msg("an old program's own line")
            self.assertEqual(len(stream.getvalue().splitlines()), lines, stream.getvalue())

    def test_colours_on_a_terminal_only(self) -> None:
        """The level is coloured on a terminal, unless NO_COLOR is set; an ordinary event is not."""
        self.patch(os, "environ", {})
        log, stream = self.write(stream=Terminal())
        log.info("a")
        self.assertNotIn("\x1b", stream.getvalue())
        log.error("b")
        self.assertIn("\x1b[31merror\x1b[0m", stream.getvalue())
        self.patch(os, "environ", {"NO_COLOR": "1"})
        log, stream = self.write(stream=Terminal())
        log.error("b")
        self.assertNotIn("\x1b", stream.getvalue())

    def test_json(self) -> None:
        """One JSON object a line with the event's plain values."""
        log, stream = self.write("json")
        log.info("{status}", status=200, duration=0.5, ok=True, path="/", identity=Identity("ann", ()), room=None, other=object(), peer="::1")
        line = json.loads(stream.getvalue())
        self.assertRegex(line.pop("time"), r"^\d{4}-.*[+-]\d\d:\d\d$")
        self.assertEqual(
            line,
            {"level": "info", "namespace": "netsvc.test", "message": "200"}
            | {"status": 200, "duration": 0.5, "ok": True, "path": "/", "identity": "ann", "peer": "::1"},
        )

    def test_json_traceback(self) -> None:
        """A traceback is one string in the object."""
        log, stream = self.write("json")
        log.failure("it broke", Failure(ValueError("bad")))
        self.assertIn("ValueError: bad", json.loads(stream.getvalue())["traceback"])

    def test_journal(self) -> None:
        """For journald each line begins with its priority and has no time."""
        log, stream = self.write(journal=True)
        log.info("a")
        log.failure("b", Failure(ValueError("bad")))
        lines = stream.getvalue().splitlines()
        self.assertEqual(lines[0], "<6>info  [netsvc.test] a")
        self.assertTrue(all(line.startswith("<2>") for line in lines[1:]))

    def test_no_secret_is_written(self) -> None:
        """Neither format writes a secret that came in a message, a field or an exception."""
        for format in ("text", "json"):
            log, stream = self.write(format)
            log.info("GET {path}", path="/ws?token=hunter2", password="hunter2", peer="token=hunter2", header="Bearer hunter2")
            log.failure("bad login", Failure(ValueError("{'password': 'hunter2'}")))
            self.assertNotIn("hunter2", stream.getvalue())
            self.assertIn("***", stream.getvalue())

    def test_an_event_without_anything(self) -> None:
        """An event that lacks the usual keys is still written."""
        stream = io.StringIO()
        LineObserver(stream, "text", "info")({"log_format": "bare", "log_level": LogLevel.info})
        self.assertRegex(stream.getvalue(), r"info  \[-\] bare\n$")

    def test_repeated(self) -> None:
        """A client that opens connections when there is no file descriptor left cannot fill the disk: once a minute is enough."""
        stream = io.StringIO()
        observer = LineObserver(stream, "text", "info")
        for second in range(0, 130, 10):
            for template in ("EMFILE encountered; releasing reserved file descriptor.", "EMFILE recovery: Closed socket from {address}"):
                observer({"log_format": template, "log_level": LogLevel.info, "log_namespace": "x", "log_time": float(second), "address": "a"})
        self.assertEqual(len(stream.getvalue().splitlines()), 3)
        self.assertEqual(stream.getvalue().count("EMFILE encountered"), 3)


class DestinationTests(SynchronousTestCase):
    """Where twistd's options send the log."""

    def setUp(self) -> None:
        """No signal of this process is touched."""
        self.reactor = MemoryReactorClock()
        self.signals: dict[int, Any] = {}
        self.patch(signal, "getsignal", lambda number: self.signals.get(number, signal.SIG_DFL))
        self.patch(signal, "signal", self.signals.__setitem__)

    def test_standard_output(self) -> None:
        """In the foreground it is standard output, unless a file is named."""
        out = io.StringIO()
        self.assertIs(destination({"nodaemon": True, "logfile": None}, self.reactor, out), out)
        self.assertIs(destination({"nodaemon": 1, "logfile": "-"}, self.reactor, out), out)

    def test_file(self) -> None:
        """A named file is written to and rotated on SIGUSR1."""
        path = Path(self.mktemp())
        file = destination({"nodaemon": True, "logfile": str(path)}, self.reactor, io.StringIO())
        observer = LineObserver(file, "text", "info")
        log = Logger("netsvc.test", observer=observer)
        log.info("before")
        calls: list[Any] = []
        self.reactor.callFromThread = calls.append  # type: ignore[method-assign]
        self.signals[signal.SIGUSR1](signal.SIGUSR1, None)
        calls[0]()
        log.info("after")
        file.close()
        self.assertIn("after", path.read_text())
        self.assertIn("before", path.with_name(path.name + ".1").read_text())

    def test_daemonized(self) -> None:
        """In the background it is twistd.log; a SIGUSR1 handler that is there already is left alone."""
        self.signals[signal.SIGUSR1] = print
        file = destination({"logfile": None}, self.reactor, io.StringIO())
        self.addCleanup(os.remove, file.path)
        file.close()
        self.assertEqual(os.path.basename(file.path), "twistd.log")
        self.assertIs(self.signals[signal.SIGUSR1], print)

    def test_the_operators_choice(self) -> None:
        """With --logger or --syslog twistd logs as it was told."""
        self.assertIsNone(observer_for({"logger": print}, self.reactor, "text", "info"))
        self.assertIsNone(observer_for({"syslog": 1}, self.reactor, "text", "info"))

    def test_observer(self) -> None:
        """The observer writes where the options say."""
        observer = observer_for({"nodaemon": True}, self.reactor, "text", "info")
        assert observer is not None
        self.assertIs(observer.stream, sys.stdout)

    def test_journal(self) -> None:
        """journald is known by the stream's device and inode."""
        with open(os.devnull) as file:
            status = os.fstat(file.fileno())
            self.assertTrue(goes_to_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, file.fileno()))
            self.assertFalse(goes_to_journal({"JOURNAL_STREAM": "1:2"}, file.fileno()))
            self.assertFalse(goes_to_journal({}, file.fileno()))
        self.assertFalse(goes_to_journal({}, -1))
