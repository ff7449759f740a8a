/** What a screen reader announces: new messages in the room on the screen, one by one or, if there are many, their number. */

import { summary } from "./markdown.js";

/** Milliseconds in which messages are gathered. */
const GATHER = 1000;
/** If more than this arrive in that time, they are counted, not read out. */
const MOST = 3;

export class Announcer {
  #place;
  #waiting = [];

  /** @param {HTMLElement} place with aria-live */
  constructor(place) {
    this.#place = place;
  }

  /** A message by somebody else came. */
  arrived(event) {
    this.#waiting.push(`${event.from}: ${summary(event.text ?? "")}`);
    if (this.#waiting.length === 1) setTimeout(() => this.#tell(), GATHER);
  }

  /** Something happened that must be announced at once. */
  say(sentence) {
    this.#place.textContent = sentence;
  }

  /** Drop what is waiting to be read out. */
  forget() {
    this.#waiting = [];
    this.say("");
  }

  #tell() {
    if (this.#waiting.length > 0) this.say(this.#waiting.length > MOST ? `${this.#waiting.length} new messages` : this.#waiting.join("\n"));
    this.#waiting = [];
  }
}
