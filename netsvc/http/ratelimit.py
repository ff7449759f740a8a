"""What is left of a rate budget, as fields of an answer (draft-ietf-httpapi-ratelimit-headers-10)."""

from functools import lru_cache

from netsvc.core.limits import Budget

__all__ = ["rate_fields", "rate_lines"]

_REMEMBERED = 4096
"""Renderings kept: clients that keep within their budget see the same few numbers again and again."""

Fields = tuple[tuple[bytes, bytes], tuple[bytes, bytes]]


@lru_cache(_REMEMBERED)
def _fields(quota: int, window: int, remaining: int, after: int) -> Fields:
    policy = b'"calls";q=%d;w=%d' % (quota, window)
    limit = b'"calls";r=%d;t=%d' % (remaining, after) if after else b'"calls";r=%d' % remaining
    return (b"RateLimit-Policy", policy), (b"RateLimit", limit)


@lru_cache(_REMEMBERED)
def _lines(quota: int, window: int, remaining: int, after: int) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in _fields(quota, window, remaining, after)])


def rate_fields(budget: Budget) -> Fields:
    """``RateLimit-Policy`` and ``RateLimit``: what the caller has, what is left of it, and in how many seconds there will be more."""
    return _fields(budget.quota, budget.window, *budget.rest())


def rate_lines(budget: Budget) -> bytes:
    """The same fields as bytes of a head."""
    return _lines(budget.quota, budget.window, *budget.rest())
