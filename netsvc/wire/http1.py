"""HTTP/1.1 (RFC 9112) as values: a strict request reader, response heads and chunks. No transport and no clock here."""

__all__ = ["LAST_CHUNK", "chunk"]

LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked body; no trailers."""


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (section 7.1); `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
