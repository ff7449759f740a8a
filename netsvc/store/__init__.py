"""The log and the accounts: SQLite and memory behind one set of interfaces."""

__all__: list[str] = []
