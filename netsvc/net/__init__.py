"""Sockets: listeners, and transports that send at once and bound what waits. What is spoken on them is the business of others."""

__all__: list[str] = []
