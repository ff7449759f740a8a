/** Text without a page: names, lengths, links, times. */

/** The most bytes of UTF-8 in one message; the server's default; the server decides. */
export const TEXT_LIMIT = 16 * 1024;

const ROOM = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
const encoder = new TextEncoder();

/** The length of a text in bytes of UTF-8. */
export function byteLength(text) {
  return encoder.encode(text).length;
}

/** A number of bytes in readable form. */
export function formatBytes(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(1)} KiB`;
}

/**
 * What somebody typed as a room's name, in the form the server uses, or what is wrong with it.
 *
 * @param {string} typed
 * @returns {{name: string, problem: string}} problem is "" for a good name
 */
export function roomName(typed) {
  const name = typed.trim().replace(/^#/, "").toLowerCase().replace(/\s+/g, "-");
  let problem = "";
  if (name === "") problem = "Give the room a name.";
  else if (name.length > 64) problem = `A name has at most 64 characters; this one has ${name.length}.`;
  else if (!/^[a-z0-9]/.test(name)) problem = "A name starts with a letter from a to z or a digit.";
  else if (!ROOM.test(name)) problem = "A name may contain only letters from a to z, digits, dots, hyphens and underscores.";
  return { name, problem };
}

/**
 * What is wrong with a guest's name; the server knows which ones are taken.
 *
 * @param {string} name
 * @returns {string} "" for a good name
 */
export function guestNameProblem(name) {
  if (name === "") return "Enter a name.";
  if ([...name].length > 32) return "A name has at most 32 characters.";
  if (!/^[\p{L}\p{Nd}]/u.test(name)) return "A name starts with a letter or a digit.";
  if (!/^[\p{L}\p{M}\p{Nd}._-]+$/u.test(name)) return "A name may contain only letters, digits, dots, hyphens and underscores; no spaces.";
  return "";
}

/** The room in a path like /chat/<room>/, or "" if there is none. */
export function roomOfPath(path) {
  const match = /^\/chat\/([^/]+)\/?$/.exec(path);
  if (!match) return "";
  try {
    const { name, problem } = roomName(decodeURIComponent(match[1]));
    return problem === "" ? name : "";
  } catch {
    return "";
  }
}

/** The path of the page on a room. */
export function pathOfRoom(room) {
  return `/chat/${encodeURIComponent(room)}/`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** Hours and minutes, local. */
export function formatTime(date) {
  return TIME.format(date);
}

/** Everything about a moment, local. */
export function formatFull(date) {
  return FULL.format(date);
}

/**
 * The name of a day as seen from another one.
 *
 * @param {Date} date
 * @param {Date} now
 */
export function formatDay(date, now) {
  const days = Math.round((startOfDay(now) - startOfDay(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days === -1) return "Tomorrow";
  return (date.getFullYear() === now.getFullYear() ? DAY : DAY_AND_YEAR).format(date);
}

/** A moment: the day and the time. */
export function formatWhen(date, now) {
  return `${formatDay(date, now)}, ${formatTime(date)}`;
}

/** A moment inside a sentence, after "until": without the day if that is today. */
export function formatUntil(date, now) {
  const day = formatDay(date, now);
  return day === "Today" ? formatTime(date) : `${day.replace(/^(Tomorrow|Yesterday)$/, (name) => name.toLowerCase())}, ${formatTime(date)}`;
}

/** Local midnight, in milliseconds; rounding by formatDay makes up for days of 23 and 25 hours. */
function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** Whole seconds in readable form, never "0 s" while there is still time to wait. */
export function formatWait(seconds) {
  const whole = Math.max(1, Math.ceil(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
