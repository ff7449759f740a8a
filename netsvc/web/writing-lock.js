/** Locks the composer where nothing can be written, says why, and notices when that is over. */

import { lockOf } from "./rights.js";

/** Seconds until asking again whether I am still muted: no event says when a mute ends by itself. */
const SOONEST = 2;
const LATEST = 60;

export class WritingLock {
  #chat;
  #fields;
  #words;
  #retreat;
  #timer = null;
  /** What the timer is for: the room, and when the mute ends there. */
  #awaited = "";

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {HTMLFieldSetElement} parts.fields
   * @param {HTMLElement} parts.words
   * @param {HTMLElement} parts.retreat where the focus goes if it was in the fields
   */
  constructor({ chat, fields, words, retreat }) {
    this.#chat = chat;
    this.#fields = fields;
    this.#words = words;
    this.#retreat = retreat;
  }

  /** @param {import("./client/rooms.js").RoomLog} log the room on the screen */
  render(log) {
    const now = new Date();
    const lock = lockOf(log, this.#chat.identity?.name ?? "", now);
    if (lock !== null && this.#fields.contains(document.activeElement)) this.#retreat.focus({ preventScroll: true });
    this.#fields.disabled = lock !== null;
    const words = lock?.words ?? "";
    const place = this.#words.lastElementChild;
    if (place.textContent !== words) place.textContent = words;
    this.#words.hidden = words === "";
    this.#await(log, lock, now);
  }

  #await(log, lock, now) {
    const awaited = lock === null || lock.shut ? "" : `${log.name} ${lock.until?.getTime()}`;
    if (awaited === this.#awaited) return;
    this.#awaited = awaited;
    clearTimeout(this.#timer);
    if (awaited !== "") this.#timer = setTimeout(() => this.#lookAgain(log), 1000 * pauseBefore(lock.until, now));
  }

  #lookAgain(log) {
    this.#awaited = "";
    this.#chat.describe(log).catch(() => {}); // the next connection asks again
  }
}

/** Seconds until the known end, if it is near; clocks differ, so it may be over here and not there. */
function pauseBefore(until, now) {
  const left = until === null ? LATEST : (until - now) / 1000;
  if (left < -LATEST) return LATEST;
  return Math.min(LATEST, Math.max(SOONEST, left));
}
