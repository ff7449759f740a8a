/** A clock, a storage and a server in memory: what the page's modules are tested against. */

/** Time that passes only when told to; seconds. */
export class FakeTimers {
  time = 1000;
  #pending = [];

  now = () => this.time;

  after = (seconds, action) => {
    const timer = { at: this.time + seconds, action };
    this.#pending.push(timer);
    return timer;
  };

  cancel = (timer) => {
    this.#pending = this.#pending.filter((other) => other !== timer);
  };

  /** Let `seconds` pass; each due action runs at its own moment, and what it promised is settled. */
  async advance(seconds) {
    await settle();
    const end = this.time + seconds;
    for (;;) {
      const due = this.#pending.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.cancel(due);
      this.time = due.at;
      due.action();
      await settle();
    }
    this.time = end;
    await settle();
  }
}

/** Let every promise that can go on do so. */
export async function settle() {
  await new Promise((resolve) => setImmediate(resolve));
}

/** Storage like SafeStorage, over a map that a "reloaded" page can be given again. */
export class FakeStorage {
  constructor(entries = new Map()) {
    this.entries = entries;
  }

  getItem(key) {
    return this.entries.get(key) ?? null;
  }

  setItem(key, value) {
    this.entries.set(key, String(value));
  }

  removeItem(key) {
    this.entries.delete(key);
  }

  keys() {
    return [...this.entries.keys()];
  }
}

/** The sockets that were opened; the newest is `last`. Nothing happens on them by itself. */
export function fakeSockets() {
  const opened = [];
  class FakeSocket {
    readyState = 0;
    sent = [];
    closed = false;

    constructor(url) {
      this.url = url;
      opened.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
      this.receiver?.(this.sent.at(-1));
    }

    close() {
      this.closed = true;
      this.readyState = 3;
      this.receiver = undefined;
      this.gone?.();
    }

    /** The handshake succeeds. */
    accept() {
      this.readyState = 1;
      this.onopen?.();
    }

    /** The server sends. */
    deliver(message) {
      this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
    }

    answer(id, result) {
      this.deliver({ jsonrpc: "2.0", id, result });
    }

    fail(id, code, message, data) {
      this.deliver({ jsonrpc: "2.0", id, error: { code, message, data } });
    }

    notify(method, params) {
      this.deliver({ jsonrpc: "2.0", method, params });
    }

    /** The server, or the network, ends it. */
    drop(code = 1006, reason = "") {
      this.readyState = 3;
      this.receiver = undefined;
      this.gone?.();
      this.onclose?.({ code, reason });
    }
  }
  return {
    FakeSocket,
    opened,
    get last() {
      return opened.at(-1);
    },
  };
}

/** A server with rooms, keys and followers, as in docs/protocol.md; refuses nobody unless a test says so. */
export class FakeServer {
  epoch = "e";
  logs = new Map();
  keys = new Map();
  /** Called with method and socket when a request has taken effect; true swallows the answer, as a connection that dies does. */
  swallow = () => false;
  /** The name of the user that a new connection is of; "" for a guest. */
  known = () => "";
  /** Rooms that are not there for anybody. */
  refused = new Set();
  /** Rooms whose names are not for everybody. */
  secret = new Set();
  #followers = new Map();
  #guests = 0;

  /** Serve a socket that a client opened. */
  accept(socket) {
    const user = this.known();
    const session = { socket, name: user || `guest-${(this.#guests += 1)}`, guest: user === "", rooms: new Set() };
    socket.receiver = (message) => queueMicrotask(() => this.#receive(session, message));
    socket.gone = () => session.rooms.forEach((room) => this.#followers.get(room)?.delete(session));
    socket.accept();
  }

  /** Append a message; whoever follows the room now hears of it right after what is being answered. */
  say(room, from, text) {
    const log = this.#log(room);
    const seq = log.length + 1;
    const event = { room, seq, cursor: `${this.epoch}:${seq}`, type: "message", from, at: "2026-01-01T00:00:00.000Z", text };
    const mentions = [...text.matchAll(/(?<![\w@])@([\w-]+)/g)].map(([, name]) => name);
    if (mentions.length > 0) event.mentions = mentions;
    log.push(event);
    const sockets = [...(this.#followers.get(room) ?? [])].map(({ socket }) => socket);
    queueMicrotask(() => sockets.forEach((socket) => socket.readyState === 1 && socket.notify("chat.event", event)));
    return event;
  }

  #log(room) {
    if (!this.logs.has(room)) this.logs.set(room, []);
    return this.logs.get(room);
  }

  #receive(session, { id, method, params }) {
    const { socket } = session;
    if (method === "chat.join" && this.refused.has(params.room)) {
      socket.fail(id, -32003, "Not found");
      return;
    }
    const result = this.#act(session, method, params);
    if (!this.swallow(method, socket) && socket.readyState === 1) socket.answer(id, result);
  }

  #act(session, method, params) {
    switch (method) {
      case "auth.whoami":
        return { name: session.name, roles: [session.guest ? "guest" : "member"], guest: session.guest };
      case "auth.login":
        session.name = params.name;
        return { name: session.name, roles: ["guest"] };
      case "chat.join":
        return this.#join(session, params);
      case "chat.history":
        return this.#page(params);
      case "room.info":
        return { room: params.room, access: this.secret.has(params.room) ? "secret" : "public", topic: "", owners: [], role: "", may: "write" };
      case "chat.unread":
        return { rooms: [] };
      case "chat.post":
        return this.#post(session, params);
      default:
        return {};
    }
  }

  #join(session, params) {
    const { room } = params;
    const page = this.#page(params);
    const rest = this.#log(room).filter(({ seq }) => seq > seqOf(page.cursor));
    if (!this.#followers.has(room)) this.#followers.set(room, new Set());
    this.#followers.get(room).add(session);
    session.rooms.add(room);
    queueMicrotask(() => rest.forEach((event) => session.socket.readyState === 1 && session.socket.notify("chat.event", event)));
    return { room, ...page, present: { count: 1, names: [session.name] } };
  }

  #page({ room, before, after, limit = 50 }) {
    const log = this.#log(room);
    if (after !== undefined) {
      const events = log.filter(({ seq }) => seq > seqOf(after));
      const page = events.slice(0, limit);
      return { events: page, cursor: page.at(-1)?.cursor ?? after, more: events.length > limit, recovered: true };
    }
    const events = before === undefined ? log : log.filter(({ seq }) => seq < seqOf(before));
    const page = limit === 0 ? [] : events.slice(-limit);
    return { events: page, cursor: page.at(-1)?.cursor ?? `${this.epoch}:${log.length}`, more: events.length > page.length, recovered: true };
  }

  #post(session, { room, text, key }) {
    if (!this.keys.has(key)) {
      const { seq, cursor, at } = this.say(room, session.name, text);
      this.keys.set(key, { room, seq, cursor, at, durable: "memory" });
    }
    return this.keys.get(key);
  }
}

function seqOf(cursor) {
  return Number(cursor.split(":")[1]);
}

/** The words of the errors that are reported while `act` runs. */
export async function reported(act) {
  const errors = [];
  const before = [console.error, globalThis.reportError];
  console.error = (error) => errors.push(error);
  globalThis.reportError = undefined;
  try {
    await act();
  } finally {
    [console.error, globalThis.reportError] = before;
  }
  return errors.map(({ message }) => message);
}
