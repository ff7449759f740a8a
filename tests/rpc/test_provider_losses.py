"""Providers that are lost or slow, callers that are; deadlines, cancellation, progress."""

from typing import Any

from twisted.internet.defer import CancelledError

from netsvc.core.limits import Budgets
from netsvc.core.settings import LimitsSettings
from tests.rpc.provider_case import ProviderTestCase, member


class Deaf:
    """A caller who hears of no progress."""

    connection = listener = key = None
    identity = member("ann")
    peer = "192.0.2.1"

    def __init__(self, budgets: Budgets) -> None:
        self.budget = budgets.of(self.identity, self.peer)

    def after_answer(self, then: Any) -> None:
        """See Caller."""


class LossTests(ProviderTestCase):
    """Providers that go away, or take too long."""

    def test_lost(self) -> None:
        """Its calls fail with -32009: they may have taken effect. What had not begun says that it can be called again."""
        provider, caller = self.provider(), self.program()
        for number in range(4):
            caller.begin("test.work", identifier=number)
        provider.leave()
        errors = [caller.outcome(number) for number in range(4)]
        self.assertEqual([error["code"] for error in errors], [-32009] * 4)
        self.assertEqual([error["data"].get("retry_after") for error in errors], [None, None, None, 1.0])

    def test_idempotent(self) -> None:
        """A call that may be made twice is made again, with the time that is left."""
        first, second = self.provider(idempotent=True), self.provider(idempotent=True)
        caller = self.program()
        caller.begin("test.work", {"a": 1}, deadline=10)
        self.assertEqual((first.waiting(), second.waiting()), (1, 0))
        self.clock.advance(2)
        first.leave()
        second.hear()
        self.assertEqual((second.asked[0]["params"], second.asked[0]["deadline"]), ({"a": 1}, 8.0))
        second.answer("done")
        self.assertEqual(caller.outcome(), "done")

    def test_idempotent_waits(self) -> None:
        """If the others are busy it waits for one of them."""
        providers = [self.provider(idempotent=True) for _ in range(2)]
        caller = self.program()
        for number in range(6):
            caller.begin("test.work", identifier=number)
        providers[0].leave()
        self.assertEqual(self.providers.counts(), {"names": 1, "providers": 1, "calls": 3, "waiting": 3})
        for _ in range(6):
            providers[1].answer("done", 0)
        self.assertEqual([caller.outcome(number) for number in range(6)], ["done"] * 6)

    def test_no_room_to_wait(self) -> None:
        """Nor do more wait than may."""
        providers = [self.provider(idempotent=True) for _ in range(3)]
        caller, other = self.program(), self.program(member("bob"))
        for number in range(5):
            caller.begin("test.work", identifier=number)
        for number in range(8):
            other.begin("test.work", identifier=number)
        providers[0].leave()
        codes = [(caller.outcome(number) or {}).get("code") for number in range(5)] + [(other.outcome(number) or {}).get("code") for number in range(8)]
        self.assertEqual(codes.count(-32008), 3)

    def test_nobody_left(self) -> None:
        """Where nobody else provides it, or three were lost with it, it fails."""
        provider, caller = self.provider(idempotent=True), self.program()
        caller.begin("test.work")
        provider.leave()
        self.assertEqual(caller.outcome()["data"]["retry_after"], 1.0)
        providers = [self.provider(idempotent=True) for _ in range(3)]
        caller.begin("test.work")
        for tries in range(3):
            if tries == 2:
                self.provider(idempotent=True)
            provider = next(each for each in providers if each.waiting())
            providers.remove(provider)
            provider.leave()
        self.assertEqual(caller.outcome()["code"], -32009)

    def test_withdrawn(self) -> None:
        """Who withdraws still answers what it was asked; if it is lost, what it said of the calls holds."""
        first, second = self.provider(idempotent=True), self.provider(idempotent=True)
        caller = self.program()
        for number in range(3):
            caller.begin("test.work", identifier=number)
        first.call("rpc.withdraw", ["test.work"])
        first.answer("a", 0)
        self.assertEqual(caller.outcome(0), "a")
        first.leave()
        self.assertEqual(second.waiting(), 2)

    def test_slow_provider(self) -> None:
        """An idempotent call without an answer goes to a second provider as well. The first answer counts, the other is told."""
        slow, other = self.provider(idempotent=True), self.provider(idempotent=True)
        caller = self.program()
        caller.begin("test.work", deadline=8)
        self.clock.advance(3.9)
        self.assertEqual(other.waiting(), 0)
        self.clock.pump([0.1] * 4)
        self.assertEqual((slow.waiting(), other.waiting()), (1, 1))
        self.assertLess(other.asked[0]["deadline"], 4.0)
        other.answer("from the other")
        self.assertEqual(caller.outcome(), "from the other")
        slow.hear()
        self.assertEqual(slow.cancelled, [slow.asked[0]["id"]])
        slow.answer("too late")
        self.assertIsNone(caller.outcome())

    def test_both_at_work(self) -> None:
        """The loss of one of two is no loss, and the first of two may still be the faster."""
        slow, other = self.provider(idempotent=True), self.provider(idempotent=True)
        caller = self.program()
        caller.begin("test.work", deadline=8)
        self.clock.pump([0.5] * 9)
        other.leave()
        slow.answer("after all")
        self.assertEqual(caller.outcome(), "after all")

    def test_hanging_provider(self) -> None:
        """Calls that it never ends count, so it gets no further ones; they are forgotten after a while."""
        hanging, other = self.provider(), self.provider()
        caller = self.program()
        for _ in range(6):
            caller.begin("test.work", deadline=1)
        for _ in range(3):
            other.answer(None)
        self.clock.pump([0.1] * 13)
        self.assertEqual(len(caller.connection.messages()), 6)
        for _ in range(4):
            caller.begin("test.work", identifier=None)
            other.answer(None)
        hanging.hear()
        self.assertEqual((len(hanging.asked), len(hanging.cancelled)), (3, 3))
        self.clock.pump([1.0] * 62)
        self.assertEqual(self.providers.counts()["calls"], 0)


class EndTests(ProviderTestCase):
    """Deadlines, cancellation, callers that go away."""

    def test_deadline(self) -> None:
        """-32007, and the provider is told; so for a call that waits for a provider."""
        provider, caller = self.provider(), self.program()
        for number in range(4):
            caller.begin("test.work", identifier=number, deadline=1)
        self.clock.pump([0.1] * 13)
        self.assertEqual([caller.outcome(number)["code"] for number in range(4)], [-32007] * 4)
        provider.hear()
        self.assertEqual(sorted(provider.cancelled), [asked["id"] for asked in provider.asked])
        self.assertEqual(self.providers.counts()["waiting"], 0)

    def test_no_time_left(self) -> None:
        """A call whose turn comes when its time is over is not begun."""
        provider, caller = self.provider(), self.program()
        for number in range(3):
            caller.begin("test.work", identifier=number)
        caller.begin("test.work", identifier=3, deadline=1)
        self.clock.rightNow += 1.05  # the wheel has not turned yet
        provider.answer(None, 0)
        self.assertEqual(caller.outcome(3)["code"], -32007)
        self.assertEqual(provider.waiting(), 2)

    def test_caller_leaves(self) -> None:
        """The provider is told; the server's own procedures go on."""
        provider, caller = self.provider(), self.program()
        caller.begin("test.work")
        caller.begin("local.long", identifier=2)
        caller.leave()
        provider.hear()
        self.assertEqual(provider.cancelled, [provider.asked[0]["id"]])
        call, done = self.local.running[0]
        call.progress(done=1)
        done.callback(None)
        self.assertEqual(self.budgets.of(member("ann"), "").slow_calls, 0)

    def test_cancel(self) -> None:
        """The caller gives up its calls by their id, those of the server's own too, by a call or a notification."""
        provider, caller, other = self.provider(), self.program(), self.program()
        caller.begin("test.work", identifier="x")
        caller.begin("local.long", identifier=7)
        self.assertEqual(other.call("rpc.cancel", ["x"]), {"cancelled": 0})
        self.assertEqual(caller.call("rpc.cancel", {"id": "x"}), {"cancelled": 1})
        self.assertEqual(caller.outcome("x")["code"], -32007)
        caller.begin("rpc.cancel", [7], None)
        self.assertEqual(caller.outcome(7)["data"]["detail"], "cancelled")
        provider.hear()
        self.assertEqual(len(provider.cancelled), 1)
        self.assertEqual(caller.call("rpc.cancel", [None])["code"], -32602)
        for number in ("1e999", "1" * 5000):
            caller.say(f'{{"jsonrpc":"2.0","method":"test.work","id":{number}}}')
        caller.begin("test.work", identifier=5)
        self.assertEqual(caller.call("rpc.cancel", [5]), {"cancelled": 1})

    def test_cancel_what_returned_a_deferred(self) -> None:
        """A plain function whose result comes later takes its time as well, whether or not its signature says so."""
        caller = self.program()
        for name in ("local.deferred", "local.unannotated"):
            caller.begin(name)
            self.assertEqual(caller.call("rpc.cancel", {"id": 1}), {"cancelled": 1}, name)
            self.assertEqual(caller.outcome()["data"]["detail"], "cancelled")
            caller.begin(name)
            self.local.deferred_calls[-1].callback(7)
            self.assertEqual(caller.outcome(), 7)
            self.assertEqual(caller.call("rpc.cancel", {"id": 1}), {"cancelled": 0}, name)


class ProgressTests(ProviderTestCase):
    """rpc.progress, from providers and from procedures of the server's own."""

    def progress(self, provider: Any, **members: Any) -> None:
        """Tell of the last call."""
        provider.hear()
        provider.begin("rpc.progress", {"id": provider.asked[-1]["id"], **members}, None)

    def test_from_a_provider(self) -> None:
        """It reaches the caller under the id of its call, whatever else it says; parts of the result precede the answer."""
        provider, caller = self.provider(), self.program()
        caller.begin("test.work", identifier="x")
        self.progress(provider, done=1, total=2, what="ever")
        self.progress(provider, data={"a": 1})
        provider.answer("end")
        self.assertEqual(caller.outcome("x"), "end")
        self.assertEqual([each["params"] for each in caller.told], [{"id": "x", "done": 1, "total": 2, "what": "ever"}, {"id": "x", "data": {"a": 1}}])

    def test_about_nothing(self) -> None:
        """About a call that is over, or of another provider, or without an id: dropped."""
        provider, other, caller = self.provider(), self.provider(), self.program()
        caller.begin("test.work")
        provider.hear()
        identifier = provider.asked[0]["id"]
        for params in ({"id": identifier}, {"id": 999}, {"id": "x"}, {}, [1], {"id": None}):
            other.begin("rpc.progress", params, None)
        provider.answer(1)
        provider.begin("rpc.progress", {"id": identifier}, None)
        self.assertEqual((caller.outcome(), caller.told), (1, []))
        self.assertEqual(other.connection.messages() + provider.connection.messages(), [])

    def test_of_local_procedures(self) -> None:
        """Call.progress does the same."""
        caller = self.program()
        caller.begin("local.long", identifier=3, deadline=20)
        call, done = self.local.running[0]
        self.clock.advance(5)
        self.assertEqual(call.remaining(), 15)
        call.progress({"part": 1}, done=1, total=2)
        done.callback("end")
        self.assertEqual(caller.outcome(3), "end")
        self.assertEqual([each["params"] for each in caller.told], [{"data": {"part": 1}, "done": 1, "total": 2, "id": 3}])
        caller.begin("local.long", identifier=None)
        call, done = self.local.running[1]
        self.assertEqual(call.remaining(), 30)
        call.progress(1)
        done.callback(None)
        self.assertEqual(caller.connection.messages(), [])

    def test_a_caller_that_does_not_read(self) -> None:
        """Parts of a result wait for it up to the bound, then its call fails; mere progress is dropped."""
        provider, caller = self.provider(), self.program(window=0)
        caller.begin("test.work")
        for _ in range(3):
            self.progress(provider, done=1)
        self.assertEqual(caller.connection.received, b"")
        self.progress(provider, data="x" * 100)
        self.progress(provider, data="y")
        caller.connection.read()
        self.assertIsNone(caller.outcome())
        self.assertEqual([sorted(each["params"]) for each in caller.told], [["done", "id"], ["data", "id"], ["data", "id"]], "one was on its way")
        caller.connection.window = 0
        for _ in range(3):
            self.progress(provider, data="x" * 100)
        caller.connection.read()
        self.assertEqual(caller.outcome()["code"], -32008)
        provider.hear()
        self.assertEqual(len(provider.cancelled), 1)

    def test_caught_up(self) -> None:
        """A procedure that waits until its caller has caught up can give it any amount; it stops waiting when the caller is gone."""
        caller = self.program(window=0)
        caller.begin("local.long", identifier=3)
        call, done = self.local.running[0]
        for _ in range(5):
            call.progress("x" * 200)
            waiting, given_up = call.caught_up(), call.caught_up()
            self.clock.advance(0)
            given_up.cancel()
            self.failureResultOf(given_up, CancelledError)
            self.assertNoResult(waiting)
            caller.connection.read()
            self.successResultOf(waiting)
            caller.connection.window = 0
        call.progress("x")
        waiting = call.caught_up()
        self.clock.advance(0)
        caller.leave()
        self.failureResultOf(waiting, CancelledError)
        waiting = call.caught_up()
        self.clock.advance(0)
        self.failureResultOf(waiting, CancelledError)
        done.callback(None)

    def test_after_the_answer(self) -> None:
        """A call that goes on behind its deadline tells nobody any more; waiting for its caller ends it."""
        caller = self.program()
        caller.begin("local.long", identifier=3, deadline=2)
        call, _ = self.local.running[0]
        self.clock.advance(3)
        self.assertEqual(caller.outcome(3)["code"], -32007)
        call.progress("late")
        waiting = call.caught_up()
        self.clock.advance(0)
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual((caller.connection.messages(), call.heard), ([], False))

    def test_as_a_call(self) -> None:
        """A provider that tells by a call gets its answer when the caller takes more, so that a result of any length can be given."""
        provider, caller = self.provider(), self.program(window=0)
        caller.begin("test.work")
        provider.hear()
        serial = provider.asked[-1]["id"]
        for number in range(5):
            provider.begin("rpc.progress", {"id": serial, "data": "x" * 250, "done": number}, f"p{number}")
            self.clock.advance(0)
            self.assertIsNone(provider.outcome(f"p{number}"))
            caller.connection.read()
            provider.hear()
            self.assertEqual(provider.connection.messages(), [])
            caller.hear()
            self.assertEqual(caller.told.pop()["params"], {"id": 1, "data": "x" * 250, "done": number})
            self.assertIn(f"p{number}", provider._answers)
            caller.connection.window = 0
        provider.begin("rpc.progress", {"id": serial}, "wait")
        caller.leave()
        self.clock.advance(0)
        self.assertEqual(provider.outcome("wait")["code"], -32007)
        for params in ({"id": serial}, {"id": 12345}):
            self.assertEqual(provider.call("rpc.progress", params)["code"], -32003)
            self.assertEqual(self.program().call("rpc.progress", params)["code"], -32003)

    def test_nobody_hears(self) -> None:
        """Parts that reach nobody, as over plain HTTP, do not keep a call from being made again."""
        first, second = self.provider(idempotent=True), self.provider(idempotent=True)
        asking = self.dispatcher.run("test.work", [], Deaf(self.budgets), 8.0, lambda result: result)
        first.hear()
        self.progress(first, data=1)
        first.leave()
        second.answer("end")
        self.assertEqual(self.successResultOf(asking), "end")

    def test_large_parts(self) -> None:
        """A part is bounded as an answer is."""
        provider, caller = self.provider(), self.program()
        caller.begin("test.work")
        self.progress(provider, data="x" * 1100)
        self.assertEqual(caller.outcome()["code"], -32006)

    def test_parts_and_losses(self) -> None:
        """A call of which the caller has got a part is not made again, and only one provider goes on with it."""
        first, second = self.provider(idempotent=True), self.provider(idempotent=True)
        caller = self.program()
        caller.begin("test.work", deadline=8)
        self.clock.pump([0.5] * 9)
        self.assertEqual(second.waiting(), 1)
        self.progress(first, data=1)
        second.hear()
        self.assertEqual(len(second.cancelled), 1)
        first.leave()
        self.assertEqual(caller.outcome()["code"], -32009)


class FloodTests(ProviderTestCase):
    """What a provider sends without being asked costs it what anything does."""

    limits = LimitsSettings(calls_per_second=1, burst=10)

    def test_progress(self) -> None:
        """About a call that it has is free, also when nobody wants that any more; about one that it never had is not."""
        provider, caller = self.provider(), self.program()
        caller.begin("test.work")
        provider.hear()
        identifier = provider.asked[0]["id"]
        left = provider.socket.budget.remaining
        for _ in range(20):
            provider.begin("rpc.progress", {"id": identifier, "done": 1}, None)
        caller.call("rpc.cancel", {"id": 1})
        provider.begin("rpc.progress", {"id": identifier, "done": 2}, None)
        self.assertEqual(provider.socket.budget.remaining, left)
        for _ in range(3):
            provider.begin("rpc.progress", {"id": 999, "done": 1}, None)
        self.assertEqual(provider.socket.budget.remaining, left - 3)
