"""The HTTP/1.1 server: channel, transport, routing, WebSocket connections, static files."""

__all__: list[str] = []
