/** What errors mean, in plain words, and whether trying again helps. */

import { ConnectionLost, DeadlinePassed, RpcError } from "./rpc.js";
import { formatUntil, formatWait } from "./text.js";

/** The codes of the protocol, by name. */
export const CODE = {
  invalidParams: -32602,
  internal: -32603,
  notAuthenticated: -32001,
  forbidden: -32002,
  notFound: -32003,
  conflict: -32004,
  rateLimited: -32005,
  tooLarge: -32006,
  deadlinePassed: -32007,
  overloaded: -32008,
};

const WORDS = {
  [CODE.internal]: "Something went wrong on the server.",
  [CODE.notAuthenticated]: "You have to sign in for this.",
  [CODE.forbidden]: "You may not do this here.",
  [CODE.notFound]: "This does not exist (any more).",
  [CODE.conflict]: "This conflicts with something that already exists.",
  [CODE.rateLimited]: "That was too fast.",
  [CODE.tooLarge]: "This is too long for the server.",
  [CODE.deadlinePassed]: "The server took too long.",
  [CODE.overloaded]: "The server is busy.",
};

const LATE = "The server did not answer in time.";
const BROKEN = "Something went wrong on this page.";

/** Codes whose detail, written by the server for people, says more than our words. */
const DETAILED = new Set([CODE.invalidParams, CODE.forbidden, CODE.conflict, CODE.tooLarge]);

/** Codes of errors that pass by themselves. */
const PASSING = new Set([CODE.rateLimited, CODE.overloaded, CODE.deadlinePassed]);

const MISHAPS = new Set([LATE, BROKEN, WORDS[CODE.internal], ...[...PASSING].map((code) => WORDS[code])]);

/** True if a sentence of `inWords` says that something failed, not that the server refused it. */
export function isMishap(words) {
  return MISHAPS.has(words);
}

/** True if the same call may well succeed a little later. */
export function isPassing(error) {
  return error instanceof DeadlinePassed || (error instanceof RpcError && PASSING.has(error.code));
}

/** How many seconds later: as the server asks, within reason. */
export function retryAfter(error) {
  const seconds = error.data?.retry_after;
  return Number.isFinite(seconds) ? Math.min(60, Math.max(0.2, seconds)) : 2;
}

const TIMESTAMP = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;
/** The start of a server's sentence that begins with the name of a room or a person, which must stay as it is. */
const NAMED = /^\S+ (?:is (?:for|banned|an admin|owner|moderator|member)|owns|would have) /;

/** A full sentence, whatever the server left out; times are shown in local form. */
function sentence(text) {
  const told = text.replace(TIMESTAMP, (stamp) => formatUntil(new Date(stamp), new Date()));
  const whole = NAMED.test(told) ? told : told.charAt(0).toUpperCase() + told.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/**
 * @param {Error} error of a call
 * @returns {string} one sentence
 */
export function inWords(error) {
  if (error instanceof RpcError) {
    const { detail, parameter } = error.data;
    // Programs need the parameter's name; people know what they typed.
    if (DETAILED.has(error.code) && typeof detail === "string" && detail !== "") return sentence(detail.replace(`${parameter}: `, ""));
    return WORDS[error.code] ?? sentence(error.message);
  }
  if (error instanceof ConnectionLost) return "The connection was lost.";
  return error instanceof DeadlinePassed ? LATE : BROKEN;
}

/**
 * What an error of a post means for the outbox.
 *
 * @param {Error} error
 * @returns {{again: boolean, after?: number, reason: string}} as Outbox asks for it
 */
export function judgePost(error) {
  const reason = inWords(error);
  if (error instanceof ConnectionLost) return { again: true, reason: "" };
  if (isPassing(error)) {
    const after = retryAfter(error);
    return { again: true, after, reason: `${reason} Trying again in ${formatWait(after)}.` };
  }
  return { again: false, reason };
}

/** What `chat.left` says, in a sentence. */
export function leftInWords(reason) {
  const known = { kick: "You were removed from this room.", ban: "You are banned from this room.", access: "This room is no longer open to you." };
  return known[reason] ?? "You are no longer in this room.";
}

/**
 * Why the server does not want us, from a close code of the 44xx class.
 *
 * @param {{code: number, reason: string}} refusal
 */
export function refusalInWords({ code, reason }) {
  if (code === 4401) return reason ? sentence(reason) : "You have to sign in.";
  if (code === 4403) return reason ? sentence(reason) : "You may not be in this room.";
  return reason ? sentence(reason) : "The server refused the connection.";
}
