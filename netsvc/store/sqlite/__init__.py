"""The log and the accounts in one SQLite database, the file ``netsvc.db`` of the state directory."""

from netsvc.store.sqlite.accounts import Accounts
from netsvc.store.sqlite.opening import open_accounts
from netsvc.store.sqlite.store import SqliteStore

__all__ = ["Accounts", "SqliteStore", "open_accounts"]
