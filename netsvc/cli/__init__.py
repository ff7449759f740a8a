"""The console script ``netsvc``: checks settings, keeps accounts, calls procedures, talks in rooms."""

from netsvc.cli.commands import main

__all__ = ["main"]
