"""HTTP clients that leave, or send no more, while something is done for them."""

import json
import signal
import socket

from tests.system.programs import eventually
from tests.system.raw import head
from tests.system.served import ServedCase, call

DEADLINE = 10.0
HALF_CLOSED = 1.0
LONG = 60.0
"""Seconds that nothing here may take."""


class LeavingTests(ServedCase):
    """Raw sockets against the real daemon."""

    settings = (
        f"[netsvc]\nstop_timeout = {LONG}s\n[http]\nhalf_closed_timeout = {HALF_CLOSED}s\ndrain_timeout = {LONG}s\n"
        "[rpc]\nmodules = wire_procedures\n[limits]\nrate = off\n"
    )

    def ask(self, accept: str, count: int, seconds: float) -> bytes:
        """A request for a call of slow.parts."""
        body = json.dumps(call("slow.parts", [count, seconds])).encode()
        return head("/rpc", "POST", f"Accept: {accept}", f"Content-Length: {len(body)}") + body

    def cancelled(self) -> int:
        """How many calls were cancelled so far."""
        found: int = self.post(call("count.cancelled")).json()["result"]
        return found

    def test_client_leaves(self) -> None:
        """The call of a client that has closed its connection in good order is cancelled soon, whether it has got anything or not."""
        for accept in ("application/json", "application/jsonl"):
            before = self.cancelled()
            with socket.create_connection(("127.0.0.1", self.daemon.port), DEADLINE) as client:
                client.sendall(self.ask(accept, 2, LONG))
                if accept == "application/jsonl":
                    self.assertTrue(client.recv(100))
            eventually(lambda before=before: self.cancelled() > before, DEADLINE, "the call is cancelled")
            self.assertEqual(self.cancelled(), before + 1)

    def test_stop(self) -> None:
        """An answer in lines that comes to its end while the server stops is whole, and the server waits no longer."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), DEADLINE) as client:
            client.sendall(self.ask("application/jsonl", 2, 0.5))
            received = client.recv(65536)
            self.daemon.signal(signal.SIGTERM)
            received += b"".join(iter(lambda: client.recv(65536), b""))
        self.assertTrue(received.endswith(b'"result":2}\n\r\n0\r\n\r\n'), received)
        self.assertEqual(self.daemon.wait(DEADLINE), 0)

    def test_client_sends_no_more(self) -> None:
        """One that has only closed its direction gets its answer if that comes soon."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), DEADLINE) as client:
            client.sendall(self.ask("application/json", 1, HALF_CLOSED / 4))
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["result"], 1)
