/** Rows of the log as nodes. `data-action` marks what can be done with a row; the owner of the list listens once. */

import { content, plain } from "./content.js";
import { formatDay, formatFull, formatTime, formatUntil } from "./client/text.js";
import { avatar, element, hueOf, icon } from "./dom.js";
import { nameOf } from "./emoji.js";
import { summary } from "./markdown.js";

/** How many names are written out at a reaction; the others are only counted. */
const MOST_NAMES = 12;

/**
 * What the rows need to know besides their own data.
 *
 * @typedef {object} Context
 * @property {import("./client/rooms.js").RoomLog} log
 * @property {string} me
 * @property {boolean} locked nothing can be written in the room
 * @property {(kind: string) => boolean} isPaging
 * @property {(seq: number) => void} want asks for a message that a reply quotes and that is not loaded
 */

/** A text that changes with everything that the node of a row shows. */
export function stampOf(row, { log, me, locked, isPaging }) {
  switch (row.kind) {
    case "message":
      return `${row.leads} ${row.own} ${row.named} ${me} ${locked} ${log.stampOf(row.event)}`;
    case "pending":
      return `${row.item.state} ${locked} ${row.leads} ${row.item.reason}`;
    case "gap":
      return `${row.gap.to} ${row.gap.gone} ${isPaging(row.key)}`;
    case "day":
      return formatDay(row.date, new Date());
    case "start":
      return String(log.head === 0);
    default:
      return row.kind;
  }
}

/** Roughly how high a row will be, in pixels, for those never shown. */
export function estimate(row) {
  if (row.kind !== "message" && row.kind !== "pending") return 48;
  const text = (row.event ?? row.item).text ?? "";
  let lines = 0;
  for (const line of text.slice(0, 4000).split("\n")) lines += 1 + Math.floor(line.length / 64);
  return 18 + 22.5 * lines + (row.leads ? 36 : 0);
}

/** @returns {HTMLElement} an `li` */
export function build(row, context) {
  switch (row.kind) {
    case "message":
      return message(row, context);
    case "notice":
      return notice(row);
    case "pending":
      return pending(row, context);
    case "gap":
      return gap(row, context);
    case "day":
      return element("li", { class: "day" }, element("span", { title: formatFull(row.date) }, formatDay(row.date, new Date())));
    case "unread":
      return element("li", { class: "unread" }, element("span", {}, "New messages"));
    case "start":
      return start(context);
    case "replaced":
      return element("li", { class: "note" }, element("p", {}, "The server's log was restored from an earlier copy. Some messages may be missing."));
    default:
      return element("li", { class: "loading" }, "Loading messages…");
  }
}

function message({ event, date, leads, own, named }, { log, me, locked, want }) {
  const who = element("bdi", { class: `name hue-${hueOf(event.from)}` }, event.from);
  const when = element("time", { datetime: event.at, title: formatFull(date) }, formatTime(date));
  const edited = event.edited && !event.deleted ? element("span", { class: "edited" }, "edited") : null;
  const classes = ["message", own && "own", leads && "leads", named && "named"].filter(Boolean).join(" ");
  return element(
    "li",
    { class: classes, "data-seq": String(event.seq), tabindex: "-1", "data-focus": "row" },
    leads && !own ? avatar(event.from) : null,
    element("div", { class: "head" }, who, " ", when),
    element("div", { class: "bubble" }, event.reply_to && !event.deleted ? quote(event.reply_to, log, want) : null, said(event, me), edited),
    event.deleted ? null : reactions(log.reactionsTo(event.seq), me, locked),
  );
}

function said(event, me) {
  if (event.deleted) return element("p", { class: "text removed" }, "This message was deleted.");
  if (event.type === "file") return element("p", { class: "text removed" }, `File: ${event.name ?? ""}`);
  return content(event.text ?? "", { me, room: event.mentions?.includes("@room") });
}

/** The message that a reply answers, as one line that links there. */
function quote(seq, log, want) {
  const quoted = log.find(seq);
  if (quoted === undefined) want(seq);
  if (!quoted) return element("p", { class: "quote gone" }, quoted === null ? "The original message is no longer available." : "Loading the original message…");
  const words = quoted.deleted ? "This message was deleted." : summary(quoted.text ?? "");
  const who = element("bdi", { class: `name hue-${hueOf(quoted.from)}` }, quoted.from);
  const attributes = { type: "button", class: "quote", "data-action": "jump", "data-to": String(seq), "data-focus": "quote", title: "Go to this message" };
  return element("button", attributes, element("span", { class: "sr" }, "In reply to "), who, " ", element("bdi", { class: "words" }, ...plain(words)));
}

function reactions(list, me, locked) {
  if (list.length === 0) return null;
  const chips = list.map(({ emoji, names }) => {
    const mine = names.includes(me);
    const label = `${nameOf(emoji)}: ${namesInWords(names, me)}`;
    const attributes = { type: "button", class: "chip", "data-action": "react", "data-emoji": emoji, "data-focus": `chip ${emoji}`, "aria-pressed": String(mine) };
    return element("button", { ...attributes, title: label, disabled: locked }, element("span", { class: "emoji" }, emoji), element("span", {}, String(names.length)));
  });
  return element("div", { class: "reactions", role: "group", "aria-label": "Reactions" }, ...chips);
}

/** "you, ann and 3 more". */
export function namesInWords(names, me) {
  const known = [...names.filter((name) => name === me).map(() => "you"), ...names.filter((name) => name !== me)];
  const shown = known.slice(0, MOST_NAMES);
  const rest = known.length - shown.length;
  if (rest > 0) shown.push(`${rest} more`);
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

function notice({ event, date }) {
  const when = element("time", { datetime: event.at, title: formatFull(date) }, formatTime(date));
  const who = element("bdi", { class: "name" }, event.from);
  return element("li", { class: "notice", "data-seq": String(event.seq) }, element("p", {}, who, " ", ...happened(event, date), " · ", when));
}

function happened(event, date) {
  if (event.type === "topic") return event.text ? ["set the topic: ", element("bdi", {}, ...plain(event.text))] : ["removed the topic"];
  const whom = element("bdi", { class: "name" }, event.name ?? "");
  const until = event.until ? ` until ${formatUntil(new Date(event.until), date)}` : "";
  const why = event.text ? [": ", element("bdi", {}, ...plain(event.text))] : [];
  switch (event.action) {
    case "kick":
      return ["removed ", whom, ...why];
    case "ban":
      return ["banned ", whom, until, ...why];
    case "unban":
      return ["lifted the ban on ", whom];
    case "mute":
      return ["muted ", whom, until, ...why];
    case "unmute":
      return ["let ", whom, " write again"];
    case "invite":
      return ["invited ", whom];
    case "leave":
      return ["gave up their role"];
    case "role":
      return ["made ", whom, ` ${event.value === "owner" ? "an owner" : `a ${event.value}`}`];
    case "access":
      return [{ public: "opened this room to everybody", members: "made this room members only", secret: "made this room secret" }[event.value] ?? "changed who may read this room"];
    default:
      return [`changed ${String(event.action ?? "something").replaceAll("_", " ")}${event.value ? ` to ${event.value}` : ""}`];
  }
}

const PROGRESS = { waiting: "Waiting for the connection", sending: "Sending…", sent: "Sent", failed: "Not sent" };

function pending({ item, leads }, { log, me, locked, want }) {
  const label = item.reason || PROGRESS[item.state];
  const state = element("p", { class: "state" }, icon(item.state === "failed" ? "alert" : "clock"), element("span", {}, label));
  const button = (action, words) => element("button", { type: "button", class: "quiet", "data-action": action, "data-focus": action }, words);
  if (item.state === "failed" && !locked) state.append(button("retry", "Try again"));
  if (item.state === "failed") state.append(button("discard", "Discard"));
  const classes = `message own pending ${item.state}${leads ? " leads" : ""}`;
  const bubble = element("div", { class: "bubble" }, item.replyTo ? quote(item.replyTo, log, want) : null, content(item.text, { me }));
  return element("li", { class: classes, "data-item": item.key }, bubble, state);
}

function gap({ key, gap: { from, to, gone } }, { isPaging }) {
  const count = to - from + 1;
  const words = count === 1 ? "1 message" : `${count} messages`;
  if (gone) return element("li", { class: "gap" }, element("p", {}, element("span", {}, `${words} here are no longer available.`)));
  const loading = isPaging(key);
  const attributes = { type: "button", class: "quiet", "data-action": "fill", "data-from": String(from), "data-to": String(to), "data-focus": "fill", disabled: loading };
  return element("li", { class: "gap" }, element("p", {}, element("span", {}, `${words} are not shown.`), element("button", attributes, loading ? "Loading…" : "Show them")));
}

function start({ log }) {
  const invitation = log.head === 0 ? " Nobody has written here yet." : "";
  return element("li", { class: "start" }, icon("hash"), element("p", {}, `This is the beginning of #${log.name}.${invitation}`));
}
