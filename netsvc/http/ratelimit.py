"""What is left of a rate budget, as fields of an answer (draft-ietf-httpapi-ratelimit-headers-10)."""

from functools import lru_cache

from netsvc.core.limits import Budget
from netsvc.http.messages import Headers

__all__ = ["rate_fields"]


@lru_cache(maxsize=16)
def _policy(quota: int, window: int) -> bytes:
    """A budget as the draft's quota policy: what it holds, and the time that fills it."""
    return b'"calls";q=%d;w=%d' % (quota, window)


def rate_fields(budget: Budget) -> Headers:
    """``RateLimit-Policy`` and ``RateLimit``: what the caller has, what is left of it, and in how many seconds it is more."""
    policy = _policy(budget.quota, budget.window)
    remaining, after = budget.remaining, budget.more_after
    limit = b'"calls";r=%d;t=%d' % (remaining, after) if after else b'"calls";r=%d' % remaining
    return (b"RateLimit-Policy", policy), (b"RateLimit", limit)
