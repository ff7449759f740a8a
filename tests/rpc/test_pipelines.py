"""Callers that have sent more than is read from them: their next messages are acted on in the middle of whatever answers a call of theirs."""

import json
from collections import deque
from typing import Any

from netsvc.core.identity import Identity
from netsvc.rpc.connection import RpcService
from netsvc.rpc.pace import Bounds
from tests.rpc.fakes import FakeConnection
from tests.rpc.provider_case import Program, ProviderTestCase, member


class Pipeline(FakeConnection):
    """A connection with messages that have been read but not acted on.

    :ivar text: acts on one.
    """

    text: Any

    def __init__(self, window: int | None = None) -> None:
        super().__init__(window)
        self.messages_read: deque[str] = deque()
        self._delivering = False

    def resume(self) -> None:
        """Read on."""
        super().resume()
        self.deliver()

    def deliver(self) -> None:
        """Act on what was read, as long as the application wants more."""
        if not self._delivering:
            self._delivering = True
            while self.reading and self.messages_read:
                self.text(self.messages_read.popleft())
            self._delivering = False


class PipeliningProgram(Program):
    """A client that does not wait for answers."""

    connection: Pipeline

    def __init__(self, service: RpcService, identity: Identity) -> None:
        super().__init__(service, identity)
        self.socket.disconnected(1000, "")
        self.connection = Pipeline()
        self.connection.text = self.socket.text
        self.socket.connected(self.connection)

    def say(self, message: Any) -> None:
        """Send something."""
        self.connection.messages_read.append(message if isinstance(message, str) else json.dumps(message))
        self.connection.deliver()


class PipelineTests(ProviderTestCase):
    """A connection may have one or two calls under way here."""

    def pipelining(self, name: str = "ann", in_flight: int = 1) -> PipeliningProgram:
        """One more client."""
        self.service.bounds = Bounds(in_flight, self.service.bounds.appender)
        return PipeliningProgram(self.service, member(name))

    def test_a_name_that_is_provided_in_the_middle_of_its_end(self) -> None:
        """The last provider leaves, and whoever was waiting for it provides the name, and stops that again."""
        provider = self.provider("test.work", "test.other")
        for _ in range(3):
            self.program(member("bob")).begin("test.work")
        caller = self.pipelining()
        caller.begin("test.work")
        caller.begin("rpc.provide", {"name": "test.work"}, 2)
        caller.begin("rpc.withdraw", {"name": "test.work"}, 3)
        provider.leave()
        self.assertEqual(caller.outcome()["code"], -32009)
        self.assertEqual(caller.outcome(3), {"name": "test.work"})
        self.assertEqual(self.providers.counts(), {"names": 0, "providers": 0, "calls": 0, "waiting": 0})
        self.assertNotIn("test.work", self.registry)

    def test_a_name_that_somebody_else_provides_by_then(self) -> None:
        """It is not taken from its new provider by the end of the former one."""
        provider = self.provider()
        for _ in range(3):
            self.program(member("bob")).begin("test.work")
        caller = self.pipelining()
        caller.begin("test.work")
        for identifier, method in enumerate(("rpc.provide", "rpc.withdraw", "rpc.provide"), 2):
            caller.begin(method, {"name": "test.work"}, identifier)
        provider.leave()
        self.assertEqual(self.providers.counts(), {"names": 1, "providers": 1, "calls": 0, "waiting": 0})
        other = self.program()
        other.begin("test.work")
        self.assertEqual(caller.waiting(), 1)

    def test_who_waits_has_the_next_turn(self) -> None:
        """A caller whose call is answered has sent further ones: these do not get the place before those of others that wait for it."""
        provider = self.provider()
        busy, modest = self.pipelining(in_flight=3), self.program(member("bob"))
        for number in range(20):
            busy.begin("test.work", ["busy"], number)
        modest.begin("test.work", ["modest"])
        order = []
        for _ in range(6):
            provider.hear()
            order.append(provider.asked[0]["params"][0])
            provider.answer(1, 0)
        self.assertEqual(order.index("modest"), 3, order)
