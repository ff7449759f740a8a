/**
 * What the page knows of one room: a window of its log, always in order, without duplicates, with every hole known.
 *
 * The seq of a room has no gaps, so nothing else has to be remembered about what is missing: two neighbours in the window whose
 * seqs are not consecutive have a gap between them, and a window that ends before the head has newer events to be loaded.
 */

import { Reactions } from "./reactions.js";

/** @typedef {{epoch: string, seq: number}} Position */

/**
 * @typedef {object} RoomEvent
 * @property {number} seq
 * @property {string} cursor
 * @property {string} type
 * @property {string} from
 * @property {string} at RFC 3339, UTC
 * @property {string} [text]
 * @property {number} [reply_to] the seq that a message answers
 * @property {string[]} [mentions] names
 * @property {number} [target] the seq that an edit, a deletion or a reaction is about
 * @property {Record<string, string[]>} [reactions] names by emoji, in history; later ones come as events
 * @property {boolean} [edited]
 * @property {boolean} [deleted]
 * @property {number} [asOf] added here: every edit and deletion up to this seq is in the text already
 */

/** @typedef {{events: RoomEvent[], cursor: string, more: boolean, recovered: boolean}} Page */

/** @typedef {{from: number, to: number, gone: boolean}} Gap first and last missing seq; gone: the server no longer has them */

/**
 * @param {string} cursor `epoch:seq`
 * @returns {Position}
 */
export function parseCursor(cursor) {
  const colon = cursor.lastIndexOf(":");
  return { epoch: cursor.slice(0, colon), seq: Number(cursor.slice(colon + 1)) };
}

/** The seq in a cursor, or the number itself. */
function seqOf(value) {
  return typeof value === "number" ? value : parseCursor(String(value)).seq;
}

/** A list of names, whether one, several or none came. */
function namesOf(value) {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/** Event types that get a line of their own; the others change a line, or mean nothing to people. */
const SHOWN = new Set(["message", "topic", "file", "moderation"]);

/** In a crowd the server names a hundred people, and then those who join. */
const MOST_NAMES = 200;
const MOST_QUOTED = 1000;
const MOST_CHANGES = 500;
const MOST_ARRIVED = 2000;
const CHANGING = new Set(["edit", "delete", "reaction"]);

/** True for an event that has a line of its own. */
export function isShown(event) {
  return SHOWN.has(event.type);
}

export class RoomLog {
  /** @type {RoomEvent[]} ascending by seq */
  events = [];
  /** @type {{count: number, names: string[]}} */
  present = { count: 0, names: [] };
  /** True once a join was answered. */
  joined = false;
  /** True if the log itself was replaced under us: a backup was restored, or the server lost its newest events. */
  replaced = false;
  /** Messages of others that arrived since the user last looked, in the window or not: by seq, whether they mention me. @type {Map<number, boolean>} */
  arrived = new Map();
  /** What the room is about, as far as it is known. */
  topic = "";
  /** The answer of `room.info`, once asked for. @type {{access: string, owners: string[], role: string, may: string, amends_since: string} | null} */
  info = null;
  /** True once it was asked for on this connection. */
  described = false;
  /** Changes with everything that rows are made of. */
  revision = 0;
  /** Why the room could not be joined, in plain words; "" if it could. */
  problem = "";
  /** True while the user reads at the end: then the oldest events are dropped for new ones, otherwise new ones stay out of the window. */
  following = true;
  /** Which place in the log was asked for last; its page replaces the window. */
  sought = "";
  /** How many windows there have been. */
  windows = 0;

  #epoch = null;
  #head = 0;
  #reactions = new Reactions();
  /** Messages outside the window that replies in it quote; null: there is no such message. */
  #quoted = new Map();
  #topicAt = 0;
  /** The newest events that changed others: a page requested before them lacks their changes. */
  #changes = [];
  /** The position of a window without events. */
  #start = 0;
  #first = 1;
  /** Every event after this seq arrived live. */
  #liveAfter = 0;

  /**
   * @param {string} name
   * @param {{capacity?: number}} [options] the most events to keep; those dropped beyond it can be loaded again
   */
  constructor(name, { capacity = 20_000 } = {}) {
    this.name = name;
    this.capacity = capacity;
  }

  /** The cursor to resume from: everything up to it was delivered to us. Null before the first join. */
  get cursor() {
    return this.#epoch === null ? null : this.#cursorAt(this.#head);
  }

  /** The seq of the newest event that we know exists. */
  get head() {
    return this.#head;
  }

  /** True if everything after a seq is known, from the window or because it arrived live. */
  knowsAllAfter(seq) {
    if (seq >= this.#liveAfter || this.events.length === 0) return true;
    return this.#last >= this.#liveAfter && (!this.hasOlder || this.events[0].seq <= seq + 1);
  }

  /** Remember whether a new message mentions me; if there are too many, only the newest. */
  note(seq, named) {
    this.arrived.set(seq, named);
    if (this.arrived.size <= MOST_ARRIVED) return;
    const [oldest] = this.arrived.keys();
    this.arrived.delete(oldest);
    this.#liveAfter = Math.max(this.#liveAfter, oldest);
  }

  /** True if events before the window can be loaded. */
  get hasOlder() {
    return this.events.length > 0 && this.events[0].seq > this.#first;
  }

  /** True if events after the window can be loaded: it was scrolled away from the end, or the server skipped some. */
  get hasNewer() {
    return this.#last < this.#head;
  }

  /** The cursor to page backwards from. */
  get oldestCursor() {
    return this.#cursorAt(this.events[0].seq);
  }

  /** The cursor to page forwards from. */
  get newestCursor() {
    return this.#cursorAt(this.#last);
  }

  /**
   * The holes inside the window.
   *
   * @returns {Gap[]}
   */
  get gaps() {
    const found = [];
    for (let i = 1; i < this.events.length; i += 1) {
      const from = this.events[i - 1].seq + 1;
      const to = this.events[i].seq - 1;
      if (from <= to) found.push({ from, to, gone: to < this.#first });
    }
    return found;
  }

  /**
   * @param {number} seq
   * @returns {RoomEvent | null | undefined} a message in the window or one that was looked up; null: there is no such message; undefined: not known here
   */
  find(seq) {
    const index = this.#indexOf(seq);
    return index >= 0 ? this.events[index] : this.#quoted.get(seq);
  }

  /** True for a seq in the window, so there is a row to go to. */
  has(seq) {
    return this.#indexOf(seq) >= 0;
  }

  /** Who reacted to a message, and how. */
  reactionsTo(seq) {
    return this.#reactions.of(seq);
  }

  /** A text that changes with everything that the row of a message shows. */
  stampOf(event) {
    const quoted = event.reply_to ? this.find(event.reply_to) : null;
    return `${event.asOf} ${this.#reactions.revision(event.seq)} ${quoted === undefined ? "?" : quoted?.asOf}`;
  }

  /** Remember a message outside the window, for the replies that quote it; null if there is none. */
  quote(seq, event, asOf = this.#head) {
    this.#quoted.set(seq, event === null ? null : { ...event, asOf });
    for (const change of this.#changes) if (change.seq > asOf) this.#amend(change);
    if (this.#quoted.size > MOST_QUOTED) this.#quoted.delete(this.#quoted.keys().next().value);
    this.revision += 1;
  }

  /** The cursor from which history, read backwards, has this seq near its end. */
  cursorAround(seq, after) {
    return this.#cursorAt(Math.min(seq + after, this.#head) + 1);
  }

  /** The cursor before which a gap's last part is found. */
  cursorAfter(gap) {
    return this.#cursorAt(gap.to + 1);
  }

  /** Forget everything: the user may not, or no longer, see the room. */
  forget() {
    this.#forget();
    this.#epoch = null;
    this.#head = this.#start = 0;
    this.#first = 1;
    this.events = [];
    this.present = { count: 0, names: [] };
    this.joined = this.replaced = this.described = false;
    this.info = null;
    this.problem = "";
    this.revision += 1;
  }

  /**
   * Take the answer of `chat.join`.
   *
   * @param {Page & {present?: any}} result
   * @param {string | null} after the cursor that was sent
   */
  join(result, after) {
    const { epoch, seq } = parseCursor(result.cursor);
    const sameLog = after !== null && this.#epoch === epoch && seq >= this.#head;
    if (sameLog) {
      const attached = !this.hasNewer;
      this.#head = seq;
      if (attached) this.#merge(result.events);
      this.#dropOldest();
    } else {
      this.replaced = this.events.length > 0;
      if (this.#epoch !== epoch) this.#forget();
      this.#epoch = epoch;
      this.#head = seq;
      this.#show(result.events, after !== null || result.more);
    }
    this.#liveAfter = this.#head;
    this.joined = true;
    if (result.present) this.meet(result.present);
  }

  /**
   * Take one `chat.event`.
   *
   * @param {RoomEvent} event
   * @returns {boolean} false if it was already known
   */
  take(event) {
    if (event.seq <= this.#head) return false;
    const fits = this.following || this.events.length < this.capacity;
    const append = fits && !this.hasNewer;
    this.#head = event.seq;
    this.#amend(event);
    if (CHANGING.has(event.type) && this.#changes.push(event) > MOST_CHANGES) this.#changes.shift();
    this.revision += 1;
    if (append) {
      this.events.push({ ...event, asOf: event.seq });
      this.#dropOldest();
    }
    return true;
  }

  /** Take a `chat.gap`: the server skipped up to `to`; the events can be loaded, from the end of the window on. */
  skip({ to }) {
    this.#head = Math.max(this.#head, seqOf(to));
    this.#liveAfter = this.#head;
    this.revision += 1;
  }

  /**
   * Take the newest page of `chat.history`, in place of the window.
   *
   * @param {Page} page
   */
  showLatest(page, asOf = this.#head) {
    if (this.#isForeign(page)) return;
    this.#reach(page.events.at(-1)?.seq ?? 0);
    this.#show(page.events, page.more, asOf);
  }

  /**
   * Take a page of `chat.history` from the middle of the log, in place of the window.
   *
   * @param {Page} page
   */
  showAround(page, asOf = this.#head) {
    if (this.#isForeign(page) || page.events.length === 0) return;
    this.#show(page.events, page.more, asOf);
  }

  /**
   * Take the page of `chat.history` before `oldestCursor`.
   *
   * @param {Page} page
   * @param {number} [asOf] the head when it was asked for
   */
  addOlder(page, asOf = this.#head) {
    if (this.#isForeign(page)) return;
    const before = this.events[0]?.seq ?? this.#head + 1;
    if (!page.more || page.events.length === 0) this.#first = page.events[0]?.seq ?? before;
    this.#merge(page.events, asOf);
    if (this.events.length > this.capacity) this.events.length = this.capacity;
    this.revision += 1;
  }

  /**
   * Take the page of `chat.history` after `newestCursor`.
   *
   * @param {Page} page
   */
  addNewer(page, asOf = this.#head) {
    if (this.#isForeign(page)) return;
    const last = this.#last;
    if (page.events.length === 0) this.#head = last;
    if (page.recovered === false) this.#first = Math.max(this.#first, last + 1); // retention has passed the window
    this.#merge(page.events, asOf);
    this.#reach(this.#last);
    this.#dropOldest();
    this.revision += 1;
  }

  /**
   * Take the page of `chat.history` before `cursorAfter(gap)`.
   *
   * @param {Gap} gap
   * @param {Page} page
   */
  fill(gap, page, asOf = this.#head) {
    if (this.#isForeign(page)) return;
    const oldest = page.events[0]?.seq ?? gap.to + 1;
    if ((!page.more || page.events.length === 0) && oldest > gap.from) this.#first = oldest;
    this.#merge(page.events.filter((event) => event.seq >= gap.from), asOf);
    this.revision += 1;
  }

  /** Take `present` of a join or the answer of `chat.who`. */
  meet({ count, names }) {
    this.present = { count, names: [...names].slice(0, MOST_NAMES).sort((a, b) => a.localeCompare(b)) };
  }

  /** Take a `chat.presence`. */
  moved({ joined, left, count }) {
    const names = new Set(this.present.names);
    for (const name of namesOf(left)) names.delete(name);
    for (const name of namesOf(joined)) names.add(name);
    this.meet({ count, names });
  }

  /** A page went beyond the head: its events will not arrive again. */
  #reach(seq) {
    if (seq <= this.#head) return;
    this.#head = this.#liveAfter = seq;
  }

  get #last() {
    return this.events.at(-1)?.seq ?? this.#start;
  }

  #cursorAt(seq) {
    return `${this.#epoch}:${seq}`;
  }

  /** True for a page that was asked for before the log was replaced. */
  #isForeign(page) {
    return parseCursor(page.cursor).epoch !== this.#epoch;
  }

  #show(events, more, asOf = this.#head) {
    this.events = [];
    this.windows += 1;
    this.#start = this.#head;
    this.#merge(events, asOf);
    this.#first = more ? 1 : (events[0]?.seq ?? this.#head + 1);
  }

  /** Put events into their places, even if some are already there; every change up to `asOf` is in them. */
  #merge(events, asOf = this.#head) {
    const known = new Set(this.events.map((event) => event.seq));
    const fresh = events.filter((event) => !known.has(event.seq)).map((event) => ({ ...event, asOf }));
    for (const event of fresh) this.#amend(event);
    if (fresh.length > 0) this.events = [...this.events, ...fresh].sort((a, b) => a.seq - b.seq);
    for (const { type, seq, reactions } of fresh) if (type === "message") this.#reactions.load(seq, reactions ?? {}, asOf);
    for (const change of this.#changes) if (change.seq > asOf) this.#amend(change);
    this.revision += 1;
  }

  /** Edits, deletions and reactions are events too: apply one to the message that it is about. */
  #amend(event) {
    if (event.type === "reaction") this.#reactions.take(event);
    if (event.type === "topic" && event.seq > this.#topicAt) {
      this.#topicAt = event.seq;
      this.topic = event.text ?? "";
    }
    if (event.type !== "edit" && event.type !== "delete") return;
    const index = this.#indexOf(event.target);
    if (index >= 0) this.events[index] = amended(this.events[index], event);
    const quoted = this.#quoted.get(event.target);
    if (quoted) this.#quoted.set(event.target, amended(quoted, event));
  }

  #indexOf(seq) {
    let low = 0;
    let high = this.events.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.events[middle].seq;
      if (found === seq) return middle;
      if (found < seq) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** Forget what was known of another log; it says nothing about this one. */
  #forget() {
    this.#reactions.clear();
    this.#quoted.clear();
    this.#changes = [];
    this.arrived.clear();
    this.topic = "";
    this.#topicAt = 0;
  }

  #dropOldest() {
    if (this.events.length > this.capacity) this.events.splice(0, this.events.length - this.capacity);
  }
}

/** A message with an edit or a deletion applied, unless it already has that. */
function amended(message, event) {
  if (message.asOf >= event.seq) return message;
  const change = event.type === "edit" ? { text: event.text, edited: true, mentions: event.mentions } : { text: "", deleted: true };
  return { ...message, ...change, asOf: event.seq };
}
