/**
 * The chat as the page knows it: who I am, the rooms I follow, what is under way. No DOM.
 *
 * Everything here survives a lost connection: on a new one it logs in again as the same person, sends what waits in the outbox and
 * joins each room from the cursor it has, so that the log goes on exactly where it stopped.
 */

import { Outbox } from "./outbox.js";
import { isShown, parseCursor, RoomLog } from "./rooms.js";
import { ConnectionLost, Refused, RpcClient, RpcError } from "./rpc.js";
import { Signal } from "./signal.js";
import { CODE, inWords, isPassing, judgePost, retryAfter } from "./words.js";

const GUEST = "netsvc.guest";
const FOLLOWED = "netsvc.rooms";
const SEEN = "netsvc.seen.";

const FIRST_PAGE = 50;
const PAGE = 100;
const RESUME_PAGE = 200;
/** More rooms than this are not followed at once; the one not visited for longest is let go. */
const MOST_ROOMS = 12;

function afterSeconds(seconds, action) {
  return setTimeout(action, seconds * 1000);
}

export class Chat {
  /** Emits ("identity" | "rooms" | "directory" | "room", room?) after a change. */
  changed = new Signal();
  /** Emits (room, event) for each event that arrives while it happens; not for history. */
  arrived = new Signal();
  /** @type {{name: string, roles: string[], guest: boolean} | null} */
  identity = null;
  /** Why the guest name that was asked for is not ours; "" if it is. */
  nameProblem = "";
  /** @type {Map<string, RoomLog>} the rooms that are followed */
  rooms = new Map();
  /** @type {{name: string, count?: number, at?: string}[]} the rooms that the server has */
  directory = [];

  #storage;
  #fetch;
  #after;
  #paging = new Set();
  /** Events of rooms whose join is not answered yet; they belong after the answer. */
  #early = new WeakMap();
  /** True while this connection is logged in, so that a room may be joined on it. */
  #admitted = false;

  /**
   * @param {object} options
   * @param {string} options.url of the WebSocket
   * @param {import("./storage.js").SafeStorage} options.storage
   * @param {typeof fetch} [options.fetch]
   * @param {(seconds: number, action: () => void) => any} [options.after]
   * @param {object} [options.rpc] further options of RpcClient
   * @param {object} [options.outbox] further options of Outbox
   */
  constructor({ url, storage, fetch = globalThis.fetch.bind(globalThis), after = afterSeconds, rpc = {}, outbox = {} }) {
    this.#storage = storage;
    this.#fetch = fetch;
    this.#after = after;
    this.outbox = new Outbox({ storage, judge: judgePost, after, ...outbox });
    this.outbox.changed.add((room) => this.changed.emit("room", room));
    this.rpc = new RpcClient({ url, greet: () => this.#greet(), ...rpc });
    this.rpc.changed.add(({ name }) => {
      if (name === "online") return;
      this.#admitted = false;
      this.outbox.disconnected();
    });
    this.rpc.on("chat.event", (event) => this.#take(event));
    this.rpc.on("chat.gap", (gap) => this.#inRoom(gap.room, (log) => log.skip(gap)));
    this.rpc.on("chat.presence", (change) => this.#inRoom(change.room, (log) => log.moved(change)));
    for (const name of this.#readList()) this.rooms.set(name, new RoomLog(name));
  }

  /** Follow a room from now on, as the one visited last. */
  follow(name) {
    const log = this.rooms.get(name) ?? new RoomLog(name);
    const known = this.rooms.delete(name);
    this.rooms.set(name, log);
    while (this.rooms.size > MOST_ROOMS) this.leave(this.rooms.keys().next().value);
    this.#writeList();
    if (!known && this.#admitted) this.#join(log).catch(() => {}); // a lost connection joins again by itself
    this.changed.emit("rooms");
    return log;
  }

  /** Follow a room no longer. */
  leave(name) {
    if (!this.rooms.delete(name)) return;
    this.#storage.removeItem(SEEN + name);
    this.#writeList();
    this.rpc.call("chat.leave", { room: name }).catch(() => {});
    this.changed.emit("rooms");
  }

  /** Say something; it is kept until it is in the log, whatever happens to connection, server and page. */
  post(room, text) {
    this.outbox.add(room, text, this.#author);
  }

  /** Load the page before the window. One at a time; rejects like a call. */
  older(log) {
    return this.#page(log, "older", { before: log.oldestCursor }, (page) => log.addOlder(page));
  }

  /** Load the page after the window. */
  newer(log) {
    return this.#page(log, "newer", { after: log.newestCursor }, (page) => log.addNewer(page));
  }

  /** Put the newest page in place of the window. */
  latest(log) {
    return this.#page(log, "latest", {}, (page) => log.showLatest(page));
  }

  /** Load the last part of a gap. */
  fill(log, gap) {
    return this.#page(log, `gap-${gap.from}`, { before: log.cursorAfter(gap) }, (page) => log.fill(gap, page));
  }

  /** True while a page of that kind is on its way. */
  isPaging(log, kind) {
    return this.#paging.has(`${log.name} ${kind}`);
  }

  /** Ask which rooms the server has. */
  async refreshDirectory() {
    if (this.rpc.state.name !== "online") return;
    const { rooms } = await this.rpc.call("chat.rooms");
    this.directory = rooms;
    this.changed.emit("directory");
  }

  /** Ask who is in a room. */
  async refreshPresent(log) {
    if (this.rpc.state.name !== "online" || !log.joined) return;
    log.meet(await this.rpc.call("chat.who", { room: log.name }));
    this.changed.emit("room", log.name);
  }

  /** The last seq of a room that somebody has looked at here; Infinity before the first visit. */
  seen(log) {
    const stored = this.#storage.getItem(SEEN + log.name);
    if (stored === null || log.cursor === null) return Infinity;
    const { epoch, seq } = parseCursor(stored);
    return epoch === parseCursor(log.cursor).epoch ? seq : Infinity;
  }

  /** Everything in this room has been looked at. */
  markSeen(log) {
    if (log.cursor === null || this.#storage.getItem(SEEN + log.name) === log.cursor) return;
    this.#storage.setItem(SEEN + log.name, log.cursor);
    log.arrivals = 0;
    this.changed.emit("rooms");
  }

  /** How many messages of others nobody has looked at; `more`: at least so many, the rest is not loaded. */
  unread(log) {
    const seen = this.seen(log);
    const fresh = log.events.filter((event) => event.seq > seen && this.#isNews(event));
    const more = log.events.length > 0 && log.head > seen && (log.hasNewer || (log.hasOlder && log.events[0].seq > seen + 1));
    return { count: Math.max(fresh.length, log.arrivals), more: more && log.arrivals <= fresh.length };
  }

  /**
   * Be known by another guest name.
   *
   * @param {string} name
   * @returns {Promise<void>} rejects with RpcError if the server does not allow it; without a connection it is tried at the next
   */
  async rename(name) {
    if (this.rpc.state.name === "online") await this.rpc.call("auth.login", { name });
    this.#storage.setItem(GUEST, name);
    // A new connection, so that every room learns the new name in the same way as it learns any other.
    if (this.rpc.state.name !== "waiting") this.rpc.restart();
  }

  /**
   * @param {string} name
   * @param {string} password
   * @returns {Promise<string>} what went wrong, in words; "" if nothing did
   */
  async signIn(name, password) {
    const problem = await this.#submit("/login", { name, password });
    if (problem === "") this.rpc.restart();
    return problem;
  }

  /**
   * End the session and go on as a guest, if guests are allowed.
   *
   * @returns {Promise<string>} what went wrong, in words; "" if nothing did
   */
  async signOut() {
    const problem = await this.#submit("/logout", {});
    if (problem === "") this.rpc.restart();
    return problem;
  }

  /** All guests are one scope for the server's memory of keys, since their names come and go. */
  get #author() {
    return this.identity === null || this.identity.guest ? "" : this.identity.name;
  }

  async #greet() {
    await this.#logIn();
    this.changed.emit("identity");
    // What is under way goes first: its answer then comes with, not after, the events that show it.
    this.outbox.connected(this.#author, (item) => this.rpc.call("chat.post", { room: item.room, text: item.text, key: item.key }));
    this.#admitted = true;
    await Promise.all([...this.rooms.values()].map((log) => this.#join(log)));
  }

  async #logIn() {
    let me;
    try {
      me = await this.rpc.call("auth.whoami");
    } catch (error) {
      if (error instanceof RpcError && error.code === CODE.notAuthenticated) throw new Refused("Sign in to take part.");
      throw error;
    }
    const wanted = this.#storage.getItem(GUEST);
    this.nameProblem = "";
    if (me.guest && wanted !== null && wanted !== me.name) {
      try {
        me = { ...(await this.rpc.call("auth.login", { name: wanted })), guest: true };
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        this.nameProblem = inWords(error);
      }
    }
    if (me.guest) this.#storage.setItem(GUEST, me.name);
    this.identity = me;
  }

  async #join(log) {
    const after = log.cursor;
    const params = after === null ? { limit: FIRST_PAGE } : { after, limit: RESUME_PAGE };
    const early = [];
    this.#early.set(log, early);
    try {
      log.join(await this.rpc.call("chat.join", { room: log.name, ...params }), after);
      log.problem = "";
    } catch (error) {
      if (error instanceof ConnectionLost) throw error;
      log.problem = inWords(error);
      if (isPassing(error)) this.#after(retryAfter(error), () => this.#joinAgain(log));
    }
    this.#early.delete(log);
    if (this.seen(log) === Infinity) this.markSeen(log);
    for (const event of early) this.#take(event);
    this.outbox.seen(log.name, log.head);
    this.changed.emit("room", log.name);
  }

  #joinAgain(log) {
    if (this.#admitted && this.rooms.get(log.name) === log) this.#join(log).catch(() => {});
  }

  #take(event) {
    const log = this.rooms.get(event.room);
    if (this.#early.has(log)) this.#early.get(log).push(event);
    else if (log?.take(event)) this.#taken(log, event);
  }

  #taken(log, event) {
    if (this.#isNews(event)) log.arrivals += 1;
    this.outbox.seen(log.name, log.head);
    this.changed.emit("room", log.name);
    this.arrived.emit(log.name, event);
  }

  /** True for an event that somebody may want to read: a line of its own, by somebody else. */
  #isNews(event) {
    return isShown(event) && event.from !== this.identity?.name;
  }

  #inRoom(name, change) {
    const log = this.rooms.get(name);
    if (!log) return;
    change(log);
    this.changed.emit("room", name);
  }

  async #page(log, kind, params, apply) {
    const flag = `${log.name} ${kind}`;
    if (this.#paging.has(flag) || this.rpc.state.name !== "online") return;
    this.#paging.add(flag);
    this.changed.emit("room", log.name);
    try {
      apply(await this.rpc.call("chat.history", { room: log.name, limit: PAGE, ...params }));
    } finally {
      this.#paging.delete(flag);
      this.changed.emit("room", log.name);
    }
  }

  async #submit(path, fields) {
    let response;
    try {
      response = await this.#fetch(path, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(fields) });
    } catch {
      return "The server cannot be reached.";
    }
    if (response.ok) return "";
    if (response.status === 401) return "This name and this password do not belong together.";
    if (response.status === 429) return `Too many attempts. Try again in ${response.headers.get("Retry-After") ?? "some"} s.`;
    return `The server answered with an error (${response.status}).`;
  }

  #readList() {
    try {
      const names = JSON.parse(this.#storage.getItem(FOLLOWED));
      return Array.isArray(names) ? names.filter((name) => typeof name === "string").slice(-MOST_ROOMS) : [];
    } catch {
      return [];
    }
  }

  #writeList() {
    this.#storage.setItem(FOLLOWED, JSON.stringify([...this.rooms.keys()]));
  }
}
