/** What a screen reader is told: new messages in the room on the screen, one by one or, when many come, how many. */

import { summary } from "./markdown.js";

/** Milliseconds in which messages are gathered. */
const GATHER = 1000;
/** More than this in that time are counted, not read out. */
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

  /** Something happened that is to be known at once. */
  say(sentence) {
    this.#place.textContent = sentence;
  }

  /** What waits to be read out is not to be heard any more. */
  forget() {
    this.#waiting = [];
    this.say("");
  }

  #tell() {
    if (this.#waiting.length > 0) this.say(this.#waiting.length > MOST ? `${this.#waiting.length} new messages` : this.#waiting.join("\n"));
    this.#waiting = [];
  }
}
