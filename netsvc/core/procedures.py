"""Procedures: typed Python callables in one registry. Everything that a client can call is one of them.

    @procedure("math.add", role="guest")
    def add(a: int, b: int) -> int:
        \"""The sum of two integers.\"""
        return a + b

The type hints are the schema. A first parameter annotated ``Call`` is not a param of the call: it gets the Call, with its caller and more.
``def``, ``async def`` and functions that return a Deferred all work; one that blocks says ``blocking=True`` and runs in a thread.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Generator, Iterator
from operator import attrgetter
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.calls import Call, Caller
from netsvc.core.docstrings import CallExample, read_docstring
from netsvc.core.identity import RANKS
from netsvc.core.limits import FAULT_COST, Budget
from netsvc.errors import Forbidden, InvalidParams, InvalidRequest, Malformed, NotAuthenticated, StartError, UnknownProcedure

__all__ = ["Call", "Procedure", "Registry", "declared", "declared_names", "procedure"]

_log = Logger()

F = TypeVar("F", bound=Callable[..., Any])

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
"""What a procedure may be called: words joined by dots."""

_MARK = "__netsvc_procedure__"


class _Declaration(msgspec.Struct, frozen=True):
    name: str
    role: str
    cost: float
    blocking: bool
    anonymous: bool
    reads: bool


def procedure(
    name: str, *, role: str = "member", cost: float = 1.0, blocking: bool = False, anonymous: bool = False, reads: bool = False
) -> Callable[[F], F]:
    """Declare a function or method as a procedure; a registry adds it when it is given the module or object.

    :param name: words joined by dots.
    :param role: the lowest role that may call it: guest, member or admin.
    :param cost: what a call takes from the caller's rate budget; a plain call is 1.
    :param blocking: it blocks, so run it in a thread, where it must not use its Call's connection; a ``def`` that returns a value.
    :param anonymous: may be called before a login where guests are not allowed.
    :param reads: it changes nothing, or only the state of its caller's connection, so an idempotency key does not apply to it: its answer is
        never stored, and always the present one.
    :raises ValueError: a bad name or role.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name for a procedure: write words joined by dots, like 'math.add'")
    if role not in RANKS:
        raise ValueError(f"procedure {name}: no role {role!r}: write one of {', '.join(RANKS)}")

    def mark(function: F) -> F:
        setattr(function, _MARK, _Declaration(name, role, cost, blocking, anonymous, reads))
        return function

    return mark


def declared(source: object) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """The declarations and callables of a module's functions or an object's methods, in order of definition."""
    # A class's methods through the instance, so that they are bound; vars() keeps the order of definition.
    names = vars(source) if inspect.ismodule(source) else vars(type(source))
    for name in list(names):
        candidate = getattr(source, name, None)
        declaration = getattr(candidate, _MARK, None)
        if isinstance(declaration, _Declaration) and callable(candidate):
            yield declaration, candidate


def declared_names(kind: type) -> frozenset[str]:
    """The names of the procedures declared by the methods of a class."""
    marks = (getattr(value, _MARK, None) for value in vars(kind).values())
    return frozenset(mark.name for mark in marks if isinstance(mark, _Declaration))


class Procedure:
    """A registered procedure.

    :ivar name: as called; `doc`: its docstring, cleaned; `documentation`: the same, taken apart.
    :ivar rank: the lowest rank that may call it; `cost`: its price.
    :ivar plain: it may be called with its arguments alone, at once; `reads`: it changes nothing;
        `scarce`: it occupies something scarce while it runs, a thread or a provider.
    :ivar remote: it runs in another program, which drops a call once its caller is gone.
    :ivar params: a msgspec Struct type whose fields are the params; `result`: the annotated type of the result.
    """

    __slots__ = (
        "_array",
        "_decode_array",
        "_decode_object",
        "_is_coroutine",
        "_takes_call",
        "_values",
        "anonymous",
        "blocking",
        "cost",
        "doc",
        "documentation",
        "function",
        "name",
        "params",
        "plain",
        "rank",
        "reads",
        "result",
        "scarce",
    )

    remote = False

    def __init__(self, declaration: _Declaration, function: Callable[..., Any]) -> None:
        self.name = declaration.name
        self.function = function
        self.rank = RANKS[declaration.role]
        self.cost = declaration.cost
        self.blocking = declaration.blocking
        self._is_coroutine = inspect.iscoroutinefunction(function)
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise StartError(f"procedure {self.name}: it yields; send the parts of a long result with call.progress instead, from an async def")
        if self._is_coroutine and self.blocking:
            raise StartError(f"procedure {self.name}: a coroutine runs on the reactor's thread, so it cannot be blocking")
        self.scarce = self.blocking
        self.plain = False
        self.anonymous = declaration.anonymous
        self.reads = declaration.reads
        self.doc = inspect.getdoc(function) or ""
        try:
            self.documentation = read_docstring(self.name, self.doc)
        except ValueError as error:
            raise StartError(f"procedure {self.name}: {error}") from None
        try:
            hints = get_type_hints(function, include_extras=True)
            self.result = _plain_result(hints.pop("return", Any))
            fields, self._takes_call = _fields(function, hints)
            self.params = msgspec.defstruct("Params", fields, forbid_unknown_fields=True, kw_only=False)
            self._array = array = msgspec.defstruct("Params", fields, forbid_unknown_fields=True, array_like=True)
            self._decode_object = msgspec.json.Decoder(self.params).decode
            self._decode_array = msgspec.json.Decoder(array).decode
            # A type without a schema would break the description of all procedures.
            msgspec.json.schema_components([self.params, self.result])
        except (TypeError, NameError) as error:
            raise StartError(f"procedure {self.name}: its signature cannot be a schema: {error}") from None
        self.plain = not (self._takes_call or self._is_coroutine or self.blocking)
        names = [field[0] for field in fields]
        self._values: Callable[[Any], Any] | None
        if not names:
            self._values = None
        elif len(names) == 1:
            only = attrgetter(names[0])
            self._values = lambda struct: (only(struct),)
        else:
            self._values = attrgetter(*names)
        for example in self.documentation.examples:
            self._check(example)

    def _check(self, example: CallExample) -> None:
        try:
            msgspec.convert(self.named(example), self.params)
        except (msgspec.ValidationError, ValueError) as error:
            raise StartError(f"procedure {self.name}: an example in its docstring does not fit its params: {error}") from None

    def named(self, example: CallExample) -> dict[str, Any]:
        """The params of an example by their names.

        :raises ValueError: there are more than the procedure has.
        """
        if len(example.arguments) > len(self.fields):
            raise ValueError(f"{len(example.arguments)} are too many")
        return {**dict(zip(self.fields, example.arguments, strict=False)), **example.named}

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the params, in order."""
        return self.params.__struct_fields__

    def arguments(self, params: msgspec.Raw) -> Any:
        """The values of the params, in order, from their JSON text (empty: none were given).

        :raises InvalidParams: naming the parameter and the expected type.
        :raises InvalidRequest: neither an object nor an array.
        :raises Malformed: the text is not JSON, or nested too deeply.
        """
        try:
            text = bytes(params)
            struct = self._decode_array(text) if text[:1] == b"[" else self._decode_object(text or b"{}")
        except msgspec.ValidationError as error:
            if text[:1] not in (b"", b"[", b"{"):
                raise InvalidRequest('"params" must be an object or an array') from None
            raise _explained(error, self.params) from None
        except (msgspec.DecodeError, RecursionError) as error:
            # A message is not parsed fully before its procedure is known: errors within the params show only now.
            raise Malformed.json(text.decode(), error) from None
        return self._values(struct) if self._values is not None else ()

    def converted(self, values: list[Any]) -> Any:
        """The values of the params, in order, from values read by a codec other than JSON's; datetime and bytes may be among them.

        :raises InvalidParams: naming the parameter and the expected type.
        """
        try:
            struct = msgspec.convert(values, self._array)
        except msgspec.ValidationError as error:
            raise _explained(error, self.params) from None
        return self._values(struct) if self._values is not None else ()

    def recalled(self, answer: bytes) -> Any:
        """The result from its JSON text, converted back to its type where possible: a stored answer for a codec that has times."""
        try:
            return msgspec.json.decode(answer, type=self.result)
        except (msgspec.ValidationError, TypeError):
            return msgspec.json.decode(answer)

    def call(self, call: Call, arguments: Any) -> Any:
        """Run it. The result may be a Deferred; that of a coroutine is done as soon as it is cancelled, however the coroutine reacts."""
        result = self.function(call, *arguments) if self._takes_call else self.function(*arguments)
        return _abandonable(Deferred.fromCoroutine(result), self.name) if self._is_coroutine else result


def _abandonable(work: "Deferred[Any]", name: str) -> "Deferred[Any]":
    """The outcome of `work`, or a CancelledError at once if this is cancelled: ``except Exception`` in a coroutine also catches its cancellation."""
    if work.called and not isinstance(work.result, Deferred):
        return work
    outcome: Deferred[Any] = Deferred(lambda _: work.cancel())

    def tell(result: Any) -> None:
        if not outcome.called:
            outcome.callback(result)
        elif isinstance(result, Failure):
            _log.failure("{name} was cancelled, went on and failed", result, name=name)

    work.addBoth(tell)
    return outcome


def _fields(function: Callable[..., Any], hints: dict[str, Any]) -> tuple[list[Any], bool]:
    parameters = list(inspect.signature(function).parameters.values())
    takes_call = bool(parameters) and hints.get(parameters[0].name) is Call
    fields: list[Any] = []
    for parameter in parameters[takes_call:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"*{parameter.name} has no schema")
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise TypeError(f"{parameter.name} cannot be given by position")
        type_ = hints.get(parameter.name, Any)
        fields.append((parameter.name, type_) if parameter.default is parameter.empty else (parameter.name, type_, parameter.default))
    return fields, takes_call


def _plain_result(annotation: Any) -> Any:
    """The type of the value that a Deferred, a coroutine or a generator under inlineCallbacks will give; Any if not annotated."""
    origin = get_origin(annotation) or annotation
    if origin is object:
        return Any
    if not inspect.isclass(origin) or not issubclass(origin, Awaitable | Generator):
        return annotation
    # The last argument of each: Deferred[T], Awaitable[T], Coroutine[Y, S, T], Generator[Y, S, T].
    return get_args(annotation)[-1] if get_args(annotation) else Any


_AT = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)
_TYPE = re.compile(r"Expected `(.*)`, got")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_FEW = re.compile(r"Expected `array` of at least length (\d+), got (\d+)")
_MANY = re.compile(r"Expected `array` of at most length (\d+)(, got \d+)?")
_FIRST = re.compile(r"\[(\d+)\]")

_SHOWN = 200
"""How many characters of a caller's input an error repeats."""


def _expected(params: type[msgspec.Struct], name: str) -> str:
    """What a parameter should be, in msgspec's words; empty if it may be anything."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(params)}
    try:
        msgspec.convert(object(), kinds.get(name, Any))
    except msgspec.ValidationError as error:
        what = _TYPE.match(str(error))
        return f", expected {what[1]}" if what else ""
    return ""


def _explained(error: msgspec.ValidationError, params: type[msgspec.Struct]) -> InvalidParams:
    """msgspec's message with the parameter's name in front."""
    text, fields = str(error), params.__struct_fields__
    where = _AT.fullmatch(text)
    if where is None:
        if missing := _MISSING.fullmatch(text):
            return InvalidParams(f"{missing[1]}: missing{_expected(params, missing[1])}", parameter=missing[1])
        if unknown := _UNKNOWN.fullmatch(text):
            known = f"the parameters are {', '.join(fields)}" if fields else "there are no parameters"
            name = unknown[1][:_SHOWN]
            return InvalidParams(f"{name}: unknown parameter; {known}", parameter=name)
        if few := _FEW.fullmatch(text):
            name = fields[int(few[2])]
            return InvalidParams(f"{name}: missing{_expected(params, name)}", parameter=name)
        if _MANY.fullmatch(text):
            return InvalidParams(f"too many parameters: expected at most {len(fields)} ({', '.join(fields)})")
        return InvalidParams(text.replace("`", "")[:_SHOWN])
    what, path = where[1].replace("`", ""), where[2].lstrip(".")
    if index := _FIRST.match(path):
        # Positional: the index is that of the parameter.
        path = fields[int(index[1])] + path[index.end() :]
    what = what[0].lower() + what[1:_SHOWN]
    return InvalidParams(f"{path}: {what}", parameter=re.split(r"[.\[]", path, maxsplit=1)[0])


class Registry:
    """All procedures by name."""

    def __init__(self) -> None:
        self._procedures: dict[str, Procedure] = {}

    def __iter__(self) -> Iterator[Procedure]:
        return iter(self._procedures.values())

    def __contains__(self, name: str) -> bool:
        return name in self._procedures

    def put(self, procedure: Procedure) -> None:
        """Add one that was made elsewhere, replacing any of the same name."""
        self._procedures[procedure.name] = procedure

    def remove(self, name: str) -> None:
        """Remove one that was `put`."""
        del self._procedures[name]

    def add(self, source: object, role: str | None = None) -> int:
        """Add the declared procedures of a module or an object; returns how many.

        :param role: the lowest role that may call them, instead of what they declare.
        :raises StartError: a name is taken, or a signature has no schema.
        """
        count = 0
        for declaration, function in declared(source):
            if declaration.name in self._procedures:
                raise StartError(f"procedure {declaration.name} is declared twice, the second time in {function.__module__}")
            taken = self._procedures[declaration.name] = Procedure(declaration, function)
            if role is not None:
                taken.rank = RANKS[role]
            count += 1
        return count

    def find(self, name: str, budget: Budget | None = None) -> Procedure:
        """A procedure by name.

        :param budget: pays for an unknown name; a known one pays in `admit`.
        :raises UnknownProcedure: there is none.
        :raises RateLimited: there is none, and the budget is spent.
        """
        try:
            return self._procedures[name]
        except KeyError:
            if budget is not None:
                budget.charge(FAULT_COST)
            raise UnknownProcedure(f"no procedure {name[:100]!r}; system.listMethods lists them all") from None

    def admit(self, procedure: Procedure, call: "Call | Caller") -> None:
        """Charge the caller's budget, and check that the caller may call this. A caller that may not has paid all the same.

        :raises NotAuthenticated: nobody has logged in.
        :raises Forbidden: the caller's role is too low.
        :raises RateLimited: the budget is spent.
        """
        call.budget.charge(procedure.cost)
        identity = call.identity
        if identity is None:
            if not procedure.anonymous:
                raise NotAuthenticated("log in first, with auth.login")
        elif procedure.rank and identity.rank < procedure.rank:
            role = next(role for role, rank in RANKS.items() if rank == procedure.rank)
            raise Forbidden(f"{procedure.name} needs role {role}, and {identity.name} has {', '.join(identity.roles) or 'none'}")
