"""docs/protocol.md, said to the real daemon."""

import json
import re
import socket
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.system.clients import RpcError, RpcSocket, TextRoom, post_rpc, request
from tests.system.daemon import Daemon

ROOT = Path(__file__).parent.parent.parent
SETTINGS = """
[http]
hosts = example.org
origins = https://friend.example
[rpc]
modules = netsvc.examples.arithmetic
[limits]
rate = off
"""
PASSWORD = "correct horse battery staple"
JSON = {"Content-Type": "application/json"}


class Case(SynchronousTestCase):
    """Tests on a daemon of their own."""

    settings = SETTINGS

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon(self.settings)
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.url = self.daemon.url

    def netsvc(self, *arguments: str, text: str = "") -> str:
        """Run the command beside the daemon."""
        command = [sys.executable, "-m", "netsvc.cli", *arguments, "--state", str(self.daemon.state)]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60, cwd=self.daemon.directory).stdout

    def add_ann(self) -> str:
        """Add a member with a password; gives a token."""
        self.netsvc("user", "add", "ann", "--password-stdin", text=PASSWORD + "\n")
        return self.netsvc("token", "issue", "ann").strip()

    def raw(self, data: bytes) -> bytes:
        """What the server answers to these bytes, until it closes."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        return answer


class HttpTests(Case):
    """URLs, hosts, origins, bad requests."""

    def test_documented_urls(self) -> None:
        """Each URL of the documentation's table is there; what is marked as not yet is not."""
        table = re.findall(r"^\| (`[^|]+`(?:, `[^|]+`)*) \| (.*) \|$", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE)
        found = [(url, "not yet" in what) for urls, what in table for url in re.findall(r"`((?:GET|POST) /[^`]*)`", urls)]
        self.assertGreater(len(found), 9)
        post_rpc(self.url, "chat.post", {"room": "lobby", "text": "this room exists"})
        for line, missing in found:
            method, path = line.split()
            status = request(self.url + path.replace("<room>", "lobby"), method, b"{}" if method == "POST" else None, JSON).status
            self.assertEqual(status == 404, missing, f"{line}: {status}")

    def test_hosts(self) -> None:
        """A name that nobody told netsvc gets 421; those told, addresses and localhost pass."""
        for host, status in (("example.org", 200), ("localhost:8080", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example", 421)):
            self.assertEqual(request(f"{self.url}/healthz", headers={"Host": host}).status, status, host)

    def test_origins(self) -> None:
        """Pages of other sites may neither call nor connect; ours, befriended ones and programs may."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "auth.whoami"}).encode()
        for origin, status in ((None, 200), (self.url, 200), ("https://friend.example", 200), ("https://evil.example", 403), ("null", 403)):
            headers = JSON if origin is None else {**JSON, "Origin": origin}
            self.assertEqual(request(f"{self.url}/rpc", "POST", body, headers).status, status, origin)
        with self.assertRaises(InvalidStatus) as refused:
            connect(f"{self.daemon.websocket_url}/ws", origin="https://evil.example", proxy=None)  # type: ignore[arg-type]
        self.assertEqual(refused.exception.response.status_code, 403)

    def test_bad_requests(self) -> None:
        """What is no right HTTP is answered with a status and the connection is closed."""
        for data, status in (
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
            (b"POST /rpc HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n", 431),
            (b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n", 413),
        ):
            head = self.raw(data).partition(b"\r\n")[0]
            self.assertTrue(head.startswith(b"HTTP/1.1 %d " % status), (data[:60], head))

    def test_errors_say_their_request(self) -> None:
        """An error is JSON with a request id, or a page for who asks for one."""
        answer = request(f"{self.url}/nowhere")
        self.assertEqual(sorted(answer.json()["error"]), ["message", "request_id", "status"])
        page = request(f"{self.url}/nowhere", headers={"Accept": "text/html"})
        self.assertEqual((page.status, page.headers["content-type"].partition(";")[0]), (404, "text/html"))


class RpcTests(Case):
    """Calls, errors, and the plain-text rooms."""

    def test_documented_methods(self) -> None:
        """Each method of the documentation's table is registered, with its params in that order, and no other is."""
        text = (ROOT / "docs" / "protocol.md").read_text()
        rows = re.findall(r"^\| (`\w+\.\w+`(?:, `\w+\.\w+`)*) \| (.*?) \|", text, re.MULTILINE)
        # What is said of notifications begins with a brace.
        documented = {name: params for names, params in rows if not params.startswith("`{") for name in re.findall(r"`(\w+\.\w+)`", names)}
        others = (".event", ".iso8601")
        documented = {name: params for name, params in documented.items() if not name.endswith(others)}
        discovered = {method["name"]: method["params"] for method in post_rpc(self.url, "rpc.discover")["methods"]}
        self.assertEqual(set(documented), set(discovered))
        for name, params in documented.items():
            listed = re.findall(r"^`([^`]+)`$", params)
            if listed and name.startswith("chat."):
                words = [f"{param['name']}{'' if param['required'] else '?'}" for param in discovered[name]]
                self.assertEqual(listed[0].split(", "), words, name)

    def test_errors(self) -> None:
        """Each error has its code, and over HTTP its status; nothing shows a traceback."""
        call = {"jsonrpc": "2.0", "id": 1}
        for body, code, status in (
            (b"{", -32700, 400),
            (b'{"jsonrpc": "2.0", "id": 1, "method": "a\xff"}', -32700, 400),
            (b"[" * 100_000, -32700, 400),
            (b"[]", -32600, 400),
            (json.dumps({**call, "method": "no.such"}).encode(), -32601, 404),
            (json.dumps({**call, "method": "math.add", "params": {"a": "x", "b": 1}}).encode(), -32602, 400),
            (json.dumps({**call, "method": "chat.post", "params": ["Bad Name!", "x"]}).encode(), -32602, 400),
            (json.dumps({**call, "method": "server.status"}).encode(), -32002, 403),
            (json.dumps({**call, "method": "chat.who", "params": ["nobody-was-here"]}).encode(), -32003, 404),
        ):
            answer = request(f"{self.url}/rpc", "POST", body, JSON)
            self.assertEqual((answer.json()["error"]["code"], answer.status), (code, status), body[:80])
            self.assertNotIn(b"Traceback", answer.body)
        with self.assertRaises(RpcError) as wrong:
            post_rpc(self.url, "math.add", {"a": "x", "b": 1})
        self.assertIn("a", str(wrong.exception))

    def test_keys(self) -> None:
        """The same key posts once; with other params it is a conflict."""
        first = post_rpc(self.url, "chat.post", {"room": "lobby", "text": "hello", "key": "k1"})
        self.assertEqual(post_rpc(self.url, "chat.post", {"room": "lobby", "text": "hello", "key": "k1"}), first)
        with self.assertRaises(RpcError) as conflict:
            post_rpc(self.url, "chat.post", {"room": "lobby", "text": "other", "key": "k1"})
        self.assertEqual(conflict.exception.code, -32004)

    def test_cursors(self) -> None:
        """A join reads on from a cursor with nothing missing; a cursor of another epoch is told apart."""
        with RpcSocket(self.daemon.websocket_url) as client:
            self.assertRegex(client.call("chat.join", room="lobby")["cursor"], r":0$")
            posted = [client.call("chat.post", room="lobby", text=str(number)) for number in range(5)]
        with RpcSocket(self.daemon.websocket_url) as again:
            joined = again.call("chat.join", room="lobby", after=posted[1]["cursor"], limit=2)
            self.assertEqual(([event["text"] for event in joined["events"]], joined["more"], joined["recovered"]), (["2", "3"], True, True))
            self.assertEqual(again.event()["text"], "4")
        history = post_rpc(self.url, "chat.history", {"room": "lobby", "after": "elsewhere:3", "limit": 1})
        self.assertEqual((history["recovered"], history["events"][0]["text"]), (False, "4"))

    def test_plain_text(self) -> None:
        """A welcome, then one frame for each message; no one can forge another's name; a script resumes by `after`."""
        with TextRoom(self.daemon.websocket_url, "lobby", "name=ann") as ann:
            self.assertEqual(ann.hear(), "Welcome ann!")
            ann.say("hello\n<bob> I am bob")
            self.assertEqual(ann.hear().splitlines()[0], "<ann> hello")
        cursor = post_rpc(self.url, "chat.post", {"room": "lobby", "text": "later"})["cursor"]
        before = f"{cursor.rpartition(':')[0]}:1"
        with TextRoom(self.daemon.websocket_url, "lobby", f"name=ann&after={before}") as ann:
            ann.hear()
            self.assertRegex(ann.hear(), "^<[^>]+> later$")
        events = post_rpc(self.url, "chat.history", {"room": "lobby"})["events"]
        self.assertEqual(len(events), 2)

    def test_close_codes(self) -> None:
        """Binary where text is spoken, bad UTF-8, too long."""
        for message, code in ((b"\x00", 1003), ("x" * (2 << 20), 1009)):
            with TextRoom(self.daemon.websocket_url, "lobby") as client:
                client.connection.send(message)
                self.assertEqual(client.closed(), code)


class IdentityTests(Case):
    """Who may come in."""

    settings = SETTINGS + "[chat]\nguests = no\n"

    def test_without_guests(self) -> None:
        """Only the page, health, login, and /ws for auth.login are open."""
        for path, status in (("/", 200), ("/healthz", 200), ("/readyz", 200), ("/openrpc.json", 401)):
            self.assertEqual(request(self.url + path).status, status, path)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "auth.whoami"}).encode()
        answer = request(f"{self.url}/rpc", "POST", body, JSON)
        self.assertEqual(answer.status, 401)
        self.assertIn("www-authenticate", answer.headers)
        token = self.add_ann()
        with RpcSocket(self.daemon.websocket_url) as client:
            with self.assertRaises(RpcError) as refused:
                client.call("chat.rooms")
            self.assertEqual(refused.exception.code, -32001)
            self.assertEqual(client.call("auth.login", token=token), {"name": "ann", "roles": ["member"]})
            self.assertEqual(client.call("auth.whoami")["name"], "ann")

    def test_credentials(self) -> None:
        """A token, a password and a session cookie are the same person."""
        token = self.add_ann()
        form = f"name=ann&password={PASSWORD.replace(' ', '+')}".encode()
        login = request(f"{self.url}/login", "POST", form, {"Content-Type": "application/x-www-form-urlencoded"})
        self.assertLess(login.status, 400, login.body)
        cookie = login.headers["set-cookie"]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=Lax", cookie)
        basic = b64encode(f"ann:{PASSWORD}".encode()).decode()
        for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": f"Basic {basic}"}, {"Cookie": cookie.partition(";")[0]}):
            self.assertEqual(post_rpc(self.url, "auth.whoami", headers=headers), {"name": "ann", "roles": ["member"], "guest": False})
        self.assertNotIn(PASSWORD, self.daemon.output())
        self.assertNotIn(token, self.daemon.output())

    def test_revocation(self) -> None:
        """A revoked token loses its connection within five seconds, with 4401."""
        token = self.add_ann()
        id = self.netsvc("token", "list").splitlines()[1].split()[0]
        with RpcSocket(self.daemon.websocket_url, {"Authorization": f"Bearer {token}"}) as client:
            self.assertEqual(client.call("auth.whoami")["name"], "ann")
            self.netsvc("token", "revoke", id)
            self.assertEqual(client.closed(5.0), 4401)
