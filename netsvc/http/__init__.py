"""The HTTP/1.1 server: channel, routing, WebSocket connections, static files."""

__all__: list[str] = []
