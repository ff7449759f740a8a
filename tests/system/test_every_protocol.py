"""One typed procedure by every way there is: the same answer, the same error."""

import json
import os
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.system.clients import RpcError, RpcSocket, post_rpc, request
from tests.system.programs import run_node
from tests.system.served import ServedCase, call

DEADLINE = 30.0
JAVASCRIPT = Path(__file__).parent.parent.parent / "netsvc" / "web" / "client"

Outcome = tuple[Any, Any]
"""Result or code, and what the error says."""

ASYNCIO = """
import asyncio, json, sys
from netsvc.client import CallFailed
from netsvc.client.aio import Client

async def program(url, method, params):
    async with Client(url) as rpc:
        try:
            print(json.dumps([await rpc.call(method, params), None]))
        except CallFailed as error:
            print(json.dumps([error.code, error.detail]))

asyncio.run(program(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
"""

DEFERRED = """
import json, sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from netsvc.client import CallFailed, Client

def program(reactor, url, method, params):
    client = Client(url)
    calling = client.call(method, json.loads(params))
    calling.addCallbacks(lambda result: [result, None], lambda failure: [failure.value.code, failure.value.detail])
    calling.addCallback(lambda outcome: print(json.dumps(outcome)))
    return calling.addCallback(lambda _: client.close())

react(program, sys.argv[1:])
"""

AMP = """
import json, sys
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.task import react
from twisted.protocols.amp import AMP
from netsvc.client.amp import Call, RpcError

async def talk(reactor, path, method, params):
    protocol = await connectProtocol(UNIXClientEndpoint(reactor, path), AMP())
    try:
        print(json.dumps([(await protocol.callRemote(Call, method=method, params=json.loads(params)))["result"], None]))
    except RpcError as error:
        print(json.dumps([error.code, error.data["detail"]]))

react(talk, sys.argv[1:])
"""


NODE = """
const { WebSocket } = require("ws");
const [folder, url, method, params] = process.argv.slice(2);
import(`${folder}/index.js`).then(async ({ connect, RpcError }) => {
  const client = await connect({ url, WebSocket });
  let outcome;
  try {
    outcome = [await client.call(method, JSON.parse(params)), null];
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    outcome = [error.code, error.data.detail];
  }
  client.close();
  console.log(JSON.stringify(outcome));
}).catch((error) => { console.error(error); process.exit(1); });
"""


class EveryProtocolTests(ServedCase):
    """`math.divide`, right and wrong."""

    settings = (
        "[rpc]\nmodules = netsvc.examples.arithmetic\n[lines]\nlisten = unix:lines.sock:mode=600\n[amp]\nlisten = unix:amp.sock:mode=600\n"
    )

    def outcome_of(self, response: Any) -> Outcome:
        """What a JSON-RPC response says."""
        return (response["error"]["code"], response["error"]["data"]["detail"]) if "error" in response else (response["result"], None)

    def run_program(self, *command: str) -> Any:
        """What a Python program prints, decoded."""
        environ = {**os.environ, "NO_PROXY": "*"}
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environ, timeout=DEADLINE, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        return tuple(json.loads(done.stdout))

    def http(self, method: str, params: Any) -> Outcome:
        """JSON-RPC over HTTP."""
        return self.outcome_of(self.post(call(method, params)).json())

    def batch(self, method: str, params: Any) -> Outcome:
        """One of a batch."""
        first, second = self.post([call("auth.whoami"), call(method, params)]).json()
        self.assertIn("result", first)
        return self.outcome_of(second)

    def websocket(self, method: str, params: Any) -> Outcome:
        """JSON-RPC over a WebSocket."""
        with RpcSocket(self.daemon.websocket_url) as client:
            try:
                return client.call(method, **dict(zip("ab", params, strict=True))), None
            except RpcError as error:
                return error.code, error.data["detail"]

    def xmlrpc(self, method: str, params: Any) -> Outcome:
        """XML-RPC."""
        with xmlrpc.client.ServerProxy(f"{self.url}/RPC2") as proxy:
            try:
                return getattr(proxy, method)(*params), None
            except xmlrpc.client.Fault as fault:
                return fault.faultCode, fault.faultString.removeprefix("invalid params: ")

    def lines(self, method: str, params: Any) -> Outcome:
        """JSON-RPC in lines."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(self.daemon.directory / "lines.sock"))
            with connection.makefile("rw") as lines:
                lines.write(json.dumps(call(method, params)) + "\n")
                lines.flush()
                return self.outcome_of(json.loads(lines.readline()))

    def amp(self, method: str, params: Any) -> Outcome:
        """AMP, with Twisted's own client."""
        return self.run_program("-c", AMP, str(self.daemon.directory / "amp.sock"), method, json.dumps(params))

    def deferred_client(self, method: str, params: Any) -> Outcome:
        """The Python client on Twisted."""
        return self.run_program("-c", DEFERRED, self.url, method, json.dumps(params))

    def asyncio_client(self, method: str, params: Any) -> Outcome:
        """The Python client on asyncio."""
        return self.run_program("-c", ASYNCIO, self.url, method, json.dumps(params))

    def javascript_client(self, method: str, params: Any) -> Outcome:
        """The JavaScript client in Node."""
        printed = run_node(NODE, "ws@8", str(JAVASCRIPT), f"{self.daemon.websocket_url}/ws", method, json.dumps(params))
        result, detail = json.loads(printed)
        return result, detail

    def command_line(self, method: str, params: Any) -> Outcome:
        """netsvc call."""
        command = [sys.executable, "-m", "netsvc.cli", "call", "--url", self.url, "--json", method, *map(str, params)]
        environ = {**os.environ, "NO_PROXY": "*"}
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=DEADLINE, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout), None
        self.assertIn("invalid params", done.stderr)
        return -32602, done.stderr.strip().rpartition("invalid params: ")[2]

    def ways(self) -> dict[str, Callable[[str, Any], Outcome]]:
        """All of them."""
        clients = self.deferred_client, self.asyncio_client, self.javascript_client, self.command_line
        return {way.__name__: way for way in (self.http, self.batch, self.websocket, self.xmlrpc, self.lines, self.amp, *clients)}

    def test_the_same_answer_and_the_same_error(self) -> None:
        """Whoever calls, and by whatever means."""
        cases = (([7.0, 2.0], (3.5, None)), ([1.0, 0.0], (-32602, "b: must not be 0")), ([1.0, "x"], None))
        wrong = self.http("math.divide", [1.0, "x"])
        self.assertEqual(wrong[0], -32602)
        for name, way in self.ways().items():
            for params, expected in cases:
                self.assertEqual(way("math.divide", params), expected or wrong, f"{name} {params}")

    def test_the_same_list(self) -> None:
        """And everybody is told of the same procedures."""
        names = post_rpc(self.url, "system.listMethods")
        self.assertEqual([method["name"] for method in request(f"{self.url}/openrpc.json").json()["methods"]], names)
        for name, way in self.ways().items():
            if name not in ("websocket",):
                self.assertEqual(way("system.listMethods", []), (names, None), name)
