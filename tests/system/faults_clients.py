"""Clients of the fault test: over every transport they follow a room by cursor and post with keys, whatever happens to their connections."""

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tests.system.faults_http import HttpConnection, StatusError

__all__ = ["CLIENTS", "Client", "World"]

PATIENCE = 6.0
"""Seconds without a sign of life after which a client gives a connection up."""

PING = 2.5
IN_FLIGHT = 3
"""Posts of one WebSocket under way."""

BACKOFF = (0.05, 0.6)
TRY_AGAIN = (429, 502, 503, 504)
"""HTTP statuses, and by `CODES` JSON-RPC errors, that tell a client to try again."""

CODES = (-32005, -32007, -32008, -32009)
JSON = "Content-Type: application/json\r\n"
LONGEST_PADDING = 3000
MOST_WRONG = 50


class World:
    """What all clients share, and what they have found.

    :param port: of the proxy.
    :param pause: seconds between two posts of a client, about.
    :ivar logs: of each room the texts by seq, as the first client has seen them.
    :ivar wrong: what was not as promised.
    :ivar posting: clients make new posts.
    :ivar ends: the last seq of each room, once nothing more is posted.
    """

    def __init__(self, port: int, seed: str, pause: float) -> None:
        self.port = port
        self.seed = seed
        self.pause = pause
        self.logs: dict[str, dict[int, str]] = {}
        self.epochs: set[str] = set()
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.posting = True
        self.ends: dict[str, int] | None = None

    def fail(self, what: str) -> None:
        """Something was not as promised."""
        self.counts["wrong"] += 1
        if len(self.wrong) < MOST_WRONG:
            self.wrong.append(what)

    def saw(self, room: str, seq: int, text: str) -> None:
        """A client has seen an event: the same as everybody before it."""
        self.counts["deliveries"] += 1
        known = self.logs.setdefault(room, {}).setdefault(seq, text)
        if known != text:
            self.fail(f"{room}:{seq} is {known[:40]!r} for one and {text[:40]!r} for another")


class _Post:
    """A post on its way.

    :ivar tries: how often it was sent.
    """

    __slots__ = ("key", "made", "text", "tries")

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        self.text = text
        self.made = time.monotonic()
        self.tries = 0


class Client:
    """One client. Subclasses know how to follow and how to post.

    :ivar last: the seq up to which it has seen everything.
    :ivar acked: text and seq of its acknowledged posts, in the order in which they were made.
    """

    transport = ""

    def __init__(self, world: World, number: int, room: str) -> None:
        self.world = world
        self.name = f"c{number}"
        self.room = room
        self.draw = random.Random(f"{world.seed}/client/{number}")
        self.last = 0
        self.epoch = ""
        self.acked: list[tuple[str, int]] = []
        self.waiting: list[_Post] = []
        self.made = 0
        self.due = time.monotonic() + self.draw.uniform(0, 2 * world.pause)

    @property
    def cursor(self) -> str:
        """Behind what it has seen."""
        return f"{self.epoch}:{self.last}"

    @property
    def done(self) -> bool:
        """Everything is posted and seen."""
        return self.world.ends is not None and not self.waiting and self.last >= self.world.ends.get(self.room, 0)

    async def run(self) -> None:
        """Follow and post, over one connection after the other."""
        while not self.done:
            try:
                await self.session()
            except InvalidStatus as refused:
                if refused.response.status_code not in TRY_AGAIN:
                    self.wrong(f"refused: {refused}")
            except StatusError as refused:
                if refused.status not in TRY_AGAIN:
                    self.wrong(f"refused: {refused}")
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code not in (1000, 1001, 1012, 1013) and not 4500 <= closed.rcvd.code < 4600:
                    self.wrong(f"closed: {closed!r}")
            except (OSError, EOFError, WebSocketException):
                pass
            self.world.counts["sessions"] += 1
            if not self.done:
                await asyncio.sleep(self.draw.uniform(*BACKOFF))

    async def session(self) -> None:
        """One connection, until it is lost or all is done."""
        raise NotImplementedError

    def wrong(self, what: str) -> None:
        """Something was not as promised."""
        self.world.fail(f"{self.name} ({self.transport}, {self.room}) behind {self.last}: {what}")

    def see(self, seq: int, text: str) -> None:
        """The next event."""
        if seq != self.last + 1:
            self.wrong(f"saw {seq}")
        self.last = seq
        self.world.saw(self.room, seq, text)

    def see_event(self, event: dict[str, Any]) -> None:
        """The next event, as JSON."""
        if event["type"] != "message" or event["room"] != self.room or event["cursor"] != f"{self.epoch}:{event['seq']}":
            self.wrong(f"odd event {event}"[:300])
        self.see(event["seq"], event["text"])

    async def see_page(self, page: dict[str, Any]) -> None:
        """Some events after the cursor; a pause if there are none."""
        if not page["recovered"]:
            self.wrong("not recovered")
        for event in page["events"]:
            self.see_event(event)
        if page["cursor"] != self.cursor:
            self.wrong(f"the cursor of the answer is {page['cursor']}")
        if not page["events"]:
            await asyncio.sleep(0.1)

    # Posting

    def next_post(self) -> _Post:
        """A new post."""
        self.made += 1
        padding = "x" * self.draw.randrange(LONGEST_PADDING) if self.draw.random() < 0.05 else ""
        post = _Post(str(uuid.UUID(int=self.draw.getrandbits(128))), f"{self.name} {self.made} {padding}")
        self.waiting.append(post)
        self.due = time.monotonic() + self.world.pause * self.draw.uniform(0.3, 1.7)
        return post

    def params(self, post: _Post) -> dict[str, str]:
        """What is sent of a post, once more."""
        post.tries += 1
        if post.tries > 1:
            self.world.counts["posts sent again"] += 1
        return {"room": self.room, "text": post.text, "key": post.key}

    def answered(self, post: _Post, result: dict[str, Any]) -> None:
        """A post is acknowledged."""
        if post not in self.waiting:
            return  # the answer to an earlier attempt has come before
        if post is not self.waiting[0]:
            self.wrong(f"{post.text[:40]!r} was acknowledged before one that was sent before it")
        self.waiting.remove(post)
        if result["durable"] != "fsync" or result["cursor"] != f"{self.epoch}:{result['seq']}":
            self.wrong(f"odd answer {result}")
        self.acked.append((post.text, result["seq"]))
        self.world.counts["acked"] += 1
        self.world.slowest = max(self.world.slowest, time.monotonic() - post.made)

    async def until_due(self) -> None:
        """Wait until the next post shall be made."""
        while not self.world.posting or time.monotonic() < self.due:  # noqa: ASYNC110 - both change meanwhile
            await asyncio.sleep(max(0.05, self.due - time.monotonic()))


class SocketClient(Client):
    """JSON-RPC over /ws: follows and posts on one connection, several posts at once."""

    transport = "/ws"
    posts_here = True
    """False: it only follows on this connection."""

    async def session(self) -> None:
        """Join behind the cursor, send again what has no answer, go on."""
        compression = self.draw.choice((None, "deflate"))
        url = f"ws://127.0.0.1:{self.world.port}/ws"
        async with connect(
            url, proxy=None, compression=compression, open_timeout=PATIENCE, ping_interval=PING, ping_timeout=PING, close_timeout=0.5, max_queue=None
        ) as socket:
            params = {"room": self.room, "after": self.cursor, "limit": self.draw.choice((0, 5, 200))}
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": "join", "method": "chat.join", "params": params}))
            sent: dict[int, _Post] = {}
            posting = asyncio.create_task(self._post_on(socket, sent)) if self.posts_here else None
            try:
                joined = False
                while not (joined and self.done):
                    message = json.loads(await socket.recv())
                    joined = self._take_message(message, sent, joined)
            finally:
                if posting is not None:
                    posting.cancel()

    async def _post_on(self, socket: ClientConnection, sent: dict[int, _Post]) -> None:
        with suppress(ConnectionClosed, OSError):
            for post in list(self.waiting):
                await self._send(socket, sent, post)
            while True:
                await self.until_due()
                if len(self.waiting) < IN_FLIGHT:
                    await self._send(socket, sent, self.next_post())
                else:
                    await asyncio.sleep(0.05)

    async def _send(self, socket: ClientConnection, sent: dict[int, _Post], post: _Post) -> None:
        number = len(sent)
        sent[number] = post
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": "chat.post", "params": self.params(post)}))

    def _take_message(self, message: dict[str, Any], sent: dict[int, _Post], joined: bool) -> bool:
        method, answered = message.get("method"), message.get("id")
        if method == "chat.event":
            if not joined:
                self.wrong("an event before the answer to the join")
            self.see_event(message["params"])
        elif method == "chat.gap":
            self.wrong(f"gap {message}")
        elif "error" in message:
            if message["error"]["code"] not in CODES:
                self.wrong(f"error {message}"[:300])
            raise ConnectionError(message["error"]["message"])  # begin again, with everything in its order
        elif answered == "join":
            if not message["result"]["recovered"]:
                self.wrong("not recovered")
            for event in message["result"]["events"]:
                self.see_event(event)
            return True
        elif method is None:
            self.answered(sent[message["id"]], message["result"])
        return joined


class HttpPostingClient(Client):
    """Follows in some way, and posts over POST /rpc beside it, one at a time."""

    async def run(self) -> None:
        """Follow and post."""
        posting = asyncio.create_task(self._post())
        try:
            await super().run()
        finally:
            posting.cancel()

    async def _post(self) -> None:
        connection = HttpConnection(self.world.port, PATIENCE)
        while True:
            if not self.waiting:
                await self.until_due()
                self.next_post()
            post = self.waiting[0]
            call = {"jsonrpc": "2.0", "id": 1, "method": "chat.post", "params": self.params(post)}
            try:
                answer = await connection.request("POST", "/rpc", JSON, json.dumps(call).encode())
                self.answered(post, json.loads(answer)["result"])
            except StatusError as refused:
                if refused.status not in TRY_AGAIN:
                    self.wrong(f"post refused: {refused}")
                await asyncio.sleep(self.draw.uniform(*BACKOFF))
            except ConnectionError:
                await asyncio.sleep(self.draw.uniform(*BACKOFF))
            if self.draw.random() < 0.2:
                connection.close()


class StreamClient(HttpPostingClient):
    """Server-sent events."""

    transport = "events"

    async def session(self) -> None:
        """Resume as a browser does, and read blocks."""
        connection = HttpConnection(self.world.port, PATIENCE)
        try:
            status, _ = await connection.send("GET", f"/rooms/{self.room}/events", f"Accept: text/event-stream\r\nLast-Event-ID: {self.cursor}\r\n")
            if status != 200:
                raise StatusError(status, b"")
            rest = b""
            async for chunk in connection.stream():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    self._take_block(block.decode())
                if self.done:
                    return
        finally:
            connection.close()

    def _take_block(self, block: str) -> None:
        fields = dict(line.partition(": ")[::2] for line in block.split("\n") if not line.startswith(":"))
        if "event" in fields:
            self.wrong(f"gap {block}")
        elif "data" in fields:
            event = json.loads(fields["data"])
            if fields["id"] != event["cursor"]:
                self.wrong(f"an id that is not the cursor: {block[:200]}")
            self.see_event(event)


class PollingClient(HttpPostingClient):
    """Long-poll."""

    transport = "long-poll"

    async def session(self) -> None:
        """Ask for what comes after the cursor, again and again."""
        connection = HttpConnection(self.world.port, PATIENCE)
        try:
            while not self.done:
                query = f"after={self.cursor}&wait={self.draw.choice((0, 1, 2))}&limit={self.draw.choice((1, 20, 200))}"
                page = json.loads(await connection.request("GET", f"/rooms/{self.room}/events?{query}", "Accept: application/json\r\n"))
                await self.see_page(page)
        finally:
            connection.close()


class HistoryClient(HttpPostingClient):
    """chat.history over POST /rpc."""

    transport = "/rpc"

    async def session(self) -> None:
        """Ask for what comes after the cursor, again and again."""
        connection = HttpConnection(self.world.port, PATIENCE)
        try:
            while not self.done:
                params = {"room": self.room, "after": self.cursor, "limit": self.draw.choice((1, 20, 200))}
                call = {"jsonrpc": "2.0", "id": 1, "method": "chat.history", "params": params}
                answer = await connection.request("POST", "/rpc", JSON, json.dumps(call).encode())
                await self.see_page(json.loads(answer)["result"])
        finally:
            connection.close()


class TextClient(HttpPostingClient):
    """Plain text: there are no positions in it, so it counts."""

    transport = "plain text"

    async def session(self) -> None:
        """Read on behind the cursor: a welcome, then a frame for each message."""
        url = f"ws://127.0.0.1:{self.world.port}/chat/{self.room}/?name={self.name}&after={self.cursor}"
        async with connect(
            url, proxy=None, compression=None, open_timeout=PATIENCE, ping_interval=PING, ping_timeout=PING, close_timeout=0.5, max_queue=None
        ) as socket:
            welcome = await socket.recv()
            if not str(welcome).startswith("You are "):
                self.wrong(f"welcomed by {welcome!r}"[:200])
            while not self.done:
                frame = str(await socket.recv())
                if frame.startswith("<"):
                    self.see(self.last + 1, frame.partition("> ")[2])
                elif frame.startswith("-- messages"):
                    self.wrong(f"gap {frame}")


class WanderingClient(StreamClient, PollingClient, HistoryClient, TextClient, SocketClient):
    """Any of these, another one after each loss: one cursor resumes on all of them."""

    transport = "any"
    posts_here = False

    async def session(self) -> None:
        """A session over some transport."""
        await self.draw.choice((StreamClient, PollingClient, HistoryClient, TextClient, SocketClient)).session(self)


CLIENTS: tuple[type[Client], ...] = (SocketClient, StreamClient, PollingClient, HistoryClient, TextClient, WanderingClient)
"""Every kind of client."""
