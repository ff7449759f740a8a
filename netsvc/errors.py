"""Everything that netsvc raises on purpose.

An error here says what was wrong in words a client may read; each protocol has a table of its own that turns the class into
a status or a code. Anything else that is raised is a bug: it is logged, and the client sees only its request id.
"""

import re
from typing import Any

__all__ = [
    "Conflict",
    "DeadlinePassed",
    "Forbidden",
    "InvalidParams",
    "InvalidRequest",
    "Malformed",
    "NetsvcError",
    "NotAuthenticated",
    "NotFound",
    "Overloaded",
    "ProviderError",
    "ProviderGone",
    "RateLimited",
    "StartError",
    "StoreUnavailable",
    "TooLarge",
    "UnknownProcedure",
]


# Everything up to the first escape of a surrogate that is not part of a pair, and that escape. Nothing is tried twice, so it is fast.
_LONE_SURROGATE = re.compile(r"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?!u[dD][89a-fA-F]).)*+(\\u[0-9a-fA-F]{4})", re.DOTALL)


class NetsvcError(Exception):
    """The root of the tree.

    :param detail: what was wrong and, where it helps, what would be right; shown to clients, so never a secret.
    :param data: further machine-readable members (``retry_after`` in seconds, ``parameter``), JSON types only.
    """

    def __init__(self, detail: str = "", **data: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.data = data


class InvalidRequest(NetsvcError):
    """The request does not have the shape that its protocol asks for."""


class Malformed(NetsvcError):
    """The bytes do not have the syntax that they should have: not JSON, not UTF-8, nested too deeply."""

    @classmethod
    def json(cls, text: str, error: Exception) -> "Malformed":
        """What is wrong with a text that should be JSON.

        :param error: what its decoder raised. It has no clear words for half a surrogate pair, which JavaScript produces by cutting a text inside an emoji.
        """
        if isinstance(error, RecursionError):
            return cls("nested too deeply")
        lone = _LONE_SURROGATE.match(text)
        return cls(f"not valid Unicode text: {lone[1]} is half of a surrogate pair, and the other half is missing" if lone else str(error))


class UnknownProcedure(NetsvcError):
    """No procedure has this name."""


class InvalidParams(NetsvcError):
    """A parameter is missing, unknown, of the wrong type or out of bounds; the detail names it."""


class NotAuthenticated(NetsvcError):
    """Credentials are needed, or those given are wrong."""


class Forbidden(NetsvcError):
    """The identity is known and may not do this."""


class NotFound(NetsvcError):
    """No such room, event or file."""


class Conflict(NetsvcError):
    """It clashes with what is there: a key reused with other params, a name taken."""


class _Retry(NetsvcError):
    def __init__(self, detail: str = "", retry_after: float = 1.0, **data: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **data)
        self.retry_after = retry_after


class RateLimited(_Retry):
    """The caller's budget is spent; ``retry_after`` (seconds) says when it will suffice again."""


class TooLarge(NetsvcError):
    """More bytes, elements or levels than the setting named in the detail allows."""


class DeadlinePassed(NetsvcError):
    """The call's deadline passed before there was an answer."""


class Overloaded(_Retry):
    """The server has more to do than its limits allow; ``retry_after`` (seconds) says when to try again."""


class StoreUnavailable(Overloaded):
    """The store could not write or read (disk full, I/O error); nothing of the call took effect."""


class ProviderGone(NetsvcError):
    """The program that served this procedure went away before it answered.

    Its data has ``retry_after`` (seconds) if it is safe to call again: the call had not begun, or may be repeated.
    """


class ProviderError(NetsvcError):
    """What the program that serves a procedure answered, in its own words.

    :param code: one that the JSON-RPC specification leaves to applications.
    :param message: one line.
    :param content: the ``data`` of its error, JSON types; None if it has none.
    """

    def __init__(self, code: int, message: str, content: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.content = content


class StartError(NetsvcError):
    """The daemon cannot start or a command cannot run here; the detail is one line for the operator.

    :param status: the exit status of the process (sysexits.h).
    """

    def __init__(self, detail: str, status: int = 1) -> None:
        super().__init__(detail)
        self.status = status
