"""Twisted's own AMP client against the real daemon, over a UNIX socket: what tests.system.test_every_protocol does not ask."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.threads import deferToThread
from twisted.protocols.amp import AMP
from twisted.trial.unittest import TestCase

from netsvc.client.amp import Call, Notify, RpcError
from tests.system.clients import RpcSocket, post_rpc
from tests.system.daemon import Daemon


class Program(AMP):  # type: ignore[misc]  # amp has no types
    """A client.

    :ivar told: the notifications.
    """

    def __init__(self) -> None:
        AMP.__init__(self)
        self.told: DeferredQueue[tuple[str, Any]] = DeferredQueue()
        self.over: Deferred[None] = Deferred()

    @Call.responder
    async def called(self, method: str, params: Any, deadline: float, key: str | None, id: str) -> dict[str, Any]:
        """What it provides: the text twice, with a word on how far it is."""
        self.callRemote(Notify, method="rpc.progress", params={"id": int(id), "done": 1, "total": 2})
        if not params:
            raise RpcError(-32602, "text: missing")
        return {"result": params["text"] * 2}

    @Notify.responder
    def notified(self, method: str, params: Any) -> dict[str, Any]:
        """A notification."""
        self.told.put((method, params))
        return {}

    def connectionLost(self, reason: Any) -> None:
        """See IProtocol."""
        AMP.connectionLost(self, reason)
        self.over.callback(None)

    async def hear(self, method: str) -> Any:
        """The params of the next notification of a method; others are dropped."""
        while True:
            name, params = await self.told.get()
            if name == method:
                return params


class AmpTests(TestCase):
    """Rooms, providers, long values, the end."""

    timeout = 60

    def setUp(self) -> None:
        """Start a daemon."""
        self.daemon = Daemon("[amp]\nlisten = unix:amp.sock\n[rpc]\nprovide = guest\n")
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    async def connect(self) -> Program:
        """A client."""
        program = Program()
        await connectProtocol(clientFromString(reactor, f"unix:{self.daemon.directory}/amp.sock"), program)
        self.addCleanup(program.transport.abortConnection)
        return program

    async def test_rooms(self) -> None:
        """Who has joined is told of each event; who has logged in is who it says."""
        program = await self.connect()
        login = await program.callRemote(Call, method="auth.login", params={"name": "robot"})
        self.assertEqual(login["result"]["name"], "robot")
        joined = await program.callRemote(Call, method="chat.join", params=["lobby"])
        self.assertEqual(joined["result"]["present"]["names"], ["robot"])
        long = "ü" * 8000
        post_rpc(self.daemon.url, "chat.post", {"room": "lobby", "text": long})
        self.assertEqual((await program.hear("chat.event"))["text"], long)
        for number in range(10):
            await program.callRemote(Call, method="chat.post", params=["lobby", long, str(number)])
        history = await program.callRemote(Call, method="chat.history", params=["lobby"])
        self.assertEqual(len(history["result"]["events"]), 11, "much more than a box of AMP holds under one key")

    async def test_provider(self) -> None:
        """It serves others, with progress, errors and values of any length."""
        program = await self.connect()
        await program.callRemote(Call, method="rpc.provide", params={"name": "text.twice"})
        caller = RpcSocket(self.daemon.websocket_url)
        self.addCleanup(caller.close)
        for params in ({"text": "ab"}, {"text": "x" * 200_000}):
            call = caller.send("text.twice", **params)
            self.assertEqual(await deferToThread(caller.answer, call), params["text"] * 2)
        self.assertEqual(caller.notifications[0], ("rpc.progress", {"id": 1, "done": 1, "total": 2}))

    async def test_stop(self) -> None:
        """A client is told when to come back, then the connection ends."""
        program = await self.connect()
        await program.callRemote(Call, method="auth.whoami")
        self.assertEqual(self.daemon.stop(), 0)
        self.assertGreaterEqual((await program.hear("server.draining"))["return_after"], 0)
        self.assertEqual((await program.hear("server.closing"))["code"], 1001)
        await program.over
