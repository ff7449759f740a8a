"""The console script ``netsvc``: checks settings, manages accounts, calls procedures, talks in rooms."""

from netsvc.cli.commands import main

__all__ = ["main"]
