"""Procedures as attributes: ``rpc.math.add(2, 3)``."""

from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Caller", "Methods"]

Result = TypeVar("Result")
Promise = TypeVar("Promise", covariant=True)


class Caller(Protocol[Promise]):
    """What makes a call of a name and params."""

    def __call__(self, method: str, params: Any = None) -> Promise:
        """Call it; await what is returned."""


class Methods(Generic[Result]):
    """The procedures whose names begin with a prefix, as attributes, and attributes of attributes.

    :param call: makes the calls.
    :param name: the prefix; calling this object calls the procedure of exactly this name.
    """

    __slots__ = ("_call", "_name")

    def __init__(self, call: Caller[Result], name: str) -> None:
        self._call = call
        self._name = name

    def __getattr__(self, name: str) -> "Methods[Result]":
        if name.startswith("_"):
            raise AttributeError(name)
        return Methods(self._call, f"{self._name}.{name}" if self._name else name)

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        """Call the procedure with params by position or by name.

        :raises TypeError: both kinds were given.
        """
        if args and kwargs:
            raise TypeError(f"{self._name}(): params are given by position or by name, not both")
        return self._call(self._name, list(args) or kwargs or None)

    def __repr__(self) -> str:
        return f"<procedure {self._name}>"
