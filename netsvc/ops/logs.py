"""The log as operators read it: one line per event for people, or one JSON object per line for programs.

An event is what `twisted.logger` calls one. The fields that say whom it concerns (`FIELDS`) are given to the logger as keyword
arguments and follow the message as ``key=value``. Log to it anywhere with ``Logger().info("…", peer=…, request_id=…)``.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import IO, Any, Literal

import msgspec
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

from netsvc.ops.redaction import HIDDEN, redact, secret_name

__all__ = ["FIELDS", "LineObserver", "LogFormat", "LogLevelName", "destination", "goes_to_journal", "json_line", "observer_for", "text_line"]

LogFormat = Literal["text", "json"]
LogLevelName = Literal["debug", "info", "warn", "error"]

REPEATED_AFTER = 60.0
"""For how many seconds a line that clients can cause endlessly is not written again."""

FIELDS = ("identity", "room", "peer", "request_id")
"""The fields that say whom an event concerns."""

_LEVELS = {level: number for number, level in enumerate((LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical))}
_NAMES = {LogLevel.critical: "fatal"}
_PRIORITIES = {LogLevel.debug: 7, LogLevel.info: 6, LogLevel.warn: 4, LogLevel.error: 3, LogLevel.critical: 2}
_COLOURS = {LogLevel.debug: "2", LogLevel.warn: "33", LogLevel.error: "31", LogLevel.critical: "1;31"}

_QUIET_FORMATS = ("Starting factory", "Stopping factory", "EMFILE recovery", "Re-reserving EMFILE")
_REPEATED_FORMATS = ("EMFILE encountered", "Could not accept new connection")
"""What Twisted logs about connections that it cannot accept, each time clients try."""
_QUIET_NAMESPACES = ("twisted.internet.base", "twisted.scripts.", "twisted.application.")
_QUIET_LEGACY = (" starting on ", " Closed)", "Starting protocol", "Stopping protocol", "Unable to write to plugin cache")

# Characters that could start a new line, move a terminal's cursor or change the reading direction: shown, not obeyed.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_CONTROLS[ord("\n")], _CONTROLS[ord("\t")] = "\\n", "\\t"


@lru_cache(maxsize=2)
def _second(second: int) -> tuple[str, str]:
    local = time.localtime(second)
    offset = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{offset[:3]}:{offset[3:]}"


def _timestamp(seconds: float) -> str:
    """RFC 3339 in local time with milliseconds."""
    milliseconds = int(seconds * 1000)
    front, back = _second(milliseconds // 1000)
    return f"{front}.{milliseconds % 1000:03d}{back}"


def _is_legacy(event: LogEvent) -> bool:
    return event.get("log_namespace") == "log_legacy"


def _level(event: LogEvent) -> Any:
    """The event's level; what Twisted logs at every start and stop counts as debug."""
    level = event.get("log_level", LogLevel.info)
    if level is LogLevel.info:
        template = event.get("log_format") or ""
        if template.startswith(_QUIET_FORMATS) or event.get("log_namespace", "").startswith(_QUIET_NAMESPACES):
            return LogLevel.debug
        if _is_legacy(event) and any(part in event.get("log_text", "") for part in _QUIET_LEGACY):
            return LogLevel.debug
    return level


def _message_and_trace(event: LogEvent) -> tuple[str, list[str]]:
    """The message without line breaks, and the lines of a traceback; secrets and control characters replaced in both."""
    message = redact(formatEvent(event))
    trace: list[str] = []
    if _is_legacy(event):  # log.err() formats its traceback into the text
        message, *trace = message.split("\n")
    elif isinstance(failure := event.get("log_failure"), Failure):
        trace = redact(failure.getTraceback()).split("\n")
    return message.translate(_CONTROLS), [line.translate(_CONTROLS) for line in trace if line.strip()]


def _value(value: object) -> str:
    """A field's value as text: the name of an identity, else its own."""
    return str(getattr(value, "name", value))


def _plain(text: str) -> str:
    """`text` if it reads as one word, else as a JSON string."""
    text = text.translate(_CONTROLS)
    return text if text and not any(character in text for character in ' "=\\') else msgspec.json.encode(text).decode()


def text_line(event: LogEvent, *, timestamp: bool = True, colour: bool = False) -> str:
    """An event for people: time, level, namespace, message, ``key=value``; a traceback follows indented. Ends with a newline."""
    level = _level(event)
    name = f"{_NAMES.get(level, level.name):<5}"
    if colour and level in _COLOURS:
        name = f"\x1b[{_COLOURS[level]}m{name}\x1b[0m"
    message, trace = _message_and_trace(event)
    fields = "".join(f" {key}={redact(_plain(_value(event[key])))}" for key in FIELDS if event.get(key) is not None)
    front = f"{_timestamp(event.get('log_time', 0.0))} " if timestamp else ""
    lines = [f"{front}{name} [{event.get('log_namespace', '-')}] {message}{fields}", *(f"    {line}" for line in trace), ""]
    return "\n".join(lines)


def json_line(event: LogEvent) -> str:
    """An event for programs: ``time``, ``level``, ``namespace``, ``message``, any other plain values of the event, ``traceback``."""
    message, trace = _message_and_trace(event)
    line: dict[str, Any] = {
        "time": _timestamp(event.get("log_time", 0.0)),
        "level": _level(event).name,
        "namespace": event.get("log_namespace", "-"),
        "message": message,
    }
    for key, value in () if _is_legacy(event) else event.items():
        if key.startswith("log_") or key in line or value is None:
            continue
        if secret_name(key):
            line[key] = HIDDEN
        elif isinstance(value, bool | int | float):
            line[key] = value
        elif isinstance(value, str) or key in FIELDS:
            line[key] = redact(_value(value))
    if trace:
        line["traceback"] = "\n".join(trace)
    return msgspec.json.encode(line).decode() + "\n"


@implementer(ILogObserver)
class LineObserver:
    """Writes each event of a level or above to a text stream, at once.

    :param stream: a text stream with ``flush``.
    :param level: the lowest level written.
    :param journal: the stream is read by journald: each line begins with its priority (sd-daemon(3)) instead of the time.
    """

    def __init__(self, stream: Any, format: LogFormat, level: LogLevelName, *, journal: bool = False) -> None:
        self.stream = stream
        self._json = format == "json"
        self._least = _LEVELS[LogLevel.lookupByName(level)]
        self._journal = journal
        self._last_written: dict[str, float] = {}
        """When each line that clients can cause endlessly was last written: its template to the event's time."""
        self._colour = not journal and "NO_COLOR" not in os.environ and getattr(stream, "isatty", lambda: False)()

    def __call__(self, event: LogEvent) -> None:
        """Write the event if its level is high enough."""
        level = _level(event)
        if _LEVELS.get(level, 0) < self._least or self._is_repeated(event):
            return
        text = json_line(event) if self._json else text_line(event, timestamp=not self._journal, colour=self._colour)
        if self._journal:
            prefix = f"<{_PRIORITIES[level]}>"
            text = "".join(f"{prefix}{line}\n" for line in text.splitlines())
        self.stream.write(text)
        self.stream.flush()

    def _is_repeated(self, event: LogEvent) -> bool:
        template = event.get("log_format") or ""
        if not template.startswith(_REPEATED_FORMATS):
            return False
        now = event.get("log_time", 0.0)
        last = self._last_written.get(template)
        if last is not None and abs(now - last) < REPEATED_AFTER:
            return True
        self._last_written[template] = now
        return False


def goes_to_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """True if journald reads what is written to `descriptor` (``$JOURNAL_STREAM``, systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def destination(options: Mapping[str, Any], reactor: IReactorFromThreads, stdout: IO[str]) -> Any:
    """The stream that twistd's options ask for: ``--logfile``, standard output with ``-n``, else ``twistd.log``.

    A file is rotated by twistd's own rules: at its size, and on SIGUSR1.

    :return: None if the operator chose a way of logging (``--logger``, ``--syslog``) that is to be left alone.
    """
    if options.get("logger") or options.get("syslog"):
        return None
    path = options.get("logfile")
    if path == "-" or (not path and options.get("nodaemon")):
        return stdout
    file = LogFile.fromFullPath(path or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(file.rotate))
    return file


def observer_for(options: Mapping[str, Any], reactor: IReactorFromThreads, format: LogFormat, level: LogLevelName) -> LineObserver | None:
    """The observer that twistd is to log with, None to leave it alone; see `destination`."""
    stream = destination(options, reactor, sys.stdout)
    if stream is None:
        return None
    return LineObserver(stream, format, level, journal=stream is sys.stdout and goes_to_journal(os.environ, 1))
