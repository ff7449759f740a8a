/** Shuts the composer where nothing can be written, says why, and notices when that is over. */

import { lockOf } from "./rights.js";

/** Seconds until it is asked again whether somebody is still muted: no event tells when it ends by itself. */
const SOONEST = 2;
const LATEST = 60;

export class WritingLock {
  #chat;
  #fields;
  #words;
  #retreat;
  #timer = null;

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {HTMLFieldSetElement} parts.fields
   * @param {HTMLElement} parts.words
   * @param {HTMLElement} parts.retreat where the focus goes that was in the fields
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
    if (lock === null || lock.shut) this.#forgetTimer();
    else this.#timer ??= setTimeout(() => this.#lookAgain(log), 1000 * pauseBefore(lock.until, now));
  }

  #forgetTimer() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #lookAgain(log) {
    this.#forgetTimer();
    this.#chat.describe(log).catch(() => {}); // the next connection asks again
  }
}

/** The end that is known, if it is near; clocks differ, so that it may be over here and not there. */
function pauseBefore(until, now) {
  const left = until === null ? LATEST : (until - now) / 1000;
  return Math.min(LATEST, Math.max(SOONEST, left));
}
