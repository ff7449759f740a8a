"""Tests for netsvc.client.events."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.events import Event, Gap, Position, parse_cursor

MESSAGE = {"room": "lobby", "seq": 42, "cursor": "k3v9:42", "type": "message", "from": "ann", "at": "2026-01-31T12:00:00.000Z", "text": "hello"}


class Events(SynchronousTestCase):
    """What a reader gets."""

    def test_message(self) -> None:
        """The members that every event has are attributes; all of them are in data."""
        event = Event(MESSAGE)
        self.assertEqual((event.type, event.room, event.seq, event.cursor, event.sender), ("message", "lobby", 42, "k3v9:42", "ann"))
        self.assertEqual((event.at, event.text), ("2026-01-31T12:00:00.000Z", "hello"))
        self.assertIs(event.data, MESSAGE)
        self.assertEqual((event, repr(event)), (Event(dict(MESSAGE)), f"<Event {MESSAGE!r}>"))
        self.assertNotEqual(event, MESSAGE)

    def test_unknown(self) -> None:
        """An event of a type that nobody knows yet is one, too."""
        event = Event({"room": "lobby", "seq": 1, "cursor": "e:1", "type": "poll", "choices": [1]})
        self.assertEqual((event.type, event.text, event.sender, event.data["choices"]), ("poll", "", "", [1]))

    def test_gap(self) -> None:
        """A gap says which events are missing, also as JSON."""
        self.assertEqual(Gap("lobby", 3, 5).data, {"type": "gap", "room": "lobby", "from": 3, "to": 5})
        self.assertTrue(Gap("lobby", 1, 0, True).data["replaced"])


class Cursors(SynchronousTestCase):
    """``epoch:seq``."""

    def test_round_trip(self) -> None:
        """The epoch may be anything, colons included."""
        self.assertEqual(parse_cursor("a:b:12"), Position("a:b", 12))
        self.assertEqual(parse_cursor("a:b:12").cursor, "a:b:12")

    def test_none(self) -> None:
        """What has no number behind a colon is none."""
        for cursor in ("", "12", "a:", "a:b", "a:-1", "a:²"):
            self.assertRaises(ValueError, parse_cursor, cursor)
