"""Rooms, delivery, identities, procedures and limits: no sockets, no reactor; the clock is passed in."""

__all__: list[str] = []
