"""Who may come in: guests by default, credentials of every kind, revocation, and how refusals look."""

import socket
import time
from base64 import b64encode
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

from websockets.exceptions import InvalidStatus

from tests.ports import free_port
from tests.system.clients import Answer, RpcError, RpcSocket, TextRoom, post_rpc, request
from tests.system.daemon import Daemon
from tests.system.raw import exchange, head
from tests.system.served import ServedCase, call

PASSWORD = "correct horse battery staple"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
REVOCATION = 5.0
MACHINE = 3.0
"""Seconds allowed for starting a command on a busy machine."""


class AccountCase(ServedCase):
    """Tests with a member, ann."""

    settings = "[chat]\nguests = no\n[rpc]\nmodules = wire_procedures\n[limits]\nrate = off\n[auth]\nhash_memory = 64KiB\nhash_passes = 1\n"

    tokens: ClassVar[dict[Path, str]] = {}
    """By the daemon's state directory: commands take a third of a second each."""

    def setUp(self) -> None:
        """ann has a password and a token."""
        super().setUp()
        state = self.daemon.state
        if state not in self.tokens:
            self.netsvc("user", "add", "ann", "--password-stdin", text=PASSWORD + "\n")
            self.tokens[state] = self.netsvc("token", "issue", "ann")
        self.token = self.tokens[state]
        self.bearer = {"Authorization": f"Bearer {self.token}"}
        self.basic = {"Authorization": "Basic " + b64encode(f"ann:{PASSWORD}".encode()).decode()}

    def login(self, name: str = "ann", password: str = PASSWORD, **headers: str) -> Answer:
        """POST /login as a form."""
        return request(f"{self.url}/login", "POST", urlencode({"name": name, "password": password}).encode(), {**FORM, **headers})

    def code(self, client: RpcSocket, method: str, **params: object) -> int:
        """The code of the error that a call gets."""
        with self.assertRaises(RpcError) as raised:
            client.call(method, **params)
        return raised.exception.code


class GuestTests(ServedCase):
    """Where guests are allowed, here by default: the listener is loopback."""

    settings = "[rpc]\nmodules = netsvc.examples.arithmetic, wire_procedures\n"

    def test_what_guests_may(self) -> None:
        """Everything on every URL, but what is for members and admins; a request has one name for its address, a WebSocket its own."""
        names = {post_rpc(self.url, "auth.whoami")["name"] for _ in range(3)}
        self.assertEqual(len(names), 1)
        self.assertEqual(post_rpc(self.url, "auth.whoami"), {"name": names.pop(), "roles": ["guest"], "guest": True})
        for path in ("/", "/chat/lobby/", "/openrpc.json", "/healthz", "/readyz"):
            self.assertEqual(request(self.url + path).status, 200, path)
        for method, params in (("math.add", [1, 2]), ("system.listMethods", []), ("rpc.discover", []), ("chat.rooms", [])):
            post_rpc(self.url, method, params)
        for method in ("plain.member", "server.status"):
            self.check_error(self.post(call(method)), 403, -32002)
        with RpcSocket(self.daemon.websocket_url) as one, RpcSocket(self.daemon.websocket_url) as other:
            self.assertNotEqual(one.call("auth.whoami")["name"], other.call("auth.whoami")["name"])

    def test_names(self) -> None:
        """A guest may ask for a name, not for a user's, nor for one that could be taken for something else."""
        self.netsvc("user", "add", "taken", "--password-stdin", text=PASSWORD + "\n")
        with RpcSocket(self.daemon.websocket_url) as client:
            for name in ("ann", "\u00c4nn\u00e4", "\u592a\u90ce", "a" * 32, "bob.b-b_b"):
                self.assertEqual(client.call("auth.login", name=name), {"name": name, "roles": ["guest"]})
            for name, code in (("taken", -32004), ("Taken", -32004), ("", -32602), ("a" * 33, -32602), ("a b", -32602), ("<ann>", -32602), ("\u202ea", -32602)):
                with self.assertRaises(RpcError) as refused:
                    client.call("auth.login", name=name)
                self.assertEqual(refused.exception.code, code, name)
            self.assertEqual(client.call("auth.whoami")["name"], "bob.b-b_b")
        with self.assertRaises(InvalidStatus) as conflict:
            TextRoom(self.daemon.websocket_url, "lobby", "name=taken")
        self.assertEqual(conflict.exception.response.status_code, 409)

    def test_wrong_credentials(self) -> None:
        """They are refused, and not taken for none."""
        for value in ("Bearer nonsense", "Basic !", "Basic " + b64encode(b"nobody:nothing").decode(), "Digest x", "Bearer", ""):
            answer = self.post(call("auth.whoami"), Authorization=value)
            self.check_error(answer, 401, -32001)
            self.assertIn("Bearer", answer.headers["www-authenticate"])
            self.assertEqual(request(f"{self.url}/openrpc.json", headers={"Authorization": value}).status, 401)
            with self.assertRaises(InvalidStatus) as refused:
                RpcSocket(self.daemon.websocket_url, {"Authorization": value})
            self.assertEqual(refused.exception.response.status_code, 401)


class NoGuestTests(AccountCase):
    """Where they are not."""

    def test_without_credentials(self) -> None:
        """401 but for the page, health, login, and /ws; what is not there is 404."""
        for path in ("/", "/healthz", "/readyz"):
            self.assertEqual(request(self.url + path).status, 200, path)
        for path in ("/openrpc.json", "/chat/lobby/"):
            answer = request(self.url + path)
            self.assertEqual((answer.status, "www-authenticate" in answer.headers), (401, True), path)
        self.assertEqual(request(f"{self.url}/nothing").status, 404)
        with self.assertRaises(InvalidStatus) as refused:
            TextRoom(self.daemon.websocket_url, "lobby", "name=ann")
        self.assertEqual(refused.exception.response.status_code, 401)

    def test_calls(self) -> None:
        """A JSON-RPC error, with the id of the call if there is one, whatever is sent."""
        answer = self.post(call("auth.whoami", id="mine"))
        self.check_error(answer, 401, -32001, "mine")
        self.assertIn("www-authenticate", answer.headers)
        for body in ("nonsense", [call("auth.whoami")], {"jsonrpc": "2.0", "method": "auth.whoami"}, b"\xff"):
            self.check_error(self.post(body), 401, -32001, None)

    def test_first_call(self) -> None:
        """On a WebSocket only auth.login works, until it has; a failed one does not end the connection."""
        with RpcSocket(self.daemon.websocket_url) as client:
            for method, params in (("auth.whoami", {}), ("chat.rooms", {}), ("chat.post", {"room": "a", "text": "x"}), ("rpc.discover", {})):
                self.assertEqual(self.code(client, method, **params), -32001, method)
            for credentials in ({}, {"name": "guest"}, {"token": "nonsense"}, {"name": "ann", "password": "wrong"}, {"name": "nobody", "password": "wrong"}):
                self.assertEqual(self.code(client, "auth.login", **credentials), -32001, credentials)
            for credentials in ({"password": PASSWORD}, {"token": self.token, "name": "ann"}, {"token": 3}, {"nobody": 1}):
                self.assertEqual(self.code(client, "auth.login", **credentials), -32602, credentials)
            self.assertEqual(client.call("auth.login", token=self.token), {"name": "ann", "roles": ["member"]})
            self.assertEqual(client.call("auth.whoami"), {"name": "ann", "roles": ["member"], "guest": False})
        with RpcSocket(self.daemon.websocket_url) as client:
            # Without waiting: what is sent behind the login is the user's.
            client.send("auth.login", name="Ann", password=PASSWORD)
            self.assertEqual(client.call("auth.whoami")["name"], "ann")

    def test_every_kind(self) -> None:
        """A token, Basic and a session are the same user, over HTTP, on /ws and in plain text."""
        cookie = {"Cookie": "a=b; " + self.login().headers["set-cookie"].partition(";")[0] + "; c=d"}
        for headers in (self.bearer, {"Authorization": f"bearer {self.token}"}, self.basic, cookie):
            self.assertEqual(post_rpc(self.url, "auth.whoami", headers=headers)["name"], "ann")
            self.assertEqual(post_rpc(self.url, "plain.member", headers=headers), "ann")
            with RpcSocket(self.daemon.websocket_url, headers) as client:
                self.assertEqual(client.call("auth.whoami")["name"], "ann")
            fields = [f"{name}: {value}" for name, value in headers.items()]
            (answer,), _ = exchange(self.daemon.port, head("/chat/lobby/", "GET", *fields), expect=1)
            self.assertEqual(answer.status, 200)
        self.check_error(self.post(call("server.status"), **self.bearer), 403, -32002)

    def test_session(self) -> None:
        """The cookie is out of reach for scripts and other sites; it is hashed at rest; logout ends it and the connections that it opened."""
        answer = self.login()
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/"))
        self.assertLessEqual({"HttpOnly", "SameSite=Lax", "Path=/"}, set(attributes))
        self.assertNotIn("Secure", attributes)
        secret = cookie.partition("=")[2]
        for file in self.daemon.state.iterdir():
            self.assertNotIn(secret.encode(), file.read_bytes(), file)
            self.assertNotIn(self.token.encode(), file.read_bytes(), file)
        with RpcSocket(self.daemon.websocket_url, {"Cookie": cookie}) as client:
            self.assertEqual(client.call("auth.whoami")["name"], "ann")
            ended = request(f"{self.url}/logout", "POST", b"", {"Cookie": cookie})
            self.assertIn("Max-Age=0", ended.headers["set-cookie"])
            self.assertEqual(client.closed(REVOCATION), 4401)
        self.check_error(self.post(call("auth.whoami"), Cookie=cookie), 401, -32001)

    def test_login_form(self) -> None:
        """Wrong ones are refused; nobody is led elsewhere; a program is answered in JSON."""
        self.assertEqual(self.login(password="wrong").status, 401)
        self.assertEqual(self.login(name="nobody").status, 401)
        self.assertEqual(self.login(Accept="application/json").json(), {"name": "ann", "roles": ["member"]})
        for body in (b"", b"name=ann", b"name=ann&password=", b"{}"):
            self.assertEqual(request(f"{self.url}/login", "POST", body, FORM).status, 400, body)
        for target, location in (("/chat/lobby/", "/chat/lobby/"), ("//evil.example/", "/"), ("https://evil.example/", "/"), ("/\\evil.example", "/")):
            form = urlencode({"name": "ann", "password": PASSWORD, "next": target}).encode()
            self.assertEqual(request(f"{self.url}/login", "POST", form, FORM).headers["location"], location, target)

    def test_revocation(self) -> None:
        """A revoked token is refused, and its connections of every kind are closed with 4401, within five seconds; others stay."""
        known = self.netsvc("token", "list", "ann").splitlines()
        token = self.netsvc("token", "issue", "ann")
        (line,) = set(self.netsvc("token", "list", "ann").splitlines()) - set(known)
        bearer, url = {"Authorization": f"Bearer {token}"}, self.daemon.websocket_url
        with RpcSocket(url, bearer) as first, RpcSocket(url) as second, RpcSocket(url, self.bearer) as stays:
            second.call("auth.login", token=token)
            first.call("chat.join", room="lobby")
            began = time.monotonic()
            self.netsvc("token", "revoke", line.split()[0])
            self.assertEqual([client.closed(REVOCATION + MACHINE) for client in (first, second)], [4401, 4401])
            self.assertLess(time.monotonic() - began, REVOCATION + MACHINE)
            self.check_error(self.post(call("auth.whoami"), **bearer), 401, -32001)
            self.assertEqual(stays.call("auth.whoami")["name"], "ann")


class LoginTimeTests(AccountCase):
    """Nobody may stay nobody for long."""

    settings = AccountCase.settings.replace("[rpc]\n", "[rpc]\nlogin_timeout = 500ms\n")

    def test_time_for_a_login(self) -> None:
        """A WebSocket without one is closed, with a reason that says what to do, also if it calls and pings; others stay."""
        url = self.daemon.websocket_url
        with RpcSocket(url) as silent, RpcSocket(url) as calls, RpcSocket(url) as logs_in, RpcSocket(url, self.bearer) as brings:
            logs_in.call("auth.login", token=self.token)
            self.assertEqual(self.code(calls, "auth.whoami"), -32001)
            self.assertEqual([client.closed(MACHINE) for client in (silent, calls)], [4401, 4401])
            self.assertEqual([client.call("auth.whoami")["name"] for client in (logs_in, brings)], ["ann", "ann"])


class GuessingTests(AccountCase):
    """Passwords cannot be tried without end."""

    settings = AccountCase.settings + "failures = 3\nfailures_per_address = 1000\nfailures_recovery = 1h\n"

    def test_bounded(self) -> None:
        """After some failures -32005 says when to come back; those who are logged in notice nothing, nor do other names."""
        statuses = [self.login(name="bob", password=f"wrong{number}").status for number in range(5)]
        self.assertEqual(statuses, [401, 401, 401, 429, 429])
        self.assertGreater(int(self.login(name="bob", password="wrong").headers["retry-after"]), 1)
        wrong = "Basic " + b64encode(b"bob:wrong").decode()
        limited = self.post(call("auth.whoami"), Authorization=wrong)
        self.assertGreater(self.check_error(limited, 429, -32005)["data"]["retry_after"], 1)
        self.assertGreater(int(limited.headers["retry-after"]), 1)
        self.assertEqual(self.login().status, 303)


class DefaultTests(ServedCase):
    """[chat] guests by itself."""

    def check(self, config: str, guests: bool, **options: bool) -> None:
        """Who may come in, and that it is said at the start."""
        port = free_port()
        with Daemon(config.format(port=port), port=port, listen=False, **options) as daemon:
            self.assertEqual(request(f"{daemon.url}/openrpc.json").status == 200, guests)
            words = "guests are welcome" if guests else "guests are not allowed"
            self.assertIn(words, daemon.output())
            self.assertIn(words, daemon.status_line)

    def test_loopback(self) -> None:
        """Yes while every listener is loopback: addresses, names, UNIX sockets."""
        self.check("[http]\nlisten = tcp:{port}:interface=127.0.0.1\n  tcp:0:interface=localhost\n  unix:here.sock\n", True)

    def test_any_other(self) -> None:
        """No as soon as one is not, unless it is said."""
        self.check("[http]\nlisten = tcp:{port}:interface=127.0.0.1\n  tcp:0\n", False)
        self.check("[http]\nlisten = tcp:{port}\n[chat]\nguests = yes\n", True)
        self.check("[http]\nlisten = tcp:{port}:interface=127.0.0.1\n[chat]\nguests = no\n", False)

    def test_over_a_unix_socket(self) -> None:
        """A client without an address is a guest like any other."""
        port = free_port()
        config = f"[http]\nlisten = tcp:{port}:interface=127.0.0.1\n  unix:here.sock\n[limits]\nconnections_per_address = 1\n"
        with Daemon(config, port=port, listen=False) as daemon:
            clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
            for client in clients:
                self.addCleanup(client.close)
                client.settimeout(10)
                client.connect(str(daemon.directory / "here.sock"))
                client.sendall(head("/openrpc.json"))
                self.assertTrue(client.recv(20).startswith(b"HTTP/1.1 200 "))
