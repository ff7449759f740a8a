"""Example procedure modules."""

__all__: list[str] = []
