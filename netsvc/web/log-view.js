/** The messages on the screen: rows kept in step with the timeline, the scroll position kept under the reader's eyes. */

import { arrange, avatar, element, hueOf, icon } from "./dom.js";
import { formatDay, formatFull, formatTime, segments } from "./client/text.js";
import { rowsOf } from "./timeline.js";

/** Nearer than this to an end, in pixels, the next page is loaded. */
const NEAR = 600;
/** Nearer than this to the end the reader is "at the end" and stays there. */
const AT_END = 48;
/** More new rows than this at once are a page, not conversation: the screen reader does not read them out. */
const BURST = 8;
/** Milliseconds after a page that could not be loaded. */
const RETRY = 3000;

export class LogView {
  #chat;
  #scroller;
  #list;
  #onMove;
  #log = null;
  #nodes = new Map();
  #stuck = true;
  #unreadAfter = Infinity;
  #opening = false;
  #pause = false;

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {HTMLElement} parts.scroller the region with role=log
   * @param {HTMLElement} parts.list
   * @param {() => void} parts.onMove the reader moved to or from the end
   */
  constructor({ chat, scroller, list, onMove }) {
    this.#chat = chat;
    this.#scroller = scroller;
    this.#list = list;
    this.#onMove = onMove;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const resized = new ResizeObserver(() => this.#stuck && this.#toEnd());
    resized.observe(scroller);
    resized.observe(list);
  }

  /** True while the newest message is in view. */
  get atEnd() {
    return this.#stuck && !this.#log?.hasNewer;
  }

  /**
   * Show another room, from its first unread message on.
   *
   * @param {import("./client/rooms.js").RoomLog} log
   */
  open(log) {
    if (this.#log) this.#log.following = true;
    this.#log = log;
    this.#nodes.clear();
    this.#list.replaceChildren();
    this.#stuck = true;
    this.#opening = true;
    this.#unreadAfter = Infinity;
  }

  /** From here on it is new: draw the line after this seq. */
  markUnread(seq) {
    this.#unreadAfter = seq;
  }

  /** Go to the newest message, loading it if it is not in the window. */
  async showEnd() {
    if (this.#log.hasNewer) await this.#chat.latest(this.#log);
    this.#stuck = true;
    this.render();
  }

  /** Bring the rows in step with the log. */
  render() {
    const log = this.#log;
    if (log === null) return;
    const startsAtUnread = this.#opening && log.joined && this.#open();
    const rows = rowsOf(log, {
      me: this.#chat.identity?.name ?? "",
      unreadAfter: this.#unreadAfter,
      pending: this.#chat.outbox.of(log.name),
      isHeld: (item) => this.#chat.outbox.isHeld(item),
    });
    const anchors = this.#stuck ? [] : this.#visible();
    const before = this.#list.lastElementChild;
    const nodes = rows.map((row) => this.#nodeOf(row));
    const added = nodes.filter((node) => !node.isConnected);
    const talk = added.length <= BURST && (before === null || !added.includes(nodes[0]));
    this.#scroller.setAttribute("aria-live", talk ? "polite" : "off");
    arrange(this.#list, nodes);
    this.#prune(rows);
    if (startsAtUnread) this.#toUnread();
    else if (this.#stuck) this.#toEnd();
    else this.#restore(anchors);
    this.#loadMore();
  }

  /** True if there are unread messages to start at. */
  #open() {
    this.#opening = false;
    if (this.#chat.unread(this.#log).count === 0) return false;
    this.#unreadAfter = this.#chat.seen(this.#log);
    return true;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const stuck = scrollHeight - scrollTop - clientHeight < AT_END;
    if (stuck !== this.#stuck) {
      this.#stuck = stuck;
      this.#onMove();
    }
    if (this.#log) this.#log.following = this.#stuck;
    this.#loadMore();
  }

  #loadMore() {
    const log = this.#log;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (this.#pause || log === null) return;
    if (log.hasNewer && scrollHeight - scrollTop - clientHeight < NEAR) this.#chat.newer(log).catch(() => this.#rest());
    else if (log.hasOlder && scrollTop < NEAR) this.#chat.older(log).catch(() => this.#rest());
  }

  /** After a failed page: do not ask again at once. */
  #rest() {
    this.#pause = true;
    setTimeout(() => {
      this.#pause = false;
      this.#loadMore();
    }, RETRY);
  }

  /** Start reading at the line above what is new. */
  #toUnread() {
    const line = this.#list.querySelector(".unread");
    if (line === null) return this.#toEnd();
    const offset = line.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    this.#scroller.scrollTop += offset - this.#scroller.clientHeight / 4;
    return this.#scrolled();
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** The rows in view with their places: after a change the first of them that is left stays where it is. */
  #visible() {
    const { top, bottom } = this.#scroller.getBoundingClientRect();
    const anchors = [];
    for (const node of this.#list.children) {
      if (!node.classList.contains("message")) continue;
      const box = node.getBoundingClientRect();
      if (box.top > bottom) break;
      if (box.bottom > top) anchors.push({ node, top: box.top });
    }
    return anchors;
  }

  #restore(anchors) {
    const anchor = anchors.find(({ node }) => node.isConnected);
    if (anchor) this.#scroller.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
  }

  #prune(rows) {
    const keys = new Set(rows.map(({ key }) => key));
    for (const key of this.#nodes.keys()) if (!keys.has(key)) this.#nodes.delete(key);
  }

  /** The node of a row, made again only if what it shows has changed. */
  #nodeOf(row) {
    const stamp = this.#stampOf(row);
    const kept = this.#nodes.get(row.key);
    if (kept?.stamp === stamp) return kept.node;
    const node = this.#build(row);
    this.#nodes.set(row.key, { node, stamp });
    return node;
  }

  #stampOf(row) {
    switch (row.kind) {
      case "message":
        return `${row.leads} ${row.own} ${row.event.asOf}`;
      case "pending":
        return `${row.item.state} ${row.held} ${row.leads} ${row.item.reason}`;
      case "gap":
        return `${row.gap.to} ${row.gap.gone} ${this.#chat.isPaging(this.#log, row.key)}`;
      case "day":
        return formatDay(row.date, new Date());
      case "start":
        return String(this.#log.head === 0);
      default:
        return row.kind;
    }
  }

  #build(row) {
    switch (row.kind) {
      case "message":
        return message(row);
      case "pending":
        return pendingMessage(row, this.#chat.outbox);
      case "gap":
        return this.#gap(row);
      case "day":
        return element("li", { class: "day" }, element("span", { title: formatFull(row.date) }, formatDay(row.date, new Date())));
      case "unread":
        return element("li", { class: "unread" }, element("span", {}, "New messages"));
      case "start":
        return this.#start();
      case "replaced":
        return element("li", { class: "note" }, "The server's log was restored from an earlier copy. Some messages may be missing.");
      default:
        return element("li", { class: "loading" }, "Loading messages…");
    }
  }

  #start() {
    const invitation = this.#log.head === 0 ? " Nobody has written here yet." : "";
    return element("li", { class: "start" }, icon("hash"), element("p", {}, `This is the beginning of #${this.#log.name}.${invitation}`));
  }

  #gap({ key, gap }) {
    const count = gap.to - gap.from + 1;
    if (gap.gone) return element("li", { class: "gap" }, element("span", {}, `${messages(count)} here are no longer kept.`));
    const loading = this.#chat.isPaging(this.#log, key);
    const load = () => this.#chat.fill(this.#log, gap).catch(() => {});
    const button = element("button", { type: "button", class: "quiet", onclick: load, disabled: loading }, loading ? "Loading…" : "Show them");
    return element("li", { class: "gap" }, element("span", {}, `${messages(count)} are not shown.`), button);
  }
}

/** A count of log entries in words; nearly all of them are messages. */
function messages(count) {
  return count === 1 ? "1 message" : `${count} messages`;
}

function message({ event, date, leads, own }) {
  const who = element("bdi", { class: `name hue-${hueOf(event.from)}` }, event.from);
  const when = element("time", { datetime: event.at, title: formatFull(date) }, formatTime(date));
  const edited = event.edited && !event.deleted ? element("span", { class: "edited" }, "edited") : null;
  return element(
    "li",
    { class: `message${own ? " own" : ""}${leads ? " leads" : ""}`, "data-seq": String(event.seq) },
    leads && !own ? avatar(event.from) : null,
    element("div", { class: "head" }, who, " ", when),
    element("div", { class: "bubble" }, content(event), edited),
  );
}

function content(event) {
  if (event.deleted) return element("p", { class: "text removed" }, "This message was deleted.");
  if (event.type === "topic") return element("p", { class: "text removed" }, `Topic: ${event.text ?? ""}`);
  if (event.type === "file") return element("p", { class: "text removed" }, `File: ${event.name ?? ""}`);
  return paragraph(event.text ?? "");
}

/** The text of a message; links are anchors that were built, never parsed. */
function paragraph(text) {
  const link = (part) => element("a", { href: part.href, target: "_blank", rel: "noopener noreferrer nofollow" }, part.text);
  return element("p", { class: "text", dir: "auto" }, ...segments(text).map((part) => (part.href ? link(part) : part.text)));
}

const PROGRESS = { waiting: "Waiting for the connection", sending: "Sending…", sent: "Sent", failed: "Not sent" };

function pendingMessage({ item, leads, held }, outbox) {
  const label = held ? `Written as ${item.author || "a guest"}; it is sent when you are that again.` : item.reason || PROGRESS[item.state];
  const state = element("p", { class: "state" }, icon(item.state === "failed" ? "alert" : "clock"), element("span", {}, label));
  if (item.state === "failed") {
    state.append(element("button", { type: "button", class: "quiet", onclick: () => outbox.retry(item.key) }, "Try again"));
  }
  if (item.state === "failed" || held) {
    state.append(element("button", { type: "button", class: "quiet", onclick: () => outbox.discard(item.key) }, "Discard"));
  }
  const classes = `message own pending ${item.state}${leads ? " leads" : ""}`;
  return element("li", { class: classes, "data-key": item.key }, element("div", { class: "bubble" }, paragraph(item.text)), state);
}
