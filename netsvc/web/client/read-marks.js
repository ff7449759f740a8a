/**
 * What has been read and what is new: marks kept here for each room, and on the server for users with an account.
 *
 * Followed rooms are counted here, from their logs; for the others the server's counts are used.
 */

import { parseCursor } from "./rooms.js";
import { RpcError } from "./rpc.js";
import { Signal } from "./signal.js";
import { CODE, isPassing, retryAfter } from "./words.js";

const SEEN = "netsvc.seen.";
/** Seconds within which several marks of a room become one. */
const GATHER = 1;
const METHOD_NOT_FOUND = -32601;

/** @typedef {{count: number, mentions: number, more: boolean}} Unread more: at least this many, the rest is not loaded */

const NOTHING = Object.freeze({ count: 0, mentions: 0, more: false });

/** True for a message that mentions somebody, or everybody: the server says so. */
export function mentions(event, name) {
  return Array.isArray(event.mentions) && (event.mentions.includes(name.toLowerCase()) || event.mentions.includes("@room"));
}

export class ReadMarks {
  /** Emits after a change. */
  changed = new Signal();

  #storage;
  #call;
  #after;
  #me;
  /** The server's counts for each room. */
  #told = new Map();
  #waiting = new Map();
  /** False once the server has said that it keeps none for us. */
  #kept = true;
  /** Counts the questions that `#told` answers; only the newest matters. */
  #asked = 0;
  /** True once the newest one was answered. */
  #answered = false;
  #logs;

  /**
   * @param {object} parts
   * @param {import("./storage.js").SafeStorage} parts.storage
   * @param {(method: string, params: object) => Promise<any>} parts.call
   * @param {(seconds: number, action: () => void) => any} parts.after
   * @param {() => string} parts.me my name
   * @param {() => Iterable<import("./rooms.js").RoomLog>} [parts.logs] of the rooms that are followed
   */
  constructor({ storage, call, after, me, logs = () => [] }) {
    this.#storage = storage;
    this.#call = call;
    this.#after = after;
    this.#me = me;
    this.#logs = logs;
  }

  /** A new connection, perhaps as somebody else: ask the server again. */
  async refresh() {
    this.#kept = true;
    this.#answered = false;
    const turn = (this.#asked += 1);
    const told = new Map();
    try {
      const { rooms } = await this.#call("chat.unread", {});
      for (const room of rooms) told.set(room.room, room);
    } catch (error) {
      if (turn !== this.#asked || !(error instanceof RpcError)) return; // the next connection asks again
      if (isPassing(error)) {
        this.#after(retryAfter(error), () => turn === this.#asked && this.refresh());
        return;
      }
      this.#kept = false;
    }
    if (turn !== this.#asked) return;
    this.#told = told;
    this.#answered = true;
    for (const log of this.#logs()) this.catchUp(log);
    this.changed.emit();
  }

  /** Send the server the marks that never reached it: the page was closed too soon, or the connection lost. */
  catchUp(log) {
    if (!this.#answered || log.cursor === null) return;
    const here = this.#here(log);
    if (here > (this.#told.get(log.name)?.read ?? 0)) this.#tell(log.name, Math.min(here, log.head));
  }

  /** The user has changed: forget what the server said about the previous one. */
  clear() {
    this.#told = new Map();
    this.#waiting.clear();
    this.#kept = true;
    this.#asked += 1;
    this.#answered = false;
  }

  /** The last seq of a room that somebody has looked at; Infinity before the first visit. */
  seen(log) {
    const told = this.#told.get(log.name);
    const onServer = Number.isInteger(told?.read) && told.read > 0 ? told.read : null;
    if (log.cursor === null) return Infinity;
    const here = this.#here(log);
    return here < 0 ? (onServer ?? Infinity) : Math.max(here, onServer ?? 0);
  }

  /** The last seq of a log that was looked at here; -1 if none was, or if that was another log. */
  #here(log) {
    const stored = this.#storage.getItem(SEEN + log.name);
    if (stored === null) return -1;
    const { epoch, seq } = parseCursor(stored);
    return epoch === parseCursor(log.cursor).epoch ? seq : -1;
  }

  /** Mark everything in this room as read. */
  mark(log) {
    if (log.cursor === null || this.#storage.getItem(SEEN + log.name) === log.cursor) return;
    this.#storage.setItem(SEEN + log.name, log.cursor);
    log.arrived.clear();
    this.#tell(log.name, log.head);
    this.changed.emit();
  }

  /** A room is no longer followed. */
  forget(name) {
    this.#storage.removeItem(SEEN + name);
  }

  /**
   * What is unread in a followed room.
   *
   * @param {import("./rooms.js").RoomLog} log
   * @returns {Unread}
   */
  unread(log) {
    const seen = this.seen(log);
    if (seen === Infinity || log.head <= seen) return NOTHING;
    let fresh = 0;
    let named = 0;
    for (let i = log.events.length - 1; i >= 0 && log.events[i].seq > seen; i -= 1) {
      if (!this.isNews(log.events[i])) continue;
      fresh += 1;
      if (mentions(log.events[i], this.#me())) named += 1;
    }
    for (const [seq, itNames] of log.arrived) {
      if (seq <= seen || log.has(seq)) continue;
      fresh += 1;
      if (itNames) named += 1;
    }
    return { count: fresh, mentions: named, more: !log.knowsAllAfter(seen) };
  }

  /** Note an event that arrived: a message counts even while the window is elsewhere, unless it is deleted. */
  take(log, event) {
    if (this.isNews(event)) log.note(event.seq, mentions(event, this.#me()));
    if (!log.arrived.has(event.target)) return;
    if (event.type === "delete") log.arrived.delete(event.target);
    if (event.type === "edit") log.arrived.set(event.target, mentions(event, this.#me()));
  }

  /**
   * The same for a room that is not followed.
   *
   * @param {string} name
   * @returns {Unread}
   */
  unreadElsewhere(name) {
    const told = this.#told.get(name);
    return told ? { count: told.unread ?? 0, mentions: told.mentions ?? 0, more: told.more === true } : NOTHING;
  }

  /** True for an event that counts as unread: a message by somebody else. The server counts the same way. */
  isNews(event) {
    return event.type === "message" && !event.deleted && event.from !== this.#me();
  }

  #tell(room, seq) {
    if (!this.#kept || seq === 0) return;
    const gathering = this.#waiting.has(room);
    this.#waiting.set(room, seq);
    if (!gathering) this.#after(GATHER, () => this.#flush(room));
  }

  async #flush(room) {
    const seq = this.#waiting.get(room);
    this.#waiting.delete(room);
    if (!this.#kept || seq === undefined) return;
    const turn = this.#asked;
    try {
      await this.#call("chat.mark_read", { room, seq });
      if (turn === this.#asked) this.#told.set(room, { read: Math.max(this.#told.get(room)?.read ?? 0, seq), unread: 0, mentions: 0, more: false });
    } catch (error) {
      // After a lost connection the next one catches up. An error for a room that is closed to us says nothing about the others.
      if (turn !== this.#asked || !(error instanceof RpcError)) return;
      if (error.code === METHOD_NOT_FOUND || error.code === CODE.notAuthenticated) this.#kept = false;
      else if (isPassing(error)) this.#after(retryAfter(error), () => turn === this.#asked && !this.#waiting.has(room) && this.#tell(room, seq));
    }
  }
}
