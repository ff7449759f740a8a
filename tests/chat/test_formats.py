"""Rooms as bytes."""

import json

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.chat.formats import EventStreamFormat, NotificationFormat, TextFormat, line
from netsvc.core.events import Event, event_of
from netsvc.core.records import Row
from netsvc.interfaces import IFormat
from netsvc.wire.websocket import text_frame
from tests.rpc.fakes import texts


def message(text: str = "hi", extra: str | None = None, type: str = "message") -> Event:
    """An event."""
    return event_of("e", "lobby", Row(4, 0, type, "alice", text, extra))


class NotificationTests(TestCase):
    """chat.event, chat.gap, chat.presence."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.format = NotificationFormat(text_frame)

    def test_event(self) -> None:
        """One notification in one frame."""
        verifyObject(IFormat, self.format)
        (text,) = texts(self.format.event(message()))
        self.assertEqual(
            json.loads(text),
            {
                "jsonrpc": "2.0",
                "method": "chat.event",
                "params": {"room": "lobby", "seq": 4, "cursor": "e:4", "type": "message", "from": "alice", "at": "1970-01-01T00:00:00.000Z", "text": "hi"},
            },
        )

    def test_gap_and_presence(self) -> None:
        """The members of the protocol."""
        (gap,) = texts(self.format.gap("lobby", 2, 5))
        self.assertEqual(json.loads(gap), {"jsonrpc": "2.0", "method": "chat.gap", "params": {"room": "lobby", "from": 2, "to": 5}})
        (presence,) = texts(self.format.presence("lobby", ("a",), (), 3))
        self.assertEqual(json.loads(presence)["params"], {"room": "lobby", "joined": ["a"], "left": [], "count": 3})
        (typing,) = texts(self.format.typing("lobby", "a"))
        self.assertEqual(json.loads(typing), {"jsonrpc": "2.0", "method": "chat.typing", "params": {"room": "lobby", "from": "a"}})


class TextTests(TestCase):
    """``<name> text``."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.format = TextFormat(text_frame)

    def test_message(self) -> None:
        """Messages are shown, other events and deleted messages are not."""
        verifyObject(IFormat, self.format)
        self.assertEqual(texts(self.format.event(message())), ["<alice> hi"])
        self.assertEqual(self.format.event(message("", '{"target":1}', "delete")), b"")
        self.assertEqual(self.format.event(message("", '{"deleted":true}')), b"")
        self.assertEqual(self.format.presence("lobby", ("a",), (), 1), b"")
        self.assertEqual(self.format.typing("lobby", "a"), b"")
        self.assertEqual(texts(self.format.gap("lobby", 1, 3)), ["-- messages 1 to 3 of lobby are no longer kept --"])

    def test_nobody_can_forge_a_name(self) -> None:
        """Further lines are indented, whatever some terminal takes for the end of a line."""
        for end in ("\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"):
            self.assertEqual(line("eve", f"hi{end}<alice> I quit"), "<eve> hi\n  <alice> I quit", repr(end))
        self.assertEqual(line("eve", "\n"), "<eve> ")
        self.assertEqual(line("eve", ""), "<eve> ")

    def test_nobody_orders_a_terminal_about(self) -> None:
        """What would erase or overwrite the name is shown instead; tabs and other letters stay as they are."""
        self.assertEqual(line("eve", "\x1b[2K\x1b[G<alice> I quit"), "<eve> \u241b[2K\u241b[G<alice> I quit")
        self.assertEqual(line("eve", "\b\b\x00\x7f\x9b1G"), "<eve> \u2408\u2408\u2400\u2421\ufffd1G")
        self.assertEqual(line("eve", "a\tb \u00e4\u20ac\U0001f600\nc"), "<eve> a\tb \u00e4\u20ac\U0001f600\n  c")


class EventStreamTests(TestCase):
    """Server-sent events."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.format = EventStreamFormat(bytes)

    def test_event(self) -> None:
        """The cursor as id, then one line, whatever line breaks the text has: none of them ends a field or an event."""
        verifyObject(IFormat, self.format)
        for text in ("hi", "a\nb", "a\r\n\r\ndata: b", "a\u2028b", ""):
            block = self.format.event(message(text))
            self.assertTrue(block.startswith(b"id: e:4\ndata: {") and block.endswith(b"}\n\n"), block)
            self.assertEqual((block.count(b"\n"), block.count(b"\r")), (3, 0))
            self.assertEqual(json.loads(block.split(b"data: ", 1)[1])["text"], text)

    def test_others(self) -> None:
        """A gap is named and has no id, a position is nothing but one, presence is not shown."""
        self.assertEqual(self.format.gap("lobby", 2, 5), b'event: gap\ndata: {"room":"lobby","from":2,"to":5}\n\n')
        self.assertEqual(self.format.position("e:4"), b"id: e:4\n\n")
        self.assertEqual(self.format.presence("lobby", ("a",), (), 1), b"")
