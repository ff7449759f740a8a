/** The messages on the screen: which rows there are, where the reader is in them, and what is loaded for it. */

import { formatDay } from "./client/text.js";
import { build, estimate, stampOf } from "./message-view.js";
import { lockOf } from "./rights.js";
import { rowsOf } from "./timeline.js";
import { VirtualList } from "./virtual-list.js";

/** Distance from an end, in pixels, within which the next page is loaded. */
const NEAR = 1500;
/** Milliseconds to wait after a page that could not be loaded. */
const RETRY = 3000;
/** Milliseconds for which a message is highlighted after a jump, and the day is shown above the log after a scroll. */
const SHOWN = 2000;

export class LogView {
  #chat;
  #scroller;
  #list;
  #day;
  #onMove;
  #onTarget;
  #log = null;
  /** Of the message that was asked for last, while it is loaded. */
  #place = null;
  #context = null;
  #made = "";
  #unreadAfter = Infinity;
  #opening = false;
  #pause = false;
  #where = "";
  #target = 0;
  #dayTimer = null;

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {HTMLElement} parts.scroller the region with role=log
   * @param {HTMLElement} parts.list
   * @param {HTMLElement} parts.day says which day is in view while scrolling
   * @param {() => void} parts.onMove the reader or the rows moved
   * @param {(seq: number) => void} parts.onTarget the room was opened at a message, which can be shown now
   */
  constructor({ chat, scroller, list, day, onMove, onTarget }) {
    this.#chat = chat;
    this.#scroller = scroller;
    this.#day = day;
    this.#onMove = onMove;
    this.#onTarget = onTarget;
    const view = {
      build: (row) => build(row, this.#context),
      stampOf: (row) => stampOf(row, this.#context),
      estimate,
      moved: () => this.#moved(),
    };
    this.#list = new VirtualList({ scroller, list, view });
    scroller.addEventListener("scroll", () => this.#showDay(), { passive: true });
    chat.forgotten.add(() => this.#forget());
    chat.left.add((room) => room === this.#log?.name && this.#forget(chat.account.author));
  }

  /** True while the newest message is in view. */
  get atEnd() {
    return this.#list.atEnd && !this.#log?.hasNewer;
  }

  /** The room on the screen. */
  get room() {
    return this.#log;
  }

  /** The rows of the room's messages, as far as they are loaded. */
  get messages() {
    return this.#list.rows.filter(({ kind }) => kind === "message");
  }

  /** Whether the first unseen message is out of view, above. */
  get unreadAbove() {
    if (this.#log === null || this.#unreadAfter === Infinity || this.#log.events.length === 0) return false;
    const place = this.#list.placeOf("unread");
    if (place >= 0) return place < this.#list.inView.first;
    return this.#log.hasOlder && this.#log.events[0].seq > this.#unreadAfter + 1;
  }

  /**
   * Show another room, from its first unread message on, or from a given one.
   *
   * @param {import("./client/rooms.js").RoomLog} log
   * @param {number} [target] seq
   */
  open(log, target = 0) {
    if (this.#log) this.#log.following = true;
    this.#log = log;
    const want = (seq) => queueMicrotask(() => this.#chat.quote(log, seq).catch(() => {})); // it is asked for again when its row is built again
    this.#context = { log, me: "", locked: false, isPaging: (kind) => this.#chat.isPaging(log, kind), want };
    this.#made = "";
    this.#opening = true;
    this.#target = target;
    this.#unreadAfter = Infinity;
    this.#list.clear();
  }

  /** Remove what was shown. What is new in the room, and where reading starts, is decided anew next time. */
  #forget() {
    // Before the user is known nothing was shown: they still want to go where they were going.
    if (this.#log) this.open(this.#log, this.#opening ? this.#target : 0);
    this.#day.hidden = true;
  }

  /** Everything after this seq is new: draw the line there. */
  markUnread(seq) {
    this.#unreadAfter = seq;
  }

  /** Go to the newest message, loading it if it is not in the window. */
  async showEnd() {
    this.#place = null;
    if (this.#log.hasNewer) await this.#chat.latest(this.#log);
    this.render();
    this.#list.toEnd();
  }

  /** Go to the line above what is new, loading it if need be. */
  async showUnread() {
    const log = this.#log;
    this.#place = null;
    if (this.#list.placeOf("unread") < 0) await this.#chat.around(log, this.#unreadAfter + 1);
    if (this.#log !== log) return;
    this.render();
    this.#list.reveal("unread", 0.2);
    this.#scroller.focus({ preventScroll: true });
  }

  /**
   * Go to a message, loading it if need be.
   *
   * @param {number} seq
   * @returns {Promise<boolean>} false if the message no longer exists, unless another place was asked for meanwhile; rejects like a call
   */
  async show(seq) {
    const log = this.#log;
    const place = (this.#place = {});
    const there = await this.#chat.around(log, seq);
    if (this.#log !== log || this.#place !== place) return true;
    this.render();
    const node = there ? this.#list.reveal(`message-${seq}`, 0.35) : null;
    if (node === null) return false;
    node.focus({ preventScroll: true });
    node.classList.add("target");
    setTimeout(() => node.classList.remove("target"), SHOWN);
    return true;
  }

  /** The node of a message if it is in the document. */
  nodeOf(seq) {
    return this.#list.nodeOf(`message-${seq}`);
  }

  /** Bring the message before or after another one into view; without one, the last one in view. */
  step(from, by) {
    const { rows } = this.#list;
    let place = from > 0 ? this.#list.placeOf(`message-${from}`) : -1;
    if (place < 0) {
      place = this.#list.inView.last + 1;
      by = -1;
    }
    for (place += by; place >= 0 && place < rows.length; place += by) {
      if (rows[place].kind === "message") return this.#list.reveal(rows[place].key);
    }
    return null;
  }

  /** Bring the rows into step with the log. */
  render() {
    const log = this.#log;
    if (log === null) return;
    if (this.#opening && log.joined) this.#start();
    this.#context.me = this.#chat.identity?.name ?? "";
    this.#context.locked = lockOf(log, this.#context.me, new Date()) !== null;
    const pending = this.#chat.outbox.of(log.name);
    const made = JSON.stringify([log.revision, log.joined, log.problem, this.#context.me, this.#context.locked, this.#unreadAfter, pending, new Date().getDate()]);
    if (made === this.#made) {
      this.#list.refresh();
    } else {
      this.#made = made;
      this.#list.show(rowsOf(log, { me: this.#context.me, unreadAfter: this.#unreadAfter, pending }));
    }
    if (this.#opening && log.joined) this.#opened();
  }

  /** Draw the line before what is unread when a room is opened. */
  #start() {
    if (this.#chat.unread(this.#log).count > 0) this.#unreadAfter = this.#chat.seen(this.#log);
  }

  /** The first rows have arrived: go to where reading begins. */
  #opened() {
    this.#opening = false;
    if (this.#target > 0) this.#arrive(this.#log, this.#target);
    else if (this.#list.placeOf("unread") >= 0) this.#list.reveal("unread", 0.2);
    this.#loadMore();
  }

  /** Nothing can be loaded before the connection counts as one. */
  async #arrive(log, seq) {
    await this.#chat.until(() => this.#chat.rpc.state.name !== "connecting");
    if (this.#log === log) this.#onTarget(seq);
  }

  #moved() {
    if (this.#log === null) return;
    this.#log.following = this.#list.atEnd;
    this.#loadMore();
    const where = `${this.atEnd} ${this.unreadAbove}`;
    if (where === this.#where) return;
    this.#where = where;
    this.#onMove();
  }

  #loadMore() {
    const log = this.#log;
    if (this.#pause || this.#opening || !log.joined || this.#list.rows.length === 0) return;
    const { above, below } = this.#list.room;
    if (log.hasNewer && below < NEAR) this.#chat.newer(log).catch(() => this.#rest());
    else if (log.hasOlder && above < NEAR) this.#chat.older(log).catch(() => this.#rest());
  }

  /** After a failed page: do not ask again at once. */
  #rest() {
    this.#pause = true;
    setTimeout(() => {
      this.#pause = false;
      this.#loadMore();
    }, RETRY);
  }

  /** While scrolling, say which day is in view. */
  #showDay() {
    const { rows } = this.#list;
    const place = this.#list.inView.first;
    // Where a day begins, its own line says so.
    if (this.#list.atEnd || rows[place]?.kind !== "message") {
      this.#day.hidden = true;
      return;
    }
    this.#day.textContent = formatDay(rows[place].date, new Date());
    this.#day.hidden = false;
    clearTimeout(this.#dayTimer);
    this.#dayTimer = setTimeout(() => {
      this.#day.hidden = true;
    }, SHOWN);
  }
}
