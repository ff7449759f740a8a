"""``netsvc chat`` as it is used: in a terminal, and in pipes, against the real daemon."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import RpcSocket, post_rpc
from tests.system.daemon import Daemon
from tests.system.programs import eventually

DEADLINE = 30.0
COMMAND = [sys.executable, "-m", "netsvc.cli", "chat"]
ORDERS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program in a terminal of its own, of 24 lines and 100 columns.

    :ivar output: all that it has written.
    """

    def __init__(self, command: list[str]) -> None:
        self.output = b""
        self._lock = threading.Lock()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # pragma: no cover - the child is measured by itself
            os.environ.update(TERM="xterm-256color", NO_PROXY="*")
            os.execv(command[0], command)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.status: int | None = None

    def read(self, seconds: float = 0.05) -> str:
        """Take what it writes; gives all of it so far, without what moves the cursor or colours."""
        while select.select([self._fd], [], [], seconds)[0]:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                break
            self.output += data
            if b"\x1b[6n" in data:
                # It asks where the cursor is, as terminals answer.
                os.write(self._fd, b"\x1b[1;1R")
        return ORDERS.sub("", self.output.decode("utf-8", "replace"))

    def sees(self, text: str) -> None:
        """Wait until a text has been shown."""
        eventually(lambda: text in self.read(), DEADLINE, f"{text!r} in {self.read()!r}")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def ended(self) -> int:
        """Wait for its end; the exit status."""

        def over() -> bool:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return bool(pid)

        eventually(over, DEADLINE, "the end")
        assert self.status is not None
        return self.status

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


class ChatCase(SynchronousTestCase):
    """A daemon."""

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon("[limits]\nrate = off\n")
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def arguments(self, *further: str) -> list[str]:
        """The command for this daemon's lobby."""
        return [*COMMAND, "lobby", "--url", self.daemon.url, *further]

    def run_chat(self, *further: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(self.arguments(*further), input=text, capture_output=True, text=True, timeout=60, check=False)

    def post(self, text: str) -> Any:
        """Say something by other means."""
        return post_rpc(self.daemon.url, "chat.post", {"room": "lobby", "text": text})

    def texts(self) -> list[str]:
        """What is stored."""
        return [event["text"] for event in post_rpc(self.daemon.url, "chat.history", {"room": "lobby", "limit": 200})["events"]]


class InATerminal(ChatCase):
    """For people."""

    def open(self, *further: str) -> Terminal:
        """Open it."""
        terminal = Terminal(self.arguments(*further))
        self.addCleanup(terminal.close)
        return terminal

    def test_conversation(self) -> None:
        """History, what others say while a line is being typed, what one says oneself, who is here; Ctrl-D ends it."""
        self.post("said before")
        terminal = self.open("--name", "walter")
        terminal.sees("> said before")
        terminal.sees("connected")
        terminal.type("half a ")
        terminal.sees("half a")
        with RpcSocket(self.daemon.websocket_url) as other:
            other.call("auth.login", name="ann")
            other.call("chat.post", room="lobby", text="meanwhile @walter")
            terminal.sees("<ann> meanwhile @walter")
            other.call("chat.join", room="lobby")
            terminal.type("line\r")
            self.assertEqual(other.event()["text"], "half a line")
            terminal.sees("<walter> half a line")
            terminal.sees("ann is here")
            terminal.type("/who\r")
            terminal.sees("2 here: ")
        terminal.type("\x04")
        self.assertEqual(terminal.ended(), 0)

    def test_orders_to_the_terminal(self) -> None:
        """Nobody can give orders to another's terminal: title, clearing, colours, bells, the direction of writing."""
        self.post("\x1b]0;evil\x07\x1b[2J\x9b31m\u202eevil\r<ann> forged\n12:00 <bob> forged")
        terminal = self.open()
        terminal.sees("forged")
        terminal.sees("connected")
        terminal.type("/quit\r")
        self.assertEqual(terminal.ended(), 0)
        for order in (b"\x1b]0;evil", b"\x07", "\x9b".encode(), "\u202e".encode()):
            self.assertNotIn(order, terminal.output)
        self.assertIn("␛]0;evil␇␛[2J", terminal.output.decode())
        # Further lines are indented: none begins like another's message.
        self.assertNotRegex(ORDERS.sub("", terminal.output.decode()), r"\r\n\s?12:00 <bob>")

    def test_comes_back(self) -> None:
        """The daemon is killed: that is shown, what is written meanwhile is sent once when it is back, and what was said is there once."""
        terminal = self.open()
        terminal.type("before\r")
        terminal.sees("> before")
        self.daemon.kill()
        terminal.sees("no connection")
        terminal.type("while away\r")
        terminal.sees("1 to be sent")
        self.daemon.start()
        terminal.sees("connected again")
        terminal.sees("> while away")
        self.post("after")
        terminal.sees("> after")
        terminal.type("/quit\r")
        self.assertEqual(terminal.ended(), 0)
        self.assertEqual(self.texts(), ["before", "while away", "after"])
        for text in self.texts():
            self.assertEqual(len(re.findall(rf"<\S+> {text}", terminal.read())), 1, text)

    def test_refused(self) -> None:
        """A name that cannot be had, and a server that is not there, are told at once, with the status for it."""
        terminal = self.open("--name", "a b")
        self.assertEqual(terminal.ended(), 2)
        self.assertIn("netsvc: invalid params: name:", terminal.read())
        self.daemon.kill()
        terminal = self.open()
        self.assertEqual(terminal.ended(), 7)
        self.assertIn("cannot reach", terminal.read())


class InPipes(ChatCase):
    """For programs."""

    def test_posts(self) -> None:
        """``--post`` and lines of standard input; nothing is printed."""
        done = self.run_chat("--post", "one", "--post", "two")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.run_chat("--name", "walter", text="three\n\nfour\n")
        self.assertEqual(self.texts(), ["one", "two", "three", "four"])

    def tail(self, *further: str) -> "subprocess.Popen[str]":
        """Start ``--tail --json``."""
        process = subprocess.Popen(
            self.arguments("--tail", "--json", *further), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, bufsize=1
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def lines(self, process: "subprocess.Popen[str]", count: int) -> list[dict[str, Any]]:
        """The next so many lines."""
        assert process.stdout is not None
        return [json.loads(process.stdout.readline()) for _ in range(count)]

    def test_tail(self) -> None:
        """One event a line, from a cursor on and over a kill of the daemon; SIGINT ends it with status 0."""
        first = self.post("one")
        self.post("two")
        process = self.tail("--after", first["cursor"])
        self.assertEqual([event["text"] for event in self.lines(process, 1)], ["two"])
        self.daemon.kill()
        self.daemon.start()
        self.post("three")
        (event,) = self.lines(process, 1)
        self.assertEqual((event["seq"], event["text"], event["type"]), (3, "three", "message"))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE), 0)
        assert process.stderr is not None
        self.assertNotIn("Traceback", process.stderr.read())

    def test_reader_goes(self) -> None:
        """When who reads goes, it ends, with status 0 and without a word, also if nothing is being said."""
        self.post("one")
        process = self.tail("--limit", "1")
        self.lines(process, 1)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        self.assertEqual(process.wait(DEADLINE), 0)
        self.assertEqual(process.stderr.read(), "")

    def test_errors(self) -> None:
        """A server that is not there is 7, a room that cannot be is 2; before any waiting for lines."""
        bad = subprocess.run([*COMMAND, "no room", "--url", self.daemon.url, "--tail"], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((bad.returncode, bad.stdout), (2, ""))
        self.assertTrue(bad.stderr.startswith("netsvc: invalid params: room:"))
        self.daemon.stop()
        began = time.monotonic()
        self.assertEqual(self.run_chat("--post", "x").returncode, 7)
        self.assertLess(time.monotonic() - began, DEADLINE)
