"""Search positions, which tell nothing to whoever is given one.

A position is the number of a message among all that are indexed, including those that the caller may not read: two of them would tell
how much was said in between. So numbers are given out encrypted, with a key that only the index has.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b
from hmac import compare_digest
from secrets import token_bytes
from typing import Final

from netsvc.errors import InvalidParams

__all__ = ["Positions", "new_position_key"]

_PREFIX: Final = "search-"
_TAG: Final = 16
_NUMBER: Final = 8


def new_position_key() -> bytes:
    """A key for an index."""
    return token_bytes(32)


class Positions:
    """Turns numbers into positions, and back.

    This is a synthetic IV (Rogaway and Shrimpton, "Deterministic Authenticated-Encryption", 2006; RFC 5297 does it with AES) with keyed
    BLAKE2b as the pseudorandom function: a number has exactly one position, and nobody without the key can make one.

    :param key: the index's, and as secret as the index; a position made with another key is refused.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, number: int) -> tuple[str, int]:
        """The position of a number from 0 to 2**64 - 1: a cursor's two parts."""
        plain = number.to_bytes(_NUMBER, "big")
        tag = self._digest(b"tag", plain, _TAG)
        return _PREFIX + urlsafe_b64encode(tag + self._masked(plain, tag)).decode("ascii"), 0

    def number(self, position: tuple[str, int]) -> int:
        """The number of a position.

        :raises InvalidParams: it was not made with this key.
        """
        text, rest = position
        try:
            sealed = urlsafe_b64decode(text.removeprefix(_PREFIX).encode("ascii"))
        except (Error, UnicodeError):
            raise _unknown() from None
        number = int.from_bytes(self._masked(sealed[_TAG:], sealed[:_TAG]), "big")
        if rest or not compare_digest(text, self.of(number)[0]):
            raise _unknown()
        return number

    def _masked(self, number: bytes, tag: bytes) -> bytes:
        mask = self._digest(b"mask", tag, _NUMBER)
        return bytes(one ^ other for one, other in zip(number, mask, strict=False))

    def _digest(self, purpose: bytes, of: bytes, size: int) -> bytes:
        return blake2b(of, key=self._key, person=purpose, digest_size=size).digest()


def _unknown() -> InvalidParams:
    return InvalidParams("before: this position no longer exists; search again without it", parameter="before")
