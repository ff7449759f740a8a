"""Several calls that are answered together."""

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred

from netsvc.core.calls import Caller, Listener
from netsvc.core.identity import Identity
from netsvc.core.limits import Budget
from netsvc.errors import TooLarge
from netsvc.wire.jsonrpc import ABSENT, failure

__all__ = ["JointAnswer", "JointCaller"]

Answer = bytes | None


class JointCaller:
    """The caller of several calls that are answered together: those of a batch, or of a system.multicall.

    It has no key: the one in a header is for a single call, and must not be shared. What a call wants done after its answer is done
    after the answer to all of them.

    :param caller: makes all of them.
    """

    __slots__ = ("_after", "_caller", "connection", "key", "peer")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._after: list[Callable[[], None]] = []
        self.peer = caller.peer
        self.connection = caller.connection
        self.key: str | None = None

    @property
    def identity(self) -> Identity | None:
        """Who calls: a login counts for the calls after it."""
        return self._caller.identity

    @property
    def budget(self) -> Budget:
        """What may still be spent."""
        return self._caller.budget

    @property
    def listener(self) -> Listener | None:
        """See Caller: what it is sent has the ids of the calls."""
        return self._caller.listener

    def after_answer(self, then: Callable[[], None]) -> None:
        """See Caller."""
        self._after.append(then)

    def answered(self) -> None:
        """All calls are done, and their answer is written now."""
        for then in self._after:
            self._caller.after_answer(then)


class JointAnswer:
    """The answer to a batch while its calls are under way: their answers, in the order in which the calls were made.

    :param limit: how many bytes it may have.
    :param count: how many calls there are.
    """

    def __init__(self, limit: int, count: int, caller: JointCaller) -> None:
        self._caller = caller
        self._limit = limit
        self._missing = count
        self._answers: list[Answer] = [None] * count
        self._under_way: dict[int, Deferred[Answer]] = {}
        self._done: Deferred[Answer] | None = None

    def wait(self, later: "Deferred[Answer]", index: int, identifier: msgspec.Raw) -> None:
        """A call is under way; the Deferred never fails. It is cancelled with the batch."""
        self._under_way[index] = later
        later.addCallback(self.answered, index, identifier)

    def answered(self, result: Answer, index: int, identifier: msgspec.Raw) -> None:
        """A call is done; `result` is None if it gives no answer."""
        self._under_way.pop(index, None)
        if result is not None:
            self._limit -= len(result)
            if self._limit < 0 and identifier is not ABSENT:
                result = failure(TooLarge("the answers to this batch are larger than [rpc] batch_reply allows"), identifier)
        self._answers[index] = result
        self._missing -= 1
        if not self._missing and self._done is not None:
            self._done.callback(self._joined())

    def outcome(self) -> "Answer | Deferred[Answer]":
        """The answer to the batch; to be asked for once all calls have been made."""
        if not self._missing:
            return self._joined()
        self._done = Deferred(self._cancel)
        return self._done

    def _cancel(self, done: "Deferred[Answer]") -> None:
        self._done = None
        for later in list(self._under_way.values()):
            later.cancel()
        done.callback(None)

    def _joined(self) -> Answer:
        self._caller.answered()
        answers = [each for each in self._answers if each is not None]
        return b"[%b]" % b",".join(answers) if answers else None
