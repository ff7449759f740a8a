/** From a room's log to the rows on the screen: days, groups, gaps, what is new, and what is still under way. */

import { isShown } from "./client/rooms.js";

/** Messages of one person within so many milliseconds stand under one name. */
const GROUP = 5 * 60 * 1000;

/**
 * @typedef {{key: string, kind: "start" | "older" | "newer" | "replaced" | "unread"} | {key: string, kind: "day", date: Date}
 *   | {key: string, kind: "gap", gap: import("./client/rooms.js").Gap}
 *   | {key: string, kind: "message", event: import("./client/rooms.js").RoomEvent, date: Date, leads: boolean, own: boolean}
 *   | {key: string, kind: "pending", item: import("./client/outbox.js").Item, leads: boolean, held: boolean}} Row
 */

/**
 * @param {import("./client/rooms.js").RoomLog} log
 * @param {object} view
 * @param {string} view.me whose messages are "own"
 * @param {number} view.unreadAfter the first message of others after this seq gets the "new" line before it; Infinity for none
 * @param {import("./client/outbox.js").Item[]} view.pending
 * @param {(item: import("./client/outbox.js").Item) => boolean} view.isHeld
 * @returns {Row[]}
 */
export function rowsOf(log, { me, unreadAfter, pending, isHeld }) {
  const rows = [];
  if (log.replaced) rows.push({ key: "replaced", kind: "replaced" });
  if (log.joined) rows.push(log.hasOlder ? { key: "older", kind: "older" } : { key: "start", kind: "start" });
  const gaps = new Map(log.gaps.map((gap) => [gap.to + 1, gap]));
  let previous = null;
  let unreadShown = false;
  for (const event of log.events) {
    const gap = gaps.get(event.seq);
    if (gap) {
      rows.push({ key: `gap-${gap.from}`, kind: "gap", gap });
      previous = null;
    }
    if (!isShown(event)) continue;
    const date = new Date(event.at);
    const own = event.from === me;
    if (previous === null || previous.date.toDateString() !== date.toDateString()) {
      rows.push({ key: `day-${date.toDateString()}-${event.seq}`, kind: "day", date });
      previous = null;
    }
    if (!unreadShown && !own && event.seq > unreadAfter) {
      rows.push({ key: "unread", kind: "unread" });
      unreadShown = true;
      previous = null;
    }
    const leads = !(previous?.event.from === event.from && date - previous.date < GROUP && previous.event.type === "message");
    previous = { key: `message-${event.seq}`, kind: "message", event, date, own, leads };
    rows.push(previous);
  }
  if (log.hasNewer) rows.push({ key: "newer", kind: "newer" });
  let leads = !previous?.own;
  for (const item of pending) {
    rows.push({ key: `pending-${item.key}`, kind: "pending", item, leads, held: isHeld(item) });
    leads = false;
  }
  return rows;
}
