"""What is logged about a request: a line when it is answered, a traceback when it fails."""

from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.http.messages import Request

__all__ = ["log_access", "log_failure"]

_log = Logger()


def _path(request: Request) -> str:
    """The path as it was sent, so nothing in it can forge a line. Without the query, which may hold tokens and names."""
    return request.raw_path.decode("ascii", "replace")


def _identity(request: Request) -> str:
    return request.identity.name if request.identity is not None else "-"


def log_access(request: Request, status: int, size: int, now: float) -> None:
    """Log that a request was answered, or broken off.

    :param status: of the answer; 499 if the client left before there was one.
    :param size: bytes of the answer's body.
    :param now: seconds of the clock that gave ``request.started``.
    """
    _log.info(
        "{peer} {identity} {method} {path} {status} {size} {milliseconds:.1f}ms {request_id}",
        peer=request.peer,
        identity=_identity(request),
        method=request.method,
        path=_path(request),
        status=status,
        size=size,
        milliseconds=(now - request.started) * 1000,
        request_id=request.id,
    )


def log_failure(request: Request, failure: Failure) -> None:
    """Log an unexpected error; the client is told only the request id."""
    _log.failure(
        "Request {request_id} failed: {method} {path} by {identity} from {peer}",
        failure,
        request_id=request.id,
        method=request.method,
        path=_path(request),
        identity=_identity(request),
        peer=request.peer,
    )
