"""The registry: schemas from type hints, params, permissions."""

from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.procedures import Call, Registry, procedure
from netsvc.core.settings import LimitsSettings
from netsvc.errors import Forbidden, InvalidParams, InvalidRequest, Malformed, NotAuthenticated, RateLimited, StartError, UnknownProcedure
from netsvc.examples import arithmetic

MEMBER = Identity("alice", ("member",))
GUEST = Identity("guest-1", ("guest",), guest=True)


@dataclass
class Point:
    """Something structured."""

    x: float
    y: float = 0.0


class Sample:
    """Procedures of every kind."""

    @procedure("sample.plain", role="guest")
    def plain(self, count: Annotated[int, Meta(ge=1, le=9)], word: str = "x", mode: Literal["a", "b"] = "a") -> str:
        """Plain.

        More words.
        """
        return word * count + mode

    @procedure("sample.who")
    def who(self, call: Call) -> str:
        """Takes the call."""
        return call.caller.name

    @procedure("sample.point")
    def point(self, call: Call, at: Point) -> Point:
        """Structured."""
        return at

    @procedure("sample.coroutine")
    async def coroutine(self, a: int) -> int:
        """A coroutine."""
        return a

    @procedure("sample.deferred")
    def deferred(self, a: int) -> Deferred[int]:
        """A Deferred."""
        return succeed(a)

    @procedure("sample.admin", role="admin", cost=150)
    def admin(self) -> None:
        """For admins, and dear."""

    @procedure("sample.anonymous", role="guest", anonymous=True)
    def anonymous(self) -> None:
        """For everybody."""


class ParamsTests(TestCase):
    """From the JSON of the params to arguments."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.registry = Registry()
        self.registry.add(Sample())

    def arguments(self, name: str, params: bytes) -> Any:
        """The arguments that a procedure gets."""
        return self.registry.find(name).arguments(Raw(params))

    def refusal(self, name: str, params: bytes) -> tuple[str, object]:
        """The words and the parameter of the refusal."""
        error = self.assertRaises(InvalidParams, self.arguments, name, params)
        return error.detail, error.data.get("parameter")

    def test_named_and_positional(self) -> None:
        """Both give the same, defaults filled in."""
        self.assertEqual(self.arguments("sample.plain", b'{"count":2,"mode":"b"}'), (2, "x", "b"))
        self.assertEqual(self.arguments("sample.plain", b'[2,"y"]'), (2, "y", "a"))
        self.assertEqual(self.arguments("sample.who", b""), ())
        self.assertEqual(self.arguments("sample.who", b"[]"), ())
        self.assertEqual(self.arguments("sample.point", b'[{"x":1}]'), (Point(1.0),))

    def test_the_parameter_and_the_expected_type_are_named(self) -> None:
        """Every kind of fault, named and positional."""
        self.assertEqual(self.refusal("sample.plain", b'{"count":"2"}'), ("count: expected int, got str", "count"))
        self.assertEqual(self.refusal("sample.plain", b'["2"]'), ("count: expected int, got str", "count"))
        self.assertEqual(self.refusal("sample.plain", b'{"count":10}'), ("count: expected int <= 9", "count"))
        self.assertEqual(self.refusal("sample.plain", b"{}"), ("count: missing, expected int", "count"))
        self.assertEqual(self.refusal("sample.plain", b"[]"), ("count: missing, expected int", "count"))
        self.assertEqual(self.refusal("sample.plain", b'{"count":1,"mode":"c"}'), ("mode: invalid enum value 'c'", "mode"))
        self.assertEqual(self.refusal("sample.point", b'[{"x":"1"}]'), ("at.x: expected float, got str", "at"))
        detail, parameter = self.refusal("sample.plain", b'{"count":1,"wrod":"c"}')
        self.assertEqual((detail, parameter), ("wrod: unknown parameter; the parameters are count, word, mode", "wrod"))
        self.assertEqual(self.refusal("sample.plain", b'[1,"x","a",4]')[0], "too many parameters: expected at most 3 (count, word, mode)")
        self.assertEqual(self.refusal("sample.who", b'{"a":1}')[0], "a: unknown parameter; there are no parameters")

    def test_short_errors(self) -> None:
        """However much was sent, an error repeats little of it."""
        much = b"x" * 100_000
        for params in (b'{"count":1,"mode":"%s"}', b'[1,"x","%s"]', b'{"count":1,"%s":1}', b'{"count":1,"\\n%s":1}'):
            detail, parameter = self.refusal("sample.plain", params % much)
            self.assertIn("xxx", detail)
            self.assertLess(len(detail) + len(str(parameter)), 600)

    def test_no_json_inside_of_the_params(self) -> None:
        """A surrogate without its other half is a syntax error, though nobody has looked into the string before."""
        error = self.assertRaises(Malformed, self.arguments, "sample.plain", b'{"count":1,"word":"\\ud800"}')
        self.assertIn("\\ud800 is half of a surrogate pair", error.detail)


class CallTests(TestCase):
    """A call that no server has made."""

    def test_by_hand(self) -> None:
        """Its caller waits for ever and hears nothing; it has no clock and calls nobody."""
        call = Call(None, "127.0.0.1", Budgets(LimitsSettings(), lambda: 0.0).of(None, "127.0.0.1"))
        self.assertEqual(call.remaining(), inf)
        call.progress([1], done=1, total=2)
        self.failureResultOf(call.run("math.add", 1, 2), InvalidRequest)
        self.assertRaises(InvalidRequest, getattr, call, "clock")


class RegistryTests(TestCase):
    """Registering, finding, permitting."""

    def setUp(self) -> None:
        """What each test starts with."""
        self.registry = Registry()
        self.registry.add(Sample())
        self.budgets = Budgets(LimitsSettings(), lambda: 0.0)

    def call(self, identity: Identity | None) -> Call:
        """A call by somebody."""
        return Call(identity, "127.0.0.1", self.budgets.of(identity, "127.0.0.1"))

    def test_a_module(self) -> None:
        """A module's declared functions are taken, in order."""
        registry = Registry()
        self.assertEqual(registry.add(arithmetic), 2)
        self.assertEqual([each.name for each in registry], ["math.add", "math.divide"])
        add = registry.find("math.add")
        self.assertEqual(add.call(self.call(GUEST), add.arguments(Raw(b"[2,3]"))), 5)
        divide = registry.find("math.divide")
        self.assertEqual(divide.call(self.call(GUEST), divide.arguments(Raw(b"[1,2]"))), 0.5)
        self.assertRaises(InvalidParams, divide.call, self.call(GUEST), (1.0, 0.0))

    def test_kinds(self) -> None:
        """Plain, with the call, coroutine and Deferred."""
        call = self.call(MEMBER)
        self.assertEqual(self.registry.find("sample.who").call(call, ()), "alice")
        self.assertEqual(self.successResultOf(self.registry.find("sample.coroutine").call(call, (4,))), 4)
        self.assertEqual(self.successResultOf(self.registry.find("sample.deferred").call(call, (4,))), 4)
        self.assertEqual(self.registry.find("sample.deferred").result, int)

    def test_results(self) -> None:
        """The type of a result is that of the value that comes in the end; where an annotation does not say, it is any."""
        for annotation, result in (
            (int, int),
            (Deferred[int], int),
            (Deferred, Any),
            (Awaitable[int], int),
            (Coroutine[Any, Any, int], int),
            (Generator[Any, Any, int], int),
            (list[int], list[int]),
            (object, Any),
        ):

            def function(self: Any) -> None:
                """Nothing."""

            function.__annotations__["return"] = annotation
            registry = Registry()
            registry.add(type("Kind", (), {"function": procedure("a.b")(function)})())
            self.assertEqual(registry.find("a.b").result, result)

    def test_unknown(self) -> None:
        """The error says how to find the names."""
        error = self.assertRaises(UnknownProcedure, self.registry.find, "sample.nothing")
        self.assertIn("system.listMethods", error.detail)

    def test_generators(self) -> None:
        """What yields is told how long results are given."""

        def plain() -> Iterator[int]:
            yield 1

        async def asynchronous() -> AsyncIterator[int]:
            yield 1

        for function in (plain, asynchronous):
            source = type("Kind", (), {"function": staticmethod(procedure("a.b")(function))})()
            self.assertIn("call.progress", self.assertRaises(StartError, Registry().add, source).detail)

    def test_twice(self) -> None:
        """A name is declared once."""
        self.assertIn("declared twice", self.assertRaises(StartError, self.registry.add, Sample()).detail)

    def test_roles(self) -> None:
        """The caller's role must suffice; before a login only what says so may be called."""
        admit, find = self.registry.admit, self.registry.find
        admit(find("sample.plain"), self.call(GUEST))
        error = self.assertRaises(Forbidden, admit, find("sample.who"), self.call(GUEST))
        self.assertEqual(error.detail, "sample.who needs role member, and guest-1 has guest")
        self.assertRaises(Forbidden, admit, find("sample.admin"), self.call(MEMBER))
        self.assertRaises(NotAuthenticated, admit, find("sample.plain"), self.call(None))
        admit(find("sample.anonymous"), self.call(None))
        self.assertRaises(NotAuthenticated, lambda: self.call(None).caller)

    def test_cost(self) -> None:
        """A call's cost comes from the caller's budget."""
        call = self.call(Identity("root", ("admin",)))
        self.registry.admit(self.registry.find("sample.admin"), call)
        self.assertRaises(RateLimited, self.registry.admit, self.registry.find("sample.admin"), call)

    def test_declarations_that_cannot_be(self) -> None:
        """A bad name, an unknown role and a signature without a schema are refused when the program is written."""
        self.assertRaises(ValueError, procedure, "no good")
        self.assertRaises(ValueError, procedure, "a.b", role="king")

        class Stars:
            @procedure("stars")
            def stars(self, *numbers: int) -> int:
                """Anything."""
                return sum(numbers)

        class Strange:
            @procedure("strange")
            def strange(self) -> Registry:
                """A result that no JSON can hold."""
                return Registry()

        class Keywords:
            @procedure("keywords")
            def keywords(self, a: int, *, b: int) -> int:
                """Cannot be called by position."""
                return a + b

        class Blocking:
            @procedure("blocking", blocking=True)
            async def blocking(self) -> None:
                """Would run nowhere."""

        self.assertIn("by position", self.assertRaises(StartError, Registry().add, Keywords()).detail)
        self.assertIn("cannot be blocking", self.assertRaises(StartError, Registry().add, Blocking()).detail)
        self.assertIn("no schema", self.assertRaises(StartError, Registry().add, Stars()).detail)
        self.assertIn("cannot be a schema", self.assertRaises(StartError, Registry().add, Strange()).detail)

    def test_examples_that_cannot_be(self) -> None:
        """So are examples that do not fit."""

        class Example:
            @procedure("example")
            def example(self, a: int) -> int:
                """Its example is wrong.

                >>> example("x")
                1
                """
                return a

        class Long:
            @procedure("long")
            def long(self, a: int) -> int:
                """Its example has too many params.

                >>> long(1, 2)
                1
                """
                return a

        class Prose:
            @procedure("prose")
            def prose(self) -> None:
                """Its example is of something else.

                >>> print()
                """

        self.assertIn("does not fit its params: Expected `int`", self.assertRaises(StartError, Registry().add, Example()).detail)
        self.assertIn("2 are too many", self.assertRaises(StartError, Registry().add, Long()).detail)
        self.assertIn("must be a call prose(…)", self.assertRaises(StartError, Registry().add, Prose()).detail)
