"""Operation: systemd notification, logs, health."""

__all__: list[str] = []
