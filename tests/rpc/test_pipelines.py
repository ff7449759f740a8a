"""Callers that have sent more than is read from them: their next messages are acted on in the middle of whatever answers a call of theirs."""

import json
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from netsvc.core.identity import Identity
from netsvc.rpc.connection import RpcService
from netsvc.rpc.pace import Bounds
from netsvc.store.memory import MemoryStore
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


class Belonging:
    """What a connection keeps."""

    left = False

    def leave(self) -> None:
        """See Belonging."""
        self.left = True

    def act_as(self, identity: Identity) -> None:
        """See Belonging."""


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

    def test_cancelled_in_the_middle_of_the_end(self) -> None:
        """A provider leaves with several calls of a caller, who cancels another one of them upon the end of the first."""
        provider = self.provider()
        provider.socket.keep("here", belonging := Belonging())
        caller = self.pipelining(in_flight=3)
        for number in range(3):
            caller.begin("test.work", identifier=number)
        caller.begin("rpc.cancel", {"id": 1}, 3)
        provider.leave()
        self.assertEqual([caller.outcome(number)["code"] for number in range(3)], [-32009, -32007, -32009])
        self.assertEqual(caller.outcome(3), {"cancelled": 1})
        self.assertTrue(belonging.left)

    def test_keys_in_a_burst(self) -> None:
        """Calls with keys that come while the store is asked about those before them count for the bound of slow calls as well."""
        names = ("a", "b", "c", "d")
        self.provider(*names[:2])
        self.provider(*names[2:])
        asked: list[Deferred[None]] = []

        def recall(*_: object) -> "Deferred[None]":
            asked.append(Deferred())
            return asked[-1]

        self.patch(MemoryStore, "recall", recall)
        caller = self.program()
        for number in range(10):
            caller.begin(names[number % 4], identifier=number, key=f"k{number}")
        for answer in asked:
            answer.callback(None)
        counts = self.providers.counts()
        self.assertEqual(counts["calls"] + counts["waiting"], 8)
        self.assertIn("slow_calls", caller.outcome(9)["data"]["detail"])

    def test_a_key_again_after_a_deadline(self) -> None:
        """The first caller of a key waits no longer when a provider is free: the call is carried out for the second."""
        provider = self.provider()
        for _ in range(3):
            self.program(member("bob")).begin("test.work", deadline=100)
        caller = self.program()
        caller.begin("test.work", [1], 1, key="k")
        self.clock.advance(20)
        caller.begin("test.work", [1], 2, key="k")
        self.clock.pump([0.2] * 52)
        self.assertEqual(caller.outcome(1)["code"], -32007)
        provider.answer("free", 0)
        provider.answer("done")
        self.assertEqual(caller.outcome(2), "done")

    def test_what_no_longer_waits_for_a_reader(self) -> None:
        """A caller that reads nothing keeps nothing of those that have given up waiting for it."""
        provider, caller = self.provider(), self.program(window=0)
        caller.begin("test.work")
        caller.socket.notify(b'{"method":"fills it"}')
        provider.hear()
        for number in range(10):
            provider.begin("rpc.progress", {"id": provider.asked[0]["id"]}, number, deadline=0.1)
        self.clock.advance(0)
        self.assertEqual(len(caller.socket._catching_up or ()), 10)
        self.clock.pump([0.1] * 4)
        self.assertEqual(provider.outcome(9)["code"], -32007)
        self.assertEqual(len(caller.socket._catching_up or ()), 0)
