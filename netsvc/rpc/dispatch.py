"""From the text of a JSON-RPC message to the bytes of its answer, whatever the transport."""

from collections.abc import Callable
from math import inf
from typing import Any, NoReturn, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.calls import Call, Caller, Listener
from netsvc.core.idempotency import Answers, digest_of, scope_of
from netsvc.core.limits import FAULT_COST
from netsvc.core.procedures import Procedure, Registry
from netsvc.errors import DeadlinePassed, InvalidRequest, Malformed, NetsvcError, Overloaded, RateLimited, TooLarge
from netsvc.net.wheel import TimingWheel
from netsvc.rpc.batch import JointAnswer, JointCaller
from netsvc.rpc.deadlines import SameDeadline
from netsvc.rpc.settings import RpcSettings
from netsvc.wire.jsonrpc import ABSENT, Failed, Request, answer, failure, notification, parse, parse_element

__all__ = ["NO_TIME", "Dispatcher", "InternalError"]

TICK = 0.1
"""Resolution of deadlines, seconds."""

NO_TIME = "the deadline had passed before the call began"

KEY_OF_A_BATCH = 'an Idempotency-Key is for a single call: in a batch each call has its own member "key"'

Answer = bytes | None
Encoded = TypeVar("Encoded")

_PLAIN_TYPES = frozenset((int, float, str, bool, list, dict, tuple, type(None)))


class Dispatcher:
    """Runs the procedures that messages name.

    :param registry: the procedures.
    :param clock: for deadlines.
    :param settings: [rpc].
    :param answers: the answers of calls with an idempotency key.
    :param run_blocking: runs a callable with arguments in a thread, returns a Deferred; raises Overloaded when too many wait.
    :param slow_calls: how many calls of one caller that take up a thread or a provider may be under way.
    """

    log = Logger()

    def __init__(
        self,
        registry: Registry,
        clock: IReactorTime,
        settings: RpcSettings,
        answers: Answers,
        run_blocking: Callable[..., "Deferred[Any]"],
        slow_calls: int,
    ) -> None:
        self.registry = registry
        self.clock = clock
        self._settings = settings
        self._answers = answers
        self._run_blocking = run_blocking
        self._slow_calls = slow_calls
        self.seconds = clock.seconds
        self._find = registry.find
        self._admit = registry.admit
        self.encode = msgspec.json.Encoder().encode
        self._serial = 0
        self.deadlines = TimingWheel(clock, TICK)
        """The deadlines of calls that named one."""
        self._defaults = SameDeadline(clock, min(settings.deadline, settings.deadline_max), TICK)

    def handle(self, message: str, caller: Caller, deadline: float | None = None) -> "Answer | Deferred[Answer]":
        """Carry out one message: a call, a notification or a batch.

        :param message: the text; for bytes that are not UTF-8, see `not_utf8`.
        :param deadline: seconds, if the transport has a place for it outside the message; the shorter of the two applies.
        :return: the response's bytes (Failed for the error response of a single call), None for none, or a Deferred of these that never fails.
        """
        parsed = parse(message)
        if type(parsed) is Request:
            return self._one(parsed, caller, deadline)
        if isinstance(parsed, list):
            return self._batch(parsed, caller, deadline)
        assert isinstance(parsed, Failed)
        return self._charged(parsed, caller)

    def carry_out(self, request: Request, caller: Caller) -> "Answer | Deferred[Answer]":
        """Carry out one call or notification that another codec has read; its id, if it has one, is JSON."""
        return self._one(request, caller, None)

    def not_utf8(self, caller: Caller) -> Failed:
        """The answer to bytes that are not UTF-8."""
        return self._charged(failure(Malformed("not valid UTF-8")), caller)

    def _charged(self, failed: Failed, caller: Caller, identifier: bytes = b"null") -> Failed:
        """The answer to something that is not a call: `failed`, or that there have been too many."""
        try:
            caller.budget.charge(FAULT_COST)
        except RateLimited as error:
            self._slow_down(caller)
            return failure(error, identifier)
        return failed

    def refuse(self, error: NetsvcError, caller: Caller, identifier: bytes = b"null") -> Failed:
        """The answer to something that is not a message; the caller pays as for any fault."""
        return self._charged(failure(error, identifier), caller, identifier)

    def _slow_down(self, caller: Caller) -> None:
        """A caller was refused for its rate: if it ignores refusals, read nothing from it for a while."""
        pause = caller.budget.pause
        if pause and caller.connection is not None:
            caller.connection.pause_for(pause, self.clock)

    def _one(self, request: Request, caller: Caller, deadline: float | None) -> "Answer | Deferred[Answer]":
        try:
            procedure = self._find(request.method, caller.budget)
            self._admit(procedure, caller)
            if request.deadline is not None:
                if request.deadline <= 0:
                    raise DeadlinePassed(NO_TIME)
                deadline = min(request.deadline, deadline or request.deadline)
            arguments = procedure.arguments(request.params)
            if procedure.plain and request.key is None and caller.key is None:
                result = procedure.function(*arguments)
                # Asking whether it is a Deferred takes a fifth of a small call: Deferred is an abstract base class.
                if type(result) in _PLAIN_TYPES or not isinstance(result, Deferred):
                    return None if request.id is ABSENT else self._answer(result, request, caller)
                call = _Pending(self, request, caller, deadline)
            else:
                call = _Pending(self, request, caller, deadline)
                result = self._started(procedure, arguments, call, msgspec.Raw)
        except Exception as error:
            return self._failed(error, request, caller)
        if isinstance(result, Deferred):
            return self._later(result, request, call, procedure)
        return None if request.id is ABSENT else self._answer(result, request, call)

    def run(self, method: str, values: list[Any], caller: Caller, deadline: float | None, encode: Callable[[Any], Encoded]) -> "Deferred[Encoded]":
        """Carry out one call whose params were read by a codec other than JSON's.

        :param values: the params by position.
        :param deadline: seconds; None for the default.
        :param encode: turns the result into the answer; what it raises counts as raised by the procedure.
        :return: fires with the answer, or fails with a NetsvcError, which the caller may be shown.
        """
        request = Request("2.0", method)
        call = _Decoded(self, request, caller, deadline)
        call.encode = encode
        try:
            procedure = self._find(method, caller.budget)
            self._admit(procedure, caller)
            result = self._started(procedure, procedure.converted(values), call, procedure.recalled)
            if procedure.remote and call.key is None:
                result.addCallback(procedure.recalled)
            return self._wait(result, call, procedure) if isinstance(result, Deferred) else succeed(encode(result))
        except Exception as error:
            return fail(self._shown(error, request, call))

    def _started(self, procedure: Procedure, arguments: Any, call: "_Pending", recalled: Callable[[bytes], Any]) -> Any:
        """The result, or a Deferred of it; if the call has a key, what `recalled` makes of the stored answer.

        :raises Overloaded: the caller has as many slow calls under way as it may have.
        """
        call.blocking = procedure.blocking
        self._check_slow_calls(procedure, call)
        if call.key is not None and call.identity is not None and "key" not in procedure.fields and not procedure.reads:
            return self._once(procedure, arguments, call).addCallback(recalled)
        if procedure.blocking:
            return self._run_blocking(procedure.call, call, arguments)
        return procedure.call(call, arguments)

    def _check_slow_calls(self, procedure: Procedure, call: "_Pending") -> None:
        if procedure.scarce and call.budget.slow_calls >= self._slow_calls:
            raise Overloaded(f"{self._slow_calls} calls that take up a thread or a provider are under way already; [limits] slow_calls sets the bound")

    def _once(self, procedure: Procedure, arguments: Any, call: "_Pending") -> "Deferred[bytes]":
        """A call with a key that is not one of its params: its answer is stored, or already was."""
        assert call.key is not None
        call.stored = True
        room = str(arguments[procedure.fields.index("room")]) if "room" in procedure.fields else ""

        def run() -> "Deferred[bytes]":
            self._check_slow_calls(procedure, call)  # others may have begun while the store was asked
            run = self._run_blocking if procedure.blocking else maybeDeferred
            result: Deferred[Any] = run(procedure.call, call, arguments)
            # Counted here, since it may outlast whoever waits for it.
            call.budget.slow_calls += procedure.scarce
            return result.addBoth(ended).addCallback(self.encode)

        def ended(outcome: Any) -> Any:
            call.budget.slow_calls -= procedure.scarce
            return outcome

        scope = scope_of(procedure.name, room, call.caller)
        return self._answers.once(scope, call.key, digest_of(self.encode(arguments)), run)

    def _answer(self, result: Any, request: Request, call: Caller) -> bytes:
        try:
            return answer(request.id, self.encode(result))
        except Exception as problem:
            # An integer that Python holds but refuses to write: two of the longest that it reads have such a sum.
            error = TooLarge("the result has an integer with too many digits") if type(problem) is ValueError else problem
            failed = self._failed(error, request, call)
            assert failed is not None
            return failed

    def _failed(self, error: BaseException, request: Request, call: Caller) -> Failed | None:
        if type(error) is RateLimited:
            self._slow_down(call)
        request_id = "" if isinstance(error, NetsvcError) else self._log(error, request, call)
        return None if request.id is ABSENT else failure(error, request.id, request_id)

    def _shown(self, error: BaseException, request: Request, call: Caller) -> NetsvcError:
        """The error that the caller sees."""
        if isinstance(error, NetsvcError):
            if type(error) is RateLimited:
                self._slow_down(call)
            return error
        request_id = self._log(error, request, call)
        return InternalError(f"the server's log has more under {request_id}", request_id=request_id)

    def _log(self, error: BaseException, request: Request, call: Caller) -> str:
        """Log a bug; returns the id under which the log has it."""
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
        return request_id

    def _later(self, result: "Deferred[Any]", request: Request, call: "_Pending", procedure: Procedure) -> "Answer | Deferred[Answer]":
        if result.called and not result.paused and not isinstance(result.result, Failure | Deferred):
            # It is there already: no deadline to keep.
            call.answers()
            return None if request.id is ABSENT else self._answer(result.result, request, call)
        return self._wait(result, call, procedure)

    def _wait(self, result: "Deferred[Any]", call: "_Pending", procedure: Procedure) -> "Deferred[Any]":
        """Hold a call to its deadline."""
        call.result = result
        if call.asked is None:
            self._defaults.add(call)
        else:
            seconds = self.allowed(call.asked)
            call.ends = self.clock.seconds() + seconds
            self.deadlines.add(call, seconds)
        call.begin(procedure)
        result.addCallbacks(call.succeeded, call.failed)
        return result

    def allowed(self, asked: float | None) -> float:
        """How many seconds a call may take, given how many its caller asked for."""
        return self._defaults.seconds if asked is None else min(asked, self._settings.deadline_max)

    def _batch(self, elements: list[msgspec.Raw], caller: Caller, deadline: float | None) -> "Answer | Deferred[Answer]":
        if caller.key is not None:
            return self._charged(failure(InvalidRequest(KEY_OF_A_BATCH)), caller)
        most = self._settings.batch
        if len(elements) > most:
            return self._charged(failure(TooLarge(f"a batch of {len(elements)} calls: [rpc] batch allows {most}")), caller)
        joint = JointCaller(caller)
        batch = JointAnswer(self._settings.batch_reply, len(elements), joint)
        for index, element in enumerate(elements):
            parsed = parse_element(element)
            if isinstance(parsed, Failed):
                batch.answered(self._charged(parsed, caller), index, ABSENT)
                continue
            result = self._one(parsed, joint, deadline)
            if isinstance(result, Deferred):
                batch.wait(result, index, parsed.id)
            else:
                batch.answered(result, index, parsed.id)
        return batch.outcome()


def _unchanged(result: Any) -> Any:
    return result


class InternalError(NetsvcError):
    """A procedure has a bug; the detail has only the id under which the log has it."""


class _Pending(Call):
    """A call whose answer may come later; an entry in the wheel of deadlines, or in the queue of those with the default.

    :ivar stored: its answer is stored under a key, so it continues when its caller has gone.
    :ivar blocking: it runs in a thread, where nothing here that has to do with connections may be used.
    """

    __slots__ = (
        "_behind",
        "_caller",
        "_dispatcher",
        "_late",
        "_over",
        "_request",
        "asked",
        "blocking",
        "due",
        "ends",
        "procedure",
        "result",
        "stored",
        "wheel_slot",
    )

    result: Deferred[Any]
    ends: float

    def __init__(self, dispatcher: Dispatcher, request: Request, caller: Caller, asked: float | None) -> None:
        # Call's own is not used, to save time: this runs for every call that is not plain.
        self.identity = caller.identity
        self.peer = caller.peer
        self.budget = caller.budget
        self.connection = caller.connection
        self.key = caller.key if request.key is None else request.key
        self._caller = caller
        self._dispatcher = dispatcher
        self._request = request
        self._late = self._over = self.stored = self.blocking = False
        self._behind: tuple[Callable[[], None], ...] = ()
        self.asked = asked
        self.procedure: Procedure | None = None
        self.due = 0.0
        self.wheel_slot: int | None = None

    @property
    def joint(self) -> bool:  # type: ignore[override]  # few calls need it, so it is not stored for all
        """See Call."""
        return isinstance(self._caller, JointCaller)

    def after_answer(self, then: Callable[[], None]) -> None:
        """See Call. If the answer is stored first, `then` waits for that; otherwise it would follow another answer of the connection."""
        if self._over:
            then()
        elif self.stored:
            self._behind += (then,)
        else:
            self._caller.after_answer(then)

    @property
    def identifier(self) -> msgspec.Raw:
        """See CallUnderWay."""
        return self._request.id

    def remaining(self) -> float:
        """See Call."""
        if self._over and self.stored:  # it goes on after its caller's deadline, until its own
            return self._dispatcher.allowed(inf)
        if self.due:
            return max(0.0, self.due - self._dispatcher.seconds())
        if self.wheel_slot is not None:
            return max(0.0, self.ends - self._dispatcher.seconds())
        return self._dispatcher.allowed(self.asked)

    def report(self, members: dict[str, Any]) -> None:
        """See Call."""
        self._check_thread()
        listener = self._listener
        if listener is not None:
            listener.send_progress(notification("rpc.progress", self._dispatcher.encode({**members, "id": self._request.id})), "data" in members)

    @property
    def heard(self) -> bool:
        """See Call."""
        return self._listener is not None

    @property
    def _listener(self) -> Listener | None:
        """The listener that is told of progress now. A call whose answer is stored continues without one that is gone; any other does not."""
        listener = self._caller.listener
        if listener is None or self._over or self._request.id is ABSENT or (self.stored and listener.gone):
            return None
        return listener

    def _check_thread(self) -> None:
        if self.blocking:
            raise RuntimeError("a blocking procedure runs in a thread, so it can neither report progress nor call others")

    def caught_up(self) -> "Deferred[None]":
        """See Call."""
        self._check_thread()
        turn: Deferred[None] = deferLater(self._dispatcher.clock, 0)
        return turn.addCallback(self._wait_for_listener)

    def _wait_for_listener(self, _: None) -> "Deferred[None] | None":
        if self._over and not self.stored:
            raise CancelledError
        listener = self._listener
        return None if listener is None else listener.caught_up().addErrback(self._not_caught_up)

    def _not_caught_up(self, failure: Failure) -> None:
        failure.trap(ConnectionDone)
        if not self.stored:
            raise CancelledError

    def run(self, method: str, *params: Any) -> "Deferred[Any]":
        """See Call."""
        self._check_thread()
        caller = JointCaller(self)
        running = self._dispatcher.run(method, list(params), caller, self.remaining(), _unchanged)

        def ended(outcome: Any) -> Any:
            caller.answered()
            return outcome

        return running.addBoth(ended)

    @property
    def clock(self) -> IReactorTime:
        """See Call."""
        return self._dispatcher.clock

    def begin(self, procedure: Procedure) -> None:
        """It is not answered at once: count it, and tell its connection."""
        self.procedure = procedure
        if procedure.scarce and not self.stored:
            self.budget.slow_calls += 1
        if self.connection is not None:
            self.connection.began(self)

    def cancel(self) -> None:
        """The caller no longer wants it."""
        self.result.cancel()

    def expired(self) -> None:
        """The deadline has passed: nobody is waiting any more."""
        self._late = True
        self.result.cancel()

    def answers(self) -> None:
        """The answer is given now: let whatever waits for it follow. What comes later has nothing to wait for."""
        self._over = True
        for then in self._behind:
            self._caller.after_answer(then)

    def _ended(self) -> None:
        self._over = True
        if self._behind:
            self.answers()
        if self.procedure is not None:
            if self.procedure.scarce and not self.stored:
                self.budget.slow_calls -= 1
            if self.connection is not None:
                self.connection.ended(self)
        if self.due:
            self._dispatcher._defaults.remove(self)
        else:
            self._dispatcher.deadlines.cancel(self)

    def succeeded(self, result: Any) -> Answer:
        self._ended()
        return None if self._request.id is ABSENT else self._dispatcher._answer(result, self._request, self)

    def failed(self, failure: Failure) -> Answer:
        self._ended()
        return self._dispatcher._failed(self._reason(failure), self._request, self)

    def _reason(self, failure: Failure) -> BaseException:
        error: BaseException = failure.value or RuntimeError("a failure without a value")
        if isinstance(error, CancelledError):
            error = DeadlinePassed("the deadline passed; the call may or may not have taken effect" if self._late else "cancelled")
        return error


class _Decoded(_Pending):
    """A call of `Dispatcher.run`: its answer is whatever `encode` makes, its errors are raised."""

    __slots__ = ("encode",)

    encode: Callable[[Any], Any]

    def succeeded(self, result: Any) -> Any:
        self._ended()
        try:
            return self.encode(result)
        except Exception as error:
            raise self._dispatcher._shown(error, self._request, self) from None

    def failed(self, failure: Failure) -> NoReturn:
        self._ended()
        raise self._dispatcher._shown(self._reason(failure), self._request, self) from None
