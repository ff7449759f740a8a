"""Keeping secrets out of what is written down.

The code that logs is written not to mention secrets at all; this is the second line of defence, for what comes from outside: a header in an
exception's text, a password in a client's malformed JSON, a token in a query string.
"""

import re

__all__ = ["HIDDEN", "redact", "secret_name"]

HIDDEN = "***"

_NAMES = r"(?:password|passwd|passphrase|secret|token|cookie|session|authorization|credentials?)"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_SCHEME = r"(?:bearer|basic)\s+"
_TOKEN = re.compile(r"\bnst_[\w-]{8,}")
_SECRET = re.compile(
    rf"""
    ( (?<![A-Za-z]) {_SCHEME}                        # Authorization schemes, wherever they stand
    | {_NAMES} (?: \\?["']?\s*[=:]\s* | ["']\s*,\s* ) # name=value, "name": value, ('name', 'value')
    )
    (?: b?"(?:[^"\\]|\\.)*" | b?'(?:[^'\\]|\\.)*' # with escapes of the quote that ends it
    | \\"(?:[^"\\]|\\\\\\"|\\(?!"))*\\"          # JSON inside of a string
    | (?:{_SCHEME})? [^\s"',;&)}}\]]+ (?: ;\s*[\w-]+=[^\s"',;]+ )* )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def secret_name(name: str) -> bool:
    """True if a field of this name looks as if it held a secret."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """`text` with every value that follows a telling name or an authorization scheme, and every token of ours, replaced by ``***``."""
    return _TOKEN.sub(HIDDEN, _SECRET.sub(rf"\1{HIDDEN}", text))
