"""Procedures of an operator's own, for tests over the wire: every kind, and the specification's examples."""

import time
from threading import Lock

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from netsvc.core.procedures import Call, procedure
from netsvc.errors import Conflict, NotFound, Overloaded, ProviderGone, TooLarge

counted = 0
cancelled = 0
under_way = 0
most = 0
lock = Lock()


def later(seconds: float) -> "Deferred[None]":
    """Fires after some time."""
    return deferLater(reactor, seconds, lambda: None)  # type: ignore[arg-type]


def begin() -> None:
    """A call is under way; threads may say so."""
    global under_way, most
    with lock:
        under_way += 1
        most = max(most, under_way)


def end(outcome: object = None) -> object:
    """It is no more."""
    global under_way
    with lock:
        under_way -= 1
    return outcome


@procedure("slow.deferred", role="guest")
def deferred(seconds: float) -> Deferred:  # type: ignore[type-arg]  # as people write it
    """Answers after some time, by a Deferred."""
    begin()
    return later(seconds).addCallback(lambda _: "deferred").addBoth(end)


@procedure("slow.coroutine", role="guest")
async def coroutine(seconds: float) -> str:
    """Answers after some time, as a coroutine."""
    begin()
    try:
        await later(seconds)
    finally:
        end()
    return "coroutine"


@procedure("slow.blocking", role="guest", blocking=True)
def blocking(seconds: float) -> str:
    """Answers after some time, in a thread."""
    begin()
    time.sleep(seconds)
    end()
    return "blocking"


@procedure("slow.most", role="guest")
def slow_most() -> int:
    """How many calls of the three above have been under way at one time."""
    return most


@procedure("slow.parts", role="guest")
async def slow_parts(call: Call, count: int, seconds: float) -> int:
    """Gives a part at once and after each while, and tells when it is cancelled."""
    global cancelled
    try:
        for number in range(count):
            call.progress(number)
            await later(seconds)
    except CancelledError:
        cancelled += 1
        raise
    return count


@procedure("count.cancelled", role="guest")
def count_cancelled() -> int:
    """How many calls of slow.parts were cancelled."""
    return cancelled


@procedure("count.up", role="guest")
async def up(step: int = 1, seconds: float = 0.0) -> int:
    """Counts, which is an effect to see, and then takes its time to answer."""
    global counted
    counted += step
    result = counted
    if seconds:
        await later(seconds)
    return result


@procedure("count.big", role="guest")
def big(size: int) -> str:
    """An answer of some size."""
    return "x" * size


@procedure("count.parts", role="guest")
async def parts(call: Call, count: int, size: int) -> int:
    """An answer of any size, in parts."""
    for number in range(count):
        call.progress("x" * size, done=number + 1, total=count)
        await call.caught_up()
    return count


@procedure("fail.raise", role="guest")
def fail(kind: str) -> None:
    """Fails as a procedure of an operator's may."""
    raise {
        "conflict": Conflict("in the way"),
        "missing": NotFound("nowhere"),
        "overloaded": Overloaded("busy", retry_after=7),
        "gone": ProviderGone("left"),
        "large": TooLarge("too much"),
    }[kind]


@procedure("plain.member")
def member(call: Call) -> str:
    """For members, as everything that does not say otherwise."""
    return call.caller.name


@procedure("subtract", role="guest")
def subtract(minuend: int, subtrahend: int) -> int:
    """Of the examples of JSON-RPC 2.0."""
    return minuend - subtrahend


@procedure("sum", role="guest")
def sum_of(a: int, b: int, c: int) -> int:
    """Of the examples of JSON-RPC 2.0."""
    return a + b + c


@procedure("update", role="guest")
def update(a: int, b: int, c: int, d: int, e: int) -> None:
    """Of the examples of JSON-RPC 2.0."""


@procedure("notify_hello", role="guest")
def notify_hello(a: int) -> None:
    """Of the examples of JSON-RPC 2.0."""


@procedure("notify_sum", role="guest")
def notify_sum(a: int, b: int, c: int) -> None:
    """Of the examples of JSON-RPC 2.0."""


@procedure("get_data", role="guest")
def get_data() -> list[str | int]:
    """Of the examples of JSON-RPC 2.0."""
    return ["hello", 5]
