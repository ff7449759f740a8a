"""netsvc turns a computer into a server: rooms, procedures and files from one Twisted daemon."""

__all__ = ["__version__"]

__version__ = "0.1.0"
