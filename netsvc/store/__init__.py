"""The log and the accounts: `sqlite` keeps them, `memory` forgets them; one contract suite runs on both."""

__all__: list[str] = []
