"""Calls over HTTP and WebSocket: dispatch, introspection, the ``/ws`` connection."""

__all__: list[str] = []
