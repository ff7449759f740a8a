"""What a system test needs of the machine: skipped where it is missing, failed where it must not be (``NETSVC_CI=1``)."""

import os
import shutil
import unittest
from typing import NoReturn

__all__ = ["require_program", "require_root", "skip_or_fail"]


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test because of `reason`; with ``NETSVC_CI=1`` in the environment fail it instead."""
    if os.environ.get("NETSVC_CI") == "1":
        raise AssertionError(f"required in CI: {reason}")
    raise unittest.SkipTest(reason)


def require_program(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    skip_or_fail(f"{' or '.join(names)} is not installed")


def require_root() -> None:
    """Go on only as root."""
    if os.geteuid() != 0:
        skip_or_fail("needs root")
