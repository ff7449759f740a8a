"""Calls over HTTP, WebSocket, lines and AMP: connections, dispatch, providers, introspection."""

__all__: list[str] = []
