"""SIGTERM while clients are in every state there is."""

import json
import signal
import socket
import threading
import time

from tests.system.clients import RpcSocket, TextRoom, request
from tests.system.raw import RawAnswer, RawWebSocket, exchange, frame, head
from tests.system.served import ServedCase, call

DEADLINE = 10.0
STOP = 2.0
RETURN = 5.0
BUSY = 3.0
"""Seconds that a busy machine may take for the end of the process itself."""


class StopTests(ServedCase):
    """The orderly end."""

    settings = f"[netsvc]\nstop_timeout = {STOP}s\n[rpc]\nmodules = wire_procedures\n[limits]\nrate = off\nreturn_within = {RETURN}s\n"

    def stop(self, within: float) -> None:
        """It ends with 0 in time."""
        began = time.monotonic()
        self.daemon.signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(), 0)
        self.assertLess(time.monotonic() - began, within + BUSY)

    def test_clients_that_behave(self) -> None:
        """WebSockets are told when to come back and closed with 1001, what is under way is answered, idle connections end, and that takes no longer."""
        body = json.dumps(call("slow.coroutine", [0.5])).encode()
        slow = head("/rpc", "POST", f"Content-Length: {len(body)}") + body
        outcomes: list[tuple[list[RawAnswer], bool]] = []
        waiting = threading.Thread(target=lambda: outcomes.append(exchange(self.daemon.port, slow)))
        idle = threading.Thread(target=lambda: outcomes.append(exchange(self.daemon.port, head())))
        with RpcSocket(self.daemon.websocket_url) as program, TextRoom(self.daemon.websocket_url, "lobby") as person:
            person.hear()
            for thread in (waiting, idle):
                thread.start()
            # Answered behind the others' requests, which are there by then.
            program.call("slow.coroutine", seconds=0.2)
            self.assertEqual(request(f"{self.url}/readyz").status, 200)
            under_way = program.send("slow.coroutine", seconds=0.3)
            person.say("the last line")
            program.call("auth.whoami")
            self.assertRegex(person.hear(), "the last line$")
            self.stop(STOP)
            self.assertEqual(program.answer(under_way), "coroutine")
            method, params = program.notifications[-1]
            self.assertEqual((method, list(params)), ("server.draining", ["return_after"]))
            self.assertTrue(0 <= params["return_after"] <= RETURN, params)
            self.assertRegex(person.hear(), "^-- the server is going away: come back in [0-9]+ s --$")
            self.assertEqual([program.closed(), person.closed()], [1001, 1001])
        for thread in (waiting, idle):
            thread.join(DEADLINE)
        self.assertEqual([([answer.status for answer in answers], closed) for answers, closed in outcomes], [([200], True)] * 2)
        with self.assertRaises(OSError):
            request(f"{self.url}/healthz")

    def test_return_times(self) -> None:
        """Each client is given another time to come back, and they are spread evenly."""
        clients = [RpcSocket(self.daemon.websocket_url) for _ in range(20)]
        for client in clients:
            client.call("auth.whoami")
        self.stop(STOP)
        times = []
        for client in clients:
            message = json.loads(client.connection.recv(timeout=DEADLINE))
            self.assertEqual((message["method"], client.closed()), ("server.draining", 1001))
            times.append(message["params"]["return_after"])
        for place, seconds in enumerate(sorted(times)):
            self.assertTrue(place * RETURN / 20 <= seconds + 0.001 and seconds - 0.001 <= (place + 1) * RETURN / 20, times)

    def test_what_takes_too_long(self) -> None:
        """Requests and calls are cut in time: clients see their end, and the daemon need not give up on them."""
        body = json.dumps(call("slow.coroutine", [30])).encode()
        outcomes: list[tuple[list[RawAnswer], bool]] = []
        slow = head("/rpc", "POST", f"Content-Length: {len(body)}") + body
        waiting = threading.Thread(target=lambda: outcomes.append(exchange(self.daemon.port, slow)))
        with RpcSocket(self.daemon.websocket_url) as program:
            waiting.start()
            program.send("slow.coroutine", seconds=30)
            program.call("slow.coroutine", seconds=0.2)
            self.stop(STOP)
            self.assertEqual(program.closed(), 1001)
        waiting.join(DEADLINE)
        ((answer,), closed) = outcomes[0]
        self.assertEqual((answer.status, closed), (503, True))
        self.assertTrue(0 < int(answer.headers["retry-after"]) <= RETURN + 1)
        self.assertNotIn("did not stop within", self.daemon.output()[self._logged :])

    def test_clients_that_do_not(self) -> None:
        """Who reads nothing, answers no Close, or is in the middle of a request delays it no longer than the set time, and no bug shows."""
        flood = frame(1, json.dumps(call("count.big", [50_000])).encode()) * 500
        mute = RawWebSocket(self.daemon.port)
        deaf = RawWebSocket(self.daemon.port)
        half = socket.create_connection(("127.0.0.1", self.daemon.port))
        for client in (mute, deaf, half):
            self.addCleanup(client.close)
        sender = threading.Thread(target=deaf.send, args=(flood,), daemon=True)
        sender.start()
        half.sendall(head("/rpc", "POST", "Content-Length: 100") + b"{")
        with RpcSocket(self.daemon.websocket_url) as client:
            client.call("slow.coroutine", seconds=0.2)
        self.stop(STOP + 3)
        sender.join(DEADLINE)
