"""Sans-I/O codecs: bytes to values and back; never imports Twisted."""

__all__: list[str] = []
