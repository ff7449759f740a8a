"""[limits]: rates and connections, as clients meet them."""

import json
import socket
import time

from tests.system.clients import RpcError, RpcSocket, TextRoom, request
from tests.system.programs import eventually
from tests.system.raw import RawAnswer, RawWebSocket, frame, head, parse_answers
from tests.system.served import ServedCase, call

DEADLINE = 10.0
EXAMPLE = "[rpc]\nmodules = netsvc.examples.arithmetic\n"


class RateTests(ServedCase):
    """Budgets: five calls at once, then one every two seconds."""

    settings = EXAMPLE + "[limits]\ncalls_per_second = 0.5\nburst = 5\n"

    def setUp(self) -> None:
        """A full budget: who starts a daemon anew has one, who does not waits for it."""
        super().setUp()
        self.daemon.restart()

    def test_calls(self) -> None:
        """Over HTTP 429 with Retry-After, and after that time it goes on; other URLs are not concerned."""
        answers = [self.post(call("math.add", [1, 2])) for _ in range(7)]
        self.assertEqual([answer.status for answer in answers], [200] * 5 + [429] * 2)
        error = self.check_error(answers[-1], 429, -32005)
        wait = error["data"]["retry_after"]
        self.assertTrue(0 < wait <= 2, wait)
        self.assertEqual(answers[-1].headers["retry-after"], "2")
        self.assertEqual({answer.headers["ratelimit-policy"] for answer in answers}, {'"calls";q=5;w=10'})
        self.assertEqual([answer.headers["ratelimit"] for answer in answers], [f'"calls";r={rest};t=2' for rest in (4, 3, 2, 1, 0, 0, 0)])
        self.assertEqual([request(f"{self.url}/healthz").status for _ in range(10)], [200] * 10)
        until = time.monotonic() + wait
        eventually(lambda: time.monotonic() >= until, DEADLINE, "the time to pass that the server asked for")
        self.assertEqual(self.post(call("math.add", [1, 2])).status, 200)

    def test_batches(self) -> None:
        """Each call of a batch pays for itself; notifications pay, too."""
        for _ in range(2):
            self.assertEqual(self.post({"jsonrpc": "2.0", "method": "math.add", "params": [1, 2]}).status, 204)
        answers = self.post([call("math.add", [1, 2])] * 5).json()
        self.assertEqual([answer.get("error", {}).get("code") for answer in answers], [None] * 3 + [-32005] * 2)

    def test_one_budget(self) -> None:
        """Guests of one address share theirs, over HTTP, on WebSockets, which cost something to open, and in plain text; nobody is disconnected for it."""
        with RpcSocket(self.daemon.websocket_url) as client, TextRoom(self.daemon.websocket_url, "lobby", "name=ann") as room:
            room.hear()
            client.call("math.add", a=1, b=2)
            self.assertEqual(self.post(call("math.add", [1, 2])).status, 200)
            room.say("hello")
            self.assertEqual(room.hear(), "<ann> hello")
            room.say("again")
            self.assertRegex(room.hear(), "^-- not sent: .* --$")
            with self.assertRaises(RpcError) as limited:
                client.call("math.add", a=1, b=2)
            self.assertEqual(limited.exception.code, -32005)
            self.assertEqual([limited.exception.data[member] for member in ("quota", "window", "remaining")], [5, 10, 0])
            eventually(lambda: self.post(call("math.add", [1, 2])).status == 200, DEADLINE, "a call to be let through")

    def test_what_is_wrong_costs_too(self) -> None:
        """What is no call, unknown procedures, refused credentials and logins: all cost; then even that is refused."""
        for body, status in (("nope", 400), (call("no.such"), 404), (call("server.status"), 403), ([1, 2], 200), ("nope", 429)):
            self.assertEqual(self.post(body).status, status)
        self.daemon.restart()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual([request(f"{self.url}/login", "POST", b"name=ann&password=wrong", form).status for _ in range(2)], [401, 429])
        self.daemon.restart()
        answers = [self.post(call("auth.whoami"), Authorization="Bearer nst_wrong") for _ in range(2)]
        self.assertEqual([answer.status for answer in answers], [401, 429])
        self.assertEqual(answers[0].headers["ratelimit"], '"calls";r=0;t=2')

    def test_dear_calls(self) -> None:
        """A call that costs as much as the burst is possible with a full budget."""
        self.assertEqual(self.post(call("rpc.discover")).status, 200)
        self.check_error(self.post(call("rpc.discover")), 429, -32005)


class OffTests(ServedCase):
    """rate = off."""

    settings = EXAMPLE + "[limits]\nrate = off\ncalls_per_second = 1\nburst = 1\n"

    def test_endless(self) -> None:
        """Nobody is limited."""
        for _ in range(5):
            answers = self.post([call("math.add", [1, 2])] * 100).json()
            self.assertEqual({answer.get("result") for answer in answers}, {3})


class Connections(ServedCase):
    """Tests that open connections."""

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        """A connection from an address of this machine."""
        client = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=DEADLINE, source_address=(address, 0))
        self.addCleanup(client.close)
        return client

    def ask(self, client: socket.socket) -> RawAnswer:
        """What a request on it gets."""
        client.sendall(head())
        received = b""
        while not parse_answers(received):
            data = client.recv(65536)
            assert data, "the server closed without an answer"
            received += data
        return parse_answers(received)[0]

    def opens(self, address: str = "127.0.0.1") -> bool:
        """Whether a new connection is served."""
        client = self.connect(address)
        try:
            return self.ask(client).status == 200
        finally:
            client.close()


class CapTests(Connections):
    """connections."""

    settings = "[limits]\nconnections = 4\n"

    def test_cap(self) -> None:
        """One too many is told so, 503 with Retry-After, and closed; WebSockets count; one that leaves makes place."""
        with RpcSocket(self.daemon.websocket_url) as client, TextRoom(self.daemon.websocket_url, "lobby") as room:
            room.hear()
            others = [self.connect(), self.connect("127.0.0.2")]
            self.assertEqual([self.ask(other).status for other in others], [200, 200])
            refused = self.connect("127.0.0.3")
            answer = self.ask(refused)
            self.assertEqual((answer.status, answer.headers["connection"]), (503, "close"))
            self.assertGreater(int(answer.headers["retry-after"]), 0)
            self.assertEqual(refused.recv(1), b"")
            self.assertTrue(client.call("auth.whoami")["guest"])
            others[0].close()
            eventually(self.opens, DEADLINE, "a place")
            self.assertEqual(self.ask(others[1]).status, 200)


class OutboundTests(ServedCase):
    """outbound."""

    settings = "[limits]\noutbound = 20MB\nrate = off\n[rpc]\nmodules = wire_procedures\n"

    def test_who_does_not_read(self) -> None:
        """When clients that do not read make netsvc keep too much, some are cut, no more than has to be; it is counted, and others notice nothing."""
        size = 12_000_000
        clients = [RawWebSocket(self.daemon.port) for _ in range(4)]
        for client in clients:
            self.addCleanup(client.close)
            client.send(frame(1, json.dumps(call("count.big", [size])).encode()))
        eventually(lambda: "were disconnected" in self.daemon.output(), DEADLINE, "clients to be disconnected")
        with RpcSocket(self.daemon.websocket_url) as other:
            self.assertEqual(len(other.call("count.big", size=1000)), 1000)
        whole = 0
        for client in clients:
            try:
                whole += len(client.text()) > size
            except AssertionError:  # it ends inside of the frame
                client.close()
        self.assertEqual(whole, 1)


class AddressTests(Connections):
    """connections_per_address."""

    settings = "[limits]\nconnections_per_address = 2\n"

    def test_each_address(self) -> None:
        """Each has its own number."""
        for address in ("127.0.0.4", "127.0.0.5"):
            clients = [self.connect(address) for _ in range(3)]
            self.assertEqual([self.ask(client).status for client in clients], [200, 200, 503])
        clients[0].close()
        eventually(lambda: self.opens("127.0.0.5"), DEADLINE, "a place")


class NoCapTests(Connections):
    """0 is no cap."""

    settings = "[limits]\nconnections = 0\nconnections_per_address = 0\n"

    def test_many(self) -> None:
        """As many as there are."""
        self.assertEqual({self.ask(self.connect()).status for _ in range(200)}, {200})
