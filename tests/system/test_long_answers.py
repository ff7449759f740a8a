"""Results that are larger than what should wait in memory, over HTTP and WebSocket."""

import http.client
import json
from typing import Any

from tests.system.clients import RpcSocket
from tests.system.served import ServedCase

COUNT, SIZE = 1500, 64 * 1024
MOST = 16 * 1024 * 1024
"""How much of 96 MB the daemon may have in memory on the way."""


class LongAnswerTests(ServedCase):
    """A procedure that gives its result in parts."""

    settings = "[rpc]\nmodules = wire_procedures\ndeadline_max = 2m\n[limits]\nrate = off\n"

    def peak(self) -> int:
        """Bytes that the daemon has had in memory at the most."""
        with open(f"/proc/{self.daemon.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))

    def lines(self, *, read: int) -> "tuple[http.client.HTTPConnection, Any]":
        """Call over HTTP for lines, and read so many bytes of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30)
        self.addCleanup(connection.close)
        message = {"jsonrpc": "2.0", "id": 7, "method": "count.parts", "params": [COUNT, SIZE]}
        connection.request("POST", "/rpc", json.dumps(message), {"Accept": "application/jsonl", "X-Deadline": "120"})
        answer = connection.getresponse()
        answer.read(read)
        return connection, answer

    def test_over_http(self) -> None:
        """All of it comes, in order, as lines; it is made as it is read, so little of it is ever in memory."""
        self.lines(read=1)  # what comes once in the life of a process
        before = self.peak()
        _, answer = self.lines(read=0)
        self.assertEqual((answer.status, answer.headers["Content-Type"], answer.headers["Transfer-Encoding"]), (200, "application/jsonl", "chunked"))
        for number in range(COUNT):
            line = json.loads(answer.readline())
            self.assertEqual((line["params"]["id"], line["params"]["done"], len(line["params"]["data"])), (7, number + 1, SIZE))
        self.assertEqual(json.loads(answer.readline()), {"jsonrpc": "2.0", "id": 7, "result": COUNT})
        self.assertEqual(answer.read(), b"")
        self.assertLess(self.peak() - before, MOST)

    def test_on_a_websocket(self) -> None:
        """Likewise."""
        with RpcSocket(self.daemon.websocket_url) as client:
            before = self.peak()
            client.connection.send(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "count.parts", "params": [COUNT, SIZE], "deadline": 120}))
            for number in range(COUNT):
                self.assertEqual(json.loads(client.connection.recv(30))["params"]["done"], number + 1)
            self.assertEqual(json.loads(client.connection.recv(30))["result"], COUNT)
            self.assertLess(self.peak() - before, MOST)
