"""The JavaScript client in Node, as a package that a program imports by its name, against the real daemon."""

import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import RpcSocket, post_rpc
from tests.system.daemon import Daemon
from tests.system.programs import npm_modules
from tests.system.required import require_program

ROOT = Path(__file__).parent.parent.parent
CLIENT = ROOT / "netsvc" / "web" / "client"
MARKED = re.compile(r"<!-- run in node -->\n```js\n(.*?)```", re.DOTALL)
WS = "ws@8"
DEADLINE = 30.0

SESSION = """
import WebSocket from "ws";
import { Chat, CODE, connect, Refused, RpcError } from "netsvc-client";

const url = process.env.URL_OF_SOCKET;
const token = process.env.NETSVC_TOKEN;
const say = (value) => console.log(JSON.stringify(value));

const client = await connect({ url, token, WebSocket });
say(await client.call("auth.whoami"));
say(await client.call("math.add", { a: 2, b: 3 }));
say(await client.call("math.add", { a: 2, b: "x" }).catch((error) => [error instanceof RpcError, error.code === CODE.invalidParams, error.data.parameter]));
say(await connect({ url, token: "wrong", WebSocket }).catch((error) => error instanceof Refused));
client.close();

const chat = new Chat({ url, token, rpc: { WebSocket, first: 0.1 } });
const log = chat.follow("session");
chat.rpc.open();
await chat.until(() => log.joined);
chat.post("session", "first");
await chat.until(() => log.events.length === 1);
say("restart");
await chat.until(() => chat.rpc.state.name === "waiting");
chat.post("session", "while you were away", { replyTo: 1 });
await chat.until(() => log.events.length === 3);
await chat.edit("session", 1, "first, corrected");
await chat.react("session", 2, "👍", true);
await chat.until(() => log.events.length === 5);
say(log.events.filter(({ type }) => type === "message").map(({ from, text, reply_to }) => [from, text, reply_to ?? 0]));
say(log.reactionsTo(2));
chat.rpc.close();
"""


class JavaScriptClientTests(SynchronousTestCase):
    """A folder with the packages netsvc-client and ws, and a daemon with a user."""

    def setUp(self) -> None:
        """Make both."""
        self.node = require_program("node", "nodejs")
        self.folder = Path(self.mktemp()).absolute()
        modules = self.folder / "node_modules"
        modules.mkdir(parents=True)
        (modules / "ws").symlink_to(npm_modules(WS) / "ws")
        (modules / "netsvc-client").symlink_to(CLIENT)
        self.daemon = Daemon(overrides=["rpc.modules=netsvc.examples.arithmetic"]).start()
        self.addCleanup(self.daemon.close)
        self.netsvc("user", "add", "ann", "--password-stdin", text="correct horse battery\n")
        token = self.netsvc("token", "issue", "ann")
        self.environ = {**os.environ, "NETSVC_TOKEN": token, "URL_OF_SOCKET": f"{self.daemon.websocket_url}/ws", "NO_PROXY": "*"}

    def netsvc(self, *arguments: str, text: str = "") -> str:
        """Run the command line beside the daemon; what it prints."""
        command = [sys.executable, "-m", "netsvc.cli", *arguments, "--state", str(self.daemon.state)]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout.strip()

    def start(self, source: str) -> "subprocess.Popen[str]":
        """Run a module in the folder."""
        script = self.folder / "session.mjs"
        script.write_text(source)
        command = [self.node, "--preserve-symlinks", str(script)]
        process = subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def finish(self, process: "subprocess.Popen[str]") -> str:
        """Wait until it ends, and well; what it printed."""
        try:
            output, _ = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail(f"it does not end\n{process.communicate()[0]}")
        self.assertEqual(process.returncode, 0, output)
        return output

    def test_session(self) -> None:
        """Calls and errors have their types; a room that loses its server goes on where it was, with what was written meanwhile, once."""
        process = self.start(SESSION)
        assert process.stdout is not None
        heard = [process.stdout.readline() for _ in range(5)]
        self.assertEqual(heard[-1], '"restart"\n', heard)
        self.assertEqual(heard[:4], ['{"name":"ann","roles":["member"],"guest":false}\n', "5\n", '[true,true,"b"]\n', "true\n"])
        self.daemon.kill()
        self.daemon.start()
        with RpcSocket(self.daemon.websocket_url) as other:
            other.call("auth.login", name="bob")
            other.call("chat.post", room="session", text="hello ann")
        said, reactions = self.finish(process).splitlines()
        self.assertIn('["ann","first, corrected",0]', said)
        self.assertIn('["ann","while you were away",1]', said)
        self.assertIn('["bob","hello ann",0]', said)
        self.assertEqual(reactions, '[{"emoji":"👍","names":["ann"]}]')
        texts = [event["text"] for event in post_rpc(self.daemon.url, "chat.history", {"room": "session"})["events"] if event["type"] == "message"]
        self.assertEqual(sorted(texts), ["first, corrected", "hello ann", "while you were away"])

    def test_documentation(self) -> None:
        """Each program in docs/javascript.md runs as it is printed there."""
        expected = [["5", "-32602 invalid params"], ["stressed"], ["1 ann hello from Node", "ann"]]
        examples = MARKED.findall((ROOT / "docs" / "javascript.md").read_text())
        self.assertEqual(len(examples), len(expected))
        for source, words in zip(examples, expected, strict=True):
            output = self.finish(self.start(source.replace("127.0.0.1:8080", f"127.0.0.1:{self.daemon.port}")))
            for word in words:
                self.assertRegex(output, word)
