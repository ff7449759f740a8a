"""An example of a procedure module: name it in ``[rpc] modules`` and call ``math.add`` over any protocol."""

from math import isinf

from netsvc.core.procedures import procedure
from netsvc.errors import InvalidParams

__all__ = ["add", "divide"]


@procedure("math.add", role="guest")
def add(a: int, b: int) -> int:
    """The sum of two integers.

    >>> math.add(2, 3)
    5
    """
    return a + b


@procedure("math.divide", role="guest")
def divide(a: float, b: float) -> float:
    """`a` divided by `b`.

    :raises InvalidParams: `b` is 0, or so small that the quotient is beyond a double.

    >>> math.divide(7.0, 2.0)
    3.5
    """
    if b == 0:
        raise InvalidParams("b: must not be 0", parameter="b")
    quotient = a / b
    if isinf(quotient):
        raise InvalidParams("b: the quotient is larger than a double can be", parameter="b")
    return quotient
