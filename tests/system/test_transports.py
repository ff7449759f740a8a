"""The HTTP server on real sockets of every kind: TCP, UNIX, adopted ones, TLS; with clients that read slowly, leave, or go on talking."""

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from netsvc.http.bodies import Stream
from netsvc.http.messages import Request, Response, Upgrade
from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.routing import Routes
from netsvc.http.server import HttpFactory
from netsvc.http.settings import HttpSettings
from netsvc.net.ports import DirectReactor
from tests.certificates import make_certificate
from tests.http.channels import ALICE, answers, request
from tests.http.connections import Recorder
from tests.http.test_upgrade import HANDSHAKE, SWITCHED
from tests.ports import free_port
from tests.system.daemon import Daemon
from tests.system.required import require_program
from tests.wire.test_websocket import client_frame

DEADLINE = 10.0
LARGE = 8 << 20
"""More than kernels buffer."""


def read_all(connection: Any) -> bytes:
    """What the server sends until it closes."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def read_until(connection: Any, end: bytes) -> bytes:
    """What the server sends up to some bytes."""
    data = b""
    while not data.endswith(end):
        piece = connection.recv(1 << 16)
        if not piece:
            raise EOFError(data)
        data += piece
    return data


class TransportTests(TestCase):
    """The same over each kind of socket."""

    timeout = 30

    def setUp(self) -> None:
        """A server that listens nowhere yet."""
        self.reactor: Any = installed_reactor
        self.direct: Any = DirectReactor(self.reactor)
        self.application = Recorder()
        self.application.on_text = lambda message: self.application.connection.send_text(message.encode())
        self.over: Deferred[None] = Deferred()
        routes = Routes()
        routes.add("GET", "/small", lambda _: Response.text("small"), public=True)
        routes.add("GET", "/large", lambda _: Response(200, b"x" * LARGE), public=True)
        routes.add("GET", "/later", lambda _: deferLater(self.reactor, 0.1, Response.text, "later"), public=True)
        routes.add("GET", "/stream", lambda _: Stream(self.pour, lambda _: self.over.callback(None)), public=True)
        routes.add("GET", "/endless", lambda _: Stream(self.pour_on, lambda _: self.over.callback(None)), public=True)
        routes.add("PUT", "/count", self.count, public=True, streaming=True, body_limit=LARGE)
        routes.add("POST", "/small", lambda _: Response.text("small"), public=True)
        routes.add("GET", "/ws", lambda _: Upgrade(self.application), public=True)
        settings = HttpSettings(head_timeout=1.0, linger_timeout=1.0)
        self.websockets = OpenWebSockets()
        self.factory = HttpFactory(routes, settings, self.reactor, lambda _: ALICE, self.websockets)
        self.ports: list[IListeningPort] = []
        temporary = TemporaryDirectory(prefix="netsvc-sockets-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.close()))

    async def close(self) -> None:
        """Close everything, and see that it ends."""
        for port in self.ports:
            stopping = port.stopListening()
            if stopping is not None:
                await stopping
        self.websockets.drain(self.reactor)
        await self.factory.drain()

    async def pour(self, stream: Stream) -> None:
        """Send a lot, as fast as the client takes it."""
        for _ in range(LARGE >> 16):
            stream.send(b"x" * (1 << 16))
            await stream.writable()

    async def pour_on(self, stream: Stream) -> None:
        """Send without end."""
        while True:
            stream.send(b"x" * (1 << 16))
            await stream.writable()

    async def count(self, request: Request) -> Response:
        """Count the bytes of a body."""
        assert request.stream is not None
        return Response.text(str(sum([len(piece) async for piece in request.stream])))

    async def listen(self, kind: str) -> Callable[[], Any]:
        """Listen in one of the ways; give what connects."""
        if kind == "unix":
            path = str(self.folder / "socket")
            self.ports.append(await serverFromString(self.direct, f"unix:{path}").listen(self.factory))
            return lambda: self.connect(socket.AF_UNIX, path)
        if kind == "adopted":
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            endpoint = AdoptedStreamServerEndpoint(self.direct, listening.detach(), socket.AF_INET)
            self.ports.append(await endpoint.listen(self.factory))
        elif kind == "tls":
            certificate, key = make_certificate(self.folder)
            context = ssl.create_default_context(cafile=str(certificate))
            text = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
            self.ports.append(await serverFromString(self.direct, text).listen(self.factory))
            return lambda: context.wrap_socket(self.connect(socket.AF_INET, self.address()), server_hostname="localhost")
        else:
            self.ports.append(await serverFromString(self.direct, "tcp:0:interface=127.0.0.1").listen(self.factory))
        return lambda: self.connect(socket.AF_INET, self.address())

    def address(self) -> tuple[str, int]:
        """Where the port listens."""
        host: Any = self.ports[0].getHost()
        return host.host, host.port

    def connect(self, family: int, address: Any) -> socket.socket:
        """A connection with a deadline and a small buffer."""
        connection = socket.socket(family)
        connection.settimeout(DEADLINE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.connect(address)
        return connection

    def talk(self, connect: Callable[[], Any]) -> None:
        """Everything that a client does, one thing after another."""
        with connect() as client:
            client.sendall(request("/small") * 3 + request("/large") + request("/stream") + request("/small", "Connection: close"))
            found = answers(read_all(client))
        self.assertEqual([(answer.status, len(answer.body)) for answer in found], [(200, 5)] * 3 + [(200, LARGE)] * 2 + [(200, 5)])
        with connect() as client:
            client.sendall(request("/count", "Connection: close", method="PUT", body=b"x" * LARGE))
            self.assertEqual(answers(read_all(client))[0].body, str(LARGE).encode())
        with connect() as client:
            client.sendall(request("/ws", *HANDSHAKE))
            self.assertEqual(read_until(client, b"\r\n\r\n"), SWITCHED)
            client.sendall(client_frame(1, b"x" * 100))
            self.assertEqual(read_until(client, b"x" * 100), b"\x81\x64" + b"x" * 100)
        with connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(answers(read_all(client))[0].status, 400)

    async def check(self, kind: str) -> None:
        """Listen and talk."""
        connect = await self.listen(kind)
        await deferToThread(self.talk, connect)

    async def test_tcp(self) -> None:
        """Over TCP."""
        await self.check("tcp")

    async def test_unix(self) -> None:
        """Over a UNIX socket."""
        await self.check("unix")

    async def test_adopted(self) -> None:
        """Over a socket that somebody else has opened."""
        await self.check("adopted")

    async def test_tls(self) -> None:
        """Over TLS."""
        await self.check("tls")

    async def test_refused_while_sending(self) -> None:
        """A client that is refused in the midst of a large body sees the answer, although it goes on sending."""

        def talk(connect: Callable[[], Any]) -> None:
            with connect() as client:
                client.sendall(request("/small", f"Content-Length: {LARGE}", method="POST"))
                for _ in range(20):
                    client.sendall(b"x" * 65536)
                (answer,) = answers(read_all(client))
                self.assertEqual(answer.status, 413)

        await deferToThread(talk, await self.listen("tcp"))

    async def test_silent_tls(self) -> None:
        """A client that does not even begin the TLS handshake is cut."""
        await self.listen("tls")

        def talk() -> None:
            with self.connect(socket.AF_INET, self.address()) as client, contextlib.suppress(ConnectionResetError):
                self.assertEqual(read_all(client), b"")

        await deferToThread(talk)

    async def test_client_leaves(self) -> None:
        """A client that leaves in the midst of a stream, orderly or not, ends it."""
        connect = await self.listen("tcp")
        for abruptly in (False, True):
            self.over = Deferred()

            def talk(abruptly: bool = abruptly) -> None:
                client = connect()
                client.sendall(request("/endless"))
                client.recv(100)
                if abruptly:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()

            await deferToThread(talk)
            await self.over

    async def test_half_closed_client(self) -> None:
        """A client that closes its direction behind its requests gets the whole of the answers, also of those that take a while."""

        def talk(connect: Callable[[], Any]) -> None:
            with connect() as client:
                client.sendall(request("/later") + request("/large"))
                client.shutdown(socket.SHUT_WR)
                self.assertEqual([len(answer.body) for answer in answers(read_all(client))], [5, LARGE])

        await deferToThread(talk, await self.listen("tcp"))


class ActivatedTests(TestCase):
    """The daemon on a socket that another program has opened."""

    def test_without_a_name(self) -> None:
        """It takes the first socket of ``systemd-socket-activate``, which gives it no name."""
        activate = require_program("systemd-socket-activate")
        port = free_port()
        daemon = Daemon(listen=False, overrides=["http.listen=systemd:domain=INET:index=0"])
        self.addCleanup(daemon.close)
        environment = [f"--setenv={name}" for name in os.environ]  # it passes on nothing else
        command = [activate, f"--listen=127.0.0.1:{port}", *environment, *daemon.command()]
        with open(daemon.directory / "stderr", "wb") as errors, subprocess.Popen(command, cwd=daemon.directory, stdout=errors, stderr=errors) as passing:
            try:
                self.assertEqual(self.status(port), 200, daemon.errors())
            finally:
                passing.terminate()

    def status(self, port: int) -> int:
        """That of the first answer, once somebody listens."""
        until = time.monotonic() + DEADLINE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=DEADLINE) as answer:
                    return int(answer.status)
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > until:
                    raise
