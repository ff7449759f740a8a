"""Joining a room again on a connection that is in it: what it has goes on until the new place is there."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netsvc.core.identity import Identity
from netsvc.core.rooms import Member
from netsvc.errors import Forbidden, StoreUnavailable
from tests.rpc.test_websocket import SocketTestCase


class JoiningAgainTests(SocketTestCase):
    """Each test is in a room, and joins it again; the store answers when the test says so."""

    def setUp(self) -> None:
        """In the room."""
        super().setUp()
        self.call("chat.join", ["lobby"])
        self.call("chat.post", ["lobby", "first"])
        self.connection.messages()
        self.reads: list[Deferred[Any]] = []
        catch_up = self.rooms._catch_up
        self.read = catch_up.read

        def read(*arguments: Any) -> "Deferred[Any]":
            self.reads.append(Deferred())
            return self.reads[-1].addCallback(lambda _: self.read(*arguments))

        catch_up.read = read  # type: ignore[method-assign]

    def join(self, identifier: Any) -> None:
        """Join once more."""
        self.send("chat.join", ["lobby", None, 0], identifier)

    def post(self, text: str) -> None:
        """Somebody says something."""
        self.rooms.post(Identity("bob", ("member",)), "lobby", text)
        self.turn()

    def settle(self, which: int, error: Exception | None = None) -> None:
        """The store answers."""
        self.reads.pop(which).callback(None if error is None else Failure(error))
        self.turn()

    def heard(self) -> list[Any]:
        """What the client has got: texts of events, ids of answers (negative for an error), other notifications by their names and reasons."""
        found: list[Any] = []
        for message in self.connection.messages():
            if "method" not in message:
                found.append(message["id"] if "result" in message else -message["id"])
            elif message["method"] == "chat.event":
                found.append(message["params"]["text"])
            elif message["method"] != "chat.presence":
                found.append((message["method"], message["params"]["reason"]))
        return found

    def members(self) -> int:
        """Those in the room."""
        return len(list(self.rooms.identities("lobby")))

    def test_it_fails(self) -> None:
        """The room goes on, with all that was said meanwhile."""
        self.join(1)
        self.post("meanwhile")
        self.assertEqual(self.heard(), [])
        self.settle(0, StoreUnavailable("slow"))
        self.assertEqual(self.heard(), [-1, "meanwhile"])
        self.post("then")
        self.assertEqual((self.heard(), self.members(), self.socket.kept()), (["then"], 1, 1))
        self.assertEqual(self.call("chat.leave", ["lobby"]), {})
        self.assertEqual((self.members(), self.socket.kept()), (0, 0))

    def test_it_succeeds(self) -> None:
        """No event comes twice; who is there was there all the time."""
        self.join(1)
        self.post("meanwhile")
        self.settle(0)
        self.assertEqual((self.heard(), self.members()), ([1], 1))
        self.post("then")
        self.assertEqual(self.heard(), ["then"])

    def test_leaving_meanwhile(self) -> None:
        """Both are over, whatever becomes of the join."""
        for error in (None, StoreUnavailable("slow")):
            self.join(1)
            self.send("chat.leave", ["lobby"], 2)
            self.assertEqual(self.members(), 0)
            self.settle(0, error)
            self.post("then")
            self.assertEqual((self.heard(), self.members(), self.socket.kept()), ([2, 1 if error is None else -1], 0, 0))
            self.call("chat.leave", ["lobby"])

    def test_the_connection_ends_meanwhile(self) -> None:
        """Likewise."""
        self.join(1)
        self.socket.disconnected(1006, "")
        self.assertEqual(self.members(), 0)
        self.settle(0)
        self.assertEqual(self.members(), 0)

    def test_behind_the_end(self) -> None:
        """A call that outlasts its connection joins nothing."""
        self.socket.disconnected(1006, "")
        self.join(2)
        self.assertEqual((self.reads, self.members(), self.socket.kept()), ([], 0, 0))

    def test_losing_the_room_meanwhile(self) -> None:
        """It is told at once; a join that fails then leaves nothing behind, one that succeeds is a join."""
        for error, answer, members in ((None, 1, 1), (Forbidden("no"), -1, 0)):
            self.join(1)
            self.rooms.expel("lobby", lambda _: "kick")
            self.assertEqual(self.heard(), [("chat.left", "kick")])
            self.settle(0, error)
            self.assertEqual((self.heard(), self.members(), self.socket.kept()), ([answer], members, members))

    def test_another_name_meanwhile(self) -> None:
        """What goes on does so under that name."""
        self.join(1)
        self.socket.login(Identity("ann", ("member",)))
        self.settle(0, StoreUnavailable("slow"))
        self.assertEqual([identity.name for identity in self.rooms.identities("lobby")], ["ann"])

    def test_two_at_once(self) -> None:
        """Whichever is answered first, and whatever the answers: the last good one counts, without one the room goes on as it was."""
        bad = StoreUnavailable("slow")
        for first, second in ((None, None), (None, bad), (bad, None), (bad, bad)):
            for order in (0, 1):
                self.join(1)
                self.join(2)
                self.post("meanwhile")
                answers = [-1 if first else 1, -2 if second else 2]
                outcomes = [first, second]
                self.settle(order, outcomes.pop(order))
                early = self.heard()
                self.assertEqual(early, [answers[order]])
                self.settle(0, outcomes[0])
                late = self.heard()
                self.assertEqual(late, [answers[1 - order]] + ["meanwhile"] * bool(first and second), (first, second, order))
                self.post("then")
                self.assertEqual((self.heard(), self.members(), self.socket.kept()), (["then"], 1, 1), (first, second, order))

    def test_losing_the_room_with_two_at_once(self) -> None:
        """The place that is two joins away is told of as well."""
        self.join(1)
        self.join(2)
        self.rooms.expel("lobby", lambda _: "kick")
        self.assertEqual(self.heard(), [("chat.left", "kick")])
        self.settle(1, Forbidden("no"))
        self.settle(0, Forbidden("no"))
        self.assertEqual((self.heard(), self.members(), self.socket.kept()), ([-2, -1], 0, 0))

    def test_a_post_in_the_same_batch(self) -> None:
        """What goes on does so behind the answer to all."""
        self.socket.text(
            '[{"jsonrpc":"2.0","method":"chat.join","params":["lobby"],"id":1},{"jsonrpc":"2.0","method":"chat.post","params":["lobby","mine"],"id":2},'
            '{"jsonrpc":"2.0","method":"test.wait","id":3}]'
        )
        self.turn()
        self.settle(0, StoreUnavailable("slow"))
        self.assertEqual(self.connection.messages(), [])
        self.procedures.waiting[0].callback(0)
        self.turn()
        batch, event = self.connection.messages()
        self.assertEqual(([each["id"] for each in batch], event["params"]["text"]), ([1, 2, 3], "mine"))

    def test_a_place_that_is_not_there_any_more(self) -> None:
        """Its last words come late, and change nothing."""
        member = self.socket.belonging(("room", "lobby"))
        assert isinstance(member, Member)
        assert member.lost is not None
        self.join(1)
        self.settle(0)
        member.lost(member, "lobby", "kick")
        self.assertEqual((self.heard(), self.members()), ([1], 1))
