"""Long-poll: what is answered at once, what waits, and what is left behind."""

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from netsvc.chat.long_poll import Bell, Ringing
from netsvc.core.history import History
from netsvc.interfaces import IFormat, ISink
from tests.chat.events_case import BOB, EventsUrlCase
from tests.http.channels import Answer, Client


class LongPollTests(EventsUrlCase):
    """Long-poll."""

    def poll(self, query: str) -> Answer | None:
        """Ask; None while it waits."""
        self.ask(query)
        found = self.client.answers()
        return found[0] if found else None

    def test_what_is_there(self) -> None:
        """Without a cursor the newest, with one what is behind it, at once, wait or not; never kept on the way."""
        self.post("a", "b", "c")
        for wait in ("", "&wait=9"):
            answer = self.get("?limit=2" + wait)
            self.assertEqual((answer.fields["content-type"], answer.fields["cache-control"]), ("application/json", "no-store"))
            history = answer.json()
            self.assertEqual([event["text"] for event in history.pop("events")], ["b", "c"])
            self.assertEqual(history, {"cursor": "e:3", "more": True, "recovered": True})
            history = self.get("?after=e:1&limit=1" + wait).json()
            self.assertEqual([event["text"] for event in history.pop("events")], ["b"])
            self.assertEqual(history, {"cursor": "e:2", "more": True, "recovered": True})
            history = self.get("?limit=0" + wait).json()
            self.assertEqual(history, {"events": [], "cursor": "e:3", "more": True, "recovered": True})
        self.assertEqual(len(self.get("").json()["events"]), 3)

    def test_not_recovered(self) -> None:
        """A cursor that is no good is said to be, at once."""
        self.post("a")
        for wait in ("", "&wait=9"):
            history = self.get("?after=other:7" + wait).json()
            self.assertEqual((history["recovered"], len(history["events"]), history["cursor"]), (False, 1, "e:1"))
        self.assertEqual(self.get("?after=other:7&wait=9", room="absent").json(), {"events": [], "cursor": "e:0", "more": False, "recovered": False})

    def test_no_wait(self) -> None:
        """Without `wait` there is an answer at once, also if it is empty."""
        self.post("a")
        for query in ("?after=e:1", "?after=e:1&wait=0", "?after=e:1&wait="):
            self.assertEqual(self.get(query).json(), {"events": [], "cursor": "e:1", "more": False, "recovered": True})

    def test_woken(self) -> None:
        """The next event answers all who wait; the connection serves their next request."""
        self.post("a")
        others = [Client(self.factory) for _ in range(3)]
        for other in others:
            self.ask("?after=e:1&wait=30", client=other)
        self.assertIsNone(self.poll("?after=e:1&wait=30"))
        self.post("b")
        for client in (self.client, *others):
            history = client.answer().json()
            self.assertEqual([event["text"] for event in history.pop("events")], ["b"])
            self.assertEqual(history, {"cursor": "e:2", "more": False, "recovered": True})
        self.assertIsNone(self.poll("?after=e:2&wait=30"))
        self.post("c")
        self.assertEqual(self.client.answer().json()["cursor"], "e:3")
        self.assert_nothing_left()

    def test_woken_by_many(self) -> None:
        """Events that come together are not lost to `limit`: there are more."""
        self.post("a")
        self.poll("?after=e:1&wait=30&limit=2")
        for text in "bcd":
            self.rooms.post(BOB, "lobby", text)
        self.turn()
        history = self.client.answer().json()
        self.assertEqual((len(history["events"]), history["cursor"], history["more"]), (2, "e:3", True))

    def test_event_between(self) -> None:
        """An event that is committed while the room is looked up is seen."""
        self.post("a")
        found: Deferred[Any] = Deferred()
        with mock.patch.object(self.store, "room", return_value=found):
            self.ask("?after=e:1&wait=30")
        info = self.successResultOf(self.store.room("lobby"))
        self.post("b")
        found.callback(info)
        self.turn()
        self.assertEqual([event["text"] for event in self.client.answer().json()["events"]], ["b"])

    def test_what_is_kept_no_longer(self) -> None:
        """Retention may remove what woke it before that is read: the newest, not recovered."""
        self.post("a")
        with mock.patch.object(self.rooms, "history", return_value=succeed(History([], "e:9", False, False))) as asked:
            self.poll("?after=e:1&wait=30&limit=7")
            self.post("b")
        asked.assert_called_once_with(BOB, "lobby", None, "e:1", 7)
        self.assertEqual(self.client.answer().json(), {"events": [], "cursor": "e:9", "more": False, "recovered": False})

    def test_absent_room(self) -> None:
        """A room without events is waited for with `wait`, and is an error without."""
        self.assertEqual(self.get("", room="absent").status, 404)
        self.assertEqual(self.get("?after=e:0", room="absent").status, 404)
        self.assertIsNone(self.poll("?wait=30&limit=1"))
        for text in ("first", "second"):
            self.rooms.post(BOB, "lobby", text)
        self.turn()
        history = self.client.answer().json()
        self.assertEqual(([event["text"] for event in history["events"]], history["more"]), (["first"], True))

    def test_time_is_over(self) -> None:
        """Nothing came: an empty answer with the same cursor."""
        self.post("a")
        self.assertIsNone(self.poll("?after=e:1&wait=2.5"))
        self.clock.advance(2.4)
        self.assertEqual(self.client.answers(), [])
        self.clock.advance(0.2)
        self.assertEqual(self.client.answer().json(), {"events": [], "cursor": "e:1", "more": False, "recovered": True})
        self.assert_nothing_left()

    def test_longest_wait(self) -> None:
        """The server answers before its own patience with an answer is over, whatever was asked for."""
        self.assertIsNone(self.poll("?wait=60"))
        self.clock.advance(40)
        self.assertEqual(self.client.answer().status, 200)

    def test_presence(self) -> None:
        """Who waits is in the room."""
        self.post("a")
        self.poll("?after=e:1&wait=30")
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(self.rooms.who(BOB, "lobby")).names, ["bob"])
        self.assertEqual(self.client.answers(), [])

    def test_client_leaves(self) -> None:
        """Nothing is left behind."""
        self.poll("?wait=30")
        self.client.lose()
        self.post("a")
        self.assert_nothing_left()

    def test_client_leaves_before_the_room_is_known(self) -> None:
        """Nor while the store is asked."""
        found: Deferred[Any] = Deferred()
        with mock.patch.object(self.store, "room", return_value=found):
            self.ask("?wait=30")
            self.client.lose()
        found.callback(None)
        self.assert_nothing_left()

    def test_revoked(self) -> None:
        """A credential that is revoked meanwhile is one that is wrong."""
        self.poll("?wait=30")
        (identity, close), _ = self.logins.watch.call_args
        self.assertEqual(identity, BOB)
        close("the token was revoked")
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.json()["error"]["message"]), (401, "the token was revoked"))
        self.assert_nothing_left()

    def test_drain(self) -> None:
        """When the daemon stops, who waits is told when to ask again, and nobody waits any more; what is there is given."""
        self.post("a")
        self.poll("?after=e:1&wait=30")
        self.url.open.drain()
        for answer in (self.client.answer(), self.get("?after=e:1&wait=30")):
            self.assertEqual((answer.status, answer.fields["retry-after"], answer.json()["error"]["retry_after"]), (503, "3", 2.5))
        self.assertEqual(self.get("?after=e:0&wait=30").json()["cursor"], "e:1")

    def test_head_request(self) -> None:
        """HEAD does not wait."""
        self.post("a")
        self.ask("?after=e:1&wait=30", method="HEAD")
        (answer,) = self.client.answers(head_only=True)
        self.assertEqual(answer.status, 200)

    def test_bell(self) -> None:
        """It is a sink that is never full, rings once, and can be told to stop."""
        bell = Bell()
        verifyObject(ISink, bell)
        bell.watch(mock.Mock())
        self.assertEqual(bell.raw_send(b""), 0)
        self.assertNoResult(bell.rung)
        self.assertEqual(bell.raw_send(b"abc"), 3)
        bell.write(b"abc")
        bell.rest(b"abc", 1)
        bell.give_up()
        bell.revoked("late")
        self.assertTrue(self.successResultOf(bell.rung))
        self.assertFalse(bell.full)

    def test_ringing(self) -> None:
        """Whatever is to be read rings; who comes and goes does not."""
        format = Ringing()
        verifyObject(IFormat, format)
        self.assertEqual((len(format.gap("lobby", 1, 2)), format.presence("lobby", ("a",), (), 1)), (1, b""))
