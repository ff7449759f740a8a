"""The console script ``netsvc``: checks settings, keeps the accounts of a state directory, calls procedures of a running daemon."""

from netsvc.cli.commands import main

__all__ = ["main"]
