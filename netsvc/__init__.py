"""netsvc turns a computer into a server: chat rooms and procedures from one Twisted daemon."""

__all__ = ["__version__"]

__version__ = "0.1.0"
