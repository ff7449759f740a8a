"""The chat procedures and plain-text rooms."""

__all__: list[str] = []
