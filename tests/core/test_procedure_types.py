"""Which type hints make params, as docs/rpc.md promises."""

from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
from msgspec import Meta
from twisted.trial.unittest import SynchronousTestCase as TestCase

from netsvc.core.procedures import Registry, procedure
from netsvc.errors import InvalidParams
from netsvc.examples.arithmetic import divide


class Size(Enum):
    """A choice."""

    SMALL = "small"
    LARGE = "large"


@dataclass
class Box:
    """A dataclass, with one in it."""

    size: Size
    inner: "Box | None" = None


class Lid(msgspec.Struct):
    """A struct."""

    width: int


class Label(TypedDict):
    """A typed dictionary."""

    text: str


class Point(NamedTuple):
    """A named tuple."""

    x: float
    y: float


Pair = namedtuple("Pair", "left right")

VALUES: list[tuple[Any, Any, Any]] = [
    (int, 3, 3),
    (float, 3, 3.0),
    (str, "é", "é"),
    (bool, True, True),
    (None, None, None),
    (int | None, None, None),
    (Any, {"a": [1]}, {"a": [1]}),
    (list[int], [1, 2], [1, 2]),
    (tuple[int, str], [1, "x"], (1, "x")),
    (set[int], [1, 1], {1}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (Literal["in", "out"], "in", "in"),
    (Size, "small", Size.SMALL),
    (Box, {"size": "large", "inner": {"size": "small"}}, Box(Size.LARGE, Box(Size.SMALL))),
    (Lid, {"width": 2}, Lid(2)),
    (Label, {"text": "x"}, {"text": "x"}),
    (Point, [1, 2.5], Point(1.0, 2.5)),
    (Pair, [1, "x"], Pair(1, "x")),
    (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (date, "2026-01-02", date(2026, 1, 2)),
    (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678")),
    (Decimal, "0.10", Decimal("0.10")),
    (bytes, "AAE=", b"\0\1"),
    (Annotated[int, Meta(ge=1, le=9)], 9, 9),
    (Annotated[str, Meta(max_length=3, pattern="^a")], "abc", "abc"),
]
"""Hint, JSON, value."""

WRONG: list[tuple[Any, Any, str]] = [
    (int, 1.5, "int"),
    (int, "1", "int"),
    (int, True, "int"),
    (str, 1, "str"),
    (bool, 1, "bool"),
    (Literal["in", "out"], "up", "'up'"),
    (Size, "medium", "'medium'"),
    (Box, {"size": "small", "inner": {}}, "size"),
    (Lid, {"width": "wide"}, "int"),
    (Annotated[int, Meta(ge=1, le=9)], 10, "<= 9"),
    (Annotated[str, Meta(max_length=3)], "abcd", "length <= 3"),
    (datetime, "yesterday", "RFC3339"),
    (bytes, "%", "base64"),
]
"""Hint, JSON, what the error says."""


def taking(hint: Any) -> Any:
    """A procedure with one param of a type."""

    def function(value: Any) -> None:
        """Takes it."""

    function.__annotations__["value"] = hint
    registry = Registry()
    holder = type("Holder", (), {"function": staticmethod(procedure("takes")(function))})
    registry.add(holder())
    return registry.find("takes")


class HintTests(TestCase):
    """One param of each kind."""

    def test_values(self) -> None:
        """JSON becomes a value of the hint's type, by position and by name."""
        for hint, sent, expected in VALUES:
            takes = taking(hint)
            for params in ([sent], {"value": sent}):
                (value,) = takes.arguments(msgspec.Raw(msgspec.json.encode(params)))
                self.assertEqual((value, type(value)), (expected, type(expected)), hint)

    def test_wrong_values(self) -> None:
        """What is not of the type is named with the param, and with what would be right."""
        for hint, sent, says in WRONG:
            error = self.assertRaises(InvalidParams, taking(hint).arguments, msgspec.Raw(msgspec.json.encode([sent])))
            self.assertEqual(error.data["parameter"], "value", hint)
            self.assertIn(says, error.detail)
            self.assertTrue(error.detail.startswith("value"), error.detail)

    def test_the_example(self) -> None:
        """A quotient that no double can hold is refused, as a division by 0 is: JSON has no infinity."""
        self.assertEqual(divide(7.0, 2.0), 3.5)
        for a, b in ((1.0, 0.0), (1e308, 1e-308), (-1e308, 1e-308)):
            self.assertEqual(self.assertRaises(InvalidParams, divide, a, b).data["parameter"], "b")
