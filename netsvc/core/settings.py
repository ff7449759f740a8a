"""The core's sections: [limits], [rooms] and [auth]."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netsvc.settings import Duration, Help, Size

__all__ = ["AuthSettings", "LimitsSettings", "RoomsSettings"]


class LimitsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[limits]: what one client, and all of them together, may ask for."""

    rate: Annotated[bool, Help("Rate budgets: on, or off (the check stays in the path, budgets are unlimited)")] = True
    calls_per_second: Annotated[float, Meta(gt=0), Help("What a budget earns each second; a plain call costs 1")] = 50.0
    burst: Annotated[float, Meta(ge=1), Help("What a budget holds at most")] = 200.0
    budgets: Annotated[int, Meta(ge=100), Help("Most budgets remembered; idle ones are dropped first")] = 100_000
    connections: Annotated[int, Meta(ge=0), Help("Connections in total; 0 is no cap")] = 20_000
    connections_per_address: Annotated[int, Meta(ge=0), Help("Connections from one address; 0 is no cap")] = 1_000
    arrivals: Annotated[float, Meta(ge=0), Help("WebSockets opened, rooms joined and event streams begun in a second, in total; 0 is no cap")] = 0.0
    arrivals_lag: Annotated[Duration, Meta(gt=0), Help("While the reactor lags more than this, nobody is let in: 503 and -32008 say when to retry")] = 2.0
    return_within: Annotated[Duration, Meta(ge=0), Help("Clients sent away, at a stop or an overload, are told to return at times spread over this")] = 30.0
    in_flight: Annotated[int, Meta(ge=1), Help("Calls of one connection under way; at this many netsvc stops reading from it")] = 64
    slow_calls: Annotated[int, Meta(ge=1), Help("Calls of one identity, or address of guests, under way in threads and at providers; more get -32008")] = 256
    append_queue: Annotated[int, Meta(ge=1), Help("Posts waiting for the store; at this many netsvc stops reading from those who post")] = 4096
    append_batch: Annotated[int, Meta(ge=1), Help("Most posts in one transaction")] = 1024
    outbound: Annotated[Size, Meta(ge=0), Help("Bytes kept for all clients that do not read; beyond that, the worst of them are closed; 0 is no bound")] = (
        128 * 1024 * 1024
    )
    rooms_per_connection: Annotated[int, Meta(ge=1), Help("Rooms that one connection may follow")] = 256


class RoomsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[rooms]: the logs and their delivery."""

    text: Annotated[Size, Meta(ge=1), Help("Longest text of a message, in bytes of UTF-8")] = 16 * 1024
    mentions: Annotated[int, Meta(ge=0), Help("Names that one message can mention; further ones do not count")] = 50
    edits: Annotated[int, Meta(ge=0), Help("How often one message can be edited")] = 100
    guest_edits: Annotated[Duration, Meta(ge=0), Help("How long a guest may edit or delete messages sent under its name")] = 3600.0
    emoji: Annotated[Size, Meta(ge=1), Help("Longest emoji of a reaction, in bytes of UTF-8")] = 64
    reactions: Annotated[int, Meta(ge=0), Help("Different reactions to one message")] = 20
    reactions_per_message: Annotated[int, Meta(ge=0), Help("Reactions to one message in total")] = 500
    read_marks: Annotated[int, Meta(ge=1), Help("Read marks kept for one user, one for each room; the oldest go first")] = 1000
    guests_marks: Annotated[int, Meta(ge=1), Help("Read marks kept for all guests together, in memory only")] = 10_000
    unread: Annotated[int, Meta(ge=1), Help("How many of the newest events of a room chat.unread looks at")] = 200
    ring_events: Annotated[int, Meta(ge=16), Help("Newest events of a room kept ready in memory")] = 1024
    ring_bytes: Annotated[Size, Meta(ge=64 * 1024), Help("Memory for the ready events of all rooms together")] = 64 * 1024 * 1024
    fanout_slice: Annotated[int, Meta(ge=1), Help("Clients written to in one reactor turn; the rest follow in the next")] = 2000
    chunk: Annotated[Size, Meta(ge=1024), Help("Bytes of joined events in one write; a single longer event is sent whole")] = 16 * 1024
    presence_grace: Annotated[Duration, Meta(ge=0), Help("How long after the last connection closes somebody is shown as gone")] = 10.0
    keys: Annotated[Duration, Meta(ge=1), Help("How long idempotency keys and their answers are kept")] = 24 * 3600.0
    retention_age: Annotated[Duration, Meta(ge=0), Help("Remove events older than this; 0 keeps them; room.set can change this")] = 0.0
    retention_events: Annotated[int, Meta(ge=0), Help("Remove all but the newest events, this many in each room; 0 keeps them; room.set can change this")] = 0
    retention_interval: Annotated[Duration, Meta(ge=1), Help("Time between two rounds of retention")] = 300.0
    topic: Annotated[Size, Meta(ge=1), Help("Longest topic of a room, and longest reason of a moderation, in bytes of UTF-8")] = 1024
    places: Annotated[int, Meta(ge=1), Help("Most people with a role, muted or banned in one room")] = 10_000
    places_cached: Annotated[int, Meta(ge=1), Help("How many of these, in all rooms, are kept in memory")] = 200_000


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[auth]: passwords, tokens and sessions."""

    session: Annotated[Duration, Meta(ge=60, le=366 * 86400), Help("How long a browser stays signed in")] = 14 * 86400.0
    password_shortest: Annotated[int, Meta(ge=1), Help("Fewest characters of a new password")] = 8
    password_longest: Annotated[Size, Meta(ge=64, le=65536), Help("Longest password, in bytes of UTF-8")] = 1024
    hash_memory: Annotated[Size, Meta(ge=64 * 1024, le=1 << 31), Help("Memory for one argon2id hash")] = 64 * 1024 * 1024
    hash_passes: Annotated[int, Meta(ge=1, le=100), Help("Passes over that memory; if either changes, a password is hashed again at its next login")] = 3
    hash_threads: Annotated[int, Meta(ge=1, le=64), Help("Threads that hash passwords")] = 2
    hash_queue: Annotated[int, Meta(ge=1), Help("Most passwords waiting for these threads; further logins are told to try again")] = 32
    failures: Annotated[int, Meta(ge=1), Help("Wrong passwords for one name before further attempts are refused; one is forgiven every failures_recovery")] = 10
    failures_per_address: Annotated[int, Meta(ge=1), Help("The same for one address (IPv6: one /64 network)")] = 30
    failures_recovery: Annotated[Duration, Meta(gt=0), Help("Time after which one wrong password is forgiven")] = 20.0
    failures_remembered: Annotated[int, Meta(ge=100), Help("Most names, and most addresses, whose failures are remembered")] = 10_000
    remembered: Annotated[int, Meta(ge=100), Help("Most logins, and most guests' addresses, remembered")] = 10_000
    timeout: Annotated[Duration, Meta(gt=0), Help("Longest wait for the answer to a login")] = 10.0
    revocation: Annotated[Duration, Meta(ge=0.1, le=4), Help("Time between two looks for revoked tokens, sessions and users")] = 2.0
