"""The Python client against the real daemon: with Deferreds and with asyncio, over HTTP and WebSocket, through kills and restarts."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from netsvc.client import Client, ConnectionLost, Event, InvalidParams, Limits, NotAuthenticated, Untrusted
from tests.certificates import make_certificate
from tests.ports import free_port
from tests.system.daemon import Daemon

ARITHMETIC = "[rpc]\nmodules = netsvc.examples.arithmetic\n[limits]\nrate = off\n"
KILLS = 3
POSTS = 30
DEADLINE = 60
DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"
FAST = Limits(first=0.05, longest=0.5, attempts=1000, deadline=60.0)

# The same for asyncio; run in a process of its own, since this one has a reactor. What it learned is its last line.
ASYNCIO = """
import asyncio, json, sys
from netsvc.client import InvalidParams, Limits
from netsvc.client.aio import Client

async def program(url):
    learned = {}
    async with Client(url) as rpc:
        learned["sum"] = await rpc.math.add(2, 3)
        try:
            await rpc.math.add(2)
        except InvalidParams as error:
            learned["error"] = [error.code, error.detail]
        many = await asyncio.gather(*(rpc.math.add(number, 1) for number in range(100)))
        learned["many"] = many == [number + 1 for number in range(100)]
        async with rpc.room("tea") as room:
            posted = await rpc.using(idempotent=True).chat.post("tea", "hello")
            async for event in room:
                learned["event"] = [event.seq == posted["seq"], event.text]
                break
    learned["reactor"] = "twisted.internet.reactor" in sys.modules
    print(json.dumps(learned))

asyncio.run(program(sys.argv[1]))
"""

# Reads a room and posts to it until it has seen all that it has posted and everything before "the end".
ASYNCIO_TALKER = """
import asyncio, json, sys
from netsvc.client import Limits
from netsvc.client.aio import Client

async def program(url, count):
    limits = Limits(first=0.05, longest=0.5, attempts=1000, deadline=60.0)
    async with Client(url, limits=limits) as rpc:
        acked, heard = {}, []

        async def post():
            for number in range(count):
                text = f"asyncio {number}"
                acked[text] = (await rpc.call("chat.post", ["garden", text], idempotent=True))["seq"]
                await asyncio.sleep(0.03)
            print("posted", flush=True)

        async with rpc.room("garden", after=sys.argv[3]) as room:
            posting = asyncio.create_task(post())
            async for item in room:
                heard.append([item.seq, item.text])
                if item.text == "the end":
                    break
            await posting
        print(json.dumps({"acked": acked, "heard": heard}))

asyncio.run(program(sys.argv[1], int(sys.argv[2])))
"""


def run_asyncio(script: str, *arguments: str) -> Any:
    """What a script prints at its end, as JSON."""
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env={**os.environ, "NO_PROXY": "*"}, check=False)
    assert not done.returncode, done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class TunnelEnd(Protocol):
    """The far end of a tunnel: what comes from there goes back."""

    def __init__(self, near: Any) -> None:
        self.near = near

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        self.near.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        """Twisted's hook."""
        self.near.loseConnection()


class ProxyConnection(Protocol):
    """A proxy that knows CONNECT alone, and u:secret."""

    factory: "ProxyFactory"

    def __init__(self) -> None:
        self.head = b""
        self.far: Any = None

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        if self.far is not None:
            self.far.write(data)
            return
        self.head += data
        if b"\r\n\r\n" not in self.head:
            return
        lines = self.head.decode().split("\r\n")
        assert self.transport is not None
        if "Proxy-Authorization: Basic dTpzZWNyZXQ=" not in lines:
            self.transport.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            self.transport.loseConnection()
            return
        authority = lines[0].split(" ")[1]
        self.factory.asked.append(authority)
        host, _, port = authority.rpartition(":")
        connecting = connectProtocol(clientFromString(reactor, f"tcp:{host}:{port}"), TunnelEnd(self.transport))
        connecting.addCallback(self.join)

    def join(self, far: TunnelEnd) -> None:
        """The tunnel is open."""
        self.far = far.transport
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def connectionLost(self, reason: Any = None) -> None:
        """Twisted's hook."""
        if self.far is not None:
            self.far.loseConnection()


class ProxyFactory(Factory):
    """Makes them, and keeps what they were asked for."""

    protocol = ProxyConnection  # type: ignore[assignment]  # it has no types

    def __init__(self) -> None:
        self.asked: list[str] = []


class ClientCase(TestCase):
    """A daemon with the arithmetic example."""

    timeout = 120

    def start(self, config: str = ARITHMETIC, **options: Any) -> Daemon:
        """Start one."""
        daemon = Daemon(config, **options)
        self.addCleanup(daemon.close)
        return daemon.start()

    def certificate(self) -> tuple[Path, Path]:
        """A key and a certificate."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        made = make_certificate(folder)
        return made.key_file, made.file

    def pause(self, seconds: float) -> "Deferred[None]":
        """Let time pass."""
        return deferLater(reactor, seconds, lambda: None)  # type: ignore[arg-type]  # zope's interfaces


class TwoTransports(ClientCase):
    """The same over HTTP and WebSocket."""

    async def test_deferreds(self) -> None:
        """Results, errors, many calls at once, a room; nothing is left of it when the block ends."""
        daemon = self.start()
        for url in (daemon.url, daemon.websocket_url):
            async with Client(url) as rpc:
                self.assertEqual(await rpc.math.add(2, 3), 5)
                self.assertEqual(await rpc.using(deadline=5).math.divide(a=1, b=4), 0.25)
                error = await self.assertFailure(rpc.math.add(2), InvalidParams)
                self.assertEqual((error.code, error.data["parameter"]), (-32602, "b"))
                self.assertEqual(await gatherResults([rpc.math.add(number, 1) for number in range(100)]), list(range(1, 101)))
                async with rpc.room("lobby") as room:
                    posted = await rpc.using(key=f"key-{url}").chat.post("lobby", "hello")
                    self.assertEqual(await rpc.call("chat.post", ["lobby", "hello"], key=f"key-{url}"), posted)
                    event = await room.next()
                    assert isinstance(event, Event)
                    self.assertEqual((event.seq, event.text), (posted["seq"], "hello"))

    def test_asyncio(self) -> "Deferred[None]":
        """The same with asyncio, and no reactor is installed by it."""
        daemon = self.start()

        def check(learned: Any) -> None:
            self.assertEqual((learned["sum"], learned["error"], learned["many"]), (5, [-32602, "b: missing, expected int"], True))
            self.assertEqual((learned["event"], learned["reactor"]), ([True, "hello"], False))

        runs = [deferToThread(run_asyncio, ASYNCIO, url).addCallback(check) for url in (daemon.url, daemon.websocket_url)]
        return gatherResults(runs).addCallback(lambda _: None)

    async def test_credentials(self) -> None:
        """A token, a user with a password, a guest's name; wrong ones are told as such."""
        daemon = self.start("[auth]\nhash_memory = 64KiB\nhash_passes = 1\n")
        await deferToThread(self.netsvc, daemon, "correct horse", "user", "add", "ann", "--password-stdin")
        token = await deferToThread(self.netsvc, daemon, "", "token", "issue", "ann")
        for url in (daemon.url, daemon.websocket_url):
            for name, options in (("ann", {"token": token}), ("ann", {"name": "ann", "password": "correct horse"})):
                async with Client(url, **options) as rpc:  # type: ignore[arg-type]
                    self.assertEqual((await rpc.auth.whoami())["name"], name)
            wrong = Client(url, name="ann", password="wrong horse")
            await self.assertFailure(wrong.call("auth.whoami"), NotAuthenticated)
            await wrong.close()
        async with Client(daemon.websocket_url, name="walter") as rpc:
            self.assertEqual((await rpc.auth.whoami())["name"], "walter")

    def netsvc(self, daemon: Daemon, text: str, *arguments: str) -> str:
        """What a command says that keeps the accounts."""
        command = [sys.executable, "-m", "netsvc.cli", *arguments, "--state", str(daemon.state), "--config", str(daemon.config)]
        return subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=60).stdout.strip()


class Delivery(ClientCase):
    """Nothing is lost and nothing doubled."""

    async def test_kills(self) -> None:
        """The daemon is killed and started again while two clients, one of each kind, post and read: both read exactly what is stored."""
        daemon = self.start()
        async with Client(daemon.url, limits=FAST) as rpc:
            start = await rpc.chat.post("garden", "the beginning")
            after = start["cursor"]
            posted_by_other = threading.Event()
            output = deferToThread(self.read_output, self.talk(daemon, after), posted_by_other)
            heard: list[list[Any]] = []
            reading = Deferred.fromCoroutine(self.read(rpc, after, heard))
            posting = Deferred.fromCoroutine(self.post(rpc))
            for _ in range(KILLS):
                await self.pause(0.7)
                await deferToThread(daemon.kill)
                await self.pause(0.2)
                await deferToThread(daemon.start)
            acked = await posting
            while not posted_by_other.is_set():
                await self.pause(0.05)
            end = await rpc.using(idempotent=True).chat.post("garden", "the end")
            await reading
            other_learned = json.loads((await output)[-1])
            stored = await self.stored(rpc, after, end["seq"])
        self.assertEqual(heard, stored)
        self.assertEqual(other_learned["heard"], stored)
        texts = {text: seq for seq, text in stored}
        self.assertEqual(len(texts), len(stored), "something is stored twice")
        for learned in (acked, other_learned["acked"]):
            self.assertEqual(len(learned), POSTS)
            self.assertEqual({text: texts.get(text) for text in learned}, learned)
        self.assertEqual([seq for seq, _ in stored], list(range(2, len(stored) + 2)))

    def talk(self, daemon: Daemon, after: str) -> Any:
        """Start the client of the other kind; gives what it prints."""
        command = [sys.executable, "-c", ASYNCIO_TALKER, daemon.websocket_url, str(POSTS), after]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "NO_PROXY": "*"})
        assert other.stdout is not None
        self.addCleanup(other.stdout.close)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        return other.stdout

    def read_output(self, stream: Any, posted: threading.Event) -> list[bytes]:
        """The lines that the other prints; says when it has posted everything."""
        lines = []
        for line in stream:
            lines.append(line)
            posted.set()
        posted.set()
        return lines

    async def read(self, rpc: Client, after: str, heard: list[list[Any]]) -> None:
        """Read until the end; a gap would be a failure."""
        async with rpc.room("garden", after=after) as room:
            async for item in room:
                assert isinstance(item, Event), item
                heard.append([item.seq, item.text])
                if item.text == "the end":
                    return

    async def post(self, rpc: Client) -> dict[str, int]:
        """Post; what was acknowledged, and where it is."""
        acked = {}
        for number in range(POSTS):
            text = f"twisted {number}"
            acked[text] = (await rpc.call("chat.post", ["garden", text], idempotent=True))["seq"]
            await self.pause(0.03)
        return acked

    async def stored(self, rpc: Client, after: str, last: int) -> list[list[Any]]:
        """Everything behind a cursor."""
        events: list[list[Any]] = []
        while not events or events[-1][0] < last:
            page = await rpc.chat.history(room="garden", after=after, limit=200)
            after = page["cursor"]
            events += [[event["seq"], event["text"]] for event in page["events"]]
        return events

    async def test_stop_and_start(self) -> None:
        """A stop in order closes with 1001; the room goes on behind it, and a call that waits is answered."""
        daemon = self.start()
        async with Client(daemon.websocket_url, limits=FAST) as rpc, rpc.room("lobby") as room:
            await rpc.chat.post("lobby", "one")
            await deferToThread(daemon.stop)
            waiting = rpc.chat.history("lobby")
            await deferToThread(daemon.start)
            self.assertEqual([event["text"] for event in (await waiting)["events"]], ["one"])
            await rpc.chat.post("lobby", "two")
            items = [await room.next(), await room.next()]
            self.assertEqual([(item.seq, item.text) for item in items if isinstance(item, Event)], [(1, "one"), (2, "two")])


class Documentation(ClientCase):
    """docs/client.md."""

    def test_programs(self) -> "Deferred[None]":
        """Its programs run as they are printed, and say what they should."""
        daemon = self.start()
        programs = re.findall(r"<!-- program -->\n```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
        said = ["5\n0.25\n-32602 b: missing, expected int\n", "5\n5\n", "hello from Python\nto go on from here: after = "]
        self.assertEqual(len(programs), len(said))

        def check(output: str, words: str) -> None:
            self.assertIn(words, output)

        return gatherResults(
            [deferToThread(self.run_program, daemon, program).addCallback(check, words) for program, words in zip(programs, said, strict=True)]
        )

    def run_program(self, daemon: Daemon, program: str) -> str:
        """What a program prints, in the daemon's place instead of the usual one."""
        program = program.replace("127.0.0.1:8080", f"127.0.0.1:{daemon.port}")
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=True).stdout


class Networks(ClientCase):
    """TLS and proxies."""

    async def test_tls(self) -> None:
        """With the certificate as CA everything works; without it, and for another name, nothing is sent."""
        key, certificate = self.certificate()
        port = free_port()
        endpoint = f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
        self.start(listen=False, overrides=[f"http.listen={endpoint}"])
        for scheme in ("https", "wss"):
            for host in ("localhost", "127.0.0.1"):
                async with Client(f"{scheme}://{host}:{port}", ca_file=certificate) as rpc:
                    self.assertEqual(await rpc.math.add(2, 3), 5)
                    async with rpc.room("lobby") as room:
                        await rpc.chat.post("lobby", scheme)
                        self.assertEqual((await room.next()).text, scheme)  # type: ignore[union-attr]
            stranger = Client(f"{scheme}://localhost:{port}")
            await self.assertFailure(stranger.call("math.add", [2, 3]), Untrusted)
            await stranger.close()
        learned = await deferToThread(self.with_ca, f"https://localhost:{port}", certificate)
        self.assertEqual(learned, "5")

    def with_ca(self, url: str, certificate: Path) -> str:
        """The command line, which is on asyncio, with the same certificate."""
        command = [sys.executable, "-m", "netsvc.cli", "call", "--url", url, "--ca-file", str(certificate), "math.add", "2", "3"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    async def test_proxy(self) -> None:
        """Through a proxy that can CONNECT, with a password: HTTP, WebSocket, and TLS inside of the tunnel; asked by both kinds of clients."""
        key, certificate = self.certificate()
        port = free_port()
        plain = self.start()
        self.start(listen=False, overrides=[f"http.listen=ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"])
        proxy = ProxyFactory()
        listening = reactor.listenTCP(0, proxy, interface="127.0.0.1")  # type: ignore[attr-defined]  # zope's interfaces
        self.addCleanup(listening.stopListening)
        way = f"http://u:secret@127.0.0.1:{listening.getHost().port}"
        for url in (plain.url, plain.websocket_url, f"https://localhost:{port}", f"wss://localhost:{port}"):
            async with Client(url, proxy=way, ca_file=certificate) as rpc:
                self.assertEqual(await rpc.math.add(2, 3), 5)
        authority = plain.url.removeprefix("http://")
        self.assertEqual(proxy.asked, [authority, authority, f"localhost:{port}", f"localhost:{port}"])
        refused = Client(plain.url, proxy=way.replace("secret", "wrong"))
        error = await self.assertFailure(refused.call("math.add", [2, 3]), ConnectionLost)
        self.assertIn("407", str(error))
        await refused.close()

    async def test_ipv6(self) -> None:
        """Addresses of IPv6."""
        port = free_port()
        self.start(listen=False, overrides=[rf"http.listen=tcp6:{port}:interface=\:\:1"])
        for scheme in ("http", "ws"):
            async with Client(f"{scheme}://[::1]:{port}") as rpc:
                self.assertEqual(await rpc.math.add(2, 3), 5)

    async def test_unreachable(self) -> None:
        """Nobody listens: a call fails at once, and does not hang."""
        rpc = Client(f"http://127.0.0.1:{free_port()}")
        await self.assertFailure(rpc.call("math.add", [2, 3]), ConnectionLost)
        await rpc.close()
