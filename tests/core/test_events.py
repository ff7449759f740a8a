"""Events and cursors."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from netsvc.core.events import Extra, cursor_of, encode_extra, event_of, parse_cursor, timestamp
from netsvc.core.records import Row


class CursorTests(TestCase):
    """``epoch:seq``."""

    @given(st.text(max_size=20), st.integers(-(2**59), 2**59))
    def test_roundtrip(self, epoch: str, seq: int) -> None:
        """What was given out is understood; an epoch may hold anything."""
        self.assertEqual(parse_cursor(cursor_of(epoch, seq)), (epoch, seq))

    def test_no_cursor(self) -> None:
        """Everything else is refused, by words that show how one looks."""
        for text in ("", "41", "x:", "x:1.5", "x:1 ", "x:--1", "x:٣", "x:-", "x:+1", "x:1_0"):
            error = self.assertRaises(ValueError, parse_cursor, text)
            self.assertIn("not a cursor", str(error))


    def test_far_away(self) -> None:
        """Any integer is valid, and one of any length costs nothing and is behind every event."""
        for digits in ("9" * 19, "9" * 30, "9" * 100_000):
            self.assertEqual(parse_cursor(f"x:{digits}"), ("x", 10**18))
            self.assertEqual(parse_cursor(f"x:-{digits}"), ("x", -(10**18)))


class EventTests(TestCase):
    """The JSON of an event."""

    def test_timestamp(self) -> None:
        """RFC 3339, UTC, three digits of milliseconds."""
        self.assertEqual(timestamp(1_700_000_000_007), "2023-11-14T22:13:20.007Z")

    def test_a_file(self) -> None:
        """An event about a file has its name, size, type and address."""
        about = {"name": "plan.pdf", "size": 7, "media_type": "application/pdf", "url": "/files/7"}
        event = event_of("e", "room", Row(3, 0, "file", "alice", None, encode_extra(Extra(**about))))  # type: ignore[arg-type]
        shown = msgspec.json.decode(msgspec.json.encode(event))
        self.assertEqual((shown["type"], {name: shown[name] for name in about}), ("file", about))

    def test_a_plain_message(self) -> None:
        """Members that it does not have are not there; the sender is ``from``."""
        event = event_of("e", "room", Row(3, 0, "message", "alice", "hi", None))
        self.assertEqual(
            msgspec.json.decode(msgspec.json.encode(event)),
            {"room": "room", "seq": 3, "cursor": "e:3", "type": "message", "from": "alice", "at": "1970-01-01T00:00:00.000Z", "text": "hi"},
        )

    def test_further_members(self) -> None:
        """What the row keeps as JSON becomes members, ``on: false`` included."""
        event = event_of("e", "room", Row(3, 0, "reaction", "alice", None, '{"target":2,"emoji":"x","on":false}'))
        self.assertEqual((event.target, event.emoji, event.on), (2, "x", False))
        decoded = msgspec.json.decode(msgspec.json.encode(event))
        self.assertEqual(decoded["on"], False)
        self.assertNotIn("text", decoded)
        self.assertEqual(event_of("e", "room", Row(1, 0, "message", "a", "", '{"deleted":true}')).deleted, True)
