/**
 * Messages that were typed but are not yet known to be in the log.
 *
 * Every message has an idempotency key from the moment it is typed, is written to storage under it, and leaves only when the
 * server has acknowledged it. So it survives a lost connection, a restarted server and a reloaded page, and can be sent again
 * without harm. Each item has its own storage entry: two tabs never overwrite each other's.
 */

import { Signal } from "./signal.js";

const PREFIX = "netsvc.outbox.";

/** A UUID; plain http on a LAN has no crypto.randomUUID. */
export function randomKey(crypto = globalThis.crypto) {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // version 4, RFC 9562 section 5.4
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * @typedef {object} Item
 * @property {string} key the idempotency key
 * @property {string} room
 * @property {string} text
 * @property {number} replyTo the seq that it answers; 0 for none
 * @property {string | null} author the scope in which the server knows the key: the user's name, or "" for every guest; null while
 *   that is unknown: then it is whoever connects first
 * @property {number} at milliseconds since 1970 when it was typed; also the order
 * @property {number} tried milliseconds since 1970 when it was first sent, successfully or not; 0 before
 * @property {"waiting" | "sending" | "failed" | "sent"} state
 * @property {string} reason why it failed or waits, in plain words
 * @property {number} seq its place in the log, once sent; 0 before
 */

export class Outbox {
  /** Emits the room whose items changed. */
  changed = new Signal();

  #items = [];
  #options;
  #send = null;
  #busy = new Set();
  #seen = new Map();
  #author = null;

  /**
   * @param {object} options
   * @param {import("./storage.js").SafeStorage} options.storage
   * @param {(error: Error) => {again: boolean, after?: number, reason: string}} options.judge what an error of `send` means: try
   *   again by itself (`after` seconds; never means after the next connection), or stop and say why
   * @param {() => string} [options.newKey]
   * @param {() => number} [options.now] milliseconds
   * @param {(seconds: number, action: () => void) => any} [options.after]
   * @param {number} [options.memory] milliseconds for which the server is certain to remember a key
   */
  constructor(options) {
    this.#options = {
      newKey: randomKey,
      now: Date.now,
      after: (seconds, action) => setTimeout(action, seconds * 1000),
      memory: 23 * 3600 * 1000,
      ...options,
    };
    this.#load();
  }

  /** The items of a room, oldest first; those of another author wait, unseen, until that author comes back. */
  of(room) {
    return this.#items.filter((item) => item.room === room && (item.author === null || item.author === this.#author));
  }

  /**
   * @param {string} room
   * @param {string} text
   * @param {string | null} author
   * @param {number} [replyTo]
   * @returns {Item}
   */
  add(room, text, author, replyTo = 0) {
    const last = this.#items.at(-1)?.at ?? 0;
    const item = { key: this.#options.newKey(), room, text, author, replyTo, at: Math.max(this.#options.now(), last + 1), tried: 0 };
    Object.assign(item, { state: "waiting", reason: "", seq: 0 });
    this.#items.push(item);
    this.#save(item);
    this.changed.emit(room);
    this.#pump(room);
    return item;
  }

  /** Try a failed item again, with the same key. */
  retry(key) {
    const item = this.#find(key);
    if (item?.state !== "failed") return;
    // If the server no longer knows the key, the user has been told what that may mean.
    if (this.#isStale(item)) this.#rekey(item);
    this.#mark(item, "waiting", "");
    this.#pump(item.room);
  }

  /** Discard an item. */
  discard(key) {
    const item = this.#find(key);
    if (item && item.state !== "sending") this.#forget(item);
  }

  /** Another tab removed an item: it was sent or discarded there. */
  removedElsewhere(storageKey) {
    if (storageKey?.startsWith(PREFIX)) this.discard(storageKey.slice(PREFIX.length));
  }

  /**
   * There is a connection.
   *
   * @param {string} author whose connection it is; only items of this author are sent
   * @param {(item: Item) => Promise<{seq: number}>} send
   */
  connected(author, send) {
    this.#author = author;
    this.#send = send;
    for (const item of this.#items.filter((other) => other.author === null)) {
      item.author = author;
      this.#save(item);
    }
    for (const room of new Set(this.#items.map((item) => item.room))) this.#pump(room);
  }

  /** There is no user until the next connection says who it is: waiting items are hidden. */
  forget() {
    this.#author = null;
    this.disconnected();
  }

  /** The connection is gone; what was under way waits for the next. */
  disconnected() {
    this.#send = null;
    this.#busy.clear();
    for (const item of this.#items) if (item.state === "sending") this.#mark(item, "waiting", "");
  }

  /** The log of the room is known up to `seq`: what was sent before that is shown there, not here. */
  seen(room, seq) {
    this.#seen.set(room, seq);
    const before = this.#items.length;
    this.#items = this.#items.filter((item) => item.room !== room || item.state !== "sent" || item.seq > seq);
    if (this.#items.length !== before) this.changed.emit(room);
  }

  /** Sends a room's items one after another, so that a later one never overtakes an earlier one that was refused. */
  async #pump(room) {
    const send = this.#send;
    if (send === null || this.#busy.has(room)) return;
    const item = this.of(room).find((other) => other.state === "waiting" && other.author === this.#author);
    if (!item) return;
    if (this.#isStale(item)) {
      this.#mark(item, "failed", "It was sent a day ago and never confirmed, so it may have arrived already.");
      this.#pump(room);
      return;
    }
    this.#busy.add(room);
    item.tried ||= this.#options.now();
    this.#save(item);
    this.#mark(item, "sending", "");
    let wait = 0;
    try {
      const { seq } = await send(item);
      this.#sent(item, seq);
    } catch (error) {
      if (send !== this.#send) return;
      const verdict = this.#options.judge(error);
      this.#mark(item, verdict.again ? "waiting" : "failed", verdict.reason);
      if (verdict.again && verdict.after === undefined) return; // stays busy until the next connection
      wait = verdict.again ? verdict.after : 0;
    }
    if (send !== this.#send) return;
    const next = () => {
      if (send !== this.#send) return;
      this.#busy.delete(room);
      this.#pump(room);
    };
    if (wait > 0) this.#options.after(wait, next);
    else next();
  }

  #sent(item, seq) {
    this.#options.storage.removeItem(PREFIX + item.key);
    item.seq = seq;
    this.#mark(item, "sent", "");
    // After a reconnect its event may have come before this answer.
    this.seen(item.room, this.#seen.get(item.room) ?? 0);
  }

  #isStale(item) {
    return item.tried > 0 && this.#options.now() - item.tried > this.#options.memory;
  }

  #rekey(item) {
    this.#options.storage.removeItem(PREFIX + item.key);
    Object.assign(item, { key: this.#options.newKey(), at: this.#options.now(), tried: 0 });
    this.#save(item);
  }

  #find(key) {
    return this.#items.find((item) => item.key === key);
  }

  #forget(item) {
    this.#options.storage.removeItem(PREFIX + item.key);
    this.#items = this.#items.filter((other) => other !== item);
    this.changed.emit(item.room);
  }

  #mark(item, state, reason) {
    item.state = state;
    item.reason = reason;
    this.changed.emit(item.room);
  }

  #save({ key, room, text, author, replyTo, at, tried }) {
    this.#options.storage.setItem(PREFIX + key, JSON.stringify({ room, text, author, replyTo, at, tried }));
  }

  #load() {
    const { storage } = this.#options;
    for (const storageKey of storage.keys().filter((key) => key.startsWith(PREFIX))) {
      try {
        const { room, text, author, replyTo = 0, at, tried } = JSON.parse(storage.getItem(storageKey));
        const key = storageKey.slice(PREFIX.length);
        this.#items.push({ key, room, text, author, replyTo, at, tried, state: "waiting", reason: "", seq: 0 });
      } catch {
        storage.removeItem(storageKey); // not ours, or half-written
      }
    }
    this.#items.sort((a, b) => a.at - b.at);
  }
}
