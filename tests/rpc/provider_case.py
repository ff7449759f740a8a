"""Programs that provide and call procedures, in memory: everything real but the network, the clock and the disk."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from netsvc.core.appender import Appender
from netsvc.core.idempotency import Answers
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.logins import Logins
from netsvc.core.procedures import Call, Registry, procedure
from netsvc.core.settings import AuthSettings, LimitsSettings
from netsvc.rpc.connection import RpcService
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.procedures import ConventionProcedures, SystemProcedures
from netsvc.rpc.provider_procedures import CancelProcedure, ProvideProcedures
from netsvc.rpc.providers import Providers
from netsvc.rpc.settings import RpcSettings
from netsvc.rpc.websocket import RpcSocket
from netsvc.store.memory import MemoryStore
from tests.rpc.fakes import FakeConnection

__all__ = ["Program", "ProviderTestCase", "member"]


def member(name: str, *roles: str) -> Identity:
    """A user."""
    return Identity(name, roles or ("member",), guest=False, credential=f"token of {name}")


class Program:
    """A client on a WebSocket.

    :ivar asked: the calls that came to it, in order; those that it has been told to give up are in `cancelled`, by id.
    :ivar told: other notifications.
    """

    def __init__(self, service: RpcService, identity: Identity, window: int | None = None) -> None:
        self.connection = FakeConnection(window)
        self.socket = RpcSocket(service, identity, "192.0.2.1")
        self.socket.connected(self.connection)
        self.asked: list[dict[str, Any]] = []
        self.cancelled: list[int] = []
        self.told: list[dict[str, Any]] = []
        self._answers: dict[Any, list[dict[str, Any]]] = {}

    def hear(self) -> None:
        """Take in what was sent to it."""
        for message in self.connection.messages():
            if "method" not in message:
                self._answers.setdefault(message["id"], []).append(message)
            elif "id" in message:
                self.asked.append(message)
            elif message["method"] == "rpc.cancel":
                self.cancelled.append(message["params"]["id"])
            else:
                self.told.append(message)

    def say(self, message: Any) -> None:
        """Send something."""
        self.socket.text(message if isinstance(message, str) else json.dumps(message))

    def begin(self, method: str, params: Any = None, identifier: Any = 1, **members: Any) -> None:
        """Send a call; None as the id for a notification."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, **members}
        if params is not None:
            message["params"] = params
        if identifier is not None:
            message["id"] = identifier
        self.say(message)

    def outcome(self, identifier: Any = 1) -> Any:
        """The result of a call, or its error; None while there is none. An AssertionError if there are two."""
        self.hear()
        answers = self._answers.pop(identifier, [])
        assert len(answers) < 2, answers
        return answers[0].get("result", answers[0].get("error")) if answers else None

    def call(self, method: str, params: Any = None) -> Any:
        """A call that is answered at once."""
        self.begin(method, params, "at once")
        answer = self.outcome("at once")
        assert answer is not None, method
        return answer

    def answer(self, result: Any, which: int = -1) -> None:
        """Answer a call that came, the last one if not said; it is taken out of `asked`."""
        self.hear()
        self.say({"jsonrpc": "2.0", "id": self.asked.pop(which)["id"], "result": result})

    def refuse(self, error: Any, which: int = -1) -> None:
        """Answer with an error."""
        self.hear()
        self.say({"jsonrpc": "2.0", "id": self.asked.pop(which)["id"], "error": error})

    def waiting(self) -> int:
        """The calls that it has not answered."""
        self.hear()
        return len(self.asked)

    def leave(self) -> None:
        """The connection ends."""
        self.socket.disconnected(1006, "")


class Local:
    """Procedures of the server's own."""

    def __init__(self) -> None:
        self.running: list[tuple[Call, Deferred[Any]]] = []
        self.deferred_calls: list[Deferred[int]] = []

    @procedure("local.plain", role="guest")
    def plain(self) -> int:
        """At once."""
        return 1

    @procedure("local.deferred", role="guest")
    def deferred(self) -> Deferred[int]:
        """When the test says so, or never."""
        return self._later()

    @procedure("local.unannotated", role="guest")
    def unannotated(self):  # type: ignore[no-untyped-def]  # that is the point
        """Likewise; nothing tells beforehand."""
        return self._later()

    def _later(self) -> Deferred[int]:
        self.deferred_calls.append(Deferred())
        return self.deferred_calls[-1]

    @procedure("local.long", role="guest")
    async def long(self, call: Call) -> Any:
        """When the test says so."""
        done: Deferred[Any] = Deferred()
        self.running.append((call, done))
        return await done


class ProviderTestCase(TestCase):
    """A service, and programs that connect to it.

    :ivar settings: of [rpc].
    """

    settings = RpcSettings(provider_calls=3, provider_queue=4, providers=3, provider_names=3, provider_answer=1024, provide_schema=512, progress_backlog=300)
    limits = LimitsSettings(rate=False, slow_calls=8)

    def setUp(self) -> None:
        """What each test starts with."""
        self.clock = Clock()
        store = MemoryStore(self.clock)
        passwords: Any = None
        self.logins = Logins(store.accounts, passwords, self.clock, AuthSettings(), guests=True)
        self.registry = registry = Registry()
        self.local = Local()
        answers = Answers(store, self.clock, 60.0, 300.0)
        self.dispatcher = Dispatcher(registry, self.clock, self.settings, answers, self.run_blocking, self.limits.slow_calls)
        self.providers = Providers(registry, self.settings, self.dispatcher.deadlines)
        for source in (self.local, SystemProcedures(registry, "test"), ConventionProcedures(self.dispatcher, self.settings), CancelProcedure()):
            registry.add(source)
        registry.add(ProvideProcedures(self.providers), self.settings.provide)
        self.budgets = Budgets(self.limits, self.clock.seconds)
        appender = Appender(store, self.clock, lambda drafts: None, 10, 10)
        self.service = RpcService(self.dispatcher, self.budgets, self.logins, appender, 64, self.settings.progress_backlog, self.settings.login_timeout)

    def run_blocking(self, *_: object) -> Any:
        """Nothing here blocks."""
        self.fail("nothing blocks")

    def program(self, identity: Identity | None = None, window: int | None = None) -> Program:
        """One more client."""
        return Program(self.service, identity or member("ann"), window)

    def provider(self, *names: str, **schema: Any) -> Program:
        """One that provides these names."""
        program = self.program(member("pat"))
        for name in names or ("test.work",):
            program.call("rpc.provide", {"name": name, "schema": schema} if schema else {"name": name})
        return program
