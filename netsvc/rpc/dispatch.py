"""From the text of a JSON-RPC message to the bytes of its answer, whatever the transport."""

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.procedures import Call, Caller, Registry
from netsvc.errors import DeadlinePassed, Malformed, NetsvcError, TooLarge
from netsvc.http.wheel import TimingWheel
from netsvc.rpc.settings import RpcSettings
from netsvc.wire.jsonrpc import ABSENT, Failed, Request, answer, failure, parse, parse_element

__all__ = ["Dispatcher"]

TICK = 0.1
"""Resolution of deadlines, seconds."""

Answer = bytes | None


class Dispatcher:
    """Runs the procedures that messages name.

    :param registry: the procedures.
    :param clock: for deadlines.
    :param settings: [rpc].
    :param run_blocking: runs a callable with arguments in a thread, returns a Deferred; raises Overloaded when too many wait.
    """

    log = Logger()

    def __init__(self, registry: Registry, clock: IReactorTime, settings: RpcSettings, run_blocking: Callable[..., "Deferred[Any]"]) -> None:
        self.registry = registry
        self._clock = clock
        self._settings = settings
        self._run_blocking = run_blocking
        self._find = registry.find
        self._admit = registry.admit
        self._encode = msgspec.json.Encoder().encode
        self._serial = 0
        self.deadlines = TimingWheel(clock, TICK)

    def handle(self, message: str, caller: Caller, deadline: float | None = None) -> "Answer | Deferred[Answer]":
        """Carry out one message: a call, a notification or a batch.

        :param message: the text; bytes that are no UTF-8 are `not_utf8`.
        :param deadline: seconds, where the transport has a place for it outside of the message.
        :return: the response's bytes (Failed for the error response of a single call), None for none, or a Deferred of these that never fails.
        """
        parsed = parse(message)
        if type(parsed) is Request:
            return self._one(parsed, caller, deadline)
        if isinstance(parsed, list):
            return self._batch(parsed, caller, deadline)
        assert isinstance(parsed, Failed)
        return parsed

    def not_utf8(self) -> Failed:
        """The answer to bytes that are no UTF-8."""
        return failure(Malformed("not valid UTF-8"))

    def _one(self, request: Request, caller: Caller, deadline: float | None) -> "Answer | Deferred[Answer]":
        try:
            procedure = self._find(request.method)
            self._admit(procedure, caller)
            arguments = procedure.arguments(request.params)
            if procedure.plain:
                result = procedure.function(*arguments)
                if not isinstance(result, Deferred):
                    return None if request.id is ABSENT else answer(request.id, self._encode(result))
            call = Call(caller.identity, caller.peer, caller.budget, caller.connection, caller.key)
            if not procedure.plain:
                result = self._run_blocking(procedure.call, call, arguments) if procedure.blocking else procedure.call(call, arguments)
        except Exception as error:
            return self._failed(error, request, caller)
        if isinstance(result, Deferred):
            return self._later(result, request, call, deadline)
        return None if request.id is ABSENT else self._answer(result, request, call)

    def _answer(self, result: Any, request: Request, call: Caller) -> bytes:
        try:
            return answer(request.id, self._encode(result))
        except Exception as error:
            failed = self._failed(error, request, call)
            assert failed is not None
            return failed

    def _failed(self, error: BaseException, request: Request, call: Caller) -> Failed | None:
        identifier = request.id
        request_id = ""
        if not isinstance(error, NetsvcError):
            self._serial += 1
            request_id = f"call-{self._serial}"
            self.log.failure(
                "procedure {method} failed",
                Failure(error, type(error), error.__traceback__),
                method=request.method,
                identity=call.identity.name if call.identity else None,
                peer=call.peer,
                request_id=request_id,
            )
        if identifier is ABSENT:
            return None
        return failure(error, identifier, request_id)

    def _later(self, result: "Deferred[Any]", request: Request, call: Call, asked: float | None) -> "Answer | Deferred[Answer]":
        if result.called and not result.paused and not isinstance(result.result, Failure | Deferred):
            # It is there already: no deadline to keep.
            return None if request.id is ABSENT else self._answer(result.result, request, call)
        if asked is None or request.deadline is not None:
            asked = request.deadline
        seconds = self._settings.deadline if asked is None else asked
        pending = _Pending(self, request, call, result)
        self.deadlines.add(pending, max(0.0, min(seconds, self._settings.deadline_max)))
        result.addCallbacks(pending.succeeded, pending.failed)
        return result

    def _batch(self, elements: list[msgspec.Raw], caller: Caller, deadline: float | None) -> "Answer | Deferred[Answer]":
        most = self._settings.batch
        if len(elements) > most:
            return failure(TooLarge(f"a batch of {len(elements)} calls: [rpc] batch allows {most}"))
        # After the first of the batch the key has been used: a header key is not for batches, and must not be shared by its calls.
        batch = _Batch(self._settings.batch_reply, len(elements))
        keyless = _Keyless(caller)
        for index, element in enumerate(elements):
            parsed = parse_element(element)
            if isinstance(parsed, Failed):
                batch.answered(parsed, index, ABSENT)
                continue
            result = self._one(parsed, keyless, deadline)
            if isinstance(result, Deferred):
                result.addCallback(batch.answered, index, parsed.id)
            else:
                batch.answered(result, index, parsed.id)
        return batch.outcome()


class _Keyless:
    """A caller as the elements of a batch see it."""

    __slots__ = ("budget", "connection", "identity", "key", "peer")

    def __init__(self, caller: Caller) -> None:
        self.identity, self.peer, self.budget, self.connection = caller.identity, caller.peer, caller.budget, caller.connection
        self.key: str | None = None


class _Pending:
    """A call whose answer is not there yet; an entry of the wheel of deadlines."""

    __slots__ = ("_call", "_dispatcher", "_late", "_request", "_result", "wheel_slot")

    def __init__(self, dispatcher: Dispatcher, request: Request, call: Call, result: "Deferred[Any]") -> None:
        self._dispatcher = dispatcher
        self._request = request
        self._call = call
        self._result = result
        self._late = False
        self.wheel_slot: int | None = None

    def expired(self) -> None:
        """The deadline has passed: nobody waits any more."""
        self._late = True
        self._result.cancel()

    def succeeded(self, result: Any) -> Answer:
        self._dispatcher.deadlines.cancel(self)
        return None if self._request.id is ABSENT else self._dispatcher._answer(result, self._request, self._call)

    def failed(self, failure: Failure) -> Answer:
        self._dispatcher.deadlines.cancel(self)
        error: BaseException = failure.value or RuntimeError("a failure without a value")
        if isinstance(error, CancelledError):
            error = DeadlinePassed("the deadline passed; the call may or may not have taken effect" if self._late else "cancelled")
        return self._dispatcher._failed(error, self._request, self._call)


class _Batch:
    """Collects the answers of a batch, in the order of its calls."""

    def __init__(self, limit: int, count: int) -> None:
        self._limit = limit
        self._missing = count
        self._answers: list[Answer] = [None] * count
        self._done: Deferred[Answer] | None = None

    def answered(self, result: Answer, index: int, identifier: msgspec.Raw) -> None:
        if result is not None:
            self._limit -= len(result)
            if self._limit < 0 and identifier is not ABSENT:
                result = failure(TooLarge("the answers to this batch are larger than [rpc] batch_reply allows"), identifier)
        self._answers[index] = result
        self._missing -= 1
        if not self._missing and self._done is not None:
            self._done.callback(self._joined())

    def outcome(self) -> "Answer | Deferred[Answer]":
        if not self._missing:
            return self._joined()
        self._done = Deferred(self._cancel)
        return self._done

    def _cancel(self, done: "Deferred[Answer]") -> None:
        self._done = None
        done.callback(None)

    def _joined(self) -> Answer:
        answers = [each for each in self._answers if each is not None]
        return b"[%b]" % b",".join(answers) if answers else None
