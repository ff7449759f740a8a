/** Turns a room's log into rows on the screen: days, groups, gaps, what is new, and what is still under way. */

import { mentions } from "./client/read-marks.js";
import { isShown } from "./client/rooms.js";

/** Messages of one person within this many milliseconds are grouped under one name. */
const GROUP = 5 * 60 * 1000;

/** Events that get a line of their own, not shown as a message. */
const TOLD = new Set(["topic", "moderation"]);

/**
 * @typedef {{key: string, kind: "start" | "older" | "newer" | "replaced" | "unread"} | {key: string, kind: "day", date: Date}
 *   | {key: string, kind: "gap", gap: import("./client/rooms.js").Gap}
 *   | {key: string, kind: "notice", event: import("./client/rooms.js").RoomEvent, date: Date}
 *   | {key: string, kind: "message", event: import("./client/rooms.js").RoomEvent, date: Date, leads: boolean, own: boolean, named: boolean}
 *   | {key: string, kind: "pending", item: import("./client/outbox.js").Item, leads: boolean}} Row
 */

/** Dates are made once for each event, however often the rows are built. */
const dates = new WeakMap();

function dateOf(event) {
  let known = dates.get(event);
  if (known === undefined) {
    const date = new Date(event.at);
    known = { date, day: date.toDateString() };
    dates.set(event, known);
  }
  return known;
}

/**
 * @param {import("./client/rooms.js").RoomLog} log
 * @param {object} view
 * @param {string} view.me whose messages are "own"
 * @param {number} view.unreadAfter the first message of others after this seq gets the "new" line before it; Infinity for no line
 * @param {import("./client/outbox.js").Item[]} view.pending
 * @returns {Row[]}
 */
export function rowsOf(log, { me, unreadAfter, pending }) {
  const rows = [];
  if (log.replaced) rows.push({ key: "replaced", kind: "replaced" });
  if (log.joined) rows.push(log.hasOlder ? { key: "older", kind: "older" } : { key: "start", kind: "start" });
  const last = addEvents(rows, log, me, unreadAfter);
  if (log.hasNewer) rows.push({ key: "newer", kind: "newer" });
  let leads = !last?.own;
  for (const item of pending) {
    rows.push({ key: `pending-${item.key}`, kind: "pending", item, leads });
    leads = false;
  }
  return rows;
}

/** Add what is in the window; returns the row of the last message, if nothing came between. */
function addEvents(rows, log, me, unreadAfter) {
  const gaps = new Map(log.gaps.map((gap) => [gap.to + 1, gap]));
  // The line may be drawn only where everything before it is known to be read.
  let unreadDue = !log.hasOlder || log.events[0].seq <= unreadAfter + 1;
  let day = "";
  let previous = null;
  for (const event of log.events) {
    const gap = gaps.size > 0 ? gaps.get(event.seq) : undefined;
    if (gap) {
      rows.push({ key: `gap-${gap.from}`, kind: "gap", gap });
      previous = null;
    }
    if (!isShown(event)) continue;
    const { date, day: itsDay } = dateOf(event);
    if (itsDay !== day || gap) {
      rows.push({ key: `day-${itsDay}-${event.seq}`, kind: "day", date });
      day = itsDay;
      previous = null;
    }
    const own = event.from === me;
    if (unreadDue && !own && event.seq > unreadAfter) {
      rows.push({ key: "unread", kind: "unread" });
      unreadDue = false;
      previous = null;
    }
    previous = TOLD.has(event.type) ? null : messageRow(event, date, own, me, previous);
    rows.push(previous ?? { key: `message-${event.seq}`, kind: "notice", event, date });
  }
  return previous;
}

function messageRow(event, date, own, me, previous) {
  const follows = previous !== null && previous.event.from === event.from && date - previous.date < GROUP && !event.reply_to;
  const named = !own && mentions(event, me);
  return { key: `message-${event.seq}`, kind: "message", event, date, own, named, leads: !follows };
}
