"""Many clients in one room, a daemon that stops or is killed, and all of them coming back: ``python -m tests.system.storm --clients 5000``.

The clients do as docs/protocol.md asks: they come back at the time they were given, or after a random moment if nobody told them, wait
as long as a refusal says, and resume from the cursor of the last event they have. What is checked: everybody has every event once and in
order, and readiness is not lost while they come in.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.system.clients import run_async
from tests.system.daemon import Daemon

__all__ = ["SETTINGS", "Storm", "StormClient", "raise_file_limit"]

SETTINGS = """[http]
listen = tcp:{port}:interface=127.0.0.1
[limits]
rate = off
connections = 0
connections_per_address = 0
return_within = {window}s
{more}
"""

ROOM = "storm"
ROOT = Path(__file__).parents[2]
PROBE_INTERVAL = 0.1


def raise_file_limit(count: int) -> bool:
    """Let this process, and those it starts, have so many files open; False if that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            return False
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True


def _frame(payload: bytes) -> bytes:
    """A masked text frame; the mask is zero, so the payload is itself."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else struct.pack(">BBH", 0x81, 0xFE, size)
    return head + bytes(4) + payload


class StormClient(asyncio.Protocol):
    """One client, over all of its connections.

    :ivar seqs: of the events it has, in order.
    :ivar joined: it is in the room.
    :ivar returns: the times it was told to come back after, seconds.
    :ivar refusals: how often it was told to try later.
    """

    def __init__(self, storm: "Storm") -> None:
        self._storm = storm
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._upgraded = False
        self.cursor: str | None = None
        self.seqs: list[int] = []
        self.joined = False
        self.returns: list[float] = []
        self.refusals = 0
        self.unrecovered = 0
        self._wait: float | None = None

    async def connect(self) -> None:
        """Try until there is a connection."""
        self._buffer, self._upgraded, self.joined, self._wait = b"", False, False, None
        while not self._storm.over:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._storm.port)
            except OSError:
                await asyncio.sleep(random.uniform(0.2, 1.0))
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        """See Protocol."""
        self._buffer += data
        if not self._upgraded:
            head, ended, rest = self._buffer.partition(b"\r\n\r\n")
            if not ended:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._refused(head)
                return
            self._upgraded, self._buffer = True, rest
            self._join()
        while (message := self._take()) is not None:
            self._received(message)

    def _refused(self, head: bytes) -> None:
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        assert b"retry-after" in fields, head
        self.refusals += 1
        self._wait = float(fields[b"retry-after"])
        assert self._transport is not None
        self._transport.close()

    def _join(self) -> None:
        self.send("chat.join", {"room": ROOM, **({} if self.cursor is None else {"after": self.cursor, "limit": 200})})

    def send(self, method: str, params: dict[str, Any]) -> None:
        """A call; answers are told apart by what is in them."""
        if self._transport is not None:
            self._transport.write(_frame(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()))

    def _take(self) -> dict[str, Any] | None:
        """The next message, None if it is not whole."""
        data = self._buffer
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return None
        payload, self._buffer = data[start : start + size], data[start + size :]
        if data[0] != 0x81:
            if data[0] == 0x88 and self._transport is not None:
                self._transport.write(bytes((0x88, 0x80 | len(payload))) + bytes(4) + payload)
            return {}
        message: dict[str, Any] = json.loads(payload)
        return message

    def _received(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "chat.event":
            self._have(message["params"])
        elif method == "server.draining":
            self.returns.append(message["params"]["return_after"])
            self._wait = self.returns[-1]
        elif "error" in message:
            error = message["error"]
            assert error["code"] == -32008, error
            self.refusals += 1
            asyncio.get_running_loop().call_later(error["data"]["retry_after"], self._join)
        elif "events" in message.get("result", ()):
            self._joined(message["result"])

    def _joined(self, result: dict[str, Any]) -> None:
        if self.cursor is not None:
            self.unrecovered += not result["recovered"]
            for event in result["events"]:
                self._have(event)
        self.cursor = result["cursor"]
        if result["more"] and self.seqs:
            self._join()
        else:
            self.joined = True

    def _have(self, event: dict[str, Any]) -> None:
        self.seqs.append(event["seq"])
        self.cursor = event["cursor"]

    def connection_lost(self, exception: Exception | None) -> None:
        """See Protocol."""
        self._transport, self.joined = None, False
        if not self._storm.over:
            wait = random.uniform(0, 1.0) if self._wait is None else self._wait
            self._storm.later(wait, self)

    def close(self) -> None:
        """Go away for good."""
        if self._transport is not None:
            self._transport.abort()


class Storm:
    """A daemon and its clients.

    :ivar figures: what was seen, by name; `output`: all that the daemon printed.
    """

    def __init__(self, clients: int, window: float, more: str = "") -> None:
        self.daemon = Daemon("", listen=False)
        self.daemon.config.write_text(SETTINGS.format(port=self.daemon.port, window=window, more=more))
        self.port = self.daemon.port
        self.over = False
        self.clients = [StormClient(self) for _ in range(clients)]
        self.posted = 0
        self.probes: list[tuple[int, float]] = []
        self.figures: dict[str, Any] = {"clients": clients}
        self.output = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._prober: subprocess.Popen[str] | None = None

    def later(self, seconds: float, client: StormClient) -> None:
        """Have a client come back."""

        async def come_back() -> None:
            await asyncio.sleep(seconds)
            await client.connect()

        task = asyncio.get_running_loop().create_task(come_back())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), answer
        finally:
            writer.close()

    async def post(self) -> None:
        """One more event, acknowledged."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "chat.post", "params": [ROOM, f"event {self.posted + 1}"]})
        status, answer = await self._request("POST", "/rpc", body.encode())
        assert status == 200, answer
        self.posted += 1
        assert json.loads(answer)["result"]["seq"] == self.posted, answer

    async def _until(self, what: str, deadline: float, everybody: Any) -> float:
        began = time.monotonic()
        while not all(map(everybody, self.clients)):
            seen = time.monotonic() - began
            assert seen < deadline, f"{sum(map(everybody, self.clients))} of {len(self.clients)} {what} within {deadline:g} s"
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def _end(self, kill: bool) -> None:
        if kill:
            self.daemon.kill()
        else:
            await asyncio.to_thread(self.daemon.stop)
        await asyncio.to_thread(self.daemon.start)

    async def _run(self, deadline: float, kill: bool, posts: int) -> None:
        await self.post()
        for client in self.clients:
            client.cursor = None
        for start in range(0, len(self.clients), 200):
            await asyncio.gather(*(client.connect() for client in self.clients[start : start + 200]))
        self.figures["first connected, s"] = round(await self._until("are in", deadline, lambda client: client.joined), 2)
        for _ in range(posts):
            await self.post()
        await self._until("have all", deadline, lambda client: len(client.seqs) == posts)
        await self._end(kill)
        # A process of its own: this one has thousands of clients to play.
        command = [sys.executable, "-m", "tests.system.storm", "--probe", f"{self.daemon.url}/readyz"]
        probing = self._prober = await asyncio.to_thread(partial(subprocess.Popen, command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
        ready = time.monotonic()
        for _ in range(posts):
            await self.post()
            await asyncio.sleep(0.02)
        await self._until("have come back", deadline, lambda client: client.joined)
        self.figures["all back after, s"] = round(time.monotonic() - ready, 2)
        for _ in range(posts):
            await self.post()
        await self._until("have all", deadline, lambda client: len(client.seqs) >= 3 * posts)
        await asyncio.sleep(0.2)  # for what should not come
        probing.terminate()
        seen, _ = await asyncio.to_thread(probing.communicate)
        self.probes = [(int(status), float(seconds)) for status, seconds in map(str.split, seen.splitlines())]

    def run(self, deadline: float, kill: bool = False, posts: int = 5) -> dict[str, Any]:
        """Play it; the figures. AssertionError if something takes longer than `deadline` seconds.

        :param kill: the daemon is killed and tells nobody.
        :param posts: events before the end, right after the start, and when all are back.
        """
        self.daemon.start()
        try:
            run_async(self._closing(self._run(deadline, kill, posts)))
        finally:
            if self._prober is not None:
                self._prober.kill()
            if self.daemon.running:
                self.daemon.stop()
            self.output = self.daemon.output() + self.daemon.errors()
            self.daemon.close()
        expected = list(range(2, 3 * posts + 2))
        times = sorted(seconds for _, seconds in self.probes)
        self.figures |= {
            "wrong": sum(client.seqs != expected for client in self.clients),
            "unrecovered": sum(client.unrecovered for client in self.clients),
            "told when": sum(bool(client.returns) for client in self.clients),
            "refused": sum(client.refusals for client in self.clients),
            "probes": len(times),
            "not ready": sum(status != 200 for status, _ in self.probes),
            "probe median, ms": round(times[len(times) // 2] * 1000, 1),
            "probe worst, ms": round(times[-1] * 1000, 1),
        }
        return self.figures

    async def _closing(self, scenario: Any) -> None:
        try:
            await scenario
        finally:
            self.over = True
            for client in self.clients:
                client.close()
            for task in list(self._tasks):
                task.cancel()


def probe(url: str) -> None:
    """Ask whether a daemon is ready, again and again, and print status and seconds of each answer; 0 if there is none."""
    while True:
        began = time.monotonic()
        try:
            with urllib.request.urlopen(url, timeout=5.0) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError:
            status = 0
        sys.stdout.write(f"{status} {time.monotonic() - began:.4f}\n")
        sys.stdout.flush()
        time.sleep(PROBE_INTERVAL)


def main(arguments: Sequence[str]) -> int:
    """Play both ends and print the figures; 1 if something was lost or readiness was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--window", type=float, default=30.0, help="[limits] return_within, seconds")
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds for each step")
    parser.add_argument("--probe", metavar="URL", help="only ask for readiness")
    options = parser.parse_args(arguments)
    if options.probe:
        probe(options.probe)
    if not raise_file_limit(options.clients + 500):
        sys.stderr.write(f"the hard limit of open files is too low for {options.clients} clients\n")
        return 1
    failed = False
    for kill in (False, True):
        figures = Storm(options.clients, options.window).run(options.deadline, kill)
        sys.stdout.write(f"{'killed' if kill else 'stopped'}: {json.dumps(figures)}\n")
        failed = failed or any(figures[name] for name in ("wrong", "unrecovered", "not ready"))
    return int(failed)


if __name__ == "__main__":
    random.seed(os.urandom(8))
    sys.exit(main(sys.argv[1:]))
