"""Operation: start and stop, signals, systemd notification, logs, health."""

__all__: list[str] = []
