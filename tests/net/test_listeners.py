"""Listeners: opened in order, closed together, told as URLs."""

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from netsvc.errors import StartError
from netsvc.net import listeners as module
from netsvc.net.listeners import Listeners, is_loopback


class LoopbackTests(TestCase):
    """Who can reach an endpoint."""

    def test_loopback(self) -> None:
        """A loopback address, localhost or a UNIX socket."""
        for endpoint in (
            "tcp:8080:interface=127.0.0.1",
            "tcp:8080:interface=127.9.9.9",
            "tcp:8080:interface=localhost",
            r"tcp6:8080:interface=\:\:1",
            r"tls:/certificates:443:interface=\:\:1",
            "ssl:443:privateKey=k.pem:interface=127.0.0.1",
            "unix:/run/netsvc.sock",
        ):
            self.assertTrue(is_loopback(endpoint), endpoint)

    def test_not_loopback(self) -> None:
        """Everything else, what is not known included: who opens a door by mistake should not let guests in as well."""
        for endpoint in (
            "tcp:8080",
            "tcp:8080:interface=0.0.0.0",
            "tcp:8080:interface=192.0.2.1",
            "tcp:8080:interface=example.org",
            r"tcp6:8080:interface=\:\:",
            "systemd:domain=INET:index=0",
            "haproxy:tcp:8080:interface=127.0.0.1",
        ):
            self.assertFalse(is_loopback(endpoint), endpoint)


class ListenersTests(TestCase):
    """On the loopback interface, for real."""

    def listeners(self, *endpoints: str) -> Listeners:
        """Listeners that are closed when the test ends."""
        listeners = Listeners(reactor, endpoints, Factory.forProtocol(Protocol))
        self.addCleanup(listeners.stopService)
        return listeners

    def test_urls(self) -> None:
        """Each is told as a browser finds it."""
        path = Path(self.mktemp())
        listeners = self.listeners("tcp:0:interface=127.0.0.1", f"unix:{path}")
        self.successResultOf(listeners.startService())
        self.assertEqual(len(listeners), 2)
        first, second = listeners.urls()
        self.assertRegex(first, r"^http://127\.0\.0\.1:\d+/$")
        self.assertEqual(second, f"unix:{path}")

    def test_any_address(self) -> None:
        """An address that means all is told as localhost."""
        listeners = self.listeners("tcp:0")
        self.successResultOf(listeners.startService())
        self.assertRegex(listeners.urls()[0], r"^http://localhost:\d+/$")

    def test_in_use(self) -> None:
        """A port that is taken fails the start; what was open is closed by stopping."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listeners = self.listeners("tcp:0:interface=127.0.0.1", f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
            self.failureResultOf(listeners.startService(), CannotListenError)
        self.assertEqual(len(listeners), 1)
        stopping = listeners.stopService()
        self.assertEqual(len(listeners), 0)
        return stopping  # type: ignore[return-value]  # trial waits for it

    def test_no_such_socket_of_systemd(self) -> None:
        """It says which, and what to look at."""
        failure = self.failureResultOf(self.listeners("systemd:domain=INET:index=3").startService(), StartError)
        self.assertIn("systemd:domain=INET:index=3: systemd passed no such socket", failure.value.detail)

    def test_no_such_folder(self) -> None:
        """A UNIX socket in a folder that is not there, or that cannot be written to, is told with the setting."""
        failure = self.failureResultOf(self.listeners("unix:nowhere/netsvc.sock").startService(), StartError)
        self.assertEqual(failure.value.detail, "[http] listen: unix:nowhere/netsvc.sock: No such file or directory")

    def passed(self, text: str) -> list[int]:
        """The descriptors without names, if that is what the process was started with."""
        environment = Path(self.mktemp())
        environment.write_text(text.replace("=PID", f"={os.getpid()}"))
        self.patch(module, "_ENVIRONMENT", environment)
        return module._unnamed()

    def test_sockets_without_names(self) -> None:
        """``systemd-socket-activate`` gives them none; Twisted then knows of no socket. Which one is meant says the index."""
        self.assertEqual(self.passed("LISTEN_FDS=2\0HOME=/\0LISTEN_PID=PID\0"), [3, 4])
        endpoint: Any = module._endpoint(reactor, "systemd:domain=INET6:index=1")
        self.assertEqual((endpoint.fileno, endpoint.addressFamily), (4, socket.AF_INET6))
        self.assertRaises(IndexError, module._endpoint, reactor, "systemd:domain=INET:index=2")
        self.assertRaises(KeyError, module._endpoint, reactor, "systemd:domain=INET:name=http")

    def test_no_sockets_without_names(self) -> None:
        """None if they have names, so that Twisted knows them, were passed to another process, or there are none."""
        for text in (
            "LISTEN_FDS=1\0LISTEN_PID=PID\0LISTEN_FDNAMES=http\0",
            "LISTEN_FDS=1\0LISTEN_PID=1\0",
            "LISTEN_FDS=\0LISTEN_PID=PID\0",
            "LISTEN_FDS=many\0LISTEN_PID=PID\0",
            "HOME=/\0",
            "",
        ):
            self.assertEqual(self.passed(text), [], text)
        self.patch(module, "_ENVIRONMENT", Path(self.mktemp()))
        self.assertEqual(module._unnamed(), [])

    def test_other_errors_are_passed_on(self) -> None:
        """What is no listening error stays what it is."""
        listeners = self.listeners("tcp:0:interface=127.0.0.1")

        def broken(*_: Any, **__: Any) -> "Deferred[None]":
            raise TypeError("a bug")

        self.patch(listeners._reactor, "listenTCP", broken)
        self.failureResultOf(listeners.startService(), TypeError)
