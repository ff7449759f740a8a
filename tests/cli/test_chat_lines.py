"""Tests for netsvc.cli.chat_lines."""

import os
import time
from typing import Any

from hypothesis import given
from hypothesis.strategies import text
from twisted.trial.unittest import SynchronousTestCase

from netsvc.cli.chat_lines import ChatLines, clean, clean_name
from netsvc.client import Event, Gap, State
from tests.cli.fake_server import message


class Cleaning(SynchronousTestCase):
    """Nothing that somebody says can give orders to the reader's terminal."""

    @given(text())
    def test_no_orders(self, said: str) -> None:
        """No control character is left but the line's end, whatever was said; a name is one line."""
        for shown in (clean(said).replace("\n", ""), clean_name(said)):
            self.assertEqual([character for character in shown if not character.isprintable() and character not in "\u200c\u200d"], [])

    def test_pictures(self) -> None:
        """Control characters are shown as pictures; tabs are blanks; joiners stay, in texts only."""
        self.assertEqual(clean("\x1b[2J\x07a\tb\x7f\x9b\u202ec\x00"), "␛[2J␇a  b␡��c␀")
        self.assertEqual(clean("a\r\nb\x85c\u2028d"), "a\nb\nc\nd")
        self.assertEqual(clean("👩\u200d🚀"), "👩\u200d🚀")
        self.assertEqual(clean_name("a\u200db\nc"), "a�b␊c")
        self.assertEqual(clean_name("x" * 100), "x" * 64 + "…")


class LinesCase(SynchronousTestCase):
    """In UTC."""

    def setUp(self) -> None:
        """Set the clock's zone."""
        before = os.environ.get("TZ")
        self.addCleanup(self.set_zone, before)
        self.set_zone("UTC")
        self.lines = ChatLines("bob")

    def set_zone(self, zone: str | None) -> None:
        """Be there."""
        if zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone
        time.tzset()

    def line(self, item: Any) -> str:
        """The last line of an event."""
        return list(self.lines.lines(item))[-1].plain

    def other(self, type: str, **members: Any) -> str:
        """The line of an event that is no message, from its name on."""
        return self.line(Event({**message(9).data, "text": None, "type": type, **members})).partition("* ")[2]


class Messages(LinesCase):
    """What people say."""

    def test_message(self) -> None:
        """Time, name, text; a day's name comes before its first."""
        shown = [line.plain for line in self.lines.lines(message(1))]
        self.assertEqual(shown, ["-- Saturday, 31 January 2026 --", "12:00 <ann> hello"])
        self.assertEqual([line.plain for line in self.lines.lines(message(2))], ["12:00 <ann> hello"])

    def test_own_time(self) -> None:
        """Times are those of the reader; one that is none is told to be none."""
        self.set_zone("Asia/Kolkata")
        self.assertEqual(self.line(message(1)), "17:30 <ann> hello")
        self.assertEqual(self.line(message(1, at="soon")), "--:-- <ann> hello")

    def test_no_forged_lines(self) -> None:
        """A text's further lines are indented, a name cannot begin one."""
        self.assertEqual(self.line(message(1, "a\n12:00 <bob> b")), "12:00 <ann> a\n      12:00 <bob> b")
        self.assertEqual(self.line(message(1, **{"from": "x\n12:00 <bob"})), "12:00 <x␊12:00 <bob> hello")

    def test_standing(self) -> None:
        """Edited, deleted, an answer to another."""
        self.assertEqual(self.line(message(1, edited="x", reply_to=7)), "12:00 <ann> (to #7) hello (edited)")
        self.assertEqual(self.line(message(1, "", deleted="x", edited="x")), "12:00 <ann> (deleted)")

    def test_styles(self) -> None:
        """A name has its colour everywhere; being mentioned stands out, but not in one's own messages."""
        one, two = (list(self.lines.lines(message(seq, "hey @bob")))[-1] for seq in (1, 2))
        self.assertEqual(one.spans, two.spans)
        self.assertIn("bold reverse", str(one.spans))
        self.assertNotIn("reverse", str(list(self.lines.lines(message(1, "@bob", **{"from": "bob"})))[-1].spans))


class Others(LinesCase):
    """What else happens."""

    def test_events(self) -> None:
        """Each type has words; one that is not known is at least named."""
        for shown, expected in (
            (self.other("edit", target=3, text="new"), "ann changes #3: new"),
            (self.other("delete", target=3), "ann deletes #3"),
            (self.other("delete"), "ann deletes a message"),
            (self.other("reaction", target=3, emoji="👍", on=True), "ann reacts with 👍 to #3"),
            (self.other("reaction", target=3, emoji="\x1b", on=False), "ann no longer reacts with ␛ to #3"),
            (self.other("topic", text="tea"), "ann sets the topic: tea"),
            (self.other("topic"), "ann removes the topic"),
            (self.other("file", name="a.txt"), "ann shares a.txt"),
            (self.other("moderation", action="kick", name="eve", text="spam"), "ann kick eve (spam)"),
            (self.other("moderation", action="access", value="members"), "ann access members"),
            (self.other("poll\x1b", text="x"), "ann (poll␛) x"),
            (self.other("poll"), "ann (poll)"),
        ):
            self.assertEqual(shown, expected)

    def test_gaps(self) -> None:
        """What is missing is said, and that the log is another one."""
        self.assertEqual(self.line(Gap("lobby", 3, 5)), "-- messages 3 to 5 are no longer kept --")
        self.assertIn("not the same", self.line(Gap("lobby", 1, 0, True)))

    def test_presence(self) -> None:
        """Who came and went, some by name, oneself excepted."""
        shown = [line.plain for line in self.lines.presence({"joined": ["ann", "bob"], "left": ["a", "b\x1b"]})]
        self.assertEqual(shown, ["-- ann is here --", "-- a, b␛ have left --"])
        (many,) = self.lines.presence({"joined": list("abcdefgh"), "left": []})
        self.assertEqual(many.plain, "-- a, b, c, d, e and 3 more are here --")
        self.assertEqual(list(self.lines.presence({"joined": "x"})), [])

    def test_states(self) -> None:
        """A loss is told once, and the return; not every attempt."""

        def told(name: Any, before: str) -> str:
            line = self.lines.state(State(name, 1.0, "a\x1bb"), before)
            return "" if line is None else line.plain

        self.assertEqual(told("waiting", "online"), "-- no connection (a␛b); trying again --")
        self.assertEqual((told("waiting", "waiting"), told("connecting", "waiting"), told("online", "online")), ("", "", ""))
        self.assertEqual(told("online", "waiting"), "-- connected again --")
        self.assertIn("refuses the connection", told("refused", "waiting"))
