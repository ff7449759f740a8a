/** Messages that replies quote but that are outside the window of a log: looked up a few at a time. */

import { isPassing, retryAfter } from "./words.js";

/** How many earlier messages are loaded along with one; some of them may be quoted, too. */
const NEAR = 30;

export class Quotes {
  /** By log, the seqs to look up. */
  #wanted = new WeakMap();
  #asking = new WeakSet();
  #page;
  #after;
  #isOnline;

  /**
   * @param {object} parts
   * @param {(log: import("./rooms.js").RoomLog, params: object, apply: (page: object, asOf: number) => void) => Promise<void>} parts.page asks for history
   * @param {(seconds: number, action: () => void) => any} parts.after
   * @param {() => boolean} parts.isOnline
   */
  constructor({ page, after, isOnline }) {
    this.#page = page;
    this.#after = after;
    this.#isOnline = isOnline;
  }

  /** Look a message up. One question at a time, which may answer others; rejects like a call. */
  async look(log, seq) {
    const wanted = this.#wanted.get(log) ?? new Set();
    this.#wanted.set(log, wanted.add(seq));
    if (this.#asking.has(log)) return;
    this.#asking.add(log);
    try {
      // The newest first: it is what the user is looking at.
      while (wanted.size > 0 && this.#isOnline()) {
        await this.#ask(log, Math.max(...wanted), wanted);
        for (const each of wanted) if (log.find(each) !== undefined) wanted.delete(each);
      }
    } finally {
      this.#asking.delete(log);
    }
  }

  /** What could not be looked up, because the connection was lost or the server was busy. */
  lookAgain(log) {
    const [seq] = this.#wanted.get(log) ?? [];
    if (seq !== undefined) this.look(log, seq).catch(() => {}); // the next connection asks again
  }

  /** The log is no longer shown. */
  forget(log) {
    this.#wanted.get(log)?.clear(); // the same set: a loop that is running continues with what is added from here on
  }

  async #ask(log, seq, wanted) {
    try {
      await this.#page(log, { before: log.cursorAround(seq, 0), limit: NEAR }, ({ events }, asOf) => {
        const found = new Map(events.map((event) => [event.seq, event]));
        for (const each of wanted) if (found.has(each)) log.quote(each, found.get(each), asOf);
        if (!found.has(seq) && wanted.has(seq)) log.quote(seq, null, asOf);
      });
    } catch (error) {
      if (isPassing(error)) this.#after(retryAfter(error), () => this.lookAgain(log));
      throw error;
    }
  }
}
