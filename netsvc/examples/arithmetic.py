"""An example of a procedure module: name it in ``[rpc] modules`` and call ``math.add`` over any protocol."""

from netsvc.core.procedures import procedure
from netsvc.errors import InvalidParams

__all__ = ["add", "divide"]


@procedure("math.add", role="guest")
def add(a: int, b: int) -> int:
    """The sum of two integers."""
    return a + b


@procedure("math.divide", role="guest")
def divide(a: float, b: float) -> float:
    """`a` divided by `b`."""
    if b == 0:
        raise InvalidParams("b: must not be 0", parameter="b")
    return a / b
