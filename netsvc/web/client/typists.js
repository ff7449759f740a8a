/** Who is writing right now, and telling others that I am. */

import { Signal } from "./signal.js";

/** Seconds between two notices of one writer; the server passes on no more than that. */
const EVERY = 3;
/** Seconds after which a writer without a new notice has stopped. */
const LASTS = 6;

export class Typists {
  /** Emits the room. */
  changed = new Signal();

  #rooms = new Map();
  #told = new Map();
  #now;
  #after;
  #tell;

  /**
   * @param {object} parts
   * @param {(room: string) => void} parts.tell sends a notice to the server
   * @param {() => number} parts.now seconds
   * @param {(seconds: number, action: () => void) => any} parts.after
   */
  constructor({ tell, now, after }) {
    this.#tell = tell;
    this.#now = now;
    this.#after = after;
  }

  /** I am writing there: reported at most every three seconds. */
  write(room) {
    const now = this.#now();
    if (now - (this.#told.get(room) ?? -Infinity) < EVERY) return;
    this.#told.set(room, now);
    this.#tell(room);
  }

  /** I sent it: what I write next is news again. */
  wrote(room) {
    this.#told.delete(room);
  }

  /** Take a `chat.typing`. */
  take({ room, from }) {
    if (!this.#rooms.has(room)) this.#rooms.set(room, new Map());
    this.#rooms.get(room).set(from, this.#now() + LASTS);
    this.#after(LASTS + 0.1, () => this.#expire(room));
    this.changed.emit(room);
  }

  /** A message of theirs came: they are done. */
  done(room, from) {
    if (this.#rooms.get(room)?.delete(from)) this.changed.emit(room);
  }

  /** A room is no longer shown, or the user changed: forget who was writing there, me included. */
  forget(room) {
    this.#rooms.delete(room);
    this.#told.delete(room);
  }

  /** The names of those writing in a room, without mine. */
  in(room, me = "") {
    const now = this.#now();
    return [...(this.#rooms.get(room) ?? [])].filter(([name, until]) => name !== me && until > now).map(([name]) => name);
  }

  #expire(room) {
    const now = this.#now();
    const writers = this.#rooms.get(room);
    for (const [name, until] of writers ?? []) if (until <= now) writers.delete(name);
    this.changed.emit(room);
  }
}
