"""Seeing what is logged."""

from typing import Any

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

__all__ = ["logged"]


def logged(case: SynchronousTestCase, namespace: str) -> list[dict[str, Any]]:
    """A list that grows with each event that a logger whose namespace begins with `namespace` logs until the end of the test."""
    events: list[dict[str, Any]] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith(namespace):
            events.append(event)

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    case.addCleanup(globalLogPublisher.removeObserver, observe)
    return events
