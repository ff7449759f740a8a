"""Long calls of the Python client against the real daemon: given up, in parts, of procedures that it provides."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from netsvc.client import Call, Client, InvalidParams, NotFound, UnknownProcedure
from tests.ports import free_port
from tests.system.daemon import Daemon
from tests.system.raw import head
from tests.system.stalled_readers import resident
from tests.system.test_client import FAST, ClientCase, run_asyncio

# Calls what never answers, gives it up when it is under way, and sees that the server knows; the client stays open.
ASYNCIO_CANCELLER = """
import asyncio, json, sys
from netsvc.client.aio import Client

async def program(url, ca_file):
    async with Client(url, ca_file=ca_file) as rpc:
        for parts in (False, True):
            begun = asyncio.Event()
            task = asyncio.create_task(rpc.call("wait.forever", [parts], progress=(lambda _: begun.set()) if parts else None))
            while not (begun.is_set() if parts else await rpc.wait.waiting()):
                await asyncio.sleep(0.01)
            task.cancel()
            while await rpc.wait.waiting():
                await asyncio.sleep(0.01)
        print(json.dumps("noticed"))

asyncio.run(program(sys.argv[1], sys.argv[2]))
"""


ASYNCIO_PROVIDER = """
import asyncio, sys
from netsvc.client import Call
from netsvc.client.aio import Client

async def pour(call: Call, parts: int, size: int) -> int:
    for number in range(parts):
        call.progress("x" * size, done=number)
        await call.caught_up()
    return parts

async def program(url):
    async with Client(url) as rpc:
        await rpc.provide("pour.asyncio", pour)
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(program(sys.argv[1]))
"""
PARTS = 320
SIZE = 64 * 1024


class SlowReader:
    """Calls a procedure over HTTP for an answer in lines, and reads that slowly.

    :ivar sizes: of the daemon in memory, meanwhile.
    """

    def __init__(self, daemon: Daemon, method: str, params: Any) -> None:
        self._daemon = daemon
        self.sizes: list[int] = []
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIZE)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", daemon.port))
        self._socket.sendall(head("/rpc", "POST", "Accept: application/jsonl", f"Content-Length: {len(body)}", version="HTTP/1.0") + body)
        self._lines = self._socket.makefile("rb", SIZE)

    def read(self) -> tuple[int, list[int], Any]:
        """How many characters came in parts, the numbers of those, and the result."""
        total, numbers = 0, []
        while self._lines.readline().strip():  # the head
            pass
        for line in self._lines:
            message = json.loads(line)
            if "method" not in message:
                return total, numbers, message.get("result", message)
            total += len(message["params"]["data"])
            numbers.append(message["params"]["done"])
            self.sizes.append(resident(self._daemon))
            time.sleep(0.005)
        raise AssertionError("the answer has no end")

    def __enter__(self) -> "SlowReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.close()
        self._socket.close()


class Cancelling(ClientCase):
    """Calls over HTTP that nobody waits for any more."""

    async def test_noticed(self) -> None:
        """The server knows at once, before the first part of the result and behind it: with Deferreds and asyncio, with and without TLS."""
        key, certificate = self.certificate()
        port, secure = free_port(), free_port()
        listen = f"tcp:{port}:interface=127.0.0.1\nssl:{secure}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
        # A client that only closes is one that sends no more.
        self.start("[rpc]\nprovide = guest\n[limits]\nrate = off\n", listen=False, overrides=[f"http.listen={listen}", "http.half_closed_timeout=1h"])
        waiting: list[Any] = []

        def wait(call: Call, parts: bool) -> Any:
            waiting.append(call)
            if parts:
                call.progress("some")
            return Deferred(lambda _: waiting.remove(call))

        async with Client(f"ws://127.0.0.1:{port}", limits=FAST) as provider:
            await provider.provide("wait.forever", wait)
            await provider.provide("wait.waiting", lambda: len(waiting))
            for url in (f"http://127.0.0.1:{port}", f"https://localhost:{secure}"):
                for parts in (False, True):
                    await self.cancel(url, certificate, parts, waiting)
                self.assertEqual(await deferToThread(run_asyncio, ASYNCIO_CANCELLER, url, str(certificate)), "noticed")

    async def test_reader_goes(self) -> None:
        """``netsvc call --parts`` ends when who reads has had enough, with status 0 and without a word, whether or not there is more; so does the call."""
        daemon = self.start("[rpc]\nprovide = guest\n[limits]\nrate = off\n")
        waiting: list[Any] = []

        async def count(call: Call, pause: float) -> None:
            waiting.append(call)
            try:
                for number in range(1_000_000):
                    call.progress(number)
                    await self.pause(pause)
            finally:
                waiting.remove(call)

        async with Client(daemon.websocket_url, limits=FAST) as provider:
            await provider.provide("count.up", count)
            for url in (daemon.url, daemon.websocket_url):
                for pause in ("0.001", "60"):
                    self.assertEqual(await deferToThread(self.read_one_line, url, pause), (b"0\n", 0, b""))
                    while waiting:
                        await self.pause(0.01)

    def read_one_line(self, url: str, pause: str) -> tuple[bytes, int, bytes]:
        """The first line, the exit status, and the complaints of a ``netsvc call`` whose reader goes then."""
        command = [sys.executable, "-m", "netsvc.cli", "call", "--url", url, "--parts", "count.up", pause]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            process.stdout.close()
            return line, process.wait(15), process.stderr.read()

    async def cancel(self, url: str, certificate: Path, parts: bool, waiting: list[Any]) -> None:
        """Give up a call that is under way; it must be over while the client is still open."""
        heard: list[Any] = []
        async with Client(url, ca_file=certificate) as rpc:
            call = rpc.call("wait.forever", [parts], progress=heard.append if parts else None)
            while not (heard if parts else waiting):
                await self.pause(0.01)
            call.cancel()
            await self.assertFailure(call, CancelledError)
            while waiting:
                await self.pause(0.01)


class Providers(ClientCase):
    """Procedures that a client provides."""

    async def test_provide(self) -> None:
        """Its results and errors reach callers over HTTP and WebSocket; after a kill of the daemon it provides again by itself."""
        daemon = self.start("[rpc]\nprovide = guest\n")

        def weather(town: str) -> Any:
            if town == "Atlantis":
                raise NotFound("not found", {"detail": "no such town"})
            return deferLater(reactor, 0.01, lambda: f"rain in {town}")  # type: ignore[arg-type]  # zope's interfaces

        async with Client(daemon.websocket_url, limits=FAST) as provider, Client(daemon.url, limits=FAST) as caller:
            provided = await provider.provide("weather.today", weather, {"summary": "The weather", "idempotent": True})
            self.assertEqual(await caller.weather.today("Oslo"), "rain in Oslo")
            self.assertEqual(await provider.weather.today(town="Bergen"), "rain in Bergen")
            error = await self.assertFailure(caller.weather.today("Atlantis"), NotFound)
            self.assertEqual(error.detail, "no such town")
            await self.assertFailure(caller.weather.today(), InvalidParams)
            await deferToThread(daemon.kill)
            await deferToThread(daemon.start)
            self.assertEqual(await self.until_provided(caller), "rain in Oslo")
            provided.withdraw()
            await provider.auth.whoami()
            await self.assertFailure(caller.weather.today("Oslo"), UnknownProcedure)

    async def test_parts(self) -> None:
        """What a provider gives on the way reaches its callers, whether they call over HTTP or on a WebSocket."""
        daemon = self.start("[rpc]\nprovide = guest\n")

        def count(call: Call, most: int) -> Any:
            for number in range(most):
                call.progress(number, done=number + 1, total=most)
            return deferLater(reactor, 0.01, lambda: most)  # type: ignore[arg-type]  # zope's interfaces

        async with Client(daemon.websocket_url, limits=FAST) as provider, Client(daemon.url, limits=FAST) as caller:
            await provider.provide("count.to", count)
            for rpc in (caller, provider):
                told: list[Any] = []
                self.assertEqual(await rpc.call("count.to", [3], progress=told.append), 3)
                self.assertEqual(told, [{"data": number, "done": number + 1, "total": 3} for number in range(3)])

    async def test_slow_reader(self) -> None:
        """20 MB in parts reach a caller that reads slowly, whole, while neither side has more than a few parts of it: of providers of both kinds."""
        daemon = self.start("[rpc]\nprovide = guest\n")

        async def pour(call: Call, parts: int, size: int) -> int:
            for number in range(parts):
                call.progress("x" * size, done=number)
                await call.caught_up()
                poured.append(number)
            return parts

        poured: list[int] = []
        async with Client(daemon.websocket_url, limits=FAST) as provider:
            await provider.provide("pour.deferreds", pour)
            await deferToThread(self.start_program, ASYNCIO_PROVIDER, daemon.websocket_url)
            for method in ("pour.deferreds", "pour.asyncio"):
                poured.clear()
                before = resident(daemon)
                with SlowReader(daemon, method, [PARTS, SIZE]) as reader:
                    await self.pause(1.0)
                    self.assertLess(len(poured), 64, "of the provider that is here")
                    self.assertEqual(await deferToThread(reader.read), (PARTS * SIZE, list(range(PARTS)), PARTS))
                    self.assertLess(max(reader.sizes) - before, 8 << 20)

    def start_program(self, script: str, url: str) -> None:
        """Start a program; it is ready when it has said something."""
        program = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE)
        assert program.stdout is not None
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        program.stdout.readline()

    async def until_provided(self, caller: Client) -> Any:
        """Call until the provider is there again."""
        for _ in range(100):
            try:
                return await caller.weather.today("Oslo")
            except UnknownProcedure:
                await self.pause(0.05)
        return None
