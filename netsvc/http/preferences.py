"""What a client prefers (RFC 9110 section 12.5.1)."""

__all__ = ["BY_NAME", "wanted"]

BY_NAME = 2
"""How specifically an offer is named: by its own name, not by a range."""


def wanted(accept: bytes, offer: bytes) -> tuple[float, int]:
    """How much an offer is wanted, 0 to 1, and how specifically it was named, 0 to 2: the most specific range decides."""
    ranges = (b"*/*", offer.partition(b"/")[0] + b"/*", offer)
    named, quality = -1, 0.0
    for part in accept.lower().split(b","):
        media_range, *parameters = (piece.strip() for piece in part.split(b";"))
        if media_range in ranges and ranges.index(media_range) > named:
            named, quality = ranges.index(media_range), _quality(parameters)
    return quality, named


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
