"""The store's section: [store]."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netsvc.settings import Duration, Help, Size

__all__ = ["StoreSettings"]


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[store]: the database of the log and the accounts."""

    readers: Annotated[int, Meta(ge=1, le=32), Help("Threads that read; one more writes")] = 2
    busy_timeout: Annotated[
        Duration, Meta(ge=0.1, le=60), Help("How long a transaction waits for another program that holds the database, for example netsvc user")
    ] = 5.0
    cache: Annotated[Size, Meta(ge=64 * 1024, le=1 << 34), Help("Pages of the database kept in memory, for each thread")] = 8 * 1024 * 1024
    checkpoint: Annotated[Size, Meta(ge=64 * 1024, le=1 << 30), Help("Length of the write-ahead log at which it is copied into the database")] = 4 * 1024 * 1024
    wal: Annotated[Size, Meta(ge=128 * 1024, le=1 << 32), Help("Length of the write-ahead log at which posts wait until no reader needs it")] = 16 * 1024 * 1024
    check: Annotated[Size, Meta(ge=0), Help("Largest database that is checked page by page at the start; a larger one is checked only roughly")] = (
        64 * 1024 * 1024
    )
    heads: Annotated[int, Meta(ge=1), Help("Rooms whose newest position is kept in memory")] = 10_000
    search_wait: Annotated[Duration, Meta(ge=0, le=60), Help("How long a search waits for the newest events to be indexed; it says if some are missing")] = 1.0
    search_time: Annotated[Duration, Meta(gt=0, le=60), Help("How long a search may take; then it returns what it has found, and can be continued")] = 2.0
    prune_batch: Annotated[int, Meta(ge=1, le=100_000), Help("Events, keys or sessions that one transaction of retention removes")] = 500
