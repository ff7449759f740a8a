/** What I may do in a room, as far as is known, and why not. No DOM. */

import { formatUntil } from "./client/text.js";
import { isMishap } from "./client/words.js";

const RIGHTS = ["read", "write", "moderate", "own"];

/** True if I may do at least this in a room: "write", "moderate" or "own". */
export function may(log, right) {
  return log?.info ? RIGHTS.indexOf(log.info.may) >= RIGHTS.indexOf(right) : false;
}

/** True if an event under my name is mine to change: the name may have belonged to somebody else then. */
export function mayAmend(log, event, me) {
  return event.from === me && event.at >= (log?.info?.amends_since ?? "");
}

/**
 * Why nothing can be written in a room: it is not open to me, or I am muted.
 *
 * @param {import("./client/rooms.js").RoomLog} log
 * @param {string} me
 * @param {Date} now
 * @returns {{words: string, shut: boolean, until: Date | null} | null} null if it can; shut: nothing can be done there at all
 */
export function lockOf(log, me, now) {
  if (log.problem !== "" && !isMishap(log.problem)) return { words: "You cannot write here.", shut: true, until: null };
  if (log.info?.may !== "read") return null;
  const until = mutedUntil(log, me);
  return { words: `You are muted here${until === null ? "" : ` until ${formatUntil(until, now)}`}.`, shut: false, until };
}

/** When I may write again, according to the log; null if it does not say. */
function mutedUntil(log, me) {
  const about = ({ type, action, name = "" }) => type === "moderation" && action === "mute" && name.toLowerCase() === me.toLowerCase();
  const until = log.events.findLast(about)?.until;
  return until ? new Date(until) : null;
}
