"""The chat and room procedures, plain-text rooms, event streams and long-polls."""

__all__: list[str] = []
