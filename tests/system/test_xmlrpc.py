"""XML-RPC with clients that know nothing of netsvc, against the real daemon."""

import json
import os
import xmlrpc.client
from base64 import b64encode
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients import post_rpc, request
from tests.system.daemon import Daemon
from tests.system.programs import run_node

SETTINGS = """
[rpc]
modules = netsvc.examples.arithmetic, echoing
[limits]
rate = off
"""
# A module of the operator's.
MODULE = '''
from datetime import datetime, timezone
from typing import Any

from netsvc.core.procedures import procedure


@procedure("echo.value", role="guest")
def value(value: Any) -> Any:
    """The same."""
    return value


@procedure("echo.year", role="guest")
def year(at: datetime) -> int:
    """The year of a time."""
    assert at.tzinfo == timezone.utc
    return at.year
'''
NODE_CLIENT = "xmlrpc@1"
NODE_SCRIPT = """
const xmlrpc = require('xmlrpc');
const client = xmlrpc.createClient({host: '127.0.0.1', port: Number(process.argv[2]), path: '/RPC2'});
const call = (method, ...params) => new Promise((resolve, reject) =>
  client.methodCall(method, params, (error, value) => (error ? reject(error) : resolve(value))));
(async () => {
  const found = {sum: await call('math.add', 2, 3), methods: await call('system.listMethods')};
  const value = {text: 'h\\u00e9 <&> \\u{1f600}', list: [1, -2.5, true, null, []], at: new Date(Date.UTC(2026, 0, 31, 12))};
  found.echo = await call('echo.value', value);
  found.bytes = (await call('echo.value', Buffer.from('bytes'))).toString();
  found.year = await call('echo.year', value.at);
  found.many = await call('system.multicall', [{methodName: 'math.add', params: [1, 2]}, {methodName: 'nothing', params: []}]);
  found.fault = await call('math.add', 'x', 1).catch(error => [error.faultCode, error.faultString]);
  console.log(JSON.stringify(found));
})();
"""
CALL = b"<methodCall><methodName>math.add</methodName><params>%b</params></methodCall>"


class Case(SynchronousTestCase):
    """Tests on a daemon of their own."""

    settings = SETTINGS

    def setUp(self) -> None:
        """Start a daemon."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "echoing.py").write_text(MODULE)
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        self.daemon = Daemon(self.settings, environ={"PYTHONPATH": path})
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.url = f"{self.daemon.url}/RPC2"

    def proxy(self, **options: Any) -> xmlrpc.client.ServerProxy:
        """Python's client, closed at the end."""
        proxy = xmlrpc.client.ServerProxy(self.url, use_builtin_types=True, allow_none=True, **options)
        self.addCleanup(proxy("close"))
        return proxy


class GuestTests(Case):
    """Where everybody may call."""

    def test_python(self) -> None:
        """xmlrpc.client, unchanged: types both ways, introspection, faults, multicall, and the rooms that everyone else is in."""
        proxy = self.proxy()
        self.assertEqual(proxy.math.add(2, 3), 5)
        value = {"text": "hé <&>\n\U0001f600", "list": [1, -2.5, True, None, [], 2**31 - 1], "bytes": b"\x00\xff", "at": datetime(2026, 1, 31, 12)}
        self.assertEqual(proxy.echo.value(value), value)
        self.assertEqual(proxy.echo.year(value["at"]), 2026)
        self.assertIn("math.add", proxy.system.listMethods())
        self.assertTrue(proxy.system.methodHelp("math.add").startswith("The sum of two integers."))
        self.assertEqual(proxy.system.methodSignature("math.add"), [["int", "int", "int"]])
        self.assertEqual(proxy.system.getCapabilities()["xmlrpc"]["specVersion"], 1)
        for call, code in ((lambda: proxy.nothing(), -32601), (lambda: proxy.math.add("x", 1), -32602), (lambda: proxy.server.status(), -32002)):
            self.assertEqual(self.assertRaises(xmlrpc.client.Fault, call).faultCode, code)
        posted = proxy.chat.post("lobby", "from XML")
        self.assertEqual([event["text"] for event in post_rpc(self.daemon.url, "chat.history", {"room": "lobby"})["events"]], ["from XML"])
        self.assertEqual(proxy.chat.history("lobby")["cursor"], posted["cursor"])

    def test_multicall(self) -> None:
        """Python's MultiCall: results and a fault, each in its place."""
        many = xmlrpc.client.MultiCall(self.proxy())
        many.math.add(1, 2)
        many.nothing()
        many.echo.value([3])
        results = many()
        self.assertEqual((results[0], results[2]), (3, [3]))
        self.assertEqual(self.assertRaises(xmlrpc.client.Fault, results.__getitem__, 1).faultCode, -32601)
        calls = [{"methodName": "math.add", "params": [1, 2]}]
        self.assertEqual(post_rpc(self.daemon.url, "system.multicall", [calls]), [[3]])

    def test_headers(self) -> None:
        """The key and the deadline are those of /rpc."""
        proxy = self.proxy(headers=[("Idempotency-Key", "0c2f"), ("X-Deadline", "5")])
        self.assertEqual(proxy.math.add(2, 3), 5)
        self.assertEqual(self.assertRaises(xmlrpc.client.Fault, proxy.math.add, 2, 4).faultCode, -32004)

    def test_node(self) -> None:
        """The npm package xmlrpc: types both ways, a fault, introspection, system.multicall."""
        found = json.loads(run_node(NODE_SCRIPT, NODE_CLIENT, str(self.daemon.port), environ={"TZ": "UTC"}))
        self.assertEqual((found["sum"], found["bytes"], found["year"]), (5, "bytes", 2026))
        self.assertEqual(found["echo"], {"text": "hé <&> \U0001f600", "list": [1, -2.5, True, None, []], "at": "2026-01-31T12:00:00.000Z"})
        self.assertIn("system.multicall", found["methods"])
        self.assertEqual((found["many"][0], found["many"][1]["faultCode"]), ([3], -32601))
        self.assertEqual(found["fault"], [-32602, "invalid params: a: expected int, got str"])

    def cpu(self) -> float:
        """The seconds of work that the daemon has done, which do not depend on what else the machine does."""
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_bombs(self) -> None:
        """Documents made to hurt are faults, after less than a second of work, and the daemon goes on."""
        laughs = b"".join(b'<!ENTITY l%d "%b">' % (number + 1, b"&l%d;" % number * 10) for number in range(20))
        for body, code in (
            (b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "ha">' + laughs + b"]>" + CALL % b"<param><value>&l20;</value></param>", -32700),
            (b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + CALL % b"<param><value>&a;</value></param>", -32700),
            (CALL % (b"<param>" + b"<value><array><data>" * 40_000), -32700),
            (CALL % (b"<param><value/></param>" * 40_000), -32006),
            (CALL % (b"<param><value><i8>" + b"9" * 1_000_000 + b"</i8></value></param>"), -32602),
            (b"<a " + b"".join(b'a%d="" ' % number for number in range(80_000)) + b"/>", -32600),
            (b"\x00" * 1_000_000, -32700),
        ):
            before = self.cpu()
            answer = request(self.url, "POST", body, {"Content-Type": "text/xml"})
            self.assertLess(self.cpu() - before, 1.0)
            fault = self.assertRaises(xmlrpc.client.Fault, xmlrpc.client.loads, answer.body)
            self.assertEqual((answer.status, fault.faultCode), (200, code))
        self.assertEqual(request(self.url, "POST", b" " * 2_000_000, {}).status, 413)
        self.assertEqual(self.proxy().math.add(2, 3), 5)


class MembersOnlyTests(Case):
    """Where guests are not allowed."""

    settings = SETTINGS + "[chat]\nguests = no\n"

    def test_credentials(self) -> None:
        """Without any, or with wrong ones, HTTP's 401, with a fault in it for who looks."""
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + b64encode(b"a:b").decode()}):
            answer = request(self.url, "POST", CALL % b"", headers)
            self.assertEqual((answer.status, answer.headers["content-type"]), (401, "text/xml; charset=utf-8"))
            self.assertEqual(self.assertRaises(xmlrpc.client.Fault, xmlrpc.client.loads, answer.body).faultCode, -32001)
        self.assertEqual(self.assertRaises(xmlrpc.client.ProtocolError, self.proxy().math.add, 1, 2).errcode, 401)
