/**
 * What has been read and what is new: marks kept here for each room, and on the server for who has an account.
 *
 * Rooms that are followed are counted here, from their logs; the others as the server says.
 */

import { parseCursor } from "./rooms.js";
import { RpcError } from "./rpc.js";
import { Signal } from "./signal.js";

const SEEN = "netsvc.seen.";
/** Seconds within which several marks of a room become one. */
const GATHER = 1;

/** @typedef {{count: number, mentions: number, more: boolean}} Unread more: at least so many, the rest is not loaded */

const NOTHING = Object.freeze({ count: 0, mentions: 0, more: false });

/** True for a message that names somebody, or everybody. */
export function mentions(event, name) {
  if (Array.isArray(event.mentions)) return event.mentions.includes(name.toLowerCase()) || event.mentions.includes("@room");
  if (name === "" || typeof event.text !== "string" || !event.text.includes(`@${name}`)) return false;
  return event.text.split(`@${name}`).slice(1).some((rest) => !/^[\p{L}\p{M}\p{Nd}_-]/u.test(rest));
}

export class ReadMarks {
  /** Emits after a change. */
  changed = new Signal();

  #storage;
  #call;
  #after;
  #me;
  /** What the server says of each room. */
  #told = new Map();
  #waiting = new Map();
  /** False once the server has said that it keeps none for us. */
  #kept = true;

  /**
   * @param {object} parts
   * @param {import("./storage.js").SafeStorage} parts.storage
   * @param {(method: string, params: object) => Promise<any>} parts.call
   * @param {(seconds: number, action: () => void) => any} parts.after
   * @param {() => string} parts.me my name
   */
  constructor({ storage, call, after, me }) {
    this.#storage = storage;
    this.#call = call;
    this.#after = after;
    this.#me = me;
  }

  /** A new connection, perhaps as somebody else: ask the server again. */
  async refresh() {
    this.#kept = true;
    const told = new Map();
    try {
      const { rooms } = await this.#call("chat.unread", {});
      for (const room of rooms) told.set(room.room, room);
    } catch (error) {
      if (!(error instanceof RpcError)) return; // the next connection asks again
      this.#kept = false;
    }
    this.#told = told;
    this.changed.emit();
  }

  /** Somebody else sits here now: what the server said of the last one is not theirs. */
  clear() {
    this.#told = new Map();
    this.#waiting.clear();
    this.#kept = true;
  }

  /** The last seq of a room that somebody has looked at; Infinity before the first visit. */
  seen(log) {
    const told = this.#told.get(log.name);
    const onServer = Number.isInteger(told?.read) && told.read > 0 ? told.read : null;
    const stored = this.#storage.getItem(SEEN + log.name);
    if (log.cursor === null || (stored === null && onServer === null)) return Infinity;
    const here = stored === null ? null : parseCursor(stored);
    if (here === null || here.epoch !== parseCursor(log.cursor).epoch) return onServer ?? Infinity;
    return Math.max(here.seq, onServer ?? 0);
  }

  /** Everything in this room has been looked at. */
  mark(log) {
    if (log.cursor === null || this.#storage.getItem(SEEN + log.name) === log.cursor) return;
    this.#storage.setItem(SEEN + log.name, log.cursor);
    log.arrivals = 0;
    log.arrivedMentions = 0;
    this.#tell(log.name, log.head);
    this.changed.emit();
  }

  /** A room is followed no longer. */
  forget(name) {
    this.#storage.removeItem(SEEN + name);
  }

  /**
   * What nobody has looked at in a room that is followed.
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
    const more = log.events.length > 0 && (log.hasNewer || (log.hasOlder && log.events[0].seq > seen + 1));
    return { count: Math.max(fresh, log.arrivals), mentions: Math.max(named, log.arrivedMentions), more: more && log.arrivals <= fresh };
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

  /** True for an event that somebody may want to read: what somebody else has said. The server counts the same. */
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
    if (!this.#kept) return;
    try {
      await this.#call("chat.mark_read", { room, seq });
      const told = this.#told.get(room);
      if (told) this.#told.set(room, { ...told, read: Math.max(told.read ?? 0, seq), unread: 0, mentions: 0 });
    } catch (error) {
      // Guests' marks are only here. A room that is gone, or a lost connection, says nothing about the next one.
      if (error instanceof RpcError && (error.code === -32601 || error.code === -32002 || error.code === -32001)) this.#kept = false;
    }
  }
}
