"""Programs that provide procedures to the real daemon, and end in all the ways that programs end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.ports import free_port
from tests.system.clients import RpcError, RpcSocket, post_rpc, request
from tests.system.daemon import Daemon
from tests.system.programs import eventually

ROOT = Path(__file__).parent.parent.parent
DEADLINE = 4.0
SLACK = 4.0
"""Seconds that a busy machine may need to tell of the end of a call."""
KINDS = ("ws", "lines", "amp")


class Provider:
    """A running tests.system.provider."""

    def __init__(self, kind: str, port: int, *options: str) -> None:
        command = [sys.executable, "-m", "tests.system.provider", kind, str(port), "test.work", *options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._out = self._process.stdout

    def ready(self) -> None:
        """Wait until it serves."""
        assert self._out.readline() == b"ready\n"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.wait()
        self._out.close()


class Load:
    """Callers that call one after the other, each over a WebSocket of its own, until they are stopped.

    :ivar outcomes: of each call the result or the RpcError, and the seconds it took.
    """

    def __init__(self, url: str, callers: int) -> None:
        self.outcomes: list[tuple[Any, float]] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        with RpcSocket(self._url) as caller:
            while not self._stop.is_set():
                begun = time.monotonic()
                caller.connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "test.work", "params": [1], "deadline": DEADLINE}))
                answer = json.loads(caller.connection.recv(timeout=3 * DEADLINE))
                outcome = RpcError(answer["error"]) if "error" in answer else answer["result"]
                self.outcomes.append((outcome, time.monotonic() - begun))

    def stop(self) -> None:
        """Let the calls under way end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def errors(self) -> list[int]:
        """The codes of the errors so far."""
        return [outcome.code for outcome, _ in self.outcomes if isinstance(outcome, RpcError)]

    @property
    def longest(self) -> float:
        """The longest time that a call took so far."""
        return max(seconds for _, seconds in self.outcomes)


class ProviderCase(SynchronousTestCase):
    """A daemon with all transports."""

    settings = """
[rpc]
provide = guest
modules = netsvc.examples.arithmetic
provider_patience = 500ms
[limits]
rate = off
[http]
ping_interval = 1s
pong_timeout = 1s
"""

    def setUp(self) -> None:
        """Start it."""
        self.ports = {"lines": free_port(), "amp": free_port()}
        listen = "".join(f"[{kind}]\nlisten = tcp:{port}:interface=127.0.0.1\n" for kind, port in self.ports.items())
        self.daemon = Daemon(self.settings + listen)
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.ports["ws"] = self.daemon.port

    def provide(self, *kinds: str, options: tuple[str, ...] = ()) -> list[Provider]:
        """Programs that serve test.work."""
        providers = [Provider(kind, self.ports[kind], *options) for kind in kinds]
        for provider in providers:
            self.addCleanup(provider.close)
        for provider in providers:
            provider.ready()
        return providers

    def providing(self) -> int:
        """How many the daemon believes to be there."""
        methods = request(f"{self.daemon.url}/openrpc.json").json()["methods"]
        return sum(method.get("x-providers", 0) for method in methods if method["name"] == "test.work")

    def listening(self) -> bool:
        """Whether the daemon accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.daemon.port)) == 0

    def load(self, callers: int = 6) -> Load:
        """Calls without end."""
        load = Load(self.daemon.websocket_url, callers)
        self.addCleanup(load.stop)
        eventually(lambda: len(load.outcomes) > 5 * callers, 20, "calls are answered")
        return load


class EndsOfProvidersTests(ProviderCase):
    """Killed, hung, slow; under load, over each transport. No call outlasts its deadline, and those that may be made twice succeed."""

    def test_every_transport(self) -> None:
        """One name, provided over WebSocket, lines and AMP, called over HTTP: each gets its share."""
        providers = self.provide(*KINDS)
        served = [post_rpc(self.daemon.url, "test.work", {"n": number}) for number in range(9)]
        self.assertEqual([params for _, params in served], [{"n": number} for number in range(9)])
        self.assertEqual(sorted(pid for pid, _ in served), sorted([provider.pid for provider in providers] * 3))

    def test_killed(self) -> None:
        """kill -9, one after the other: calls that may be made twice all succeed as long as one is left."""
        providers = self.provide(*KINDS, "ws", options=("idempotent",))
        load = self.load()
        for provider in providers[:3]:
            provider.signal(signal.SIGKILL)
            done = len(load.outcomes)
            eventually(lambda done=done: len(load.outcomes) > done + 100, 20, "calls go on")
        self.assertEqual(self.providing(), 1)
        load.stop()
        self.assertEqual(load.errors, [])
        self.assertLess(load.longest, DEADLINE + SLACK)

    def test_killed_in_the_midst(self) -> None:
        """Calls that may not be made twice fail with -32009 if their provider is lost with them, at once; no others fail."""
        providers = self.provide(*KINDS, *KINDS, options=("delay=0.02",))
        load = self.load(12)
        for provider in providers[:5]:
            provider.signal(signal.SIGKILL)
            done = len(load.outcomes)
            eventually(lambda done=done: len(load.outcomes) > done + 20, 20, "calls go on")
        load.stop()
        self.assertEqual(set(load.errors), {-32009})
        self.assertLessEqual(len(load.errors), 5 * 12)
        self.assertLess(load.longest, DEADLINE + SLACK)

    def test_hung(self) -> None:
        """Programs that stop in the midst, with their connections open (SIGSTOP; so looks a network that is cut): the same calls succeed."""
        providers = self.provide(*KINDS, "ws", options=("idempotent",))
        load = self.load()
        for provider in providers[:3]:
            provider.signal(signal.SIGSTOP)
        done = len(load.outcomes)
        eventually(lambda: len(load.outcomes) > done + 300, 30, "calls go on")
        load.stop()
        self.assertEqual(load.errors, [])
        self.assertLess(load.longest, DEADLINE + SLACK)

    def test_hung_without_another(self) -> None:
        """If nobody else provides it, calls fail at their deadline, or when pings find out that a WebSocket is dead."""
        for kind, code, deadline in (("lines", -32007, 2), ("ws", -32009, 15)):
            (provider,) = self.provide(kind)
            post_rpc(self.daemon.url, "test.work", {})
            provider.signal(signal.SIGSTOP)
            begun = time.monotonic()
            with self.assertRaises(RpcError) as failed:
                post_rpc(self.daemon.url, "test.work", {}, {"X-Deadline": str(deadline)})
            self.assertEqual(failed.exception.code, code)
            self.assertLess(time.monotonic() - begun, deadline + SLACK)
            provider.close()
            eventually(lambda: not self.providing(), 10, "it is gone")

    def test_slow(self) -> None:
        """One that is slow gets few calls, and of those that may be made twice none waits for it."""
        (slow,) = self.provide("lines", options=("idempotent", "delay=2"))
        (fast,) = self.provide("amp", options=("idempotent",))
        load = self.load()
        eventually(lambda: len(load.outcomes) > 500, 30, "calls go on")
        load.stop()
        self.assertEqual(load.errors, [])
        self.assertEqual({outcome[0] for outcome, _ in load.outcomes}, {fast.pid}, f"{slow.pid} is the slow one")

    def test_caller_killed(self) -> None:
        """A caller that is gone is told to the provider, which then need not go on."""
        with RpcSocket(self.daemon.websocket_url) as provider:
            provider.call("rpc.provide", name="test.own")
            caller = RpcSocket(self.daemon.websocket_url)
            caller.send("test.own")
            asked = json.loads(provider.connection.recv(timeout=10))
            caller.connection.socket.close()
            told = json.loads(provider.connection.recv(timeout=10))
            self.assertEqual((told["method"], told["params"]), ("rpc.cancel", {"id": asked["id"]}))

    def test_stop(self) -> None:
        """The daemon waits for what a provider has been asked, and the caller gets its answer."""
        with RpcSocket(self.daemon.websocket_url) as provider, RpcSocket(self.daemon.websocket_url) as caller:
            provider.call("rpc.provide", name="test.own")
            call = caller.send("test.own")
            asked = json.loads(provider.connection.recv(timeout=10))
            self.daemon.signal(signal.SIGTERM)
            eventually(lambda: not self.listening(), 10, "the daemon is about to stop")
            provider.connection.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "late"}))
            self.assertEqual(caller.answer(call), "late")
        self.assertEqual(self.daemon.wait(), 0)


class EveryTransportTests(ProviderCase):
    """What a call gives over each transport."""

    def lines(self, *messages: dict[str, Any]) -> list[Any]:
        """What a client of lines is answered that then closes its direction."""
        with socket.create_connection(("127.0.0.1", self.ports["lines"]), timeout=10) as connection:
            connection.sendall(b"".join(json.dumps({"jsonrpc": "2.0", "id": 1, **message}).encode() + b"\n" for message in messages))
            connection.shutdown(socket.SHUT_WR)
            return [json.loads(line) for line in connection.makefile("rb")]

    def test_status(self) -> None:
        """server.status counts them; but that is for admins, also here."""
        (answer,) = self.lines({"method": "server.status"})
        self.assertEqual(answer["error"]["code"], -32002)

    def test_rooms(self) -> None:
        """What is posted over HTTP comes over lines to who has joined, and a post over lines is answered before its own event."""
        with socket.create_connection(("127.0.0.1", self.ports["lines"]), timeout=10) as connection, connection.makefile("rb") as lines:
            connection.sendall(b'{"jsonrpc":"2.0","id":1,"method":"chat.join","params":["lobby"]}\n')
            self.assertEqual(json.loads(lines.readline())["result"]["room"], "lobby")
            post_rpc(self.daemon.url, "chat.post", {"room": "lobby", "text": "one"})
            heard = json.loads(lines.readline())
            while heard["method"] != "chat.event":
                heard = json.loads(lines.readline())
            self.assertEqual(heard["params"]["text"], "one")
            connection.sendall(b'{"jsonrpc":"2.0","id":2,"method":"chat.post","params":["lobby","two"]}\n')
            seen = [json.loads(lines.readline()) for _ in range(2)]
            self.assertEqual([message.get("id") for message in seen if message.get("method") != "chat.presence"], [2, None])

    def test_the_same_errors(self) -> None:
        """A wrong param has one error, however it comes."""
        wrong = {"method": "math.add", "params": {"a": "x", "b": 1}}
        (over_lines,) = self.lines(wrong)
        answer = request(f"{self.daemon.url}/rpc", "POST", json.dumps({"jsonrpc": "2.0", "id": 1, **wrong}).encode()).json()
        self.assertEqual(over_lines, answer)

    def test_codes_over_http(self) -> None:
        """A provider's own code has a status, one of ours its own; and where it says when to come again, so does HTTP."""
        with RpcSocket(self.daemon.websocket_url) as provider:
            provider.call("rpc.provide", name="test.own")
            busy = {"code": -32008, "message": "busy", "data": {"retry_after": 2.5}}
            for error, status, retry in (({"code": 7, "message": "no"}, 422, None), (busy, 503, "3")):
                answers: list[Any] = []
                body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "test.own"}).encode()
                caller = threading.Thread(target=lambda body=body, to=answers: to.append(request(f"{self.daemon.url}/rpc", "POST", body)))
                caller.start()
                asked = json.loads(provider.connection.recv(timeout=10))
                provider.connection.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}))
                caller.join()
                self.assertEqual((answers[0].status, answers[0].headers.get("retry-after")), (status, retry))
