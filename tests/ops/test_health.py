"""Promises of netsvc.ops.health."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import StoreUnavailable
from netsvc.ops.health import Health


class HealthTests(SynchronousTestCase):
    """Liveness and readiness."""

    def setUp(self) -> None:
        """A serving daemon whose store answers when told."""
        self.clock = Clock()
        self.probes: list[Deferred[None]] = []
        self.health = Health(self.clock, self.probe, deadline=5.0)
        self.health.serving()

    def probe(self) -> "Deferred[None]":
        """The store."""
        self.probes.append(Deferred())
        return self.probes[-1]

    def test_live(self) -> None:
        """Liveness asks nobody and tells the uptime."""
        self.clock.advance(2.5)
        self.assertEqual(self.health.live(), (200, {"status": "ok", "uptime": 2.5}))
        self.assertEqual(self.probes, [])

    def test_not_before_the_listeners(self) -> None:
        """Before every listener is up it is not ready, and the store is not asked."""
        health = Health(self.clock, self.probe)
        self.assertEqual(self.successResultOf(health.ready()), (503, {"status": "starting"}))
        self.assertEqual(self.probes, [])

    def test_ready(self) -> None:
        """The store's answer makes it ready."""
        answer = self.health.ready()
        self.assertNoResult(answer)
        self.probes[0].callback(None)
        self.assertEqual(self.successResultOf(answer), (200, {"status": "ready"}))

    def test_one_probe_for_all(self) -> None:
        """Questions at the same time share a probe; its outcome serves for a second after the answer and no longer."""
        answers = [self.health.ready() for _ in range(5)]
        self.clock.advance(3)
        self.probes[0].callback(None)
        self.assertEqual([self.successResultOf(answer)[0] for answer in answers], [200] * 5)
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(self.health.ready())[0], 200)
        self.assertEqual(len(self.probes), 1)
        self.clock.advance(0.01)
        self.assertNoResult(self.health.ready())
        self.assertEqual(len(self.probes), 2)

    def test_a_store_that_cannot_write(self) -> None:
        """An error of the store is not ready, with its words; it is an answer all the same."""
        answer, answered = self.health.ready(), self.health.answers()
        self.probes[0].errback(StoreUnavailable("disk full"))
        self.assertEqual(self.successResultOf(answer), (503, {"status": "store unavailable", "detail": "disk full"}))
        self.assertTrue(self.successResultOf(answered))
        self.clock.advance(1.1)
        recovered = self.health.ready()
        self.probes[1].callback(None)
        self.assertEqual(self.successResultOf(recovered), (200, {"status": "ready"}))

    def test_a_store_that_hangs(self) -> None:
        """No answer within the deadline is not ready, and no answer."""
        answer, answered = self.health.ready(), self.health.answers()
        self.clock.advance(5.0)
        status, body = self.successResultOf(answer)
        self.assertEqual((status, body["detail"]), (503, "the store did not answer within 5 s"))
        self.assertFalse(self.successResultOf(answered))

    def test_a_bug_in_the_probe(self) -> None:
        """An unexpected error shows its type only."""

        def broken() -> "Deferred[None]":
            raise RuntimeError("internal path /secret")

        health = Health(self.clock, broken)
        health.serving()
        self.assertEqual(self.successResultOf(health.ready()), (503, {"status": "store unavailable", "detail": "RuntimeError"}))

    def test_draining(self) -> None:
        """Once the stop has begun it is not ready, also for a question that was waiting."""
        answer = self.health.ready()
        self.health.draining()
        self.probes[0].callback(None)
        self.assertEqual(self.successResultOf(answer), (503, {"status": "draining"}))
        self.assertEqual(self.successResultOf(self.health.ready()), (503, {"status": "draining"}))

    def test_a_question_given_up(self) -> None:
        """A client that went away takes nothing from the others who wait."""
        gone, stays = self.health.ready(), self.health.ready()
        gone.addErrback(lambda failure: None)
        gone.cancel()
        self.probes[0].callback(None)
        self.assertEqual(self.successResultOf(stays)[0], 200)

    def test_an_answer_at_once(self) -> None:
        """A store that answers at once (memory) is served at once."""
        health = Health(self.clock, lambda: succeed(None))
        health.serving()
        self.assertEqual(self.successResultOf(health.ready()), (200, {"status": "ready"}))
