"""A program that provides a procedure, over any of the three transports; tests run it and end it in rude ways.

``python -m tests.system.provider lines|ws|amp PORT NAME [idempotent] [delay=SECONDS]``: prints ``ready`` when it serves, then answers each call
with its process id and the params.
"""

import json
import os
import socket
import sys
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.task import deferLater
from twisted.protocols.amp import AMP
from websockets.sync.client import connect

from netsvc.client.amp import Call, Notify


def _registration(name: str, idempotent: bool) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 0, "method": "rpc.provide", "params": {"name": name, "schema": {"idempotent": idempotent}}}


def _answer(text: str | bytes, delay: float) -> str | None:
    message = json.loads(text)
    if message.get("id") == 0:
        assert "result" in message, message
        print("ready", flush=True)
        return None
    if "id" not in message:
        return None
    if delay:
        time.sleep(delay)
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": [os.getpid(), message["params"]]})


def _over_lines(port: int, registration: dict[str, Any], delay: float) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(json.dumps(registration).encode() + b"\n")
    for line in connection.makefile("rb"):
        if answer := _answer(line, delay):
            connection.sendall(answer.encode() + b"\n")


def _over_websocket(port: int, registration: dict[str, Any], delay: float) -> None:
    with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as connection:
        connection.send(json.dumps(registration))
        for message in connection:
            if answer := _answer(message, delay):
                connection.send(answer)


class _Program(AMP):  # type: ignore[misc]  # amp has no types
    delay = 0.0

    @Call.responder
    def called(self, method: str, params: Any, deadline: Any, key: Any, id: Any) -> Deferred[Any]:
        clock: Any = reactor
        return deferLater(clock, self.delay, lambda: {"result": [os.getpid(), params]})

    @Notify.responder
    def notified(self, method: str, params: Any) -> dict[str, Any]:
        return {}


def _over_amp(port: int, registration: dict[str, Any], delay: float) -> None:
    clock: Any = reactor
    program = _Program()
    program.delay = delay

    def connected(_: object) -> None:
        program.callRemote(Call, method="rpc.provide", params=registration["params"]).addCallback(lambda _: print("ready", flush=True))

    connectProtocol(clientFromString(clock, f"tcp:127.0.0.1:{port}"), program).addCallback(connected)
    clock.run()


if __name__ == "__main__":
    kind, where, name, *options = sys.argv[1:]
    delays = [float(option.partition("=")[2]) for option in options if option.startswith("delay=")]
    run = {"lines": _over_lines, "ws": _over_websocket, "amp": _over_amp}[kind]
    run(int(where), _registration(name, "idempotent" in options), delays[0] if delays else 0.0)
